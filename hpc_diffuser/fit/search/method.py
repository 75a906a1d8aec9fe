"""What a search method offers, and which ones there are.

Reading a config needs their names alone: a method's own module is loaded when a search begins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from hpc_diffuser.fit.search.history import History, Proposal
    from hpc_diffuser.fit.search.linearised import About

_LEARNING = 3  # times initial_points: evaluations of Bayesian search before least squares


class SearchMethod(Protocol):
    """Proposes the next point to evaluate: a pure function of what it is given.

    So a search that is resumed from its checkpoint proposes what the uninterrupted one would
    have. What a method must remember from one proposal to the next goes with the point into the
    history, and there into the checkpoint. One test, `test_method.py`, holds all of `METHODS` to
    this; another method is a module beside `bayesian`, and a row there.
    """

    def __call__(
        self,
        history: History,
        bounds: np.ndarray,
        n_initial: int,
        stream: np.random.Generator,
        about: About | None = None,
    ) -> Proposal:
        """The next point to evaluate.

        Parameters
        ----------
        history : History
            All points so far with their objectives, and what the last proposal remembered.
        bounds : (D, 2) float
            Of the refined parameters, in their own units.
        n_initial : int
            So many first points are spread over the bounds, to learn from.
        stream : numpy.random.Generator
            Of this restart and iteration.
        about : About or None
            For methods that take steps.
        """
        ...


@dataclass(frozen=True)
class Method:
    """A row of `METHODS`.

    Attributes
    ----------
    load : callable
        What proposes.
    restarts : int
        As many as are made where the config does not say.
    learns : bool
        From `initial_points` that are spread over the bounds.
    steps_after : callable or None
        Initial points → so many evaluations are made before it takes steps, which need a
        linearised objective; None where it never does.
    """

    load: Callable[[], SearchMethod]
    restarts: int
    learns: bool = True
    steps_after: Callable[[int], int] | None = None


def _bayesian(plain: bool = False) -> SearchMethod:
    from hpc_diffuser.fit.search.bayesian import propose
    from hpc_diffuser.fit.search.history import Proposal

    def proposal(history, bounds, n_initial, stream, about=None):
        return Proposal(*propose(history, bounds, n_initial, stream, plain))

    return proposal


def _least_squares() -> SearchMethod:
    from hpc_diffuser.fit.search.least_squares import first_point, next_step

    def proposal(history, bounds, n_initial, stream, about=None):
        if not len(history):
            return first_point(history, bounds, stream, about)
        return next_step(history, bounds, stream, about, 1)

    return proposal


def _both() -> SearchMethod:
    from hpc_diffuser.fit.search.least_squares import next_step

    bayesian = _bayesian()

    def proposal(history, bounds, n_initial, stream, about=None):
        learning = _LEARNING * n_initial
        if len(history) < learning:
            return bayesian(history, bounds, n_initial, stream)
        return next_step(history, bounds, stream, about, learning)

    return proposal


# By the name that [search] method gives them.
METHODS: dict[str, Method] = {
    "bayesian": Method(_bayesian, restarts=128),
    "bayesian-plain": Method(lambda: _bayesian(plain=True), restarts=128),
    "least-squares": Method(_least_squares, 5, learns=False, steps_after=lambda n_initial: 1),
    "bayesian+least-squares": Method(
        _both, 16, steps_after=lambda n_initial: _LEARNING * n_initial
    ),
}


def search_method(name: str) -> SearchMethod:
    """The method of a name of `METHODS`."""
    return METHODS[name].load()
