"""Many runs beside each other: one line each, their parameters, what they differ in."""

from collections.abc import Mapping, Sequence
from typing import Any

from hpc_diffuser.fit.config import flat_config
from hpc_diffuser.fit.config_values import shown as shown_value
from hpc_diffuser.fit.summary import Outcome
from hpc_diffuser.interface.run import Run
from hpc_diffuser.report.facts import MOST_MODES, best_known, errors_of, is_shown, numbered
from hpc_diffuser.report.runs import Runs
from hpc_diffuser.report.section import Cell, Column, Contents, Figure, Table
from hpc_diffuser.report.sections.warnings import warnings_of

_MOST_SETTINGS = 12  # that are columns of the table of differences
_HASH = 12  # letters of a file's SHA-256, enough to tell files apart


def warnings_of_runs(subject: Runs) -> Contents:
    """How many runs have warnings, and the table of them; first, what cannot be read."""
    words = [f"{name} cannot be read: {why}" for name, why in subject.lost.items()]
    rows = [(name, text) for name, run in subject.runs.items() for text in warnings_of(run)]
    with_any = len({name for name, _ in rows})
    if not rows:
        return Contents(words=(*words, f"None of {len(subject.runs)} runs has a warning."))
    table = Table(
        name="warnings",
        caption="The warnings of every run.",
        columns=(Column(name="run"), Column(name="warning")),
        rows=tuple(rows),
        grouped=True,
        most_rows=100,
    )
    words.append(f"{with_any} of {len(subject.runs)} runs have warnings, {len(rows)} in all.")
    return Contents(words=tuple(words), tables=(table,))


def several(subject: Runs) -> Contents:
    """A line for every run, and its scores as a figure."""
    columns = (
        Column(name="run"),
        Column(name="state"),
        Column(name="restarts finished"),
        Column(name="refined parameters"),
        Column(name="CC_work", digits=4),
        Column(name="CC_free", digits=4),
        Column(name="CC_work of translation alone", digits=4),
        Column(name="rms displacement (Å)", digits=3),
        Column(name="mean B (Å²)", digits=2),
        Column(name="crystal's mean B (Å²)", digits=2),
        Column(name="core-hours", digits=3),
        Column(name="warnings"),
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
        return name, run.state, 0, *(None,) * 8, len(warnings_of(run))
    cost = summary.cost.core_hours if summary.cost else None
    return (
        name,
        run.state,
        summary.restarts_finished,
        len(summary.refined),
        *(_scores(summary.outcome) if summary.outcome else (None,) * 6),
        cost,
        len(warnings_of(run)),
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
    known, errors = {}, {}
    for name, run in subject.runs.items():
        values = best_known(run.summary) if run.summary else None
        if run.summary is None or values is None:
            continue
        sure = errors_of(run.summary)
        rows = [row for row in numbered(values) if is_shown(row[0])]
        known[name] = {shown: value for _, shown, value in rows}
        errors[name] = {shown: sure[label][0] for label, shown, _ in rows if label in sure}
    if not known:
        return None
    caption = (
        "Parameters of every run's answer; of a run that has not finished, of its best restart so "
        f"far. Of modes the first {MOST_MODES}."
    )
    tables = [_by_run("parameters-of-runs", caption, known, subject)]
    if any(errors.values()):
        caption = "Their standard errors, from the data; none of those that are held."
        tables.append(_by_run("standard-errors-of-runs", caption, errors, subject))
    return Contents(tables=tuple(tables))


def _by_run(
    name: str, caption: str, found: Mapping[str, Mapping[str, Cell]], subject: Runs
) -> Table:
    """A line for each run, a column for each parameter."""
    labels = list(dict.fromkeys(label for values in found.values() for label in values))
    return Table(
        name=name,
        caption=caption,
        columns=(Column(name="run"), *(Column(name=label, digits=4) for label in labels)),
        rows=tuple(
            (run, *(values.get(label, "") for label in labels)) for run, values in found.items()
        ),
        links=subject.pages,
    )


def differences(subject: Runs) -> Contents | None:
    """The settings and inputs in which the runs differ; None where they do not."""
    told = {name: _settings(run) for name, run in subject.runs.items()}
    keys = list(dict.fromkeys(key for found in told.values() for key in found))
    differing = [key for key in keys if len({found.get(key, "") for found in told.values()}) > 1]
    if not differing:
        return None
    some = differing[:_MOST_SETTINGS]
    more = len(differing) - len(some)
    words = ["Inputs are told apart by the first letters of their SHA-256."]
    words += [f"{more} other settings differ too."] * bool(more)
    table = Table(
        name="differences",
        caption="What the runs differ in.",
        columns=(Column(name="run"), *(Column(name=key) for key in some)),
        rows=tuple((name, *(found.get(key, "") for key in some)) for name, found in told.items()),
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


def _text(value: Any) -> str:
    return "none" if value is None else str(value) if isinstance(value, str) else shown_value(value)
