"""`info`: what a file contains, whichever of ours or of the field's it is."""

from pathlib import Path

import numpy as np

from hpc_diffuser.errors import InputError
from hpc_diffuser.io.checkpoints import read_checkpoint
from hpc_diffuser.io.maps import read_map, read_target
from hpc_diffuser.io.modes_file import read_modes
from hpc_diffuser.io.storage import read_hdf5
from hpc_diffuser.io.structures import read_structure
from hpc_diffuser.lattice import HklGrid
from hpc_diffuser.modes import Modes
from hpc_diffuser.report import status_text
from hpc_diffuser.search.history import History
from hpc_diffuser.structure import Structure
from hpc_diffuser.target import DiffuseMap, Target


def describe(path: Path) -> str:
    """A page about a file or a run directory.

    Raises
    ------
    InputError
        Where it is missing or of no known kind.
    """
    if path.is_dir():
        return status_text(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    kind = _kind(path)
    if kind not in _DESCRIBE:
        raise InputError(
            f"{path}: of no known kind: expected modes.h5, a native map, target.h5, a "
            "checkpoint, a run directory, or a PDB or mmCIF structure"
        )
    read, text = _DESCRIBE[kind]
    return f"{path}: {kind}\n{text(read(path))}"


def _kind(path: Path) -> str:
    """By content: the HDF5 signature and our format attribute; else a structure."""
    with path.open("rb") as file:
        if file.read(8) != b"\x89HDF\r\n\x1a\n":
            return "structure"

    def look(file) -> str:
        if "format" in file.attrs:
            return str(file.attrs["format"]).removeprefix("hpc-diffuser/")
        return "map" if "entry/intensity/intensity" in file else ""

    return read_hdf5(path, "HDF5 file", look)


def _modes_text(modes: Modes) -> str:
    amplitudes = modes.amplitudes_A
    total = float(np.sqrt(np.sum(amplitudes**2)))
    lines = [_structure_lines(modes.structure), _crystal_line(modes.unit_cell, modes.space_group)]
    lines.append(f"modes        {len(amplitudes)}, together {total:.3f} Å rms per atom")
    lines += [f"  mode {i + 1:3d}   {a:.4f} Å" for i, a in enumerate(amplitudes)]
    return "\n".join(lines)


def _map_text(diffuse: DiffuseMap) -> str:
    inside = np.isfinite(diffuse.intensity)
    lines = [_grid_lines(diffuse.grid, diffuse.space_group)]
    if not inside.any():
        return "\n".join([*lines, "voxels       all masked"])
    values = diffuse.intensity[inside]
    indices = np.argwhere(inside) - np.array(diffuse.grid.extent)
    s2 = diffuse.grid.inverse_d_squared(indices)
    lowest = "∞" if s2.min() == 0 else f"{s2.min() ** -0.5:.2f} Å"
    lines += [
        f"voxels       {len(values)} of {inside.size} measured ({100 * inside.mean():.1f} %)",
        f"resolution   {lowest} to {s2.max() ** -0.5:.2f} Å",
        f"intensity    {values.min():.4g} to {values.max():.4g}, mean {values.mean():.4g}",
        f"errors       {'yes' if diffuse.errors is not None else 'no'}",
    ]
    return "\n".join(lines)


def _target_text(target: Target) -> str:
    edges = target.shell_edges
    shells = target.shells()
    free = np.bincount(shells, target.free, target.n_shells).astype(int)
    count = np.bincount(shells, minlength=target.n_shells)
    lines = [
        _grid_lines(target.grid, target.space_group),
        f"voxels       {len(target.indices)}, one of each Friedel pair; "
        f"{100 * target.free.mean():.1f} % in the free set",
        "shell d (Å)         working     free",
    ]
    for i in range(target.n_shells):
        d_max = f"{1 / edges[i]:.2f}" if edges[i] > 0 else "∞"
        lines.append(f"  {d_max:>6} - {1 / edges[i + 1]:<6.2f} {count[i] - free[i]:9d}{free[i]:9d}")
    return "\n".join(lines)


def _checkpoint_text(history: History) -> str:
    if not len(history):
        return "evaluations  0"
    point = ", ".join(f"{x:.4f}" for x in history.points[history.best])
    return (
        f"evaluations  {len(history)}\n"
        f"best CC_work {1 - history.objectives.min():.4f} "
        f"(evaluation {history.best + 1}) at {point} Å"
    )


def _structure_text(found: tuple) -> str:
    structure, crystal = found
    crystal_line = _crystal_line(*crystal) if crystal else "unit cell    none"
    return f"{_structure_lines(structure)}\n{crystal_line}"


def _structure_lines(structure: Structure) -> str:
    names, counts = np.unique(structure.elements, return_counts=True)
    composition = ", ".join(f"{n} {name}" for name, n in zip(names, counts, strict=True))
    residues = len(set(zip(structure.chain_ids, structure.residue_numbers, strict=True)))
    mean_b = structure.b_factors_A2.mean()
    return (
        f"atoms        {len(structure)} ({composition}) in {residues} residues\n"
        f"B-factors    mean {mean_b:.1f} Å²"
    )


def _crystal_line(unit_cell: tuple[float, ...], space_group: str) -> str:
    return f"unit cell    {' '.join(f'{x:g}' for x in unit_cell)} (Å, degrees), {space_group}"


def _grid_lines(grid: HklGrid, space_group: str) -> str:
    ranges = ", ".join(
        f"{name} ±{m / n:.2f}"
        for name, m, n in zip("hkl", grid.extent, grid.divisions, strict=True)
    )
    return (
        f"{_crystal_line(grid.unit_cell, space_group)}\n"
        f"grid         {' x '.join(str(n) for n in grid.divisions)} samples per "
        f"reciprocal-lattice unit; {ranges}"
    )


_DESCRIBE = {
    "modes": (read_modes, _modes_text),
    "map": (read_map, _map_text),
    "target": (read_target, _target_text),
    "checkpoint": (read_checkpoint, _checkpoint_text),
    "structure": (read_structure, _structure_text),
}
