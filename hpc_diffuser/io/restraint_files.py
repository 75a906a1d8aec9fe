"""Position restraints as tables: of atoms, which OpenMM's users read too, and of residues."""

import csv
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np

from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.io.text import plain_text
from hpc_diffuser.motion.restraints import KCAL_A2, force_constants, rms_fluctuations
from hpc_diffuser.system.arrays import Floats, Integers
from hpc_diffuser.system.errors import InputError

_NAMES = ("index", "chain", "residue", "residue_name", "name")
_CONSTANT, _MOVES = "k_kJ_mol_nm2", "trajectory_B_A2"


@dataclass(frozen=True)
class Restraints:
    """What atoms are restrained by, and why.

    Attributes
    ----------
    structure : Structure
        The atoms at the crystal's positions, with its B-factors.
    places : (N,) int
        Where they stand among the topology's atoms, from 0.
    trajectory_b_A2 : (N,) float, Å²
        8π²⟨x²⟩ over the trajectory.
    constants : (N,) float, kJ/mol/nm²
        Of the energy ½ k |r − r₀|²; 0 for an atom that is free.
    temperature_K, scale : float
        As of `motion.restraints`.
    used : str
        Which frames of which trajectory.
    before_b_A2 : (N,) float, Å², or None
        The trajectory's of the table that these go on from.
    """

    structure: Structure
    places: Integers
    trajectory_b_A2: Floats
    constants: Floats
    temperature_K: float
    scale: float
    used: str
    before_b_A2: Floats | None = None


def table_of(restraints: Restraints, provenance: dict[str, str]) -> bytes:
    """One line for each atom, as comma-separated values; comments begin with #."""
    heading = [
        "position restraints 1/2 k |r - r0|^2; hydrogens, and atoms that are not listed, are free",
        "index counts the topology's atoms from 0; r0 is the crystal's position in the crystal's",
        "frame: superpose the simulation's start on it, or r0 on the start",
        *told(restraints, provenance),
    ]
    s, moving = restraints.structure, restraints.trajectory_b_A2
    columns = {
        **dict(zip(_NAMES, _named(restraints), strict=True)),
        _CONSTANT: restraints.constants,
        **{f"{axis}_nm": s.positions[:, i] / 10 for i, axis in enumerate("xyz")},
        "k_kcal_mol_A2": restraints.constants * KCAL_A2,
        "crystal_B_A2": s.b_factors_A2,
        _MOVES: moving,
        "crystal_F_kJ_mol_nm2": force_constants(s.b_factors_A2, restraints.temperature_K),
        "trajectory_F_kJ_mol_nm2": force_constants(moving, restraints.temperature_K),
    }
    return _csv(heading, columns)


def residue_table(restraints: Restraints, provenance: dict[str, str]) -> bytes:
    """RMSF and B of each residue, the means of its listed atoms, before and now; as `table_of`."""
    labels, means = by_residue(restraints)
    heading = ["means over the atoms of each residue that the crystal has, without hydrogens"]
    columns = {"residue": labels, **means}
    return _csv(heading + told(restraints, provenance), columns)


def by_residue(restraints: Restraints) -> tuple[list[str], dict[str, Floats]]:
    """Labels of the residues, and what is told of each, (R,) float by the table's columns.

    RMSF is that of the mean B. `before` columns are there where a table was gone on from.
    """
    s = restraints.structure
    keys = list(zip(*(map(str, column) for column in _named(restraints)[1:4]), strict=True))
    order = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    of_atom = np.array([order[key] for key in keys])

    def mean(values: Floats) -> Floats:
        sums: Floats = np.bincount(of_atom, values) / np.bincount(of_atom)
        return sums

    squares = {"crystal": s.b_factors_A2, "trajectory": restraints.trajectory_b_A2}
    if restraints.before_b_A2 is not None:
        squares["before"] = restraints.before_b_A2
    found = {f"{name}_B_A2": mean(b) for name, b in squares.items()}
    found |= {f"{name}_RMSF_A": rms_fluctuations(mean(b)) for name, b in squares.items()}
    labels = [f"{chain}/{name} {number}" for chain, number, name in order]
    return labels, found | {_CONSTANT: mean(restraints.constants)}


def read_table(path: Path) -> tuple[list[tuple[str, ...]], Floats, Floats]:
    """What a table says: (index, chain, residue, name, atom) of each atom, constants, B.

    Returns
    -------
    names : list of tuple of str
    constants : (N,) float, kJ/mol/nm²
    trajectory_b_A2 : (N,) float, Å²

    Raises
    ------
    InputError
        Where it is no such table.
    """
    expected = "table of restraints (CSV), as hpc-diffuser restraints writes it"
    try:
        text = plain_text(path, path.read_bytes(), expected)
    except OSError as exc:
        raise InputError(f"{path}: {exc.strerror}: expected a {expected}") from exc
    lines = [line for line in text.split("\n") if line.strip() and not line.startswith("#")]
    try:
        rows = list(csv.DictReader(lines, strict=True))
        names = [tuple(row[name] for name in _NAMES) for row in rows]
        values = np.array([[float(row[name]) for name in (_CONSTANT, _MOVES)] for row in rows])
    except (KeyError, TypeError, ValueError, csv.Error) as exc:
        raise InputError(f"{path}: not a {expected} ({exc!r})") from exc
    if not len(values) or not np.isfinite(values).all() or values.min() < 0:
        raise InputError(f"{path}: no atoms, or constants that are none: expected a {expected}")
    return names, values[:, 0], values[:, 1]


def earlier_values(path: Path, structure: Structure, places: Integers) -> tuple[Floats, Floats]:
    """Constants and B-factors of a table of these same atoms: (N,) kJ/mol/nm², (N,) Å².

    Raises
    ------
    InputError
        Naming the first atom in which the two differ.
    """
    names, constants, b_factors = read_table(path)
    ours = list(zip(*(map(str, c) for c in _columns(structure, places)), strict=True))
    differing = next((i for i, (a, b) in enumerate(zip(names, ours, strict=False)) if a != b), None)
    if differing is not None or len(names) != len(ours):
        where = (
            f"{len(names)} atoms, and now there are {len(ours)}"
            if differing is None
            else f"atom {' '.join(names[differing])} where now there is {' '.join(ours[differing])}"
        )
        raise InputError(
            f"{path}: {where}: expected the same atoms: give the same topology, reference, "
            "--conformer and --select as for the table"
        )
    return constants, b_factors


def _named(restraints: Restraints) -> tuple[Integers, ...]:
    return _columns(restraints.structure, restraints.places)


def _columns(structure: Structure, places: Integers) -> tuple:
    """Values of the columns that name an atom."""
    s = structure
    pairs = zip(s.residue_numbers, s.insertion_codes, strict=True)
    numbers = [f"{number}{code}" for number, code in pairs]
    return places, s.chain_ids, numbers, s.residue_names, s.atom_names


def told(restraints: Restraints, provenance: dict[str, str]) -> list[str]:
    """What every file says of how it was made: lines without a mark of comments."""
    how = {
        "frames": restraints.used,
        "temperature (K)": f"{restraints.temperature_K:g}",
        "scale": f"{restraints.scale:g}",
    }
    return [f"{key}: {' '.join(value.split())}" for key, value in (provenance | how).items()]


def _csv(heading: list[str], columns: dict) -> bytes:
    text = StringIO()
    text.writelines(f"# {line}\n" for line in heading)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    values = [
        [f"{x:.9g}" if isinstance(x, float) else x for x in column] for column in columns.values()
    ]
    writer.writerows(zip(*values, strict=True))
    return text.getvalue().encode()
