"""Names and elements of a topology's atoms: mdtraj's, and what it leaves out or guesses.

Of a PDB file these are insertion codes, segments, and elements where their columns are empty; in
a GRO file no atom has an element.
"""

from pathlib import Path

import gemmi
import numpy as np

from hpc_diffuser.crystal.chains import letters_of_segments
from hpc_diffuser.crystal.residues import element_of, ion_element, is_water
from hpc_diffuser.system.errors import InputError

UNKNOWN = "X"  # of virtual sites in water, which scatter nothing


def topology_names(topology: object, path: Path, kind: str, named: str) -> dict[str, np.ndarray]:
    """The fields of a Structure that a topology tells.

    Parameters
    ----------
    topology : mdtraj.Topology
    path : Path
        The file that it is from.
    kind : str
        "pdb", "gro", "prmtop", "psf".
    named : str
        The name that the user knows it by.

    Returns
    -------
    dict
        elements, atom_names, residue_names, residue_numbers, chain_ids, insertion_codes.

    Raises
    ------
    InputError
        For an atom whose element is not known, or contradicts its name; for insertion codes that
        cannot be told to mdtraj's atoms.
    """
    atoms = list(topology.atoms)
    found = {
        "atom_names": np.array([a.name for a in atoms]),
        "residue_names": np.array([a.residue.name for a in atoms]),
        "residue_numbers": np.array([a.residue.resSeq for a in atoms]),
        "chain_ids": np.array([_chain_id(a.residue.chain) for a in atoms]),
        "insertion_codes": np.full(len(atoms), ""),
    }
    lines = _pdb_lines(path) if kind == "pdb" else []
    agree = len(lines) == len(atoms)
    if agree:
        found |= _columns(lines, found["chain_ids"])
    elif any(line[26] != " " for line in lines):
        raise InputError(
            f"{named}: {len(lines)} atoms by their columns, {len(atoms)} by their names: expected "
            "every atom once, without alternates: write it again, with its insertion codes"
        )
    tells = _tells_elements(path, kind)
    told = [tells and (not agree or _symbol(line) is not None) for line in lines or atoms]
    columns = lines if agree else [""] * len(atoms)
    elements = [
        _element(atom, kind, named) if known else _by_name(atom, line, named)
        for atom, line, known in zip(atoms, columns, told[: len(atoms)], strict=True)
    ]
    return found | {"elements": np.array(elements)}


def _columns(lines: list[str], chain_ids: np.ndarray) -> dict[str, np.ndarray]:
    """Insertion codes, and chains by segments where no chain has a letter."""
    letters = np.array([line[21].strip() for line in lines])
    segments = np.array([line[72:76].strip() for line in lines])
    by_segment = letters_of_segments(letters, segments)
    return {
        "insertion_codes": np.array([line[26].strip() for line in lines]),
        "chain_ids": chain_ids if (by_segment == "").any() else by_segment,
    }


def _symbol(line: str) -> str | None:
    """The element of a PDB line's columns 77-78; None where that is none."""
    name = gemmi.Element(line[76:78].strip()).name
    return name if name != "X" else None


def _tells_elements(path: Path, kind: str) -> bool:
    """Whether a topology may have elements: GRO has none, nor has PRMTOP from before 2011."""
    if kind == "prmtop":
        return b"%FLAG ATOMIC_NUMBER" in path.read_bytes()
    return kind != "gro"


def _pdb_lines(path: Path) -> list[str]:
    """Of the first model the lines of atoms, each once, as mdtraj counts them: 80 columns."""
    lines, seen, residue = [], set(), ""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("END") and lines:
            break
        if not line.startswith(("ATOM", "HETATM")):
            continue
        line = f"{line:80s}"
        if line[17:27] != residue:
            residue, seen = line[17:27], set()
        if line[16] == " " or line[12:16] not in seen:
            lines.append(line)
        seen.add(line[12:16])
    return lines


def _element(atom: object, kind: str, named: str) -> str:
    """The symbol that a topology gives; X-rays see deuterium as hydrogen."""
    ion = ion_element(atom.residue.name, atom.name)
    if atom.residue.n_atoms == 1 and ion is not None:
        return ion
    symbol = "VS" if atom.element is None else atom.element.symbol
    if symbol == "VS" and is_water(atom.residue.name):
        return UNKNOWN
    if symbol == "VS":  # mdtraj's virtual sites, and what it could not guess
        raise InputError(
            f"{named}: atom {atom} has no known element: expected a topology of atoms alone, "
            "without virtual sites, whose elements it tells: give it as PDB"
        )
    # Of a PSF the element is that of the nearest mass.
    name = atom.name.strip("+-0123456789").upper()
    if kind == "psf" and name[:1] != symbol[0] and ion_element(name, name) != symbol:
        raise InputError(
            f"{named}: atom {atom} has the mass of {symbol}: expected the masses of the elements, "
            "not shifted to hydrogens: give the topology as PDB"
        )
    return "H" if symbol == "D" else symbol


def _by_name(atom: object, line: str, named: str) -> str:
    """By the table of names; of a PDB, where that leaves a doubt, by the columns of the name."""
    others = [other.name for other in atom.residue.atoms if other is not atom]
    element = element_of(atom.name, atom.residue.name, others)
    if element is None and line[12:14].strip().isalpha():
        symbol = gemmi.Element(line[12:14].strip()).name
        element = symbol if symbol != "X" else None
    if element is None and is_water(atom.residue.name):
        return UNKNOWN
    if element is None:
        raise InputError(
            f"{named}: atom {atom} has no known element: its name may be of several, or of none: "
            "give a topology that tells elements: PDB with columns 77-78, PSF or PRMTOP"
        )
    return element


def _chain_id(chain: object) -> str:
    """A chain's letter; formats without one count A, B, C."""
    return (chain.chain_id or "").strip() or chr(ord("A") + chain.index % 26)
