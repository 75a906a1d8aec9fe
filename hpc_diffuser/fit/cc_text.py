"""A correlation coefficient in words and in columns of text; None is one that is undefined."""


def cc_text(cc: float | None, digits: int = 4) -> str:
    """For a sentence: `0.7135`, or `undefined`.

    Parameters
    ----------
    cc : float or None
    digits : int
        After the point.
    """
    return "undefined" if cc is None else f"{cc:.{digits}f}"


def cc_column(cc: float | None) -> str:
    """For a table: right-aligned in nine letters, or `none`."""
    return f"{'none' if cc is None else f'{cc:.4f}':>9}"
