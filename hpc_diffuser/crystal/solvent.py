"""The solvent that every atom displaces: Fraser, MacRae & Suzuki, J. Appl. Cryst. 11, 693 (1978).

An atom of volume V in water of electron density k scatters like the atom less a Gaussian of that
volume: f(s) − k V exp(−π V^⅔ s²). A disordered boundary dims it by exp(−B s²/4).
"""

from functools import cache

import numpy as np

from hpc_diffuser.crystal.chains import solvent_rows
from hpc_diffuser.crystal.residues import canonical_atom, canonical_residue, is_water
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.system.arrays import Floats, Integers
from hpc_diffuser.system.errors import InputError

# Displaced volumes in Å³: table 1 of the paper; metals from International Tables' radii as
# CRYSOL has them (Svergun, Barberato & Koch, J. Appl. Cryst. 28, 768, 1995).
VOLUMES_A3 = {
    "H": 5.15,
    "D": 5.15,
    "C": 16.44,
    "N": 2.49,
    "O": 9.13,
    "S": 19.86,
    "P": 5.73,
    "Mg": 17.16,
    "Ca": 31.89,
    "Fe": 7.99,
    "Zn": 9.85,
    "Na": 49.0,
    "Cl": 22.45,
    "Se": 28.73,
}

# Hydrogens on the side chains' atoms, at neutral pH.
_SIDE_CHAINS = {
    "ALA": "CB3",
    "ARG": "CB2 CG2 CD2 NE1 NH12 NH22",
    "ASN": "CB2 ND22",
    "ASP": "CB2",
    "CYS": "CB2",
    "GLN": "CB2 CG2 NE22",
    "GLU": "CB2 CG2",
    "HIS": "CB2 ND11 CD21 CE11",
    "ILE": "CB1 CG12 CG23 CD13 CD3",
    "LEU": "CB2 CG1 CD13 CD23",
    "LYS": "CB2 CG2 CD2 CE2 NZ3",
    "MET": "CB2 CG2 CE3",
    "PHE": "CB2 CD11 CD21 CE11 CE21 CZ1",
    "PRO": "CB2 CG2 CD2",
    "SER": "CB2 OG1",
    "THR": "CB1 OG11 CG23",
    "TRP": "CB2 CD11 NE11 CE31 CZ21 CZ31 CH21",
    "TYR": "CB2 CD11 CD21 CE11 CE21 OH1",
    "VAL": "CB1 CG13 CG23",
}
_CAPS = {"ACE": "CH33", "NME": "N1 C3 CH33", "NH2": "N2", "FOR": "C1"}
_SUGAR = "C1'1 C2'1 C3'1 C4'1 C5'2 O2'1"
_BASES = {
    "A": "C21 C81 N62",
    "C": "C51 C61 N42",
    "G": "C81 N11 N22",
    "U": "C51 C61 N31",
    "DT": "C61 C73 N31",
}


def displaced_volumes(structure: Structure) -> Floats:
    """Volume of every atom, with the hydrogens on it where the structure has none: (N,) Å³.

    Raises
    ------
    InputError
        For an element of unknown volume.
    """
    unknown = set(map(str, structure.elements)) - VOLUMES_A3.keys()
    if unknown:
        raise InputError(
            f"k_sol_eA3: the volume of {sorted(unknown)[0]} is not known: "
            "leave these atoms out, or hold k_sol_eA3 at 0"
        )
    bare = np.array([VOLUMES_A3[str(e)] for e in structure.elements])
    volumes: Floats = bare + VOLUMES_A3["H"] * _implied_hydrogens(structure)
    return volumes


def bare_residues(structure: Structure) -> list[str]:
    """Names of residues whose hydrogens are neither there nor known: no part of their volume."""
    if _has_hydrogens(structure):
        return []
    names = set(structure.residue_names[~solvent_rows(structure)].tolist())
    return sorted(name for name in names if _hydrogens(name) is None)


def _has_hydrogens(structure: Structure) -> bool:
    return bool(np.isin(structure.elements, ("H", "D")).any())


def _implied_hydrogens(structure: Structure) -> Integers:
    """Hydrogens on every atom that the structure leaves out: (N,) int."""
    s, counts = structure, np.zeros(len(structure), int)
    if _has_hydrogens(s):
        return counts
    for row, (residue, atom) in enumerate(zip(s.residue_names, s.atom_names, strict=True)):
        name = canonical_atom(str(atom), str(residue))
        counts[row] = (_hydrogens(str(residue)) or {}).get(name, 0)
    # Of a nucleotide without an atom O2', its carbon has two.
    keys = [tuple(key) for *key, _ in s.names()]
    sugar = np.isin(s.atom_names, ("C2'", "C2*"))
    with_oxygen = {keys[row] for row in np.flatnonzero(np.isin(s.atom_names, ("O2'", "O2*")))}
    for row in np.flatnonzero(sugar & (counts == 1)).tolist():
        counts[row] += keys[row] not in with_oxygen
    return counts


def solvent_factors(
    volumes_A3: Floats, s_squared: Floats, k_sol_eA3: float, b_sol_A2: float
) -> Floats:
    """What the displaced solvent scatters less: (S, N) electrons.

    Parameters
    ----------
    volumes_A3 : (N,) float
    s_squared : (S,) float, Å⁻²
    k_sol_eA3 : float
        Electrons per Å³; 0.334 for water.
    b_sol_A2 : float, Å²
    """
    widths = np.pi * np.cbrt(volumes_A3) ** 2 + b_sol_A2 / 4
    electrons: Floats = k_sol_eA3 * volumes_A3 * np.exp(-np.outer(s_squared, widths))
    return electrons


@cache
def _hydrogens(residue: str) -> dict[str, int] | None:
    """How many are on each atom of a residue, by its name in the PDB; None where not known."""
    name = canonical_residue(residue)
    if is_water(name):
        return {"O": 2, "OW": 2, "OH2": 2}
    if name in _BASES:
        return _counts(f"{_SUGAR} {_BASES[name]}")
    if name in _CAPS:
        return _counts(_CAPS[name])
    if name != "GLY" and name not in _SIDE_CHAINS:
        return None
    backbone = {"N": int(name != "PRO"), "CA": 2 if name == "GLY" else 1}
    return backbone | _counts(_SIDE_CHAINS.get(name, ""))


def _counts(text: str) -> dict[str, int]:
    return {entry[:-1]: int(entry[-1]) for entry in text.split()}
