"""Priors: values by hand, slopes by central differences, what a fit makes of them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import TRICLINIC, random_structure

from hpc_diffuser.fit.b_factors import model_b_factors
from hpc_diffuser.fit.config import ParametersConfig, PriorConfig, parse_config
from hpc_diffuser.fit.priors.prior import FLOOR, TOLERANCE, Penalty, excess, log_normal, prior_of
from hpc_diffuser.fit.run.checkpoints import read_restart
from hpc_diffuser.fit.space import SearchSpace, search_space
from hpc_diffuser.io.modes_file import read_modes, write_modes
from hpc_diffuser.motion.modes import Modes, with_frames
from hpc_diffuser.system.errors import InputError

N_MODES, N_ATOMS = 5, 30
EVERYTHING = ParametersConfig(
    mode_amplitude_A=(0.0, 1.0),
    mode_correlation=(-0.9, 0.9),
    translation_sigma_A=((0.0, 1.0),) * 3,
    translation_correlation=(-0.5, 0.5),
    libration_sigma_deg=(0.0, 5.0),
    screw_correlation=(-0.5, 0.5),
    uncorrelated_sigma_A=(0.0, 1.0),
    residual_b_fraction=(0.0, 1.0),
    llm_sigma_A=(0.0, 1.0),
    llm_gamma_A=(5.0, 20.0),
    k_sol_eA3=(0.0, 0.4),
)


@pytest.fixture(scope="module")
def molecule() -> Modes:
    """Thirty atoms, five modes of falling amplitudes, B-factors of which one is not known."""
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(N_MODES, N_ATOMS, 3))
    vectors *= np.sqrt(N_ATOMS / np.sum(vectors**2, axis=(1, 2), keepdims=True))
    structure = random_structure(rng, N_ATOMS)
    crystal = rng.uniform(20.0, 400.0, N_ATOMS)
    crystal[3] = np.nan
    amplitudes = 0.6 / np.arange(1, N_MODES + 1)
    return Modes(structure, vectors, amplitudes, TRICLINIC, "P 1", crystal_b_A2=crystal)


def space_of(molecule: Modes, config: ParametersConfig, correlated: int = 0) -> SearchSpace:
    return search_space(config, molecule.amplitudes_A, correlated)


def numerical(value, phi: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Central differences of a function of φ."""
    moves = step * np.eye(len(phi))
    return np.array([(value(phi + m) - value(phi - m)) / (2 * step) for m in moves])


def require_gauss_newton(penalty: Penalty, residuals, phi: np.ndarray) -> None:
    """The value, its gradient, and JᵀJ of the residuals that it is the half sum of squares of."""
    jacobian = numerical(residuals, phi).T
    assert penalty.value == pytest.approx(np.sum(residuals(phi) ** 2) / 2, rel=1e-12)
    np.testing.assert_allclose(penalty.gradient, jacobian.T @ residuals(phi), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(penalty.matrix, jacobian.T @ jacobian, rtol=1e-6, atol=1e-6)


def test_log_normal():
    """Value by hand; the scale of all amplitudes is free, and found."""
    rng = np.random.default_rng(0)
    source, sigma, tau = rng.uniform(0.1, 1, 6), rng.uniform(0.2, 1, 6), 0.4
    found, scale = log_normal(sigma**2, source, tau)
    ratio = np.log(sigma / source)
    by_hand = np.sum((ratio - ratio.mean()) ** 2) / (2 * tau**2)
    assert found.value == pytest.approx(by_hand, rel=1e-3)  # but for ε
    assert scale == pytest.approx(np.exp(ratio.mean()), rel=1e-3)
    same, c = log_normal((0.37 * source) ** 2, source, tau)
    assert same.value == pytest.approx(0, abs=1e-20) and c == pytest.approx(0.37, rel=1e-3)
    values = [log_normal((c * sigma) ** 2, source, tau)[0].value for c in (1, 1.5)]
    assert values[1] == pytest.approx(values[0], rel=2e-3)


@pytest.mark.parametrize("least", [1.0, 0.0])
def test_slopes_of_the_log_normal(least):
    """At amplitudes that are not small, and with one at 0."""
    rng = np.random.default_rng(1)
    source, phi = rng.uniform(0.3, 1, 5), rng.uniform(0.3, 1, 5)
    phi[2] *= least

    def residuals(at: np.ndarray) -> np.ndarray:
        logs = np.log(at + (FLOOR * source) ** 2) / 2 - np.log(source)
        return (logs - logs.mean()) / 0.5

    found, _ = log_normal(phi, source, 0.5)
    if least:
        require_gauss_newton(found, residuals, phi)
    else:
        assert np.isfinite(found.gradient).all() and found.gradient[2] < 0
        ahead = log_normal(phi + 1e-9 * np.eye(5)[2], source, 0.5)[0].value
        assert (ahead - found.value) / 1e-9 == pytest.approx(found.gradient[2], rel=1e-3)


def test_excess_of_b_factors():
    """Only what is beyond the crystal's counts, in tenths of it."""
    crystal = np.array([10.0, 20.0, 30.0])
    found = excess(np.array([5.0, 22.0, 45.0]), crystal, np.zeros((3, 0)))
    assert found.value == pytest.approx((0.1**2 + 0.5**2) / TOLERANCE**2 / 2)
    assert excess(crystal, crystal, np.zeros((3, 0))).value == 0


def test_slopes_of_every_parameter(molecule):
    """Of both penalties in all parameters of all motions, in φ, against central differences."""
    space = space_of(molecule, EVERYTHING, 3)
    prior = prior_of(PriorConfig(b_factors=2.0, amplitudes=3.0, tau=0.7), molecule, space, 100)
    rng = np.random.default_rng(5)
    point = space.bounds[:, 0] + rng.uniform(0.3, 0.7, len(space.names)) * np.ptp(space.bounds, 1)
    phi = np.where(space.squared, point**2, point)

    def at(other: np.ndarray) -> np.ndarray:
        return np.where(space.squared, np.sqrt(np.maximum(other, 0)), other)

    known = np.isfinite(molecule.crystal_b_A2)

    def residuals(other: np.ndarray) -> np.ndarray:
        b = model_b_factors(molecule, space.parameters(at(other)))[known]
        r = np.maximum(b / molecule.crystal_b_A2[known] - 1, 0) / TOLERANCE
        sigma = at(other)[:N_MODES]
        logs = np.log(sigma**2 + (FLOOR * molecule.amplitudes_A) ** 2) / 2
        logs -= np.log(molecule.amplitudes_A)
        return np.concatenate([np.sqrt(2) * r, np.sqrt(3) * (logs - logs.mean()) / 0.7])

    assert 3 < (residuals(phi)[: known.sum()] > 0).sum() < known.sum()
    found = prior.about(point)
    assert found.value == pytest.approx(prior.value(point), rel=1e-13)
    require_gauss_newton(found, residuals, phi)
    slopes = numerical(lambda p: model_b_factors(molecule, space.parameters(at(p))), phi).T
    np.testing.assert_allclose(prior.b_slopes(point)[known], slopes[known], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("refined", [True, False])
@pytest.mark.parametrize("anisou", [True, False])
def test_slopes_of_an_ensemble(molecule, refined, anisou):
    """Without modes: in frames' weights and a translation, against differences; and held."""
    rng = np.random.default_rng(6)
    frames = molecule.structure.positions + rng.normal(0, 0.7, (4, N_ATOMS, 3))
    records = np.einsum("ni,ij->nij", np.ones((N_ATOMS, 3)), np.diag([0.3, 0.5, 0.7]))
    moving = replace(with_frames(molecule, frames), crystal_u_A2=records)
    config = ParametersConfig(translation_sigma_A=(0.0, 1.0), residual_b_fraction=0.0)
    space = search_space(config, moving.amplitudes_A, n_frames=4 * refined)
    wanted = PriorConfig(anisou=1.0) if anisou else PriorConfig(b_factors=1.0)
    prior = prior_of(wanted, moving, space, 100)
    weights = np.array([0.4, 0.3, 0.2, 0.1])[: 4 * refined]
    phi = np.concatenate([[0.25], weights])

    def value(other: np.ndarray) -> float:
        return prior.value(np.concatenate([np.sqrt(other[:1]), other[1:]]))

    by_hand = np.average(frames, axis=0, weights=weights if refined else None)
    squares = np.average((frames - by_hand) ** 2, axis=0, weights=weights if refined else None)
    b = 8 * np.pi**2 / 3 * (squares.sum(axis=1) + 3 * 0.25)
    over = np.maximum(b / molecule.crystal_b_A2 - 1, 0)[np.isfinite(molecule.crystal_b_A2)]
    if not anisou:
        assert value(phi) == pytest.approx((over**2).sum() / TOLERANCE**2 / 2, rel=1e-10)
    assert value(phi) > 1
    found = prior.about(np.concatenate([[0.5], weights]))
    np.testing.assert_allclose(found.gradient, numerical(value, phi), rtol=1e-6, atol=1e-6)


def test_slopes_where_modes_do_not_move(molecule):
    """B rises in a variance as fast at 0 as anywhere."""
    config = ParametersConfig(mode_amplitude_A=(0.0, 1.0), translation_sigma_A=(0.0, 1.0))
    space = space_of(molecule, config)
    prior = prior_of(PriorConfig(b_factors=1.0), molecule, space, 100)
    here, there = (prior.b_slopes(np.full(N_MODES + 1, x)) for x in (0.0, 0.8))
    np.testing.assert_allclose(here, there, rtol=1e-9)


def test_slopes_without_modes(molecule):
    """Of a rigid body with liquid-like motion: each slope is that of its own parameter."""
    rigid = Modes(
        molecule.structure,
        np.zeros((0, N_ATOMS, 3)),
        np.zeros(0),
        TRICLINIC,
        "P 1",
        crystal_b_A2=molecule.crystal_b_A2,
    )
    ranges = {"translation_sigma_A": (0.0, 3.0), "llm_sigma_A": (0.0, 3.0)}
    space = space_of(rigid, ParametersConfig(**ranges, llm_gamma_A=(5.0, 20.0)))
    prior = prior_of(PriorConfig(b_factors=1.0), rigid, space, 100)
    slopes = prior.b_slopes(np.array([1.0, 2.0, 9.0]))
    # B = 8π²σ² of either, whatever γ is
    np.testing.assert_allclose(slopes, np.tile([8 * np.pi**2] * 2 + [0.0], (N_ATOMS, 1)))
    assert prior.about(np.array([1.0, 2.0, 9.0])).value > 0
    with pytest.raises(InputError, match="every motion is held"):
        held = ParametersConfig(translation_sigma_A=(0.4, 0.4), k_sol_eA3=(0.0, 0.4))
        prior_of(PriorConfig(b_factors=1.0), rigid, space_of(rigid, held), 100)


def test_units(molecule):
    """A weight of 1 is χ²/2 + P of a likelihood; of a CC, the penalty of one voxel."""
    space = space_of(molecule, ParametersConfig(mode_amplitude_A=(0.0, 1.0)))
    prior = prior_of(PriorConfig(amplitudes=1.0), molecule, space, 200)
    assert prior.unit(None) == 1 / 200
    assert pytest.approx(30.0 / 50 + prior.unit(50.0) * 4.0) == (30.0 + 2 * 4.0) / 50
    assert prior_of(PriorConfig(), molecule, space, 200) is None


HELD = ParametersConfig(mode_amplitude_A=(0.3, 0.3), k_sol_eA3=(0.0, 0.4))


@pytest.mark.parametrize(
    ("prior", "parameters", "changes", "message"),
    [
        (PriorConfig(amplitudes=1.0), HELD, {}, "prior.amplitudes: the modes' amplitudes are held"),
        (PriorConfig(b_factors=1.0), HELD, {}, "prior.b_factors: every motion is held"),
        (
            PriorConfig(amplitudes=1.0),
            ParametersConfig(mode_amplitude_A=(0.0, 1.0)),
            {"amplitudes_A": np.array([0.5, 0.4, 0.0, 0.2, 0.1])},
            r"mode 3 has no amplitude in its source \(1 of 5 have none\)",
        ),
        (
            PriorConfig(amplitudes=1.0),
            ParametersConfig(translation_sigma_A=(0.0, 1.0)),
            {"vectors": np.empty((0, N_ATOMS, 3)), "amplitudes_A": np.empty(0)},
            "the model has no modes",
        ),
        (
            PriorConfig(amplitudes=1.0),
            ParametersConfig(mode_amplitude_A=((0.0, 1.0), *[(0.1, 0.1)] * 4)),
            {},
            "but one are held, and their scale is free",
        ),
        (
            PriorConfig(b_factors=1.0),
            ParametersConfig(translation_sigma_A=(0.0, 1.0)),
            {"crystal_b_A2": None},
            r'prior.b_factors: expected \[crystal\] file = "crystal.pdb"',
        ),
    ],
)
def test_a_prior_of_nothing_is_refused(molecule, prior, parameters, changes, message):
    """One line: which key, and what to do."""
    modes = replace(molecule, **changes)
    with pytest.raises(InputError, match=message):
        prior_of(prior, modes, space_of(modes, parameters), 100)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("b_factors = true", PriorConfig(b_factors=1.0)),
        ("b_factors = false", PriorConfig()),
        ("amplitudes = 3\ntau = 0.2", PriorConfig(amplitudes=3.0, tau=0.2)),
    ],
)
def test_config(text, expected, tmp_path):
    assert parse_config(f"[prior]\n{text}", tmp_path).prior == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("b_factors = -1", r"prior\.b_factors is a weight and cannot be negative, found -1"),
        ("tau = 0", r"prior\.tau should be above 0"),
        ("amplitude = 1", r'did you mean "prior\.amplitudes"'),
    ],
)
def test_mistakes_in_the_config(text, message, tmp_path):
    with pytest.raises(InputError, match=message):
        parse_config(f"[prior]\n{text}", tmp_path)


@pytest.fixture
def expecting(project: Path, edit) -> Path:
    """The project with both priors; its modes know a crystal, which moves little."""
    modes = read_modes(project / "modes.h5")
    write_modes(project / "modes.h5", modes, {})
    text = '[crystal]\nfile = "model.pdb"\n[prior]\nb_factors = true\namplitudes = 5\n[target]'
    edit(project / "fit.toml", "[target]", text)
    return project


@pytest.mark.slow
def test_a_fit_with_priors(expecting, call, quick_figures):
    """The stored objectives are 1 − CC and both penalties; CC are without them."""
    result = call("fit", "fit.toml", folder=expecting)
    assert result.returncode == 0, result.stderr
    history, _ = read_restart(expecting / "run", 1)
    config = parse_config((expecting / "fit.toml").read_text(), expecting)
    from hpc_diffuser.fit.problem import load_problem

    problem = load_problem(config)
    voxels = int((~problem.target.free).sum())
    added = [problem.prior.value(point) / voxels for point in history.points]
    np.testing.assert_allclose(history.objectives, 1 - history.cc_work + added, rtol=1e-12)
    assert min(added) > 0
    found = json.loads((expecting / "run" / "summary.json").read_text())
    share = found["prior"]
    point = problem.space.point(found["answer"])
    assert share["of_amplitudes"] + share["of_b_factors"] == pytest.approx(
        problem.prior.value(point) / voxels
    )
    assert share["amplitudes"] == 5.0 and share["b_factors"] == 1.0
    assert "prior on amplitudes" in call("report", "run", folder=expecting).stdout


def test_the_model_without_modes_of_a_comparison_has_no_prior_on_them(tmp_path):
    from hpc_diffuser.fit.comparison import model_config

    text = (
        '[structure]\nmodes = "modes.h5"\n[parameters]\nmode_amplitude_A = [0.0, 1.0]\n'
        "translation_sigma_A = [0.0, 1.0]\n[prior]\namplitudes = 2\nb_factors = 3"
    )
    config = parse_config(text, tmp_path)
    assert model_config(config, "rbt+int").prior == config.prior
    assert model_config(config, "rbt").prior == PriorConfig(b_factors=3.0)


def test_a_path_is_refused_without_least_squares(expecting, edit, call):
    """Bayesian search has no warm start."""
    edit(expecting / "fit.toml", "amplitudes = 5", 'amplitudes = "auto"')
    result = call("fit", "fit.toml", folder=expecting)
    assert result.returncode == 65 and 'method = "least-squares"' in result.stderr
    edit(expecting / "fit.toml", 'amplitudes = "auto"', 'amplitudes = "some"')
    result = call("fit", "fit.toml", folder=expecting)
    assert result.returncode == 65 and 'a weight, or "auto", found' in result.stderr
