"""Which residues move: beside atoms one by one, and made-up displacements."""

from dataclasses import replace

import numpy as np
import pytest

from hpc_diffuser.fit.residue_motion import Part, mobile_parts, residue_motion
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import with_frames
from hpc_diffuser.motion.parameters import Parameters


def test_residues_of_a_model(modes):
    """Three residues of four atoms: sums over the atoms of each."""
    crystal = np.arange(12.0)
    crystal[5] = np.nan
    known = replace(modes, crystal_b_A2=crystal)
    parameters = Parameters(np.array([0.4, 0.1]), Disorder(translation_sigma_A=0.3))
    found = residue_motion(known, parameters)
    fields = np.array([0.4, 0.1])[:, None, None] * modes.vectors
    inside = np.sum(fields**2, axis=(0, 2))
    squares = inside + 3 * 0.3**2
    b = 8 * np.pi**2 / 3 * squares
    assert found.trace.labels == ("A/ALA 1", "A/GLY 2", "A/SER 3")
    np.testing.assert_allclose(found.rms_A, np.sqrt(squares.reshape(3, 4).mean(axis=1)))
    np.testing.assert_allclose(found.standing_rms_A, np.sqrt(squares[[1, 5, 9]]))
    np.testing.assert_allclose(found.inside_rms_A, np.sqrt(inside[[1, 5, 9]]))
    # Atom 0 has no B-factor above 0, atom 5 none at all.
    np.testing.assert_allclose(found.crystal_b_A2, [2, np.mean([4, 6, 7]), np.mean([8, 9, 10, 11])])
    expected = b[1:4].mean(), b[[4, 6, 7]].mean(), b[8:].mean()
    np.testing.assert_allclose(found.model_b_A2, expected)
    (first,) = found.modes
    assert (first.number, first.amplitude_A) == (1, 0.4) and first.share == pytest.approx(16 / 17)
    np.testing.assert_allclose(first.standing_A, fields[0, [1, 5, 9]])
    of_residue = np.sum(fields[0] ** 2, axis=1).reshape(3, 4).mean(axis=1)
    np.testing.assert_allclose(first.rms_A, np.sqrt(of_residue))


def test_of_frames_and_without_residues(modes):
    """Conformations have no modes; a model of no polymer has no residues."""
    frames = modes.structure.positions + np.array([-0.1, 0.1])[:, None, None]
    found = residue_motion(with_frames(modes, frames), Parameters(np.empty(0)))
    assert found.modes == ()
    np.testing.assert_allclose(found.inside_rms_A, np.sqrt(3) * 0.1)
    assert np.isnan(found.crystal_b_A2).all() and np.isfinite(found.model_b_A2).all()
    ligand = replace(modes.structure, atom_names=np.full(12, "C1"))
    assert residue_motion(replace(modes, structure=ligand), Parameters(np.zeros(2))) is None


def test_stretches_that_move_more_than_most():
    """Above 1.5 times the median, one below between them allowed, not over chains."""
    values = np.ones(16)
    values[[2, 3, 5]] = 2, 3, 1.6
    values[[8, 9]] = 4, 1.7
    chain = np.repeat([0, 1], [9, 7])
    parts = mobile_parts(values, chain)
    assert parts == [
        Part(first=8, last=8, peak=8),
        Part(first=2, last=5, peak=3),
        Part(first=9, last=9, peak=9),
    ]
    assert mobile_parts(np.ones(5), np.zeros(5, int)) == []
    assert mobile_parts(np.zeros(5), np.zeros(5, int)) == []
