"""Moments without sampling, and with samples of what the first order leaves, against pair sums."""

import numpy as np
import pytest
from oracles import random_voxels, shell_cc

from hpc_diffuser.commands.examples.four_helices import example_modes
from hpc_diffuser.crystal.atom_factors import atom_factors, form_factors
from hpc_diffuser.crystal.lattice import fractionalization, grid_to_resolution
from hpc_diffuser.crystal.symmetry import grid_operations, unique_indices
from hpc_diffuser.maps.statistics import correlation_sums, pooled_cc, shell_edges, shell_index
from hpc_diffuser.motion.configurations import residual_b_factors
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation
from hpc_diffuser.scattering.moments import can_be_expanded
from hpc_diffuser.scattering.pair_sum import pair_sum_intensity


class Example:
    """The example's protein, moving inside by so many Å; at 200 voxels between 3.3 and 1.6 Å."""

    def __init__(self, internal_A: float, disorder: Disorder, **others):
        self.modes: Modes = example_modes()
        amplitudes = self.modes.amplitudes_A * internal_A
        amplitudes /= np.linalg.norm(self.modes.amplitudes_A)
        self.parameters = Parameters(amplitudes, disorder, **others)
        self.grid, self.indices = random_voxels(self.modes, 200)
        self.s_squared = self.grid.inverse_d_squared(self.indices)

    def exact(self) -> np.ndarray:
        """The pair sum."""
        structure = self.modes.structure
        factors = form_factors(structure.elements, self.s_squared) * structure.occupancies
        s = self.indices / np.array(self.grid.divisions) @ fractionalization(self.modes.unit_cell)
        fields = self.parameters.mode_amplitudes_A[:, None, None] * self.modes.vectors
        residual = 0.0
        if self.parameters.residual_b_fraction:
            residual = residual_b_factors(self.modes, self.parameters)
        disorder = self.parameters.disorder
        return pair_sum_intensity(structure.positions, factors, s, fields, disorder, residual)

    def calculated(self, estimator: str, n_samples: int = 32, transform: str = "auto"):
        """The model's intensity."""
        points = normal_samples("sobol", n_samples, len(self.modes.vectors), generator(1))
        liquid = self.parameters.disorder.llm_gamma_A
        grid = "auto" if liquid else "target"
        how = Computation(0.3, grid, transform, liquid_gamma_A=liquid, estimator=estimator)
        model = forward_model(self.modes, self.grid, self.indices, Ranks(), how)
        return model.internal_motion(self.parameters, points)

    def lost(self, *args, **options) -> tuple[float, float]:
        """1 − CC, and the scale, against the pair sum."""
        exact, found = self.exact(), self.calculated(*args, **options)
        scale = float(found @ exact / (exact @ exact))
        return 1 - shell_cc(found, exact, self.s_squared), scale


@pytest.mark.parametrize("transform", ["density", pytest.param("direct", marks=pytest.mark.slow)])
def test_small_motions_are_of_first_order(transform):
    """What is left out grows as U² beside U: 1 − CC with U², 16 times for twice the motion."""
    smaller, _ = Example(0.05, Disorder(0.02)).lost("one-phonon", transform=transform)
    larger, scale = Example(0.1, Disorder(0.02)).lost("one-phonon", transform=transform)
    assert smaller < 1e-4 and 12 < larger / smaller < 20
    assert 0.9 < scale < 1


def test_the_first_order_lacks_its_share():
    """At 0.3 Å less is scattered than there is, but nearly in the right places."""
    loss, scale = Example(0.3, Disorder(0.3)).lost("one-phonon")
    assert loss < 3e-3 and 0.9 < scale < 0.96


def test_samples_of_the_remainder_make_up_for_it():
    """No bias is left: the scale is right; and of three modes half of the sampling's error goes."""
    example = Example(0.3, Disorder(0.3))
    loss, scale = example.lost("control-variate", n_samples=64)
    plain, _ = example.lost("sampled", n_samples=64)
    assert loss < plain / 2 and abs(scale - 1) < 3e-3


@pytest.mark.parametrize(
    "disorder, others",
    [
        (Disorder((0.3, 0.4, 0.2)), {}),
        (Disorder(0.3, 0.2), {}),
        (Disorder(0.2, llm_sigma_A=0.3, llm_gamma_A=6.0), {}),
        (Disorder(0.2), {"residual_b_fraction": 0.5}),
    ],
    ids=["anisotropic", "uncorrelated", "liquid", "residual"],
)
def test_with_every_other_motion(disorder, others):
    """What needs no sampling comes on top, whichever moments it is given."""
    example = Example(0.2, disorder, **others)
    if others:
        example.modes = with_b_factors(example.modes)
    loss, scale = example.lost("control-variate", n_samples=64)
    assert loss < 2e-4 and abs(scale - 1) < 3e-3


def with_b_factors(modes: Modes) -> Modes:
    """The modes in a crystal whose B-factors are known."""
    b = np.linspace(5, 60, len(modes.structure))
    return Modes(**{**vars(modes), "crystal_b_A2": b})


def test_correlated_modes():
    """Independent fields are combinations of the modes: the same as by plain samples."""
    example = Example(0.2, Disorder(0.3), mode_correlation=(0.6, -0.3, 0.5))
    sampled = example.calculated("sampled", 512)
    found = example.calculated("control-variate", 128)
    assert 1 - shell_cc(found, sampled, example.s_squared) < 2e-4


CRYSTALS = {
    "solvent": ("P 1", {"k_sol_eA3": 0.334, "b_sol_A2": 40.0}, {}),
    "symmetry": ("P 1 21 1", {}, {}),
    "lattice": ("P 1 21 1", {}, {"halo_sigma_A": 0.2, "halo_gamma_A": 30.0}),
    "halos": ("P 1", {}, {"halo_alpha": 2.0}),
    "liquid": ("P 1 21 1", {"k_sol_eA3": 0.3}, {"llm_sigma_A": 0.2, "llm_gamma_A": 8.0}),
    "everything": (
        "P 1 21 1",
        {"k_sol_eA3": 0.3, "residual_b_fraction": 0.5, "mode_correlation": (0.5, 0.2, -0.3)},
        {"uncorrelated_sigma_A": (0.1, 0.2, 0.3), "halo_sigma_A": 0.2, "halo_gamma_A": 30.0},
    ),
}


@pytest.mark.parametrize("name", CRYSTALS)
def test_in_every_crystal(name):
    """Solvent, mates and halos work on moments, whichever they are: as with four times as many
    samples and no expansion."""
    space_group, others, of_disorder = CRYSTALS[name]
    modes = with_b_factors(example_modes())
    cell = (38.0, 46.0, 52.0, 90.0, 101.0, 90.0)
    modes = Modes(**{**vars(modes), "unit_cell": cell, "space_group": space_group})
    grid = grid_to_resolution(cell, (2, 2, 2), 3.0)
    indices = unique_indices(grid, 9.0, 3.0, grid_operations(grid, space_group))
    profile = np.random.default_rng(2).uniform(1, 2, (2, 2, 2))
    parameters = Parameters(np.full(3, 0.15), Disorder(0.2, **of_disorder), **others)
    densest = atom_factors(modes.structure, others["k_sol_eA3"]) if "k_sol_eA3" in others else None

    def calculated(estimator: str, n_samples: int) -> np.ndarray:
        gamma = of_disorder.get("llm_gamma_A", 0.0)
        how = Computation(
            0.3,
            "target" if not gamma else "auto",
            "density",
            liquid_gamma_A=gamma,
            factors=densest,
            many_kinds="residual_b_fraction" in others,
            estimator=estimator,
        )
        model = forward_model(modes, grid, indices, Ranks(), how, profile)
        assert model.estimator_at(parameters) == estimator
        points = normal_samples("sobol", n_samples, 3, generator(1))
        return model.internal_motion(parameters, points)

    expected, found = calculated("sampled", 512), calculated("control-variate", 128)
    shells = shell_index(
        np.sqrt(grid.inverse_d_squared(indices)), edges := shell_edges(9.0, 3.0, 8)
    )
    lost = 1 - pooled_cc(correlation_sums(found, expected, None, shells, len(edges) - 1))
    assert lost < 2e-4 and abs(found @ expected / (expected @ expected) - 1) < 3e-3


@pytest.mark.parametrize(
    "internal_A, others", [(0.2, {"libration_sigma_deg": 2.0}), (6.0, {})], ids=["turns", "far"]
)
def test_what_cannot_be_expanded_is_sampled(internal_A, others):
    """Exact rotations are not Gaussian, and atoms may move too far to be drawn as their copies:
    the estimator changes no bit."""
    example = Example(internal_A, Disorder(0.3), **others)
    points = normal_samples("sobol", 16, len(example.modes.vectors) + 3, generator(1))
    if not others:
        points = points[:, :-3]
    assert can_be_expanded(example.modes, example.parameters.sampled) == (not others)
    found = [
        forward_model(
            example.modes,
            example.grid,
            example.indices,
            Ranks(),
            Computation(grid="target", estimator=estimator),
        ).internal_motion(example.parameters, points)
        for estimator in ("sampled", "control-variate", "one-phonon")
    ]
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])
