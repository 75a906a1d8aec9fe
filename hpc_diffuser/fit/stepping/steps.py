"""What a search that takes steps is told: the objective linearised, where to begin.

All of it follows from a restart's history, so that it is made anew where a run goes on.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from hpc_diffuser.fit.priors.penalty import Penalty
from hpc_diffuser.fit.priors.prior import penalty_of
from hpc_diffuser.fit.problem import ENSEMBLE, PROPOSAL, Problem, computation
from hpc_diffuser.fit.results import objective
from hpc_diffuser.fit.sampling_error import final_estimator
from hpc_diffuser.fit.scoring import Comparison, Score
from hpc_diffuser.fit.search.history import History
from hpc_diffuser.fit.search.least_squares import replayed, times_more
from hpc_diffuser.fit.search.linearised import About, Linearised
from hpc_diffuser.fit.search.method import METHODS
from hpc_diffuser.fit.space import source_point
from hpc_diffuser.fit.stepping.independence import Independence, asked
from hpc_diffuser.fit.stepping.likelihood_equations import LikelihoodEquations
from hpc_diffuser.fit.stepping.normal_equations import NormalEquations
from hpc_diffuser.fit.stepping.slopes import expanded_modes, expanded_springs, slopes
from hpc_diffuser.fit.stepping.starts import one_phonon_point, random_point
from hpc_diffuser.motion.random_numbers import generator
from hpc_diffuser.scattering.model import ForwardModel
from hpc_diffuser.system.errors import InputError

_NEAR_0 = 0.02  # of the largest amplitude: below, dO/dσ² from dO/dσ would be 0/0

_ENOUGH_ALIKE = 3  # points, all but one of them at random, that tell of all

_Row = tuple[int, int]  # restart, and row of its history


class Steps:
    """Evaluates the points of restarts on one group of ranks, and linearises about them.

    From the second stage on the gradient is exact. The first order alone would have a minimum of
    its own: there its rest is sampled then.

    Parameters
    ----------
    problem : Problem
    model : ForwardModel
    comparison : Comparison
        Of the model.
    go_on : callable
        Called between the maps of a linearisation, by all ranks: raises to end it.
    """

    def __init__(
        self,
        problem: Problem,
        model: ForwardModel,
        comparison: Comparison,
        go_on: Callable[[], None],
    ):
        self._problem, self._model, self._go_on = problem, model, go_on
        self._comparison = comparison
        self._method = METHODS[problem.config.search.method]
        self._prior = problem.prior
        self._linearised: tuple[_Row, Linearised | None] | None = None
        self._measured: _Row | None = None
        self._n_independent = 1.0
        how = computation(problem.config.model, problem.modes, problem.space)
        self._estimator, self._polishes = how.estimator, False
        if self._method.steps_after is not None:
            options = problem.config.target
            self._equations: NormalEquations | LikelihoodEquations
            if options.knots is None:
                self._equations = NormalEquations(
                    problem.target, model, options.cc_rule, options.weights
                )
            else:
                self._equations = LikelihoodEquations(problem.target, model, options.knots)
            self._squared = problem.space.squared
            about = problem.modes, problem.space, problem.space.middle
            self._polishes = bool(expanded_modes(*about)) or bool(expanded_springs(*about))
            self._independence = Independence(problem.target, options, model)

    @property
    def n_independent(self) -> float:
        """How many independent numbers the data are, as measured last; 1 off the root."""
        return self._n_independent

    def score(self, point: np.ndarray, restart: int, stage: int) -> Score:
        """Of a point, with the sample points of a restart's stage."""
        return self._comparison.score(self._calculated(point, restart, stage))

    def objective(self, point: np.ndarray, score: Score) -> float:
        """By the score, and by the prior where there is one: the root's, on every rank."""
        prior = self._prior
        if prior is None:
            return objective(score)
        penalty = self._model.group.from_root(lambda: penalty_of(prior, point, score))
        return objective(score) + float(penalty)

    def about(self, history: History, restart: int) -> About | None:
        """What the method is told about a restart, on every rank; None where it needs nothing."""
        method = self._method
        if method.steps_after is None:
            return None
        n_first = method.steps_after(self._problem.config.search.initial_points)
        if len(history) < n_first:
            return About(self._squared, None if method.learns else self._start(restart))
        n_independent = self._numbers(history, restart, n_first)
        linearised = self._about_row(history, (restart, replayed(history, n_first).accepted))
        self._model.group.from_root(lambda: self._refuse_without_slope(history, linearised))
        possible = None if self._problem.modes.lattice is None else self._computable
        return About(self._squared, None, linearised, n_independent, self._penalty(), possible)

    def _computable(self, point: np.ndarray) -> bool:
        """Whether what its springs hold can be computed."""
        parameters = self._problem.space.parameters(point)
        lattice = parameters.lattice
        return lattice is None or lattice.computable(parameters.springs)

    def _numbers(self, history: History, restart: int, n_first: int) -> float:
        """How many independent numbers the data are, on the root, by where the stage began."""
        starts = history.stage_starts
        first = starts[-1] if starts else int(np.argmin(history.objectives[:n_first]))
        row = restart, first
        if self._measured == row:
            return self._n_independent
        if row[1] == replayed(history, n_first).accepted:
            self._linearised = None  # made with what it takes to measure them
            self._about_row(history, row, measuring=True)
        else:  # where a run goes on in the middle of a stage
            self._measure(history.points[first], restart, history.stage_of(first))
        self._measured = row
        return self._n_independent

    def _measure(self, point: np.ndarray, restart: int, stage: int) -> None:
        """The same from the few slopes that it takes: it is not stopped between them."""
        calculated = self._calculated(point, restart, stage)
        columns = self._slopes(point, restart, asked(len(point)))
        for _ in self._independence.beside(columns, len(point)):
            pass
        self._n_independent = self._independence.of(calculated)

    def _about_row(self, history: History, row: _Row, measuring: bool = False) -> Linearised | None:
        if self._linearised is None or self._linearised[0] != row:
            place = history.points[row[1]], row[0], history.stage_of(row[1])
            self._linearised = row, self.of_map(*place, measuring)
        return self._linearised[1]

    def _refuse_without_slope(self, history: History, linearised: Linearised | None) -> None:
        """Raise InputError where neither slopes nor points elsewhere change anything."""
        same = len(history) >= _ENOUGH_ALIKE and not np.ptp(history.objectives)
        if same and linearised is not None and not linearised.change.any():
            raise InputError(
                f'search.method = "{self._problem.config.search.method}": the map has no '
                f"derivative: nothing that is refined ({', '.join(self._problem.space.names)}) "
                "changes it: expected [parameters] with a range for something that does"
            )

    def _penalty(self) -> Callable[[np.ndarray], Penalty] | None:
        """What the prior adds to the objective, of a point; known once a map was linearised."""
        prior = self._prior
        if prior is None:
            return None
        background = self._equations.background_alone
        return lambda point: prior.added_about(point, background)

    def of_map(
        self, point: np.ndarray, restart: int, stage: int, measuring: bool = False
    ) -> Linearised | None:
        """The objective about a point without the prior, on the root; None on the others.

        Parameters
        ----------
        point : (D,) float
        restart, stage : int
            Whose sample points the map is of.
        measuring : bool
            How many independent numbers the data are, too: `about` tells.
        """
        calculated = self._calculated(point, restart, stage)
        columns = self._slopes(point, restart)
        if measuring:
            columns = self._independence.beside(columns, len(point))
        found = self._equations.of(calculated, columns, len(point))
        if measuring:
            self._n_independent = self._independence.of(calculated)
        exact = self._exact_gradient(calculated, point, restart, stage)
        if found is None:
            return None
        return replace(found, gradient=np.where(np.isnan(exact), found.gradient, exact))

    def _exact_gradient(
        self, calculated: np.ndarray, point: np.ndarray, restart: int, stage: int
    ) -> np.ndarray:
        """What the slopes are exact enough for stays NaN: the first stage, and φ near 0.

        Of an expansion the residual is that of its map, and what follows that of samples alone:
        both without bias.
        """
        space, unknown = self._problem.space, np.full(len(point), np.nan)
        if stage == 0 or not self._polishes:
            return unknown
        self._go_on()
        parameters, normals = space.parameters(point), self._normals(restart, stage)
        _, slope = self._comparison.slope(calculated)
        self._model.use_estimator("sampled")
        found = self._model.gradient(parameters, normals, slope, space.refined_names)
        self._model.use_estimator(self._estimator)
        by_value = space.point(space.by_name(0 * point) | {n: g.tolist() for n, g in found.items()})
        near_0 = self._squared & (point < _NEAR_0 * space.bounds[:, 1])
        by_phi = by_value / np.where(self._squared & ~near_0, 2 * point, 1.0)
        return np.where(near_0, np.nan, by_phi)

    def _slopes(
        self, point: np.ndarray, restart: int, some: set[int] | None = None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """By the first stage's estimator and points."""
        self._model.use_estimator(self._estimator)
        about = self._problem.modes, self._problem.space, point, self._normals(restart, 0)
        found = slopes(self._model, *about, some)
        return self._each(found) if some is None else found

    def _each(self, columns: Iterator[tuple[int, np.ndarray]]) -> Iterator[tuple[int, np.ndarray]]:
        for column in columns:
            self._go_on()
            yield column

    def _calculated(self, point: np.ndarray, restart: int, stage: int) -> np.ndarray:
        """The map of a point; where the gradient is exact, with what the first order leaves."""
        exact = bool(stage) and self._polishes
        self._model.use_estimator(final_estimator(self._estimator) if exact else self._estimator)
        parameters = self._problem.space.parameters(point)
        return self._model.internal_motion(parameters, self._normals(restart, stage))

    def _normals(self, restart: int, stage: int) -> np.ndarray:
        """Sample points: in the first stage those of any search, in later ones others and more."""
        samples = int(self._problem.config.model.samples)  # "auto" is a number by now
        if stage == 0:
            return self._problem.normals(samples, ENSEMBLE, restart)
        return self._problem.normals(samples * times_more(stage), ENSEMBLE, restart, stage)

    def _start(self, restart: int) -> np.ndarray:
        """Where a restart begins: at the one-phonon answer, the source's amplitudes, anywhere.

        And where the path ended that the prior's weight was chosen on. Weights of frames have no
        one-phonon answer: first come the given ones.
        """
        problem, first = self._problem, int(not self._problem.space.of_frames.any())
        if restart == first - 1:
            self._go_on()
            return one_phonon_point(problem, self._model, self._normals(restart, 0))
        if restart == first:
            return source_point(problem.space, problem.modes)
        if restart == first + 1 and problem.on_path is not None:
            return np.array(problem.on_path)
        stream = generator(problem.config.model.seed, PROPOSAL, restart, 0)
        return random_point(problem.space, problem.modes, stream)
