"""Section: what the search has learned of CC, for the pairs of parameters that depend most."""

from hpc_diffuser.fit.couplings import STEP, couplings, strongest_pairs
from hpc_diffuser.fit.courses import FAILED, restarts_of
from hpc_diffuser.fit.search.surrogate import surrogate_of
from hpc_diffuser.interface.run import Run
from hpc_diffuser.plots.surrogate import plot_slices
from hpc_diffuser.report.section import Column, Contents, Figure, Table
from hpc_diffuser.report.sections.restarts import shown_names

SHOWN = 3
_OTHER = (
    "The search of this run did not minimise 1 − CC but another objective, with its likelihood or "
    "prior: what is called CC here is 1 less that."
)


def learned(run: Run) -> Contents | None:
    """Planes through the best restart's point; None of one parameter, or before it is learned."""
    counting = [r for r in restarts_of(run.histories, run.summary) if r.state != FAILED]
    if not run.summary or len(run.refined) < 2 or not counting:
        return None
    best = max(counting, key=lambda r: (r.cc, -r.number))
    history = run.histories[best.number]
    surrogate = surrogate_of(history, run.bounds)
    if surrogate is None:
        return None
    pairs = strongest_pairs(couplings(surrogate, best.point))
    shown, names = [pair[:2] for pair in pairs[:SHOWN]], shown_names(run)
    titles = "; ".join(f"{names[i]} and {names[j]}" for i, j in shown)
    figure = Figure(
        name="surrogate",
        caption=f"CC that the search of the best restart, number {best.number}, expects in the "
        "planes of two parameters through its best point (white star), by the Gaussian process "
        "that it proposes by; the dots are the points that it has tried, projected. Shown are the "
        f"pairs that depend most on each other: {titles}.",
        alternative="Contours of the expected CC, highest near the best point found; the pairs' "
        "coupling is in the table couplings.",
        draw=lambda: plot_slices(surrogate, history.points, best.point, shown, names)[0].figure,
    )
    table = Table(
        name="couplings",
        caption="How much two parameters depend on each other: what CC differs by from a sum over "
        f"the two, both moved by {100 * STEP:.0f} % of their ranges to either side.",
        columns=(
            Column(name="parameter"),
            Column(name="and"),
            Column(name="coupling in CC", digits=5),
        ),
        rows=tuple((names[i], names[j], coupling) for i, j, coupling in pairs),
        most_rows=6,
    )
    words: tuple[str, ...] = (
        "Where the contours are long and narrow, the map determines a combination of the two "
        "parameters better than each; where they are wide, it says little of them.",
    )
    if history.cc_work is not None:
        words = (*words, _OTHER)
    return Contents(words=words, figures=(figure,), tables=(table,))
