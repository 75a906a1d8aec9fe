"""A small synthetic protein, the built-in example: four antiparallel α-helices in a bundle.

The chain is alanine, with glycine at both ends of each loop, and is built outwards from its
first residue: bond lengths and angles are ideal (glycine has alanine's), φ and ψ are given.
"""

import numpy as np

from hpc_diffuser.crystal.structure import Structure

# Ideal bond lengths in Å and angles in degrees, of alanine: Engh & Huber (1991).
N_CA, CA_C, C_N, C_O, CA_CB = 1.458, 1.525, 1.329, 1.231, 1.521
N_CA_C, CA_C_N, C_N_CA, CA_C_O = 111.2, 116.2, 121.7, 120.8
N_CA_CB, C_CA_CB = 110.4, 110.5
OMEGA = 180.0  # trans peptide

HELIX = [("ALA", -62.0, -42.0)] * 13  # residue, φ, ψ in degrees

# φ, ψ of the loops: found by simulated annealing within the allowed Ramachandran regions, for a
# small radius of gyration and antiparallel neighbouring helices without clashes, then rounded.
LOOPS = [
    [("GLY", 77.0, 16.0), ("ALA", -122.0, -179.0), ("ALA", -67.0, 101.0), ("GLY", -141.0, 8.0)],
    [("GLY", 100.0, 29.0), ("ALA", -68.0, 171.0), ("ALA", -102.0, 172.0), ("GLY", 102.0, 48.0)],
    [("GLY", 79.0, 24.0), ("ALA", -84.0, -55.0), ("ALA", -115.0, 125.0), ("GLY", -95.0, -60.0)],
]

RESIDUES = HELIX + [residue for loop in LOOPS for residue in loop + HELIX]
ATOM_NAMES = np.array(["N", "CA", "C", "O", "CB"])
B_FACTOR_A2 = 10.0


def build_protein() -> Structure:
    """The example protein: one chain of 64 residues, 314 atoms, centred on the origin.

    Every atom other than hydrogen is there, but for the second oxygen of the C-terminus.

    Returns
    -------
    Structure
        Positions in Å; chain A, residues numbered from 1, full occupancy, B = 10 Å².

    Notes
    -----
    Bond lengths and angles: Engh & Huber, Acta Cryst. A47, 392 (1991).
    """
    names = np.array([name for name, _, _ in RESIDUES])
    phi, psi = np.array([angles for _, *angles in RESIDUES]).T
    positions = residue_positions(phi, psi)
    present = (names != "GLY")[:, None] | (ATOM_NAMES != "CB")
    residue, atom = np.nonzero(present)
    return Structure(
        positions=positions[present] - positions[present].mean(axis=0),
        elements=np.array([name[0] for name in ATOM_NAMES])[atom],
        atom_names=ATOM_NAMES[atom],
        residue_names=names[residue],
        residue_numbers=residue + 1,
        chain_ids=np.full(len(atom), "A"),
        occupancies=np.ones(len(atom)),
        b_factors_A2=np.full(len(atom), B_FACTOR_A2),
    )


def residue_positions(phi: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """Atoms of an all-alanine chain of ideal geometry.

    Parameters
    ----------
    phi, psi : (R,) float, degrees
        Of every residue. The first φ turns nothing; the last ψ turns the last oxygen only.

    Returns
    -------
    (R, 5, 3) float, Å
        N, CA, C, O, CB of every residue.
    """
    n, ca, c = trace_backbone(phi, psi).transpose(1, 0, 2)
    # The carbonyl is planar: O lies opposite the next N, about CA–C.
    o = place_atom(n, ca, c, C_O, CA_C_O, psi + 180.0)
    cb = place_atom(c, n, ca, CA_CB, N_CA_CB, -dihedral_from_angles(N_CA_C, N_CA_CB, C_CA_CB))
    return np.stack([n, ca, c, o, cb], axis=1)


def trace_backbone(phi: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """N, CA, C of every residue, (R, 3, 3) in Å, from φ and ψ, (R,) in degrees."""
    angle = np.radians(N_CA_C)
    n, ca = np.zeros(3), np.array([N_CA, 0.0, 0.0])
    c = ca + CA_C * np.array([-np.cos(angle), np.sin(angle), 0.0])
    trace = [(n, ca, c)]
    for psi_before, phi_here in zip(psi[:-1], phi[1:], strict=True):
        next_n = place_atom(n, ca, c, C_N, CA_C_N, psi_before)
        next_ca = place_atom(ca, c, next_n, N_CA, C_N_CA, OMEGA)
        next_c = place_atom(c, next_n, next_ca, CA_C, N_CA_C, phi_here)
        n, ca, c = next_n, next_ca, next_c
        trace.append((n, ca, c))
    return np.array(trace)


def place_atom(
    a: np.ndarray,
    b: np.ndarray,
    c: np.ndarray,
    bond: float,
    angle: float,
    dihedral: float | np.ndarray,
) -> np.ndarray:
    """The atom D at a given distance C–D, angle B–C–D and dihedral A–B–C–D (IUPAC sign).

    Parameters
    ----------
    a, b, c : (..., 3) float, Å
    bond : float, Å
    angle : float, degrees
    dihedral : float or (...) float, degrees

    Returns
    -------
    (..., 3) float, Å
    """
    along = unit(c - b)
    normal = unit(np.cross(b - a, along))
    towards_a = np.cross(normal, along)  # where D points when cis to A
    theta, chi = np.radians(angle), np.radians(dihedral)[..., None]
    across = np.cos(chi) * towards_a + np.sin(chi) * normal
    return c + bond * (np.sin(theta) * across - np.cos(theta) * along)


def dihedral_from_angles(abc: float, abd: float, cbd: float) -> float:
    """The size of the dihedral C–A–B–D, in degrees, from the angles at B between A, C and D.

    Spherical law of cosines: cos ∠CBD = cos ∠ABC cos ∠ABD + sin ∠ABC sin ∠ABD cos χ.
    """
    abc, abd, cbd = np.radians([abc, abd, cbd])
    cosine = (np.cos(cbd) - np.cos(abc) * np.cos(abd)) / (np.sin(abc) * np.sin(abd))
    return float(np.degrees(np.arccos(cosine)))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors, (..., 3), divided by their lengths."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
