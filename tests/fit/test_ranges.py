"""Ranges of weights: by the B-factors that they stand for."""

import numpy as np
import pytest

from hpc_diffuser.fit.b_factors import model_b_factors
from hpc_diffuser.fit.ranges import (
    mean_b_factor,
    mode_range,
    modes_of_b_A,
    rounded_up,
    translation_of_b_A,
    translation_range,
)
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters

B = 17.0


@pytest.fixture
def eight(modes) -> Modes:
    """Twelve atoms and eight modes, Σ|Δ|² = 12."""
    vectors = np.random.default_rng(1).normal(size=(8, 12, 3))
    vectors *= np.sqrt(12 / np.sum(vectors**2, axis=(1, 2), keepdims=True))
    return Modes(modes.structure, vectors, np.ones(8), modes.unit_cell, "P 1")


def mean_b(modes: Modes, amplitudes, translation: float = 0.0) -> float:
    """What a model's B-factors are in the mean."""
    parameters = Parameters(np.array(amplitudes), Disorder(translation))
    return float(model_b_factors(modes, parameters).mean())


def test_in_the_middle_all_modes_are_the_crystals(eight):
    """By the model's B-factors, summed over all modes."""
    middle = modes_of_b_A(B, 8) / 2
    assert mean_b(eight, [middle] * 8) == pytest.approx(B)


@pytest.mark.parametrize("n_modes", [1, 2, 3])
def test_one_mode_is_no_more_than_the_crystals(eight, n_modes):
    """Where few modes are refined, none goes farther than all that there is."""
    assert mean_b(eight, [modes_of_b_A(B, n_modes), *[0.0] * 7]) == pytest.approx(B)


def test_translation(eight):
    """Alone it is the crystal's mean B; the range is the usual one, or goes as far as that."""
    assert mean_b(eight, [0.0] * 8, translation_of_b_A(B)) == pytest.approx(B)
    assert translation_range(B).range == translation_range(None).range == (0.0, 1.0)
    assert translation_range(158.0).range == (0.0, 1.5)  # 158 = 8π²·1.4146²
    assert "0.46 alone" in translation_range(B).why and "assumed" in translation_range(None).why


def test_the_nearer_of_both_ends():
    """Twice the source's largest amplitude, or what B-factors leave; by hand.

    √(3·17/8π²) = 0.8037; of ten modes 2/√10 of it, 0.5083.
    """
    few, many = np.array([0.11, 0.08]), np.array([2.0, 0.1])
    assert mode_range(few, 10, B).range == (0.0, 0.22)
    assert mode_range(many, 10, B).range == mode_range(None, 10, B).range == (0.0, 0.51)
    assert mode_range(many, 10, None).range == (0.0, 4.0)
    assert mode_range(np.zeros(2), 2, B).range == (0.0, 0.81)
    assert mode_range(None, 10, None) == ((0.0, 1.0), mode_range(None, 9, None).why)
    assert "twice" in mode_range(few, 10, B).why and "17.0 Å²" in mode_range(many, 10, B).why


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.4459, 0.45),
        (0.45, 0.45),
        (1.0, 1.0),
        (1.01, 1.1),
        (0.0301, 0.031),
        (14.2, 15.0),
        (99.5, 100),
    ],
)
def test_two_digits(value, expected):
    """Upwards, and what has two digits stays."""
    assert rounded_up(value) == expected


def test_mean_of_what_is_known():
    """Neither atoms that the crystal lacks nor B-factors of 0 count."""
    assert mean_b_factor(np.array([10.0, np.nan, 0.0, 20.0])) == 15.0
    assert mean_b_factor(np.array([np.nan, 0.0])) is None and mean_b_factor(None) is None
