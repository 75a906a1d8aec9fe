"""Slopes along the weights of an ensemble's frames, against sums over atoms by hand."""

import numpy as np
import pytest
from builders import direct_sum, gemmi_form_factors, random_structure, s_vectors

from hpc_diffuser.crystal.atom_factors import atom_factors
from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.crystal.symmetry import grid_operations, unique_indices
from hpc_diffuser.motion.modes import Modes, with_frames
from hpc_diffuser.motion.parameters import parameters_from
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation

CELL = (17.0, 18.0, 19.0, 88.0, 105.0, 98.0)
TETRAGONAL = (17.0, 17.0, 19.0, 90.0, 90.0, 90.0)
D_MIN = 3.0
SIGMAS = ("translation_sigma_A", "uncorrelated_sigma_A")
WEIGHTS = np.array([0.1, 0.3, 0.0, 0.4, 0.2])
# Of every term that the slopes go through.
MODELS = {
    "frames": {},
    "translation": {"translation_sigma_A": 0.4},
    "libration": {"translation_sigma_A": [0.3, 0.4, 0.2], "libration_sigma_deg": 4.0},
    "uncorrelated": {"translation_sigma_A": 0.2, "uncorrelated_sigma_A": 0.3},
    "liquid": {"translation_sigma_A": 0.3, "llm_sigma_A": 0.35, "llm_gamma_A": 7.0},
    "liquid axes": {"llm_sigma_A": [0.3, 0.2, 0.4], "llm_gamma_A": 7.0},
    "solvent": {"translation_sigma_A": 0.3, "k_sol_eA3": 0.3, "b_sol_A2": 30.0},
    "lattice": {"translation_sigma_A": 0.2, "halo_sigma_A": 0.3, "halo_gamma_A": 20.0},
    "profile": {"translation_sigma_A": 0.3, "halo_alpha": 2.0},
}


def ensemble(space_group: str = "P 1", cell=CELL) -> Modes:
    """Five frames of twenty atoms, of which each moves by a third of an Å."""
    rng = np.random.default_rng(4)
    structure = random_structure(rng, 20, elements=("C", "N", "O", "S"))
    frames = structure.positions + rng.normal(0, 0.3, (5, 20, 3))
    still = Modes(structure, np.empty((0, 20, 3)), np.empty(0), cell, space_group)
    return with_frames(still, frames)


class Case:
    """A model of frames with its parameters, on a grid."""

    def __init__(self, name, transform="direct", grid="target", space_group="P 1", cell=CELL):
        self.values = MODELS[name]
        self.modes = ensemble(space_group, cell)
        self.grid = grid_to_resolution(cell, (3, 3, 3), D_MIN)
        operations = grid_operations(self.grid, space_group)
        self.indices = unique_indices(self.grid, 8.0, D_MIN, operations)
        liquid = self.values.get("llm_gamma_A", 0.0)
        factors = (
            atom_factors(self.modes.structure, 0.4, 40.0) if "k_sol_eA3" in self.values else None
        )
        how = Computation(0.5, grid, transform, liquid_gamma_A=liquid, factors=factors)
        profile = np.random.default_rng(3).uniform(0, 1, (3, 3, 3)) ** 2
        self.model = forward_model(self.modes, self.grid, self.indices, Ranks(), how, profile)
        turns = 3 if "libration_sigma_deg" in self.values else 0
        n_samples = 10 if turns else 5  # two turns of each frame
        stream = generator(1)
        self.normals = (
            normal_samples("sobol", n_samples, 3, stream) if turns else np.zeros((n_samples, 0))
        )

    def parameters(self, weights):
        return parameters_from({**self.values, "frame_weight": list(weights)})

    def intensity(self, weights):
        return self.model.internal_motion(self.parameters(weights), self.normals)

    def slopes(self):
        return np.array(list(self.model.frame_slopes(self.parameters(WEIGHTS), self.normals)))

    def differences(self, h=0.02):
        """Central ones of fourth order, of weights that the intensity norms itself."""

        def two(step):
            return self.intensity(WEIGHTS + step) - self.intensity(WEIGHTS - step)

        return np.array([(8 * two(h * one) - two(2 * h * one)) / (12 * h) for one in np.eye(5)])


def assert_alike(found, expected):
    """Each slope to 2e-4 of its size: what single precision leaves of differences."""
    off = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert off.max() < 2e-4, off


def by_hand(case, weights):
    """I_D = e^{-q²σu²} A + S (1 - e^{-q²σu²}) - e^{-q²(σt²+σu²)} B from F of each frame."""
    s, one, weights = (
        s_vectors(case.grid, case.indices),
        case.modes.structure,
        weights / weights.sum(),
    )
    of_frames = direct_sum(one, s, case.modes.frames)
    a, b = weights @ np.abs(of_frames) ** 2, np.abs(weights @ of_frames) ** 2
    own = np.sum((gemmi_form_factors(one.elements, np.sum(s**2, 1)) * one.occupancies) ** 2, 1)
    q2 = 4 * np.pi**2 * np.sum(s**2, axis=1)
    rigid, damping = (np.exp(-q2 * case.values[name] ** 2) for name in SIGMAS)
    return damping * a + own * (1 - damping) - damping * rigid * b


@pytest.mark.parametrize("transform", ["direct", "density"])
def test_against_a_sum_over_atoms(transform):
    """Intensity and slopes are those of structure factors in double precision, by differences."""
    case = Case("uncorrelated", transform)
    step, whole = 1e-5, by_hand(case, WEIGHTS)
    found, drawn = case.slopes(), 1e-4 if transform == "direct" else 2e-3
    np.testing.assert_allclose(case.intensity(WEIGHTS), whole, 1e-3, drawn * whole.max())
    for i, one in enumerate(np.eye(5)):
        sides = [by_hand(case, WEIGHTS + sign * step * one) for sign in (1, -1)]
        expected = (sides[0] - sides[1]) / (2 * step)
        np.testing.assert_allclose(found[i], expected, 1e-3, drawn * np.abs(expected).max())


@pytest.mark.parametrize(
    ("name", "grid"), [*((name, "target") for name in MODELS), ("lattice", "band-limited")]
)
def test_every_term(name, grid):
    """Slopes are differences of the intensity, and the gradient is what they add up to."""
    case = Case(name, grid=grid)
    found = case.slopes()
    assert_alike(found, case.differences())
    pulls = np.random.default_rng(2).uniform(0.5, 1.5, len(case.indices))
    # Weights may be on another scale: by each, the slope is then that much smaller.
    for scale in (1.0, 4.0):
        of = case.parameters(WEIGHTS * scale)
        gradient = case.model.gradient(of, case.normals, pulls, ("frame_weight",))
        summed = found @ pulls / scale
        np.testing.assert_allclose(
            gradient["frame_weight"], summed, 1e-4, 1e-5 * np.abs(summed).max()
        )


def test_averaged_over_mates():
    """A crystal of more than one orientation."""
    case = Case("translation", space_group="P 43 21 2", cell=TETRAGONAL)
    assert_alike(case.slopes(), case.differences())


def test_all_weights_alike_change_nothing():
    """What one frame gains the others lose: along the weights themselves the slope is 0."""
    found = Case("translation").slopes()
    np.testing.assert_allclose(WEIGHTS @ found, 0, atol=1e-4 * np.abs(found).max())


def test_modes_have_no_weights():
    """A model without frames says so."""
    case = Case("frames")
    still = forward_model(
        Modes(case.modes.structure, np.zeros((1, 20, 3)), np.ones(1), CELL, "P 1"),
        case.grid,
        case.indices,
        Ranks(),
    )
    with pytest.raises(ValueError, match="expected an ensemble"):
        next(still.frame_slopes(parameters_from({"mode_amplitude_A": [0.1]}), np.zeros((1, 1))))
