"""Centred lattices: where there are Bragg peaks, and what their molecules' coupling scatters."""

from itertools import product

import gemmi
import numpy as np
import pytest

from hpc_diffuser.crystal.lattice import (
    brillouin_zone,
    centring,
    distance_to_bragg,
    fractionalization,
    grid_to_resolution,
    laue_operations,
    laue_zones,
)
from hpc_diffuser.maps.target import TargetOptions, make_target, map_from_voxels
from hpc_diffuser.maps.target_options import HALO_RADIUS
from hpc_diffuser.scattering.halos import halo_factor, longest_gamma_A, zone_profile

CENTRED = {
    "C 1 2 1": (20.0, 24.0, 18.0, 90.0, 105.0, 90.0),
    "I 2 3": (20.0, 20.0, 20.0, 90.0, 90.0, 90.0),
    "F 2 2 2": (20.0, 22.0, 24.0, 90.0, 90.0, 90.0),
    "R 3:H": (22.0, 22.0, 25.0, 90.0, 90.0, 120.0),
}
DIVISIONS = (4, 4, 4)
CUBE = np.array(list(product(range(-4, 5), repeat=3)))


def centring_translations(space_group: str) -> np.ndarray:
    """gemmi's, fractional: (C, 3)."""
    return np.array(gemmi.find_spacegroup_by_name(space_group).operations().cen_ops) / 24


@pytest.mark.parametrize("space_group", [*CENTRED, "P 41", "R 3:R", "A 1 2 1", "H 3"])
def test_bragg_peaks_are_those_that_gemmi_allows(space_group):
    """Of the translations alone, in the group of nothing else."""
    group = gemmi.GroupOps([gemmi.Op("x,y,z")])
    group.cen_ops = gemmi.find_spacegroup_by_name(space_group).operations().cen_ops
    expected = [not group.is_systematically_absent(hkl) for hkl in CUBE.tolist()]
    np.testing.assert_array_equal(centring(space_group).allows(CUBE), expected)


@pytest.mark.parametrize("space_group", CENTRED)
def test_zone_and_distance_are_of_the_nearest_allowed_peak(space_group):
    """Of all allowed peaks, one by one; zones are mated where samples are Laue mates."""
    lattice, cell = centring(space_group), CENTRED[space_group]
    indices = np.random.default_rng(0).integers(-9, 10, (200, 3))
    hkl = indices / 4
    peaks = CUBE[lattice.allows(CUBE)]
    away = np.linalg.norm(hkl[:, None] - peaks, axis=-1)
    np.testing.assert_allclose(distance_to_bragg(indices, DIVISIONS, lattice), away.min(axis=1))
    zones = brillouin_zone(indices, DIVISIONS, lattice)
    assert lattice.allows(zones).all()
    np.testing.assert_allclose(np.linalg.norm(hkl - zones, axis=1), away.min(axis=1))
    operations = laue_operations(space_group, cell)
    of_sample = laue_zones(indices, DIVISIONS, operations, lattice)
    for operation in operations:
        of_mate = laue_zones(indices @ operation, DIVISIONS, operations, lattice)
        np.testing.assert_array_equal(of_mate, of_sample)


@pytest.mark.parametrize("space_group", CENTRED)
def test_sum_over_the_crystal(space_group):
    """H = Σ_{R≠0} (exp(q²σ² e^{−|R|/γ}) − 1) cos 2π hkl·R, centring translations among the R.

    As in `test_halos`: cut at 20 γ, which leaves out 5e-7 of its height at a Bragg peak.
    """
    cell, sigma, gamma = CENTRED[space_group], 0.4, 9.0
    indices = np.random.default_rng(1).integers(-20, 21, (40, 3))
    to_fractional = fractionalization(cell)
    q2 = 4 * np.pi**2 * np.sum((indices / 4 @ to_fractional) ** 2, axis=1)
    cells = np.stack(np.meshgrid(*[np.arange(-14, 15)] * 3, indexing="ij"), -1).reshape(-1, 3)
    lattice = np.concatenate([cells + c for c in centring_translations(space_group)])
    r = np.linalg.norm(lattice @ np.linalg.inv(to_fractional).T, axis=1)
    near = (r > 0) & (r < 25 * gamma)
    coupling, lattice = np.exp(-r[near] / gamma), lattice[near]
    expected = [
        np.expm1(x * coupling) @ np.cos(2 * np.pi * lattice @ i)
        for x, i in zip(q2 * sigma**2, indices / 4, strict=True)
    ]
    found = halo_factor(indices, DIVISIONS, cell, q2, sigma, gamma, centring(space_group))
    density = len(centring_translations(space_group)) * np.linalg.det(to_fractional)
    height = np.expm1(q2 * sigma**2) * (1 + 8 * np.pi * gamma**3 * density)
    assert np.max(np.abs(found - expected) / height) < 1e-6


def test_correlation_over_so_many_primitive_cells():
    """I has two of them in a cell: 8 (V/2)^{1/3}."""
    cell = CENTRED["I 2 3"]
    assert longest_gamma_A(cell, centring("I 2 3")) == pytest.approx(8 * 20 / 2 ** (1 / 3))


def tiled_target(space_group: str, halo_radius: float):
    """Of a map whose intensity is 1 + cos 2πh cos 2πk cos 2πl where I allows it: I's period."""
    grid = grid_to_resolution(CENTRED["I 2 3"], DIVISIONS, 2.5)
    indices = grid.indices_between(np.inf, 2.5)
    values = 2 + np.prod(np.cos(np.pi * indices / 4), axis=1)
    diffuse = map_from_voxels(grid, indices, values, space_group)
    return make_target(diffuse, TargetOptions(6.0, 2.5, halo_radius=halo_radius))


def test_profile_has_the_period_of_the_lattice():
    """Π cos πh is 1 or −1 at integer hkl: its zones repeat after two, and with h + k + l even.

    Averaged over all eight kinds of hkl it would be flat.
    """
    found = zone_profile(tiled_target("I 2 3", 0.0))
    assert found.shape == (8, 8, 8)
    places = np.indices(found.shape).reshape(3, -1).T
    # Shifted by an allowed peak, two of the three cosines change sign: the product does not.
    expected = 1 + np.prod(np.cos(np.pi * places / 4), axis=1)
    np.testing.assert_allclose(found.ravel(), expected, atol=1e-6)


def test_halos_are_about_allowed_peaks_only():
    """In I the target keeps the voxels at odd h + k + l; taken for P 2 3 it would not."""
    kept = {
        name: {tuple(i) for i in tiled_target(name, HALO_RADIUS).indices.tolist()}
        for name in ("I 2 3", "P 2 3")
    }
    assert kept["P 2 3"] < kept["I 2 3"]
    more = np.array(sorted(kept["I 2 3"] - kept["P 2 3"]))
    assert (np.rint(more / 4).sum(axis=1) % 2 == 1).all()
    assert [16, 4, 0] in more.tolist()
