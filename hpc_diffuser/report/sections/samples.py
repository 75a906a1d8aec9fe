"""Section: the error that the samples leave in a map and in the objective."""

from hpc_diffuser.fit.sampling_error import Convergence, SamplingError
from hpc_diffuser.interface.run import Run
from hpc_diffuser.plots.samples import plot_samples
from hpc_diffuser.report.facts import significant
from hpc_diffuser.report.section import Column, Contents, Figure, Table
from hpc_diffuser.report.table_text import shown

_DIGITS = 2  # that count: the errors themselves are known to about 40 %


def noise_of_samples(run: Run) -> Contents | None:
    """Errors against the number of samples; None where nothing is sampled or measured."""
    found = run.convergence
    if found is None or not found.map_error:
        return None
    used = SamplingError(found.samples, found.map_error, found.objective_error)
    measured = [*found.measured, used]
    return Contents(
        words=(_words(found),),
        figures=(_figure(measured),) if len(measured) > 1 else (),
        tables=(_table(measured),),
    )


def _words(found: Convergence) -> str:
    return (
        f"The search evaluates each point with {found.samples} samples. In the middle of the "
        f"ranges they leave an error 1 − CC of {_said(found.map_error)} in a calculated map, "
        f"and one of {_said(found.objective_error)} in the objective, from one set of samples "
        "to another: two restarts, or models, whose CC differ by less are alike. A restart uses "
        "the same samples for all its points, so that its objective is smooth."
    )


def _said(error: float) -> str:
    return shown(significant(error, _DIGITS))


def _figure(measured: list[SamplingError]) -> Figure:
    samples = [one.samples for one in measured]
    maps = [one.map_error for one in measured]
    objectives = [one.objective_error for one in measured]
    return Figure(
        name="samples",
        caption="The error against the number of samples: 1 − CC of a map with that of infinitely "
        "many, from four independent sets; and the standard deviation of the objective over these, "
        "known to about 40 %. Dotted: how independent random samples would go on from the first "
        "point; Sobol points do better. Broken: what the fit uses.",
        alternative="Both errors fall as samples become more; their numbers are in the table "
        "samples.",
        draw=lambda: plot_samples(samples, maps, objectives).figure,
    )


def _table(measured: list[SamplingError]) -> Table:
    return Table(
        name="samples",
        caption="The errors that samples leave; the last row is what the fit uses.",
        columns=(
            Column(name="samples"),
            Column(name="error of a map, 1 − CC"),
            Column(name="error of the objective"),
        ),
        rows=tuple(
            (
                one.samples,
                significant(one.map_error, _DIGITS),
                significant(one.objective_error, _DIGITS),
            )
            for one in measured
        ),
    )
