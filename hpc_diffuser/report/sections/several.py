"""Many runs beside each other: one line each, their parameters, what they differ in."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hpc_diffuser.fit.config import flat_config
from hpc_diffuser.fit.config_values import shown as shown_value
from hpc_diffuser.fit.summary import Outcome, Summary, Values
from hpc_diffuser.interface.run import Run
from hpc_diffuser.motion.registry import BY_NAME
from hpc_diffuser.report.facts import (
    MOST_MODES,
    best_known,
    errors_of,
    is_shown,
    numbered,
    significant,
)
from hpc_diffuser.report.runs import Runs
from hpc_diffuser.report.section import Cell, Column, Contents, Figure, Table
from hpc_diffuser.report.sections.warnings import warnings_of

_MOST_WARNINGS = 300  # that the page shows
_NOT_KNOWN = (None, None, None)
_HASH = 12  # letters of a file's SHA-256, enough to tell files apart


def warnings_of_runs(subject: Runs) -> Contents:
    """First, what cannot be read; then how many runs have warnings."""
    words = [f"{name} cannot be read: {why}." for name, why in subject.lost.items()]
    found = [len(warnings_of(run)) for run in subject.runs.values()]
    n_runs, with_any = len(subject.runs), sum(n > 0 for n in found)
    if with_any:
        words.append(
            f"{with_any} of {n_runs} runs have warnings, {sum(found)} in all: how many each has is "
            "in the table of the runs, what they say in that of the warnings, at the end."
        )
    else:
        words.append(f"None of {n_runs} runs has a warning.")
    return Contents(words=tuple(words))


def every_warning(subject: Runs) -> Contents | None:
    """The warnings of every run in words; None where there are none."""
    rows = [(name, text) for name, run in subject.runs.items() for text in warnings_of(run)]
    if not rows:
        return None
    table = Table(
        name="warnings",
        caption="The warnings of every run, and what to do.",
        columns=(Column(name="run"), Column(name="warning")),
        rows=tuple(rows),
        grouped=True,
        most_rows=_MOST_WARNINGS,
    )
    return Contents(tables=(table,))


def several(subject: Runs) -> Contents:
    """A line for every run, and its scores as a figure."""
    columns = (
        Column(name="run"),
        Column(name="state"),
        Column(name="warnings"),
        Column(name="restarts finished"),
        Column(name="refined parameters"),
        Column(name="CC_work", digits=4),
        Column(name="CC_free", digits=4),
        Column(name="CC_work of translation alone", digits=4),
        Column(name="rms displacement (Å)", digits=3),
        Column(name="mean B (Å²)", digits=2),
        Column(name="crystal's mean B (Å²)", digits=2),
        Column(name="core-hours"),
    )
    rows = tuple(_line(name, run) for name, run in subject.runs.items())
    table = Table(
        name="runs",
        caption="The runs, in the order in which they were given."
        + (" Names lead to the pages of runs that have one." if subject.pages else ""),
        columns=columns,
        rows=rows,
        links=subject.pages,
    )
    return Contents(figures=tuple(_figures(subject)), tables=(table,))


def _line(name: str, run: Run) -> tuple[Cell, ...]:
    summary = run.summary
    if summary is None:
        return name, run.state, len(warnings_of(run)), 0, *(None,) * 8
    cost = significant(summary.cost.core_hours, 2) if summary.cost else None
    return (
        name,
        run.state,
        len(warnings_of(run)),
        summary.restarts_finished,
        len(summary.refined),
        *(_scores(summary.outcome) if summary.outcome else (None,) * 6),
        cost,
    )


def _scores(outcome: Outcome) -> tuple[Cell, ...]:
    found = outcome.b_factors
    return (
        outcome.cc_work,
        outcome.cc_free,
        outcome.translation_alone.cc_work,
        outcome.motion.rms_A,
        outcome.motion.mean_b_A2,
        found.crystal_mean_A2 if found else None,
    )


def _figures(subject: Runs) -> list[Figure]:
    scored = {
        name: run.summary.outcome
        for name, run in subject.runs.items()
        if run.summary and run.summary.outcome
    }
    if len(scored) < 2:
        return []
    work = [outcome.cc_work for outcome in scored.values()]
    free = [outcome.cc_free for outcome in scored.values()]
    alone = [outcome.translation_alone.cc_work for outcome in scored.values()]

    def draw() -> Any:
        from hpc_diffuser.plots.runs import plot_scores_of_runs

        return plot_scores_of_runs(list(scored), work, free, alone).figure

    return [
        Figure(
            name="scores-of-runs",
            caption="CC_work and CC_free of every run's answer, and CC_work of translation alone, "
            "a rigid molecule that moves as a whole.",
            alternative=f"CC_work and CC_free of {len(scored)} runs. {_range('CC_work', work)} "
            f"{_range('CC_free', free)} All numbers are in the table of the runs.",
            draw=draw,
        )
    ]


def _range(name: str, values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return f"{name} is not known."
    return f"{name} is between {min(known):.4f} and {max(known):.4f}."


def parameters_of_runs(subject: Runs) -> Contents | None:
    """Every parameter of every run's answer, or best so far; None where there is none."""
    answers = {name: best_known(run.summary) for name, run in subject.runs.items() if run.summary}
    every = {name: values for name, values in answers.items() if values is not None}
    if not every:
        return None
    labels = _in_order(every.values())
    cells = {name: _of_answer(subject.runs[name].summary, every[name]) for name in every}
    caption = (
        "Parameters of every run's answer; of a run that has not finished, of its best restart so "
        "far. Those in parentheses were held; what was held at 0 is left out. Of modes the first "
        f"{MOST_MODES}."
    )
    known = {name: {label: pair[0] for label, pair in of.items()} for name, of in cells.items()}
    tables = [_by_run("parameters-of-runs", caption, known, labels, subject)]
    errors = {name: {label: pair[1] for label, pair in of.items()} for name, of in cells.items()}
    errors = {name: of for name, of in errors.items() if _has_numbers(of.values())}
    if errors:
        caption = (
            "Their standard errors, from the data, of the runs that have any; – of one that was "
            "refined without."
        )
        tables.append(_by_run("standard-errors-of-runs", caption, errors, labels, subject))
    return Contents(tables=tuple(tables))


def _of_answer(summary: Summary | None, values: Values) -> dict[str, tuple[Cell, Cell]]:
    """Each parameter and its standard error, by its label for people."""
    refined, sure = (summary.refined, errors_of(summary)) if summary else ((), {})
    return {
        shown: (value, sure.get(label, _NOT_KNOWN)[0]) if label in refined else (_held(value), "")
        for label, shown, value in numbered(values)
        if is_shown(label)
    }


def _has_numbers(cells: Iterable[Cell]) -> bool:
    return any(cell is not None and cell != "" for cell in cells)


def _held(value: float) -> Cell:
    """In parentheses, as in the table of a comparison's models."""
    return f"({value:g})" if value else ""


def _by_run(
    name: str,
    caption: str,
    found: Mapping[str, Mapping[str, Cell]],
    labels: Sequence[str],
    subject: Runs,
) -> Table:
    """A line for each run, a column for each parameter that some run has."""
    shown = [label for label in labels if _has_numbers(of.get(label) for of in found.values())]
    return Table(
        name=name,
        caption=caption,
        columns=(Column(name="run"), *(Column(name=label, digits=4) for label in shown)),
        rows=tuple(
            (run, *(values.get(label, "") for label in shown)) for run, values in found.items()
        ),
        links=subject.pages,
    )


def _in_order(every: Iterable[Values]) -> list[str]:
    """The labels of all parameters, as the registry has them, modes and axes by number."""
    names, places = list(BY_NAME), {}
    for name, value in (item for values in every for item in values.items()):
        size = len(value) if isinstance(value, list) else None
        for number, label in enumerate(BY_NAME[name].shown_labels(size)):
            places[label] = names.index(name), size is not None, number
    return sorted(places, key=lambda label: places[label])


def differences(subject: Runs) -> Contents | None:
    """The settings and inputs in which the runs differ; None where they do not."""
    told = {name: _settings(run) for name, run in subject.runs.items()}
    keys = list(dict.fromkeys(key for found in told.values() for key in found))
    differing = [key for key in keys if len({found.get(key, "") for found in told.values()}) > 1]
    if not differing:
        return None
    words = ["Inputs are told apart by the first letters of their SHA-256."]
    table = Table(
        name="differences",
        caption="What the runs differ in.",
        columns=(Column(name="run"), *(Column(name=_as_in_config(key)) for key in differing)),
        rows=tuple(
            (name, *(found.get(key, "") for key in differing)) for name, found in told.items()
        ),
        links=subject.pages,
    )
    return Contents(words=tuple(words), tables=(table,))


def _settings(run: Run) -> dict[str, str]:
    settings = {
        key: _text(value)
        for key, value in flat_config(run.config).items()
        if key not in run.manifest["inputs"] and not key.startswith("run.")
    }
    return settings | {key: digest[:_HASH] for key, digest in run.manifest["inputs"].items()}


def _as_in_config(key: str) -> str:
    """`model.seed` as `[model] seed`."""
    section, _, name = key.partition(".")
    return f"[{section}] {name}"


def _text(value: Any) -> str:
    """As a config says it: a parameter that is held, by its one number."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else shown_value(_plain(value))


def _plain(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        return value
    if len(value) == 2 and value[0] == value[1] and isinstance(value[0], int | float):
        return value[0]
    return [_plain(part) for part in value]
