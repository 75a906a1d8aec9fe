"""From the histories of all restarts to what they say: median, scatter, clusters, failures."""

from typing import Any

import numpy as np

from hpc_diffuser.fit.clusters import clusters
from hpc_diffuser.fit.search.history import History
from hpc_diffuser.fit.space import SearchSpace
from hpc_diffuser.motion.parameters import Value

OUTLIER = 5.0  # robust standard deviations below the median CC
AT_BOUND = 0.01  # of a range: what lies so near to its end may be cut off
AS_GOOD = 0.002  # a CC_work that is lower by no more is as good
# Sigmas between which that of translation alone is looked for. Below the first one a map has the
# pattern of the limit, q²|F|², to 2 % even at 1.6 Å: it does not tell how small sigma is.
TRANSLATIONS_A = (0.05, 4.0)
# Of `summary.json`. 2: with clusters, answer, warnings and cost.
VERSION = 2


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
) -> dict[str, Any]:
    """What the finished restarts say, as plain JSON values.

    Returns
    -------
    dict
        `restarts`, `restarts_finished`, `evaluations`, `excluded`, and once a restart is
        finished `best`, `median` and `spread` by parameter name, `clusters` (the one with the
        best restart first), and which parameters of median and best are `at_bounds`. The spread
        is half the width of the central 68 % of the restarts' answers: how far the *search*
        scatters, and no error of the parameters. None for a single restart.
    """
    finished = {r: h for r, h in histories.items() if len(h) >= n_evaluations}
    best_cc = {r: 1 - float(h.objectives.min()) for r, h in finished.items()}
    excluded = failed_restarts(best_cc)
    summary: dict[str, Any] = {
        "format": "hpc-diffuser/summary",
        "version": VERSION,
        "restarts": n_restarts,
        "restarts_finished": len(finished),
        "evaluations": sum(len(h) for h in histories.values()),
        "excluded": [{"restart": r, "reason": reason} for r, reason in excluded.items()],
        "refined": space.names,
        "bounds": dict(zip(space.names, space.bounds.tolist(), strict=True)),
    }
    kept = [r for r in finished if r not in excluded]
    if not kept:
        return summary
    answers = {r: finished[r].points[finished[r].best] for r in kept}
    every = np.array(list(answers.values()))
    median, best = np.median(every, axis=0), max(kept, key=lambda r: best_cc[r])
    summary["best"] = {
        **space.by_name(answers[best]),
        "cc_work": best_cc[best],
        "restart": best,
    }
    summary["median"] = space.by_name(median)
    summary["spread"] = _spread(space, every)
    summary["clusters"] = _clusters(space, answers, best_cc)
    summary["at_bounds"] = {
        "median": _at_bounds(space, median),
        "best": _at_bounds(space, answers[best]),
    }
    summary["at_upper_bound"] = summary["at_bounds"]["median"]["upper"]
    return summary


def _spread(space: SearchSpace, answers: np.ndarray) -> dict[str, Any]:
    """By parameter name; of one restart None, but 0 for what is held."""
    if len(answers) == 1:
        unknown = space.spread(np.full(answers.shape[1], np.nan))
        return {name: _none_for_nan(value) for name, value in unknown.items()}
    low, high = np.percentile(answers, [15.87, 84.13], axis=0)
    return space.spread((high - low) / 2)


def _none_for_nan(value: Value) -> Any:
    if isinstance(value, list):
        return [_none_for_nan(v) for v in value]
    return None if np.isnan(value) else value


def _clusters(
    space: SearchSpace, answers: dict[int, np.ndarray], best_cc: dict[int, float]
) -> list[dict[str, Any]]:
    """The clusters of restarts, the one with the best restart first."""
    restarts, points = list(answers), np.array(list(answers.values()))
    found = []
    for rows in clusters(points, space.bounds):
        members = [restarts[row] for row in rows]
        best, median = max(members, key=lambda r: best_cc[r]), np.median(points[rows], axis=0)
        found.append(
            {
                "restarts": members,
                "best_restart": best,
                "cc_search": best_cc[best],
                "best": space.by_name(answers[best]),
                "median": space.by_name(median),
                "at_bounds": _at_bounds(space, median),
            }
        )
    return sorted(found, key=lambda cluster: (-cluster["cc_search"], cluster["best_restart"]))


def _at_bounds(space: SearchSpace, point: np.ndarray) -> dict[str, list[str]]:
    """Parameters in the first and in the last hundredth of their ranges, by name."""
    low, high = space.bounds.T
    margin = AT_BOUND * (high - low)
    near = {"lower": point < low + margin, "upper": point > high - margin}
    return {
        bound: [name for name, found in zip(space.names, at_it, strict=True) if found]
        for bound, at_it in near.items()
    }
