"""Section: how the weight of the prior was chosen, by fits along a path of weights."""

from hpc_diffuser.fit.priors.choice import SAME, PriorPath
from hpc_diffuser.interface.run import Run
from hpc_diffuser.plots.priors import plot_prior_path
from hpc_diffuser.report.facts import significant
from hpc_diffuser.report.section import Column, Contents, Figure, Table


def weight_of_prior(run: Run) -> Contents | None:
    """CC_work and CC_free against the weight; None where it is given, or not known yet."""
    path = run.prior_path
    if path is None or not path.complete or path.of_frames:
        return None
    return Contents(words=(_words(path),), figures=(_figure(path),), tables=(_table(path),))


def _words(path: PriorPath) -> str:
    chosen, last = path.chosen, path.points[0]
    return (
        f"The prior expects the modes' amplitudes to be in the proportions of their source's. "
        f"{len(path.points)} fits by least squares, each begun where the one before it ended, "
        f"with stronger and stronger priors: of the weights whose CC_free is the highest, to "
        f"{SAME:g}, the largest was chosen, {chosen.weight:.3g}: CC_free {_cc(chosen.cc_free)} "
        f"there, {_cc(last.cc_free)} without any prior. CC_free has thereby had a part in the "
        "answer, by one number."
    )


_ENDS = {True: "converged", False: "not converged", None: "unknown"}


def _cc(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _figure(path: PriorPath) -> Figure:
    weights = [p.weight for p in path.points]
    work, free = ([getattr(p, name) for p in path.points] for name in ("cc_work", "cc_free"))
    deviations = [p.deviation for p in path.points]
    chosen = path.chosen
    return Figure(
        name="prior_path",
        caption="CC against the weight of the prior on amplitudes, and how far amplitudes are "
        "from their source's proportions (rms of ln σ/cσ⁰). The point at the left is without "
        "any prior. Broken: the weight that was chosen.",
        alternative=f"CC_free is highest about the weight {chosen.weight:.3g}; numbers are in the "
        "table prior-path.",
        draw=lambda: plot_prior_path(weights, work, free, deviations, chosen.weight).figure,
    )


def _table(path: PriorPath) -> Table:
    return Table(
        name="prior-path",
        caption="The fits along the path: scores by the search's samples; c is the common factor "
        "of amplitudes and source's.",
        columns=(
            Column(name="weight"),
            Column(name="CC_work", digits=4),
            Column(name="CC_free", digits=4),
            Column(name="rms of ln σ/cσ⁰", digits=3),
            Column(name="c", digits=3),
            Column(name="evaluations"),
            Column(name="end"),
        ),
        rows=tuple(
            (
                significant(p.weight, 3),
                p.cc_work,
                p.cc_free,
                p.deviation,
                p.scale_of_source,
                p.evaluations,
                _ENDS[p.converged],
            )
            for p in path.points
        ),
    )
