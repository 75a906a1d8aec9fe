"""From the histories of all restarts to what they say: median, scatter, clusters, failures."""

import numpy as np

from hpc_diffuser.fit.clusters import clusters
from hpc_diffuser.fit.search.history import History
from hpc_diffuser.fit.space import SearchSpace
from hpc_diffuser.fit.summary import AtBounds, Best, Cluster, Excluded, Findings, Spread, Summary
from hpc_diffuser.motion.parameters import Value

OUTLIER = 5.0  # robust standard deviations below the median CC
AT_BOUND = 0.01  # of a range: what lies so near to its end may be cut off


def failed_restarts(best_cc: dict[int, float]) -> dict[int, str]:
    """Restarts that did not find the optimum the others found, with the reason.

    Parameters
    ----------
    best_cc : dict
        Restart → best CC_work of its search.
    """
    values = np.array(list(best_cc.values()))
    if len(values) < 3:
        return {}
    median = np.median(values)
    # A standard deviation from the median absolute deviation; 0.001 is no failure anyhow.
    width = max(1.4826 * np.median(np.abs(values - median)), 0.001)
    return {
        restart: f"best CC {cc:.4f} is more than {OUTLIER:g} deviations below the median "
        f"of {median:.4f}"
        for restart, cc in best_cc.items()
        if cc < median - OUTLIER * width
    }


def summarise(
    space: SearchSpace, histories: dict[int, History], n_restarts: int, n_evaluations: int
) -> Summary:
    """What the restarts say, as far as they are.

    Parameters
    ----------
    space : SearchSpace
    histories : dict of History
        By restart: points (E, P) in the parameters' units, and their objectives, 1 − CC.
    n_restarts, n_evaluations : int
        As asked for; a restart with fewer evaluations is not finished.

    Returns
    -------
    Summary
        With findings once a restart is finished, and without an outcome.
    """
    finished = {r: h for r, h in histories.items() if len(h) >= n_evaluations}
    best_cc = {r: 1 - float(h.objectives.min()) for r, h in finished.items()}
    excluded = failed_restarts(best_cc)
    answers = {r: h.points[h.best] for r, h in finished.items() if r not in excluded}
    bounds = [(float(low), float(high)) for low, high in space.bounds]
    return Summary(
        restarts=n_restarts,
        restarts_finished=len(finished),
        evaluations=sum(len(h) for h in histories.values()),
        excluded=tuple(Excluded(restart=r, reason=reason) for r, reason in excluded.items()),
        refined=tuple(space.names),
        bounds=dict(zip(space.names, bounds, strict=True)),
        findings=_findings(space, answers, best_cc) if answers else None,
    )


def _findings(
    space: SearchSpace, answers: dict[int, np.ndarray], best_cc: dict[int, float]
) -> Findings:
    """Of the restarts that count; `answers` are their best points (D,)."""
    every = np.array(list(answers.values()))
    median, best = np.median(every, axis=0), max(answers, key=lambda r: best_cc[r])
    at_bounds = {
        "median": _at_bounds(space, median),
        "best": _at_bounds(space, answers[best]),
    }
    return Findings(
        best=Best(values=space.by_name(answers[best]), cc_work=best_cc[best], restart=best),
        median=space.by_name(median),
        spread=_spread(space, every),
        clusters=_clusters(space, answers, best_cc),
        at_bounds=at_bounds,
        at_upper_bound=at_bounds["median"].upper,
    )


def _spread(space: SearchSpace, answers: np.ndarray) -> Spread:
    """By parameter name; of one restart None, but 0 for what is held."""
    if len(answers) == 1:
        unknown = space.spread(np.full(answers.shape[1], np.nan))
        return {name: _none_for_nan(value) for name, value in unknown.items()}
    low, high = np.percentile(answers, [15.87, 84.13], axis=0)
    return {**space.spread((high - low) / 2)}


def _none_for_nan(value: Value) -> float | list[float | None] | None:
    if isinstance(value, list):
        return [None if np.isnan(v) else v for v in value]
    return None if np.isnan(value) else value


def _clusters(
    space: SearchSpace, answers: dict[int, np.ndarray], best_cc: dict[int, float]
) -> tuple[Cluster, ...]:
    """The clusters of restarts, the one with the best restart first."""
    restarts, points = list(answers), np.array(list(answers.values()))
    found = []
    for rows in clusters(points, space.bounds):
        members = tuple(restarts[row] for row in rows)
        best, median = max(members, key=lambda r: best_cc[r]), np.median(points[rows], axis=0)
        found.append(
            Cluster(
                restarts=members,
                best_restart=best,
                cc_search=best_cc[best],
                best=space.by_name(answers[best]),
                median=space.by_name(median),
                at_bounds=_at_bounds(space, median),
            )
        )
    return tuple(sorted(found, key=lambda cluster: (-cluster.cc_search, cluster.best_restart)))


def _at_bounds(space: SearchSpace, point: np.ndarray) -> AtBounds:
    """Parameters in the first and in the last hundredth of their ranges, by name."""
    low, high = space.bounds.T
    margin = AT_BOUND * (high - low)

    def named(at_it: np.ndarray) -> tuple[str, ...]:
        return tuple(name for name, found in zip(space.names, at_it, strict=True) if found)

    return AtBounds(lower=named(point < low + margin), upper=named(point > high - margin))
