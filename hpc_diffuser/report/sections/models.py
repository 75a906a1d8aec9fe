"""Models beside each other: scores, parameters, controls."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from hpc_diffuser.fit.comparison_table import ModelComparison, ModelRow, Shuffled
from hpc_diffuser.fit.config_values import terms_of
from hpc_diffuser.fit.errors.cc_errors import CCErrors, difference_error
from hpc_diffuser.fit.scoring import plain
from hpc_diffuser.interface.run import Comparison
from hpc_diffuser.report.facts import best_known, errors_of, numbered, rounded
from hpc_diffuser.report.section import Cell, Column, Contents, Table
from hpc_diffuser.system.errors import InputError

_ERRORS = 2  # of a difference, that it has to exceed
_BELOW = f"below {_ERRORS} standard errors"
_SMALL = 0.00005  # an error that four digits would show as 0
_SHUFFLED = (
    "As a control, the same weights were given to the same modes in other orders. These span the "
    "same motions: what another basis would gain, only its modes refitted tell ([models] bases)."
)


def models(comparison: Comparison) -> Contents | None:
    """Scores of every model, and its B-factors beside the crystal's; None until all are fitted."""
    found = comparison.table
    if found is None:
        return None
    best = max(found.models, key=lambda row: -1.0 if row.cc_free is None else row.cc_free)
    lacks = _lacks(best, found.models, _resampled(comparison))
    words = [] if best.cc_free is None else [_highest(best, lacks, found.models)]
    shuffled = list(_shuffled_table(found.models))
    if shuffled:
        words.append(_SHUFFLED)
    tables = [_scores(found), *([_lacks_table(best.name, lacks)] if lacks else []), *shuffled]
    return Contents(words=tuple(words), tables=tuple(tables))


class _Lack(NamedTuple):
    """What a model lacks in CC_free to the best one, and the error of that, where known."""

    model: str
    less: float
    error: float | None

    @property
    def counts(self) -> str:
        """Whether it is more than chance: "yes", "no", or "" where that is not known."""
        if self.error is None:
            return ""
        return "yes" if self.less >= _ERRORS * self.error else "no"


def _resampled(comparison: Comparison) -> Mapping[str, CCErrors]:
    """Errors of the models' scores; none where their maps or their target are gone."""
    try:
        return comparison.cc_errors
    except InputError:
        return {}


def _lacks(best: ModelRow, rows: Iterable[ModelRow], errors: Mapping[str, CCErrors]) -> list[_Lack]:
    """Of all other models with a CC_free, the next best one first."""
    found = []
    for row in rows:
        if row is best or row.cc_free is None or best.cc_free is None:
            continue
        error = None
        if row.name in errors and best.name in errors:
            one, other = errors[best.name].resampled, errors[row.name].resampled
            error = plain(float(difference_error(one, other)[1].error))
        found.append(_Lack(row.name, best.cc_free - row.cc_free, error))
    return sorted(found, key=lambda lack: lack.less)


def _highest(best: ModelRow, lacks: list[_Lack], rows: Sequence[ModelRow]) -> str:
    """Which model is best by CC_free, and how sure it is: beside the next, and the fullest."""
    text = f"CC_free is highest for {best.name}: {best.cc_free:.4f}"
    fullest = max(rows, key=lambda row: len(row.refined)).name
    told = [lack for i, lack in enumerate(lacks) if i == 0 or lack.model == fullest]
    return "; ".join([text, *map(_beside, told)]) + "."


def _beside(lack: _Lack) -> str:
    text = f"that of {lack.model} is lower by {lack.less:.4f}"
    if lack.error is None:
        return f"{text}, whose error is not known"
    digits = 4 if lack.error >= _SMALL else 6
    text += f" ± {lack.error:.{digits}f}"
    return text if lack.counts == "yes" else f"{text}, not distinguishable ({_BELOW})"


def _lacks_table(best: str, lacks: list[_Lack]) -> Table:
    return Table(
        name="cc-free-of-models",
        caption=f"By how much CC_free of each model is below that of {best}, and the standard "
        "error of this difference, with the same Brillouin zones drawn for both. Distinguishable: "
        f"not {_BELOW}.",
        columns=(
            Column(name="model"),
            Column(name="CC_free is lower by", digits=4),
            Column(name="standard error", digits=4),
            Column(name="distinguishable"),
        ),
        rows=tuple((lack.model, lack.less, lack.error, lack.counts) for lack in lacks),
    )


def _scores(found: ModelComparison) -> Table:
    with_bases = any(row.basis or row.modes_file for row in found.models)
    with_b = any(row.b_factors for row in found.models)
    columns = [
        Column(name="model"),
        Column(name="refined parameters"),
        Column(name="CC_work", digits=4),
        Column(name="CC_free", digits=4),
        *(Column(name=name, digits=digits) for name, digits in _B_FACTORS if with_b),
        *[Column(name="modes")] * with_bases,
        Column(name="the answer is"),
    ]
    rows = tuple(
        (
            row.name,
            len(row.refined),
            row.cc_work,
            row.cc_free,
            *(_b_factors(row) if with_b else ()),
            *[row.modes_file or ""] * with_bases,
            row.answer_is,
        )
        for row in found.models
    )
    caption = "The models, fitted to one target."
    if with_b:
        caption += " B-factors are compared with the crystal's, of the atoms that it has."
    return Table(name="models", caption=caption, columns=tuple(columns), rows=rows)


_B_FACTORS = (
    ("CC of B-factors", 3),
    ("mean B (Å²)", 2),
    ("crystal's mean B (Å²)", 2),
    ("atoms that move more (%)", 2),
)


def _b_factors(row: ModelRow) -> tuple[Cell, ...]:
    found = row.b_factors
    if found is None:
        return (None,) * len(_B_FACTORS)
    return found.cc, found.mean_A2, found.crystal_mean_A2, 100 * found.moves_more


def _shuffled_table(rows: Iterable[ModelRow]) -> Iterator[Table]:
    """Of the models with modes."""
    with_modes = [row for row in rows if "int" in terms_of(row.name)]
    if not any(row.shuffled_modes for row in with_modes):
        return
    yield Table(
        name="shuffled-modes",
        caption="CC with the weights given to the same modes in other orders.",
        columns=(
            Column(name="model"),
            Column(name="orders"),
            *(
                Column(name=f"CC_{kind}, {what}", digits=4)
                for kind in ("work", "free")
                for what in ("mean", "standard deviation", "largest")
            ),
        ),
        rows=tuple((row.name, *_shuffled(row.shuffled_modes)) for row in with_modes),
    )


def _shuffled(found: Shuffled | None) -> tuple[Cell, ...]:
    if found is None:
        return (None,) * 7
    of_each = (found.cc_work, found.cc_free)
    numbers = [(each.mean, each.standard_deviation, each.largest) for each in of_each]
    return found.orders, *(number for each in numbers for number in each)


def parameters_of_models(comparison: Comparison) -> Contents | None:
    """Every parameter of every model's answer; None until a restart of one is finished."""
    known: dict[str, dict[str, tuple[float, bool]]] = {}
    errors: dict[str, dict[str, Cell]] = {}
    for name, run in comparison.runs.items():
        values = best_known(run.summary) if run.summary else None
        if run.summary and values is not None:
            refined = run.summary.refined
            known[name] = {
                shown: (value, label in refined) for label, shown, value in numbered(values)
            }
            sure = errors_of(run.summary)
            errors[name] = {
                shown: rounded(sure[label][0], 4) if label in sure else None
                for label, shown, _ in numbered(values)
                if label in refined
            }
    if not known:
        return None
    labels = list(dict.fromkeys(label for found in known.values() for label in found))
    table = Table(
        name="parameters-of-models",
        caption="Parameters of each model's answer; those in parentheses were held.",
        columns=(Column(name="parameter"), *(Column(name=name) for name in known)),
        rows=tuple(
            (label, *(_value(found.get(label)) for found in known.values())) for label in labels
        ),
        most_rows=40,
    )
    return Contents(tables=(table, *_errors_table(errors, labels)))


def _errors_table(errors: Mapping[str, Mapping[str, Cell]], labels: list[str]) -> Iterator[Table]:
    """Where the data tell any."""
    rows = [label for label in labels if any(label in of for of in errors.values())]
    if any(error is not None for of in errors.values() for error in of.values()):
        yield Table(
            name="standard-errors-of-models",
            caption="Their standard errors, from the data; – of one that was refined without.",
            columns=(Column(name="parameter"), *(Column(name=name, digits=4) for name in errors)),
            rows=tuple((label, *(of.get(label, "") for of in errors.values())) for label in rows),
            most_rows=40,
        )


def _value(found: tuple[float, bool] | None) -> Cell:
    if found is None:
        return ""
    value, is_refined = found
    return rounded(value, 4) if is_refined else f"({value:g})"
