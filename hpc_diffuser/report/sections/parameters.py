"""Section: the refined parameters, how well the data determine them, and how errors go together."""

from itertools import combinations

import numpy as np

from hpc_diffuser.fit.intervals import Intervals
from hpc_diffuser.fit.summary import Outcome, Summary
from hpc_diffuser.interface.run import Run
from hpc_diffuser.plots.parameters import intervals_figure, plot_correlation
from hpc_diffuser.report.facts import numbered
from hpc_diffuser.report.section import Cell, Column, Contents, Figure, Table
from hpc_diffuser.system.arrays import Floats

_LATER = (
    "How well the data determine the parameters is calculated with the final map, once the last "
    "restart is finished."
)
_OLD = (
    "No intervals: the summary was written by a version that did not calculate them. Run "
    "hpc-diffuser fit again: the search is kept, only its end is done anew."
)
_NONE = (
    "Where the search has not come to a minimum, more [search] evaluations and restarts bring it "
    "there; where there is none, the data do not tell these parameters apart."
)
_APART = (
    "What search and samples leave is another matter: the distance from the answer to where the "
    "objective is least, by the slope of the final map and the curvature. The 95 % interval holds "
    "both: 1.96 times the root of the sum of the squares of standard error and distance, to "
    "either side. The scatter of the restarts, half the width of their central 68 %, is in "
    "neither: it tells how well the search finds the same place again."
)
_PAIRS = 12
_RIGHT = 0.95  # a CC of models that explain nearly all


def parameters_of_run(run: Run) -> Contents | None:
    """Of a finished run: answers, intervals and correlations; what is said instead of others."""
    summary = run.summary
    if summary is None or not summary.refined:
        return None
    outcome = summary.outcome
    if outcome is None:
        return Contents(words=(_LATER,))
    found = _intervals(outcome)
    table = _table(summary, outcome, found)
    if found is None or found.missing:
        words = _OLD if found is None else f"No intervals: {found.missing}. {_NONE}"
        return Contents(words=(words,), tables=(table,))
    labels = [label for label, _ in _refined(summary, outcome)]
    figures = [_figure(labels, summary, table)]
    tables = [table]
    correlation = _floats(found.correlation)
    if len(labels) > 1:
        figures.append(_correlation_figure(labels, correlation))
        tables.append(_pairs(labels, correlation))
    return Contents(
        words=_words(labels, outcome, found), figures=tuple(figures), tables=tuple(tables)
    )


def _intervals(outcome: Outcome) -> Intervals | None:
    """What the page says of errors: the only place that chooses.

    Where a search gives standard errors itself, they are better, and belong here.
    """
    return outcome.intervals


def _refined(summary: Summary, outcome: Outcome) -> list[tuple[str, float]]:
    """The refined parameters' labels for people, with their answers, in the summary's order."""
    every = {label: (shown, value) for label, shown, value in numbered(outcome.answer)}
    return [every[label] for label in summary.refined]


def _scatters(summary: Summary) -> list[float | None]:
    """Of the restarts, by refined parameter."""
    if summary.findings is None:
        return [None] * len(summary.refined)
    spread = {
        name: [np.nan if v is None else v for v in value] if isinstance(value, list) else value
        for name, value in summary.findings.spread.items()
    }
    known = {name: np.nan if value is None else value for name, value in spread.items()}
    every = {label: value for label, _, value in numbered(known)}
    found = [every[label] for label in summary.refined]
    return [None if np.isnan(value) else float(value) for value in found]


def _words(labels: list[str], outcome: Outcome, found: Intervals) -> tuple[str, ...]:
    words = [
        "Standard errors are from the data: from the slope and the curvature of the "
        f"objective at the answer, which maps calculated to its sides ({found.samples} samples) "
        f"give, and from how much {found.zones} Brillouin zones, or blocks of up to 3 x 3 x 3 of "
        "them, disagree about the slope. They tell how far the answer would move if other zones of "
        "the same crystal had been measured, for this very model. What a model that is wrong does "
        f"to its parameters is not in them{_wrong(outcome.cc_work)}.",
        "The 95 % interval of an amplitude is symmetric in its square, which intensities are "
        "nearly linear in; it ends at 0. Mixed second derivatives of intensities are neglected.",
        _APART,
    ]
    far = found.off_minimum(tuple(labels))
    if far:
        words.append(
            f"Farther from the minimum than a standard error: {', '.join(far)}. These are limited "
            "by the search and its samples, not by the data: more [search] evaluations and "
            "restarts, or more [model] samples, determine them better."
        )
    return tuple(words)


def _wrong(cc: float | None) -> str:
    """How much that may be."""
    if cc is None or cc > _RIGHT:
        return ""
    return f", and with CC_work {cc:.4f} that may be much more"


def _table(summary: Summary, outcome: Outcome, found: Intervals | None) -> Table:
    rows = _refined(summary, outcome)
    none: list[None] = [None] * len(rows)
    told = [
        list(of_one) or none
        for of_one in (
            (found.standard_errors, found.low, found.high, found.to_minimum)
            if found
            else ((), (), (), ())
        )
    ]
    reasons = list(found.reasons) if found and found.reasons else none
    bounds = [summary.bounds[label] for label in summary.refined]
    lines: list[tuple[Cell, ...]] = [
        (label, value, *numbers, scatter, low, high, *([reason or ""] if any(reasons) else []))
        for (label, value), *numbers, scatter, (low, high), reason in zip(
            rows, *told, _scatters(summary), bounds, reasons, strict=True
        )
    ]
    names = (
        "answer",
        "standard error",
        "95 % from",
        "95 % to",
        "to the minimum",
        "scatter of the restarts",
    )
    return Table(
        name="parameters",
        caption="The refined parameters at the answer.",
        columns=(
            Column(name="parameter"),
            *(Column(name=name, digits=4) for name in names),
            Column(name="range from", digits=2),
            Column(name="range to", digits=2),
            *([Column(name="why no interval")] if any(reasons) else []),
        ),
        rows=tuple(lines),
    )


def _figure(labels: list[str], summary: Summary, table: Table) -> Figure:
    columns = {c.name: [row[i] for row in table.rows] for i, c in enumerate(table.columns)}

    def of(name: str) -> Floats:
        return np.array([np.nan if x is None else x for x in columns[name]], np.float64)

    ends = np.array([of("95 % from"), of("95 % to")])
    bounds = np.array([summary.bounds[label] for label in summary.refined])
    known = int(np.isfinite(ends[0]).sum())
    return Figure(
        name="parameters",
        caption="Left: the refined parameters in the ranges that were searched: the answer with "
        "its 95 % interval from the data, and, below it, how far the restarts scatter. Right: half "
        "the width of the interval (circles) and the scatter (diamonds), on a logarithmic scale.",
        alternative=f"{known} of {len(labels)} parameters have an interval; all numbers are in the "
        "table below.",
        draw=lambda: intervals_figure(
            labels, of("answer"), ends, bounds, of("scatter of the restarts")
        ),
    )


def _correlation_figure(labels: list[str], correlation: Floats) -> Figure:
    return Figure(
        name="parameter_correlation",
        caption="Correlations between the errors of the parameters, of amplitudes between those "
        "of their squares. White: no interval.",
        alternative=_strongest(labels, correlation),
        draw=lambda: plot_correlation(labels, correlation).figure,
    )


def _strongest(labels: list[str], correlation: Floats) -> str:
    pairs = _sorted_pairs(labels, correlation)
    if not pairs:
        return "No two parameters have intervals."
    one, other, value = pairs[0]
    return f"The strongest correlation is {value:.2f}, between {one} and {other}."


def _sorted_pairs(labels: list[str], correlation: Floats) -> list[tuple[str, str, float]]:
    """Each two parameters with a correlation, the strongest first."""
    pairs = [
        (labels[i], labels[j], float(correlation[i, j]))
        for i, j in combinations(range(len(labels)), 2)
        if np.isfinite(correlation[i, j])
    ]
    return sorted(pairs, key=lambda pair: -abs(pair[2]))


def _pairs(labels: list[str], correlation: Floats) -> Table:
    return Table(
        name="parameter-correlations",
        caption="Correlations between the errors of two parameters, the strongest first.",
        columns=(
            Column(name="parameter"),
            Column(name="other parameter"),
            Column(name="correlation", digits=3),
        ),
        rows=tuple(_sorted_pairs(labels, correlation)),
        most_rows=_PAIRS,
    )


def _floats(rows: tuple[tuple[float | None, ...], ...]) -> Floats:
    found: Floats = np.array([[np.nan if v is None else v for v in row] for row in rows])
    return found
