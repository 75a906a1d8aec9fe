"""Small made-up molecules, the slow and obvious ways to compute what they scatter, failures."""

import os
from collections.abc import Sequence
from pathlib import Path

import gemmi
import h5py
import numpy as np

from hpc_diffuser.crystal.lattice import HklGrid, fractionalization
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.fit.search.history import History, new_history

TRICLINIC = (12.1, 14.3, 10.7, 82.0, 101.0, 113.0)
ELEMENTS = ("C", "N", "O", "S", "Zn")


def random_structure(
    rng: np.random.Generator,
    n_atoms: int,
    radius_A: float = 5.0,
    elements: tuple[str, ...] = ELEMENTS,
) -> Structure:
    """Atoms of random elements and occupancies at random places in a cube of ±radius.

    Chain A, one residue GLY for each atom, numbered from 1; B between 5 and 30 Å².
    """
    return Structure(
        positions=rng.uniform(-radius_A, radius_A, (n_atoms, 3)),
        elements=rng.choice(elements, n_atoms),
        atom_names=np.full(n_atoms, "CA"),
        residue_names=np.full(n_atoms, "GLY"),
        residue_numbers=np.arange(1, n_atoms + 1),
        chain_ids=np.full(n_atoms, "A"),
        occupancies=rng.uniform(0.2, 1.0, n_atoms),
        b_factors_A2=rng.uniform(5.0, 30.0, n_atoms),
    )


def s_vectors(grid: HklGrid, indices: np.ndarray) -> np.ndarray:
    """Cartesian scattering vectors of samples (V, 3), |s| = 1/d: (V, 3) Å⁻¹."""
    return indices / np.array(grid.divisions) @ fractionalization(grid.unit_cell)


def gemmi_inverse_d_squared(
    indices: np.ndarray,
    unit_cell: tuple[float, ...],
    divisions: tuple[int, int, int] = (1, 1, 1),
) -> np.ndarray:
    """gemmi's 1/d² at sample indices (V, 3): (V,) Å⁻².

    Samples 1/n apart are the Bragg peaks of a cell with n times the edges.
    """
    edges = np.array(unit_cell[:3]) * divisions
    cell = gemmi.UnitCell(*edges, *unit_cell[3:])
    return np.array([cell.calculate_1_d2(row) for row in np.asarray(indices).tolist()])


def laue_mates(hkl: Sequence[int], space_group: str) -> set[tuple[int, ...]]:
    """Every index that gemmi's operations, and Friedel's law, make equivalent to hkl."""
    operations = gemmi.find_spacegroup_by_name(space_group).operations()
    mates = {tuple(op.apply_to_hkl([int(i) for i in hkl])) for op in operations}
    return mates | {tuple(-i for i in mate) for mate in mates}


def gemmi_form_factors(elements: np.ndarray, s_squared: np.ndarray) -> np.ndarray:
    """f_a(s) of every atom by gemmi's own evaluation of IT92, one number at a time: (V, N)."""
    curves = {
        name: [gemmi.Element(str(name)).it92.calculate_sf(x / 4) for x in s_squared]
        for name in np.unique(elements)
    }
    return np.array([curves[name] for name in elements]).T


def direct_sum(
    structure: Structure, s: np.ndarray, configurations: np.ndarray | None = None
) -> np.ndarray:
    """F(s) = Σ_a o_a f_a exp(2πi s·r_a) in double precision, term by term.

    Parameters
    ----------
    structure : Structure
    s : (V, 3) float, Å⁻¹
    configurations : (S, N, 3) float, Å, or None
        Instead of the structure's own positions.

    Returns
    -------
    (V,) complex, or (S, V) for configurations
    """
    factors = gemmi_form_factors(structure.elements, np.sum(s**2, axis=1)) * structure.occupancies
    if configurations is None:
        return np.sum(factors * np.exp(2j * np.pi * s @ structure.positions.T), axis=1)
    return np.array(
        [np.sum(factors * np.exp(2j * np.pi * s @ x.T), axis=1) for x in configurations]
    )


def fails_with(number: int):
    """A replacement for a function of `os`: it raises, as the system does on this error."""

    def fail(*_args, **_keywords):
        raise OSError(number, os.strerror(number))

    return fail


def history_arrays(of: History) -> list[tuple]:
    """All numbers of a search's history as bytes, with shapes."""
    stages = np.array([*of.stage_starts, of.ended])
    hedge = of.hedge
    parts = (of.points, of.objectives, hedge.gains, hedge.candidates, hedge.theta, stages)
    return [(a.shape, a.dtype, a.tobytes()) for a in parts]


def atom(
    serial: int,
    name: str,
    position: tuple[float, float, float] | str,
    element: str = "C",
    residue: str = "ALA",
    number: int = 1,
    alternate: str = " ",
    occupancy: float = 1.0,
    record: str = "ATOM",
) -> str:
    """One line of a PDB file, columns as in the format's description; B = 10 Å²."""
    place = position if isinstance(position, str) else "".join(f"{x:8.3f}" for x in position)
    padded = name if len(name) == 4 or len(element) == 2 else f" {name}"
    return (
        f"{record:6s}{serial:5d} {padded:4s}{alternate}{residue:>3s} A{number:4d}    "
        f"{place}{occupancy:6.2f}{10.0:6.2f}          {element:>2s}\n"
    )


def peptide_chain(
    sequence: str,
    letter: str = "A",
    first: int = 1,
    numbers: Sequence[int] | None = None,
    codes: Sequence[str] | None = None,
    atoms: Sequence[str] = ("N", "CA", "C", "O", "CB"),
    names: Sequence[str] | None = None,
) -> Structure:
    """A chain with every atom at a place of its own, the same for the same residue's index.

    Residues by one-letter codes, or by `names`; numbered from `first`, or by `numbers`.
    """
    names = names or gemmi.expand_one_letter_sequence(sequence, gemmi.ResidueKind.AA)
    n, m = len(names), len(atoms)
    places = np.random.default_rng(12).uniform(-9, 9, (500, 24, 3))[:n, :m].reshape(-1, 3)
    return Structure(
        positions=places,
        elements=np.array([atom[0] for atom in atoms] * n),
        atom_names=np.array(list(atoms) * n),
        residue_names=np.repeat(names, m),
        residue_numbers=np.repeat(np.arange(first, first + n) if numbers is None else numbers, m),
        chain_ids=np.full(n * m, letter),
        occupancies=np.ones(n * m),
        b_factors_A2=np.full(n * m, 10.0),
        insertion_codes=np.repeat([""] * n if codes is None else codes, m),
    )


def history(n: int, cc: float) -> History:
    """After n evaluations, the best of which has this CC."""
    objectives = np.full(n, 0.9)
    objectives[-1] = 1 - cc
    return History(np.zeros((n, 3)), objectives, new_history(3).hedge)


def write_mdtraj_hdf5(
    path: Path, frames: np.ndarray, units: bytes = b"nanometers", chunk: int | None = None
) -> None:
    """As MDTraj's HDF5 files are laid out: chunked, shuffled, deflated, units as fixed text.

    Frames (F, N, 3) in Å, so many to a chunk; by default all. Cells without angles.
    """
    with h5py.File(path, "w") as file:
        for name, values, unit in (
            ("coordinates", frames / 10, units),
            ("time", np.arange(len(frames)), b"picoseconds"),
            ("cell_lengths", np.full((len(frames), 3), 3.0), b"nanometers"),
        ):
            data = file.create_dataset(
                name,
                data=values.astype(np.float32),
                maxshape=(None, *values.shape[1:]),
                chunks=(chunk or len(frames) + 100, *values.shape[1:]),
                compression=1,
                shuffle=True,
            )
            data.attrs.create("units", unit, dtype=h5py.string_dtype("utf-8", len(unit)))
