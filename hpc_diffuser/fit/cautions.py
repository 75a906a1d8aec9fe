"""What of a fit's summary is to be taken with care, each in a sentence with what to do about it."""

from collections.abc import Iterator

import numpy as np

from hpc_diffuser.fit.agreement import places
from hpc_diffuser.fit.clusters import NEIGHBOURS
from hpc_diffuser.fit.config import SearchConfig
from hpc_diffuser.fit.sampling_error import Convergence
from hpc_diffuser.fit.search.method import METHODS
from hpc_diffuser.fit.summary import (
    AS_GOOD,
    Cluster,
    Findings,
    MotionSizes,
    Outcome,
    Summary,
    Values,
    by_label,
)
from hpc_diffuser.motion.lattice.rigid_lattice import why_turned_too_far
from hpc_diffuser.motion.registry import PARAMETERS

MOVE_MORE = 0.05  # of the atoms: fewer that move more than the crystal says are no warning
FAILED = 0.1  # of the restarts: fewer are no warning
DEVIATIONS = 2.0  # standard deviations that a difference has to exceed to be one
FAR_FROM_BAYES = 3.0  # times: a prior's weight that is right to within that is no warning
_POINTS = ("answer", "median", "best")
# How far motions go; single modes have names of their own.
_AMPLITUDES = tuple(row.name for row in PARAMETERS if row.is_amplitude)
_SINGULAR = ("is", "it", "its", "range")


def cautions(summary: Summary, search: SearchConfig) -> list[str]:
    """The warnings of a summary, as far as it goes.

    Parameters
    ----------
    summary : Summary
        None are of one without a finished restart; those of scores come with the final map.
    search : SearchConfig
    """
    findings, outcome = summary.findings, summary.outcome
    if findings is None:
        return []
    return [
        *_of_the_search(summary, findings, search),
        *(_of_the_samples(summary, outcome) if outcome else ()),
        *(_of_the_minimum(summary, outcome) if outcome else ()),
        *_of_bounds(summary, findings),
        *(_of_b_factors(outcome) if outcome else ()),
        *(_of_turns(outcome.motion) if outcome else ()),
        *(_of_springs(outcome) if outcome else ()),
    ]


def _of_turns(motion: MotionSizes) -> Iterator[str]:
    """Springs that let molecules turn farther than linear dynamics holds."""
    why = None if motion.turn_deg is None else why_turned_too_far(motion.turn_deg)
    if why:
        yield (
            f"by the answer's springs {why}: narrow the range of lattice_spring_A, or keep more "
            "halos, which tell how stiff springs are"
        )


def _of_springs(outcome: Outcome) -> Iterator[str]:
    """A prior of springs that is not worth what it says, and stiffness that no data tell."""
    found, prior = outcome.intervals, outcome.prior
    if found is None:
        return
    times = found.springs_prior_times
    if prior and times is not None and not 1 / FAR_FROM_BAYES < times < FAR_FROM_BAYES:
        does = "draws springs to those of pairs of atoms" if times > 1 else "hardly holds springs"
        yield (
            f"[prior] springs = {prior.springs:.3g} is {times:.2g} times what springs_tau = "
            f"{prior.springs_tau:.3g} means beside data that scatter as these do: it {does}: set "
            f"springs = {prior.springs / times:.2g}"
        )
    unknown = [
        f"{one.interface} {way} axis {axis}"
        for one in found.stiffness
        for way, told in (("along", one.along_undetermined), ("about", one.about_undetermined))
        for axis, yes in enumerate(told, start=1)
        if yes
    ]
    if unknown:
        yield (
            "the data do not determine how stiff springs are (the prior makes that what it is) at "
            f"these interfaces, along or about axes of their contacts: {', '.join(unknown)}"
        )


def _of_the_search(summary: Summary, findings: Findings, search: SearchConfig) -> Iterator[str]:
    if not summary.refined:
        return
    method = METHODS[search.method]
    not_ended = summary.restarts_finished - summary.restarts_ended
    if method.steps_after is not None and not_ended:
        yield (
            f"{not_ended} of {summary.restarts_finished} restarts made all {search.evaluations} "
            "evaluations without converging; raise [search] evaluations, and fit again"
        )
    if summary.restarts_stood_still:
        sampled = summary.sampling is not None and summary.sampling.estimator == "sampled"
        remedy = (
            "raise [model] samples, or refine fewer parameters"
            if sampled
            else "raise [model] samples, refine fewer parameters, or "
            'take [model] estimator = "sampled", whose slopes are exact'
        )
        yield (
            f"{summary.restarts_stood_still} of {summary.restarts_finished} restarts stood still: "
            "no step made the objective better, though by the map's slopes one should; their ends "
            f"are no minima that are known: {remedy}"
        )
    if method.learns and search.evaluations <= search.initial_points:
        yield (
            f"all {search.evaluations} evaluations of a restart were random points, as [search] "
            f"initial_points = {search.initial_points}: nothing was searched; raise evaluations, "
            f"to a hundred for {len(summary.refined)} parameters, and fit again"
        )
    found = findings.clusters
    n_restarts = sum(len(cluster.restarts) for cluster in found)
    if n_restarts == 1 and summary.restarts == 1:
        yield (
            "one restart only: nothing tells whether another would end at the same place; raise "
            "[search] restarts, and fit again"
        )
    if len(found) > 1:
        yield _disagreement(summary, found)
    elif n_restarts > 1:
        yield from _undetermined(summary, findings)
    if len(summary.excluded) > FAILED * summary.restarts_finished:
        yield (
            f"{len(summary.excluded)} of {summary.restarts_finished} restarts failed, which the "
            "answer leaves out: raise [search] evaluations or initial_points, or narrow the ranges"
        )


def _undetermined(summary: Summary, findings: Findings) -> Iterator[str]:
    """Parameters in which restarts that are equally good, or joined by such, scatter widely."""
    scatter = by_label(findings.spread)
    wide = [
        name
        for name, (low, high) in summary.bounds.items()
        if (scatter.get(name) or 0.0) > NEIGHBOURS * (high - low)
    ]
    if wide:
        yield (
            f"{', '.join(wide)}: the restarts are equally good and scatter by more than a tenth of "
            "the range: the map does not determine this, or the search is not done; do not quote "
            "it; raise [search] evaluations, or hold or leave out what matters little"
        )


def _disagreement(summary: Summary, found: tuple[Cluster, ...]) -> str:
    first, second = found[0].cc_search, found[1].cc_search
    text = f"{places(found)}, listed as clusters"
    outcome = summary.outcome
    if outcome and "median" in outcome.scores:
        text += _median_beside(outcome.scores["median"].cc_work, outcome.cc_work)
    if first - second <= _error(summary) * np.sqrt(2):
        text += (
            f"; CC_search of the best two, {first:.4f} and {second:.4f}, differ by less than the "
            "samples' error, so that it is not known which is right"
        )
    return f"{text}; raise [search] evaluations or restarts, or refine fewer parameters"


def _median_beside(median: float | None, answer: float | None) -> str:
    """What the median of restarts that disagree is worth, by CC_work."""
    if answer is None or median is None or median < answer - AS_GOOD:
        shown = ["none" if cc is None else f"{cc:.4f}" for cc in (median, answer)]
        return f": their median is no answer (CC_work {shown[0]} against {shown[1]} of the best)"
    text = f": CC_work of their median is {median:.4f}, of the best {answer:.4f}"
    if median > answer + AS_GOOD:
        return f"{text}, so that the search has not converged"
    return f"{text}, so that what they differ in is not determined"


def _error(summary: Summary) -> float:
    """What CC may be off by with other sample points of the same number; 0 where not known."""
    return DEVIATIONS * summary.sampling.objective_error if summary.sampling else 0.0


def _of_the_samples(summary: Summary, outcome: Outcome) -> Iterator[str]:
    sampling, cc, alone = summary.sampling, outcome.cc_work, outcome.translation_alone.cc_work
    # What is not sampled has no error, and what does not vary has no CC.
    if not sampling or not sampling.map_error or cc is None or alone is None:
        return
    remedy = (
        f'raise [model] samples, now {sampling.samples} (where they are "auto", lower '
        "map_error), and fit again in a new directory"
    )
    if sampling.estimator == "one-phonon":
        remedy = 'set [model] estimator = "sampled", and fit again in a new directory'
    gain = cc - alone
    if abs(gain) <= _error(summary):
        yield (
            f"CC_work differs from that of translation alone by {gain:.4f}, no more than the "
            f"{_error(summary):.4f} that the search's {_means(sampling)} of error: {remedy}"
        )
    if sampling.map_error > 1 - cc:
        yield (
            f"the search's {_means(sampling)} an error 1 - CC of {sampling.map_error:.1e} in a "
            f"calculated map, more than the fit lacks to CC 1, {1 - cc:.1e}: {remedy}"
        )


def _means(sampling: Convergence) -> str:
    return "first order leaves" if sampling.estimator == "one-phonon" else "samples leave"


def _of_the_minimum(summary: Summary, outcome: Outcome) -> Iterator[str]:
    """Answers that the search, or its samples, keep from where the data would have them."""
    why = outcome.intervals.without_minimum if outcome.intervals else None
    if why:
        # A weight alone cannot be held: its frame is there, or it is not.
        fewer = "leave one of the frames out" if "frame " in why else "hold one of them"
        yield (
            f"{why}: these have no standard error, as the data do not tell them apart, or the "
            f"search has not come to a minimum; raise [search] evaluations, and {fewer} where that "
            "changes nothing"
        )
    far = outcome.intervals.off_minimum(summary.refined) if outcome.intervals else []
    if not far:
        return
    which = f"{len(far)} parameters ({', '.join(far)})" if len(far) > 1 else far[0]
    yield (
        f"{which}: farther from the minimum of the final map than a standard error, so that the "
        "search and its samples limit the answer, not the data; quote the 95 % interval, which "
        "holds both, or raise [model] samples, [search] evaluations and restarts"
    )


def _of_bounds(summary: Summary, findings: Findings) -> Iterator[str]:
    """One sentence for all parameters at the same end of their ranges at the same points."""
    for bound in ("lower", "upper"):
        where: dict[tuple[str, str], list[str]] = {}
        for point in _POINTS:
            at_it = findings.at_bounds.get(point)
            for name in getattr(at_it, bound) if at_it else ():
                kind = _kind(name, bound, point, summary, findings)
                where.setdefault((name, kind), []).append(point)
        alike: dict[tuple[str, str], list[str]] = {}
        for (name, kind), points in where.items():
            alike.setdefault((kind, " and ".join(points)), []).append(name)
        for (kind, at), names in alike.items():
            yield _at_bound(kind, at, names)


def _kind(name: str, bound: str, point: str, summary: Summary, findings: Findings) -> str:
    """What a parameter says at a bound.

    `zero` of what vanishes, but `still` of a motion where no other is left; `undamped` solvent;
    `end` where no range goes farther, else the bound.
    """
    low, high = summary.bounds[name]
    end = low if bound == "lower" else high
    of_one = "correlation" in name or name.startswith("modes ")
    if abs(end) == 1 and (of_one or name == "residual_b_fraction"):
        return "end"
    if end != 0 or of_one:
        return bound
    if name == "b_sol_A2":
        return "undamped"
    is_motion = name.startswith(("mode ", *_AMPLITUDES))
    return "still" if is_motion and not _moves(point, summary, findings) else "zero"


def _moves(point: str, summary: Summary, findings: Findings) -> bool:
    """True where any motion is left at a point that is not at the lower end of its range, 0."""
    if summary.outcome and "conformations" in summary.outcome.motion.kinds:
        return True
    lower = findings.at_bounds[point].lower
    at_zero = {name for name in lower if summary.bounds[name][0] == 0}
    values = _values(point, summary, findings)
    for key in _AMPLITUDES:
        for label, value in by_label({key: values.get(key, 0.0)}).items():
            if (value or 0.0) > 0 and label not in at_zero:
                return True
    return False


def _values(point: str, summary: Summary, findings: Findings) -> Values:
    """The parameters of one of `_POINTS` by name."""
    if point == "answer" and summary.outcome:
        return summary.outcome.answer
    return findings.best.values if point == "best" else findings.median


def _at_bound(kind: str, points: str, names: list[str]) -> str:
    several = len(names) > 1
    are, it, its, ranges = ("are", "them", "their", "ranges") if several else _SINGULAR
    which = f"{', '.join(names)} ({points}) {are}"
    if kind == "zero":
        return (
            f"{which} at 0, the lower bound: the map asks for none of {it}, or the search has not "
            f"found where it does; leave {it} out, or raise [search] evaluations"
        )
    if kind == "still":
        return (
            f"{which} at 0, the lower bound, and nothing else moves: how strong the calculated map "
            f"is does not count, and below some size its pattern does not change with {it}: read "
            f"{it} as small, not as a number; without {it} there would be no diffuse scattering"
        )
    if kind == "undamped":
        return f"{which} at 0, the end of what is possible: solvent that nothing damps, not none"
    if kind == "end":
        return f"{which} at the end of what is possible: read {it} as complete, not as a number"
    return f"{which} at the {kind} bound of {its} {ranges}: widen {it}, and fit again"


def percent(share: float) -> str:
    """A share in whole per cent; 100 only of all."""
    text = f"{100 * share:.0f}"
    return "> 99" if text == "100" and share < 1 else text


def _of_b_factors(outcome: Outcome) -> Iterator[str]:
    found = outcome.b_factors
    if found is None or found.moves_more <= MOVE_MORE:
        return
    ranges = "springs" if "lattice" in outcome.motion.kinds else "modes and translation"
    n_atoms = round(found.moves_more * found.atoms)
    yield (
        f"the model moves more than the crystal: {n_atoms} of {found.atoms} atoms "
        f"({percent(found.moves_more)} %), {found.farthest_beyond} most, mean B "
        f"{found.mean_A2:.1f} against {found.crystal_mean_A2:.1f} Å²; such motion would "
        f"have blurred the Bragg data: narrow the ranges of {ranges}, or use fewer"
    )
