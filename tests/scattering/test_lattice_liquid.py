"""Liquid-like motion beside springs between molecules, against sums over all pairs of a crystal.

Both are independent: the displacements of two atoms have the covariance of the lattice plus
U e^{−r/γ}, of atoms of one molecule alone (`llm`) or of any two (`cllm`). The model has all of what
is of one molecule, and between molecules either motion without the other: what it lacks there is
the product of both, Σ e^{−W} (e^c − 1)(e^{xy} − 1).
"""

from itertools import product

import numpy as np
import pytest
from test_lattice_dynamics_intensity import N, Supercell, scale_and_cc

from hpc_diffuser.crystal.lattice import fractionalization
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation

SIGMA_A, GAMMA_A = 0.4, 3.0


def nearness(crystal: Supercell, whole: bool) -> dict:
    """e^{−r/γ} of atoms of two molecules (R, N, N); 0 of two molecules if not whole."""
    to_cartesian = np.linalg.inv(fractionalization(crystal.cell))
    cells = np.array(list(product(range(N), repeat=3)))
    images = np.array(list(product((-N, 0, N), repeat=3))) @ to_cartesian.T
    places = crystal.scattering(*crystal.samples(10**6))[2]
    found = {}
    for m, k in product(range(crystal.z), repeat=2):
        away = places[m][:, None] - places[k] + (cells @ to_cartesian.T)[:, None, None]
        squares = [np.sum((away + image) ** 2, axis=-1) for image in images]
        near = np.exp(-np.sqrt(np.min(squares, axis=0)) / GAMMA_A)
        found[m, k] = near * (whole | same_molecule(cells, m, k))
    return found


def same_molecule(cells, m, k) -> np.ndarray:
    return (~cells.any(axis=1) & (m == k))[:, None, None]


def pair_sums(crystal: Supercell, grid, indices, whole: bool) -> tuple[np.ndarray, np.ndarray]:
    """Exact, and without the products of both motions between molecules."""
    q, factors, places, p = crystal.scattering(grid, indices)
    cells = np.array(list(product(range(N), repeat=3)))
    phases = np.exp(2j * np.pi * cells @ crystal.hkl.T) / len(crystal.hkl)
    blocks = crystal.inverses.reshape(-1, crystal.z, 6, crystal.z, 6)
    between = np.einsum("rk,kminj->rminj", phases, blocks).real
    near, found = nearness(crystal, whole), np.zeros((2, len(q)))
    for v in range(len(q)):
        waves = np.exp(2j * np.pi * cells @ (indices[v] / np.array(grid.divisions)))
        along = [np.einsum("i,aij->aj", q[v], own) for own in p]
        x = SIGMA_A**2 * (q[v] @ q[v])
        for m, k in product(range(crystal.z), repeat=2):
            own, other = (
                np.einsum("ai,ij,aj->a", along[t], between[0, t, :, t], along[t]) for t in (m, k)
            )
            c = np.einsum("ai,rij,bj->rab", along[m], between[:, m, :, k], along[k])
            xy, dimming = x * near[m, k], np.exp(-x - 0.5 * (own[:, None] + other))
            exact = dimming * np.expm1(c + xy)
            apart = dimming * (np.expm1(c) + np.expm1(xy))
            apart = np.where(same_molecule(cells, m, k), exact, apart)
            f, g = (factors[v] * np.exp(1j * places[t] @ q[v]) for t in (m, k))
            for total, pairs in zip(found, (exact, apart), strict=True):
                total[v] += np.einsum("r,a,rab,b->", waves, f, pairs, g.conj()).real
    return found[0] / crystal.z, found[1] / crystal.z


def calculated(crystal: Supercell, grid, indices, whole: bool) -> np.ndarray:
    kind = "crystal_llm" if whole else "llm"
    disorder = Disorder(**{f"{kind}_sigma_A": SIGMA_A, f"{kind}_gamma_A": GAMMA_A})
    gammas = {"liquid_gamma_A": GAMMA_A, "crystal_gamma_A": GAMMA_A if whole else 0.0}
    how = Computation(0.3, "auto", "direct", **gammas)
    model = forward_model(crystal.modes(), grid, indices, Ranks(), how)
    springs = {"lattice_spring_A": crystal.length, "lattice": crystal.lattice}
    normals = normal_samples("sobol", 512, 3, generator(1))
    return model.internal_motion(Parameters(np.empty(0), disorder, **springs), normals)


@pytest.mark.parametrize(
    ("group", "rms_A", "whole", "cc"),
    [
        pytest.param("P 1", 0.05, True, 1 - 1e-4, marks=pytest.mark.slow),
        ("P 1", 0.3, False, 1 - 2e-4),
        ("P 1", 0.3, True, 1 - 5e-4),
        ("P 1 21 1", 0.3, True, 1 - 2.5e-3),
        pytest.param("P 1 21 1", 0.3, False, 1 - 2e-4, marks=pytest.mark.slow),
    ],
)
def test_pair_sum(group, rms_A, whole, cc):
    """To 2.0 Å; beside liquid-like motion of molecules nothing of the liquid lacks at all."""
    crystal = Supercell(group, rms_A)
    grid, indices = crystal.samples(600 if crystal.z == 1 else 900)
    exact, apart = pair_sums(crystal, grid, indices, whole)
    found = calculated(crystal, grid, indices, whole)
    scale, own_cc = scale_and_cc(found, exact)
    assert scale == pytest.approx(1, abs=0.015) and own_cc > cc
    scale, own_cc = scale_and_cc(found, apart)
    assert scale == pytest.approx(1, abs=3e-3) and own_cc > 1 - 1.5e-4
