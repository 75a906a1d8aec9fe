"""From the histories of all restarts to the answer: the median, its spread, and who is left out."""

from typing import Any

import numpy as np

from hpc_diffuser.parameters import SearchSpace
from hpc_diffuser.search.history import History

OUTLIER = 5.0  # robust standard deviations below the median CC


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
        finished `best`, `median` and `spread` by parameter name. The spread is half the width
        of the central 68 % of the restarts' answers.
    """
    finished = {r: h for r, h in histories.items() if len(h) >= n_evaluations}
    best_cc = {r: 1 - float(h.objectives.min()) for r, h in finished.items()}
    excluded = failed_restarts(best_cc)
    summary: dict[str, Any] = {
        "format": "hpc-diffuser/summary",
        "restarts": n_restarts,
        "restarts_finished": len(finished),
        "evaluations": sum(len(h) for h in histories.values()),
        "excluded": [{"restart": r, "reason": reason} for r, reason in excluded.items()],
        "refined": space.names,
    }
    kept = {r: h for r, h in finished.items() if r not in excluded}
    if not kept:
        return summary
    best = max(kept, key=lambda r: best_cc[r])
    answers = np.array([h.points[h.best] for h in kept.values()])
    summary["best"] = {
        **space.by_name(kept[best].points[kept[best].best]),
        "cc_work": best_cc[best],
        "restart": best,
    }
    summary["median"] = space.by_name(np.median(answers, axis=0))
    summary["spread"] = _spread(space, answers)
    summary["at_upper_bound"] = _at_upper_bound(space, np.median(answers, axis=0))
    return summary


def _spread(space: SearchSpace, answers: np.ndarray) -> dict[str, float | list[float]]:
    low, high = np.percentile(answers, [15.87, 84.13], axis=0)
    return space.spread((high - low) / 2)


def _at_upper_bound(space: SearchSpace, median: np.ndarray) -> list[str]:
    """Parameters whose median lies in the last hundredth of their range: it may be too narrow."""
    low, high = space.bounds.T
    near = median > high - 0.01 * (high - low)
    return [name for name, at_bound in zip(space.names, near, strict=True) if at_bound]
