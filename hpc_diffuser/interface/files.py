"""The program's files as plain objects: structures, modes, maps, targets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.interface.checked import path_of, require_kind
from hpc_diffuser.io.maps.common import Given
from hpc_diffuser.io.maps.files import read_any_map, write_any_map
from hpc_diffuser.io.maps.native import read_target, write_target
from hpc_diffuser.io.modes_file import read_modes
from hpc_diffuser.io.structures.files import read_structure
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.target import Target
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.system.progress import log

_MADE = {"command": "hpc_diffuser in Python"}


@dataclass(frozen=True)
class CrystalStructure:
    """A molecule in its crystal.

    Attributes
    ----------
    structure : Structure
        Its atoms, waters left out.
    unit_cell : 6 floats, Å and degrees, or None
        None where the file has none.
    space_group : str or None
    """

    structure: Structure
    unit_cell: tuple[float, ...] | None
    space_group: str | None


def open_structure(
    path: str | Path, conformer: str = "A", hydrogens: bool = False
) -> CrystalStructure:
    """Open a PDB or mmCIF file: its first model in one conformation, without waters.

    Parameters
    ----------
    path : str or Path
    conformer : str
        The letter of the alternate conformers that are taken, or "occupancy": the likeliest.
    hydrogens : bool
        Keep them.

    Returns
    -------
    CrystalStructure
        `structure.positions` (N, 3) in Å, in the crystal's standard frame, `b_factors_A2` (N,).

    Raises
    ------
    InputError
        Where the file cannot be read, or its atoms are not plausible.

    Examples
    --------
    >>> crystal = hd.open_structure("6o2h.pdb")
    >>> crystal.structure.positions.shape, crystal.space_group
    ((1001, 3), 'P 1')
    """
    structure, crystal = read_structure(path_of(path, "a structure's file"), conformer, hydrogens)
    unit_cell, space_group = crystal or (None, None)
    return CrystalStructure(structure, unit_cell, space_group)


def open_modes(path: str | Path) -> Modes:
    """Open modes.h5: a mean structure and the fields along which it moves.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Modes
        `vectors` (M, N, 3), Σ_a |Δ_a|² = N; `amplitudes_A` (M,), rms displacement per atom in Å.

    Raises
    ------
    InputError
        Where the file cannot be read, or is none.

    Examples
    --------
    >>> modes = hd.open_modes("modes.h5")
    >>> displacement_A = modes.amplitudes_A[0] * modes.vectors[0]  # (N, 3), one deviation
    """
    return read_modes(path_of(path, "a file of modes"))


def open_map(
    path: str | Path,
    unit_cell: tuple[float, ...] | None = None,
    space_group: str | None = None,
    column: str | None = None,
    divisions: tuple[int, int, int] | None = None,
) -> DiffuseMap:
    """Open a diffuse map of any known format, also one that is packed by gzip.

    What was assumed of it is told on standard error.

    Parameters
    ----------
    path : str or Path
    unit_cell : 6 floats, Å and degrees, optional
        Instead of the file's.
    space_group : str, optional
        As "P 41"; instead of the file's.
    column : str, optional
        Which of several maps in one file.
    divisions : 3 ints, optional
        Samples per reciprocal-lattice unit, where the file does not tell.

    Returns
    -------
    DiffuseMap
        `intensity` (H, K, L), NaN where not measured; `grid.axis(0)` has h of its rows.

    Raises
    ------
    InputError
        Where the file is no map, is damaged, or lacks what has to be given.

    Examples
    --------
    >>> diffuse = hd.open_map("map.nxs")
    >>> diffuse.intensity[:, :, diffuse.grid.extent[2]]  # the section l = 0
    """
    found = read_any_map(
        path_of(path, "a map's file"), Given(unit_cell, space_group, column, divisions)
    )
    for line in found.assumed:
        log(f"{path}: assumed {line}")
    return found.diffuse


def open_target(path: str | Path) -> Target:
    """Open target.h5: the voxels that a fit is compared with.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Target
        `indices` (V, 3) of samples, one of each set of Laue mates; hkl are `indices /
        grid.divisions`. `intensity`, `errors` and `free` are (V,), `shells()` too.

    Raises
    ------
    InputError
        Where the file cannot be read, or is none.

    Examples
    --------
    >>> target = hd.open_target("target.h5")
    >>> target.intensity[~target.free].mean()
    """
    return read_target(path_of(path, "a target, or its file"))


def save_map(path: str | Path, diffuse: DiffuseMap) -> None:
    """Write a map; the ending tells the format, as `.nxs` or `.mtz` (docs/formats.md).

    Parameters
    ----------
    path : str or Path
    diffuse : DiffuseMap

    Raises
    ------
    InputError
        Where the ending tells no format, or the map does not fit into it.
    StorageError
        Where it cannot be written; an old file is then untouched.

    Examples
    --------
    >>> hd.save_map("map.nxs", hd.simulate("model.toml"))
    """
    require_kind(diffuse, DiffuseMap, "a DiffuseMap to save")
    _, left_out = write_any_map(path_of(path, "a file to write"), diffuse, provenance=_MADE)
    if left_out:
        log(f"{path}: the format has no place for {', '.join(left_out)}")


def save_target(path: str | Path, target: Target) -> None:
    """Write target.h5, which a fit takes.

    Parameters
    ----------
    path : str or Path
    target : Target

    Raises
    ------
    StorageError
        Where it cannot be written; an old file is then untouched.

    Examples
    --------
    >>> hd.save_target("target.h5", hd.make_target(hd.open_map("map.nxs")))
    """
    require_kind(target, Target, "a Target to save, as hd.make_target cuts it from a map")
    write_target(path_of(path, "a file to write"), target, _MADE)
