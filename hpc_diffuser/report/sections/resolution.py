"""Section: CC against resolution, and how sure it is, of a run and of all models."""

from collections.abc import Mapping

from hpc_diffuser.fit.cc_text import cc_text
from hpc_diffuser.fit.comparison_table import ModelComparison, ModelShellRow
from hpc_diffuser.fit.errors.cc_errors import CCError, CCErrors, difference_error
from hpc_diffuser.fit.scoring import plain
from hpc_diffuser.fit.summary import FitShellRow, Outcome
from hpc_diffuser.interface.run import Comparison, Run
from hpc_diffuser.maps.zones import REPLICATES
from hpc_diffuser.plots.models import best_model, models_figure
from hpc_diffuser.plots.shells import shells_figure
from hpc_diffuser.report.section import Cell, Column, Contents, Figure, Table
from hpc_diffuser.system.errors import InputError

HOW = (
    f"Errors of the CCs: {REPLICATES} times, Brillouin zones are drawn with replacement from those "
    "of the data, with all their voxels and Laue mates, as neighbouring voxels are correlated; "
    "and in blocks of up to 3 x 3 x 3, as neighbouring zones are. The working ones and the free "
    "ones are drawn each from their own. The errors tell how much a CC would differ for other "
    "zones of the same crystal, and nothing of errors that all zones share. Bars are 95 % "
    "intervals."
)
_ALONE = "Translation alone has none: its map is not kept."
_CEILING = (
    "CC* is what a model without errors would reach: √(2 CC½ / (1 + CC½)), CC½ that of the data's "
    "half-maps."
)
_BEYOND = "where those of CC_free leave the panel, the table has their ends."
_ERROR = ("standard error", "95 % from", "95 % to")
_SHELL = (
    Column(name="d_max (Å)", digits=2),
    Column(name="d_min (Å)", digits=2),
    Column(name="working voxels"),
    Column(name="free voxels"),
)


def shells_of_run(run: Run) -> Contents | None:
    """Of a finished run: CC by shell and overall; errors where its maps are there."""
    outcome = run.summary.outcome if run.summary else None
    if outcome is None:
        return None
    errors, said = None, f"{HOW} {_ALONE}"
    try:
        errors = run.cc_errors
    except InputError as exc:
        said = f"Without errors of the CCs: {exc}"
    words = (said, _CEILING) if outcome.ceiling else (said,)
    by_shell = _table(outcome.shells, errors)
    tables = (_overall(outcome, errors), by_shell) if errors else (by_shell,)
    return Contents(words=words, figures=(_figure(run, outcome, errors),), tables=tables)


def _figure(run: Run, outcome: Outcome, errors: CCErrors | None) -> Figure:
    ends = outcome.shells[0], outcome.shells[-1]
    bars = "; bars are 95 % intervals" if errors else ""
    return Figure(
        name="cc_against_resolution",
        caption=f"CC by resolution shell, of working and free voxels, and of translation alone"
        f"{bars}. Below, how many voxels there are.",
        alternative=f"CC_work is {cc_text(ends[0].cc, 3)} in the first shell, to "
        f"{ends[0].d_min:.2f} Å, {cc_text(ends[1].cc, 3)} in the last one, to "
        f"{ends[1].d_min:.2f} Å. All are in the table below.",
        draw=lambda: shells_figure(run, errors),
    )


def _overall(outcome: Outcome, errors: CCErrors) -> Table:
    rows = (
        ("CC_work", outcome.cc_work, *_of(errors.work), errors.zones_work),
        ("CC_free", outcome.cc_free, *_of(errors.free), errors.zones_free),
    )
    return Table(
        name="cc",
        caption="CC of the final map, and its error from Brillouin zones drawn anew.",
        columns=(
            Column(name="score"),
            Column(name="value", digits=4),
            *(Column(name=name, digits=4) for name in _ERROR),
            Column(name="zones, or blocks of them"),
        ),
        rows=rows,
    )


def _of(error: CCError) -> tuple[Cell, ...]:
    return tuple(plain(float(x)) for x in (error.error, error.low, error.high))


def _in_shell(error: CCError | None, shell: int) -> tuple[Cell, ...]:
    if error is None:
        return (None,) * 3
    return _of(CCError(error.error[shell], error.low[shell], error.high[shell]))


def _table(shells: tuple[FitShellRow, ...], errors: CCErrors | None) -> Table:
    ceiling = any(shell.cc_half is not None for shell in shells)
    work, free = (errors.shells_work, errors.shells_free) if errors else (None, None)
    kinds = ("CC_work", *_ERROR, "CC_free", *(f"{name} (free)" for name in _ERROR))
    names = (*kinds, "translation alone, CC_work", "its CC_free", *(("CC½", "CC*") * ceiling))
    return Table(
        name="shells",
        caption="CC by resolution shell.",
        columns=(*_SHELL, *(Column(name=name, digits=3) for name in names)),
        rows=tuple(
            (
                *_of_shell(row),
                row.cc,
                *_in_shell(work, i),
                row.cc_free,
                *_in_shell(free, i),
                row.cc_translation,
                row.cc_free_translation,
                *((row.cc_half, row.cc_star) * ceiling),
            )
            for i, row in enumerate(shells)
        ),
    )


def _of_shell(row: FitShellRow | ModelShellRow) -> tuple[Cell, ...]:
    """The cells below `_SHELL`."""
    d_max = "∞" if row.d_max is None else row.d_max
    return d_max, row.d_min, row.voxels_work, row.voxels_free


def resolution_of_models(comparison: Comparison) -> Contents | None:
    """CC by shell of every model, with errors where maps are there; None until all are fitted."""
    found = comparison.table
    if found is None:
        return None
    by_shell = _models_by_shell(found)
    try:
        errors = comparison.cc_errors
    except InputError as exc:
        words = (f"Without errors of the CCs: {exc}",)
        return Contents(words=words, figures=(_models_figure(found, {}),), tables=(by_shell,))
    return Contents(
        words=(HOW, _CEILING) if found.ceiling else (HOW,),
        figures=(_models_figure(found, errors),),
        tables=(_models_table(found, errors), by_shell, _shells_table(found, errors)),
    )


def _models_figure(found: ModelComparison, errors: Mapping[str, CCErrors]) -> Figure:
    said = [
        f"{row.name}: CC_work {cc_text(row.cc_work)}, CC_free {cc_text(row.cc_free)}."
        for row in found.models
    ]
    bars = " Bars are 95 % intervals; " + _BEYOND if errors else ""
    return Figure(
        name="models-against-resolution",
        caption="CC_work and CC_free of each model against resolution, a panel for each, before "
        f"the curves of the others; above, of all shells together.{bars}",
        alternative=" ".join(["CC against resolution of each model.", *said])
        + " By shell, they are in the table below.",
        draw=lambda: models_figure(found, errors),
    )


def _models_by_shell(found: ModelComparison) -> Table:
    """A column for each model."""
    ceiling = any(shell.cc_half is not None for shell in found.shells)
    names = [row.name for row in found.models]
    scores = [f"CC_{kind} {name}" for kind in ("work", "free") for name in names]
    caption = "CC of each model by resolution shell."
    if ceiling:
        caption += " CC½ is that of the data's half-maps, CC* what a perfect model would reach."
    return Table(
        name="shells-of-models",
        caption=caption,
        columns=(
            *_SHELL,
            *(Column(name=name, digits=4) for name in (*(("CC½", "CC*") * ceiling), *scores)),
        ),
        rows=tuple(
            (
                *_of_shell(shell),
                *((shell.cc_half, shell.cc_star) * ceiling),
                *(cc.get(name) for cc in (shell.cc, shell.cc_free) for name in names),
            )
            for shell in found.shells
        ),
    )


def _models_table(found: ModelComparison, errors: Mapping[str, CCErrors]) -> Table:
    """Scores with their errors, and what each model lacks towards the best."""
    known = [row for row in found.models if row.name in errors]
    best = max(known, key=lambda row: -1.0 if row.cc_work is None else row.cc_work)
    rows = []
    for row in known:
        own = errors[row.name]
        work, free = difference_error(own.resampled, errors[best.name].resampled)
        scores = (row.cc_work, *_of(own.work)), (row.cc_free, *_of(own.free))
        less: tuple[Cell, ...] = (None,) * 4
        if row is not best:
            less = (
                _less(row.cc_work, best.cc_work),
                plain(float(work.error)),
                _less(row.cc_free, best.cc_free),
                plain(float(free.error)),
            )
        rows.append((row.name, *scores[0], *scores[1], *less))
    kinds = ("CC_work", *_ERROR, "CC_free", *(f"{name} (free)" for name in _ERROR))
    names = (*kinds, f"CC_work less {best.name}'s", "its error", "CC_free less", "its error (free)")
    return Table(
        name="cc-of-models",
        caption="CC of each model's final map and its error from Brillouin zones drawn anew; and "
        f"by how much it is below that of {best.name}, with the same zones drawn for both, as what "
        "two models have in common does not count.",
        columns=(Column(name="model"), *(Column(name=name, digits=4) for name in names)),
        rows=tuple(rows),
    )


def _less(one: float | None, other: float | None) -> Cell:
    return None if one is None or other is None else one - other


def _shells_table(found: ModelComparison, errors: Mapping[str, CCErrors]) -> Table:
    """Model after model, the best first, which alone the page shows."""
    best = best_model(found).name
    names = sorted(errors, key=lambda name: name != best)
    columns = ("CC_work", *_ERROR, "CC_free", *(f"{what} (free)" for what in _ERROR))
    return Table(
        name="shell-errors-of-models",
        caption="Errors of the CCs by resolution shell, model by model, the best by CC_free first.",
        columns=(
            Column(name="model"),
            Column(name="d_max (Å)", digits=2),
            Column(name="d_min (Å)", digits=2),
            *(Column(name=name, digits=3) for name in columns),
        ),
        rows=tuple(
            (
                name,
                "∞" if row.d_max is None else row.d_max,
                row.d_min,
                row.cc.get(name),
                *_in_shell(errors[name].shells_work, i),
                row.cc_free.get(name),
                *_in_shell(errors[name].shells_free, i),
            )
            for name in names
            for i, row in enumerate(found.shells)
        ),
        grouped=True,
        most_rows=len(found.shells),
    )
