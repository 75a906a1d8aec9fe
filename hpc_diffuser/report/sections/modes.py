"""Section: the modes, how large they are, and what the prominent ones look like."""

from typing import Any

import numpy as np

from hpc_diffuser.fit.residue_motion import ModeMotion, ResidueMotion
from hpc_diffuser.interface.run import Run
from hpc_diffuser.motion.by_residue import MOST_PROMINENT, prominent_modes
from hpc_diffuser.plots.canvas import new_figure
from hpc_diffuser.plots.moving import mode_animation, plot_mode, times_drawn
from hpc_diffuser.report.section import Animation, Column, Contents, Figure, Table
from hpc_diffuser.report.sections.residues import moved_residues

REACH = 2.0  # standard deviations to either side


def refined_modes(run: Run) -> Contents | None:
    """Of a finished run whose model moves along modes."""
    outcome = run.summary.outcome if run.summary else None
    amplitudes = outcome.answer.get("mode_amplitude_A", []) if outcome else []
    if run.summary is None or not isinstance(amplitudes, list) or not any(amplitudes):
        return None
    found = moved_residues(run)
    shown = found.modes if found else ()
    return Contents(
        words=(_words(amplitudes, shown),),
        figures=(_arrows(found),) if found and shown else (),
        animations=tuple(_animation(found, mode) for mode in shown) if found else (),
        tables=(_table(amplitudes, run.summary.source_mode_amplitude_A, shown),),
    )


def _words(amplitudes: list[float], shown: tuple[ModeMotion, ...]) -> str:
    rows = prominent_modes(np.array(amplitudes))
    parts = [f"{100 * share:.0f} %" for share in _shares(amplitudes)]
    first, *others = rows
    named = "".join(f", {row + 1} ({parts[row]})" for row in others)
    aside = [
        f" Mode {mode.number} moves side chains or single residues more than the backbone: its Cα "
        f"by {_rms(mode):.2f} Å, all atoms by {mode.amplitude_A:.2f} Å."
        for mode in shown
        if _rms(mode) < 0.5 * mode.amplitude_A
    ]
    return (
        f"Prominent mode{'s' if others else ''}: {first + 1} ({parts[first]} of the mean square "
        f"displacement along all modes){named}. Prominent are those whose part is at least the "
        f"mean part of the modes that move, {MOST_PROMINENT} at most.{''.join(aside)} To look at "
        "them in PyMOL or ChimeraX: hpc-diffuser export RUN motions.pml, or motions.cxc."
    )


def _rms(mode: ModeMotion) -> float:
    """Over the Cα, in Å."""
    return float(np.sqrt(np.mean(np.sum(mode.standing_A**2, axis=1))))


def _shares(amplitudes: list[float]) -> list[float]:
    squares = np.square(amplitudes)
    return [float(square) for square in squares / squares.sum()]


def _arrows(found: ResidueMotion) -> Figure:
    numbers = ", ".join(str(mode.number) for mode in found.modes)
    times = [times_drawn(REACH * mode.standing_A) for mode in found.modes]
    longer = ", as many times as long as the titles say" if max(times) > 1 else ""
    return Figure(
        name="mode_arrows",
        caption=f"The prominent modes: the Cα's displacements at {REACH:g} standard deviations "
        f"(arrows{longer}, those under 1 Å left out), on the "
        "backbone of the mean structure, coloured by them.",
        alternative=f"Backbones with arrows, of mode {numbers}. {_farthest(found)}",
        draw=lambda: _draw(found),
    )


def _farthest(found: ResidueMotion) -> str:
    said = []
    for mode in found.modes:
        lengths = mode.standing_lengths_A
        row = int(lengths.argmax())
        said.append(
            f"mode {mode.number} moves {found.trace.labels[row]} most, by {lengths[row]:.2f} Å"
        )
    return f"At one standard deviation {'; '.join(said)}."


def _draw(found: ResidueMotion) -> Any:
    n_modes = len(found.modes)
    columns = min(n_modes, 2)
    rows = -(-n_modes // columns)
    figure = new_figure((4.2 * columns, 3.4 * rows))
    for place, mode in enumerate(found.modes, start=1):
        plot_mode(*_drawn(found, mode), ax=figure.add_subplot(rows, columns, place))
    return figure


def _drawn(found: ResidueMotion, mode: ModeMotion) -> tuple[Any, Any, Any, str]:
    """What plots of a mode take."""
    moved = REACH * mode.standing_A
    times = times_drawn(moved)
    larger = f", drawn {times} times as large" if times > 1 else ""
    return found.positions, moved, found.trace.chain, f"mode {mode.number}{larger}"


def _animation(found: ResidueMotion, mode: ModeMotion) -> Animation:
    *_, title = drawn = _drawn(found, mode)
    lengths = mode.standing_lengths_A
    row = int(lengths.argmax())
    return Animation(
        name=f"mode_{mode.number}",
        caption=f"Backbone along {title}, {REACH:g} standard deviations to either side; in grey "
        "the mean.",
        alternative=f"A moving backbone. {found.trace.labels[row]} moves most, at one standard "
        f"deviation by {lengths[row]:.2f} Å; the median is {np.median(lengths):.2f} Å.",
        frames=lambda: mode_animation(*drawn),
    )


def _table(
    amplitudes: list[float], source: tuple[float, ...], shown: tuple[ModeMotion, ...]
) -> Table:
    rms, shares = {mode.number: _rms(mode) for mode in shown}, _shares(amplitudes)
    rows = prominent_modes(np.array(amplitudes))
    given = [*source, *[None] * len(amplitudes)]
    return Table(
        name="modes",
        caption="Modes: rms displacement per atom at the answer, and in the ensemble or elastic "
        "network that they come from; part of the mean square displacement along all modes; of the "
        "prominent ones, rms displacement of the Cα.",
        columns=(
            Column(name="mode"),
            Column(name="amplitude (Å)", digits=3),
            Column(name="in the source (Å)", digits=3),
            Column(name="part (%)", digits=1),
            Column(name="prominent"),
            Column(name="Cα (Å)", digits=3),
        ),
        rows=tuple(
            (
                row + 1,
                a,
                given[row],
                100 * share,
                "yes" if row in rows else "",
                rms.get(row + 1, ""),
            )
            for row, (a, share) in enumerate(zip(amplitudes, shares, strict=True))
        ),
    )
