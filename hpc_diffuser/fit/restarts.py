"""From the histories of all restarts to what they say: median, scatter, clusters, failures."""

import numpy as np

from hpc_diffuser.fit.clusters import clusters, joined
from hpc_diffuser.fit.search.history import History
from hpc_diffuser.fit.search.surrogate import pooled_surrogate
from hpc_diffuser.fit.space import SearchSpace, none_for_nan
from hpc_diffuser.fit.summary import (
    AS_GOOD,
    AtBounds,
    Best,
    Cluster,
    Excluded,
    Findings,
    Spread,
    Summary,
)

OUTLIER = 5.0  # robust standard deviations below the median CC
PLATEAU = 0.1  # of what a restart lacks to the best: its CC have to vary by more
FEWEST_ON_PLATEAU = 10  # evaluations that tell it is one
POINTS = 10  # for each parameter: fewer do not tell how the objective runs between answers
AT_BOUND = 0.01  # of a range: what lies so near to its end may be cut off


def failed_restarts(histories: dict[int, History]) -> dict[int, str]:
    """Restarts that have failed, with the reason; see docs/model.md for the rule in words.

    First those that never left a plateau; then, of what is left, those that are far below the
    median.

    Parameters
    ----------
    histories : dict of History
        Of the restarts that are finished.
    """
    stuck = _on_a_plateau(histories)
    others = {r: merit(h) for r, h in histories.items() if r not in stuck}
    return dict(sorted((stuck | _far_below(others, _name(histories))).items()))


def merit(history: History) -> float:
    """1 − the least objective: the best CC, but with a likelihood or a prior another number."""
    return 1 - float(history.objectives[history.best]) if len(history) else 0.0


def _name(histories: dict[int, History]) -> str:
    """What `merit` is called."""
    return "CC" if all(h.cc_work is None for h in histories.values()) else "1 - objective"


def best_cc(history: History) -> float:
    """CC_work of a restart's best point, as its search saw it; 0 before the first."""
    if history.cc_work is not None and len(history):
        return float(history.cc_work[history.best])
    return merit(history)


def _on_a_plateau(histories: dict[int, History]) -> dict[int, str]:
    """Restarts whose CC hardly varied, over all evaluations, while others found a better one.

    By its own history alone, however many others have failed like it.
    """
    best = max((merit(history) for history in histories.values()), default=0.0)
    found, name = {}, _name(histories)
    for restart, history in histories.items():
        varied, own = float(np.ptp(history.objectives)), merit(history)
        if len(history) >= FEWEST_ON_PLATEAU and varied < PLATEAU * (best - own):
            found[restart] = (
                f"never left a plateau: all its {name} lie between {own - varied:.4f} "
                f"and {own:.4f}, where the best restart has {best:.4f}"
            )
    return found


def _far_below(merits: dict[int, float], name: str) -> dict[int, str]:
    """Restarts that did not find the optimum the others found."""
    values = np.array(list(merits.values()))
    if len(values) < 3:
        return {}
    median = np.median(values)
    # A standard deviation from the median absolute deviation; 0.001 is no failure anyhow.
    width = max(1.4826 * np.median(np.abs(values - median)), 0.001)
    return {
        restart: f"best {name} {own:.4f} is more than {OUTLIER:g} deviations below the median "
        f"of {median:.4f}"
        for restart, own in merits.items()
        if own < median - OUTLIER * width
    }


def summarise(
    space: SearchSpace,
    histories: dict[int, History],
    n_restarts: int,
    n_evaluations: int,
    objective_error: float = 0.0,
) -> Summary:
    """What the restarts say, as far as they are.

    Parameters
    ----------
    space : SearchSpace
    histories : dict of History
        By restart: points (E, P) in the parameters' units, and their objectives, 1 − CC.
    n_restarts, n_evaluations : int
        As asked for; a restart with fewer evaluations is not finished.
    objective_error : float
        Standard deviation of CC from the samples of one restart to those of another.

    Returns
    -------
    Summary
        With findings once a restart is finished, and without an outcome.
    """
    finished = {r: h for r, h in histories.items() if h.finished(n_evaluations)}
    excluded = failed_restarts(finished)
    counting = {r: h for r, h in finished.items() if r not in excluded}
    bounds = [(float(low), float(high)) for low, high in space.bounds]
    return Summary(
        restarts=n_restarts,
        restarts_finished=len(finished),
        restarts_ended=sum(h.ended for h in finished.values()),
        restarts_stood_still=sum(h.stands_still for h in finished.values()),
        evaluations=sum(len(h) for h in histories.values()),
        excluded=tuple(Excluded(restart=r, reason=reason) for r, reason in excluded.items()),
        refined=tuple(space.names),
        bounds=dict(zip(space.names, bounds, strict=True)),
        findings=_findings(space, counting, objective_error) if counting else None,
    )


def _findings(
    space: SearchSpace, histories: dict[int, History], objective_error: float
) -> Findings:
    """Of the restarts that count."""
    answers = {r: h.points[h.best] for r, h in histories.items()}
    every = np.array(list(answers.values()))
    best_of = {r: best_cc(h) for r, h in histories.items()}
    median, best = np.median(every, axis=0), max(answers, key=lambda r: merit(histories[r]))
    at_bounds = {
        "median": _at_bounds(space, median),
        "best": _at_bounds(space, answers[best]),
    }
    return Findings(
        best=Best(values=space.by_name(answers[best]), cc_work=best_of[best], restart=best),
        median=space.by_name(median),
        spread=_spread(space, every),
        clusters=_clusters(space, histories, objective_error),
        at_bounds=at_bounds,
        at_upper_bound=at_bounds["median"].upper,
    )


def _spread(space: SearchSpace, answers: np.ndarray) -> Spread:
    """By parameter name; of one restart None, but 0 for what is held."""
    if len(answers) == 1:
        unknown = space.spread(np.full(answers.shape[1], np.nan))
        return {name: none_for_nan(value) for name, value in unknown.items()}
    low, high = np.percentile(answers, [15.87, 84.13], axis=0)
    return {**space.spread((high - low) / 2)}


def _clusters(
    space: SearchSpace, histories: dict[int, History], objective_error: float
) -> tuple[Cluster, ...]:
    """The clusters of restarts, the one with the best restart first."""
    restarts = list(histories)
    points = np.array([h.points[h.best] for h in histories.values()])
    merits = np.array([merit(h) for h in histories.values()])
    found = []
    for rows in _same_places(list(histories.values()), space.bounds, objective_error):
        best, median = max(rows, key=lambda row: merits[row]), np.median(points[rows], axis=0)
        found.append(
            Cluster(
                restarts=tuple(restarts[row] for row in rows),
                best_restart=restarts[best],
                cc_search=best_cc(histories[restarts[best]]),
                best=space.by_name(points[best]),
                median=space.by_name(median),
                at_bounds=_at_bounds(space, median),
            )
        )

    def order(cluster: Cluster) -> tuple[float, int]:
        return -merit(histories[cluster.best_restart]), cluster.best_restart

    return tuple(sorted(found, key=order))


def _same_places(
    histories: list[History], bounds: np.ndarray, objective_error: float
) -> list[list[int]]:
    """Groups of restarts: by their parameters, then, where points suffice, by the objective."""
    points = np.array([h.points[h.best] for h in histories])
    groups = clusters(points, bounds)
    if len(groups) == 1 or sum(map(len, histories)) < POINTS * len(bounds):
        return groups
    surrogate = pooled_surrogate(histories, bounds)
    if surrogate is None:
        return groups
    merits = np.array([merit(h) for h in histories])
    # Two restarts with other samples differ by √2 times what one is off by.
    tolerance = max(AS_GOOD, 2 * np.sqrt(2) * objective_error)
    return joined(groups, points, merits, surrogate, tolerance)


def _at_bounds(space: SearchSpace, point: np.ndarray) -> AtBounds:
    """Parameters in the first and in the last hundredth of their ranges, by name.

    Not weights of frames: of many, each is small.
    """
    low, high = space.bounds.T
    margin = np.where(space.of_frames, 0.0, AT_BOUND * (high - low))

    def named(at_it: np.ndarray) -> tuple[str, ...]:
        return tuple(name for name, found in zip(space.names, at_it, strict=True) if found)

    return AtBounds(lower=named(point < low + margin), upper=named(point > high - margin))
