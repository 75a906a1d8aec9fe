"""Section: how the errors of the refined parameters go together."""

from itertools import combinations

import numpy as np

from hpc_diffuser.interface.run import Run
from hpc_diffuser.plots.parameters import plot_correlation
from hpc_diffuser.report.section import Column, Contents, Figure, Table
from hpc_diffuser.report.sections.parameters import refined_parameters
from hpc_diffuser.system.arrays import Floats

_WORDS = (
    "Of two parameters whose errors have a correlation near 1 or -1 the data determine the "
    "difference, or the sum, better than either. Correlations are of what the data leave, over "
    "data sets; of amplitudes those of their squares."
)
_PAIRS = 12


def correlations_of_run(run: Run) -> Contents | None:
    """Of a finished run with intervals of two parameters or more."""
    summary = run.summary
    outcome = summary.outcome if summary else None
    if summary is None or outcome is None or outcome.intervals is None:
        return None
    found = outcome.intervals
    if found.missing or len(summary.refined) < 2:
        return None
    labels = [label for label, _ in refined_parameters(summary, outcome)]
    correlation = _floats(found.correlation)
    kept = [i for i, label in enumerate(labels) if i in found.known or "frame " not in label]
    shown = [labels[i] for i in kept], correlation[np.ix_(kept, kept)]
    return Contents(
        words=(_WORDS,),
        figures=(_correlation_figure(*shown),),
        tables=(_pairs(labels, correlation),),
    )


def _correlation_figure(labels: list[str], correlation: Floats) -> Figure:
    return Figure(
        name="parameter_correlation",
        caption="Correlations between the errors of the parameters, of amplitudes between those "
        "of their squares. White: no interval.",
        alternative=_strongest(labels, correlation),
        draw=lambda: plot_correlation(labels, correlation).figure,
    )


def _strongest(labels: list[str], correlation: Floats) -> str:
    pairs = _sorted_pairs(labels, correlation)
    if not pairs:
        return "No two parameters have intervals."
    one, other, value = pairs[0]
    return f"The strongest correlation is {value:.2f}, between {one} and {other}."


def _sorted_pairs(labels: list[str], correlation: Floats) -> list[tuple[str, str, float]]:
    """Each two parameters with a correlation, the strongest first."""
    pairs = [
        (labels[i], labels[j], float(correlation[i, j]))
        for i, j in combinations(range(len(labels)), 2)
        if np.isfinite(correlation[i, j])
    ]
    return sorted(pairs, key=lambda pair: -abs(pair[2]))


def _pairs(labels: list[str], correlation: Floats) -> Table:
    return Table(
        name="parameter-correlations",
        caption="Correlations between the errors of two parameters, the strongest first.",
        columns=(
            Column(name="parameter"),
            Column(name="other parameter"),
            Column(name="correlation", digits=3),
        ),
        rows=tuple(_sorted_pairs(labels, correlation)),
        most_rows=_PAIRS,
    )


def _floats(rows: tuple[tuple[float | None, ...], ...]) -> Floats:
    found: Floats = np.array([[np.nan if v is None else v for v in row] for row in rows])
    return found
