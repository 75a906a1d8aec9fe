"""Trajectories read by mdtraj, frame by frame, in a child process; only this module imports it.

`files` starts the child and asks it. What has been opened stays open as long as the child lives:
topologies are parsed once, and frames are found by where they lie. Texts (PDB, GRO) are read whole.
"""

import functools
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hpc_diffuser.crystal.residues import is_ion, is_polymer, is_water
from hpc_diffuser.io.hdf5_content import hdf5_arrays, hdf5_length
from hpc_diffuser.io.trajectories.frames import (
    TrrFrames,
    count_frames,
    require_atoms,
    require_even_models,
)
from hpc_diffuser.io.trajectories.kinds import (
    TOPOLOGIES,
    TRAJECTORIES,
    kind_of,
    unpacked,
    without_blank_end,
)
from hpc_diffuser.io.trajectories.topology_names import UNKNOWN, topology_names
from hpc_diffuser.system.errors import InputError

_PER_NM = {"nanometers": np.float32(1), "angstrom": np.float32(10)}


class _Frames(Protocol):
    """A trajectory's frames by their numbers, from 0.

    Attributes
    ----------
    count, others : int
        Frames that hold coordinates, and others.
    """

    count: int
    others: int

    def read(self, numbers: list[int], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions (F, K, 3) of atoms and boxes (F, 3, 3), in nm."""
        ...


@dataclass(frozen=True)
class _Atoms:
    """A topology, and what of it is read.

    Attributes
    ----------
    topology : mdtraj.Topology
    names : dict of str → (N,) array
        As of `topology_names`.
    kept : (K,) int
        The atoms that are read, ascending.
    selected : (S,) int
        Those of the selection, among all.
    """

    topology: Any
    names: dict[str, np.ndarray]
    kept: np.ndarray
    selected: np.ndarray


def outline(*words: Any) -> dict[str, np.ndarray]:
    """What trajectories of one topology hold, without their frames.

    Parameters
    ----------
    *words
        The trajectories' names; then topology, selection or None, whether hydrogens are read, and
        a folder for what has to be unpacked.

    Returns
    -------
    dict of str → array
        `counts` and `others` of every trajectory, the atoms that are read by their names,
        `n_atoms` of the topology, `lettered`, `rows`, `places`, `bonds`, `left_out`.
    """
    *trajectories, topology, selection, hydrogens, folder = words
    atoms = _atoms(topology, selection, hydrogens, folder)
    found = [_frames(name, topology, selection, hydrogens, folder) for name in trajectories]
    lettered = any((chain.chain_id or "").strip() for chain in atoms.topology.chains)
    return {
        "counts": np.array([each.count for each in found]),
        "others": np.array([each.others for each in found]),
        "n_atoms": np.array(atoms.topology.n_atoms),
        "lettered": np.array(lettered),
        "rows": np.searchsorted(atoms.kept, atoms.selected),
        "places": atoms.kept,
        "bonds": _bonds(atoms.topology, atoms.kept),
        "left_out": _left_out(atoms.topology, atoms.kept, atoms.names["elements"]),
    } | {name: values[atoms.kept] for name, values in atoms.names.items()}


def frames(*words: Any) -> dict[str, np.ndarray]:
    """Some frames of one of the trajectories: `frames_nm` (F, K, 3), `boxes_nm` (F, 3, 3).

    Parameters
    ----------
    *words
        As of `outline`; then which trajectory, and the frames' numbers, both from 0.
    """
    *trajectories, topology, selection, hydrogens, folder, which, numbers = words
    atoms = _atoms(topology, selection, hydrogens, folder)
    given = trajectories[which], topology
    source = _frames(*given, selection, hydrogens, folder)
    with _told(*given):
        xyz, boxes = source.read(numbers, atoms.kept)
        if len(xyz) != len(numbers):
            raise InputError(f"{len(xyz)} frames could be read, expected {len(numbers)}")
    return {"frames_nm": xyz, "boxes_nm": boxes}


@functools.cache
def _atoms(topology: str, selection: str | None, hydrogens: bool, folder: str) -> _Atoms:
    still = unpacked(Path(topology), Path(folder))
    parsed = _topology(still, topology)
    names = topology_names(parsed, still, kind_of(still, topology, TOPOLOGIES), topology)
    _set_elements(parsed, names["elements"])
    rows = np.empty(0, int) if selection is None else _select(parsed, selection)
    solute = ~_solvent(parsed)
    if not hydrogens:
        solute &= names["elements"] != "H"
    kept = np.union1d(np.flatnonzero(solute), rows)
    if not len(kept):
        raise InputError(f"{topology}: nothing but water, ions and hydrogens")
    return _Atoms(parsed, names, kept, rows)


@functools.cache
def _frames(
    trajectory: str, topology: str, selection: str | None, hydrogens: bool, folder: str
) -> _Frames:
    moving = unpacked(Path(trajectory), Path(folder))
    kind = kind_of(moving, trajectory, TRAJECTORIES)
    moving = without_blank_end(moving, Path(folder)) if kind == "gro" else moving
    atoms = _atoms(topology, selection, hydrogens, folder).topology
    with _told(trajectory, topology):
        expected = count_frames(moving, kind, atoms.n_atoms)
        found: _Frames = _SOURCES[kind](moving, atoms)
        if not found.count and found.others:
            raise InputError(
                f"none of its {found.others} frames holds coordinates, only velocities or forces: "
                "write a trajectory of coordinates (nstxout or nstxout-compressed above 0)"
            )
        whole = found.count + found.others
        if expected not in (None, whole) or not found.count:
            raise InputError(f"{found.count} frames could be read, expected {expected or 1}")
    return found


@contextmanager
def _told(trajectory: str, topology: str) -> Iterator[None]:
    """Whatever goes wrong is one line."""
    subject = f"{trajectory} could not be read with topology {topology}"
    try:
        yield
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


class _Seekable:
    """A file of mdtraj's that finds frames by their numbers."""

    others = 0

    def __init__(self, file: Any, in_nm: Callable[..., tuple[np.ndarray, np.ndarray]]):
        self._file, self._in_nm = file, in_nm
        self.count = len(file)

    def read(self, numbers: list[int], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Neighbours in one go."""
        parts = [self._run(first, count, rows) for first, count in _runs(numbers)]
        xyz, boxes = zip(*parts, strict=True)
        return np.concatenate(xyz), np.concatenate(boxes)

    def _run(self, first: int, count: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self._file.seek(first)
        return self._in_nm(*self._file.read(n_frames=count, atom_indices=rows))


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Ascending numbers as runs of neighbours: (first, how many)."""
    ends = np.flatnonzero(np.diff(numbers) != 1) + 1
    return [(int(run[0]), len(run)) for run in np.split(numbers, ends)]


def _xtc(path: Path, topology: Any) -> _Frames:
    from mdtraj.formats import XTCTrajectoryFile

    def in_nm(xyz: np.ndarray, _time: Any, _step: Any, box: Any) -> tuple[np.ndarray, np.ndarray]:
        return xyz, np.zeros((len(xyz), 3, 3)) if box is None else box

    return _Seekable(XTCTrajectoryFile(str(path)), in_nm)


def _dcd(path: Path, topology: Any) -> _Frames:
    from mdtraj.formats import DCDTrajectoryFile

    return _Seekable(DCDTrajectoryFile(str(path)), _from_angstrom)


def _netcdf(path: Path, topology: Any) -> _Frames:
    # Where it is installed, mdtraj prefers this to SciPy; but it reads what was cut off as zeros.
    sys.modules["netCDF4"] = None  # type: ignore[assignment]
    from mdtraj.formats import NetCDFTrajectoryFile

    file = NetCDFTrajectoryFile(str(path))
    require_atoms(file.n_atoms, topology.n_atoms, "frame 1")
    return _Seekable(file, lambda xyz, _time, *cell: _from_angstrom(xyz, *cell))


def _from_angstrom(
    xyz: np.ndarray, lengths: np.ndarray | None, angles: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    from mdtraj.utils import in_units_of

    xyz = in_units_of(xyz, "angstroms", "nanometers", inplace=True)
    if lengths is None or angles is None:
        return xyz, np.zeros((len(xyz), 3, 3))
    lengths = in_units_of(lengths, "angstroms", "nanometers", inplace=True)
    return xyz, _box_vectors(lengths, angles)


class _Text:
    """All frames of a text, read at once."""

    others = 0

    def __init__(self, loaded: Any):
        self._xyz, self._boxes = loaded.xyz, loaded.unitcell_vectors
        self.count = len(self._xyz)

    def read(self, numbers: list[int], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of what was read."""
        none = np.zeros((len(numbers), 3, 3))
        return self._xyz[numbers][:, rows], none if self._boxes is None else self._boxes[numbers]


def _pdb(path: Path, topology: Any) -> _Frames:
    import mdtraj

    try:
        return _Text(mdtraj.load_pdb(str(path), top=topology))
    except Exception:
        require_even_models(path)
        raise


def _gro(path: Path, topology: Any) -> _Frames:
    from mdtraj.formats.gro import load_gro

    with path.open("rb") as file:
        file.readline()
        require_atoms(int(file.readline()), topology.n_atoms, "frame 1")
    return _Text(load_gro(str(path), top=topology))


class _Hdf5:
    """MDTraj's layout, without PyTables, which would unpickle attributes; AMBER's NetCDF-4 too."""

    others = 0

    def __init__(self, path: Path, topology: Any):
        self._path = path
        xyz, _ = self._part(slice(0, 1))
        require_atoms(xyz.shape[1], topology.n_atoms, "frame 1")
        self.count = hdf5_length(path, "coordinates")

    def read(self, numbers: list[int], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Neighbours in one go."""
        parts = [self._part(slice(first, first + count)) for first, count in _runs(numbers)]
        xyz, boxes = zip(*parts, strict=True)
        return np.concatenate(xyz)[:, rows], np.concatenate(boxes)

    def _part(self, some: slice) -> tuple[np.ndarray, np.ndarray]:
        cell = ("cell_lengths", "cell_angles")
        found = hdf5_arrays(self._path, ["coordinates", "coordinates@units", *cell], some)
        xyz, units = found.get("coordinates"), str(found.get("coordinates@units"))
        if xyz is None or xyz.dtype.kind != "f" or xyz.ndim != 3 or xyz.shape[2] != 3:
            shape = "none" if xyz is None else f"{xyz.dtype} {xyz.shape}"
            raise InputError(
                "expected coordinates (frames, atoms, 3) of MDTraj's HDF5 or AMBER's NetCDF-4, "
                f"found {shape}"
            )
        if units not in _PER_NM:
            raise InputError(
                f'expected coordinates with units = "nanometers" or "angstrom", found {units!r:.40}'
            )
        lengths, angles = (found.get(name) for name in cell)
        shapes = {x.shape for x in (lengths, angles) if x is not None}
        if lengths is None or angles is None or shapes != {(len(xyz), 3)}:
            return xyz / _PER_NM[units], np.zeros((len(xyz), 3, 3))
        return xyz / _PER_NM[units], _box_vectors(lengths, angles) / _PER_NM[units]


_SOURCES: dict[str, Callable[[Path, Any], _Frames]] = {
    "xtc": _xtc,
    "trr": lambda path, topology: TrrFrames(path, topology.n_atoms),
    "dcd": _dcd,
    "netcdf": _netcdf,
    "hdf5": _Hdf5,
    "pdb": _pdb,
    "gro": _gro,
}


def _solvent(topology: Any) -> np.ndarray:
    """Which atoms are of water, or ions by themselves: (N,) bool."""
    return np.array([_is_solvent(residue) for residue in topology.residues for _ in residue.atoms])


def _is_solvent(residue: Any) -> bool:
    if is_water(residue.name) or residue.n_atoms != 1:
        return is_water(residue.name)
    # Some programs call the residue of every ion ION.
    names = (residue.name, next(residue.atoms).name)
    return not is_polymer(residue.name) and any(map(is_ion, names))


def _left_out(topology: Any, kept: np.ndarray, elements: np.ndarray) -> np.ndarray:
    """What is not read: water and ions by their molecules, hydrogens by atoms: (L,) str."""
    read = np.zeros(topology.n_atoms, bool)
    read[kept] = True
    gone: Counter[str] = Counter()
    hydrogens = 0
    for residue in topology.residues:
        rows = [atom.index for atom in residue.atoms]
        if _is_solvent(residue) and not read[rows].any():
            gone["water molecules" if is_water(residue.name) else residue.name] += 1
        else:
            hydrogens += int((~read[rows] & (elements[rows] == "H")).sum())
    parts = [f"{count} {name}" for name, count in gone.items()]
    return np.array(parts + ([f"{hydrogens} hydrogens"] if hydrogens else []), str)


def _topology(path: Path, named: str) -> Any:
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


def _bonds(topology: Any, kept: np.ndarray) -> np.ndarray:
    """Among the atoms that are read, counted as they are: (B, 2) int."""
    pairs = np.array([(a.index, b.index) for a, b in topology.bonds], int).reshape(-1, 2)
    return np.searchsorted(kept, pairs[np.isin(pairs, kept).all(axis=1)])


def _set_elements(topology: Any, symbols: np.ndarray) -> None:
    """For selections by element, where mdtraj has guessed another one."""
    from mdtraj.core import element

    for atom, symbol in zip(topology.atoms, symbols.tolist(), strict=True):
        atom.element = element.virtual if symbol == UNKNOWN else element.get_by_symbol(symbol)


def _box_vectors(lengths: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Of edges and angles (F, 3) the vectors as rows (F, 3, 3), in the unit of the edges."""
    from mdtraj.utils import lengths_and_angles_to_box_vectors

    with np.errstate(all="ignore"):  # of no box at all
        return np.stack(lengths_and_angles_to_box_vectors(*lengths.T, *angles.T), axis=1)


def _select(topology: Any, selection: str) -> np.ndarray:
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
