"""The exact gradient of a model's intensity, against differences of the intensity."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from builders import random_structure
from ranks_in_turn import on_ranks

import hpc_diffuser.crystal.atom_factors
from hpc_diffuser.crystal.atom_factors import atom_factors
from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.crystal.symmetry import grid_operations, unique_indices
from hpc_diffuser.motion.lattice.rigid_lattice import rigid_lattice
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import parameters_from, values_of
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.motion.registry import PARAMETERS
from hpc_diffuser.motion.slopes import with_number
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation

CELL = (17.0, 18.0, 19.0, 88.0, 105.0, 98.0)
SCREWED = (16.0, 16.0, 19.0, 90.0, 90.0, 90.0)
CENTRED = (24.0, 14.0, 19.0, 90.0, 103.0, 90.0)
D_MIN = 3.0
MODES = {"mode_amplitude_A": [0.3, 0.2, 0.25]}
# Of every term its model; what is refined in it is all that is not 0.
SHAPE = np.random.default_rng(4).normal(0, 0.4, 63).tolist()
MODELS = {
    "modes": MODES,
    "correlated": MODES | {"mode_correlation": [0.6, -0.3, 0.2]},
    "translation": MODES | {"translation_sigma_A": 0.4},
    "anisotropic": MODES
    | {"translation_sigma_A": [0.3, 0.4, 0.2], "translation_correlation": [0.5, -0.2, 0.3]},
    "libration": MODES | {"translation_sigma_A": 0.4, "libration_sigma_deg": 4.0},
    "screw": MODES
    | {
        "translation_sigma_A": [0.3, 0.4, 0.2],
        "translation_correlation": [0.5, -0.2, 0.3],
        "libration_sigma_deg": 4.0,
        "screw_correlation": 0.6,
    },
    "uncorrelated": MODES | {"translation_sigma_A": 0.2, "uncorrelated_sigma_A": 0.3},
    "uncorrelated axes": MODES | {"uncorrelated_sigma_A": [0.3, 0.2, 0.4]},
    "liquid": MODES | {"translation_sigma_A": 0.3, "llm_sigma_A": 0.35, "llm_gamma_A": 7.0},
    "liquid axes": MODES
    | {
        "llm_sigma_A": [0.35, 0.25, 0.45],
        "llm_gamma_A": 7.0,
        "llm_correlation": [0.5, -0.2, 0.3],
    },
    "crystal liquid": {
        "mode_amplitude_A": [0.0, 0.0, 0.0],
        "crystal_llm_sigma_A": [0.35, 0.25, 0.45],
        "crystal_llm_gamma_A": 7.0,
        "crystal_llm_correlation": [0.5, -0.2, 0.3],
    },
    "solvent": MODES | {"translation_sigma_A": 0.3, "k_sol_eA3": 0.3, "b_sol_A2": 30.0},
    "lattice": MODES | {"translation_sigma_A": 0.2, "halo_sigma_A": 0.3, "halo_gamma_A": 20.0},
    "profile": MODES | {"translation_sigma_A": 0.3, "halo_alpha": 2.0},
    "springs": MODES | {"lattice_spring_A": [1.6, 1.2, 1.8], "uncorrelated_sigma_A": 0.2},
    "springs alike": MODES
    | {
        "mode_correlation": [0.6, -0.3, 0.2],
        "lattice_spring_A": 1.5,
        "uncorrelated_sigma_A": [0.3, 0.2, 0.1],
        "residual_b_fraction": 0.05,
    },
    "shaped springs": MODES
    | {"lattice_spring_A": 1.5, "lattice_shape": SHAPE, "uncorrelated_sigma_A": 0.2},
    "residual": MODES
    | {
        "translation_sigma_A": [0.2, 0.3, 0.1],
        "translation_correlation": [0.3, 0.1, 0.2],
        "libration_sigma_deg": 2.0,
        "uncorrelated_sigma_A": 0.2,
        "residual_b_fraction": 0.3,
    },
}


@pytest.fixture(autouse=True)
def fine_b_factors(monkeypatch):
    """Residual B-factors are rounded: differences would be those of steps."""
    monkeypatch.setattr(hpc_diffuser.crystal.atom_factors, "B_STEP_A2", 1e-8)


def moving_molecule(space_group="P 1", cell=CELL) -> Modes:
    """Thirty atoms and three smooth modes."""
    rng = np.random.default_rng(1)
    structure = random_structure(rng, 30, elements=("C", "N", "O", "S"))
    waves = rng.normal(0, 0.15, (3, 3))
    phases, directions = rng.uniform(0, 6, (3, 1)), rng.normal(size=(3, 1, 3))
    vectors = np.cos(waves @ structure.positions.T + phases)[..., None] * directions
    vectors *= np.sqrt(30 / np.sum(vectors**2, axis=(1, 2)))[:, None, None]
    b = np.full(30, 200.0)  # more than any atom moves by
    return Modes(structure, vectors, np.full(3, 0.2), cell, space_group, crystal_b_A2=b)


class Case:
    """A model, its points and parameters, and a sum of its intensity with random weights."""

    def __init__(
        self,
        name,
        transform="direct",
        grid="target",
        space_group="P 1",
        cell=CELL,
        group=None,
    ):
        self.modes = moving_molecule(space_group, cell)
        lattice = None
        if "lattice_spring_A" in MODELS[name]:
            crystal = (self.modes.unit_cell, space_group)
            lattice = rigid_lattice(self.modes.structure, *crystal, contact_A=11.0)
            self.modes = replace(self.modes, lattice=lattice)
        self.parameters = parameters_from(MODELS[name], lattice)
        self.names = tuple(row.name for row in PARAMETERS if np.any(self.values[row.name]))
        target = grid_to_resolution(cell, (3, 3, 3), D_MIN)
        operations = grid_operations(target, space_group)
        indices = unique_indices(target, 8.0, D_MIN, operations)
        disorder = self.parameters.disorder
        of_crystal = disorder.crystal_llm_gamma_A
        gammas = disorder.llm_gamma_A or of_crystal, of_crystal
        how = Computation(0.5, grid, transform, *gammas)
        if self.parameters.k_sol_eA3:
            how = replace(how, factors=atom_factors(self.modes.structure, 0.4, 40.0))
        if fraction := self.parameters.residual_b_fraction:
            b = fraction * self.modes.crystal_b_A2
            how = replace(how, factors=atom_factors(self.modes.structure, b_factors_A2=b))
        profile = np.random.default_rng(3).uniform(0, 1, (3, 3, 3)) ** 2
        self.model = forward_model(self.modes, target, indices, group or Ranks(), how, profile)
        columns = 3 + 3 * self.parameters.sampled.librates
        self.normals = normal_samples("sobol", 8, columns, generator(1))
        self.weights = np.random.default_rng(2).uniform(0.5, 1.5, len(indices))

    @property
    def values(self):
        return values_of(self.parameters)

    def total(self, name, place, number):
        """The weighted sum, with one number of one parameter changed."""
        moved = with_number(self.parameters, name, place, number)
        return float(self.weights @ self.model.internal_motion(moved, self.normals))

    def difference(self, name, place):
        """Its central difference, of fourth order."""
        value = float(np.atleast_1d(self.values[name])[place])
        h = (0.05 if name == "llm_gamma_A" else 0.02) * (1.0 if "correl" in name else value)

        def two(step):
            return self.total(name, place, value + step) - self.total(name, place, value - step)

        return (8 * two(h) - two(2 * h)) / (12 * h)

    def gradient(self, weights=None):
        weights = self.weights if weights is None else weights
        return self.model.gradient(self.parameters, self.normals, weights, self.names)

    def agrees_with_differences(self):
        """Every parameter's first and last derivative: 1e-4 of it, or 1e-6 of the sum per unit.

        That much single precision leaves of differences.
        """
        found, rounding = self.gradient(), 1e-6 * self.total("translation_sigma_A", 0, 0.3)
        assert set(found) == set(self.names)
        for name in self.names:
            for place in {0, np.size(self.values[name]) - 1}:
                expected = self.difference(name, place)
                assert found[name][place] == pytest.approx(expected, 1e-4, rounding), (name, place)


def test_a_model_of_every_parameter():
    """What this file compares is every row of the registry."""
    assert {row.name for row in PARAMETERS} == set().union(*MODELS.values())


@pytest.mark.parametrize("name", MODELS)
def test_direct_sum(name):
    """Of every term, where F is a sum over atoms."""
    Case(name).agrees_with_differences()


@pytest.mark.parametrize("name", MODELS)
def test_density(name):
    """Where F is that of a drawn density: the gradient of the sum over atoms.

    Drawn atoms are off by up to 1e-3, the gradient here by 4e-4, of what large parts that cancel
    are too. Differences of the density itself say less: points come into an atom's reach with a
    kink.
    """
    drawn, exact = Case(name, "density"), Case(name)
    found, expected = drawn.gradient(), exact.gradient()
    cancelling = 1e-3 * exact.total("translation_sigma_A", 0, 0.3)
    for one in exact.names:
        # What neighbours on springs add is as exact as atoms blurred by all motion are drawn: to
        # 1e-3 of what they scatter at rest, here half of which is left.
        off = 2e-3 if "springs" in name else 5e-4
        np.testing.assert_allclose(found[one], expected[one], off, cancelling)


@pytest.mark.parametrize("name", ["screw", "liquid", "lattice", "profile", "residual", "springs"])
def test_interpolated_from_a_coarse_grid(name):
    """The same through interpolation."""
    Case(name, grid="band-limited").agrees_with_differences()


@pytest.mark.parametrize("name", ["modes", "anisotropic", "lattice"])
def test_averaged_over_mates(name):
    """A crystal of more than one orientation, directly and interpolated."""
    cell = (17.0, 17.0, 19.0, 90.0, 90.0, 90.0)
    for grid in ("target", "band-limited"):
        Case(name, "direct", grid, "P 43 21 2", cell).agrees_with_differences()


@pytest.mark.parametrize(
    ("group", "cell"),
    [("P 41", SCREWED), pytest.param("C 1 2 1", CENTRED, marks=pytest.mark.slow)],
)
def test_springs_of_molecules_in_several_orientations(group, cell):
    """Neighbours of a cell with screw axes, whose molecules' transforms are at the same voxels.

    Of a centred cell, which has whole hkl without a peak.
    """
    Case("springs alike", "direct", "target", group, cell).agrees_with_differences()


@pytest.mark.parametrize(
    ("name", "space_group", "cell"),
    [("springs", "P 1", CELL), ("springs alike", "P 41", SCREWED)],
)
def test_springs_on_ranks(name, space_group, cell):
    """Gradient and map have the same bits on 1 and 3 ranks, though molecules share voxels."""

    def work(group):
        case = Case(name, "density", "band-limited", space_group, cell, group)
        found = case.gradient(case.weights[case.model.rows])
        values = case.model.internal_motion(case.parameters, case.normals)
        return np.concatenate([found[one] for one in case.names]), case.model.rows, values

    whole = {}
    for size in (1, 3):
        ranks = on_ranks(size, work)[0]
        order = np.argsort(np.concatenate([rows for _, rows, _ in ranks]))
        values = np.concatenate([values for _, _, values in ranks])[order]
        whole[size] = values.tobytes(), *{gradient.tobytes() for gradient, _, _ in ranks}
    assert whole[1] == whole[3]


def test_slopes_of_shapes_on_ranks():
    """The same bits on 1 and 3 ranks."""

    def work(group):
        case = Case("shaped springs", "density", "band-limited", group=group)
        found = islice(case.model.spring_slopes(case.parameters, case.normals), 3, 15, 3)
        return np.array(list(found)), case.model.rows

    whole = set()
    for size in (1, 3):
        ranks = on_ranks(size, work)[0]
        order = np.argsort(np.concatenate([rows for _, rows in ranks]))
        whole.add(np.concatenate([own for own, _ in ranks], axis=1)[:, order].tobytes())
    assert len(whole) == 1


def test_slopes_that_a_search_steps_by():
    """Of springs and modes, where atoms move by 0.9 Å: alike to the map's differences.

    All that neighbours have is dimmed by the mean over atoms; since its second order counts, too,
    the least alike is a mode's at 0.969 (0.973 of the first order alone).
    """
    case = Case("springs")
    model, of = case.model, (case.parameters, case.normals)
    assert model.steps(case.parameters)
    amplitudes = np.array(case.values["mode_amplitude_A"])
    of_modes = model.mode_slopes(*of, range(3))
    found = {
        "lattice_spring_A": list(model.spring_slopes(*of)),
        "mode_amplitude_A": [2 * amplitudes[i] * s for i, s in enumerate(of_modes)],
    }
    for one, slopes in found.items():
        for place, slope in enumerate(slopes):
            value = case.values[one][place]
            ends = [
                model.internal_motion(with_number(case.parameters, one, place, v), case.normals)
                for v in (0.99 * value, 1.01 * value)
            ]
            expected = (ends[1] - ends[0]) / (0.02 * value)
            assert np.corrcoef(slope, expected)[0, 1] > 0.96, (one, place)
            assert np.linalg.norm(slope) == pytest.approx(np.linalg.norm(expected), rel=0.15)


@pytest.mark.parametrize(
    ("space_group", "cell"),
    [("P 1", CELL), pytest.param("P 41", SCREWED, marks=pytest.mark.slow)],
)
def test_slopes_of_springs_of_any_shape(space_group, cell):
    """Of what couples translation and rotation, too, which the mean over atoms does not dim.

    With that mean alone the least alike of these was at 0.46.
    """
    case = Case("springs alike", "direct", "target", space_group, cell)
    first = case.modes.lattice.springs.n_interfaces
    shape = np.random.default_rng(5).normal(0, 0.4, 21 * first)
    values = MODELS["shaped springs"] | {"lattice_shape": shape.tolist()}
    case.parameters = parameters_from(values, case.modes.lattice)
    case.normals = normal_samples("sobol", 64, 6, generator(1))
    slopes = case.model.spring_slopes(case.parameters, case.normals)
    found = list(islice(slopes, first + 21))
    for place in (3, 10, 15, 20):
        ends = [
            case.model.internal_motion(
                with_number(case.parameters, "lattice_shape", place, shape[place] + step),
                case.normals,
            )
            for step in (-0.02, 0.02)
        ]
        expected, slope = (ends[1] - ends[0]) / 0.04, found[first + place]
        assert np.corrcoef(slope, expected)[0, 1] > 0.96, place
        assert np.linalg.norm(slope) == pytest.approx(np.linalg.norm(expected), rel=0.15)
