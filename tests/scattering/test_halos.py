"""Lattice halos against brute-force sums over the crystal, and the paper's estimate of them."""

import numpy as np
import pytest
from builders import TRICLINIC, laue_mates

from hpc_diffuser.crystal.lattice import (
    fractionalization,
    grid_to_resolution,
    inverse_d_squared,
    reciprocal_metric,
)
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.target import TargetOptions, make_target, map_from_voxels
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.scattering.halos import (
    LatticeHalos,
    coupling_sums,
    empirical_halo,
    halo_factor,
    longest_gamma_A,
    zone_positions,
    zone_profile,
)
from hpc_diffuser.scattering.pair_sum import pair_sum_intensity
from hpc_diffuser.system.errors import InputError

DIVISIONS = (3, 4, 5)
LYSOZYME = (27.424, 32.134, 34.513, 88.66, 108.46, 111.88)
TETRAGONAL = (20.0, 20.0, 13.0, 90.0, 90.0, 90.0)


def cube(n: int) -> np.ndarray:
    """All integer (u, v, w) up to ±n: ((2n+1)³, 3)."""
    return np.stack(np.meshgrid(*[np.arange(-n, n + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)


def some_indices(n: int = 60) -> np.ndarray:
    """Samples all over a map."""
    return np.random.default_rng(1).integers(-20, 21, (n, 3))


def q_squared(indices, divisions, unit_cell) -> np.ndarray:
    """|q|² = (2π)²/d²."""
    return 4 * np.pi**2 * inverse_d_squared(indices / np.array(divisions), unit_cell)


def lengths_A(lattice, unit_cell) -> np.ndarray:
    """|R| of lattice vectors: (uvw)ᵀ G (uvw) with the metric G = (G*)⁻¹."""
    metric = np.linalg.inv(reciprocal_metric(unit_cell))
    return np.sqrt(np.einsum("vi,ij,vj->v", lattice, metric, lattice))


def volume_A3(unit_cell) -> float:
    """√det G."""
    return float(np.sqrt(1 / np.linalg.det(reciprocal_metric(unit_cell))))


@pytest.mark.parametrize("sigma_A, gamma_A", [(0.3, 1.5), (0.3, 6.0), (0.6, 9.0)])
def test_sum_over_the_crystal(sigma_A, gamma_A):
    """H = Σ_{R≠0} (exp(q²σ² e^{−|R|/γ}) − 1) cos 2π hkl·R, term by term, to 25 γ.

    The module goes to 20 γ. Beyond, where all is in phase, is a part
    ∫_{20}^∞ r² e^{−r} dr / ∫_0^∞ = (400 + 40 + 2)/2 e^{−20} = 5e-7 of the sum, which is no more
    than (e^{q²σ²} − 1) (1 + 8πγ³/V).
    """
    indices, lattice = some_indices(), cube(22)
    x = q_squared(indices, DIVISIONS, TRICLINIC) * sigma_A**2
    r = lengths_A(lattice, TRICLINIC)
    near = (r > 0) & (r < 25 * gamma_A)
    coupling, lattice = np.exp(-r[near] / gamma_A), lattice[near]
    expected = [
        np.expm1(x[v] * coupling) @ np.cos(2 * np.pi * lattice @ (indices[v] / DIVISIONS))
        for v in range(len(indices))
    ]
    found = halo_factor(indices, DIVISIONS, TRICLINIC, x / sigma_A**2, sigma_A, gamma_A)
    height = np.expm1(x) * (1 + 8 * np.pi * gamma_A**3 / volume_A3(TRICLINIC))
    assert np.max(np.abs(found - expected) / height) < 5e-7


def test_a_chain_of_molecules():
    """The closed form of `disorder`, over all pairs of atoms of a chain of correlated molecules.

    With I(L) the intensity of L molecules in a row, the pairs of molecules at distance u number
    L − |u|, so that I(L+1) − I(L) is the sum over |u| ≤ L of what one molecule and all others
    scatter: that of a molecule in an endless chain,

        |F|² (1 − e^{−q²σ²} + e^{−q²σ²} H),

    up to e^{−12·8/5} = 5e-9. In the unit cell the next chains are 300 Å away: e^{−60}.
    """
    cell, divisions, sigma, gamma = (8.0, 300.0, 300.0, 90.0, 90.0, 90.0), (5, 1, 1), 0.5, 5.0
    rng = np.random.default_rng(2)
    molecule = rng.uniform(-2, 2, (3, 3))
    indices = np.stack([np.arange(1, 20), rng.integers(-60, 60, 19), rng.integers(0, 60, 19)], 1)
    s = indices / np.array(divisions) @ fractionalization(cell)
    factors = np.tile([6.0, 7.0, 8.0], (len(s), 1))
    found = chain(12 + 1, molecule, factors, s, sigma, gamma) - chain(
        12, molecule, factors, s, sigma, gamma
    )
    q2 = q_squared(indices, divisions, cell)
    transform = np.sum(factors * np.exp(2j * np.pi * s @ molecule.T), axis=1)
    halo = halo_factor(indices, divisions, cell, q2, sigma, gamma)
    damping = np.exp(-q2 * sigma**2)
    np.testing.assert_allclose(
        found, np.abs(transform) ** 2 * (1 - damping + damping * halo), rtol=1e-5
    )


def chain(length: int, molecule, factors, s, sigma: float, gamma: float) -> np.ndarray:
    """Diffuse intensity (V,) of molecules 8 Å apart along x whose translations are correlated.

    The square root of the covariance of the translations makes them modes of the whole chain.
    """
    x = 8.0 * np.arange(length)
    covariance = sigma**2 * np.exp(-np.abs(x[:, None] - x) / gamma)
    root = np.linalg.cholesky(covariance)
    atoms = len(molecule)
    positions = np.concatenate([molecule + np.array([shift, 0, 0]) for shift in x])
    displacements = np.einsum("lm,cd->mcld", root, np.eye(3)).reshape(-1, length, 1, 3)
    displacements = np.repeat(displacements, atoms, axis=2).reshape(-1, length * atoms, 3)
    return pair_sum_intensity(
        positions, np.tile(factors, (1, length)), s, displacements, Disorder()
    )


@pytest.mark.parametrize("n", [1, 2])
def test_sum_over_reciprocal_space(n):
    """Λ_n = 1/V Σ_G K_{γ/n}(q − G): Poisson's sum, K the transform of e^{−n|R|/γ}.

    The terms fall off as |q − G|⁻⁴. Beyond a sphere of radius Q about q the sum is an integral,
    with y = Qγ/n: 1/(8π³) ∫ K d³g = 2/π (π/2 − atan y + y/(1+y²)). The lattice points that a
    sphere of 35 cells holds differ from its volume by parts in 10⁴, as do the sums at its edge.
    """
    gamma, radius = 25.0, 15.0
    indices = np.array([[0, 0, 0], [0, 0, 1], [1, 0, 0], [1, 2, 2], [2, 1, 3]])
    found = 1 + coupling_sums(gamma, n, DIVISIONS, TRICLINIC)[n - 1].reshape(DIVISIONS)
    basis = 2 * np.pi * fractionalization(TRICLINIC)
    peaks = cube(35) @ basis
    y = radius * gamma / n
    beyond = 2 / np.pi * (np.pi / 2 - np.arctan(y) + y / (1 + y * y))
    for v, place in enumerate(indices / DIVISIONS):
        g2 = np.sum((peaks - place @ basis) ** 2, axis=1)
        g2 = g2[g2 < radius**2]
        kernel = 8 * np.pi * (gamma / n) ** 3 / (1 + (gamma / n) ** 2 * g2) ** 2
        expected = kernel.sum() / volume_A3(TRICLINIC) + beyond
        assert found[tuple(indices[v])] == pytest.approx(expected, rel=2e-6, abs=2e-6)


@pytest.mark.parametrize("sigma_A, gamma_A", [(0.0, 20.0), (0.4, 0.0), (0.4, 0.5)])
def test_no_halos_without_coupling(sigma_A, gamma_A):
    """At γ = 0.5 Å the nearest molecule, 10.7 Å away, is 21 γ away: beyond the cut."""
    indices = some_indices()
    q2 = q_squared(indices, DIVISIONS, TRICLINIC)
    assert not halo_factor(indices, DIVISIONS, TRICLINIC, q2, sigma_A, gamma_A).any()


def test_zone_average_is_zero():
    """Σ over the samples of a zone, at equal q², of cos 2π hkl·R is 0 for every R but those that
    are multiples of the divisions, at 7 · 10.7 Å here: 21 γ away and beyond the cut."""
    indices = np.stack(np.meshgrid(*[np.arange(7)] * 3, indexing="ij"), -1).reshape(-1, 3)
    halo = halo_factor(indices, (7, 7, 7), TRICLINIC, np.full(343, 12.0), 0.5, 3.5)
    assert np.abs(halo).max() > 1
    assert abs(halo.mean()) < 1e-12 * np.abs(halo).max()


def test_intensity_is_never_negative():
    """1 − e^{−x} + e^{−x} H is the variance of a sum over molecules, x = q²σ², for any γ.

    At long γ little of it is left between the Bragg peaks, and there the sums' error of 2e-6
    may show.
    """
    grid = grid_to_resolution(LYSOZYME, (7, 7, 7), 2.5)
    indices = grid.indices_between(3.0, 2.5)
    q2 = 4 * np.pi**2 * grid.inverse_d_squared(indices)
    for gamma in (10.0, 50.0, 200.0):
        halo = halo_factor(indices, (7, 7, 7), LYSOZYME, q2, 0.46, gamma)
        x = q2 * 0.46**2
        assert np.min(-np.expm1(-x) + np.exp(-x) * halo) > -2e-6


def test_laue_mates_have_the_same_halo():
    """Distances between molecules have the lattice's symmetry, here 4/mmm."""
    grid = grid_to_resolution(TETRAGONAL, (4, 4, 3), 3.0)
    indices = np.random.default_rng(3).integers(-15, 16, (40, 3))
    halos = LatticeHalos(TETRAGONAL, (4, 4, 3), 2.0)

    def factor(i):
        q2 = 4 * np.pi**2 * grid.inverse_d_squared(i)
        return halos.factor(zone_positions(i, (4, 4, 3)), q2, 0.4, 12.0)

    for axes in ([1, 0, 2], [0, 1, 2]):
        for signs in ([1, 1, 1], [-1, 1, 1], [1, 1, -1], [-1, -1, -1]):
            mates = indices[:, axes] * signs
            np.testing.assert_allclose(factor(mates), factor(indices), rtol=1e-9, atol=1e-9)


def test_a_voxel_does_not_know_its_neighbours():
    """The same bits, whichever part of the map a rank holds."""
    indices = some_indices(1000)
    q2 = q_squared(indices, DIVISIONS, TRICLINIC)
    halos = LatticeHalos(TRICLINIC, DIVISIONS, 1.0)
    positions = zone_positions(indices, DIVISIONS)
    whole = halos.factor(positions, q2, 0.5, 20.0)
    part = np.sort(np.random.default_rng(4).permutation(1000)[:137])
    np.testing.assert_array_equal(halos.factor(positions[part], q2[part], 0.5, 20.0), whole[part])


def test_correlation_over_too_many_cells():
    """Longer than V^{1/3} times eight, 239 Å in lysozyme's cell: refused, not hours of sums."""
    assert longest_gamma_A(LYSOZYME) == pytest.approx(239, abs=0.5)
    with pytest.raises(InputError, match="240 Å: expected up to 239 Å"):
        coupling_sums(240.0, 3, (7, 7, 7), LYSOZYME)


def tiled_map(profile: np.ndarray, space_group: str, unit_cell) -> DiffuseMap:
    """A map of which every zone is the profile, (n_h, n_k, n_l), times 1."""
    grid = grid_to_resolution(unit_cell, profile.shape, 2.5)
    indices = grid.indices_between(np.inf, 2.5)
    values = profile[tuple((indices % profile.shape).T)]
    return map_from_voxels(grid, indices, values, space_group)


def made_up_profile(divisions) -> np.ndarray:
    """Distinct numbers with p(i) = p(−i), the largest at 000."""
    numbers = np.random.default_rng(5).uniform(1, 2, divisions)
    back = np.roll(numbers[::-1, ::-1, ::-1], 1, axis=(0, 1, 2))
    profile = numbers + back
    profile[0, 0, 0] = 5
    return profile


def test_profile_of_a_tiled_map():
    """The average of equal zones is the zone, less its minimum; single precision in a map."""
    profile = made_up_profile(DIVISIONS)
    target = make_target(
        tiled_map(profile, "P 1", TRICLINIC), TargetOptions(6.0, 2.5, halo_radius=0.0)
    )
    np.testing.assert_allclose(zone_profile(target), profile - profile.min(), atol=1e-6)


def test_profile_of_a_masked_target():
    """Where the halos are cut out nothing is known; the minimum is that of the rest.

    At (4, 4, 4) samples the mask of 3/7 takes positions at up to one step along one axis
    (1/4), two (√2/4 = 0.354) or three (√3/4 = 0.433 > 3/7 is left): the 19 nearest to a peak.
    """
    profile = made_up_profile((4, 4, 4))
    target = make_target(tiled_map(profile, "P 1", TRICLINIC), TargetOptions(6.0, 2.5))
    found = zone_profile(target)
    known = np.isfinite(found)
    assert known.sum() == 64 - 19 and not known[0, 0, 0] and known[1, 1, 1]
    np.testing.assert_allclose(found[known], (profile - profile[known].min())[known], atol=1e-6)


@pytest.mark.parametrize("part", [1.0, 0.3])
def test_profile_counts_every_laue_mate_once(part):
    """P 4 2 2, voxel by voxel with gemmi's mates, of a whole target or part of one."""
    divisions = (4, 4, 3)
    rng = np.random.default_rng(6)
    grid = grid_to_resolution(TETRAGONAL, divisions, 4.0)
    indices = grid.indices_between(np.inf, 4.0)
    diffuse = map_from_voxels(grid, indices, rng.uniform(1, 2, len(indices)), "P 4 2 2")
    target = make_target(diffuse, TargetOptions(12.0, 4.0, halo_radius=0.0, n_shells=2))
    target = target.at(rng.uniform(size=len(target.indices)) < part)
    sums, counts = np.zeros(divisions), np.zeros(divisions)
    for voxel, value in zip(target.indices, target.intensity, strict=True):
        for mate in laue_mates(voxel, "P 4 2 2"):
            place = tuple(np.array(mate) % divisions)
            sums[place] += value
            counts[place] += 1
    assert counts.min() > 0
    mean = sums / counts
    np.testing.assert_allclose(zone_profile(target), mean - mean.min(), atol=1e-12)


def test_empirical_halo():
    """The profile to the power α at each voxel, over the mean of the known positions."""
    profile = made_up_profile(DIVISIONS) - 2.0
    profile -= profile.min()
    indices = some_indices()
    expected = profile**3.8 / np.mean(profile**3.8)
    found = empirical_halo(indices, profile, 3.8)
    np.testing.assert_allclose(found, expected[tuple((indices % DIVISIONS).T)], rtol=1e-12)


def test_empirical_halo_where_the_profile_is_unknown():
    """At a Bragg peak nobody can measure: as high as the highest known, which has mean 1."""
    profile = np.full((2, 2, 2), 1.0)
    profile[0, 0, 0], profile[1, 1, 1], profile[0, 0, 1] = np.nan, 0.0, 3.0
    # Six positions of 1, 0, 9, 1, 1, 1, 1 with α = 2: seven known, their sum 14.
    found = empirical_halo(np.array([[0, 0, 0], [2, 4, 1], [3, 1, 1]]), profile, 2.0)
    np.testing.assert_allclose(found, [4.5, 4.5, 0.0])


def test_flat_profile_is_no_halo():
    """Nothing above the minimum anywhere: the rigid body's intensity stays as it is."""
    assert np.all(empirical_halo(some_indices(), np.zeros(DIVISIONS), 3.8) == 1)
