"""Springs of any shape: against SciPy's matrix exponential, and what holds of all of them."""

import numpy as np
import pytest
from conftest import UNIT_CELL, tiny_modes
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.linalg import expm, expm_frechet, logm
from test_lattice_dynamics import springs_of

from hpc_diffuser.motion.lattice.full_springs import (
    N_SHAPE,
    changed_stiffness,
    changed_stiffness_slopes,
    roots,
    shape_basis,
)
from hpc_diffuser.motion.lattice.rigid import moved_centre, turned
from hpc_diffuser.motion.lattice.rigid_lattice import rigid_lattice
from hpc_diffuser.system.errors import InputError

RNG = np.random.default_rng


def some_springs(n=2):
    """K⁰ in kT per Å², Å and 1, and the numbers of S."""
    factors = RNG(1).normal(size=(n, 6, 6)) * [1, 1, 1, 8, 8, 8]
    return factors.swapaxes(1, 2) @ factors, RNG(2).normal(size=(n, N_SHAPE))


def test_against_the_matrix_exponential():
    geometric, shape = some_springs()
    found, slopes = changed_stiffness(geometric, shape), changed_stiffness_slopes(geometric, shape)
    for i, root in enumerate(roots(geometric)):
        s = np.tensordot(shape[i], shape_basis(), 1)
        np.testing.assert_allclose(root @ root, geometric[i], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(found[i], root @ expm(s) @ root, rtol=1e-9, atol=1e-9)
        for j, along in enumerate(shape_basis()):
            expected = root @ expm_frechet(s, along, compute_expm=False) @ root
            np.testing.assert_allclose(slopes[i, j], expected, rtol=1e-8, atol=1e-8)


def test_the_geometric_spring_where_nothing_is_changed():
    """There the slopes are those of e^S at 0: the basis between roots."""
    geometric, _ = some_springs()
    still = np.zeros((2, N_SHAPE))
    np.testing.assert_allclose(changed_stiffness(geometric, still), geometric, rtol=1e-9, atol=1e-9)
    root = roots(geometric)[:, None]
    np.testing.assert_allclose(
        changed_stiffness_slopes(geometric, still), root @ shape_basis() @ root, atol=1e-9
    )


def test_distance_knows_no_units_and_no_frame():
    """‖log K⁰^{−½} K K⁰^{−½}‖ about another point, turned, in nm: the numbers' own length."""
    geometric, shape = some_springs(1)
    changed = changed_stiffness(geometric, shape)[0]
    turn = np.linalg.qr(RNG(3).normal(size=(3, 3)))[0]
    moved = turned(turn) @ moved_centre(np.array([5.0, -3.0, 8.0])) @ np.diag([10.0] * 3 + [1] * 3)
    for frame in (np.eye(6), moved):
        one, other = (frame.T @ k @ frame for k in (geometric[0], changed))
        inverse = np.linalg.inv(roots(one[None])[0])
        distance = np.linalg.norm(logm(inverse @ other @ inverse))
        assert distance == pytest.approx(np.linalg.norm(shape), rel=1e-6)


@pytest.fixture(scope="module")
def screwed():
    return springs_of("P 1 21 1")


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**16), numbers=arrays(float, N_SHAPE, elements=st.floats(-3, 3)))
def test_positive_for_any_springs(screwed, seed, numbers):
    """D has no negative eigenvalue, and three zero modes at k = 0."""
    rng = RNG(seed)
    shape = rng.uniform(-2, 2, (screwed.n_interfaces, N_SHAPE))
    shape[0] = numbers
    stiffness = changed_stiffness(screwed.units, shape)
    hkl = np.concatenate([np.zeros((1, 3)), rng.uniform(-0.5, 0.5, (3, 3))])
    levels = np.linalg.eigvalsh(screwed.dynamical_matrices(stiffness, hkl))
    assert levels.min() > -1e-10 * levels.max()
    assert np.abs(levels[0, :3]).max() < 1e-9 * levels.max()


@pytest.mark.parametrize("at", [0, 2, 3, 3 + 21 + 5])
def test_slopes_of_a_lattice(at):
    """By a length, and by a number of shape, against central differences."""
    structure = tiny_modes().structure
    lattice = rigid_lattice(structure, UNIT_CELL, "P 1", contact_A=12.0)
    numbers = np.concatenate([[3.0, 5.0, 4.0], RNG(6).normal(0, 0.5, 63)])
    step = np.zeros(66)
    step[at] = 1e-4
    high, low = (lattice.stiffness(tuple((numbers + sign * step).tolist())) for sign in (1, -1))
    found = lattice.stiffness_slopes(tuple(numbers.tolist()))
    assert found.shape == (66, 3, 6, 6)
    expected = (high - low) / 2e-4
    np.testing.assert_allclose(found[at], expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_springs_too_unlike_each_other_are_refused():
    """21 numbers of s: e^S has the eigenvalues e^{s(1 + 5/√2)} and e^{s(1 − 1/√2)}."""
    modes = tiny_modes()
    lattice = rigid_lattice(modes.structure, UNIT_CELL, "P 1", contact_A=12)
    n = lattice.springs.n_interfaces
    with pytest.raises(InputError, match="springs so unlike each other"):
        lattice.covariance((1.0,) * n + (10.0,) * (n * N_SHAPE))
    assert not lattice.computable((1.0,) * n + (10.0,) * (n * N_SHAPE))
    assert lattice.computable((1.0,) * n + (-10.0,) * (n * N_SHAPE))
    found = lattice.covariance((1.0,) * n + (-10.0,) * (n * N_SHAPE))
    assert np.linalg.eigvalsh(found)[0] > 0


def test_the_order_of_the_numbers():
    """As docs/lattice.md has it: S's upper triangle by rows, √½ of a number off the diagonal."""
    numbers = np.arange(1.0, 22.0)
    expected, rows = np.zeros((6, 6)), iter(numbers)
    for i in range(6):
        for j in range(i, 6):
            expected[i, j] = expected[j, i] = next(rows) * (1 if i == j else np.sqrt(0.5))
    np.testing.assert_allclose(np.tensordot(numbers, shape_basis(), 1), expected)
