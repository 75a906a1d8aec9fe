"""Section: residues that move together, and distances that change."""

import numpy as np

from hpc_diffuser.fit.residue_motion import ResidueMotion
from hpc_diffuser.fit.scoring import plain
from hpc_diffuser.interface.run import Run
from hpc_diffuser.motion.by_residue import (
    Pair,
    correlation,
    covariance,
    distance_changes,
    distances,
    largest_pairs,
)
from hpc_diffuser.plots.residues import MOST_BLOCKS, block_means, plot_residue_matrix
from hpc_diffuser.report.section import Cell, Column, Contents, Figure, Table
from hpc_diffuser.report.sections.residues import moved_residues
from hpc_diffuser.system.arrays import Floats

_PAIRS, _SHOWN, _APART = 50, 10, 3
_SMALL_A = 1e-6
_ALONE = (
    "No two residues: within the molecule every atom of this model moves on its own, whatever the "
    "others do. Translation, libration and the lattice's motion, which change no distance, move "
    "the molecule as a whole."
)


def moving_pairs(run: Run) -> Contents | None:
    """Of a finished run whose residues move against each other."""
    found = moved_residues(run)
    if found is None or len(found.trace) < 2 or not found.within.moves:
        return None
    together = covariance(found.within)
    if not (together - np.diag(np.diag(together))).any():
        return Contents(words=(_ALONE,))
    matrices = {
        "covariance": together,
        "correlation": correlation(together),
        "distance": distances(found.positions),
        "change": distance_changes(found.within),
    }
    pairs = largest_pairs(matrices["change"], found.trace.chain, _PAIRS, _APART)
    return Contents(
        words=(_words(found, matrices, pairs),),
        figures=_figures(found, matrices, pairs),
        tables=(_distances(found, matrices, pairs), _matrix(found, matrices)),
    )


def _words(found: ResidueMotion, matrices: dict[str, Floats], pairs: list[Pair]) -> str:
    text = (
        "Motion of the Cα within the molecule: translation, libration and the lattice's motion, "
        "which change no distance, are left out. "
    )
    i, j = pairs[0]
    if matrices["change"][i, j] < _SMALL_A:
        return f"{text}No distance changes."
    named = "; ".join(
        f"{found.trace.labels[i]} and {found.trace.labels[j]}, {matrices['distance'][i, j]:.1f} Å "
        f"apart, by {matrices['change'][i, j]:.2f} Å"
        for i, j in pairs[:3]
    )
    return f"{text}The distances that change most (standard deviation): {named}."


def _figures(
    found: ResidueMotion, matrices: dict[str, Floats], pairs: list[Pair]
) -> tuple[Figure, ...]:
    i, j = pairs[0]
    together, alike = (
        block_means(matrices[name], MOST_BLOCKS) for name in ("covariance", "correlation")
    )
    away = alike[~np.eye(len(alike), dtype=bool)]
    low, high = (float(f(away)) for f in (np.nanmin, np.nanmax))
    return (
        _figure(
            found,
            matrices["covariance"],
            "covariance",
            "covariance (Å²)",
            "Covariance ⟨u·u′⟩ of the Cα's displacements within the molecule (Å²): positive where "
            "two move the same way, negative where they move against each other.",
            f"A symmetric matrix from {together.min():.2f} to {together.max():.2f} Å².",
        ),
        _figure(
            found,
            matrices["correlation"],
            "correlation",
            "correlation",
            "The same as correlation, ⟨u·u′⟩/√(⟨u²⟩⟨u′²⟩).",
            f"A symmetric matrix; of different residues from {low:.2f} to {high:.2f}.",
        ),
        _figure(
            found,
            matrices["change"],
            "distance_changes",
            "change of distance (Å)",
            "How much the distances between Cα change: their standard deviation (Å), to first "
            "order in the displacements.",
            f"A symmetric matrix, largest, {matrices['change'][i, j]:.2f} Å, between "
            f"{found.trace.labels[i]} and {found.trace.labels[j]}.",
        ),
    )


def _figure(
    found: ResidueMotion, matrix: Floats, name: str, quantity: str, caption: str, says: str
) -> Figure:
    trace = found.trace
    return Figure(
        name=f"residue_{name}",
        caption=caption,
        alternative=says,
        draw=lambda: plot_residue_matrix(matrix, trace.labels, trace.chain, quantity).figure,
    )


def _distances(found: ResidueMotion, matrices: dict[str, Floats], pairs: list[Pair]) -> Table:
    labels = found.trace.labels
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (labels[i], labels[j], *_row(matrices, i, j)) for i, j in pairs
    )
    return Table(
        name="distances",
        caption="Distances between Cα that change most. Pairs whose ends both lie fewer than "
        f"{_APART} residues from those of a pair before are left out.",
        columns=(Column(name="residue"), Column(name="other residue"), *_COLUMNS),
        rows=rows,
        most_rows=_SHOWN,
    )


def _row(matrices: dict[str, Floats], i: int, j: int) -> list[float]:
    return [float(matrices[name][i, j]) for name in _OF_PAIR]


def _matrix(found: ResidueMotion, matrices: dict[str, Floats]) -> Table:
    n_residues = len(found.trace)
    size = -(-n_residues // MOST_BLOCKS)
    first = np.arange(0, n_residues, size)
    last = np.minimum(first + size, n_residues) - 1
    labels = [_block(found, int(i), int(j)) for i, j in zip(first, last, strict=True)]
    i, j = np.triu_indices(len(labels))
    blocks = [block_means(matrices[name], MOST_BLOCKS)[i, j].tolist() for name in _OF_PAIR]
    values = [list(map(plain, numbers)) for numbers in blocks]
    rows = zip(i.tolist(), j.tolist(), zip(*values, strict=True), strict=True)
    means = f", means over blocks of {size} residues" if size > 1 else ""
    return Table(
        name="residue_pairs",
        caption=f"All pairs of residues{means}: what the figures show.",
        columns=(Column(name="residue"), Column(name="other residue"), *_COLUMNS),
        rows=tuple((labels[a], labels[b], *cells) for a, b, cells in rows),
        most_rows=3,
    )


def _block(found: ResidueMotion, first: int, last: int) -> str:
    labels = found.trace.labels
    return labels[first] if first == last else f"{labels[first]} to {labels[last]}"


_OF_PAIR = ("distance", "change", "covariance", "correlation")
_COLUMNS = (
    Column(name="distance (Å)", digits=1),
    Column(name="its change (Å)", digits=3),
    Column(name="covariance (Å²)", digits=3),
    Column(name="correlation", digits=2),
)
