"""What a fit has found, as one value: `Summary`, which summary.json holds and every page reads.

A field is a key of the file, in this order (`system.records`). Report, status, figures and
comparison read these attributes, and so does whatever else shows a fit; what a search comes to
know besides is a field more of `Findings` (all restarts) or `Outcome` (the final map), which may
be lacking in a file where it has a default.
"""

from dataclasses import dataclass

import numpy as np

from hpc_diffuser.fit.errors.intervals import Intervals
from hpc_diffuser.fit.frame_weights import FrameWeights
from hpc_diffuser.fit.sampling_error import Convergence
from hpc_diffuser.motion.parameters import Value
from hpc_diffuser.motion.registry import parameter_labels

AS_GOOD = 0.002  # a CC_work that is lower by no more is as good
# Sigmas between which that of translation alone is looked for. Below the first one a map has the
# pattern of the limit, q²|F|², to 2 % even at 1.6 Å: it does not tell how small sigma is.
TRANSLATIONS_A = (0.05, 4.0)
Values = dict[str, Value]  # by parameter name, of modes a list
Spread = dict[str, float | list[float | None] | None]  # the same; None where not known


@dataclass(frozen=True, kw_only=True)
class Excluded:
    """A restart that has failed, and why it is thought so."""

    restart: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class AtBounds:
    """The parameters of a point that are at the lower and at the upper end of their ranges."""

    lower: tuple[str, ...]
    upper: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best restart: its number, its point, and CC_work by the search's own samples."""

    values: Values
    cc_work: float
    restart: int


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Restarts that ended at the same place.

    Attributes
    ----------
    restarts : tuple of int
    best_restart : int
    cc_search : float
        CC_work of the best restart, by the search's own samples.
    best, median : dict
        By parameter name.
    at_bounds : AtBounds
        Of the median.
    """

    restarts: tuple[int, ...]
    best_restart: int
    cc_search: float
    best: Values
    median: Values
    at_bounds: AtBounds


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What the finished restarts say.

    Attributes
    ----------
    best : Best
    median, spread : dict
        By parameter name. The spread is half the width of the central 68 % of the restarts'
        answers: how far the *search* scatters, and no error of the parameters. None for a single
        restart.
    clusters : tuple of Cluster
        The one with the best restart first.
    at_bounds : dict of AtBounds
        Of `median` and `best`; of `answer` where that is another point.
    at_upper_bound : tuple of str
        Of the median.
    """

    best: Best
    median: Values
    spread: Spread
    clusters: tuple[Cluster, ...]
    at_bounds: dict[str, AtBounds]
    at_upper_bound: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a run has cost, over all jobs.

    Attributes
    ----------
    jobs, killed : int
        Their number; those that did not end by themselves.
    core_hours, wall_hours : float
    hosts, processors : tuple of str
        Each once.
    """

    jobs: int
    killed: int
    core_hours: float
    wall_hours: float
    hosts: tuple[str, ...]
    processors: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Over working and free voxels; None where a CC is undefined."""

    cc_work: float | None
    cc_free: float | None


@dataclass(frozen=True, kw_only=True)
class TranslationAlone:
    """The baseline: rigid-body translation at its own best sigma, with the answer's solvent."""

    translation_sigma_A: float
    k_sol_eA3: float = 0.0
    b_sol_A2: float = 0.0
    cc_work: float | None
    cc_free: float | None


@dataclass(frozen=True, kw_only=True)
class ScoreRule:
    """What a CC is over: [target] score and weights of the config."""

    rule: str
    weights: str


@dataclass(frozen=True, kw_only=True)
class Likelihood:
    """χ² of the final map, with the scale and background that make it least.

    Attributes
    ----------
    chi_squared_work, chi_squared_free : float or None
        For each voxel: 1 of a model that is right to within the errors. None without voxels.
    explained : float
        1 − χ²/χ₀² over the working voxels, where χ₀² is what the background alone leaves.
    scale : float
        Measured unit per e².
    background : tuple of float
        At the knots, in the measured unit.
    knots : tuple of float
        1/d in Å⁻¹.
    sigma_of : {"errors", "half-maps"}
        Where σ comes from.
    """

    chi_squared_work: float | None
    chi_squared_free: float | None
    explained: float
    scale: float
    background: tuple[float, ...]
    knots: tuple[float, ...]
    sigma_of: str


@dataclass(frozen=True, kw_only=True)
class PriorShare:
    """What [prior] adds to the objective at the answer.

    Attributes
    ----------
    amplitudes, b_factors, anisou : float
        Weights; 0 where there is none.
    tau : float
    scale_of_source : float or None
        c: how many times the source's amplitudes the answer's are, in the mean of logarithms.
    of_amplitudes, of_b_factors, of_anisou : float
        Parts of the objective.
    weights, of_weights : float
        θ of the relative entropy of frames' weights, and its part of the objective.
    springs, springs_tau, of_springs : float
        Weight of the prior of springs of any shape, τ, and its part of the objective.
    """

    amplitudes: float
    tau: float
    scale_of_source: float | None
    b_factors: float
    of_amplitudes: float
    of_b_factors: float
    anisou: float = 0.0
    of_anisou: float = 0.0
    weights: float = 0.0
    of_weights: float = 0.0
    springs: float = 0.0
    springs_tau: float = 1.0
    of_springs: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """CC½ of the target's half-maps, and CC*, that of a perfect model."""

    cc_half: float | None
    cc_star: float | None


@dataclass(frozen=True, kw_only=True)
class ShellRow:
    """Of a resolution shell its limits in Å, voxels, CC and ceilings.

    Attributes
    ----------
    d_max, d_min : float, Å
        d_max is None where the shell begins at the origin.
    voxels_work, voxels_free : int
    cc, cc_free, cc_half, cc_star : float or None
        None where undefined.
    """

    d_max: float | None
    d_min: float
    voxels_work: int
    voxels_free: int
    cc: float | None
    cc_free: float | None
    cc_half: float | None
    cc_star: float | None


@dataclass(frozen=True, kw_only=True)
class FitShellRow(ShellRow):
    """The same with the CC of translation alone."""

    cc_translation: float | None
    cc_free_translation: float | None


@dataclass(frozen=True, kw_only=True)
class MotionSize:
    """Root mean square displacement in space over all atoms in Å, and the mean B-factor in Å²."""

    rms_A: float
    mean_b_A2: float


@dataclass(frozen=True, kw_only=True)
class MotionSizes(MotionSize):
    """Of all motion together.

    Attributes
    ----------
    kinds : dict of MotionSize
        Of each motion that there is, alone.
    turn_deg : float or None, degrees
        Rms, about any axis, by springs between molecules; None without, or in a file that is older.
    """

    kinds: dict[str, MotionSize]
    turn_deg: float | None = None


@dataclass(frozen=True, kw_only=True)
class BFactors:
    """The model's B-factors beside the crystal's.

    Attributes
    ----------
    atoms : int
        That the crystal structure has.
    cc : float or None
        None where either does not vary.
    mean_ratio : float
        Of the model's mean to the crystal's.
    mean_A2, crystal_mean_A2 : float, Å²
    moves_more : float
        The part of the atoms whose B is over 1.1 times the crystal's.
    farthest_beyond : str
        The atom that is it most.
    """

    atoms: int
    cc: float | None
    mean_ratio: float
    mean_A2: float
    crystal_mean_A2: float
    moves_more: float
    farthest_beyond: str


@dataclass(frozen=True, kw_only=True)
class HaloScores:
    """CC over work and free set together, with the halos and with them masked."""

    cc_with_halos: float | None
    cc_without_halos: float | None


@dataclass(frozen=True, kw_only=True)
class AlphaRow:
    """The same of the rigid molecule times the halo profile to the power `alpha`."""

    alpha: float
    cc_with_halos: float | None
    cc_without_halos: float | None


@dataclass(frozen=True, kw_only=True)
class ScannedHaloScores(HaloScores):
    """With the scan of an empirical profile's power."""

    alpha_scan: tuple[AlphaRow, ...]


@dataclass(frozen=True, kw_only=True)
class LastSession:
    """The last job: its ranks, time in s, the search's part in proposing, the largest peak."""

    ranks: int
    wall_s: float
    optimiser_share: float | None
    peak_memory_MB_per_rank: int


@dataclass(frozen=True, kw_only=True)
class FinalMap:
    """How the final map was computed, and what that leaves.

    Attributes
    ----------
    estimator : str
        Of the moments over the modes; one of `moments.ESTIMATORS`.
    samples : int
    map_error : float or None
        1 − CC with the map of infinitely many samples, by another randomisation of as many; None
        where nothing is random.
    first_order_error : float or None
        1 − CC with the map to first order alone, where the search has used that.
    """

    estimator: str
    samples: int
    map_error: float | None
    first_order_error: float | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What is known once the final map is made, at the answer.

    Attributes
    ----------
    answer : dict
        By parameter name.
    answer_is : str
        Which point it is, in words.
    scores : dict of Scores
        Of the points that were compared, `median`, `cluster` and `best`; in the file as
        `median_scores` and so on.
    cc_work, cc_free : float or None
    translation_alone : TranslationAlone
    score : ScoreRule or None
        None in a file that is older.
    ceiling : Ceiling or None
        None where the target has no half-maps.
    shells : tuple of FitShellRow
    motion : MotionSizes
    b_factors : BFactors or None
    b_factors_missing : str or None
        Why there are none.
    halos : HaloScores or None
        None where no voxel lies in a halo.
    likelihood : Likelihood or None
        None where the score is a CC.
    anisotropic_scale : two floats or None
        The least and the largest that the final map is multiplied by; None where it is not.
    prior : PriorShare or None
        None without one.
    frame_weights : FrameWeights or None
        None where none are refined.
    final_map : FinalMap or None
        None in a file that is older.
    intervals : Intervals or None
        Of the refined parameters; None where nothing is refined, or in a file that is older.
    standard_errors : dict or None
        Of the answer's parameters, by name, in their units; None where not determined, and of
        those held. None in a file that is older.
    last_session : LastSession
    """

    answer: Values
    answer_is: str
    scores: dict[str, Scores]
    cc_work: float | None
    cc_free: float | None
    translation_alone: TranslationAlone
    score: ScoreRule | None = None
    ceiling: Ceiling | None
    shells: tuple[FitShellRow, ...]
    motion: MotionSizes
    b_factors: BFactors | None
    b_factors_missing: str | None
    halos: ScannedHaloScores | HaloScores | None
    likelihood: Likelihood | None = None
    anisotropic_scale: tuple[float, float] | None = None
    prior: PriorShare | None = None
    frame_weights: FrameWeights | None = None
    final_map: FinalMap | None = None
    intervals: Intervals | None = None
    standard_errors: Spread | None = None
    last_session: LastSession


@dataclass(frozen=True, kw_only=True)
class Summary:
    """All that a run says of itself.

    Attributes
    ----------
    restarts, restarts_finished, evaluations : int
        Restarts that are asked for, that are done; evaluations of all.
    restarts_ended : int
        Of those done, by themselves.
    restarts_stood_still : int
        Of those, the ones whose steps led nowhere; the others have converged: other sample points
        would have led to the same place.
    excluded : tuple of Excluded
        Those that have failed.
    refined : tuple of str
        Labels of the refined parameters, modes counted from 1.
    bounds : dict of (float, float)
        By label.
    findings : Findings or None
        None until a restart is finished; in the file its keys are among these.
    source_mode_amplitude_A : tuple of float
        Of the ensemble, or the elastic network, that the modes come from.
    sampling : Convergence or None
    cost : Cost or None
    outcome : Outcome or None
        None until the last restart is finished; in the file its keys are among these.
    warnings : tuple of str
    """

    restarts: int
    restarts_finished: int
    evaluations: int
    excluded: tuple[Excluded, ...]
    refined: tuple[str, ...]
    bounds: dict[str, tuple[float, float]]
    findings: Findings | None = None
    source_mode_amplitude_A: tuple[float, ...] = ()
    sampling: Convergence | None = None
    cost: Cost | None = None
    outcome: Outcome | None = None
    warnings: tuple[str, ...] = ()
    restarts_ended: int = 0
    restarts_stood_still: int = 0

    def complete(self) -> tuple[Findings, Outcome]:
        """What restarts and final map say.

        Raises
        ------
        ValueError
            Where the last restart is not finished.
        """
        if self.findings is None or self.outcome is None:
            raise ValueError("expected the summary of a finished fit")
        return self.findings, self.outcome


def by_label(values: Values | Spread) -> dict[str, float | None]:
    """The numbers of parameters by their labels, as `Summary.bounds` has them: modes from 1."""
    found: dict[str, float | None] = {}
    for name, value in values.items():
        size = len(value) if isinstance(value, list) else None
        numbers = value if isinstance(value, list) else [value]
        found |= zip(parameter_labels(name, size), numbers, strict=True)
    return found


def without_stand_ins(values: Values) -> Values:
    """Without the translation, 0, of molecules whose springs say how they translate."""
    if not any(np.atleast_1d(values.get("lattice_spring_A", 0.0))):
        return values
    return {name: value for name, value in values.items() if name != "translation_sigma_A"}
