"""Section: well and ill determined combinations of the refined parameters."""

import numpy as np

from hpc_diffuser.fit.errors.intervals import Combination, Intervals
from hpc_diffuser.interface.run import Run
from hpc_diffuser.plots.combinations import plot_combinations, plot_deviations
from hpc_diffuser.report.section import Cell, Column, Contents, Figure, Table
from hpc_diffuser.report.sections.parameters import refined_parameters
from hpc_diffuser.system.arrays import Floats

UNIFORM = 1 / np.sqrt(12)  # standard deviation of a range of length 1 of which nothing is known
_NAMED = 0.25  # part of a parameter from which on a combination is said to be of it
_MOST_NAMED = 4
_ROWS = 20
_WORDS = (
    "A combination is a direction of all parameters, each in parts of its range, in which the "
    "objective bends on its own: an error along one says nothing of the others. Its standard "
    "deviation is in parts of the ranges too, of amplitudes of the range of their squares. What "
    "is as uncertain as its whole range has 0.29; no combination with more than that is "
    "determined."
)


def determined_by_run(run: Run) -> Contents | None:
    """Of a finished run whose data determine two parameters or more."""
    summary = run.summary
    outcome = summary.outcome if summary else None
    found = outcome.intervals if outcome else None
    if summary is None or outcome is None or found is None or len(found.combinations) < 2:
        return None
    every = refined_parameters(summary, outcome)
    labels = [every[place][0] for place in found.known]
    answers = np.array([every[place][1] for place in found.known])
    return Contents(
        words=(_counted(found, answers), _WORDS, *_of_prior(found)),
        figures=(_deviations(found), _parts(found, labels)),
        tables=(_table(found, labels), _all_parts(found, labels)),
    )


def _counted(found: Intervals, answers: Floats) -> str:
    """How many parameters, and combinations of them, are known how well."""
    errors = np.array([found.standard_errors[place] for place in found.known], np.float64)
    n, deviations = len(errors), np.array([one.deviation for one in found.combinations])

    def known(part: float) -> int:
        return int((errors <= part * np.abs(answers)).sum())

    return (
        f"Of {n} parameters, {known(0.1)} are known to 10 % of themselves and {known(0.5)} to "
        f"50 % (standard errors). Of {n} combinations of them, "
        f"{int((deviations <= UNIFORM / 10).sum())} are known ten times better than by their "
        f"ranges alone, and {int((deviations > UNIFORM).sum())} no better."
    )


def _of_prior(found: Intervals) -> tuple[str, ...]:
    if found.determined is None or found.combinations[0].prior_share is None:
        return ()
    return (
        f"There is a prior: of {len(found.known)} parameters the data determine "
        f"{found.determined:.1f}, the prior the rest. Its share of a combination is f/(1 + f), f "
        "the ratio of its curvature to the data's.",
    )


def _main(one: Combination, labels: list[str]) -> str:
    """The parameters that a combination is of, the largest part first."""
    order = np.argsort(-np.abs(one.parts), kind="stable")
    named = [i for i in order[:_MOST_NAMED] if abs(one.parts[i]) >= _NAMED]
    return ", ".join(f"{one.parts[i]:+.2f} {labels[i]}" for i in named or order[:1])


def _table(found: Intervals, labels: list[str]) -> Table:
    has_prior = found.combinations[0].prior_share is not None
    rows: list[tuple[Cell, ...]] = [
        (number, one.deviation, *([one.prior_share] * has_prior), _main(one, labels))
        for number, one in enumerate(found.combinations, start=1)
    ]
    return Table(
        name="combinations",
        caption="Combinations of parameters, from the best determined to the worst. Parameters "
        "are in parts of their ranges, amplitudes as squares.",
        columns=(
            Column(name="combination"),
            Column(name="standard deviation (parts of the ranges)", digits=5),
            *[Column(name="prior's share", digits=3)] * has_prior,
            Column(name="mainly of"),
        ),
        rows=tuple(rows),
        most_rows=_ROWS,
    )


def _all_parts(found: Intervals, labels: list[str]) -> Table:
    rows = [
        (number, label, part)
        for number, one in enumerate(found.combinations, start=1)
        for label, part in zip(labels, one.parts, strict=True)
    ]
    return Table(
        name="combination-parts",
        caption="Part of each parameter in each combination: a direction of length 1, parameters "
        "in parts of their ranges, amplitudes as squares.",
        columns=(
            Column(name="combination"),
            Column(name="parameter"),
            Column(name="part", digits=3),
        ),
        rows=tuple(rows),
        most_rows=_ROWS,
    )


def _deviations(found: Intervals) -> Figure:
    deviations = np.array([one.deviation for one in found.combinations])
    shares = np.array([one.prior_share or 0.0 for one in found.combinations])
    has_prior = found.combinations[0].prior_share is not None
    return Figure(
        name="combination_deviations",
        caption="Standard deviations of the combinations, in parts of the ranges; the line is a "
        "range of which nothing is known." + " Colours: the prior's share." * has_prior,
        alternative=f"From {deviations[0]:.2g} of the best determined combination to "
        f"{deviations[-1]:.2g} of the worst.",
        draw=lambda: plot_deviations(deviations, shares if has_prior else None).figure,
    )


def _parts(found: Intervals, labels: list[str]) -> Figure:
    parts = np.array([one.parts for one in found.combinations])
    worst = _main(found.combinations[-1], labels)
    return Figure(
        name="combination_parts",
        caption="Part of each parameter in each combination, the best determined on the left.",
        alternative=f"The worst determined combination is mainly of {worst}.",
        draw=lambda: plot_combinations(labels, parts).figure,
    )
