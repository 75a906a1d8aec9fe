"""What is held, what is refined, and what a point of the search means."""

import json

import numpy as np
import pytest

from hpc_diffuser.fit.config import ParametersConfig
from hpc_diffuser.fit.space import held_space, search_space
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.parameters import parameters_from
from hpc_diffuser.system.errors import InputError

AMPLITUDES_A = np.array([0.5, 0.3, 0.2])  # of the ensemble that the modes come from


def test_one_range_is_for_all_modes():
    """Three modes and the translation are refined; uncorrelated motion is held at 0."""
    space = search_space(
        ParametersConfig(mode_amplitude_A=(0.0, 0.6), translation_sigma_A=(0.1, 0.8)), AMPLITUDES_A
    )
    assert space.low.tolist() == [0, 0, 0, 0.1, 0]
    assert space.high.tolist() == [0.6, 0.6, 0.6, 0.8, 0]
    assert space.refined.tolist() == [True, True, True, True, False]
    assert space.bounds.tolist() == [[0, 0.6], [0, 0.6], [0, 0.6], [0.1, 0.8]]
    assert space.names == ["mode 1", "mode 2", "mode 3", "translation_sigma_A"]


def test_ranges_for_single_modes():
    """One entry for each; one with equal ends is held, and the others keep their numbers."""
    space = search_space(
        ParametersConfig(
            mode_amplitude_A=((0.0, 0.6), (0.25, 0.25), (0.1, 0.3)),
            uncorrelated_sigma_A=(0.0, 0.5),
        ),
        AMPLITUDES_A,
    )
    assert space.names == ["mode 1", "mode 3", "uncorrelated_sigma_A"]
    assert space.bounds.tolist() == [[0, 0.6], [0.1, 0.3], [0, 0.5]]


def test_modes_are_held_at_their_ensemble_by_default():
    """Without `mode_amplitude_A` the amplitudes stored with the modes are used."""
    space = search_space(ParametersConfig(translation_sigma_A=(0.1, 0.8)), AMPLITUDES_A)
    assert space.names == ["translation_sigma_A"]
    np.testing.assert_array_equal(space.parameters(np.array([0.4])).mode_amplitudes_A, AMPLITUDES_A)


def test_structure_without_modes():
    """No mode has a range; translation and uncorrelated motion are left."""
    config = ParametersConfig(mode_amplitude_A=(0.0, 0.6), translation_sigma_A=(0.1, 0.8))
    space = search_space(config, np.empty(0))
    assert space.names == ["translation_sigma_A"]
    found = space.parameters(np.array([0.3]))
    assert found.mode_amplitudes_A.shape == (0,)
    assert found.disorder == Disorder(0.3, 0.0)


@pytest.mark.parametrize("n_ranges", [1, 2, 4])
def test_number_of_ranges_must_be_that_of_the_modes(n_ranges):
    """The message counts both and says what to give."""
    config = ParametersConfig(mode_amplitude_A=((0.0, 0.6),) * n_ranges)
    with pytest.raises(InputError, match=f"has {n_ranges} entries for 3 modes: give one for each"):
        search_space(config, AMPLITUDES_A)


def test_point_fills_what_is_refined():
    """Refined values come from the point in order, the others from where they are held."""
    space = search_space(
        ParametersConfig(
            mode_amplitude_A=((0.0, 0.6), (0.25, 0.25), (0.1, 0.3)),
            translation_sigma_A=(0.46, 0.46),
            uncorrelated_sigma_A=(0.0, 0.5),
        ),
        AMPLITUDES_A,
    )
    found = space.parameters(np.array([0.11, 0.22, 0.33]))
    assert found.mode_amplitudes_A.tolist() == [0.11, 0.25, 0.22]
    assert found.disorder == Disorder(translation_sigma_A=0.46, uncorrelated_sigma_A=0.33)


def test_points_do_not_change_the_space():
    """Two points of one space do not know of each other."""
    space = search_space(ParametersConfig(mode_amplitude_A=(0.0, 0.6)), AMPLITUDES_A)
    first = space.parameters(np.array([0.1, 0.2, 0.3]))
    space.parameters(np.array([0.4, 0.5, 0.6]))
    assert first.mode_amplitudes_A.tolist() == [0.1, 0.2, 0.3]
    assert space.low.tolist() == [0, 0, 0, 0, 0]


def test_spread_of_what_is_held_is_zero():
    """Widths stand where their parameters do."""
    space = search_space(
        ParametersConfig(
            mode_amplitude_A=((0.0, 0.6), (0.25, 0.25), (0.1, 0.3)), translation_sigma_A=(0.46, 0.9)
        ),
        AMPLITUDES_A,
    )
    assert space.spread(np.array([0.01, 0.02, 0.03])) == {
        "mode_amplitude_A": [0.01, 0, 0.02],
        "translation_sigma_A": 0.03,
        "uncorrelated_sigma_A": 0.0,
    }


def test_names_are_those_of_the_config():
    """Plain numbers under the config's keys, as JSON holds them; and back again."""
    config = ParametersConfig(
        mode_amplitude_A=(0.0, 0.6),
        mode_correlation=(-0.5, 0.5),
        translation_sigma_A=((0.1, 0.1), (0.2, 0.2), (0.0, 0.6)),
        translation_correlation=((0.0, 0.0), (0.3, 0.3), (0.0, 0.0)),
        llm_sigma_A=(0.0, 0.5),
        llm_gamma_A=(5.0, 5.0),
        k_sol_eA3=(0.3, 0.3),
    )
    space = search_space(config, AMPLITUDES_A, 2)
    assert space.names == [
        "mode 1",
        "mode 2",
        "mode 3",
        "modes 2-1",
        "translation_sigma_A z",
        "llm_sigma_A",
    ]
    point = np.array([0.1, 0.2, 0.3, -0.25, 0.4, 0.15])
    found = space.by_name(point)
    assert found == {
        "mode_amplitude_A": [0.1, 0.2, 0.3],
        "mode_correlation": [-0.25],
        "translation_sigma_A": [0.1, 0.2, 0.4],
        "translation_correlation": [0.0, 0.3, 0.0],
        "uncorrelated_sigma_A": 0.0,
        "llm_sigma_A": 0.15,
        "llm_gamma_A": 5.0,
        "k_sol_eA3": 0.3,
    }
    assert json.loads(json.dumps(found)) == found
    again = parameters_from(found)
    assert again.disorder == space.parameters(point).disorder
    assert again.mode_correlation == (-0.25,) and again.k_sol_eA3 == 0.3


@pytest.mark.parametrize(
    ("ranges", "complaint"),
    [
        ({"llm_sigma_A": (0.0, 0.5)}, "llm_gamma_A"),
        ({"llm_gamma_A": (5.0, 5.0)}, "llm_sigma_A"),
        ({"halo_sigma_A": (0.1, 0.5)}, "halo_gamma_A"),
        ({"llm_sigma_A": (0.0, 0.5), "llm_gamma_A": (0.0, 9.0)}, "at least 1.5"),
        ({"screw_correlation": (-1.0, 1.0)}, "libration_sigma_deg"),
        ({"b_sol_A2": (0.0, 50.0)}, "k_sol_eA3"),
        ({"translation_correlation": (-1.0, 1.0), "translation_sigma_A": (0.1, 0.2)}, "x, y, z"),
        ({"mode_correlation": (-1.0, 1.0)}, "correlated_modes"),
        ({"halo_alpha": (1.0, 4.0)}, "translation_sigma_A"),
        (
            {
                "halo_alpha": (1.0, 4.0),
                "translation_sigma_A": (0.1, 0.2),
                "halo_sigma_A": (0.1, 0.2),
                "halo_gamma_A": (9.0, 50.0),
            },
            "give one",
        ),
        *(
            (
                {"crystal_llm_sigma_A": (0.1, 0.5), "crystal_llm_gamma_A": (8.0, 8.0), **beside},
                "crystal_llm_sigma_A says already",
            )
            for beside in (
                {"llm_sigma_A": (0.1, 0.5), "llm_gamma_A": (8.0, 8.0)},
                {"halo_sigma_A": (0.1, 0.5), "halo_gamma_A": (30.0, 30.0)},
            )
        ),
        (
            {"crystal_llm_sigma_A": (0.1, 0.5), "crystal_llm_gamma_A": (1.0, 8.0)},
            "crystal_llm_gamma_A should be at least 1.5",
        ),
        (
            {
                "crystal_llm_sigma_A": ((0.1, 0.5), (0.1, 0.5)),
                "crystal_llm_gamma_A": (8.0, 8.0),
                "crystal_llm_correlation": (-0.5, 0.5),
            },
            "x, y, z",
        ),
    ],
)
def test_parameters_that_mean_nothing_alone(ranges, complaint):
    """What is missing is named: no default stands in for it."""
    with pytest.raises(InputError, match=complaint):
        search_space(ParametersConfig(**ranges), AMPLITUDES_A)


def test_simulation_holds_everything():
    """Numbers, which the config stores as ranges of no width."""
    config = ParametersConfig(mode_amplitude_A=(0.2, 0.2), translation_sigma_A=(0.46, 0.46))
    found = held_space(config, AMPLITUDES_A).middle
    assert found.mode_amplitudes_A.tolist() == [0.2, 0.2, 0.2]
    assert found.disorder == Disorder(0.46, 0.0)


@pytest.mark.parametrize(
    "ranges, first",
    [
        ({"mode_amplitude_A": ((0.1, 0.1), (0.0, 0.6), (0.0, 0.6))}, "mode 2"),
        ({"translation_sigma_A": (0.1, 0.8), "uncorrelated_sigma_A": (0.0, 0.2)}, "translation"),
        ({"uncorrelated_sigma_A": (0.0, 0.2)}, "uncorrelated_sigma_A"),
    ],
)
def test_simulation_cannot_use_a_range(ranges, first):
    """The first parameter that is one is named."""
    with pytest.raises(InputError, match=f"parameters: {first}\\w* is a range, which only a fit"):
        held_space(ParametersConfig(**ranges), AMPLITUDES_A)
