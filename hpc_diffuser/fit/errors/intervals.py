"""What is told and kept of the parameters' errors; apart from their computation."""

from dataclasses import dataclass

NO_MINIMUM = "at the answer the objective has no minimum along"


@dataclass(frozen=True, kw_only=True)
class EffectiveVoxels:
    """How many independent voxels a map's voxels are worth; see `effective_number`.

    Attributes
    ----------
    voxels : int
        That the score is over.
    independent, error : float
        As many independent ones would determine the parameters as well; its standard error.
    """

    voxels: int
    independent: float
    error: float


@dataclass(frozen=True, kw_only=True)
class Combination:
    """A direction of the parameters that the objective tells apart from the others.

    Attributes
    ----------
    deviation : float
        Standard deviation of the answer along it, in parts of the ranges that were searched, of
        amplitudes in parts of the range of their squares.
    prior_share : float or None
        Of what is known along it, f/(1 + f); None without a prior.
    parts : tuple of float
        Of each of `known`, in parts of its range: a direction of length 1.
    """

    deviation: float
    prior_share: float | None = None
    parts: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class InterfaceStiffness:
    """How stiff an interface's spring is, of any shape, at the middle of its contacts.

    Attributes
    ----------
    interface : str
    axes : 3 times 3 floats
        The principal axes of its contacts, Cartesian.
    along_kT_A2, about_kT_rad2 : 3 floats
        A force for a shift along one of them alone; a torque for a turn about it.
    along_errors, about_errors : 3 floats or None
        Their standard errors; None where a number that they depend on has none.
    along_prior_shares, about_prior_shares : 3 floats or None
        Of the prior, in what is known of them; None without one.
    along_undetermined, about_undetermined : 3 bools
        Whether that is more than half, or nothing is known.
    """

    interface: str
    axes: tuple[tuple[float, ...], ...]
    along_kT_A2: tuple[float, ...]
    along_errors: tuple[float | None, ...]
    along_prior_shares: tuple[float | None, ...]
    along_undetermined: tuple[bool, ...]
    about_kT_rad2: tuple[float, ...]
    about_errors: tuple[float | None, ...]
    about_prior_shares: tuple[float | None, ...]
    about_undetermined: tuple[bool, ...]


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """How well each refined parameter is determined.

    Standard errors say what the answer would scatter by if other Brillouin zones of the same
    crystal had been measured, the model being what it is; intervals hold the search's part
    besides. What a wrong model does to its parameters is in neither.

    Attributes
    ----------
    standard_errors : tuple of float or None
        Of each of the summary's `refined` parameters, in its unit; None where there is none.
    low, high : tuple of float or None
        Ends of the 95 % interval about the answer, 1.96 times √(standard error² + distance to the
        minimum²) wide to either side. Of an amplitude it is symmetric in its square, and ends at 0.
        Of a frame's weight that is at 0, from there to what it is below with 95 %: see `plane`.
    low_68, high_68 : tuple of float or None
        The same of 68 %, with 1 in the place of 1.96.
    bootstrap_errors : tuple of float or None
        Standard errors by zones drawn anew, see `bootstrap`: they check the others.
    bootstrap_without : int
        Drawings in which no minimum was found near the answer: they are left out. Where they are
        more than half of all, bootstrap errors and intervals are None.
    bootstrap_low, bootstrap_high : tuple of float or None
        Between which 95 % of the answers of those zones lie.
    to_minimum : tuple of float or None
        From the answer to where the objective is least, by the final map's slope and the curvature:
        what the search, and the few samples that it searched with, have left undone.
    correlation : tuple of tuples of float or None
        Of the errors of each two.
    reasons : tuple of text or None
        Why one has none; it is then held at the answer for the others.
    known : tuple of int
        Places of those that have one.
    combinations : tuple of Combination
        Of those, from the best determined to the worst.
    determined : float or None
        How many of them the data determine; a prior, where there is one, has the others.
    effective : EffectiveVoxels or None
    zones : int
        Working ones, or blocks of zones: what was taken for independent.
    samples : int
        That the maps of the derivatives were made with; the final map has more.
    first_order : int
        Modes whose derivatives were taken to one-phonon order, and not from maps beside the answer.
    missing : str or None
        Why there are none at all.
    stiffness : tuple of InterfaceStiffness
        Where shapes of springs are refined.
    springs_prior_times : float or None
        How many times as hard the prior of springs pulls as it would beside data with this scatter,
        if all that it says were meant; None without one.
    """

    standard_errors: tuple[float | None, ...] = ()
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    low_68: tuple[float | None, ...] = ()
    high_68: tuple[float | None, ...] = ()
    bootstrap_errors: tuple[float | None, ...] = ()
    bootstrap_low: tuple[float | None, ...] = ()
    bootstrap_high: tuple[float | None, ...] = ()
    bootstrap_without: int = 0
    to_minimum: tuple[float | None, ...] = ()
    correlation: tuple[tuple[float | None, ...], ...] = ()
    reasons: tuple[str | None, ...] = ()
    known: tuple[int, ...] = ()
    combinations: tuple[Combination, ...] = ()
    determined: float | None = None
    effective: EffectiveVoxels | None = None
    zones: int
    samples: int
    first_order: int = 0
    missing: str | None = None
    stiffness: tuple[InterfaceStiffness, ...] = ()
    springs_prior_times: float | None = None

    def off_minimum(self, labels: tuple[str, ...]) -> list[str]:
        """Of all labels, of the parameters that are over a standard error from the minimum."""
        rows = zip(labels, self.to_minimum, self.standard_errors, strict=False)
        return [label for label, left, e in rows if left is not None and e and abs(left) > e]

    @property
    def without_minimum(self) -> str | None:
        """Along which parameters the objective has none, in words; None where it has one."""
        whys = (self.missing, *self.reasons)
        return next((why for why in whys if why and why.startswith(NO_MINIMUM)), None)
