"""Tables about modes: projections of a trajectory, and how alike two bases are."""

import numpy as np

from hpc_diffuser.commands.export import Options
from hpc_diffuser.commands.exports.made import Made
from hpc_diffuser.commands.exports.source import Source, read_source
from hpc_diffuser.crystal.matching import same_atoms
from hpc_diffuser.crystal.structure import Structure, atom_label
from hpc_diffuser.io.trajectories.given import TrajectoryFiles
from hpc_diffuser.io.trajectories.in_crystal import crystal_frames
from hpc_diffuser.motion.bases import coefficients, overlap
from hpc_diffuser.system.errors import InputError


def projections(source: Source, options: Options) -> Made:
    """Of every frame, superposed as for modes: a row of coefficients in Å."""
    source.require_modes()
    trajectory, topology, reference = options.trajectory, options.topology, options.reference
    assert trajectory and topology and reference  # `needs` of the kind's row
    files = TrajectoryFiles(
        trajectory,
        topology,
        reference,
        options.selection,
        options.conformer,
        options.hydrogens,
    )
    found = crystal_frames(files)
    rows = _rows_of(source, found.structure, str(trajectory))
    values = coefficients(source.modes, found.positions[:, rows])
    names = ["frame", *(f"mode_{i + 1}_A" for i in range(values.shape[1]))]
    lines = [f"{i},{_row(row)}" for i, row in enumerate(values, start=1)]
    spread = values.std(axis=0)
    said = (
        *found.notes,
        f"{options.output}: {len(values)} frames along {values.shape[1]} modes",
        "standard deviations in Å, and the modes' amplitudes: "
        + ", ".join(
            f"{a:.3f} ({b:.3f})" for a, b in zip(spread, source.modes.amplitudes_A, strict=True)
        ),
    )
    return Made({options.output: _csv(names, lines)}, said, (trajectory, topology, reference))


def overlaps(source: Source, options: Options) -> Made:
    """Of the modes of two bases, matched by their atoms."""
    assert options.other is not None  # `needs` of the kind's row
    other = read_source(options.other)
    for basis in (source, other):
        basis.require_modes()
    try:
        found = overlap(source.modes, other.modes)
    except InputError as exc:
        raise InputError(f"{source.path} and {other.path}: {exc}") from exc
    names = ["mode", *(f"other_{j + 1}" for j in range(found.matrix.shape[1]))]
    lines = [f"{i},{_row(row)}" for i, row in enumerate(found.matrix, start=1)]
    sizes = len(source.modes.structure), len(other.modes.structure)
    said = [
        f"{options.output}: cosines of {found.matrix.shape[0]} with {found.matrix.shape[1]} modes",
        f"{found.n_atoms} atoms in common, of {sizes[0]} and {sizes[1]}",
        f"RMSIP of the first {found.n_compared}: {found.rmsip:.3f}",
    ]
    if found.turned_deg > 1:
        said.append(f"{other.path} was turned by {found.turned_deg:.0f}° to fit {source.path}")
    return Made({options.output: _csv(names, lines)}, tuple(said), other.files)


def _rows_of(source: Source, structure: Structure, trajectory: str) -> np.ndarray:
    """Where the modes' atoms are in a trajectory: (N,) int."""
    own = source.modes.structure
    rows = same_atoms(own, structure)
    missing = np.flatnonzero(rows < 0)
    if len(missing):
        raise InputError(
            f"{source.path} and {trajectory}: {len(own) - len(missing)} of the modes' {len(own)} "
            f"atoms are in common; the trajectory lacks {atom_label(own, missing[0])}: expected "
            "all: give the trajectory of this molecule, with the options that modes was run with"
        )
    return rows


def _row(values: np.ndarray) -> str:
    return ",".join(f"{value:.6f}" for value in values.tolist())


def _csv(names: list[str], lines: list[str]) -> bytes:
    return "\n".join([",".join(names), *lines, ""]).encode()
