"""The example protein has the geometry of a real one: bonds, angles, handedness, packing."""

from dataclasses import fields

import numpy as np
import pytest

from hpc_diffuser.commands.examples.protein import build_protein, place_atom
from hpc_diffuser.crystal.structure import Structure

RESIDUES, HELICES, HELIX_LENGTH, LOOP_LENGTH = 64, 4, 13, 4


@pytest.fixture(scope="module")
def protein() -> Structure:
    return build_protein()


@pytest.fixture(scope="module")
def atoms(protein) -> dict[str, np.ndarray]:
    """Positions by atom name, (64, 3) each; NaN where a residue lacks the atom."""
    found = {}
    for name in ("N", "CA", "C", "O", "CB"):
        has = protein.atom_names == name
        found[name] = np.full((RESIDUES, 3), np.nan)
        found[name][protein.residue_numbers[has] - 1] = protein.positions[has]
    return found


def named(atoms, *names):
    """One array per name; `+N` is the N of the next residue, so the last residue drops out."""
    last = -1 if any(name[0] == "+" for name in names) else None
    return [atoms[n[1:]][1:] if n[0] == "+" else atoms[n][:last] for n in names]


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def distance(a, b):
    return np.linalg.norm(b - a, axis=-1)


def angle(a, b, c):
    return np.degrees(np.arccos(np.sum(unit(a - b) * unit(c - b), axis=-1)))


def dihedral(a, b, c, d):
    """IUPAC: zero when cis, positive when the far bond is turned clockwise from the near one."""
    first, second = np.cross(b - a, c - b), np.cross(c - b, d - c)
    sine = np.sum(np.cross(first, second) * unit(c - b), axis=-1)
    return np.degrees(np.arctan2(sine, np.sum(first * second, axis=-1)))


def known(values):
    """Without the NaN of the glycines, which have no CB."""
    return values[~np.isnan(values)]


def helices(values):
    """The rows of the four helices, (4, 13, ...)."""
    starts = np.arange(HELICES)[:, None] * (HELIX_LENGTH + LOOP_LENGTH)
    return values[starts + np.arange(HELIX_LENGTH)]


def test_composition(protein):
    """4 × 13 + 3 × 4 = 64 residues; two glycines a loop, so 64 × 5 − 6 = 314 atoms."""
    assert set(protein.residue_numbers) == set(range(1, RESIDUES + 1))
    assert len(protein) == 314
    assert np.sum((protein.residue_names == "GLY") & (protein.atom_names == "CA")) == 6
    assert set(protein.residue_names) == {"ALA", "GLY"}
    assert not np.any((protein.residue_names == "GLY") & (protein.atom_names == "CB"))


def test_elements_follow_from_atom_names(protein):
    """64 N, 64 O, and the carbons: 64 CA + 64 C + 58 CB = 186."""
    counts = {e: int(np.sum(protein.elements == e)) for e in ("N", "O", "C")}
    assert counts == {"N": 64, "O": 64, "C": 186}
    assert np.all(np.strings.startswith(protein.atom_names, protein.elements))


def test_order_is_that_of_a_pdb_file(protein):
    assert list(protein.atom_names[:5]) == ["N", "CA", "C", "O", "CB"]
    assert np.all(np.diff(protein.residue_numbers) >= 0)
    assert len(set(protein.names())) == len(protein)


def test_every_column_has_one_value_per_atom(protein):
    assert all(len(getattr(protein, f.name)) == len(protein) for f in fields(protein))
    assert protein.positions.shape == (314, 3)
    assert protein.positions.dtype == np.float64
    assert np.all(protein.occupancies == 1)
    assert np.all(protein.b_factors_A2 == 10)
    assert set(protein.chain_ids) == {"A"}


def test_centred_on_the_origin(protein):
    np.testing.assert_allclose(protein.positions.mean(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("N", "CA", 1.458),
        ("CA", "C", 1.525),
        ("C", "+N", 1.329),
        ("C", "O", 1.231),
        ("CA", "CB", 1.521),
    ],
)
def test_bond_lengths(atoms, first, second, expected):
    """Table of Engh & Huber (1991) for alanine, in Å."""
    lengths = known(distance(*named(atoms, first, second)))
    np.testing.assert_allclose(lengths, expected, atol=1e-9)


@pytest.mark.parametrize(
    ("first", "middle", "last", "expected"),
    [
        ("N", "CA", "C", 111.2),
        ("CA", "C", "+N", 116.2),
        ("C", "+N", "+CA", 121.7),
        ("CA", "C", "O", 120.8),
        ("O", "C", "+N", 123.0),
        ("N", "CA", "CB", 110.4),
        ("C", "CA", "CB", 110.5),
    ],
)
def test_bond_angles(atoms, first, middle, last, expected):
    """Table of Engh & Huber (1991) for alanine, in degrees.

    O–C–N and C–CA–CB are not put in but follow: about a planar carbonyl carbon the three
    angles add up to 360°, 360 − 116.2 − 120.8 = 123.0, and CB closes a spherical triangle.
    """
    angles = known(angle(*named(atoms, first, middle, last)))
    np.testing.assert_allclose(angles, expected, atol=1e-7)


def test_bonds_form_a_tree_and_nothing_else_is_that_close(protein):
    """Without rings, N atoms have N − 1 bonds.

    The longest bond is 1.525 Å, and two atoms bonded to a third are at least 2.2 Å apart.
    """
    pairs = distance(protein.positions[:, None], protein.positions[None])
    close = pairs[np.triu_indices(len(protein), 1)] < 2.0
    assert close.sum() == len(protein) - 1


def test_alpha_carbons_are_l(atoms):
    """Chiral volume (N−CA) × (C−CA) · (CB−CA) is positive for an L-amino acid.

    Seen from the hydrogen, CO, R, N run clockwise ("CORN"). Put CA at the origin, H on +z, and
    look down: CO at 90°, R at −30°, N at 210°, each at unit distance from the axis and at
    z = −h. The determinant of (N, CO, R) is then +(3√3/2) h. Its size in Å³ is the volume of
    the parallelepiped with the ideal edges and angles,
    l₁l₂l₃ √(1 + 2 cos α cos β cos γ − cos²α − cos²β − cos²γ).
    """
    n, ca, c, cb = named(atoms, "N", "CA", "C", "CB")
    volumes = known(np.sum(np.cross(n - ca, c - ca) * (cb - ca), axis=-1))
    cosines = np.cos(np.radians([111.2, 110.4, 110.5]))
    expected = 1.458 * 1.525 * 1.521 * np.sqrt(1 + 2 * cosines.prod() - np.sum(cosines**2))
    assert len(volumes) == 58
    np.testing.assert_allclose(volumes, expected, rtol=1e-9)


def test_peptides_are_trans_and_planar(atoms):
    """ω = CA–C–N–CA is 180°; O is cis to the next CA about C–N, in the same plane."""
    omega = dihedral(*named(atoms, "CA", "C", "+N", "+CA"))
    np.testing.assert_allclose(np.abs(omega), 180, atol=1e-6)
    oxygen = dihedral(*named(atoms, "O", "C", "+N", "+CA"))
    np.testing.assert_allclose(oxygen, 0, atol=1e-6)


def test_consecutive_alpha_carbons_of_trans_peptides(atoms):
    """3.80 Å, in the plane of the peptide.

    With C at the origin and C–N along x: CA = 1.525 (cos 116.2°, sin 116.2°), and the next CA,
    on the other side, = (1.329 − 1.458 cos 121.7°, −1.458 sin 121.7°). Their difference is
    (2.7684, −2.6088), of length 3.804.
    """
    np.testing.assert_allclose(distance(*named(atoms, "CA", "+CA")), 3.804, atol=1e-3)


def test_helix_dihedrals(atoms):
    """φ = −62° and ψ = −42° within every helix, measured apart from how it was built."""
    phi = dihedral(*named(atoms, "C", "+N", "+CA", "+C"))
    psi = dihedral(*named(atoms, "N", "CA", "C", "+N"))
    phi, psi = np.append(np.nan, phi), np.append(psi, np.nan)
    np.testing.assert_allclose(helices(phi)[:, 1:], -62, atol=1e-6)
    np.testing.assert_allclose(helices(psi)[:, :-1], -42, atol=1e-6)


def test_helices_are_right_handed_alpha(atoms):
    """α: O(i)···N(i+4) are in hydrogen-bonding distance; four CA in a row turn by +50°."""
    oxygen, nitrogen, ca = (helices(atoms[name]) for name in ("O", "N", "CA"))
    bond = distance(oxygen[:, :-4], nitrogen[:, 4:])
    assert np.all((bond > 2.8) & (bond < 3.3))
    turn = dihedral(ca[:, :-3], ca[:, 1:-2], ca[:, 2:-1], ca[:, 3:])
    np.testing.assert_allclose(turn, 50, atol=4)


def test_neighbouring_helices_are_antiparallel(atoms):
    ca = helices(atoms["CA"])
    axes = unit(ca[:, -4:].mean(axis=1) - ca[:, :4].mean(axis=1))
    assert np.all(np.sum(axes[1:] * axes[:-1], axis=-1) < -0.9)


@pytest.mark.parametrize(("residues_apart", "closest"), [(2, 2.9), (3, 3.0)])
def test_no_clashes(protein, residues_apart, closest):
    """In Å; the shortest contacts of real proteins are hydrogen bonds, of 2.7 Å and more."""
    pairs = distance(protein.positions[:, None], protein.positions[None])
    apart = np.abs(np.subtract.outer(protein.residue_numbers, protein.residue_numbers))
    assert pairs[apart >= residues_apart].min() > closest


def test_carbons_far_along_the_chain_do_not_touch(protein):
    """Carbons in contact are at least 3.4 Å apart (twice the van der Waals radius of 1.7 Å)."""
    carbon = protein.elements == "C"
    number, positions = protein.residue_numbers[carbon], protein.positions[carbon]
    apart = np.abs(np.subtract.outer(number, number))
    assert distance(positions[:, None], positions[None])[apart >= 3].min() > 3.4


def test_compact(protein):
    """Radius of gyration of folded proteins is about 2.2 N^0.38 Å: 10.7 Å for 64 residues.

    (Skolnick et al., J. Mol. Biol. 265, 217 (1997).) A straight helix of as many residues, at
    1.5 Å each, would have 64 × 1.5 / √12 = 28 Å.
    """
    radius = np.sqrt(np.mean(np.sum(protein.positions**2, axis=1)))
    assert radius == pytest.approx(2.2 * RESIDUES**0.38, rel=0.1)


def test_deterministic(protein):
    again = build_protein()
    for field in fields(protein):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(protein, field.name))


def test_place_atom_by_hand():
    """A above B, C to the right, a right angle at C, +90°: D comes towards +z.

    Looking from B to C, along +x, with A up along +y, right is x × y = +z; clockwise from up is
    right. Cis (0°) is up, as A is.
    """
    a, b, c = np.array([0, 1.0, 0]), np.zeros(3), np.array([1.0, 0, 0])
    np.testing.assert_allclose(place_atom(a, b, c, 2.0, 90.0, 90.0), [1, 0, 2], atol=1e-12)
    np.testing.assert_allclose(place_atom(a, b, c, 2.0, 90.0, 0.0), [1, 2, 0], atol=1e-12)


def test_place_atom_gives_back_its_internal_coordinates():
    """For skew random atoms, bond, angle and dihedral measured afterwards are those asked for."""
    rng = np.random.default_rng(1)
    a, b, c = rng.normal(size=(3, 50, 3))
    asked = rng.uniform(-179, 179, size=50)
    d = place_atom(a, b, c, 1.5, 110.0, asked)
    np.testing.assert_allclose(distance(c, d), 1.5, rtol=1e-9)
    np.testing.assert_allclose(angle(b, c, d), 110.0, rtol=1e-9)
    np.testing.assert_allclose(dihedral(a, b, c, d), asked, atol=1e-6)
