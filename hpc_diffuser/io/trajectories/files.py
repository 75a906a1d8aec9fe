"""Molecular-dynamics trajectories, through mdtraj; the only module that imports it."""

import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_diffuser.crystal.chains import tell_chains_apart
from hpc_diffuser.crystal.residues import is_ion, is_polymer, is_water
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.io.hdf5_content import hdf5_arrays
from hpc_diffuser.io.plausible import MOST_COORDINATE_A, check_names
from hpc_diffuser.io.trajectories.frames import count_frames, read_trr, require_atoms
from hpc_diffuser.io.trajectories.kinds import (
    TOPOLOGIES,
    TRAJECTORIES,
    kind_of,
    unpacked,
    without_blank_end,
)
from hpc_diffuser.io.trajectories.topology_names import UNKNOWN, topology_names
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.isolated import require_file, run_isolated
from hpc_diffuser.system.memory import require_room

_PARENT_BYTES = 16  # of a coordinate that comes in single precision: Å in double, and once more
_PER_NM = {"nanometers": np.float32(1), "angstrom": np.float32(10)}


@dataclass(frozen=True)
class Trajectory:
    """What a trajectory's files hold.

    Attributes
    ----------
    structure : Structure
        Its atoms at the first frame, but for water, ions and hydrogens that nobody asks for.
    frames : (F, N, 3) float, Å
    boxes : (F, 3, 3) float, Å
        Vectors of the periodic box as rows; 0 or NaN where there is none.
    bonds : (B, 2) int
        Atoms that the topology knows to be bonded.
    rows : (K,) int or None
        The atoms that match the selection, ascending; None without one.
    n_atoms : int
        Of the topology: with those that were not read.
    left_out : tuple of str
        What was not read: "512 water molecules", "3 NA".
    notes : tuple of str
        What was assumed, and frames that hold no coordinates.
    lettered : bool
        Whether the topology names chains; else they are A, B, C, in its order.
    places : (N,) int
        Where its atoms stand among all of the topology's, from 0.
    """

    structure: Structure
    frames: np.ndarray
    boxes: np.ndarray
    bonds: np.ndarray
    rows: np.ndarray | None
    n_atoms: int
    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    lettered: bool
    places: np.ndarray


def read_trajectory(
    trajectory: Path, topology: Path, selection: str | None = None, hydrogens: bool = False
) -> Trajectory:
    """All frames of a trajectory.

    Parameters
    ----------
    trajectory : Path
        XTC, TRR, DCD, NetCDF, MDTraj's HDF5, GRO, multi-model PDB, by the file's first bytes or
        its ending; packed or not.
    topology : Path
        PDB, GRO, PRMTOP, PSF. Residues of PRMTOP, which has no numbers, count from 1.
    selection : str or None
        In mdtraj's language: atoms that are read besides.
    hydrogens : bool
        Whether they are read, selected or not.

    Raises
    ------
    InputError
        Where a file cannot be read or ends within a frame, the two do not belong together, an
        element is not known, a coordinate is not finite, or the selection is none.
    """
    require_file(trajectory, "trajectory")
    require_file(topology, "topology")
    subject = f"{trajectory} could not be read with topology {topology}"
    found = run_isolated(_load, [trajectory, topology], subject, selection, hydrogens)
    require_room(
        _PARENT_BYTES * found["frames_nm"].size,
        f"{trajectory}, {len(found['frames_nm'])} frames of {found['frames_nm'].shape[1]} atoms,",
        "write a trajectory of fewer frames, or of fewer atoms",
    )
    frames, boxes = (10 * found.pop(name).astype(np.float64) for name in ("frames_nm", "boxes_nm"))
    rows, bonds, places = (found.pop(name) for name in ("rows", "bonds", "places"))
    others, n_atoms, lettered = (int(found.pop(x)) for x in ("others", "n_atoms", "lettered"))
    left_out = tuple(found.pop("left_out").tolist())
    _check(trajectory, frames)
    for name in ("elements", "atom_names", "residue_names", "chain_ids", "insertion_codes"):
        check_names(found[name], f"{topology}: {name}")
    occupancies, b_factors = np.ones(frames.shape[1]), np.zeros(frames.shape[1])
    structure = Structure(frames[0], **found, occupancies=occupancies, b_factors_A2=b_factors)
    structure, notes = _with_chains(structure, topology)
    if others:
        notes.append(f"{trajectory}: {others} frames without coordinates are left aside")
    chosen = None if selection is None else rows
    return Trajectory(
        structure,
        frames,
        boxes,
        bonds,
        chosen,
        n_atoms,
        left_out,
        tuple(notes),
        bool(lettered),
        places,
    )


def _with_chains(structure: Structure, topology: Path) -> tuple[Structure, list[str]]:
    """Copies of a chain under letters of their own; lines that say so."""
    try:
        structure, notes = tell_chains_apart(structure)
    except InputError as exc:
        raise InputError(f"{topology}: {exc}") from exc
    return structure, [f"{topology}: {note}" for note in notes]


def _check(trajectory: Path, frames: np.ndarray) -> None:
    """Raise InputError naming the first frame with a coordinate that cannot be."""
    for number, frame in enumerate(frames, 1):
        if not np.isfinite(frame).all():
            raise InputError(f"{trajectory}: frame {number} has coordinates that are not finite")
        if np.abs(frame).max() > MOST_COORDINATE_A:
            raise InputError(
                f"{trajectory}: frame {number} has coordinates beyond {MOST_COORDINATE_A:g} Å"
            )


def _load(
    trajectory: str, topology: str, selection: str | None, hydrogens: bool
) -> dict[str, np.ndarray]:
    """Runs in a child process: everything that mdtraj has to do."""
    with tempfile.TemporaryDirectory() as folder:
        moving, still = (unpacked(Path(name), Path(folder)) for name in (trajectory, topology))
        kind = kind_of(moving, trajectory, TRAJECTORIES)
        moving = without_blank_end(moving, Path(folder)) if kind == "gro" else moving
        atoms = _topology(still, topology)
        names = topology_names(atoms, still, kind_of(still, topology, TOPOLOGIES), topology)
        _set_elements(atoms, names["elements"])
        rows = np.empty(0, int) if selection is None else _select(atoms, selection)
        solute = ~_solvent(atoms)
        if not hydrogens:
            solute &= names["elements"] != "H"
        kept = np.union1d(np.flatnonzero(solute), rows)
        if not len(kept):
            raise InputError(f"{topology}: nothing but water, ions and hydrogens")
        subject = f"{trajectory} could not be read with topology {topology}"
        xyz, boxes, others = _frames_nm(moving, kind, atoms, kept, subject)
    return {
        "frames_nm": xyz,
        "boxes_nm": boxes,
        "others": np.array(others),
        "n_atoms": np.array(atoms.n_atoms),
        "lettered": np.array(any((chain.chain_id or "").strip() for chain in atoms.chains)),
        "rows": np.searchsorted(kept, rows),
        "places": kept,
        "bonds": _bonds(atoms, kept),
        "left_out": _left_out(atoms, kept, names["elements"]),
    } | {name: values[kept] for name, values in names.items()}


def _solvent(topology: object) -> np.ndarray:
    """Which atoms are of water, or ions by themselves: (N,) bool."""
    return np.array([_is_solvent(residue) for residue in topology.residues for _ in residue.atoms])


def _is_solvent(residue: object) -> bool:
    if is_water(residue.name) or residue.n_atoms != 1:
        return is_water(residue.name)
    # Some programs call the residue of every ion ION.
    names = (residue.name, next(residue.atoms).name)
    return not is_polymer(residue.name) and any(map(is_ion, names))


def _left_out(topology: object, kept: np.ndarray, elements: np.ndarray) -> np.ndarray:
    """What is not read: water and ions by their molecules, hydrogens by atoms: (L,) str."""
    read = np.zeros(topology.n_atoms, bool)
    read[kept] = True
    gone, hydrogens = Counter(), 0
    for residue in topology.residues:
        rows = [atom.index for atom in residue.atoms]
        if _is_solvent(residue) and not read[rows].any():
            gone["water molecules" if is_water(residue.name) else residue.name] += 1
        else:
            hydrogens += int((~read[rows] & (elements[rows] == "H")).sum())
    parts = [f"{count} {name}" for name, count in gone.items()]
    return np.array(parts + ([f"{hydrogens} hydrogens"] if hydrogens else []), str)


def _topology(path: Path, named: str) -> object:
    """As mdtraj reads it, but PRMTOP's residues, which mdtraj counts from 0, from 1."""
    import mdtraj
    from mdtraj.formats import GroTrajectoryFile

    kind = kind_of(path, named, TOPOLOGIES)
    if kind == "pdb":
        return mdtraj.load_pdb(str(path), frame=0).topology
    if kind == "gro":
        with GroTrajectoryFile(str(path)) as file:
            return file.topology
    if kind == "psf":
        return mdtraj.load_psf(str(path))
    topology = mdtraj.load_prmtop(str(path))
    for residue in topology.residues:
        residue.resSeq += 1
    return topology


def _bonds(topology: object, kept: np.ndarray) -> np.ndarray:
    """Among the atoms that are read, counted as they are: (B, 2) int."""
    pairs = np.array([(a.index, b.index) for a, b in topology.bonds], int).reshape(-1, 2)
    return np.searchsorted(kept, pairs[np.isin(pairs, kept).all(axis=1)])


def _set_elements(topology: object, symbols: np.ndarray) -> None:
    """For selections by element, where mdtraj has guessed another one."""
    from mdtraj.core import element

    for atom, symbol in zip(topology.atoms, symbols.tolist(), strict=True):
        atom.element = element.virtual if symbol == UNKNOWN else element.get_by_symbol(symbol)


def _frames_nm(
    path: Path, kind: str, topology: object, rows: np.ndarray, subject: str
) -> tuple[np.ndarray, np.ndarray, int]:
    """Frames (F, K, 3) of atoms, their boxes (F, 3, 3), and how many more hold no coordinates.

    Whatever goes wrong is one line.
    """
    try:
        expected = count_frames(path, kind, topology.n_atoms)
        xyz, boxes, others = _coordinates_nm(path, kind, topology, rows)
    except InputError as exc:
        raise InputError(f"{subject}: {exc}") from exc
    except MemoryError:
        raise
    except Exception as exc:  # parsers raise whatever they come upon
        reason = next(iter(str(exc).splitlines()), type(exc).__name__)
        raise InputError(
            f"{subject}: of other atoms, cut short or damaged ({reason}): give the topology of "
            "this trajectory, or copy it again"
        ) from exc
    if not len(xyz) and others:
        raise InputError(
            f"{subject}: none of its {others} frames holds coordinates, only velocities or forces: "
            "write a trajectory of coordinates (nstxout or nstxout-compressed above 0)"
        )
    if expected not in (None, len(xyz) + others) or not len(xyz):
        raise InputError(f"{subject}: {len(xyz)} frames could be read, expected {expected or 1}")
    return xyz, boxes, others


def _coordinates_nm(
    path: Path, kind: str, topology: object, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """The same, unguarded."""
    if kind == "trr":
        return read_trr(path, topology.n_atoms, rows)
    if kind == "hdf5":
        xyz, boxes = _hdf5_nm(path)
        require_atoms(xyz.shape[1], topology.n_atoms, "frame 1")
        return xyz[:, rows], boxes, 0
    if kind in _COUNTS:
        require_atoms(_COUNTS[kind](path), topology.n_atoms, "frame 1")
    if kind == "pdb":  # with rows given, other atoms would pass
        loaded = _loader(kind)(str(path), top=topology)
        xyz = loaded.xyz[:, rows]
    else:
        loaded = _loader(kind)(str(path), top=topology, atom_indices=rows)
        xyz = loaded.xyz
    boxes = loaded.unitcell_vectors
    return xyz, np.zeros((len(xyz), 3, 3)) if boxes is None else boxes, 0


def _loader(kind: str):
    import mdtraj
    from mdtraj.formats.gro import load_gro

    named = {"xtc": mdtraj.load_xtc, "dcd": mdtraj.load_dcd, "netcdf": mdtraj.load_netcdf}
    return (named | {"pdb": mdtraj.load_pdb, "gro": load_gro})[kind]


def _netcdf_atoms(path: Path) -> int:
    # Where it is installed, mdtraj prefers this to SciPy; but it reads what was cut off as zeros.
    sys.modules["netCDF4"] = None
    from mdtraj.formats import NetCDFTrajectoryFile

    with NetCDFTrajectoryFile(str(path)) as file:
        return file.n_atoms


def _gro_atoms(path: Path) -> int:
    with path.open("rb") as file:
        file.readline()
        return int(file.readline())


_COUNTS = {"netcdf": _netcdf_atoms, "gro": _gro_atoms}


def _hdf5_nm(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """MDTraj's layout, without PyTables, which would unpickle attributes; AMBER's NetCDF-4 too."""
    cell = ("cell_lengths", "cell_angles")
    found = hdf5_arrays(path, ["coordinates", "coordinates@units", *cell])
    xyz, units = found.get("coordinates"), str(found.get("coordinates@units"))
    if xyz is None or xyz.dtype.kind != "f" or xyz.ndim != 3 or xyz.shape[2] != 3:
        shape = "none" if xyz is None else f"{xyz.dtype} {xyz.shape}"
        raise InputError(
            f"expected coordinates (frames, atoms, 3) of MDTraj's HDF5 or AMBER's NetCDF-4, found "
            f"{shape}"
        )
    if units not in _PER_NM:
        raise InputError(
            f'expected coordinates with units = "nanometers" or "angstrom", found {units!r:.40}'
        )
    lengths, angles = (found.get(name) for name in cell)
    shape = (len(xyz), 3)
    if not (np.shape(lengths) == np.shape(angles) == shape):
        return xyz / _PER_NM[units], np.zeros((*shape, 3))
    return xyz / _PER_NM[units], _box_vectors(lengths, angles) / _PER_NM[units]


def _box_vectors(lengths: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Of edges and angles (F, 3) the vectors as rows (F, 3, 3), in the unit of the edges."""
    from mdtraj.utils import lengths_and_angles_to_box_vectors

    with np.errstate(all="ignore"):  # of no box at all
        return np.stack(lengths_and_angles_to_box_vectors(*lengths.T, *angles.T), axis=1)


def _select(topology: object, selection: str) -> np.ndarray:
    """Rows of the selected atoms: (K,) int, ascending."""
    try:
        rows = topology.select(selection)
    except Exception as exc:  # a syntax error, from one of several parsers
        reason = next(iter(str(exc).splitlines()), type(exc).__name__)
        raise InputError(
            f'selection "{selection}" is not in mdtraj\'s language ({reason}); '
            "an example: name CA and resid 0 to 50"
        ) from exc
    if not len(rows):
        raise InputError(f'selection "{selection}" matches no atom')
    return np.sort(rows)
