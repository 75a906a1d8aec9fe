"""The adjoint of every transform: forces on atoms, against sums over atoms and dot products."""

import numba
import numpy as np
import pytest
from test_transform import Case

from hpc_diffuser.crystal.atom_factors import atom_factors
from hpc_diffuser.kernels import density as kernel
from hpc_diffuser.kernels import density_adjoint as adjoint
from hpc_diffuser.kernels.rounding import large_number
from hpc_diffuser.kernels.transforms import BEHIND
from hpc_diffuser.scattering.direct import sample_weights
from hpc_diffuser.scattering.drawing import planes_of
from hpc_diffuser.scattering.slab import BLOCK
from hpc_diffuser.scattering.transform import TRANSFORMS

# Rms of forces over their rms: single precision; shapes are fitted to F, of which a gradient has
# more of what the grid folds back.
ERRORS = {"direct": 3e-6, "density": 1e-2}
every_transform = pytest.mark.parametrize("name", TRANSFORMS)


def pulls_at_samples(case, seed=4):
    """κ and c at random, at the case's samples, and where they are stored: (3, V) float32."""
    rng = np.random.default_rng(seed)
    pulls = np.zeros((3, case.slab.size), np.float32)
    rows = case.slab.position_of(case.indices)
    pulls[:, rows] = rng.normal(size=(3, len(rows)))
    pulls[1:] *= 30
    return pulls, pulls[:, rows].astype(np.float64)


def forces_by_hand(case, configurations, pulls, weights):
    """−Im Σ λ* f_a q e^{iq·r_a} and Re Σ λ* (−s²/4) f_a e^{iq·r_a}: (S, N, 4)."""
    factors, s_squared = case.transform.factors, np.sum(case.s**2, axis=1)
    amplitudes = factors.at(s_squared)[:, factors.kind] * factors.occupancies
    found = []
    for moved, w in zip(configurations, weights, strict=True):
        phases = 2 * np.pi * case.s @ (moved - case.transform.origin).T
        waves = amplitudes * np.exp(1j * phases)
        pull = w * (pulls[0] * waves.sum(axis=1) + pulls[1] + 1j * pulls[2])
        own = np.conj(pull)[:, None] * waves
        by_position = -np.imag(2 * np.pi * np.einsum("va,vi->ai", own, case.s))
        by_b = np.real(-s_squared / 4 @ own)
        found.append(np.concatenate([by_position, by_b[:, None]], axis=1))
    return np.array(found)


def off(found, expected):
    """Rms difference over the rms of what is expected."""
    return np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2))


@every_transform
@pytest.mark.parametrize("n_samples", [1, 5])
def test_forces_are_sums_over_voxels(name, n_samples):
    """Of every atom in every configuration, by position and by B-factor, with weights."""
    case = Case(name)
    pulls, at_samples = pulls_at_samples(case)
    configurations, weights = case.wiggled(n_samples), np.arange(1.0, n_samples + 1)
    found = case.transform.forces(configurations, pulls, weights, dimming=True)
    assert found.shape == (len(case.slab.blocks) - 1, n_samples, 37, 4)
    expected = forces_by_hand(case, configurations, at_samples, weights)
    found = found.sum(axis=0)
    assert off(found[..., :3], expected[..., :3]) < ERRORS[name]
    assert off(found[..., 3], expected[..., 3]) < ERRORS[name]
    without = case.transform.forces(configurations, pulls, weights).sum(axis=0)
    np.testing.assert_array_equal(without[..., :3], found[..., :3])
    assert not without[..., 3].any()


@every_transform
def test_forces_of_atoms_with_b_factors_in_solvent(name):
    """Other factors, of which nearly every atom has its own."""
    densest = atom_factors(Case(name).structure, 0.334, 40.0)
    case = Case(name, factors=densest)
    b = np.linspace(0, 40, len(case.structure)).round(1)
    case.transform = case.transform.with_factors(atom_factors(case.structure, 0.2, 20.0, b))
    pulls, at_samples = pulls_at_samples(case)
    configurations = case.wiggled(2)
    found = case.transform.forces(configurations, pulls, dimming=True).sum(axis=0)
    expected = forces_by_hand(case, configurations, at_samples, np.ones(2))
    assert off(found[..., :3], expected[..., :3]) < ERRORS[name]
    assert off(found[..., 3], expected[..., 3]) < 3 * ERRORS[name]


@every_transform
def test_forces_are_the_derivative_of_what_is_computed(name):
    """Σ φ·δ against (O(r + hδ) − O(r − hδ))/2h, O = Σ ½κ|F|² + Re c*F of the transform's own F.

    Along the forces themselves, by up to 0.03 Å rms: of the difference single precision leaves
    1e-4, and so do points that come into an atom's reach.
    """
    case = Case(name)
    pulls, at_samples = pulls_at_samples(case)
    moved = case.wiggled(1)[0]
    rows = case.slab.position_of(case.indices)

    def objective(positions):
        real, imaginary = (
            x[rows].astype(float) for x in case.transform.structure_factors(positions)
        )
        kappa, re, im = at_samples
        return np.sum(kappa * (real**2 + imaginary**2) / 2 + re * real + im * imaginary)

    def difference(h):
        return objective(moved + h * direction) - objective(moved - h * direction)

    forces = case.transform.forces(moved[None], pulls).sum(axis=(0, 1))[:, :3]
    direction = forces / np.sqrt(np.mean(np.sum(forces**2, axis=1)))
    expected = (8 * difference(0.015) - difference(0.03)) / (12 * 0.015)
    assert np.sum(forces * direction) == pytest.approx(expected, rel=2e-4)


def test_products_back_are_the_transposed_products():
    """⟨A ρ, y⟩ = ⟨ρ, Aᵀ y⟩ for a random density and random pulls, of each block of planes."""
    case = Case("density", divisions=(11, 3, 3))
    rng = np.random.default_rng(0)
    drawing = case.transform.drawing
    half_box = drawing.half_box(drawing.steps(case.structure.positions[None]))
    points = int(np.prod(2 * half_box))
    densities = np.zeros((2, points + BEHIND), np.float32)
    densities[:, :points] = rng.normal(size=(2, points))
    pulls, _ = pulls_at_samples(case)
    pulls[0] = 0
    inputs = drawing.inputs(half_box)
    folded = densities.copy()
    kernel.fold_x(folded, *planes_of(half_box))
    n_blocks = len(case.slab.blocks) - 1
    pulled = np.empty((n_blocks, *densities.shape), np.float32)
    weights = np.array([1.0, 3.0], np.float32)
    adjoint.pull_back(weights, folded.copy(), *inputs, pulls, pulled)
    assert n_blocks > 2
    for s in range(2):
        sums, plain = np.zeros((3, case.slab.size)), np.ones(case.slab.size, np.float32)
        exact = (1, np.full(3, large_number(1e9)), sums)
        one = sample_weights(None, 1)
        kernel.add_moments(one, folded[s][None].copy(), *inputs, plain, exact)
        for b in range(n_blocks):
            own = slice(*case.slab.offsets[case.slab.blocks[b : b + 2]])
            one = np.sum(sums[:2, own] * pulls[1:, own])
            other = np.sum(densities[s].astype(float) * pulled[b, s]) / weights[s]
            scale = np.linalg.norm(sums[:2, own]) * np.linalg.norm(pulls[1:, own])
            assert abs(one - other) < 1e-6 * scale


@every_transform
def test_forces_of_blocks_have_the_same_bits_in_any_slab(name):
    """Whichever others a rank computes beside them."""
    whole = Case(name, divisions=(11, 3, 3))
    blocks = whole.slab.h // BLOCK
    pulls, _ = pulls_at_samples(whole)
    configurations = whole.wiggled(5)
    forces = whole.transform.forces(configurations, pulls, dimming=True)
    for chosen in ([1], [0, 2], [blocks.max()]):
        planes = whole.slab.h[np.isin(blocks, chosen)]
        part = Case(name, divisions=(11, 3, 3), planes=planes).transform
        own = np.concatenate([np.arange(*whole.slab.offsets[p : p + 2]) for p in planes])
        found = part.forces(configurations, pulls[:, own], dimming=True)
        assert found.tobytes() == forces[chosen].tobytes()
    own = whole.transform.forces(configurations, pulls, None, True, slice(2, 4))
    assert own.tobytes() == forces[:, 2:4].tobytes()


@every_transform
@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="needs two threads")
def test_forces_have_the_same_bits_on_one_thread(name):
    """Each block and each configuration is one thread's."""
    case = Case(name)
    pulls, _ = pulls_at_samples(case)
    two = case.transform.forces(case.wiggled(6), pulls)
    numba.set_num_threads(1)
    try:
        one = case.transform.forces(case.wiggled(6), pulls)
    finally:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    assert one.tobytes() == two.tobytes()


@every_transform
def test_forces_of_a_slab_without_planes(name):
    """A rank that has nothing to do."""
    case = Case(name, planes=np.empty(0, np.int64))
    assert case.transform.forces(case.wiggled(2), np.empty((3, 0), np.float32)).shape[0] == 0
