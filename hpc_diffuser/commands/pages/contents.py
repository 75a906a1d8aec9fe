"""What a file contains, whichever of ours or of the field's it is.

Every kind of page loads what it needs itself: who asks for one waits for no other.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hpc_diffuser.system.errors import InputError

if TYPE_CHECKING:
    from hpc_diffuser.commands.map_source import MapSource
    from hpc_diffuser.crystal.lattice import HklGrid
    from hpc_diffuser.crystal.structure import Structure
    from hpc_diffuser.fit.search.history import History
    from hpc_diffuser.io.opened import Opened
    from hpc_diffuser.maps.diffuse_map import DiffuseMap
    from hpc_diffuser.motion.modes import Modes

_SHELLS = 12


def describe(path: Path) -> str:
    """A page about a file or a run directory.

    Raises
    ------
    InputError
        Where it is missing or of no known kind.
    """
    if path.is_dir():
        from hpc_diffuser.commands.pages.status import status_text

        return status_text(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    from hpc_diffuser.io.opened import opened

    with opened(path, "file") as file:
        _require_no_trajectory(file)
        kind = kind_of(file)
        if kind == "map":
            from hpc_diffuser.commands.map_source import MapSource

            return map_page(MapSource(path), file)[1]
        if kind not in _DESCRIBE:
            raise InputError(
                f"{path}: of no known kind: expected modes.h5, a diffuse map, target.h5, a "
                "checkpoint, a run directory, or a PDB or mmCIF structure"
            )
        return f"{path}: {kind}\n{_DESCRIBE[kind](file)}"


def _require_no_trajectory(file: Opened) -> None:
    """Raise InputError for a binary trajectory by its first bytes, which says who reads it."""
    from hpc_diffuser.io.trajectories.kinds import TRAJECTORIES
    from hpc_diffuser.io.trajectories.kinds import kind_of as kind_of_trajectory

    try:
        # With no ending to go by: HDF5 and text are told apart by what is in them.
        kind = kind_of_trajectory(file.plain, "", TRAJECTORIES)
    except InputError:
        return
    if kind not in ("hdf5", "pdb", "gro"):
        raise InputError(
            f"{file.path}: a trajectory ({kind.upper()}): expected a file that says itself what "
            f"its atoms are: hpc-diffuser modes --trajectory {file.path} reads it with its "
            "--topology"
        )


def modes_page(path: Path) -> tuple[Modes, str] | None:
    """Modes, and the page about them; None of any other file."""
    from hpc_diffuser.io.modes_file import read_modes
    from hpc_diffuser.io.opened import opened

    if not path.is_file():
        return None
    with opened(path, "file") as file:
        if kind_of(file) != "modes":
            return None
        modes = read_modes(file)
        network = _network_lines(file)
    return modes, f"{path}: modes\n{_modes_lines(modes, network)}"


def map_page(source: MapSource, file: Opened | None = None) -> tuple[DiffuseMap, str]:
    """A map, and a page about it: what was assumed and done, and what is in its shells."""
    from hpc_diffuser.commands.measured_map import load_map

    loaded = load_map(source, file=file)
    return loaded.diffuse, "\n".join([*loaded.said, _map_text(loaded.diffuse)])


def kind_of(file: Opened) -> str:
    """By content: our format attribute, a map's layout; else a structure."""
    if file.is_hdf5:
        ours = file.arrays(("@format",), "known HDF5 file")
        if "@format" in ours:
            return str(ours["@format"]).removeprefix("hpc-diffuser/")
    from hpc_diffuser.io.maps.files import is_map

    if is_map(file):
        return "map"
    return "" if file.is_hdf5 else "structure"


def _modes_text(file: Opened) -> str:
    from hpc_diffuser.io.modes_file import read_modes

    return _modes_lines(read_modes(file), _network_lines(file))


def _network_lines(file: Opened) -> list[str]:
    """What was told of the elastic network that the modes are of; nothing of a trajectory's."""
    told = str(file.arrays(("@elastic network",)).get("@elastic network", ""))
    return [line for line in told.splitlines() if line.isprintable()]


def _modes_lines(modes: Modes, network: list[str]) -> str:
    from hpc_diffuser.commands.pages.convergence import convergence_lines

    amplitudes = modes.amplitudes_A
    total = float(np.sqrt(np.sum(amplitudes**2)))
    lines = [_structure_lines(modes.structure), _crystal_line(modes.unit_cell, modes.space_group)]
    lines.append(f"crystal's B  {_crystal_b_text(modes)}")
    lines.append(f"modes        {len(amplitudes)}, together {total:.3f} Å rms per atom")
    lines += [f"  mode {i + 1:3d}   {a:.4f} Å" for i, a in enumerate(amplitudes)]
    if modes.convergence is not None:
        lines += convergence_lines(modes.convergence)
    return "\n".join([*lines, *network])


def _crystal_b_text(modes: Modes) -> str:
    from hpc_diffuser.motion.modes import why_no_b_factors

    missing = why_no_b_factors(modes)
    if missing:
        return f"none: {missing}"
    known = modes.crystal_b_A2[np.isfinite(modes.crystal_b_A2)]
    return f"of {len(known)} atoms, mean {known.mean():.1f} Å²"


def _map_text(diffuse: DiffuseMap) -> str:
    from hpc_diffuser.maps.statistics import resolution_range

    inside = np.isfinite(diffuse.intensity)
    lines = [_grid_lines(diffuse.grid, diffuse.space_group)]
    if not inside.any():
        return "\n".join([*lines, "voxels       all masked"])
    values = diffuse.intensity[inside]
    nearest, farthest = resolution_range(diffuse.intensity, diffuse.grid)
    lines += [
        f"voxels       {len(values)} of {inside.size} measured ({100 * inside.mean():.1f} %)",
        f"resolution   {_d_text(nearest)} to {_d_text(farthest)}",
        f"intensity    {values.min():.4g} to {values.max():.4g}, mean {values.mean():.4g}",
        f"errors       {'yes' if diffuse.errors is not None else 'no'}",
        f"halves       {'yes' if diffuse.halves is not None else 'no'}",
        *(_map_shells(diffuse, farthest) if farthest else []),
    ]
    return "\n".join(lines)


def _map_shells(diffuse: DiffuseMap, farthest: float) -> list[str]:
    """A table: how much of each shell was measured, its mean, and how far intensities scatter."""
    from hpc_diffuser.maps.statistics import shell_statistics

    edges = np.linspace(0, farthest, _SHELLS + 1)
    table = zip(*shell_statistics(diffuse.intensity, diffuse.grid, edges), strict=True)
    lines = ["shell d (Å)        measured   complete       mean   deviation/mean"]
    for i, (possible, measured, mean, deviation) in enumerate(table):
        d_max = f"{1 / edges[i]:.2f}" if edges[i] > 0 else "∞"
        complete = f"{100 * measured / possible:8.1f} %" if possible else "    none  "
        scatter = f"{deviation / mean:10.3f}" if measured and mean else f"{'none':>10}"
        shown = f"{mean:11.4g}" if measured else f"{'none':>11}"
        lines.append(
            f"  {d_max:>6} - {1 / edges[i + 1]:<6.2f} {measured:10d} {complete}{shown}{scatter}"
        )
    return lines


def _d_text(inverse_d: float) -> str:
    return "∞" if inverse_d == 0 else f"{1 / inverse_d:.2f} Å"


def _target_text(file: Opened) -> str:
    from hpc_diffuser.io.maps.native import read_target
    from hpc_diffuser.maps.statistics import cc_star

    target = read_target(file)
    edges, counts = target.shell_edges, target.counts()
    cc_half = target.cc_half()
    ceiling = cc_half is not None and np.isfinite(cc_half).any()
    lines = [
        _grid_lines(target.grid, target.space_group),
        f"voxels       {len(target.indices)}, one of each set of Laue mates; "
        f"{100 * target.free.mean():.1f} % in the free set",
        *_subtracted_lines(file),
        "shell d (Å)         working     free" + ("     CC½     CC*" if ceiling else ""),
    ]
    for i in range(target.n_shells):
        d_max = f"{1 / edges[i]:.2f}" if edges[i] > 0 else "∞"
        row = f"  {d_max:>6} - {1 / edges[i + 1]:<6.2f} {counts[0, i]:9d}{counts[1, i]:9d}"
        if ceiling:
            row += _ceiling(cc_half[i]) + _ceiling(float(cc_star(cc_half[i])))
        lines.append(row)
    return "\n".join(lines)


def _subtracted_lines(file: Opened) -> list[str]:
    """Which calculated map the intensities are less."""
    told = str(file.arrays(("entry@subtracted",)).get("entry@subtracted", ""))
    return [f"subtracted   {told}"] if told.isprintable() and told else []


def _ceiling(cc: float) -> str:
    return f"{cc:8.3f}" if np.isfinite(cc) else f"{'none':>8}"


def _read_checkpoint(path: Path) -> tuple[History, list[str]]:
    """A restart's history, and what its parameters are called as far as its run tells."""
    from hpc_diffuser.fit.run.checkpoints import read_checkpoint
    from hpc_diffuser.system.storage import read_json

    history, summary = read_checkpoint(path), path.parent / "summary.json"
    names: list[str] = []
    with contextlib.suppress(InputError, LookupError, TypeError):
        names = [str(name) for name in read_json(summary)["refined"]]
    return history, names if len(names) == history.points.shape[1] else []


def _checkpoint_text(file: Opened) -> str:
    history, names = _read_checkpoint(file.path)
    if not len(history):
        return "evaluations  0"
    point = history.points[history.best]
    if names:
        lines = [f"  {_with_unit(name):24s} {x:.4f}" for name, x in zip(names, point, strict=True)]
    else:
        values = ", ".join(f"{x:.4f}" for x in point)
        lines = [f"  {values} (in the units of the config's keys)"] if values else []
    best = f"best CC_search {history.best_cc_so_far()[-1]:.4f} (evaluation {history.best + 1})"
    return "\n".join([f"evaluations  {len(history)}", best + " at" * bool(lines), *lines])


def _with_unit(name: str) -> str:
    """A parameter's name, which tells its unit where it is not that of a mode's amplitude."""
    return f"{name} (Å)" if name.startswith("mode ") else name


def _structure_text(file: Opened) -> str:
    from hpc_diffuser.io.structures.files import read_structure

    said: list[str] = []
    structure, crystal = read_structure(file.path, tell=said.append)
    crystal_line = _crystal_line(*crystal) if crystal else "unit cell    none"
    return "\n".join([*said, _structure_lines(structure), crystal_line])


def _structure_lines(structure: Structure) -> str:
    names, counts = np.unique(structure.elements, return_counts=True)
    composition = ", ".join(f"{n} {name}" for name, n in zip(names, counts, strict=True))
    residues = len({tuple(residue) for *residue, _ in structure.names()})
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
    "modes": _modes_text,
    "target": _target_text,
    "checkpoint": _checkpoint_text,
    "structure": _structure_text,
}
