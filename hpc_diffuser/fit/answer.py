"""Which point of the parameters a fit leads with: its final map, scores and report are of this one.

Where restarts agree it is their median, in which the scatter of the search averages out. Where
they do not, a median may lie between optima, where nothing fits.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from hpc_diffuser.fit.priors.prior import penalty_of
from hpc_diffuser.fit.problem import FINAL, Problem
from hpc_diffuser.fit.scoring import Comparison, Score, plain
from hpc_diffuser.fit.summary import AS_GOOD, AtBounds, Findings, Scores, Values
from hpc_diffuser.motion.parameters import Parameters, parameters_from
from hpc_diffuser.scattering.models import Model


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
    at_bounds : AtBounds
    beside : bool
        It is only scored, to be told beside the answer.
    """

    kind: str
    text: str
    values: Values
    at_bounds: AtBounds
    beside: bool = False


@dataclass(frozen=True)
class Answer:
    """The chosen point, with its map on this rank.

    Attributes
    ----------
    parameters : Parameters
    intensity : (v,) float
        With the final samples, at the model's `rows`, in the model's units (electrons squared).
    score : Score
    chosen : Candidate
        The point by parameter name, and in words.
    scores : dict of Scores
        Of all points that were compared, by their kinds.
    """

    parameters: Parameters
    intensity: np.ndarray
    score: Score
    chosen: Candidate
    scores: dict[str, Scores] = field(default_factory=dict)


def choose_answer(
    problem: Problem, model: Model, comparison: Comparison, findings: Findings
) -> Answer:
    """The answer of a fit whose restarts are done, on every rank of the model's group.

    In the order of `candidates`, a point takes the place of the one before it where its CC_work,
    or 1 − χ²/χ₀² of a likelihood, less the prior, is higher by more than `AS_GOOD`. All are
    computed with the same sample points, those of the final map, so that their CC differ by less
    than each is wrong. CC_free plays no part.
    """
    normals = problem.normals(problem.config.model.final_samples, FINAL)
    prior = problem.prior

    def merit(answer: Answer) -> float:
        if prior is None:
            return _merit(answer.score)
        point = problem.space.point(answer.chosen.values)
        penalty = model.group.from_root(lambda: penalty_of(prior, point, answer.score))
        return _merit(answer.score) - float(penalty)

    def tried(candidate: Candidate) -> Answer:
        parameters = parameters_from(candidate.values, problem.modes.lattice)
        intensity = model.internal_motion(parameters, normals)
        return Answer(parameters, intensity, comparison.score(intensity), candidate)

    first, *others = candidates(findings)
    answer = tried(first)
    scores = {first.kind: _scores(answer.score)}
    for candidate in others:
        other = tried(candidate)
        scores[candidate.kind] = _scores(other.score)
        if not candidate.beside and merit(other) > merit(answer) + AS_GOOD:
            answer = other
    return replace(answer, scores=scores)


def with_answer(findings: Findings, chosen: Candidate) -> Findings:
    """What restarts say, with the answer's parameters at their bounds.

    Of median and best restart they are there already.
    """
    if chosen.kind != "cluster":
        return findings
    return replace(findings, at_bounds=findings.at_bounds | {"answer": chosen.at_bounds})


def candidates(findings: Findings) -> Iterator[Candidate]:
    """What may be the answer, the preferred one first.

    The median of the restarts, where they agree; else of the cluster with the best restart. Then
    the best restart. Last, where they do not agree, the median of all: beside the answer.
    """
    groups, at_bounds = findings.clusters, findings.at_bounds
    n_all, n_first = sum(len(g.restarts) for g in groups), len(groups[0].restarts)
    best = findings.best
    if n_all == 1:
        yield Candidate("median", "the only restart", best.values, at_bounds["best"])
        return
    agree, text = len(groups) == 1, f"the median of all {n_all} restarts"
    median = Candidate("median", text, findings.median, at_bounds["median"], beside=not agree)
    if agree:
        yield median
    elif n_first > 1:
        text = f"the median of the best cluster, {n_first} of {n_all} restarts"
        yield Candidate("cluster", text, groups[0].median, groups[0].at_bounds)
    text = f"the best restart, number {best.restart}"
    yield Candidate("best", text, best.values, at_bounds["best"])
    if not agree:
        yield median


def _merit(score: Score) -> float:
    """CC_work, or what a likelihood explains; a map without variation is the worst."""
    return score.merit if math.isfinite(score.merit) else -1.0


def _scores(score: Score) -> Scores:
    return Scores(cc_work=plain(score.cc_work), cc_free=plain(score.cc_free))
