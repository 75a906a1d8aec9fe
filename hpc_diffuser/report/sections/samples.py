"""Section: the error that the samples leave in a map and in the objective."""

from hpc_diffuser.fit.sampling_error import Convergence, SamplingError
from hpc_diffuser.fit.summary import FinalMap
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
    final = run.outcome.final_map if run.summary and run.summary.outcome else None
    words = [_words(found), *([_final_words(final)] if final else [])]
    chosen = (_candidates(found),) if found.estimators else ()
    if found.estimator == "one-phonon":
        return Contents(words=tuple(words), tables=chosen)
    used = SamplingError(found.samples, found.map_error, found.objective_error)
    measured = [*found.measured, used]
    return Contents(
        words=tuple(words),
        figures=(_figure(measured),) if len(measured) > 1 else (),
        tables=(_table(measured), *chosen),
    )


_OF_SAMPLES = {
    "sampled": "",
    "control-variate": " of what the first order of the modes' motion leaves (control variate)",
}


def _words(found: Convergence) -> str:
    if found.estimator == "one-phonon":
        return (
            "The search evaluates each point to first order in the modes' motion, without samples. "
            "In the middle of the ranges that leaves an error 1 − CC of "
            f"{_said(found.map_error)} in a calculated map, and moves the objective by "
            f"{_said(found.objective_error)}: it is the same for all restarts, which do not "
            "average it out."
        )
    return (
        f"The search evaluates each point with {found.samples} samples"
        f"{_OF_SAMPLES[found.estimator]}. In the middle of the "
        f"ranges they leave an error 1 − CC of {_said(found.map_error)} in a calculated map, "
        f"and one of {_said(found.objective_error)} in the objective, from one set of samples "
        "to another: two restarts, or models, whose CC differ by less are alike. A restart uses "
        "the same samples for all its points, so that its objective is smooth."
    )


def _said(error: float) -> str:
    return shown(significant(error, _DIGITS))


def _final_words(final: FinalMap) -> str:
    if final.map_error is None:
        return "In the final map nothing is sampled."
    text = (
        f"The final map has {final.samples} samples{_OF_SAMPLES.get(final.estimator, '')}, which "
        f"leave an error 1 − CC of {_said(final.map_error)} at the answer."
    )
    if final.first_order_error is not None:
        text += f" The first order alone would leave {_said(final.first_order_error)} there."
    return text


def _candidates(found: Convergence) -> Table:
    return Table(
        name="estimators",
        caption="Estimators of the moments that were tried: the errors that they leave in a map, "
        "and what they cost, counted, over the samples of the first row. At the upper ends of all "
        "ranges, too, the first order alone must be no worse than samples to be taken.",
        columns=(
            Column(name="estimator"),
            Column(name="samples"),
            Column(name="cost"),
            Column(name="error of a map, 1 − CC"),
            Column(name="the same at the upper ends"),
        ),
        rows=tuple(
            (
                one.estimator,
                one.samples,
                significant(one.cost, _DIGITS),
                significant(one.map_error, _DIGITS),
                significant(one.farthest_map_error, _DIGITS),
            )
            for one in found.estimators
        ),
    )


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
