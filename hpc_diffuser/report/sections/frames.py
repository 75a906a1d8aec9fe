"""Section: the refined weights of an ensemble's frames, and the path on which θ was chosen."""

from collections.abc import Sequence

import numpy as np

from hpc_diffuser.fit.frame_weights import FrameWeights
from hpc_diffuser.fit.priors.choice import SAME, PriorPath
from hpc_diffuser.interface.run import Run
from hpc_diffuser.motion.registry import FRAME_WEIGHT
from hpc_diffuser.plots.frames import plot_frame_weights
from hpc_diffuser.plots.priors import plot_prior_path
from hpc_diffuser.report.facts import significant
from hpc_diffuser.report.section import Column, Contents, Figure, Table

MOST_FRAMES = 24  # that are named in words
_ROWS = 20


def weights_of_frames(run: Run) -> Contents | None:
    """Of a finished run that has refined them."""
    outcome = run.summary.outcome if run.summary else None
    found = outcome.frame_weights if outcome else None
    if outcome is None or found is None:
        return None
    errors = (outcome.standard_errors or {}).get(FRAME_WEIGHT.name)
    told = errors if isinstance(errors, list) else [None] * len(found.weights)
    path = run.prior_path if run.prior_path and run.prior_path.of_frames else None
    whole = path if path and path.complete else None
    return Contents(
        words=(
            _words(found),
            _carried(found),
            _scores(found, outcome.cc_work, outcome.cc_free),
            *_scatter(run),
            *([_path_words(whole)] if whole else []),
        ),
        code=(f"hpc-diffuser export {run.directory.name} frames.pdb --write frames",),
        figures=(_figure(found), *([_path_figure(whole)] if whole else [])),
        tables=(_table(found, told), *([_path_table(whole)] if whole else [])),
    )


def _words(found: FrameWeights) -> str:
    return (
        f"The weights of {len(found.weights)} frames were refined. The effective number of frames, "
        f"e to the power of the weights' entropy, is {found.effective:.2f}; of the given weights "
        f"{found.effective_given:.2f}. Relative entropy to these: {found.relative_entropy:.3f}, "
        f"which counts {found.theta:.3g} times in the objective."
    )


def _carried(found: FrameWeights) -> str:
    half, most = found.carry_half, found.carry_most
    return (
        f"Half of the weight is on {len(half)} frames ({named(half)}), nine tenths on "
        f"{len(most)} ({named(most)}); the heaviest first, counted from 1. Written as models of "
        "one file:"
    )


def named(frames: Sequence[int]) -> str:
    """Their numbers, of many the first ones."""
    more = len(frames) - MOST_FRAMES
    shown = ", ".join(map(str, frames[:MOST_FRAMES]))
    return shown + (f" and {more} more" if more > 0 else "")


def _scores(found: FrameWeights, work: float | None, free: float | None) -> str:
    return (
        f"CC_work {_cc(work)} and CC_free {_cc(free)}; with the given weights, and all else as at "
        f"the answer, {_cc(found.cc_work_given)} and {_cc(found.cc_free_given)}."
    )


def _scatter(run: Run) -> tuple[str, ...]:
    """How far apart the restarts end; nothing of one."""
    findings = run.summary.findings if run.summary else None
    spread = findings.spread.get(FRAME_WEIGHT.name) if findings else None
    known = [s for s in spread if s is not None] if isinstance(spread, list) else []
    if not known:
        return ()
    return (
        f"From the given weights, and from random ones, restarts end within {max(known):.1e} of "
        "each other in every weight (half the width of their central 68 %).",
    )


def _path_words(path: PriorPath) -> str:
    chosen, first = path.chosen, path.points[0]
    return (
        f"θ was chosen by {len(path.points)} fits, each begun where the one before it ended, from "
        f"the given weights away: of those whose CC_free is the highest, to {SAME:g}, the largest, "
        f"{chosen.weight:.3g}: CC_free {_cc(chosen.cc_free)} there, {_cc(first.cc_free)} where the "
        "weights are all but held. CC_free has thereby had a part in the answer, by one number."
    )


def _cc(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _figure(found: FrameWeights) -> Figure:
    weights, given = np.array(found.weights), np.array(found.given)
    heaviest = found.carry_half[0]
    return Figure(
        name="frame_weights",
        caption="Weights of the frames; blue: the fewest that together carry nine tenths. Broken: "
        "the given weights.",
        alternative=f"Frame {heaviest} is the heaviest, with {weights.max():.3f}; all numbers are "
        "in the table frame-weights.",
        draw=lambda: plot_frame_weights(weights, given, found.carry_most).figure,
    )


def _table(found: FrameWeights, errors: Sequence[float | None]) -> Table:
    order = np.argsort(-np.array(found.weights), kind="stable")
    carried = np.cumsum(np.array(found.weights)[order])
    return Table(
        name="frame-weights",
        caption="The frames, the heaviest first, and what they carry together with those before.",
        columns=(
            Column(name="frame"),
            Column(name="weight", digits=4),
            Column(name="standard error", digits=4),
            Column(name="given", digits=4),
            Column(name="carried", digits=4),
        ),
        rows=tuple(
            (int(i) + 1, found.weights[i], errors[i], found.given[i], float(part))
            for i, part in zip(order, carried, strict=True)
        ),
        most_rows=_ROWS,
    )


def _path_figure(path: PriorPath) -> Figure:
    chosen, points = path.chosen, path.points
    return Figure(
        name="frame_weights_path",
        caption="CC against θ, and the effective number of frames. The point at the left is "
        "without any prior. Broken: the θ that was chosen.",
        alternative=f"CC_free is highest about θ = {chosen.weight:.3g}; numbers are in the table "
        "frame-weights-path.",
        draw=lambda: (
            plot_prior_path(
                [p.weight for p in points],
                [p.cc_work for p in points],
                [p.cc_free for p in points],
                [p.effective_frames or np.nan for p in points],
                chosen.weight,
                of_frames=True,
            ).figure
        ),
    )


def _path_table(path: PriorPath) -> Table:
    return Table(
        name="frame-weights-path",
        caption="The fits along the path.",
        columns=(
            Column(name="θ"),
            Column(name="CC_work", digits=4),
            Column(name="CC_free", digits=4),
            Column(name="effective frames", digits=2),
            Column(name="relative entropy", digits=3),
            Column(name="evaluations"),
        ),
        rows=tuple(
            (
                significant(p.weight, 3),
                p.cc_work,
                p.cc_free,
                p.effective_frames,
                p.deviation,
                p.evaluations,
            )
            for p in path.points
        ),
    )
