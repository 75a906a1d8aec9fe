"""The solvent that every atom displaces: Fraser, MacRae & Suzuki, J. Appl. Cryst. 11, 693 (1978).

An atom of volume V in water of electron density k scatters like the atom less a Gaussian of that
volume: f(s) − k V exp(−π V^⅔ s²). A disordered boundary dims it by exp(−B s²/4).
"""

import numpy as np

from hpc_diffuser.errors import InputError
from hpc_diffuser.structure import Structure

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
    "MSE": "CB2 CG2 CE3",
    "PHE": "CB2 CD11 CD21 CE11 CE21 CZ1",
    "PRO": "CB2 CG2 CD2",
    "SER": "CB2 OG1",
    "THR": "CB1 OG11 CG23",
    "TRP": "CB2 CD11 NE11 CE31 CZ21 CZ31 CH21",
    "TYR": "CB2 CD11 CD21 CE11 CE21 OH1",
    "VAL": "CB1 CG13 CG23",
}


def displaced_volumes(structure: Structure) -> np.ndarray:
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
    volumes = np.array([VOLUMES_A3[str(e)] for e in structure.elements])
    if np.isin(structure.elements, ("H", "D")).any():
        return volumes
    hydrogens = [
        _hydrogens(str(residue), str(atom))
        for residue, atom in zip(structure.residue_names, structure.atom_names, strict=True)
    ]
    return volumes + VOLUMES_A3["H"] * np.array(hydrogens)


def solvent_factors(
    volumes_A3: np.ndarray, s_squared: np.ndarray, k_sol_eA3: float, b_sol_A2: float
) -> np.ndarray:
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
    return k_sol_eA3 * volumes_A3 * np.exp(-np.outer(s_squared, widths))


def _hydrogens(residue: str, atom: str) -> int:
    """On one atom of a polypeptide; a water has two, other molecules are taken for bare."""
    if residue in ("HOH", "WAT", "DOD", "SOL"):
        return 2
    if residue != "GLY" and residue not in _SIDE_CHAINS:
        return 0
    if atom == "N":
        return int(residue != "PRO")
    if atom == "CA":
        return 2 if residue == "GLY" else 1
    side_chain = {entry[:-1]: int(entry[-1]) for entry in _SIDE_CHAINS.get(residue, "").split()}
    return side_chain.get(atom, 0)
