"""Which point of the parameters a fit leads with: its final map, scores and report are of this one.

Where restarts agree it is their median, in which the scatter of the search averages out. Where
they do not, a median may lie between optima, where nothing fits.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpc_diffuser.fit.problem import FINAL, Problem
from hpc_diffuser.fit.scoring import Comparison, Score
from hpc_diffuser.fit.summary import AS_GOOD
from hpc_diffuser.motion.parameters import Parameters, parameters_from
from hpc_diffuser.scattering.model import Model


@dataclass(frozen=True)
class Answer:
    """The chosen point, with its map on this rank.

    Attributes
    ----------
    parameters : Parameters
    intensity : (v,) float
        With the final samples, at the model's `rows`.
    score : Score
    record : dict
        For `summary.json`: `answer` (by parameter name), `answer_is` (in words), and the scores
        of the points that were compared.
    """

    parameters: Parameters
    intensity: np.ndarray
    score: Score
    record: dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """A point that may be the answer.

    Attributes
    ----------
    kind : {"median", "cluster", "best"}
    text : str
        Which point it is, in words.
    values : dict
        By parameter name.
    at_bounds : dict
        Its parameters at their bounds, as in the summary.
    beside : bool
        It is only scored, to be told beside the answer.
    """

    kind: str
    text: str
    values: dict[str, Any]
    at_bounds: dict[str, list[str]]
    beside: bool = False


def choose_answer(
    problem: Problem, model: Model, comparison: Comparison, summary: dict[str, Any]
) -> Answer:
    """The answer of a fit whose restarts are done, on every rank of the model's group.

    In the order of `candidates`, a point takes the place of the one before it where its CC_work
    is higher by more than `AS_GOOD`. All are computed with the same sample points, those of the
    final map, so that their CC differ by less than each is wrong. CC_free plays no part.
    """
    normals = problem.normals(problem.config.model.final_samples, FINAL)
    scores, chosen = {}, None
    for candidate in candidates(summary):
        parameters = parameters_from(candidate.values)
        intensity = model.internal_motion(parameters, normals)
        score = comparison.score(intensity)
        scores[f"{candidate.kind}_scores"] = _plain(score)
        better = chosen is None or _cc(score) > _cc(chosen[-1]) + AS_GOOD
        if better and not candidate.beside:
            chosen = candidate, parameters, intensity, score
    candidate, parameters, intensity, score = chosen
    record = {"answer": candidate.values, "answer_is": candidate.text}
    if candidate.kind == "cluster":  # of the others it is known already
        record["at_bounds"] = summary["at_bounds"] | {"answer": candidate.at_bounds}
    return Answer(parameters, intensity, score, record | scores)


def candidates(summary: dict[str, Any]) -> Iterator[Candidate]:
    """What may be the answer, the preferred one first.

    The median of the restarts, where they agree; else of the cluster with the best restart. Then
    the best restart. Last, where they do not agree, the median of all: beside the answer.
    """
    groups, at_bounds = summary["clusters"], summary["at_bounds"]
    n_all, n_first = sum(len(g["restarts"]) for g in groups), len(groups[0]["restarts"])
    best = {name: summary["best"][name] for name in summary["median"]}
    number = summary["best"]["restart"]
    if n_all == 1:
        yield Candidate("median", "the only restart", best, at_bounds["best"])
        return
    agree, text = len(groups) == 1, f"the median of all {n_all} restarts"
    median = Candidate("median", text, summary["median"], at_bounds["median"], beside=not agree)
    if agree:
        yield median
    elif n_first > 1:
        text = f"the median of the best cluster, {n_first} of {n_all} restarts"
        yield Candidate("cluster", text, groups[0]["median"], groups[0]["at_bounds"])
    yield Candidate("best", f"the best restart, number {number}", best, at_bounds["best"])
    if not agree:
        yield median


def _cc(score: Score) -> float:
    """CC_work; a map without variation, whose CC is undefined, is the worst."""
    return score.cc_work if math.isfinite(score.cc_work) else -1.0


def _plain(score: Score) -> dict[str, float | None]:
    """As JSON numbers; None where a CC is undefined."""
    named = {"cc_work": score.cc_work, "cc_free": score.cc_free}
    return {key: float(cc) if math.isfinite(cc) else None for key, cc in named.items()}
