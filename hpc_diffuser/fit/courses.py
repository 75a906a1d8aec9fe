"""Every restart of a search: how its CC rose, when it found its best, and where it ended."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hpc_diffuser.fit.restarts import best_cc
from hpc_diffuser.fit.search.history import History
from hpc_diffuser.fit.summary import Summary

FAILED, DEVIATES, RUNNING, FINISHED = "failed", "deviates", "not finished", "best cluster"
LATE = 0.1  # of the evaluations: whose best is among the last of them may not be done


@dataclass(frozen=True, kw_only=True)
class Restart:
    """A restart as it stands.

    Attributes
    ----------
    number, evaluations : int
    cc : float
        Its best, as its search saw it.
    found_at : int
        The evaluation, counted from 1, that found it.
    state : {"best cluster", "deviates", "failed", "not finished"}
    cluster : int or None
        Counted from 1, the best one first; None where it is in none.
    reason : str
        Why it is thought to have failed.
    point : (D,) float
        Its best.
    """

    number: int
    evaluations: int
    cc: float
    found_at: int
    state: str
    cluster: int | None
    reason: str
    point: np.ndarray


def restarts_of(histories: Mapping[int, History], summary: Summary | None) -> list[Restart]:
    """Every restart that has made an evaluation, in the order of their numbers.

    Parameters
    ----------
    histories : mapping of History
        By restart.
    summary : Summary or None
        None until one is finished.
    """
    clusters = summary.findings.clusters if summary and summary.findings else ()
    cluster = {r: i for i, found in enumerate(clusters, start=1) for r in found.restarts}
    failed = {e.restart: e.reason for e in summary.excluded} if summary else {}

    def state(number: int) -> str:
        if number in failed:
            return FAILED
        return {None: RUNNING, 1: FINISHED}.get(cluster.get(number), DEVIATES)

    return [
        Restart(
            number=number,
            evaluations=len(history),
            cc=best_cc(history),
            found_at=history.best + 1,
            state=state(number),
            cluster=cluster.get(number),
            reason=failed.get(number, ""),
            point=history.points[history.best],
        )
        for number, history in sorted(histories.items())
        if len(history)
    ]


def searches_cc(histories: Mapping[int, History]) -> bool:
    """Whether the objective of the searches is 1 − CC, with no prior beside it."""
    return all(history.cc_work is None for history in histories.values())


def course(histories: Mapping[int, History]) -> list[tuple[int, int, float, float, float]]:
    """How the best CC of restarts rose.

    Returns
    -------
    list of tuple
        At evaluations 1, 2, 5, 10, 20 and so on, and the last: its number, restarts that have come
        so far, and the lowest, the median and the highest of their best CC.
    """
    longest = max(map(len, histories.values()), default=0)
    rows = []
    for at in _round_numbers(longest):
        reached = [h.best_cc_so_far()[at - 1] for h in histories.values() if len(h) >= at]
        low, median, high = np.percentile(reached, [0, 50, 100])
        rows.append((at, len(reached), float(low), float(median), float(high)))
    return rows


def _round_numbers(last: int) -> list[int]:
    steps = [n * 10**power for power in range(6) for n in (1, 2, 5)]
    return sorted({n for n in steps if n < last} | ({last} if last else set()))


def still_rising(restarts: list[Restart]) -> list[Restart]:
    """Those that have ended, not failed, and found their best among the last evaluations."""
    return [
        restart
        for restart in restarts
        if restart.cluster is not None
        and restart.found_at > (1 - LATE) * restart.evaluations
        and restart.evaluations >= 1 / LATE
    ]
