"""Uncorrelated motion that is other along x, y and z: every e^{−q²σ_u²} is then e^{−qᵀU_u q}."""

import json

import numpy as np
import pytest
from builders import s_vectors

from hpc_diffuser.crystal.atom_factors import form_factors
from hpc_diffuser.fit.b_factors import motion
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation
from hpc_diffuser.scattering.pair_sum import pair_sum_intensity

SIGMAS = (0.1, 0.35, 0.6)
NO_MODES = np.zeros((0, 12, 3))


def scattering(modes, indices, grid):
    """Scattering vectors and form factors at samples: (V, 3) Å⁻¹, (V, N)."""
    s = s_vectors(grid, indices)
    return s, form_factors(modes.structure.elements, np.sum(s**2, axis=1))


def test_pair_sum_against_every_pair_by_hand(modes, diffuse):
    """One pair after the other, C_ab and U_a as matrices: ⟨F_a* F_b⟩ − ⟨F_a⟩*⟨F_b⟩ of Gaussians."""
    u_t, u_u = 0.3**2 * np.eye(3), np.diag([s * s for s in SIGMAS])
    indices = diffuse.grid.indices_between(4, 2.5)[::97]
    s, factors = scattering(modes, indices, diffuse.grid)
    r, expected = modes.structure.positions, np.zeros(len(s))
    for v, q in enumerate(2 * np.pi * s):
        for a in range(12):
            for b in range(12):
                between = 0.2**2 * np.exp(-np.linalg.norm(r[a] - r[b]) / 6) * np.eye(3)
                c = u_t + between + (u_u if a == b else 0)
                whole = u_t + 0.2**2 * np.eye(3) + u_u
                moving = np.exp(q @ (c - whole) @ q) - np.exp(-(q @ whole @ q))
                expected[v] += factors[v, a] * factors[v, b] * np.cos(q @ (r[a] - r[b])) * moving
    disorder = Disorder(0.3, SIGMAS, llm_sigma_A=0.2, llm_gamma_A=6.0)
    found = pair_sum_intensity(r, factors, s, NO_MODES, disorder)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("translation", [0.3, (0.2, 0.4, 0.1)])
def test_model_is_the_pair_sum(modes, diffuse, translation):
    """Without modes nothing is sampled: single precision, 1e-4 of the largest intensity."""
    indices = diffuse.grid.indices_between(6, 2.5)
    disorder = Disorder(translation, SIGMAS)
    how = Computation(grid="target", transform="direct")
    model = forward_model(modes, diffuse.grid, indices, Ranks(), how)
    s, factors = scattering(modes, indices, diffuse.grid)
    exact = pair_sum_intensity(modes.structure.positions, factors, s, NO_MODES, disorder)
    found = model.rigid(Parameters(np.zeros(2), disorder))
    np.testing.assert_allclose(found, exact, atol=1e-4 * exact.max())


def test_liquid_like_motion_beside_it(modes, diffuse):
    """On the band-limited grid: relative rms of 1 %, where axes exchanged are off by 10 % and more.

    The scale of each is its own, as liquid-like motion's is.
    """
    indices = diffuse.grid.indices_between(6, 2.5)
    model = forward_model(modes, diffuse.grid, indices, Ranks(), Computation(liquid_gamma_A=6.0))
    s, factors = scattering(modes, indices, diffuse.grid)
    errors = []
    for sigmas in (SIGMAS, SIGMAS[::-1]):
        disorder = Disorder(0.3, sigmas, llm_sigma_A=0.3, llm_gamma_A=6.0)
        exact = pair_sum_intensity(modes.structure.positions, factors, s, NO_MODES, disorder)
        of_model = Disorder(0.3, SIGMAS, llm_sigma_A=0.3, llm_gamma_A=6.0)
        found = model.rigid(Parameters(np.zeros(2), of_model))
        errors.append(np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2)))
    assert errors[0] < 0.01 and errors[1] > 0.1


def test_equal_axes_are_the_isotropic_motion(modes, diffuse):
    """Three equal numbers: the same intensity but for rounding, and the same B-factor."""
    indices = diffuse.grid.indices_between(6, 2.5)
    model = forward_model(modes, diffuse.grid, indices, Ranks(), Computation(grid="target"))
    one, three = (Parameters(np.zeros(2), Disorder(0.2, u)) for u in (0.3, (0.3, 0.3, 0.3)))
    np.testing.assert_allclose(model.rigid(three), model.rigid(one), rtol=1e-5)
    for parameters in (one, three):
        found = motion(modes, parameters).kinds["uncorrelated"].mean_b_A2
        assert found == pytest.approx(8 * np.pi**2 * 0.3**2)


def test_b_factor_is_the_mean_over_the_axes(modes):
    """8π²(σx² + σy² + σz²)/3."""
    found = motion(modes, Parameters(np.zeros(2), Disorder(0.0, SIGMAS)))
    assert found.mean_b_A2 == pytest.approx(8 * np.pi**2 * np.mean(np.square(SIGMAS)))


def test_fit_and_report(call, project):
    """Two axes held and one refined: named by the axis in summary and report."""
    config = project / "fit.toml"
    head, _, tail = config.read_text().partition("[parameters]")
    rest = tail[tail.index("\n[") :]
    parameters = "[parameters]\nuncorrelated_sigma_A = [0.3, 0.4, [0.1, 0.6]]\n"
    config.write_text(head + parameters + rest)
    assert call("fit", "fit.toml", folder=project).returncode == 0
    summary = json.loads((project / "run" / "summary.json").read_text())
    assert summary["refined"] == ["uncorrelated_sigma_A z"]
    assert summary["answer"]["uncorrelated_sigma_A"][:2] == [0.3, 0.4]
    assert "\n  uncorrelated z " in call("report", "--text", "run", folder=project).stdout
