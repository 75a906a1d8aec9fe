"""Sample points by what they are for, and what each configuration of an ensemble counts."""

from dataclasses import replace

import numpy as np
import pytest
from builders import TRICLINIC, random_structure

from hpc_diffuser.motion.configurations import configurations
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.ensemble import Sampler, frame_weights
from hpc_diffuser.motion.modes import Modes, with_frames
from hpc_diffuser.motion.parameters import Parameters, Sampled
from hpc_diffuser.motion.random_numbers import generator

N_ATOMS = 9
STRUCTURE = random_structure(np.random.default_rng(2), N_ATOMS)
VECTORS = np.random.default_rng(3).normal(size=(3, N_ATOMS, 3))
MODES = Modes(STRUCTURE, VECTORS, np.ones(3), TRICLINIC, "P 1")
MOVING = Parameters(
    np.array([0.3, 0.2, 0.1]),
    Disorder((0.3, 0.4, 0.5)),
    mode_correlation=(0.5,),
    libration_sigma_deg=3.0,
    screw_correlation=0.4,
)


@pytest.mark.parametrize("librates", [False, True])
def test_plain_random_points_are_the_streams_own(librates):
    """numpy's normals from the stream of that seed and purpose; a column for each mode, angle."""
    sampler = Sampler(MODES, librates, "random", 7)
    expected = generator(7, 3, 1).standard_normal((20, 3 + 3 * librates))
    np.testing.assert_array_equal(sampler.draw(20, 3, 1), expected)


def test_points_are_keyed_by_seed_and_purpose():
    """The same for the same, and others for anything else."""
    sampler = Sampler(MODES, True, "sobol", 7)
    points = sampler.draw(16, 1, 2)
    np.testing.assert_array_equal(sampler.draw(16, 1, 2), points)
    for other in (
        sampler.draw(16, 1, 3),
        sampler.draw(16, 2, 2),
        sampler.draw(16, 1),
        replace(sampler, seed=8).draw(16, 1, 2),
        replace(sampler, kind="random").draw(16, 1, 2),
    ):
        assert np.abs(other - points).max() > 0.1


def test_frames_count_by_their_weights():
    """In the order that configurations take them, again and again: 1 on average."""
    frames = np.stack([STRUCTURE.positions] * 3)
    modes = with_frames(MODES, frames, np.array([3.0, 1.0, 2.0]))
    own, rows = Sampled(), np.arange(6)
    np.testing.assert_allclose(frame_weights(modes, own, rows), [1.5, 0.5, 1, 1.5, 0.5, 1])
    np.testing.assert_allclose(frame_weights(modes, own, np.array([4])), [0.5])
    other = Sampled(frame_weights=(0.2, 0.2, 0.0))
    np.testing.assert_allclose(frame_weights(modes, other, rows), [1.5, 1.5, 0, 1.5, 1.5, 0])


@pytest.mark.parametrize("modes", [MODES, with_frames(MODES, np.stack([STRUCTURE.positions] * 3))])
def test_what_counts_alike_has_no_weights(modes):
    """Configurations along modes; frames of one weight."""
    assert frame_weights(modes, Sampled(), np.arange(5)) is None


def test_equal_sampled_values_are_one_key():
    """Made anew from other arrays, they are equal and have one hash; nothing can change them."""
    again = replace(MOVING, mode_amplitudes_A=MOVING.mode_amplitudes_A.copy())
    assert {MOVING.sampled: "moments"}[again.sampled] == "moments"
    with pytest.raises(AttributeError):
        again.sampled.libration_sigma_deg = 0.0


@pytest.mark.parametrize(
    "others",
    [
        {"disorder": Disorder((0.3, 0.4, 0.6))},
        {"mode_amplitudes_A": np.array([0.3, 0.2, 0.2])},
        {"mode_correlation": (0.4,)},
        {"libration_sigma_deg": 2.0},
        {"screw_correlation": 0.3},
    ],
    ids=lambda others: next(iter(others)),
)
def test_other_sampled_values_are_other_configurations(others):
    """A translation that a screw takes along is one of them."""
    other = replace(MOVING, **others)
    assert other.sampled != MOVING.sampled
    normals, rows = np.random.default_rng(1).normal(size=(2, 6)), np.arange(2)
    found = [configurations(MODES, p.sampled, normals, rows) for p in (MOVING, other)]
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_a_translation_without_a_screw_is_not_sampled():
    """Nor a screw without the libration that it goes along with."""
    free = replace(MOVING, screw_correlation=0.0)
    assert free.sampled == replace(free, disorder=Disorder()).sampled
    still = replace(MOVING, libration_sigma_deg=0.0)
    assert still.sampled == replace(still, disorder=Disorder(), screw_correlation=0.0).sampled
    assert Sampled().screw().tolist() == np.zeros((3, 3)).tolist()
