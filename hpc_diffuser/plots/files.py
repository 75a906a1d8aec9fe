"""A figure as the bytes of a file, the same bytes whenever it is drawn."""

from io import BytesIO
from pathlib import Path
from typing import Any

from hpc_diffuser.system.storage import write_bytes

KINDS = ("svg", "pdf", "png")
PNG_DPI = 150
# Neither the time nor the version of the library that draws.
_NO_DATE: dict[str, dict[str, str | None]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}


def figure_bytes(figure: Any, kind: str) -> bytes:
    """A figure as SVG, PDF or PNG.

    Parameters
    ----------
    figure : matplotlib Figure
    kind : str
        One of `KINDS`.
    """
    from matplotlib import rc_context

    buffer = BytesIO()
    with rc_context({"svg.hashsalt": "hpc-diffuser", "pdf.fonttype": 42}):
        figure.savefig(buffer, format=kind, dpi=PNG_DPI, metadata=_NO_DATE[kind])
    return buffer.getvalue()


def write_png(path: Path, drawn: Any) -> None:
    """A matplotlib Figure, or that of axes, as a file.

    Raises
    ------
    StorageError
        Where it cannot be written.
    """
    write_bytes(path, figure_bytes(getattr(drawn, "figure", drawn), "png"))
