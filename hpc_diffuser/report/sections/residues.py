"""Section: which residues move, and their B-factors beside the crystal's."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpc_diffuser.crystal.secondary_structure import UNKNOWN
from hpc_diffuser.fit.b_factors import RESIDUAL
from hpc_diffuser.fit.residue_motion import (
    MOBILE,
    Part,
    ResidueMotion,
    mobile_parts,
    residue_motion,
)
from hpc_diffuser.fit.scoring import plain
from hpc_diffuser.interface.run import Run
from hpc_diffuser.motion.parameters import parameters_from
from hpc_diffuser.plots.residues import Curve, plot_along_residues
from hpc_diffuser.report.section import Cell, Column, Contents, Figure, Table
from hpc_diffuser.system.arrays import Floats

_MOST_PARTS = 6  # that are named
_ALIKE = 0.02  # part of the mean: displacements that differ by less are alike


def moved_residues(run: Run) -> ResidueMotion | None:
    """At the answer of a finished run; None of others, and of models without residues.

    Raises
    ------
    InputError
        Where the molecule's files are not there any more.
    """
    outcome = run.summary.outcome if run.summary else None
    if outcome is None or not outcome.motion.rms_A > 0:
        return None
    return residue_motion(run.modes, parameters_from(outcome.answer, run.modes.lattice))


def moving_residues(run: Run) -> Contents | None:
    """Of a finished run whose model has residues."""
    found = moved_residues(run)
    if found is None:
        return None
    figures = [_displacements(found)]
    if found.modes:
        figures.append(_along_modes(found))
    if np.isfinite(found.crystal_b_A2).any():
        figures.append(_b_factors(found))
    return Contents(
        words=(*_words(found), *_of_residual(run)),
        figures=tuple(figures),
        tables=(_ranges(found), _table(found)),
    )


def _words(found: ResidueMotion) -> tuple[str, ...]:
    inside = found.inside_rms_A
    if not inside.any():
        said = "Within the molecule nothing moves: all residues move as the molecule does."
    elif np.ptp(inside) < _ALIKE * inside.mean():
        said = (
            f"Within the molecule all Cα move alike, by {inside.mean():.2f} Å (rms in space): this "
            "model's motions do not tell residues from each other."
        )
    else:
        said = _named(found)
    return said, _explained(found)


def _of_residual(run: Run) -> tuple[str, ...]:
    """What to make of B-factors that the crystal's have been put into."""
    outcome = run.summary.outcome if run.summary else None
    if outcome is None or RESIDUAL not in outcome.motion.kinds:
        return ()
    return (
        "Residual B is not found in the map: each atom is given what the other motions leave of "
        "its B-factor in the crystal. So the model's B-factors are like the crystal's as they were "
        "made to be, and which residues move more is the crystal structure's answer.",
    )


def _named(found: ResidueMotion) -> str:
    inside = found.inside_rms_A
    parts = mobile_parts(inside, found.trace.chain)
    least, middle, most = inside.min(), np.median(inside), inside.max()
    text = (
        "Within the molecule, that is without translation, libration and the lattice's motion, Cα "
        f"atoms move by {least:.2f} to {most:.2f} Å (rms in space; median {middle:.2f} Å). "
    )
    if not parts:
        return f"{text}None moves more than {MOBILE:g} times the median."
    named = "; ".join(_part(found, part) for part in parts[:_MOST_PARTS])
    left = len(parts) - _MOST_PARTS
    more = f"; and {left} more, which move less" if left > 0 else ""
    return f"{text}More than {MOBILE:g} times the median move {named}{more}."


def _part(found: ResidueMotion, part: Part) -> str:
    labels, peak = found.trace.labels, found.inside_rms_A[part.peak]
    if part.first == part.last:
        return f"{labels[part.first]} ({peak:.2f} Å)"
    where = "" if part.peak in (part.first, part.last) else f" at {labels[part.peak]}"
    return f"{labels[part.first]} to {labels[part.last]} (up to {peak:.2f} Å{where})"


def _explained(found: ResidueMotion) -> str:
    text = "Of nucleotides, C1' stands for Cα; ligands are not shown."
    if (found.secondary == UNKNOWN).all():
        return f"{text} Without backbones, helices and strands are not known."
    return (
        f"{text} Helices (filled boxes) and strands (hatched boxes) are those of the model's mean "
        "structure, by its hydrogen bonds, as DSSP has them."
    )


def _displacements(found: ResidueMotion) -> Figure:
    curves = (
        Curve("all atoms of the residue", found.rms_A),
        Curve("Cα", found.standing_rms_A),
        Curve("Cα within the molecule", found.inside_rms_A),
    )
    highest = int(found.standing_rms_A.argmax())
    return Figure(
        name="residue_displacements",
        caption="Displacement of every residue by all motions of the answer (rms in space, Å): of "
        "its atoms, of its Cα, and of its Cα within the molecule (without translation, libration "
        "and the lattice's motion).",
        alternative=f"Curves along {len(found.trace)} residues. The Cα that moves most is that of "
        f"{found.trace.labels[highest]}, by {found.standing_rms_A[highest]:.2f} Å; the median is "
        f"{np.median(found.standing_rms_A):.2f} Å.",
        draw=lambda: _along(found, curves, "rms displacement (Å)"),
    )


def _along_modes(found: ResidueMotion) -> Figure:
    curves = [Curve(f"mode {m.number}", m.standing_lengths_A) for m in found.modes]
    farthest = ", ".join(
        f"of mode {m.number} {found.trace.labels[int(curve.values.argmax())]} by "
        f"{curve.values.max():.2f} Å"
        for m, curve in zip(found.modes, curves, strict=True)
    )
    numbers = ", ".join(str(mode.number) for mode in found.modes)
    return Figure(
        name="residue_modes",
        caption=f"Displacement of the Cα along each prominent mode ({numbers}), at one standard "
        "deviation (Å).",
        alternative=f"Curves along {len(found.trace)} residues. Farthest moves {farthest}.",
        draw=lambda: _along(found, curves, "Cα displacement (Å)"),
    )


def _b_factors(found: ResidueMotion) -> Figure:
    curves = (Curve("model", found.model_b_A2), Curve("crystal", found.crystal_b_A2))
    means = [float(np.nanmean(curve.values)) for curve in curves]
    return Figure(
        name="residue_b_factors",
        caption="B-factors of the residues (means over their atoms, Å²): of all motions of the "
        "answer, and of the crystal structure.",
        alternative=f"Two curves along {len(found.trace)} residues; their means are {means[0]:.1f} "
        f"Å² of the model and {means[1]:.1f} Å² of the crystal.",
        draw=lambda: _along(found, curves, "B (Å²)"),
    )


def _along(found: ResidueMotion, curves: Sequence[Curve], quantity: str) -> Any:
    trace = found.trace
    return plot_along_residues(curves, trace.labels, trace.chain, quantity, found.secondary).figure


def _numbers(found: ResidueMotion) -> dict[str, Floats]:
    """Of every residue, by the columns of its table."""
    numbers = {
        "rms displacement (Å)": found.rms_A,
        "Cα rms displacement (Å)": found.standing_rms_A,
        "the same within the molecule (Å)": found.inside_rms_A,
        "B, model (Å²)": found.model_b_A2,
        "B, crystal (Å²)": found.crystal_b_A2,
    }
    for mode in found.modes:
        numbers[f"mode {mode.number} rms (Å)"] = mode.rms_A
        numbers[f"mode {mode.number} Cα (Å)"] = mode.standing_lengths_A
    return numbers


def _table(found: ResidueMotion) -> Table:
    numbers = _numbers(found)
    cells = np.column_stack(list(numbers.values())).tolist()
    known = [[plain(value) for value in row] for row in cells]
    rows = zip(found.trace.labels, found.secondary.tolist(), known, strict=True)
    return Table(
        name="residues",
        caption="Residues: displacements in space at one standard deviation, and B-factors, means "
        "over atoms that the crystal has.",
        columns=(
            Column(name="residue"),
            Column(name="secondary structure"),
            *(Column(name=name, digits=2) for name in numbers),
        ),
        rows=tuple((label, kind, *values) for label, kind, values in rows),
        most_rows=10,
    )


def _ranges(found: ResidueMotion) -> Table:
    """What the words and the figures' descriptions say of all residues."""
    rows: list[tuple[Cell, ...]] = []
    for name, values in _numbers(found).items():
        if np.isfinite(values).any():
            highest = found.trace.labels[int(np.nanargmax(values))]
            sizes = [float(f(values)) for f in (np.nanmin, np.nanmedian, np.nanmean, np.nanmax)]
            rows.append((name, *sizes, highest))
    names = ("least", "median", "mean", "largest")
    return Table(
        name="residue_ranges",
        caption="Displacements in space at one standard deviation, and B-factors: over all "
        "residues.",
        columns=(
            Column(name="of the residues"),
            *(Column(name=name, digits=2) for name in names),
            Column(name="largest at"),
        ),
        rows=tuple(rows),
    )
