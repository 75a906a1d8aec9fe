"""What the work of a fit costs on one rank, measured: a map, its slopes, its exact gradient.

Measured with few samples, at points that no moments are known of, and scaled to as many as a stage
has: by what an estimator's work is counted to be (`estimator_costs`).
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any

import numpy as np

from hpc_diffuser.fit.errors.known_slopes import MANY
from hpc_diffuser.fit.problem import ENSEMBLE, Problem, compare, likely_point
from hpc_diffuser.fit.sampling_error import final_estimator
from hpc_diffuser.fit.search.least_squares import LAST_STAGE, MOST_TIMES, times_more
from hpc_diffuser.fit.search.method import METHODS
from hpc_diffuser.fit.stepping.slopes import (
    expanded_modes,
    expanded_springs,
    n_sampled_maps,
)
from hpc_diffuser.fit.stepping.steps import Steps
from hpc_diffuser.motion.ensemble import n_configurations
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.decomposition import Work
from hpc_diffuser.scattering.dealing import n_parts
from hpc_diffuser.system.arrays import Floats

_FEW = 16  # samples that are timed
_MOVED = 1e-6  # of a range: from one point to the next


@dataclass(frozen=True)
class StageCosts:
    """What one evaluation of a stage costs on one rank, and what a step from there takes besides.

    Attributes
    ----------
    estimator : str
        Of its map.
    samples : int
        Configurations; 0 of the first order alone.
    parts : int
        That a map's work divides into, but for planes.
    evaluating : float, s
        A map, and its score.
    linearising : float, s
        Slopes of the map along all parameters; 0 of a search that takes no steps.
    polishing : float, s
        The exact gradient; 0 in the first stage, and where the slopes are no expansion's.
    """

    estimator: str
    samples: int
    parts: int
    evaluating: float
    linearising: float = 0.0
    polishing: float = 0.0

    @property
    def step(self) -> float:
        """Seconds of an evaluation and of the step from there."""
        return self.evaluating + self.linearising + self.polishing


def stage_costs(
    problem: Problem,
    group: Ranks,
    clock: Callable[[], float] = time.perf_counter,
    first_alone: bool = False,
) -> tuple[tuple[StageCosts, ...], Work]:
    """Of every stage that a search may come to, and the work of a part of a map.

    Of a search that takes no steps there is one stage.

    Parameters
    ----------
    problem : Problem
        Whose estimator and number of samples are known; see `problem.as_found`.
    group : Ranks
        All of them call this; each measures its own part.
    clock : callable
        Seconds.
    first_alone : bool
        Only of the first stage, which takes least to measure.
    """
    timing = Timing(problem, group, clock)
    return timing.stages(first_alone), timing.work


class Timing:
    """Times a problem's work; what stages have in common is timed once.

    Parameters
    ----------
    problem, group, clock
        As of `stage_costs`.

    Attributes
    ----------
    work : Work
        Of a part of a map.
    """

    def __init__(self, problem: Problem, group: Ranks, clock: Callable[[], float]):
        self._problem, self._clock = problem, clock
        self._samples = int(problem.config.model.samples)
        self._model, self._comparison = compare(problem, group)
        self._asked = self._model.molecule.moments.estimator
        self._middle = likely_point(problem)
        self._parameters = problem.space.parameters(self._middle)
        self._steps = METHODS[problem.config.search.method].steps_after is not None
        of = problem.modes, problem.space, self._parameters
        self._polishes = self._steps and bool(expanded_modes(*of) or expanded_springs(*of))
        self._points = self._moved()
        self.work: Work = self._model.molecule.moments.work
        self._known: dict[object, Any] = {}

    def stages(self, first_alone: bool = False) -> tuple[StageCosts, ...]:
        """See `stage_costs`."""
        numbers = range(1 if first_alone or not self._steps else LAST_STAGE + 1)
        return tuple(map(self._stage, numbers))

    def end(self) -> float:
        """Seconds of what comes after the last restart: final maps, and those of the errors.

        A map at the answer, at another point beside it where there are several restarts, and of
        other samples (`results.finish`); two to the sides of every parameter whose slope is not
        known, and of every direction that mixes them (`uncertainty.parameter_intervals`).
        """
        model, space = self._problem.config.model, self._problem.space
        estimator = self._estimator_at(final_estimator(self._asked))
        compared = min(self._problem.config.search.restarts, 2)
        samples = model.final_samples
        final = (compared + 1) * self._map(estimator, samples)
        if self._steps:
            samples = max(self._samples, min(self._samples * MOST_TIMES, samples))
        else:
            samples = self._samples
        if not space.refined.any():
            return final
        known = self._known_slopes()
        own = int(space.refined.sum()) - len(known)
        beside = 1 + 2 * own * (2 if own > 1 else 1)
        slopes = self._once("slopes", self._slopes) if self._steps and known else 0.0
        return final + beside * self._map(estimator, samples) + slopes

    def _known_slopes(self) -> set[int]:
        """Places of the parameters whose slopes take no maps: see `errors.known_slopes`."""
        of = self._problem.modes, self._problem.space, self._parameters
        space = self._problem.space
        found = set(expanded_modes(*of)) if len(self._middle) > MANY else set[int]()
        if "lattice_shape" in space.refined_names:
            found |= set(expanded_springs(*of))
        return found | set(np.flatnonzero(space.of_frames).tolist())

    def _stage(self, number: int) -> StageCosts:
        """Of one stage; see `steps.Steps`."""
        exact = number > 0 and self._polishes
        estimator = self._estimator_at(final_estimator(self._asked) if exact else self._asked)
        samples = self._samples * times_more(number)
        n = self._configurations(samples)
        fields = 0 if estimator == "sampled" else len(self._problem.modes.vectors)
        return StageCosts(
            estimator,
            0 if estimator == "one-phonon" else n,
            fields + (0 if estimator == "one-phonon" else n_parts(n)),
            self._map(estimator, samples),
            self._once("slopes", self._slopes) if self._steps else 0.0,
            n * self._once("gradient", self._gradient) if exact else 0.0,
        )

    def _map(self, estimator: str, samples: int) -> float:
        """A map at a new point, and its score; what only the moments take grows with samples."""
        few = min(_FEW, samples)
        whole, known = self._once(("map", estimator), lambda: self._timed_map(estimator, few))
        ratio = self._counted(estimator, samples) / self._counted(estimator, few)
        return known + max(whole - known, 0.0) * ratio

    def _timed_map(self, estimator: str, samples: int) -> tuple[float, float]:
        """Seconds of a map, and of another of the same moments."""
        self._model.use_estimator(estimator)
        normals = self._normals(samples)

        def score(parameters: Parameters) -> None:
            self._comparison.score(self._model.internal_motion(parameters, normals))

        score(next(self._points)[1])  # loads kernels
        _, parameters = next(self._points)
        return self._seconds(score, parameters), self._seconds(score, parameters)

    def _slopes(self) -> float:
        """Slopes about a point whose map is known, and what a step is solved from."""
        few = min(_FEW, self._samples)
        model = replace(self._problem.config.model, samples=few)
        problem = replace(self._problem, config=replace(self._problem.config, model=model))
        steps = Steps(problem, self._model, self._comparison, lambda: None)
        seconds = 0.0
        for _ in range(2):  # the first one loads kernels
            point, _ = next(self._points)
            steps.score(point, 0, 0)
            seconds = self._seconds(lambda at: steps.of_map(at, 0, 0), point)
        estimator = self._estimator_at(self._asked)
        more = self._map(estimator, self._samples) - self._map(estimator, few)
        n_maps = n_sampled_maps(problem.modes, problem.space, self._middle)
        return seconds + n_maps * more

    def _gradient(self) -> float:
        """The exact gradient at a point whose map is known: of each sample."""
        normals, names = self._normals(_FEW), self._problem.space.refined_names
        seconds = 0.0
        for _ in range(2):
            _, parameters = next(self._points)
            self._model.use_estimator(final_estimator(self._asked))
            calculated = self._model.internal_motion(parameters, normals)
            _, slope = self._comparison.slope(calculated)
            self._model.use_estimator("sampled")
            of = partial(self._model.gradient, parameters, normals, slope)
            seconds = self._seconds(of, names)
        return seconds / len(normals)

    def _estimator_at(self, asked: str) -> str:
        """The estimator that does what one is asked for."""
        self._model.use_estimator(asked)
        return self._model.estimator_at(self._parameters)

    def _counted(self, estimator: str, samples: int) -> float:
        """The work of moments, in any unit."""
        moments = self._model.molecule.moments
        if not moments.expands(self._parameters.sampled):
            return self._configurations(samples)
        return moments.costs(self._parameters.sampled, samples)[estimator]

    def _configurations(self, samples: int) -> int:
        return n_configurations(self._problem.modes, self._problem.space.librates, samples)

    def _normals(self, samples: int) -> Floats:
        return self._problem.normals(samples, ENSEMBLE, 0)

    def _moved(self) -> Iterator[tuple[Floats, Parameters]]:
        """Points beside each other: of the same parameters no moments are computed again."""
        space = self._problem.space
        for number in count():
            moved = self._middle + number * _MOVED * np.ptp(space.bounds, axis=1)
            parameters = space.parameters(np.clip(moved, *space.bounds.T))
            if not len(moved):  # an evaluation alone, of what is held
                amplitudes = parameters.mode_amplitudes_A * (1 + number * _MOVED)
                parameters = replace(parameters, mode_amplitudes_A=amplitudes)
            yield moved, parameters

    def _seconds(self, work: Callable[[Any], object], of: Any) -> float:
        started = self._clock()
        work(of)
        return self._clock() - started

    def _once(self, key: object, measure: Callable[[], Any]) -> Any:
        if key not in self._known:
            self._known[key] = measure()
        return self._known[key]
