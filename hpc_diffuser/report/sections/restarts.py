"""Sections: where every restart ended, and how it came there."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hpc_diffuser.fit.agreement import agreement
from hpc_diffuser.fit.courses import (
    FAILED,
    RUNNING,
    Restart,
    course,
    restarts_of,
    searches_cc,
    still_rising,
)
from hpc_diffuser.fit.summary import by_label
from hpc_diffuser.interface.run import Run
from hpc_diffuser.motion.registry import BY_NAME
from hpc_diffuser.plots.restarts import (
    MOST_HISTOGRAMS,
    plot_courses,
    plot_histograms,
    plot_restarts,
)
from hpc_diffuser.report.facts import best_known
from hpc_diffuser.report.section import Column, Contents, Figure, Table
from hpc_diffuser.system.errors import InputError

FEWEST_IN_HISTOGRAM = 8
_TRUE = "true "  # of a simulated target's attributes, before a parameter's label
_RULE = (
    "The rule: a restart has failed where its CC never varied while others found better (a "
    "plateau), or where its best is far below the median of the others. Restarts are one cluster "
    "where their parameters lie close together, or where CC, by what all restarts have learned of "
    "it, neither differs nor falls between them. The answer is the median of the best cluster, or "
    "its best restart where that is better by 0.002; docs/model.md has the numbers."
)


def every_restart(run: Run) -> Contents | None:
    """Each as a point within its bounds, their histograms, clusters and failures."""
    restarts = restarts_of(run.histories, run.summary)
    if not restarts or not run.summary or not run.refined:
        return None
    return Contents(
        words=(_standings(run, restarts), _RULE),
        figures=(_points(run, restarts), *_histograms(run, restarts)),
        tables=(_restart_table(restarts), _point_table(run, restarts)),
    )


def convergence(run: Run) -> Contents | None:
    """The best CC of each restart against its evaluations."""
    restarts = restarts_of(run.histories, run.summary)
    if not restarts or not run.summary or not run.refined:
        return None
    rows = course(run.histories)
    return Contents(
        words=(_rising(run, restarts),),
        figures=(_courses(run, restarts),),
        tables=(_course_table(run, rows),),
    )


def shown_names(run: Run) -> list[str]:
    """The refined parameters with their units, as tables and axes have them."""
    units = {name: row.quantity.unit for name, row in BY_NAME.items()}
    labels = {name: row.label for name, row in BY_NAME.items()}

    def shown(label: str) -> str:
        if label.startswith("mode "):
            return f"{label} (Å)"
        name, _, place = label.partition(" ")
        if name not in units:
            return label
        unit = f" ({units[name]})" if units[name] else ""
        return " ".join(filter(None, (labels[name], place))) + unit

    return [shown(label) for label in run.refined]


def answer_of(run: Run) -> dict[int, float]:
    """The answer, or the best restart so far, by each refined parameter's place."""
    known = best_known(run.summary) if run.summary else None
    found = by_label(known) if known else {}
    at = {i: found.get(name) for i, name in enumerate(run.refined)}
    return {i: value for i, value in at.items() if value is not None}


def truth_of(run: Run) -> dict[int, float]:
    """What a simulated target says of its own parameters; empty of a measured one."""
    try:
        said = run.provenance.get("target.file", {})
    except InputError:
        return {}
    found = {key.removeprefix(_TRUE): v for key, v in said.items() if key.startswith(_TRUE)}
    return {i: float(found[name]) for i, name in enumerate(run.refined) if name in found}


def without_frames(labels: Sequence[str]) -> list[int]:
    """Places of the parameters that figures have a row for: not of frames' weights, but alone."""
    kept = [i for i, label in enumerate(labels) if not label.startswith("frame ")]
    return kept or list(range(len(labels)))


def _at(values: dict[int, float], kept: list[int]) -> dict[int, float]:
    """By places among those that are kept."""
    return {row: values[place] for row, place in enumerate(kept) if place in values}


def _standings(run: Run, restarts: list[Restart]) -> str:
    """Where the finished ones ended, and how many have failed or not finished."""
    parts = [agreement(run.summary) if run.summary else ""]
    for state in (FAILED, RUNNING):
        n_restarts = sum(restart.state == state for restart in restarts)
        parts.append(f"{n_restarts} of {len(restarts)} {state}" if n_restarts else "")
    return " ".join(f"{part}." for part in parts if part) or "One restart has finished."


def _points(run: Run, restarts: list[Restart]) -> Figure:
    kept = without_frames(run.refined)
    names, bounds = [shown_names(run)[i] for i in kept], run.bounds[kept]
    own = [replace(r, point=r.point[kept]) for r in restarts]
    answer, truth = (_at(of_all(run), kept) for of_all in (answer_of, truth_of))
    true = " Stars: what the target was simulated with." if truth else ""
    return Figure(
        name="restarts",
        caption="Where every restart ended: each a point in every row, between the lower and the "
        "upper bound of the parameter, which are written at both ends. Clusters differ in marker "
        f"and shade; hollow: failed, or not finished. Bars: the answer, or the best so far.{true}",
        alternative=f"{_standings(run, restarts)} The parameters are in the table restart_points.",
        draw=lambda: plot_restarts(own, names, bounds, answer, truth).figure,
    )


def _histograms(run: Run, restarts: list[Restart]) -> tuple[Figure, ...]:
    counting = [r for r in restarts if r.cluster is not None]
    if len(counting) < FEWEST_IN_HISTOGRAM:
        return ()
    points = np.array([r.point for r in counting])
    in_best = np.array([r.cluster == 1 for r in counting])
    names, truth = shown_names(run), truth_of(run)
    first = f", the first {MOST_HISTOGRAMS}" if len(names) > MOST_HISTOGRAMS else ""
    figure = Figure(
        name="restart_histograms",
        caption=f"The answers of the {len(counting)} restarts that are finished and have not "
        f"failed, a histogram for each parameter{first}. Thick grey lines: its bounds, where they "
        "are near.",
        alternative="Histograms of the table restart_points; medians are those of summary.json.",
        draw=lambda: plot_histograms(points, in_best, names, run.bounds, truth)[0].figure,
    )
    return (figure,)


def _restart_table(restarts: list[Restart]) -> Table:
    return Table(
        name="restarts",
        caption="The restarts: CC as the search saw it, with its own samples, and the evaluation "
        "that found it. The best first.",
        columns=(
            Column(name="restart"),
            Column(name="evaluations"),
            Column(name="best CC", digits=4),
            Column(name="found at"),
            Column(name="state"),
            Column(name="cluster"),
            Column(name="why it failed"),
        ),
        rows=tuple(
            (r.number, r.evaluations, r.cc, r.found_at, r.state, r.cluster, r.reason)
            for r in sorted(restarts, key=lambda r: (-r.cc, r.number))
        ),
        most_rows=12,
    )


def _point_table(run: Run, restarts: list[Restart]) -> Table:
    """Long, not wide: a row for each parameter of each restart."""
    names = shown_names(run)
    return Table(
        name="restart_points",
        caption="The best point of every restart.",
        columns=(
            Column(name="parameter"),
            Column(name="restart"),
            Column(name="value", digits=4),
            Column(name="lower bound", digits=2),
            Column(name="upper bound", digits=2),
        ),
        rows=tuple(
            (name, r.number, float(r.point[d]), *map(float, run.bounds[d]))
            for d, name in enumerate(names)
            for r in restarts
        ),
        most_rows=8,
    )


def _rising(run: Run, restarts: list[Restart]) -> str:
    ended = [r for r in restarts if r.cluster is not None]
    rising = still_rising(restarts)
    if not ended:
        return "No restart that counts has finished yet."
    if run.summary and run.summary.restarts_finished < run.n_restarts:
        return (
            f"Of the {len(ended)} restarts that have finished so far, of {run.n_restarts}, "
            f"{len(rising)} found their best among their last tenth of evaluations. Whether more "
            "evaluations would help is told when all have finished."
        )
    if not rising:
        return (
            f"None of the {len(ended)} finished restarts found its best among its last tenth of "
            "evaluations: more of them would hardly help."
        )
    return (
        f"{len(rising)} of the {len(ended)} finished restarts found their best among their last "
        "tenth of evaluations. What they still gain is seen in the table; where it is more than "
        "0.002, raise [search] evaluations and fit again: the run goes on from where it is."
    )


def _courses(run: Run, restarts: list[Restart]) -> Figure:
    best = max(r.cc for r in restarts)
    how = (
        f"what its best CC so far lacks to the best of all, {best:.4f}"
        if searches_cc(run.histories)
        else "how far its least objective so far, prior and all, is above the least of all"
    )
    as_good = " The broken line: CC that are as good." if searches_cc(run.histories) else ""
    return Figure(
        name="convergence",
        caption=f"How each restart came to its best: {how}, on a logarithmic scale; less than "
        f"0.0001 is drawn there. Dots: where a restart found its best.{as_good}",
        alternative=f"Of {len(restarts)} restarts the best CC so far against evaluations; the "
        "table convergence has their lowest, median and highest.",
        draw=lambda: plot_courses(run.histories, restarts).figure,
    )


def _course_table(run: Run, rows: list[tuple[int, int, float, float, float]]) -> Table:
    of_cc = searches_cc(run.histories)
    which = "Best CC so far" if of_cc else "CC of the best point so far, by all of the objective"
    falls = "" if of_cc else " As it is not the CC alone that is best, it may fall."
    return Table(
        name="convergence",
        caption=f"{which}, over the restarts that have come so far, as the searches saw it.{falls}",
        columns=(
            Column(name="evaluations"),
            Column(name="restarts"),
            Column(name="lowest", digits=4),
            Column(name="median", digits=4),
            Column(name="highest", digits=4),
        ),
        rows=tuple(rows),
    )
