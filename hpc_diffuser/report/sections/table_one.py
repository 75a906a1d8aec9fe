"""Table 1, as a journal wants it: crystal, data, model, parameters, scores, search, computation."""

from collections.abc import Iterable, Iterator

from hpc_diffuser.fit.scoring import plain
from hpc_diffuser.interface.run import Comparison, Run
from hpc_diffuser.report.facts import (
    MOST_MODES,
    PARAMETERS,
    Fact,
    facts,
    is_shown,
    rounded,
    why_not_all,
)
from hpc_diffuser.report.section import Cell, Column, Contents, Table
from hpc_diffuser.system.errors import InputError

_COLUMNS = (
    "part",
    "quantity",
    "value",
    "standard error",
    "95 % from",
    "95 % to",
    "scatter of restarts",
)
_ALWAYS = 3  # columns that are there, whatever is known
_WORDS = {
    "standard error": "Standard errors and 95 % intervals are of the data: of how their Brillouin "
    "zones disagree. What a wrong model does to its parameters is not in them.",
    "scatter of restarts": "Scatter of restarts: half the width of the central 68 % of the "
    "restarts' answers. It tells how well the search finds the same place again, not how well the "
    "map determines a parameter: it is no standard error.",
}
_WORDS_OF_SCORES = (
    "Standard errors and 95 % intervals of the CCs are of the data: from Brillouin zones drawn "
    "anew. Two models are compared by the error of their difference, in the section of the models."
)


def table_one(run: Run) -> Contents:
    """All that a publication says of a fit, in one table."""
    rows = _with_errors(run, facts(run))
    kept = [i for i in range(len(_COLUMNS)) if i < _ALWAYS or any(row[i] != "" for row in rows)]
    table = Table(
        name="table-1",
        caption="The crystal, its data, the model and its answer, and what computed it.",
        columns=tuple(_column(_COLUMNS[i]) for i in kept),
        rows=tuple(tuple(row[i] for i in kept) for row in rows),
        grouped=True,
    )
    words = [text for name, text in _WORDS.items() if _COLUMNS.index(name) in kept]
    return Contents(words=(*words, *_left_out([run])), tables=(table,))


_OF_SCORES = ("CC_work", "CC_free")


def _with_errors(run: Run, rows: list[Fact]) -> list[Fact]:
    """With the errors of both scores, where the run's maps are there."""
    known = _errors_of_scores(run)

    def of_row(fact: Fact) -> Fact:
        if fact.quantity not in known:
            return fact
        error, low, high = known[fact.quantity]
        return fact._replace(error=error, low=low, high=high)

    return list(map(of_row, rows))


def _errors_of_scores(run: Run) -> dict[str, tuple[Cell, Cell, Cell]]:
    """Standard error and ends of the 95 % interval of either score; {} without the run's maps."""
    try:
        errors = run.cc_errors if run.summary and run.summary.outcome else None
    except InputError:
        return {}
    if errors is None:
        return {}
    kinds = zip(_OF_SCORES, (errors.work, errors.free), strict=True)
    return {
        name: (
            rounded(plain(float(own.error)), 4),
            rounded(plain(float(own.low)), 4),
            rounded(plain(float(own.high)), 4),
        )
        for name, own in kinds
    }


def _with_rows_of_errors(run: Run, rows: list[Fact]) -> Iterator[Fact]:
    """The same as rows of their own, below their score."""
    known = _errors_of_scores(run)
    for fact in rows:
        yield fact
        for name, cell in zip(_COLUMNS[_ALWAYS:], known.get(fact.quantity, ()), strict=False):
            yield Fact(fact.part, f"{fact.quantity}, {name}", cell)


def table_one_of_models(comparison: Comparison) -> Contents:
    """The same: what all models share, then what is each one's own, in a column for each.

    Their parameters have a section of their own.
    """
    runs = comparison.runs
    values = {name: _by_key(_with_rows_of_errors(run, facts(run))) for name, run in runs.items()}
    keys = _in_parts([key for each in values.values() for key in each])
    rows = {key: tuple(each.get(key, "") for each in values.values()) for key in keys}
    shared = {key: row[0] for key, row in rows.items() if len(set(row)) == 1}
    common = Table(
        name="table-1",
        caption="What the models share: the crystal, its data, how they were fitted.",
        columns=tuple(map(_column, ("part", "quantity", "value"))),
        rows=tuple((*key, value) for key, value in shared.items()),
        grouped=True,
    )
    own = Table(
        name="table-1-models",
        caption="What each model has of its own.",
        columns=(
            Column(name="part"),
            Column(name="quantity"),
            *(Column(name=name, is_text=True) for name in runs),
        ),
        rows=tuple((*key, *row) for key, row in rows.items() if key not in shared),
        grouped=True,
    )
    words = [_WORDS_OF_SCORES] if any("standard error" in key[1] for key in rows) else []
    words += _left_out(list(runs.values()))
    return Contents(words=tuple(words), tables=(common, own))


def _column(name: str) -> Column:
    return Column(name=name)


def _left_out(runs: list[Run]) -> list[str]:
    """What is not in the table, and why."""
    words = []
    summary = runs[0].summary if len(runs) == 1 else None
    if summary and not all(map(is_shown, summary.refined)):
        words.append(f"Of modes the first {MOST_MODES}; all are in the tables of parameters.")
    reasons = dict.fromkeys(filter(None, map(why_not_all, runs)))
    return words + [f"Without what the inputs say of crystal and data: {why}" for why in reasons]


def _by_key(found: Iterable[Fact]) -> dict[tuple[str, str], Cell]:
    return {
        (fact.part, fact.quantity): fact.value
        for fact in found
        if not fact.part.startswith(PARAMETERS)
    }


def _in_parts(keys: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Each once, part after part, in the order in which they first come."""
    once = list(dict.fromkeys(keys))
    parts = list(dict.fromkeys(part for part, _ in once))
    return sorted(once, key=lambda key: parts.index(key[0]))
