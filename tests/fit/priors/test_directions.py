"""The penalty on motion beyond ANISOU records: by hand, and its slopes by central differences."""

from dataclasses import replace

import numpy as np
import pytest
from builders import TRICLINIC, random_structure

from hpc_diffuser.fit.config import ParametersConfig, PriorConfig, parse_config
from hpc_diffuser.fit.inputs import load_modes
from hpc_diffuser.fit.priors.directions import beyond, crystal_covariances
from hpc_diffuser.fit.priors.penalty import TOLERANCE
from hpc_diffuser.fit.priors.prior import excess, prior_of
from hpc_diffuser.fit.space import search_space
from hpc_diffuser.io.structures.files import pdb_bytes, read_structure
from hpc_diffuser.motion.configurations import displacement_covariances, residual_b_factors
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.system.errors import InputError

N_MODES, N_ATOMS = 3, 12
EVERYTHING = ParametersConfig(
    mode_amplitude_A=(0.0, 1.0),
    mode_correlation=(-0.9, 0.9),
    translation_sigma_A=((0.0, 1.0),) * 3,
    translation_correlation=(-0.5, 0.5),
    libration_sigma_deg=(0.0, 5.0),
    screw_correlation=(-0.5, 0.5),
    uncorrelated_sigma_A=(0.0, 1.0),
    residual_b_fraction=(0.0, 1.0),
)


def random_covariances(rng: np.random.Generator, n: int, size: float) -> np.ndarray:
    factors = rng.normal(size=(n, 3, 3))
    return size * (factors @ factors.transpose(0, 2, 1) + np.eye(3))


@pytest.fixture(scope="module")
def molecule() -> Modes:
    """Twelve atoms; one without a record, one with neither record nor B-factor."""
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(N_MODES, N_ATOMS, 3))
    vectors *= np.sqrt(N_ATOMS / np.sum(vectors**2, axis=(1, 2), keepdims=True))
    u = random_covariances(rng, N_ATOMS, 0.15)
    b = 8 * np.pi**2 / 3 * np.trace(u, axis1=1, axis2=2)
    u[4], u[7], b[7] = np.nan, np.nan, np.nan
    structure = random_structure(rng, N_ATOMS)
    return Modes(
        structure, vectors, np.full(N_MODES, 0.3), TRICLINIC, "P 1", crystal_b_A2=b, crystal_u_A2=u
    )


def test_by_hand():
    """U⁰ = diag(1, 4, 2)/10, U = diag(1.5, 2, 2)/10: only x is exceeded, by half.

    P = ½ · ⅓ · (0.5/0.1)² = 25/6.
    """
    crystal = np.diag([0.1, 0.4, 0.2])[None]
    found = beyond(np.diag([0.15, 0.2, 0.2])[None], crystal)
    assert found.value == pytest.approx((0.5 / TOLERANCE) ** 2 / 6)
    assert beyond(crystal, crystal).value == pytest.approx(0, abs=1e-20)


def test_alike_in_all_directions():
    """Where both are isotropic it is the penalty on B-factors."""
    rng = np.random.default_rng(0)
    b, crystal = rng.uniform(5, 40, 20), rng.uniform(5, 40, 20)
    ours, theirs = (one[:, None, None] * np.eye(3) for one in (b, crystal))
    expected = excess(b, crystal, np.zeros((20, 0))).value
    assert beyond(ours, theirs).value == pytest.approx(expected, rel=1e-12)


def test_turned():
    """It does not depend on the axes that both are given in."""
    rng = np.random.default_rng(1)
    ours, crystal = (random_covariances(rng, 9, 0.1) for _ in range(2))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turned = beyond(turn @ ours @ turn.T, turn @ crystal @ turn.T)
    assert turned.value == pytest.approx(beyond(ours, crystal).value, rel=1e-10)


def test_slopes_of_every_parameter(molecule):
    """In φ, against central differences of the value, and of U; with records and without."""
    space = search_space(EVERYTHING, molecule.amplitudes_A, 2)
    prior = prior_of(PriorConfig(anisou=2.0), molecule, space, 100)
    rng = np.random.default_rng(3)
    point = space.bounds[:, 0] + rng.uniform(0.3, 0.7, len(space.names)) * np.ptp(space.bounds, 1)
    phi, step = np.where(space.squared, point**2, point), 1e-6

    def at(other: np.ndarray) -> np.ndarray:
        return np.where(space.squared, np.sqrt(np.maximum(other, 0)), other)

    found = prior.about(point)
    assert found.value == prior.value(point) > 0
    for i, slope in enumerate(prior.u_slopes(point)):
        ahead, behind = (at(phi + sign * step * np.eye(len(phi))[i]) for sign in (1, -1))
        gradient = (prior.value(ahead) - prior.value(behind)) / (2 * step)
        assert found.gradient[i] == pytest.approx(gradient, rel=1e-5, abs=1e-3)
        moved = [covariances(molecule, space.parameters(p)) for p in (ahead, behind)]
        np.testing.assert_allclose(slope, (moved[0] - moved[1]) / (2 * step), atol=1e-6)


def covariances(molecule: Modes, parameters: Parameters) -> np.ndarray:
    """With the residual's, B/8π² in each direction."""
    left = residual_b_factors(molecule, parameters)[:, None, None] / (8 * np.pi**2) * np.eye(3)
    return displacement_covariances(molecule, parameters) + left


def test_gauss_newton_matrix():
    """JᵀJ of the residuals √⅓ (λ_k − 1)/tolerance, of eigenvalues by numpy and differences."""
    rng = np.random.default_rng(4)
    crystal, u = random_covariances(rng, 6, 0.1), random_covariances(rng, 6, 0.3)
    slopes = [random_covariances(rng, 6, 0.2) for _ in range(3)]

    def residuals(moves: np.ndarray) -> np.ndarray:
        moved = u + np.einsum("i,inxy->nxy", moves, slopes)
        ratios = [np.sort(np.linalg.eigvals(np.linalg.solve(c, m)).real) for c, m in
                  zip(crystal, moved, strict=True)]  # fmt: skip
        return np.maximum(np.ravel(ratios) - 1, 0) / (np.sqrt(3) * TOLERANCE)

    steps = 1e-6 * np.eye(3)
    jacobian = np.array([(residuals(s) - residuals(-s)) / 2e-6 for s in steps])
    found = beyond(u, crystal, slopes)
    np.testing.assert_allclose(found.gradient, jacobian @ residuals(np.zeros(3)), rtol=1e-6)
    np.testing.assert_allclose(found.matrix, jacobian @ jacobian.T, rtol=1e-6)


def test_atoms_without_records(molecule):
    """Their B-factor stands for all directions; an atom without either counts for nothing."""
    crystal, known = crystal_covariances(molecule)
    assert np.flatnonzero(~known).tolist() == [7]
    np.testing.assert_allclose(crystal[4], molecule.crystal_b_A2[4] / (8 * np.pi**2) * np.eye(3))


def test_read_from_a_file(tmp_path):
    """Records that gemmi wrote; of the crystal's file, with the atoms in another order."""
    rng = np.random.default_rng(5)
    structure = random_structure(rng, N_ATOMS)
    u = random_covariances(rng, N_ATOMS, 0.05)
    u = np.round(u, 4)
    path = tmp_path / "crystal.pdb"
    path.write_bytes(pdb_bytes(path, structure, (TRICLINIC, "P 1"), covariances_A2=u))
    np.testing.assert_allclose(read_structure(path)[0].u_A2, u, atol=1e-9)
    text = '[structure]\nfile = "crystal.pdb"\n[crystal]\nfile = "crystal.pdb"'
    modes = load_modes(parse_config(text, tmp_path))
    np.testing.assert_allclose(modes.crystal_u_A2, u, atol=1e-9)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (None, r"prior.anisou: expected \[crystal\] file = .* with ANISOU records"),
        (np.full((N_ATOMS, 3, 3), np.nan), "has none of the model's atoms: use prior.b_factors"),
        (np.tile(np.diag([0.1, -0.02, 0.1]), (N_ATOMS, 1, 1)), "a mean square of -0.02 Å² in some"),
    ],
)
def test_unfit_records_are_refused(molecule, records, message):
    """One line: which key, and what to do."""
    space = search_space(EVERYTHING, molecule.amplitudes_A, 2)
    with pytest.raises(InputError, match=message):
        prior_of(PriorConfig(anisou=1.0), replace(molecule, crystal_u_A2=records), space, 100)
