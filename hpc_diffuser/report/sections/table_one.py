"""Table 1, as a journal wants it: crystal, data, model, parameters, scores, search, computation."""

from collections.abc import Iterator
from typing import Any

from hpc_diffuser.fit.summary import Findings, Outcome, Summary, Values
from hpc_diffuser.interface.run import Run
from hpc_diffuser.motion.registry import BY_NAME
from hpc_diffuser.report.section import Cell, Column, Contents, Rounded, Table

Row = tuple[Cell, ...]
MOST_MODES = 12  # that are rows of Table 1; all of them are in the table of parameters
_COLUMNS = (
    Column(name="part"),
    Column(name="quantity"),
    Column(name="value"),
    Column(name="scatter of restarts"),
)
_SCATTER = (
    "Scatter of restarts: half the width of the central 68 % of the restarts' answers. It tells "
    "how well the search finds the same place again, not how well the map determines a parameter: "
    "it is no standard error."
)


def table_one(run: Run) -> Contents:
    """All that a publication says of a fit, in one table."""
    summary = run.summary
    rows = [*_model(run), *(_of_summary(summary) if summary else ()), *_search(run)]
    rows += _computation(run, summary)
    table = Table(
        name="table-1",
        caption="Data, model, answer, and what computed it.",
        columns=_COLUMNS,
        rows=tuple(rows),
        grouped=True,
    )
    refined = summary is not None and summary.findings is not None and summary.refined
    return Contents(words=(_SCATTER,) if refined else (), tables=(table,))


def _row(part: str, quantity: str, value: Cell, scatter: Cell = "") -> Row:
    return part, quantity, value, scatter


def _model(run: Run) -> Iterator[Row]:
    settings = run.manifest["settings"]
    part = "Model"
    yield _row(part, "samples of the search", settings["model.samples"])
    yield _row(part, "samples of the final map", settings["model.final_samples"])
    yield _row(part, "sampler", settings["model.sampler"])
    yield _row(part, "seed", settings["model.seed"])


def _of_summary(summary: Summary) -> Iterator[Row]:
    if summary.findings is None:
        return
    outcome = summary.outcome
    if outcome:
        yield _row("Model", "the answer is", outcome.answer_is)
    values = outcome.answer if outcome else summary.findings.best.values
    yield from _parameters(summary, summary.findings, values)
    if outcome:
        yield from _scores(outcome)


def _parameters(summary: Summary, findings: Findings, values: Values) -> Iterator[Row]:
    """The answer, or what is the best so far."""
    part = "Parameters" if summary.outcome else "Parameters, the best so far"
    for name, value in values.items():
        scatter, row = findings.spread.get(name), BY_NAME[name]
        size = len(value) if isinstance(value, list) else None
        columns = zip(
            row.labels(size),
            row.shown_labels(size),
            as_list(value),
            as_list(scatter) if scatter is not None else [None] * (size or 1),
            strict=True,
        )
        for label, shown, number, width in list(columns)[:MOST_MODES]:
            held = label not in summary.refined
            scattered = "held" if held else rounded(width, 4)
            yield _row(part, shown, rounded(number, 4), scattered)


def as_list(value: float | list[Any] | None) -> list[Any]:
    """A list of what may be one number."""
    return value if isinstance(value, list) else [value]


def rounded(value: float | None, digits: int) -> Rounded | None:
    """A number with so many digits; None where it is not known."""
    return None if value is None else Rounded(value, digits)


def _scores(outcome: Outcome) -> Iterator[Row]:
    part = "Agreement"
    alone, found = outcome.translation_alone, outcome.b_factors
    yield _row(part, "CC_work", rounded(outcome.cc_work, 4))
    yield _row(part, "CC_free", rounded(outcome.cc_free, 4))
    yield _row(part, "CC_work of translation alone", rounded(alone.cc_work, 4))
    yield _row(part, "CC_free of translation alone", rounded(alone.cc_free, 4))
    if outcome.ceiling:
        yield _row(part, "CC½ of the data", rounded(outcome.ceiling.cc_half, 4))
        yield _row(part, "CC* of the data", rounded(outcome.ceiling.cc_star, 4))
    yield _row(part, "rms displacement of the model (Å)", Rounded(outcome.motion.rms_A, 3))
    yield _row(part, "mean B of the model (Å²)", Rounded(outcome.motion.mean_b_A2, 2))
    if found:
        yield _row(part, "mean B of the crystal (Å²)", Rounded(found.crystal_mean_A2, 2))
        yield _row(part, "CC of B-factors with the crystal's", rounded(found.cc, 3))


def _search(run: Run) -> Iterator[Row]:
    part, settings, summary = "Search", run.manifest["settings"], run.summary
    yield _row(part, "method", settings["search.method"])
    yield _row(part, "restarts asked for", settings["search.restarts"])
    if summary:
        yield _row(part, "restarts finished", summary.restarts_finished)
        yield _row(part, "restarts left out as failed", len(summary.excluded))
        yield _row(part, "evaluations of all restarts", summary.evaluations)
    yield _row(part, "evaluations asked for, each restart", settings["search.evaluations"])
    sampling = summary.sampling if summary else None
    if sampling:
        yield _row(part, "samples used", sampling.samples)
        yield _row(part, "error of a map by them (1 − CC)", sampling.map_error)
        yield _row(part, "error of the objective by them", sampling.objective_error)


def _computation(run: Run, summary: Summary | None) -> Iterator[Row]:
    part, cost = "Computation", summary.cost if summary else None
    if cost:
        yield _row(part, "jobs", cost.jobs)
        yield _row(part, "core-hours of all jobs", Rounded(cost.core_hours, 4))
        yield _row(part, "hours of all jobs", Rounded(cost.wall_hours, 4))
        yield _row(part, "hosts", ", ".join(cost.hosts))
        yield _row(part, "processors", ", ".join(cost.processors))
    versions = run.manifest.get("versions", {})
    yield _row(part, "versions", ", ".join(f"{name} {is_}" for name, is_ in versions.items()))
    for key, digest in run.manifest["inputs"].items():
        yield _row(part, f"SHA-256 of {key}", digest)
