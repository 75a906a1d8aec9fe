"""Which weight of a prior CC_free chooses, of those that fits were made with."""

from dataclasses import dataclass

MIDDLE = 15.0  # the weight that voxels at 7 samples per unit ask for
# First no prior, then about that by half decades. Not downwards: a strong prior that is at peace
# where nothing moves along the modes would hold them there.
WEIGHTS = (0.0, *(MIDDLE * 10 ** (n / 2) for n in range(-4, 7)))
# θ of the entropy of frames' weights: first the given ones, all but held, then away from them.
ENTROPY_WEIGHTS = (*(10 ** (-n / 2) for n in range(11)), 0.0)
MIDDLE_ENTROPY = 1e-2
SAME = 2e-4  # of CC_free: a stronger prior that lacks no more is as good


@dataclass(frozen=True, kw_only=True)
class PathPoint:
    """Where a fit with one weight ended.

    Attributes
    ----------
    weight : float
    cc_work, cc_free : float or None
        By the search's samples; None where undefined.
    objective : float
        Of the map alone.
    deviation : float
        Rms of ln σ/cσ⁰ over the refined modes; of frames' weights their relative entropy.
    scale_of_source : float
        c; 1 of weights.
    evaluations : int
    point : tuple of float
        The refined parameters.
    effective_frames : float or None
        Of weights, e^entropy; None of amplitudes.
    converged : bool or None
        No step would have gained anything more; None of a run that did not keep it.
    """

    weight: float
    cc_work: float | None
    cc_free: float | None
    objective: float
    deviation: float
    scale_of_source: float
    evaluations: int
    point: tuple[float, ...]
    effective_frames: float | None = None
    converged: bool | None = None


@dataclass(frozen=True)
class PriorPath:
    """The path as far as it goes.

    Attributes
    ----------
    points : tuple of PathPoint
        Of amplitudes the weakest prior first, of frames' weights the strongest.
    """

    points: tuple[PathPoint, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether all weights were tried."""
        return len(self.points) == len(ENTROPY_WEIGHTS if self.of_frames else WEIGHTS)

    @property
    def of_frames(self) -> bool:
        """Whether it is of an ensemble's weights."""
        return bool(self.points) and self.points[0].effective_frames is not None

    @property
    def chosen(self) -> PathPoint:
        """The strongest prior whose CC_free is the best, or as good."""
        known = [-1.0 if p.cc_free is None else p.cc_free for p in self.points]
        good = [p for p, cc in zip(self.points, known, strict=True) if cc >= max(known) - SAME]
        return max(good, key=lambda p: p.weight)
