"""Which estimator of the moments a fit takes: by the error that each leaves, and what it costs.

Errors are measured with independent randomisations in the middle of the parameters' ranges, as
that of samples is (`convergence`); costs are counted. What is least is

    cost · max(error, map_error):

an error below `map_error` is worth nothing. The first order leaves an error that no other restart
averages out, and that grows with motion. So it is taken only where it leaves no more than the
samples do, in the middle and with all parameters at the upper ends of their ranges.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hpc_diffuser.fit.config import ModelConfig
from hpc_diffuser.fit.convergence import (
    FEWEST,
    RANDOMISATIONS,
    error_of_maps,
    samples_needed,
)
from hpc_diffuser.fit.sampling_error import Convergence, EstimatorError
from hpc_diffuser.fit.scoring import Comparison
from hpc_diffuser.motion.configurations import rms_motion_A
from hpc_diffuser.motion.ensemble import Sampler
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.scattering.model import ForwardModel

FAR = 2.0  # q²⟨u²⟩ along an axis: the second order scatters about as much as the first
TRIED = 4.0  # times what the samples cost: what costs more is not measured


@dataclass(frozen=True)
class Trial:
    """What an estimator is measured with, on every rank of the model's group.

    Attributes
    ----------
    model : ForwardModel
    comparison : Comparison
        With a target at the model's voxels.
    options : ModelConfig
    sampler : Sampler
    purpose : tuple of int
        What the points are drawn for; the number of the randomisation comes behind.
    """

    model: ForwardModel
    comparison: Comparison
    options: ModelConfig
    sampler: Sampler
    purpose: tuple[int, ...] = ()

    def draw(self, samples: int, randomisation: int) -> np.ndarray:
        """Sample points."""
        return self.sampler.draw(samples, *self.purpose, randomisation)

    def maps(self, parameters: Parameters, samples: int) -> list[np.ndarray]:
        """Of independent randomisations, by the model's present estimator."""
        draws = (self.draw(samples, i) for i in range(RANDOMISATIONS))
        return [self.model.internal_motion(parameters, normals) for normals in draws]

    def of_samples(self, parameters: Parameters, estimator: str = "sampled") -> Convergence:
        """The number of samples, and their error, of an estimator that takes some."""
        self.model.use_estimator(estimator)
        about = self.model, self.comparison, parameters
        found = samples_needed(*about, self.options, self.sampler, *self.purpose)
        return replace(found, estimator=estimator)

    def of_named(self, parameters: Parameters, estimator: str) -> Convergence:
        """The same of any; of the first order alone, samples are those that its rest would need."""
        if estimator != "one-phonon":
            return self.of_samples(parameters, estimator)
        rest = self.of_samples(parameters, "control-variate")
        found = self.of_first_order(parameters, self.maps(parameters, rest.samples))
        return replace(found, samples=rest.samples)

    def of_first_order(self, parameters: Parameters, maps: list[np.ndarray]) -> Convergence:
        """What the first order alone leaves, told by maps of another estimator.

        A quarter of these maps' own error is in it: what is told is not too little. The number of
        samples is theirs.
        """
        self.model.use_estimator("one-phonon")
        alone, mean = self.model.internal_motion(parameters, self.draw(1, 0)), np.mean(maps, axis=0)
        error = max(1 - self.comparison.agreement(alone, mean), 0.0)
        scores = [self.comparison.score(values).cc_work for values in (alone, mean)]
        return Convergence(0, float(error), float(abs(scores[0] - scores[1])), (), "one-phonon")


def cheapest_estimator(trial: Trial, middle: Parameters, farthest: Parameters) -> Convergence:
    """The estimator to take, the error that it leaves in the middle, and those of all candidates.

    Parameters
    ----------
    trial : Trial
    middle, farthest : Parameters
        In the middle of their ranges, and at the upper ends.
    """
    sampled, floor = trial.of_samples(middle), trial.options.map_error
    moments = trial.model.molecule.moments
    if not moments.expands(middle.sampled):
        return sampled
    unit = moments.costs(middle.sampled, sampled.samples)["sampled"]

    def cost(of: Convergence) -> float:
        alone = of.estimator == "one-phonon"
        return moments.costs(middle.sampled, of.samples * (not alone))[of.estimator] / unit

    found = [sampled, *_expansions(trial, middle, sampled, cost)]
    far = _farthest(trial, middle, farthest, found)
    rows = [_row(one, cost(one), far.get(one.estimator)) for one in found]
    usable = [i for i, row in enumerate(rows) if _is_safe(row, rows[0])]
    chosen = min(usable, key=lambda i: rows[i].cost * max(rows[i].map_error, floor))
    return replace(found[chosen], estimators=tuple(rows))


def _expansions(
    trial: Trial,
    middle: Parameters,
    sampled: Convergence,
    cost: Callable[[Convergence], float],
) -> list[Convergence]:
    """Of the estimators with an expansion those that may be worth it, measured in the middle."""
    floor = trial.options.map_error
    worth = max(sampled.map_error, floor)
    is_open = trial.options.samples == "auto"
    rest = replace(sampled, estimator="control-variate")
    rest = replace(rest, samples=FEWEST) if is_open else rest
    first_pays = cost(replace(sampled, estimator="one-phonon")) * floor < worth
    rest_pays = cost(rest) * floor < worth
    if cost(rest) > TRIED or not (first_pays or rest_pays):
        return []
    trial.model.use_estimator("control-variate")
    maps = trial.maps(middle, rest.samples)
    rest = replace(error_of_maps(trial.comparison, maps, rest.samples), estimator=rest.estimator)
    found = [trial.of_first_order(middle, maps)] if first_pays else []
    while is_open and rest.map_error > worth and cost(replace(rest, samples=2 * rest.samples)) < 1:
        trial.model.use_estimator("control-variate")
        maps = trial.maps(middle, 2 * rest.samples)
        found_more = error_of_maps(trial.comparison, maps, 2 * rest.samples)
        rest = replace(found_more, estimator=rest.estimator)
    return [rest, *(replace(one, samples=rest.samples) for one in found)]


def _farthest(
    trial: Trial, middle: Parameters, farthest: Parameters, found: list[Convergence]
) -> dict[str, float]:
    """Errors at the upper ends of the samples and of the first order, where it may be taken."""
    sampled, first = found[0], found[-1]
    if first.estimator != "one-phonon" or first.map_error > sampled.map_error:
        return {}
    if farthest.sampled == middle.sampled:
        return {one.estimator: one.map_error for one in (sampled, first)}
    if not trial.model.molecule.moments.expands(farthest.sampled):
        return {}
    trial.model.use_estimator("sampled")
    maps = trial.maps(farthest, sampled.samples)
    errors = error_of_maps(trial.comparison, maps, sampled.samples)
    first = trial.of_first_order(farthest, maps)
    return {one.estimator: one.map_error for one in (replace(errors, estimator="sampled"), first)}


def _is_safe(row: EstimatorError, sampled: EstimatorError) -> bool:
    """Whether the first order is no worse than the samples are; the others always are."""
    if row.estimator != "one-phonon":
        return True
    if row.farthest_map_error is None or sampled.farthest_map_error is None:
        return False
    return (
        row.map_error <= sampled.map_error and row.farthest_map_error <= sampled.farthest_map_error
    )


def _row(found: Convergence, cost: float, farthest: float | None) -> EstimatorError:
    samples = 0 if found.estimator == "one-phonon" else found.samples
    return EstimatorError(found.estimator, samples, found.map_error, float(cost), farthest)


def named_text(asked: str, model: ForwardModel, parameters: Parameters, d_min: float) -> str | None:
    """What is to be said of an estimator that was asked for by name; None where it does as named.

    Parameters
    ----------
    asked : str
    model : ForwardModel
    parameters : Parameters
        Where motion is the largest.
    d_min : float, Å
        The resolution limit.
    """
    if asked in ("auto", "sampled") or not len(model.molecule.moments.modes.vectors):
        return None
    if not model.molecule.moments.expands(parameters.sampled):
        return (
            f"estimator: {asked} only where atoms move little enough to be drawn as blurred ones; "
            "samples alone where they move as far as here, or at the ranges' upper ends"
        )
    x = (2 * np.pi / d_min * rms_motion_A(model.molecule.moments.modes, parameters.sampled)) ** 2
    if asked == "one-phonon" and x / 3 > FAR:
        return (
            f"estimator: one-phonon, though at {d_min:g} Å q²<u²> is up to {x / 3:.2g} along an "
            "axis and higher orders, which it lacks, scatter as much as the first: "
            '"control-variate" has them'
        )
    return None


def choice_text(found: Convergence) -> str:
    """The estimator, and what it was chosen among, in one line."""
    rows = "; ".join(_row_text(row) for row in found.estimators)
    among = f" of: {rows}" if rows else ", the only one that these motions have"
    return f"estimator: {found.estimator}, by error 1 - CC of a map and cost{among}"


def _row_text(row: EstimatorError) -> str:
    far = row.farthest_map_error
    error = f"{row.map_error:.1e}"
    error += "" if far is None else f" ({far:.1e} at the upper ends)"
    return f"{row.estimator} {error}, {row.cost:.2g}"
