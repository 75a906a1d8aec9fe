"""The molecular transform against direct sums in double precision and against gemmi."""

from dataclasses import replace

import gemmi
import numpy as np
import pytest
from builders import (
    ELEMENTS,
    TRICLINIC,
    direct_sum,
    gemmi_form_factors,
    random_structure,
    s_vectors,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_diffuser.crystal.atom_factors import atom_factors, atomic_numbers, form_factors
from hpc_diffuser.crystal.lattice import HklGrid, grid_to_resolution, inverse_d_squared
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.scattering.direct import (
    SAMPLES_AT_ONCE,
    DirectTransform,
    variance_and_mean_squared,
)
from hpc_diffuser.scattering.intensity import self_terms
from hpc_diffuser.scattering.slab import BLOCK, Slab, plane_costs, slab
from hpc_diffuser.system.errors import InputError

# Phases and sums in single precision (2⁻²⁴ = 6e-8 each), the form factors' table good to 1e-7:
# in the worst of thousands of voxels less than 1e-6 of rms F adds up. Thrice that is allowed.
SINGLE = 3e-6


def full_slab(grid: HklGrid, d_min: float) -> Slab:
    """All planes h = 0..extent."""
    return slab(grid, d_min, np.arange(grid.extent[0] + 1))


def some_samples(grid: HklGrid, d_min: float, n: int = 400) -> np.ndarray:
    """At most n of the samples in the sphere."""
    indices = grid.indices_between(np.inf, d_min)
    rng = np.random.default_rng(5)
    return indices[np.sort(rng.choice(len(indices), min(n, len(indices)), replace=False))]


def transform_at(structure: Structure, slab: Slab, indices: np.ndarray) -> np.ndarray:
    """F of the structure at samples, as the transform has it: (V,) complex."""
    real, imaginary = DirectTransform(structure, slab).structure_factors(structure.positions)
    rows = slab.position_of(indices)
    return real[rows] + 1j * imaginary[rows]


def assert_same_factors(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal to 3e-6 of rms F."""
    rms = np.sqrt(np.mean(np.abs(expected) ** 2))
    np.testing.assert_allclose(found, expected, rtol=0, atol=SINGLE * rms)


def wiggled(structure: Structure, n: int, size_A: float) -> np.ndarray:
    """n configurations with every coordinate displaced by `size_A`: (n, N, 3)."""
    noise = np.random.default_rng(6).normal(0, size_A, (n, len(structure), 3))
    return structure.positions + noise


def ensemble_moments(
    structure: Structure, slab: Slab, configurations: np.ndarray, indices: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """⟨|F|²⟩ − |⟨F⟩|² and |⟨F⟩|² at samples, as the transform has them."""
    transform = DirectTransform(structure, slab)
    rows = slab.position_of(indices)
    sums = transform.moments(configurations)[:, rows]
    mean = tuple(part[rows] for part in transform.mean)
    return variance_and_mean_squared(sums, mean, len(configurations))


@pytest.mark.parametrize("element", [*ELEMENTS, "H", "Fe", "Se", "Ca"])
def test_form_factors_agree_with_gemmi(element):
    """gemmi evaluates IT92 at sin²θ/λ² = s²/4, in single precision: 1e-6 for nine numbers."""
    s_squared = np.linspace(0, 1.5, 40)
    expected = gemmi_form_factors(np.array([element]), s_squared)
    np.testing.assert_allclose(form_factors(np.array([element]), s_squared), expected, rtol=1e-6)


def test_form_factors_come_one_column_for_each_element():
    """(V, E), in the order asked for; at s = 0 the number of electrons (IT92: to 0.02)."""
    found = form_factors(np.array(["S", "C", "O"]), np.zeros(2))
    np.testing.assert_allclose(found, [[16, 6, 8]] * 2, atol=0.02)


@pytest.mark.parametrize("name", ["X", "Qq", ""])
def test_unknown_element(name):
    """The message quotes it and says what to do."""
    with pytest.raises(InputError, match=f'element "{name}" has no IT92.*correct the structure'):
        form_factors(np.array(["C", name]), np.zeros(1))


def test_atomic_numbers_count_what_is_there():
    """Z of every atom in the structure's order, times its occupancy."""
    structure = random_structure(np.random.default_rng(0), 12)
    z = np.array([gemmi.Element(str(name)).atomic_number for name in structure.elements])
    np.testing.assert_array_equal(atomic_numbers(structure), z * structure.occupancies)


def test_kinds_of_atoms():
    """Each element, volume and B-factor is one kind; B is rounded to 0.1 Å²; names go along."""
    structure = random_structure(np.random.default_rng(0), 40)
    plain = atom_factors(structure)
    np.testing.assert_array_equal(plain.elements[plain.kind], structure.elements)
    assert len(plain.elements) == len(set(structure.elements))
    b = np.repeat([0.04, 5.0, 5.02, 7.3], 10)
    dimmed = atom_factors(structure, b_factors_A2=b)
    np.testing.assert_allclose(dimmed.b_factors_A2[dimmed.kind], np.repeat([0, 5, 5, 7.3], 10))
    np.testing.assert_array_equal(dimmed.elements[dimmed.kind], structure.elements)


def test_dimmed_factors():
    """f e^{−Bs²/4}, and Σ o² f² with and without it."""
    structure = random_structure(np.random.default_rng(0), 40)
    s_squared, b = np.linspace(0, 0.4, 15), np.linspace(0, 30, 40).round(1)
    factors = atom_factors(structure, b_factors_A2=b)
    still = gemmi_form_factors(structure.elements, s_squared) * structure.occupancies
    found = factors.at(s_squared)[:, factors.kind] * structure.occupancies
    expected = still * np.exp(-np.outer(s_squared, b) / 4)
    np.testing.assert_allclose(found, expected, rtol=2e-6)
    terms = self_terms(factors, s_squared)
    np.testing.assert_allclose(terms.still, np.sum(still**2, axis=1), rtol=2e-6)
    np.testing.assert_allclose(terms.dimmed, np.sum(expected**2, axis=1), rtol=5e-6)


def test_self_term_is_the_sum_of_squares():
    """S = Σ o_a² f_a², atom by atom; gemmi's f is good to 1e-6."""
    structure = random_structure(np.random.default_rng(0), 40)
    s_squared = np.linspace(0, 0.4, 15)
    factors = gemmi_form_factors(structure.elements, s_squared)
    expected = np.sum((structure.occupancies * factors) ** 2, axis=1)
    np.testing.assert_allclose(
        self_terms(atom_factors(structure), s_squared).still, expected, rtol=2e-6
    )


def test_self_term_at_the_origin_counts_electrons():
    """At q = 0 every atom scatters its Z electrons: Σ o² Z², IT92 to 0.1 % of Z."""
    structure = random_structure(np.random.default_rng(0), 40)
    z = np.array([gemmi.Element(str(name)).atomic_number for name in structure.elements])
    expected = np.sum((structure.occupancies * z) ** 2)
    assert self_terms(atom_factors(structure), np.zeros(1)).still[0] == pytest.approx(
        expected, rel=2e-3
    )


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    edges=st.tuples(*[st.floats(7, 16)] * 3),
    angles=st.tuples(*[st.floats(70, 115)] * 3),
    divisions=st.tuples(*[st.integers(1, 5) | st.floats(1, 5)] * 3),
    n_atoms=st.integers(1, 30),
    seed=st.integers(0, 1000),
)
def test_transform_is_the_sum_over_atoms(edges, angles, divisions, n_atoms, seed):
    """Any oblique cell, five elements, partial occupancies: Σ o f e^{2πi s·r}.

    Also for divisions that are no whole numbers, of grids that are only computed on.
    """
    structure = random_structure(np.random.default_rng(seed), n_atoms)
    d_min = 2.2
    grid = grid_to_resolution((*edges, *angles), divisions, d_min)
    indices = some_samples(grid, d_min, 200)
    found = transform_at(structure, full_slab(grid, d_min), indices)
    assert_same_factors(found, direct_sum(structure, s_vectors(grid, indices)))


@pytest.mark.parametrize("divisions", [(7, 7, 7), (6, 4, 2)], ids=str)
def test_transform_on_a_fine_grid(divisions):
    """Sections of more than a hundred rows, at 1.4 Å: phases are multiplied up without loss."""
    structure = random_structure(np.random.default_rng(1), 60, radius_A=8.0)
    cell = (24.1, 26.3, 23.0, 82.0, 101.0, 113.0)
    grid = grid_to_resolution(cell, divisions, 1.4)
    planes = np.array([0, 3, grid.extent[0] // 2, grid.extent[0]])
    indices = some_samples(grid, 1.4, 100_000)
    indices = indices[np.isin(indices[:, 0], planes)]
    found = transform_at(structure, slab(grid, 1.4, planes), indices)
    assert_same_factors(found, direct_sum(structure, s_vectors(grid, indices)))


def test_atoms_far_from_the_origin():
    """A molecule 300 Å away: its phases are large, and still right."""
    structure = random_structure(np.random.default_rng(1), 30)
    moved = replace(structure, positions=structure.positions + np.array([200.0, -210.0, 95.0]))
    grid = grid_to_resolution(TRICLINIC, (3, 3, 3), 2.0)
    indices = some_samples(grid, 2.0)
    found = transform_at(moved, full_slab(grid, 2.0), indices)
    assert_same_factors(found, direct_sum(moved, s_vectors(grid, indices)))


@pytest.mark.parametrize("divisions", [(1, 1, 1), (3, 2, 4)], ids=str)
def test_bragg_peaks_agree_with_gemmi(divisions):
    """At integer hkl F is gemmi's structure factor of the P 1 crystal (IT92, B = 0)."""
    structure = random_structure(np.random.default_rng(2), 25)
    grid = grid_to_resolution(TRICLINIC, divisions, 1.8)
    peaks = grid_to_resolution(TRICLINIC, (1, 1, 1), 1.8).indices_between(np.inf, 1.8)
    peaks = peaks[np.random.default_rng(3).choice(len(peaks), 100, replace=False)]
    found = transform_at(structure, full_slab(grid, 1.8), peaks * np.array(divisions))
    calculator = gemmi.StructureFactorCalculatorX(gemmi.UnitCell(*TRICLINIC))
    model = gemmi_model(structure)
    expected = [calculator.calculate_sf_from_model(model, hkl) for hkl in peaks.tolist()]
    assert_same_factors(found, np.array(expected))


def gemmi_model(structure: Structure) -> gemmi.Model:
    """The same atoms in gemmi, with B = 0."""
    residue = gemmi.Residue()
    residue.name, residue.seqid = "UNL", gemmi.SeqId("1")
    for i in range(len(structure)):
        atom = gemmi.Atom()
        atom.name, atom.element = "X", gemmi.Element(str(structure.elements[i]))
        atom.pos = gemmi.Position(*structure.positions[i])
        atom.occ, atom.b_iso = float(structure.occupancies[i]), 0.0
        residue.add_atom(atom)
    chain = gemmi.Chain("A")
    chain.add_residue(residue)
    model = gemmi.Model(1)
    model.add_chain(chain)
    return model


def test_transform_at_the_origin_counts_electrons():
    """F(000) = Σ o f(0), real."""
    structure = random_structure(np.random.default_rng(2), 25)
    grid = grid_to_resolution(TRICLINIC, (2, 2, 2), 4.0)
    found = transform_at(structure, full_slab(grid, 4.0), np.zeros((1, 3), np.int64))[0]
    electrons = structure.occupancies @ gemmi_form_factors(structure.elements, np.zeros(1))[0]
    assert found == pytest.approx(electrons, rel=1e-6)


def test_friedel_mates_are_conjugate():
    """F(−h) = F(h)*, on planes h and −h of one slab."""
    structure = random_structure(np.random.default_rng(2), 25)
    grid = grid_to_resolution(TRICLINIC, (3, 2, 4), 2.5)
    planes = np.arange(-grid.extent[0], grid.extent[0] + 1)
    indices = some_samples(grid, 2.5)
    plus, minus = (transform_at(structure, slab(grid, 2.5, planes), i) for i in (indices, -indices))
    assert_same_factors(minus, plus.conj())


def test_moving_by_a_lattice_vector_leaves_bragg_peaks():
    """e^{2πi h·n} = 1 at integer hkl: only samples between the peaks see it."""
    structure = random_structure(np.random.default_rng(2), 25)
    axes = np.array(gemmi.UnitCell(*TRICLINIC).orth.mat.tolist()).T
    moved = replace(structure, positions=structure.positions + np.array([1, -2, 3]) @ axes)
    grid = grid_to_resolution(TRICLINIC, (3, 3, 3), 2.5)
    indices = some_samples(grid, 2.5, 100_000)
    peaks = indices[(indices % 3 == 0).all(axis=1)]
    here, there = (transform_at(atoms, full_slab(grid, 2.5), peaks) for atoms in (structure, moved))
    assert_same_factors(there, here)


@pytest.mark.parametrize(
    "unit_cell",
    [TRICLINIC, (15.0, 11.0, 23.0, 90.0, 97.3, 90.0), (9.0, 30.0, 12.0, 65.0, 70.0, 118.0)],
    ids=str,
)
@pytest.mark.parametrize("divisions", [(1, 1, 1), (2, 3, 4)], ids=str)
def test_every_sample_has_its_own_place(unit_cell, divisions):
    """All samples of the sphere lie inside the slab's arrays, no two at one place."""
    grid = grid_to_resolution(unit_cell, divisions, 2.3)
    whole = full_slab(grid, 2.3)
    indices = grid.indices_between(np.inf, 2.3)
    places = whole.position_of(indices)
    assert len(np.unique(places)) == len(indices)
    assert places.min() >= 0 and places.max() < whole.size
    planes = np.searchsorted(whole.offsets, places, side="right") - 1
    np.testing.assert_array_equal(whole.h[planes], indices[:, 0])


@pytest.mark.parametrize("unit_cell", [TRICLINIC, (9.0, 30.0, 12.0, 65.0, 70.0, 118.0)], ids=str)
def test_every_sample_is_computed(unit_cell):
    """Rows are cut to the sphere: each sample must lie within the reach of its row."""
    grid = grid_to_resolution(unit_cell, (2, 3, 4), 2.3)
    whole = full_slab(grid, 2.3)
    indices = grid.indices_between(np.inf, 2.3)
    plane = np.searchsorted(whole.h, indices[:, 0])
    k, l = np.abs(indices[:, 1:] - whole.centres[plane]).T  # noqa: E741
    assert (k <= whole.halves[plane, 0]).all()
    assert (l <= whole.row_halves[whole.row_offsets[plane] + k]).all()


def test_samples_on_the_surface_of_the_sphere_have_a_place():
    """In a cubic cell of 10 Å at exactly 2 Å, 500 and 340 lie on the surface: h²+k²+l² = 25."""
    structure = random_structure(np.random.default_rng(2), 25)
    grid = grid_to_resolution((10.0, 10.0, 10.0, 90.0, 90.0, 90.0), (1, 1, 1), 2.0)
    indices = grid.indices_between(2.0, 2.0)
    # 6 of the form 500 and 24 of 340, one of each Friedel pair.
    assert len(indices) == 15
    found = transform_at(structure, full_slab(grid, 2.0), indices)
    assert_same_factors(found, direct_sum(structure, s_vectors(grid, indices)))


def test_blocks_hold_neighbouring_planes():
    """Planes 8n to 8n+7, as far as the slab has them, in the largest of their sections."""
    grid = grid_to_resolution(TRICLINIC, (9, 3, 3), 2.0)
    planes = np.array([3, 5, 7, 8, 40, 41])
    part = slab(grid, 2.0, planes)
    np.testing.assert_array_equal(part.blocks, [0, 3, 4, 6])
    for first, last in zip(part.blocks, part.blocks[1:], strict=False):
        alone = [slab(grid, 2.0, planes[p : p + 1]).halves[0] for p in range(first, last)]
        np.testing.assert_array_equal(part.halves[first:last], [np.max(alone, axis=0)] * len(alone))


def test_s_squared_of_every_stored_value():
    """|s|² where the samples are stored is that of the grid."""
    grid = grid_to_resolution(TRICLINIC, (3, 4, 3), 2.5)
    whole = full_slab(grid, 2.5)
    indices = grid.indices_between(np.inf, 2.5)
    found = whole.s_squared()[whole.position_of(indices)]
    np.testing.assert_allclose(found, grid.inverse_d_squared(indices), atol=1e-12)


def test_costs_follow_the_voxels_of_the_planes():
    """A quadrant of a block's largest section, so at least a quarter of each plane's voxels.

    Rows and columns through the centre are counted whole, and both halves of a row as the
    longer one: on sections of 40 voxels across a few percent more than the largest plane's.
    """
    grid = grid_to_resolution((24.1, 26.3, 23.0, 82.0, 101.0, 113.0), (5, 5, 5), 2.5)
    costs = plane_costs(grid, 2.5)
    indices = grid.indices_between(np.inf, 2.5)
    voxels = np.bincount(indices[:, 0])
    voxels[0] = 2 * voxels[0] - 1  # of the plane h = 0 only one of each Friedel pair is listed
    assert len(costs) == grid.extent[0] + 1
    assert (4 * costs >= voxels).all()
    for first in range(0, len(costs), BLOCK):
        block = slice(first, first + BLOCK)
        np.testing.assert_array_equal(costs[block], costs[first])
        if voxels[first] > 1000:
            np.testing.assert_allclose(4 * costs[first], voxels[block].max(), rtol=0.15)


@pytest.mark.parametrize("n_samples", [1, 5, SAMPLES_AT_ONCE, 2 * SAMPLES_AT_ONCE + 3])
def test_moments_are_means_over_configurations(n_samples):
    """⟨|F|²⟩ − |⟨F⟩|² and |⟨F⟩|² are np.mean over the structure factors of each one.

    The sums carry the single-precision error of F, so 3e-6 of their rms (twice that for
    squares of them).
    """
    structure = random_structure(np.random.default_rng(2), 30)
    grid = grid_to_resolution(TRICLINIC, (3, 2, 4), 2.0)
    indices = some_samples(grid, 2.0)
    configurations = wiggled(structure, n_samples, 0.3)
    variance, mean_squared = ensemble_moments(
        structure, full_slab(grid, 2.0), configurations, indices
    )
    factors = direct_sum(structure, s_vectors(grid, indices), configurations)
    expected = np.abs(factors.mean(axis=0)) ** 2
    tolerance = 2 * SINGLE * np.mean(np.abs(factors) ** 2)
    np.testing.assert_allclose(mean_squared, expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(
        variance, np.mean(np.abs(factors) ** 2, axis=0) - expected, rtol=0, atol=tolerance
    )


def test_small_motion_keeps_its_digits():
    """Motion of 0.002 Å leaves a variance of 2e-5 |F|²: still good to 2e-4 of its mean.

    D = F − F₀ is about q·0.002 Å ≈ 0.4 % of F and known to 6e-7 of F: 1e-4 of itself. As a
    difference of single-precision |F|² the variance would be lost in 1e-6/2e-5 = 5 %.
    """
    structure = random_structure(np.random.default_rng(2), 30)
    grid = grid_to_resolution(TRICLINIC, (2, 2, 2), 2.0)
    indices = some_samples(grid, 2.0)
    configurations = wiggled(structure, 8, 0.002)
    variance, _ = ensemble_moments(structure, full_slab(grid, 2.0), configurations, indices)
    factors = direct_sum(structure, s_vectors(grid, indices), configurations)
    expected = np.mean(np.abs(factors - factors.mean(axis=0)) ** 2, axis=0)
    np.testing.assert_allclose(variance, expected, rtol=0, atol=2e-4 * expected.mean())


def test_configurations_equal_to_the_mean_have_no_variance():
    """D = F − F₀ is 0 to the bit."""
    structure = random_structure(np.random.default_rng(2), 30)
    grid = grid_to_resolution(TRICLINIC, (2, 2, 2), 2.5)
    transform = DirectTransform(structure, full_slab(grid, 2.5))
    assert not transform.moments(np.stack([structure.positions] * 3)).any()


def test_variance_does_not_know_the_origin():
    """All configurations moved alike: F gets one more phase factor, |F| and its spread none."""
    structure = random_structure(np.random.default_rng(2), 30)
    shift = np.array([3.0, -5.0, 2.0])
    moved = replace(structure, positions=structure.positions + shift)
    grid = grid_to_resolution(TRICLINIC, (3, 3, 3), 2.0)
    indices, whole = some_samples(grid, 2.0), full_slab(grid, 2.0)
    configurations = wiggled(structure, 10, 0.3)
    here = ensemble_moments(structure, whole, configurations, indices)
    there = ensemble_moments(moved, whole, configurations + shift, indices)
    scale = np.mean(here[0] + here[1])
    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(other, one, rtol=0, atol=2 * SINGLE * scale)


def test_reference_of_the_moments_does_not_matter():
    """Var F is the same about any constant F₀: here that of a structure 0.2 Å away."""
    structure = random_structure(np.random.default_rng(2), 30)
    other = replace(structure, positions=wiggled(structure, 1, 0.2)[0])
    grid = grid_to_resolution(TRICLINIC, (2, 2, 2), 2.0)
    indices, whole = some_samples(grid, 2.0), full_slab(grid, 2.0)
    configurations = wiggled(structure, 10, 0.3)
    one = ensemble_moments(structure, whole, configurations, indices)
    two = ensemble_moments(other, whole, configurations, indices)
    scale = np.mean(one[0] + one[1])
    np.testing.assert_allclose(two, one, rtol=0, atol=2 * SINGLE * scale)


def test_resolution_of_samples_is_that_of_s():
    """The Cartesian s of the oracle has the |s|² of the metric that the transform uses."""
    grid = grid_to_resolution(TRICLINIC, (3, 2, 4), 2.0)
    indices = some_samples(grid, 2.0)
    s = s_vectors(grid, indices)
    hkl = indices / np.array(grid.divisions)
    np.testing.assert_allclose(np.sum(s**2, axis=1), inverse_d_squared(hkl, TRICLINIC), rtol=1e-12)
