"""Molecular-dynamics trajectories, through mdtraj; the only module that imports it."""

from pathlib import Path

import numpy as np

from hpc_diffuser.errors import InputError
from hpc_diffuser.io.frames import count_frames
from hpc_diffuser.io.hdf5 import hdf5_arrays
from hpc_diffuser.io.isolated import require_file, run_isolated
from hpc_diffuser.io.plausible import MOST_COORDINATE_A, check_names
from hpc_diffuser.residues import ion_element
from hpc_diffuser.structure import Structure

NON_HYDROGEN = "element != H"
# What mdtraj reads without unpickling, and without executing what a file says; HDF5 we read.
_HDF5 = (".h5", ".hdf5")
_NETCDF = (".nc", ".ncdf", ".netcdf")
_TRAJECTORIES = (".xtc", ".trr", ".dcd", *_NETCDF, *_HDF5, ".pdb", ".pdb.gz", ".gro")
_PRMTOP = (".prmtop", ".parm7", ".prm7")
_TOPOLOGIES = (".pdb", ".pdb.gz", ".gro", *_PRMTOP, ".psf")


def read_trajectory(
    trajectory: Path, topology: Path, selection: str
) -> tuple[Structure, np.ndarray, np.ndarray]:
    """All frames of a trajectory.

    Parameters
    ----------
    trajectory : Path
        XTC, TRR, DCD, NetCDF, MDTraj's HDF5, GRO, multi-model PDB, by the file's ending.
    topology : Path
        PDB, GRO, PRMTOP, PSF. Residues of PRMTOP, which has no numbers, count from 1.
    selection : str
        In mdtraj's language.

    Returns
    -------
    structure : Structure
        All atoms, at the first frame; Å.
    frames : (F, N, 3) float, Å
    rows : (K,) int
        The atoms that match the selection, ascending.

    Raises
    ------
    InputError
        Where a file cannot be read or ends within a frame, the two do not belong together, an
        element is not known, a coordinate is not finite, or the selection is none.
    """
    require_file(trajectory, "trajectory")
    require_file(topology, "topology")
    subject = f"{trajectory} could not be read with topology {topology}"
    arrays = run_isolated(_load, [trajectory, topology], subject, selection)
    frames, rows = arrays.pop("frames_nm").astype(np.float64), arrays.pop("rows")
    frames *= 10  # nm → Å
    _check(trajectory, frames)
    for name in ("elements", "atom_names", "residue_names", "chain_ids"):
        check_names(arrays[name], f"{topology}: {name}")
    n_atoms = frames.shape[1]
    occupancies, b_factors = np.ones(n_atoms), np.zeros(n_atoms)
    structure = Structure(frames[0], **arrays, occupancies=occupancies, b_factors_A2=b_factors)
    return structure, frames, rows


def _check(trajectory: Path, frames: np.ndarray) -> None:
    """Raise InputError naming the first frame with a coordinate that cannot be."""
    for number, frame in enumerate(frames, 1):
        if not np.isfinite(frame).all():
            raise InputError(f"{trajectory}: frame {number} has coordinates that are not finite")
        if np.abs(frame).max() > MOST_COORDINATE_A:
            raise InputError(
                f"{trajectory}: frame {number} has coordinates beyond {MOST_COORDINATE_A:g} Å"
            )


def _load(trajectory: str, topology: str, selection: str) -> dict[str, np.ndarray]:
    """Runs in a child process: everything that mdtraj has to do."""
    _require_ending(trajectory, _TRAJECTORIES)
    _require_ending(topology, _TOPOLOGIES)
    atoms = _topology(topology)
    rows = _select(atoms, selection)
    names = _names(atoms, topology)
    subject = f"{trajectory} could not be read with topology {topology}"
    try:
        expected = count_frames(Path(trajectory), atoms.n_atoms)
    except InputError as exc:
        raise InputError(f"{subject}: {exc}") from exc
    xyz = _coordinates_nm(trajectory, atoms, subject)
    if expected not in (None, len(xyz)) or xyz.shape[1] != atoms.n_atoms or not len(xyz):
        raise InputError(
            f"{subject}: {len(xyz)} frames of {xyz.shape[1]} atoms, the topology has "
            f"{atoms.n_atoms}: expected the topology of this trajectory"
        )
    return {"frames_nm": xyz, "rows": rows, **names}


def _topology(path: str) -> object:
    """As mdtraj reads it, but PRMTOP's residues, which mdtraj counts from 0, from 1."""
    import mdtraj

    topology = mdtraj.load_topology(path)
    if path.lower().endswith(_PRMTOP):
        for residue in topology.residues:
            residue.resSeq += 1
    return topology


def _coordinates_nm(trajectory: str, topology: object, subject: str) -> np.ndarray:
    """All frames: (F, N, 3); whatever goes wrong is one line."""
    import mdtraj

    try:
        if trajectory.lower().endswith(_HDF5):
            return _hdf5_coordinates_nm(Path(trajectory))
        return mdtraj.load(trajectory, top=topology).xyz
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


def _hdf5_coordinates_nm(path: Path) -> np.ndarray:
    """MDTraj's layout, read without PyTables, which would unpickle attributes."""
    found = hdf5_arrays(path, ["coordinates", "coordinates@units"])
    xyz, units = found.get("coordinates"), str(found.get("coordinates@units"))
    if xyz is None or xyz.dtype.kind != "f" or xyz.ndim != 3 or xyz.shape[2] != 3:
        shape = "none" if xyz is None else f"{xyz.dtype} {xyz.shape}"
        raise InputError(f"expected MDTraj's coordinates (frames, atoms, 3), found {shape}")
    if units != "nanometers":
        raise InputError(f'expected coordinates with units = "nanometers", found {units!r:.40}')
    return xyz


def _require_ending(path: str, endings: tuple[str, ...]) -> None:
    if not path.lower().endswith(endings):
        raise InputError(f"{path} could not be read: expected {', '.join(endings)}, by its ending")


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


def _names(topology: object, path: str) -> dict[str, np.ndarray]:
    """The fields of a Structure that a topology tells."""
    atoms = list(topology.atoms)
    return {
        "elements": np.array([_element(a, path) for a in atoms]),
        "atom_names": np.array([a.name for a in atoms]),
        "residue_names": np.array([a.residue.name for a in atoms]),
        "residue_numbers": np.array([a.residue.resSeq for a in atoms]),
        "chain_ids": np.array([_chain_id(a.residue.chain) for a in atoms]),
    }


def _element(atom: object, path: str) -> str:
    """Its symbol; X-rays see deuterium as hydrogen.

    Raises
    ------
    InputError
        For an atom whose element is not known, or contradicts its name.
    """
    ion = ion_element(atom.residue.name, atom.name)
    if atom.residue.n_atoms == 1 and ion is not None:
        return ion
    symbol = "VS" if atom.element is None else atom.element.symbol
    if symbol == "VS":  # mdtraj's virtual sites, and what it could not guess
        raise InputError(
            f"{path}: atom {atom} has no known element: expected a topology of atoms alone, "
            "without virtual sites, whose elements it tells: give it as PDB"
        )
    # Of a PSF the element is that of the nearest mass.
    name = atom.name.strip("+-0123456789").upper()
    if (
        path.lower().endswith(".psf")
        and name[:1] != symbol[0]
        and ion_element(name, name) != symbol
    ):
        raise InputError(
            f"{path}: atom {atom} has the mass of {symbol}: expected the masses of the elements, "
            "not shifted to hydrogens: give the topology as PDB"
        )
    return "H" if symbol == "D" else symbol


def _chain_id(chain: object) -> str:
    """A chain's letter; formats without one count A, B, C."""
    return (chain.chain_id or "").strip() or chr(ord("A") + chain.index % 26)
