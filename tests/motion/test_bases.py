"""Overlaps of bases, against principal angles; coefficients of conformations."""

from dataclasses import replace

import numpy as np
import pytest
from builders import peptide_chain
from molecules import OTHER, SEQUENCE
from scipy.linalg import subspace_angles
from scipy.spatial.transform import Rotation

from hpc_diffuser.motion.bases import carried, overlap
from hpc_diffuser.motion.modes import Modes, normalised, principal_components, projections
from hpc_diffuser.system.errors import InputError


def basis(seed: int, n_modes: int = 12, sequence: str = SEQUENCE) -> Modes:
    """Random orthonormal fields of a made-up chain."""
    structure = peptide_chain(sequence)
    n = len(structure)
    rows = np.linalg.qr(np.random.default_rng(seed).normal(size=(3 * n, n_modes)))[0].T
    return Modes(structure, normalised(rows, n), np.ones(n_modes), (), "P 1")


def test_a_basis_is_like_itself_however_it_lies():
    """Turned and shifted with its molecule: cosines are those of the same vectors."""
    one = basis(1)
    turn = Rotation.from_euler("xyz", [40, -70, 15], degrees=True)
    structure = replace(one.structure, positions=turn.apply(one.structure.positions) + 9.0)
    vectors = np.array([turn.apply(field) for field in one.vectors])
    found = overlap(one, replace(one, structure=structure, vectors=vectors))
    np.testing.assert_allclose(found.matrix, np.eye(12), atol=1e-10)
    assert found.rmsip == pytest.approx(1.0) and found.n_compared == 10
    assert found.turned_deg == pytest.approx(np.degrees(turn.magnitude()))


def test_rmsip_is_of_the_spaces():
    """The mean cos² of the principal angles (SciPy's), whatever vectors span the spaces."""
    one, two = basis(1), basis(2)
    kept = two.structure.residue_numbers <= 20
    part = replace(two, structure=two.structure.select(kept), vectors=two.vectors[:, kept])
    ours, theirs = (x.reshape(12, -1)[:10] for x in (one.vectors[:, kept], part.vectors))
    cosines = np.cos(subspace_angles(ours.T, theirs.T))
    assert overlap(one, part).rmsip == pytest.approx(np.sqrt(np.mean(cosines**2)))


def test_bases_over_the_atoms_that_both_have():
    """One lacks the last ten residues: cosines of what is left of the vectors."""
    one, two = basis(1), basis(2)
    kept = two.structure.residue_numbers <= 30
    part = replace(two, structure=two.structure.select(kept), vectors=two.vectors[:, kept])
    found = overlap(one, part)
    assert found.n_atoms == kept.sum() == 150
    for i, j in ((0, 0), (3, 7), (11, 2)):
        a, b = one.vectors[i, kept].ravel(), two.vectors[j, kept].ravel()
        cosine = a @ b / np.sqrt((a @ a) * (b @ b))
        assert found.matrix[i, j] == pytest.approx(cosine, abs=1e-10)


def test_other_molecules_have_no_overlap():
    """The message tells how many atoms are in common."""
    with pytest.raises(InputError, match=r"^0 atoms in common, of 200 and 200: expected half"):
        overlap(basis(1), basis(2, sequence=OTHER))


def test_modes_carried_to_the_structure_they_come_from():
    """Turned, shifted and its atoms in another order: the same again, of the other crystal."""
    one = basis(1)
    turn = Rotation.from_euler("xyz", [40, -70, 15], degrees=True)
    shuffled = np.random.default_rng(3).random(len(one.structure))
    order = np.lexsort((shuffled, one.structure.residue_numbers))
    moved = replace(one.structure, positions=turn.apply(one.structure.positions) + 9.0)
    other = replace(
        one,
        structure=moved.select(order),
        vectors=np.array([turn.apply(field) for field in one.vectors])[:, order],
        amplitudes_A=np.arange(12.0),
        unit_cell=(1.0,),
    )
    onto = replace(one, unit_cell=(50.0, 60.0, 70.0, 90.0, 90.0, 90.0), space_group="P 21 21 21")
    onto = replace(onto, crystal_b_A2=np.arange(float(len(order))))
    found, still = carried(other, onto)
    np.testing.assert_allclose(found.vectors, one.vectors, atol=1e-10)
    np.testing.assert_allclose(found.amplitudes_A, other.amplitudes_A, atol=1e-12)
    np.testing.assert_array_equal(found.structure.positions, one.structure.positions)
    np.testing.assert_array_equal(found.crystal_b_A2, onto.crystal_b_A2)
    assert found.unit_cell == onto.unit_cell and found.space_group == "P 21 21 21" and still == 0


@pytest.mark.parametrize("larger", [True, False])
def test_modes_carried_to_other_atoms(larger):
    """Displacements of the common atoms stay what they are, the others' are 0; normalised again."""
    one, two = basis(1), basis(2)
    kept = two.structure.residue_numbers <= 30
    part = replace(two, structure=two.structure.select(kept), vectors=two.vectors[:, kept])
    modes, onto = (part, one) if larger else (two, replace(one, structure=part.structure))
    found, still = carried(replace(modes, amplitudes_A=np.arange(1.0, 13)), onto)
    n = len(found.structure)
    assert n == len(onto.structure) and still == (n - kept.sum() if larger else 0)
    np.testing.assert_allclose(np.sum(found.vectors**2, axis=(1, 2)), n)
    expected = np.where(kept[:, None], two.vectors, 0) if larger else two.vectors[:, kept]
    expected = expected * np.arange(1.0, 13)[:, None, None]
    np.testing.assert_allclose(
        found.vectors * found.amplitudes_A[:, None, None], expected, atol=1e-9
    )


def test_other_molecules_are_not_moved():
    """The modes of one are not those of the other."""
    with pytest.raises(InputError, match="expected half of the fewer ones"):
        carried(basis(1), basis(2, sequence=OTHER))


def test_coefficients_are_in_the_modes_normalisation():
    """Over the ensemble itself their standard deviations are the amplitudes, without correlation.

    By the definition: the best coefficient of each field, for fields that are orthogonal.
    """
    structure = peptide_chain(SEQUENCE[:12])
    rng = np.random.default_rng(6)
    frames = structure.positions + rng.normal(size=(30, 1, 1)) * 0.3 * rng.normal(
        size=(30, len(structure), 3)
    )
    vectors, amplitudes = principal_components(frames, 5)
    mean = replace(structure, positions=frames.mean(axis=0))
    found = projections(frames, mean.positions, vectors)
    covariance = np.cov(found.T, bias=True)
    np.testing.assert_allclose(covariance, np.diag(amplitudes**2), atol=1e-10)
    away = (frames - mean.positions).reshape(30, -1)
    best = np.linalg.lstsq(vectors.reshape(5, -1).T, away.T, rcond=None)[0].T
    np.testing.assert_allclose(found, best, atol=1e-10)
