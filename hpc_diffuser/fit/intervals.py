"""What is told and kept of the parameters' errors; apart from their computation."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """How well the data determine each refined parameter: of how they scatter, not of the search.

    What the answer would scatter by if other Brillouin zones of the same crystal had been measured,
    the model being what it is. What a wrong model does to its parameters is not in it.

    Attributes
    ----------
    standard_errors : tuple of float or None
        Of each of the summary's `refined` parameters, in its unit; None where there is none.
    low, high : tuple of float or None
        Ends of the 95 % interval about the answer. Of an amplitude it is symmetric in its square,
        and ends at 0.
    to_minimum : tuple of float or None
        From the answer to where the objective is least by its slope and curvature: what the search
        has left undone.
    correlation : tuple of tuples of float or None
        Of the errors of each two.
    reasons : tuple of text or None
        Why one has none; it is then held at the answer for the others.
    zones : int
        Working ones, or blocks of zones: what was taken for independent.
    samples : int
        That the maps of the derivatives were made with.
    missing : str or None
        Why there are none at all.
    """

    standard_errors: tuple[float | None, ...] = ()
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    to_minimum: tuple[float | None, ...] = ()
    correlation: tuple[tuple[float | None, ...], ...] = ()
    reasons: tuple[str | None, ...] = ()
    zones: int
    samples: int
    missing: str | None = None
