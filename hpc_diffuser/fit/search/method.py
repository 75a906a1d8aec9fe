"""What a search method offers, and which ones there are.

Reading a config needs their names alone: a method's own module is loaded when a search begins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from hpc_diffuser.fit.search.history import Hedge, History


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
    ) -> tuple[np.ndarray, Hedge]:
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

        Returns
        -------
        point : (D,) float
            Within the bounds.
        hedge : Hedge
            To be stored with the point's evaluation.
        """
        ...


def _bayesian() -> SearchMethod:
    from hpc_diffuser.fit.search.bayesian import propose

    return propose


# By the name that [search] method gives them: what loads each.
METHODS: dict[str, Callable[[], SearchMethod]] = {"bayesian": _bayesian}


def search_method(name: str) -> SearchMethod:
    """The method of a name of `METHODS`."""
    return METHODS[name]()
