"""Section: the refined parameters, and how well the data determine them."""

import numpy as np

from hpc_diffuser.fit.errors.intervals import EffectiveVoxels, Intervals
from hpc_diffuser.fit.summary import Outcome, Summary
from hpc_diffuser.interface.run import Run
from hpc_diffuser.maps.zones import REPLICATES
from hpc_diffuser.plots.parameters import intervals_figure
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
_RIGHT = 0.95  # a CC of models that explain nearly all


def parameters_of_run(run: Run) -> Contents | None:
    """Of a finished run: answers, intervals and correlations; what is said instead of others."""
    summary = run.summary
    if summary is None or not summary.refined:
        return None
    outcome = summary.outcome
    if outcome is None:
        return Contents(words=(_LATER,))
    found = outcome.intervals
    table = _table(summary, outcome, found)
    if found is None or found.missing:
        words = _OLD if found is None else f"No intervals: {found.missing}. {_NONE}"
        return Contents(words=(words,), tables=(table,))
    labels = [label for label, _ in refined_parameters(summary, outcome)]
    tables = [table]
    if found.bootstrap_errors:
        tables.append(_other_intervals(labels, found))
    if found.effective:
        tables.append(_effective_table(found.effective))
    return Contents(
        words=_words(labels, outcome, found),
        figures=_figures(labels, summary, table),
        tables=tuple(tables),
    )


def refined_parameters(summary: Summary, outcome: Outcome) -> list[tuple[str, float]]:
    """The refined parameters' labels for people, with their answers, in the summary's order.

    Parameters
    ----------
    summary : Summary
    outcome : Outcome
    """
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
        "nearly linear in; it ends at 0, and one that begins there does not tell the amplitude "
        "from none. Mixed second derivatives of intensities are neglected. In 95 of 100 data "
        "sets an interval of 95 % holds the parameter that made them, in 68 one of 68 %, if the "
        "model is right.",
        _APART,
        *_first_order(found),
        *_effective(found),
        *_of_priors(outcome),
    ]
    far = found.off_minimum(tuple(labels))
    if far:
        words.append(
            f"Farther from the minimum than a standard error: {', '.join(far)}. These are limited "
            "by the search and its samples, not by the data: more [search] evaluations and "
            "restarts, or more [model] samples, determine them better."
        )
    return tuple(words)


def _of_priors(outcome: Outcome) -> tuple[str, ...]:
    """Which priors the answer, and its errors, owe something to."""
    found = outcome.prior
    if found is None:
        return ()
    kinds = {
        "amplitudes": (found.amplitudes, found.of_amplitudes),
        "B-factors": (found.b_factors, found.of_b_factors),
        "ANISOU": (found.anisou, found.of_anisou),
        "the frames' weights": (found.weights, found.of_weights),
        "shapes of springs": (found.springs, found.of_springs),
    }
    told = [
        f"on {kind}, of weight {weight:.3g}, {part:.2g} of the objective at the answer"
        for kind, (weight, part) in kinds.items()
        if weight
    ]
    if not told:
        return ()
    return (
        f"The answer is not the map's alone, nor are its errors: there is a prior {'; '.join(told)}"
        ". Without it the map would lead elsewhere, and what it holds back, CC does not show.",
    )


def _effective_table(found: EffectiveVoxels) -> Table:
    names = ("as many independent ones", "standard error", "voxels to an independent one")
    return Table(
        name="effective-voxels",
        caption="Voxels that the score is over, and what they count as, in numbers of voxels.",
        columns=(Column(name="voxels"), *(Column(name=name, digits=1) for name in names)),
        rows=((found.voxels, found.independent, found.error, found.voxels / found.independent),),
    )


def _first_order(found: Intervals) -> tuple[str, ...]:
    if not found.first_order:
        return ()
    return (
        f"Of {found.first_order} modes slopes are those of the one-phonon intensity, and second "
        "derivatives are neglected: as there are many, maps beside the answer would take long. "
        "Their standard errors are those of the exact slopes to a few per cent.",
    )


def _effective(found: Intervals) -> tuple[str, ...]:
    """How many independent voxels there are, and what the errors were checked with."""
    words = []
    if found.effective:
        n, independent = found.effective.voxels, found.effective.independent
        words.append(
            f"{n} voxels count as {independent:.0f} independent ones "
            f"(standard error {found.effective.error:.0f}; one of {n / independent:.1f}): "
            "so many, each with an error of its own, would determine the parameters as well. "
            "Measured by how the residual's pulls at the parameters go together inside zones."
        )
    return (*words, *_drawn_anew(found))


def _drawn_anew(found: Intervals) -> tuple[str, ...]:
    """What the errors were checked with, or why they were not."""
    if not found.bootstrap_errors:
        return ()
    drawn = (
        "As a check the zones were drawn anew, with replacement, and the minimum looked for with "
        "the map's slopes"
    )
    if all(error is None for error in found.bootstrap_errors):
        return (
            f"{drawn}: in more than half of {REPLICATES} drawings none was found near the answer, "
            "so that there are no bootstrap errors, and the standard errors are not checked. The "
            "objective hardly bends along some direction of the parameters.",
        )
    few = (
        f" In {found.bootstrap_without} of {REPLICATES} drawings no minimum was found near the "
        "answer; they are left out, and the error is rather larger."
    )
    return (
        f"{drawn}: the bootstrap's standard errors and 95 % intervals, about the answer, are in "
        "the second table. Where they are much larger than the others, few zones determine the "
        "parameter, or the objective is no parabola there."
        + (few if found.bootstrap_without else ""),
    )


def _other_intervals(labels: list[str], found: Intervals) -> Table:
    columns = {
        "standard error": found.standard_errors,
        "68 % from": found.low_68,
        "68 % to": found.high_68,
        "error by bootstrap": found.bootstrap_errors,
        "bootstrap 95 % from": found.bootstrap_low,
        "bootstrap 95 % to": found.bootstrap_high,
    }
    return Table(
        name="parameters-bootstrap",
        caption="Intervals of 68 %, and the same of zones drawn anew, in the parameters' units.",
        columns=(Column(name="parameter"), *(Column(name=name, digits=4) for name in columns)),
        rows=tuple(zip(labels, *columns.values(), strict=True)),
    )


def _wrong(cc: float | None) -> str:
    """How much that may be."""
    if cc is None or cc > _RIGHT:
        return ""
    return f", and with CC_work {cc:.4f} that may be much more"


def _table(summary: Summary, outcome: Outcome, found: Intervals | None) -> Table:
    rows = refined_parameters(summary, outcome)
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


def _figures(labels: list[str], summary: Summary, table: Table) -> tuple[Figure, ...]:
    """One of all parameters but the weights of frames, which have a section of their own."""
    kept = [i for i, label in enumerate(summary.refined) if not label.startswith("frame ")]
    if not kept:
        return ()
    rows = tuple(table.rows[i] for i in kept)
    bounds = np.array([summary.bounds[summary.refined[i]] for i in kept])
    return (_figure([labels[i] for i in kept], bounds, table.columns, rows),)


def _figure(
    labels: list[str], bounds: Floats, names: tuple[Column, ...], rows: tuple[tuple[Cell, ...], ...]
) -> Figure:
    columns = {c.name: [row[i] for row in rows] for i, c in enumerate(names)}

    def of(name: str) -> Floats:
        return np.array([np.nan if x is None else x for x in columns[name]], np.float64)

    ends = np.array([of("95 % from"), of("95 % to")])
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
