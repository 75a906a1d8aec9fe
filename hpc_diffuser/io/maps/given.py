"""What the user says about a map. Loads no arrays: the command line needs it."""

from dataclasses import dataclass

from hpc_diffuser.system.options import option, positive, whole


def unit_cell(text: str) -> tuple[float, ...]:
    """a, b, c in Å and three angles in degrees."""
    numbers = tuple(positive(part) for part in text.split(","))
    if len(numbers) != 6:
        raise ValueError(
            f"expected six numbers with commas between, as 48.5,48.5,63.5,90,90,90, found {text}"
        )
    return numbers


def divisions(text: str) -> tuple[int, ...]:
    """Samples per reciprocal-lattice unit along h, k, l."""
    numbers = tuple(whole(part) for part in text.split(","))
    if len(numbers) != 3:
        raise ValueError(
            f"expected three whole numbers with commas between, as 7,7,7, found {text}"
        )
    return numbers


@dataclass(frozen=True)
class Given:
    """What the user says about a map; it comes before what the file says.

    Attributes
    ----------
    unit_cell : 6 floats, Å and degrees, or None
        Of the file's own indices, before any re-indexing.
    space_group : str or None
    column : str or None
        Which of several maps in one file.
    divisions : 3 ints or None
        Samples per reciprocal-lattice unit, where a file does not tell.
    """

    unit_cell: tuple[float, ...] | None = option(
        "--cell",
        kind=unit_cell,
        metavar="A,B,C,AL,BE,GA",
        help="unit cell of the file's own indices, Å and degrees (default: the file's)",
    )
    space_group: str | None = option(
        "--space-group", metavar="NAME", help='as "P 41" (default: the file\'s)'
    )
    column: str | None = option(
        "--column", metavar="NAME", help="which of several maps in the file"
    )
    divisions: tuple[int, int, int] | None = option(
        "--divisions",
        kind=divisions,
        metavar="N,N,N",
        help="samples per reciprocal-lattice unit along h, k, l, where the file does not tell",
    )
