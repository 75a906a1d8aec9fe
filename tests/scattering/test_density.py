"""Structure factors through a drawn density, against sums over atoms."""

from dataclasses import replace

import numpy as np
import pytest
from builders import direct_sum, gemmi_form_factors, random_structure, s_vectors
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gamma, jv

from hpc_diffuser.commands.examples.protein import build_protein
from hpc_diffuser.crystal.atom_factors import atom_factors
from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.scattering.density import DensityTransform
from hpc_diffuser.scattering.direct import DirectTransform
from hpc_diffuser.scattering.shapes import DRAWING_ERROR, fit_shapes, radial_transform
from hpc_diffuser.scattering.slab import slab
from hpc_diffuser.scattering.transform import choose_transform, transform_costs

PROTEIN = build_protein()
CELL = (27.2, 31.9, 34.3, 88.5, 108.6, 111.9)


def full_slab(cell, divisions, d_min):
    """All planes of a grid that holds the resolution sphere."""
    grid = grid_to_resolution(cell, divisions, d_min)
    return slab(grid, d_min, np.arange(grid.extent[0] + 1))


def factors_at(transform, indices, positions):
    """F of one configuration at sample indices, its origin moved back: (V,) complex."""
    real, imaginary = transform.structure_factors(positions)
    rows = transform.slab.position_of(indices)
    s = s_vectors(transform.slab.grid, indices)
    return (real[rows] + 1j * imaginary[rows]) * np.exp(2j * np.pi * s @ transform.origin)


def relative_rms(found, expected):
    """|found − expected| / |expected|, both rms."""
    return np.sqrt(np.mean(np.abs(found - expected) ** 2) / np.mean(np.abs(expected) ** 2))


def wiggled(structure, n, size_A):
    """n configurations with every coordinate displaced by `size_A`: (n, N, 3)."""
    noise = np.random.default_rng(6).normal(0, size_A, (n, len(structure), 3))
    return structure.positions + noise


@pytest.mark.parametrize("power", [1, 2, 5])
def test_transform_of_a_radial_polynomial(power):
    """The ball's (1 − r²/R²)ʲ has the transform R³ Γ(j+1) π⁻ʲ x^{−j−3/2} J_{j+3/2}(2πx), x = sR.

    Bochner and Riesz's means in three dimensions (Stein & Weiss, Fourier Analysis, IV.4.15).
    """
    radius, s = 1.7, np.linspace(0.05, 2, 30)
    x = s * radius
    order = power + 1.5
    expected = radius**3 * gamma(power + 1) / np.pi**power * x**-order * jv(order, 2 * np.pi * x)
    found = radial_transform(radius, power, s)[:, -1]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("elements", [("C",), ("C", "N", "O", "S"), ("H", "C", "N", "O", "S")])
@pytest.mark.parametrize("d_min", [1.0, 1.4, 2.5])
def test_shapes_reach_the_tolerance(elements, d_min):
    """What the elements of proteins are drawn with transforms to f·B: within 1e-3 of F, by rms.

    The transform is taken by a sum over 4000 spherical shells, the form factor from gemmi.
    """
    structure = random_structure(np.random.default_rng(1), 400, elements=elements)
    shapes = fit_shapes(atom_factors(structure), CELL, d_min)
    assert shapes.error <= DRAWING_ERROR
    r = (np.arange(4000) + 0.5) / 4000 * shapes.radius_A
    v = 1 - (r / shapes.radius_A) ** 2
    s = (np.arange(60) + 0.5) / 60 / d_min
    waves = 4 * np.pi * r**2 * np.sinc(2 * np.outer(s, r)) * (shapes.radius_A / 4000)
    powers = v[:, None] ** np.arange(1, shapes.coefficients.shape[1] + 1)
    blur = np.interp(s, shapes.s, shapes.blur)
    names, counts = np.unique(structure.elements, return_counts=True)
    found = waves @ powers @ shapes.coefficients.T / blur[:, None]
    expected = gemmi_form_factors(names, s**2)
    weights = s[:, None] ** 2 * counts
    error = np.sum(weights * (found - expected) ** 2 / np.mean(expected**2 @ counts / counts.sum()))
    assert np.sqrt(error / weights.sum()) < 1.5 * DRAWING_ERROR


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    edges=st.tuples(*[st.floats(9, 20)] * 3),
    angles=st.tuples(*[st.floats(70, 115)] * 3),
    divisions=st.tuples(*[st.floats(1, 4)] * 3),
    n_atoms=st.integers(1, 200),
    seed=st.integers(0, 1000),
)
def test_transform_is_the_sum_over_atoms(edges, angles, divisions, n_atoms, seed):
    """Any oblique cell, five elements, partial occupancies: Σ o f e^{2πi s·r}, phase and all.

    The error is that of independent atoms, whose rms is within 1e-3 of F's; the structures
    have few atoms, and an element's error counts in them by chance: twice that is allowed.
    """
    structure = random_structure(
        np.random.default_rng(seed), n_atoms, elements=("H", "C", "N", "O", "S")
    )
    transform = DensityTransform(structure, full_slab((*edges, *angles), divisions, 2.0))
    indices = transform.slab.grid.indices_between(np.inf, 2.0)
    indices = indices[:: max(1, len(indices) // 300)]
    expected = direct_sum(structure, s_vectors(transform.slab.grid, indices))
    found = factors_at(transform, indices, structure.positions)
    assert relative_rms(found, expected) < 2 * DRAWING_ERROR


def test_moments_are_those_of_the_direct_sum():
    """Σ|D|² and |F₀ + ΣD/n|² of a moving protein, within twice the error of F."""
    part = full_slab(CELL, (2.5, 2.3, 2.6), 1.8)
    configurations = wiggled(PROTEIN, 7, 0.3)
    used = part.position_of(part.grid.indices_between(np.inf, 1.8))
    (direct, direct_mean), (density, density_mean) = (
        (t.moments(configurations)[:, used], np.array(t.mean)[:, used])
        for t in (DirectTransform(PROTEIN, part), DensityTransform(PROTEIN, part))
    )
    assert relative_rms(density[2], direct[2]) < 2 * DRAWING_ERROR
    direct_mean, density_mean = direct_mean + direct[:2] / 7, density_mean + density[:2] / 7
    found, expected = (np.sum(m**2, axis=0) for m in (density_mean, direct_mean))
    assert relative_rms(found, expected) < 2 * DRAWING_ERROR


def test_atoms_far_from_the_others_are_drawn_too():
    """The box follows the configurations: a part of the molecule 30 Å away still counts."""
    part = full_slab(CELL, (3.0, 3.0, 3.0), 2.5)
    transform = DensityTransform(PROTEIN, part)
    positions = PROTEIN.positions.copy()
    positions[:40] += [30.0, -25.0, 10.0]
    indices = part.grid.indices_between(np.inf, 2.5)[::50]
    expected = direct_sum(replace(PROTEIN, positions=positions), s_vectors(part.grid, indices))
    assert relative_rms(factors_at(transform, indices, positions), expected) < 2 * DRAWING_ERROR


@pytest.mark.parametrize("angles", [(60, 60, 60), (120, 90, 90), (50, 90, 100)], ids=str)
def test_skewed_cells(angles):
    """Atoms are balls in Å, whatever the grid; the copies of the sphere do not overlap."""
    part = full_slab((20.0, 24.0, 22.0, *angles), (2.0, 2.0, 2.0), 2.5)
    transform = DensityTransform(PROTEIN, part)
    indices = part.grid.indices_between(np.inf, 2.5)[::50]
    expected = direct_sum(PROTEIN, s_vectors(part.grid, indices))
    found = factors_at(transform, indices, PROTEIN.positions)
    assert relative_rms(found, expected) < 2 * max(DRAWING_ERROR, transform.drawing.base.error)


def test_the_cheaper_transform_is_chosen():
    """A handful of atoms is summed directly, a protein drawn; either can be asked for."""
    few = random_structure(np.random.default_rng(2), 6)
    grid = grid_to_resolution(CELL, (3, 3, 3), 1.6)
    assert choose_transform(few, grid, 1.6, "auto") is DirectTransform
    assert choose_transform(PROTEIN, grid, 1.6, "auto") is DensityTransform
    assert choose_transform(few, grid, 1.6, "density") is DensityTransform
    assert choose_transform(PROTEIN, grid, 1.6, "direct") is DirectTransform


def test_cost_hardly_depends_on_the_number_of_atoms():
    """Twice the atoms in the same volume: the direct sum costs twice, the density a little more."""
    twice = random_structure(np.random.default_rng(2), 2000, 14.0)
    once = twice.select(np.arange(1000))
    grid = grid_to_resolution(CELL, (3, 3, 3), 1.6)
    (direct_1, density_1), (direct_2, density_2) = (
        transform_costs(structure, grid, 1.6) for structure in (once, twice)
    )
    assert direct_2 == pytest.approx(2 * direct_1)
    assert density_2 < 1.3 * density_1
