"""What an elastic network is of, as the command line, or a program, tells it."""

from dataclasses import dataclass

from hpc_diffuser.system.options import CommandOptions, option, positive

NEIGHBOURS = ("clamped", "together", "none")
B_FACTORS = ("shares", "modes")


@dataclass(frozen=True, kw_only=True)
class Network(CommandOptions):
    """What an elastic network is of, and what its amplitudes come from.

    Attributes
    ----------
    neighbours : str
        Of `NEIGHBOURS`: they stand still; all copies move alike; or a molecule alone.
    strength : float
        Of springs between molecules, in that of springs inside.
    b_factors : str
        Of `B_FACTORS`: translation and libration take their shares of them, by a fit; or the modes
        that are kept make up all of the mean.
    """

    neighbours: str = option(
        "--neighbours",
        default=NEIGHBOURS[0],
        choices=NEIGHBOURS,
        help="of an elastic network: the crystal's neighbours stand still, or move together with "
        "the molecule (all copies alike), or there are none (default: %(default)s)",
    )
    strength: float = option(
        "--contact-strength",
        default=0.3,
        kind=positive,
        metavar="X",
        help="of an elastic network: strength of the springs between molecules, of those inside "
        "it is 1 (default: %(default)s)",
    )
    b_factors: str = option(
        "--b-factors",
        default=B_FACTORS[0],
        choices=B_FACTORS,
        help="of an elastic network: translation, libration and internal motion have their shares "
        "of the B-factors, by a fit; or the modes kept make up all of the mean "
        "(default: %(default)s)",
    )
