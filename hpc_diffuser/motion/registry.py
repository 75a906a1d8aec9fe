"""The model's parameters: all that is to be known of each but its formula, in one row.

Config, search space, report, help and the README's tables take from here what they tell. A new
parameter is a row here; its value is a field of `disorder.Disorder`, or of `parameters.Parameters`
where it is sampled; then come its formula and its test. The order of the rows is that of the
points of a search, of summaries and of tables: a row in another place changes the bits of fits.
"""

from dataclasses import dataclass
from typing import Literal

Range = tuple[float, float]
AXES = ("x", "y", "z")


@dataclass(frozen=True)
class Quantity:
    """What kind of number a parameter is.

    Attributes
    ----------
    what : str
        As messages call it.
    unit : str
        "" of a mere number.
    limits : (float, float)
        The least and the most that it may ever be.
    """

    what: str
    unit: str
    limits: Range


LENGTH = Quantity("a length in Å", "Å", (0.0, 1e4))
CORRELATION = Quantity("a correlation", "", (-1.0, 1.0))
ANGLE = Quantity("an angle in degrees", "°", (0.0, 90.0))
FRACTION = Quantity("a fraction", "", (0.0, 10.0))
DENSITY = Quantity("a density in e/Å³", "e/Å³", (0.0, 1.0))
B_FACTOR = Quantity("a B-factor in Å²", "Å²", (0.0, 1e4))
POWER = Quantity("a power", "", (0.0, 100.0))
LOGARITHM = Quantity("a logarithm", "", (-10.0, 10.0))
SHARE = Quantity("a share", "", (0.0, 1.0))


@dataclass(frozen=True)
class Term:
    """A word that models are named with: `rbt` and `int` of rbt+int.

    Attributes
    ----------
    word : str
    motion : str
        What it is, in the README.
    short : str
        The same in the help of `--models`; "" where the word says it.
    """

    word: str
    motion: str
    short: str


TERM_ROWS = (
    Term("rbt", "of the molecule as a whole", "translation"),
    Term("int", "along the modes; of an ensemble, its frames", "modes"),
    Term("llm", "liquid-like", "liquid-like motion"),
    Term("lib", "libration", "libration"),
    Term("unc", "uncorrelated, of every atom", "uncorrelated"),
    Term("res", "what is left of the B-factors", "residual B"),
    Term("sol", "displaced solvent", "solvent"),
    Term("halo", "coupled to the lattice", ""),
    Term(
        "cllm",
        "liquid-like, of the whole crystal: it does not end at a molecule's surface",
        "liquid-like motion of the whole crystal",
    ),
    Term("lat", "of rigid molecules on springs between neighbours", "lattice dynamics"),
)


@dataclass(frozen=True)
class Parameter:
    """One parameter of the model.

    Attributes
    ----------
    name : str
        Its key in the config's [parameters], in summaries, and in checkpoints.
    label : str
        Its name in tables that people read.
    term : str
        The word of the term that brings it.
    quantity : Quantity
        Its unit and limits.
    meaning : str
        For the README.
    default_range : (float, float) or None
        Where a model has the term, and the config says nothing; None where it must say.
    default_text : str
        The same where it depends on the modes.
    several : {"", "axes", "crystal axes", "axis pairs", "modes", "mode pairs", "frames", ...}
        What it may be a list over. Of axes and interfaces it may be one number too; the others are
        always lists in the model, whatever is written.
    needs : tuple of str
        Parameters without which it means nothing.
    beside : str
        A term that the model must have too, or the parameter is left out of it.
    least : float
        The least that it may be where it is there at all.
    sampled : bool
        Whether the configurations of the Monte Carlo ensemble are others with another value, and
        their moments computed anew. Of translation a screw takes along a part: that is sampled.
    scatters : bool
        Whether what atoms scatter depends on it: then the moments are computed anew too.
    motion : str
        One of `MOTIONS`, whose share of the B-factors it goes into; "" where no atom moves more
        or less by it.
    pair_sum : bool
        Whether the closed form, `scattering.pair_sum`, is of it.
    always : bool
        Whether summaries hold it also where it is 0.
    """

    name: str
    label: str
    term: str
    quantity: Quantity
    meaning: str
    default_range: Range | None = None
    default_text: str = ""
    several: Literal[
        "",
        "axes",
        "crystal axes",
        "axis pairs",
        "modes",
        "mode pairs",
        "frames",
        "interfaces",
        "interface springs",
    ] = ""
    needs: tuple[str, ...] = ()
    beside: str = ""
    least: float = 0.0
    sampled: bool = False
    scatters: bool = False
    motion: str = ""
    pair_sum: bool = True
    always: bool = False

    @property
    def is_amplitude(self) -> bool:
        """True where it is how far a motion goes: at 0 there is none."""
        return bool(self.motion) and self.quantity not in (CORRELATION, LOGARITHM)

    @property
    def list_lengths(self) -> tuple[int, ...]:
        """How long a list of it may be in the config; none for as long as the model says."""
        return {"axes": (3,), "axis pairs": (3,), "crystal axes": (2, 3)}.get(self.several, ())

    def labels(self, size: int | None) -> list[str]:
        """What its numbers are called in summaries; modes and frames are counted from 1.

        Parameters
        ----------
        size : int or None
            How many they are; None for one that is no list.
        """
        if self.several == "modes":
            return [f"mode {number}" for number in self._places(size)]
        if self.several == "mode pairs":
            return [f"modes {pair}" for pair in self._places(size)]
        if self.several == "frames":
            return [f"frame {number}" for number in self._places(size)]
        return [" ".join(filter(None, (self.name, place))) for place in self._places(size)]

    def shown_labels(self, size: int | None) -> list[str]:
        """The same for people, each with its unit."""
        unit = f" ({self.quantity.unit})" if self.quantity.unit else ""
        if self.several in ("modes", "mode pairs", "frames"):
            return [label + unit for label in self.labels(size)]
        places = self._places(size)
        return [" ".join(filter(None, (self.label, place))) + unit for place in places]

    def _places(self, size: int | None) -> list[str]:
        """Which mode, axis or pair each number is of; a single number is of nothing."""
        if size is None:
            return [""]
        if self.several in ("axes", "crystal axes"):
            return list(AXES) if size == len(AXES) else ["xy", "z"]
        if self.several in ("modes", "frames", "interfaces", "interface springs"):
            return [str(i + 1) for i in range(size)]
        pairs = [(i, j) for i in range(size + 1) for j in range(i)][:size]
        if self.several == "axis pairs":
            return [AXES[i] + AXES[j] for i, j in pairs]
        return [f"{i + 1}-{j + 1}" for i, j in pairs]


PARAMETERS = (
    Parameter(
        "mode_amplitude_A",
        "modes",
        "int",
        LENGTH,
        "rms displacement per atom along each mode; where not given the ensemble's, held",
        default_text="0 to twice the largest in the file",
        several="modes",
        sampled=True,
        motion="modes",
        always=True,
    ),
    Parameter(
        "mode_correlation",
        "mode correlation",
        "int",
        CORRELATION,
        "partial correlations of the first `[structure] correlated_modes` modes",
        several="mode pairs",
        sampled=True,
        motion="modes",
    ),
    Parameter(
        "translation_sigma_A",
        "translation",
        "rbt",
        LENGTH,
        "rms displacement of the molecule as a whole, along any axis or along x, y, z",
        default_range=(0.0, 1.0),
        several="axes",
        motion="translation",
        always=True,
    ),
    Parameter(
        "translation_correlation",
        "translation correlation",
        "rbt",
        CORRELATION,
        "partial correlations of its y with x, z with x, z with y",
        several="axis pairs",
        motion="translation",
    ),
    Parameter(
        "libration_sigma_deg",
        "libration",
        "lib",
        ANGLE,
        "rms rotation about any axis through the centre of mass",
        default_range=(0.0, 5.0),
        sampled=True,
        motion="libration",
        pair_sum=False,
    ),
    Parameter(
        "screw_correlation",
        "screw correlation",
        "lib",
        CORRELATION,
        "of the translation along an axis with the rotation about it",
        needs=("libration_sigma_deg", "translation_sigma_A"),
        beside="rbt",
        sampled=True,
        pair_sum=False,
    ),
    Parameter(
        "uncorrelated_sigma_A",
        "uncorrelated",
        "unc",
        LENGTH,
        "rms displacement of every atom on its own, along any axis or along x, y, z",
        default_range=(0.0, 1.0),
        several="axes",
        motion="uncorrelated",
        always=True,
    ),
    Parameter(
        "residual_b_fraction",
        "residual b fraction",
        "res",
        FRACTION,
        "of what the other motions leave of the crystal's B-factors: every atom's own motion",
        default_range=(0.0, 1.0),
        scatters=True,
        motion="residual B",
        pair_sum=False,
    ),
    Parameter(
        "llm_sigma_A",
        "llm",
        "llm",
        LENGTH,
        "liquid-like motion: rms displacement of every atom, along any axis or along x, y, z",
        default_range=(0.0, 1.0),
        several="axes",
        needs=("llm_gamma_A",),
        motion="liquid-like",
    ),
    Parameter(
        "llm_gamma_A",
        "llm gamma",
        "llm",
        LENGTH,
        "the distance over which it loses its correlation, e^(−r/γ)",
        default_range=(5.0, 50.0),
        needs=("llm_sigma_A",),
        # At 1 Å the intensity is off by 1 − CC of 1.1e-3, at 1.5 Å by 8e-4: see
        # `interpolated.liquid_margin`.
        least=1.5,
    ),
    Parameter(
        "llm_correlation",
        "llm correlation",
        "llm",
        CORRELATION,
        "partial correlations of its y with x, z with x, z with y",
        several="axis pairs",
        needs=("llm_sigma_A",),
        motion="liquid-like",
    ),
    Parameter(
        "crystal_llm_sigma_A",
        "crystal llm",
        "cllm",
        LENGTH,
        "liquid-like motion of the whole crystal, along any axis or, as its symmetry lets them be "
        "different, along x, y, z, or x and y alike, z",
        default_range=(0.0, 1.0),
        several="crystal axes",
        needs=("crystal_llm_gamma_A",),
        motion="liquid-like",
        pair_sum=False,
    ),
    Parameter(
        "crystal_llm_gamma_A",
        "crystal llm gamma",
        "cllm",
        LENGTH,
        "the distance over which it loses its correlation, between molecules too, e^(−r/γ)",
        default_range=(5.0, 50.0),
        needs=("crystal_llm_sigma_A",),
        least=1.5,
        pair_sum=False,
    ),
    Parameter(
        "crystal_llm_correlation",
        "crystal llm correlation",
        "cllm",
        CORRELATION,
        "partial correlations of its y with x, z with x, z with y",
        several="axis pairs",
        needs=("crystal_llm_sigma_A",),
        motion="liquid-like",
        pair_sum=False,
    ),
    Parameter(
        "k_sol_eA3",
        "k sol",
        "sol",
        DENSITY,
        "density of the solvent that every atom displaces",
        default_range=(0.0, 0.5),
        scatters=True,
        pair_sum=False,
    ),
    Parameter(
        "b_sol_A2",
        "b sol",
        "sol",
        B_FACTOR,
        "its blur",
        default_range=(0.0, 100.0),
        needs=("k_sol_eA3",),
        scatters=True,
        pair_sum=False,
    ),
    Parameter(
        "halo_sigma_A",
        "halo",
        "halo",
        LENGTH,
        "rms displacement of molecules that is correlated between them, along any axis",
        needs=("halo_gamma_A",),
        motion="coupled to the lattice",
        pair_sum=False,
    ),
    Parameter(
        "halo_gamma_A",
        "halo gamma",
        "halo",
        LENGTH,
        "the distance over which it loses its correlation, e^(−R/γ)",
        needs=("halo_sigma_A",),
        pair_sum=False,
    ),
    Parameter(
        "halo_alpha",
        "halo alpha",
        "halo",
        POWER,
        "of the target's average over all Brillouin zones, which the translation's intensity is "
        "multiplied with",
        needs=("translation_sigma_A",),
        pair_sum=False,
    ),
    Parameter(
        "lattice_spring_A",
        "lattice spring",
        "lat",
        LENGTH,
        "1/√κ of the springs between the atoms of two molecules that touch, with κ in kT/Å²: one "
        "for all, or one for each interface",
        default_range=(0.0, 6.0),
        several="interfaces",
        sampled=True,
        motion="lattice",
        pair_sum=False,
    ),
    Parameter(
        "lattice_shape",
        "lattice shape",
        "lat",
        LOGARITHM,
        "how the 6 x 6 spring of each interface differs from that of its pairs of atoms: 21 "
        "logarithms each, one interface after the other",
        several="interface springs",
        needs=("lattice_spring_A",),
        sampled=True,
        motion="lattice",
        pair_sum=False,
    ),
)
# Of an ensemble, and no key of [parameters]: where `[structure] weights = "refine"`, the weights of
# its frames are the last of a search's point, on the scale where they add up to 1.
FRAME_WEIGHT = Parameter(
    "frame_weight",
    "frame weights",
    "int",
    SHARE,
    "weights of an ensemble's frames",
    default_range=(0.0, 1.0),
    several="frames",
    sampled=True,
    motion="modes",
    pair_sum=False,
)
# What the report parts the model's B-factors into, in its order.
MOTIONS = (
    "modes",
    "translation",
    "libration",
    "liquid-like",
    "uncorrelated",
    "coupled to the lattice",
    "lattice",
    "residual B",
)
BY_NAME = {row.name: row for row in (*PARAMETERS, FRAME_WEIGHT)}
# What a model is made of: the words that name it, and the parameters that each brings.
TERMS = {t.word: tuple(row.name for row in PARAMETERS if row.term == t.word) for t in TERM_ROWS}


def parameter_labels(name: str, size: int | None) -> list[str]:
    """What the numbers of a parameter are called in summaries; see `Parameter.labels`."""
    return BY_NAME[name].labels(size)
