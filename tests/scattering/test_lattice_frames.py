"""Springs between molecules that are ensembles of frames, against sums over pairs of atoms.

In every molecule of the crystal one frame is taken, on its own: two molecules are any two frames,
one molecule is one.
"""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from builders import gemmi_form_factors, s_vectors
from test_lattice_dynamics_intensity import N, Supercell, scale_and_cc

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.crystal.symmetry import grid_operations, unique_indices
from hpc_diffuser.motion.lattice.rigid import displacements
from hpc_diffuser.motion.modes import with_frames
from hpc_diffuser.motion.parameters import Parameters, parameters_from
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering import lattice_frames
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation

WEIGHTS = np.array([0.5, 0.2, 0.3])


def frames_of(crystal: Supercell) -> np.ndarray:
    """Three conformations about the mean structure, (3, N, 3) Å: far from Gaussian."""
    rng = np.random.default_rng(5)
    away = rng.normal(scale=0.6, size=(3, len(crystal.structure), 3))
    return crystal.structure.positions + away - np.average(away, axis=0, weights=WEIGHTS)


def pair_sum(crystal: Supercell, frames, grid, indices, weights=WEIGHTS) -> np.ndarray:
    """All pairs of atoms of all frames of all molecules, to first order in rotation."""
    s = s_vectors(grid, indices)
    q = 2 * np.pi * s
    single = gemmi_form_factors(crystal.structure.elements, np.sum(s**2, axis=1))
    of_frame = np.repeat(np.arange(3), len(crystal.structure))
    factors = np.tile(single, 3) * weights[of_frame]
    _, _, places, _ = crystal.scattering(grid, indices[:1])
    turns, own_places = crystal.packing.turns, crystal.structure.positions
    shifts = [x[0] - t @ own_places[0] for x, t in zip(places, turns, strict=True)]
    every = frames.reshape(-1, 3)
    places = [every @ t.T + x for t, x in zip(turns, shifts, strict=True)]
    p = [t @ displacements(every, crystal.centre) for t in turns]
    cells = np.array(list(product(range(N), repeat=3)))
    phases = np.exp(2j * np.pi * cells @ crystal.hkl.T) / len(crystal.hkl)
    blocks = crystal.inverses.reshape(-1, crystal.z, 6, crystal.z, 6)
    between = np.einsum("rk,kminj->rminj", phases, blocks).real
    # Of one molecule both atoms are in one frame, which has its weight once.
    alike = (of_frame[:, None] == of_frame) / weights[of_frame]
    found = np.zeros(len(q))
    for v in range(len(q)):
        waves = np.exp(2j * np.pi * cells @ (indices[v] / np.array(grid.divisions)))
        along = [np.einsum("i,aij->aj", q[v], own) for own in p]
        for m, k in product(range(crystal.z), repeat=2):
            own, other = (
                np.einsum("ai,ij,aj->a", along[t], between[0, t, :, t], along[t]) for t in (m, k)
            )
            c = np.einsum("ai,rij,bj->rab", along[m], between[:, m, :, k], along[k])
            pairs = np.expm1(c)
            if m == k:
                pairs[0] = alike * np.exp(c[0]) - 1
            pairs *= np.exp(-0.5 * (own[:, None] + other))
            f, g = (factors[v] * np.exp(1j * places[t] @ q[v]) for t in (m, k))
            found[v] += np.einsum("r,a,rab,b->", waves, f, pairs, g.conj()).real
    return found / crystal.z


def calculated(crystal: Supercell, frames, grid, indices, transform="direct") -> np.ndarray:
    modes = with_frames(replace(crystal.modes(), crystal_b_A2=None), frames, WEIGHTS)
    model = forward_model(modes, grid, indices, Ranks(), Computation(0.7, "target", transform))
    springs = {"lattice_spring_A": crystal.length, "lattice": crystal.lattice}
    normals = np.repeat(normal_samples("sobol", 256, 3, generator(1)), 3, axis=0)
    return model.internal_motion(Parameters(np.empty(0), **springs), normals)


@pytest.mark.parametrize(
    ("group", "rms_A", "transform"),
    [
        ("P 1", 0.05, "direct"),
        ("P 1 21 1", 0.3, "density"),
        pytest.param("P 1", 0.3, "density", marks=pytest.mark.slow),
    ],
)
def test_pair_sum(group, rms_A, transform, monkeypatch):
    """As exact as lattice dynamics of one structure; frames are drawn one at a time, or two."""
    monkeypatch.setattr(lattice_frames, "ATOMS_AT_ONCE", 20)
    crystal = Supercell(group, rms_A)
    frames = frames_of(crystal)
    grid, indices = crystal.samples(600 if crystal.z == 1 else 1200)
    exact = pair_sum(crystal, frames, grid, indices)
    scale, cc = scale_and_cc(calculated(crystal, frames, grid, indices, transform), exact)
    assert scale == pytest.approx(1, abs=0.015) and cc > 0.999


def test_frames_all_alike_are_one_structure():
    """The same intensity."""
    crystal = Supercell("P 1", 0.3)
    grid, indices = crystal.samples(900)
    frames = np.repeat(crystal.structure.positions[None], 3, axis=0)
    found = calculated(crystal, frames, grid, indices)
    np.testing.assert_allclose(found, crystal.calculated(grid, indices), rtol=1e-3)


def test_gradient(monkeypatch):
    """By springs and by what atoms do on their own, against differences of fourth order."""
    monkeypatch.setattr(lattice_frames, "ATOMS_AT_ONCE", 20)
    crystal = Supercell("P 1", 0.3)
    grid, indices = crystal.samples(40)
    modes = with_frames(replace(crystal.modes(), crystal_b_A2=None), frames_of(crystal), WEIGHTS)
    model = forward_model(modes, grid, indices, Ranks(), Computation(0.7, "target", "direct"))
    normals = np.repeat(normal_samples("sobol", 4, 3, generator(1)), 3, axis=0)
    weights = np.random.default_rng(2).uniform(0.5, 1.5, len(indices))
    values = {"lattice_spring_A": 1.1 * crystal.length, "uncorrelated_sigma_A": 0.2}

    def at(**changed):
        return parameters_from(values | changed, crystal.lattice)

    found = model.gradient(at(), normals, weights, tuple(values))
    for name, value in values.items():
        h = 0.02 * value
        ends = [
            weights @ model.internal_motion(at(**{name: value + step * h}), normals)
            for step in (-2, -1, 1, 2)
        ]
        expected = (8 * (ends[2] - ends[1]) - (ends[3] - ends[0])) / (12 * h)
        assert found[name][0] == pytest.approx(expected, 1e-4), name


def model_of_frames(group: str, rms_A: float, every: int, divisions=(N,) * 3) -> tuple:
    """A crystal, its frames, some samples, its model, and what weights make of parameters."""
    crystal = Supercell(group, rms_A)
    frames = frames_of(crystal)
    grid, indices = crystal.samples(every)
    if divisions != (N,) * 3:
        grid = grid_to_resolution(crystal.cell, divisions, 2.0)
        indices = unique_indices(grid, 8.0, 2.0, grid_operations(grid, group))[::every]
    modes = with_frames(replace(crystal.modes(), crystal_b_A2=None), frames, WEIGHTS)
    model = forward_model(modes, grid, indices, Ranks(), Computation(0.7, "target", "direct"))

    def at(weights, **more):
        values = {"lattice_spring_A": crystal.length, "frame_weight": list(weights)} | more
        return parameters_from(values, crystal.lattice)

    return crystal, frames, grid, indices, model, at


@pytest.mark.parametrize(
    ("group", "every", "divisions"),
    [("P 1", 200, (N,) * 3), ("P 1 21 1", 16, (1, 1, 1))],
)
def test_slopes_along_weights(group, every, divisions):
    """Differences of fourth order, and the gradient; of one voxel a peak, too."""
    *_, indices, model, at = model_of_frames(group, 0.3, every, divisions)
    normals = np.repeat(normal_samples("sobol", 4, 3, generator(1)), 3, axis=0)
    own = {"uncorrelated_sigma_A": 0.2}
    found = np.array(list(model.frame_slopes(at(WEIGHTS, **own), normals)))
    h = 0.02

    def two(step):
        ends = (model.internal_motion(at(WEIGHTS + s * step, **own), normals) for s in (1, -1))
        return np.subtract(*ends)

    expected = np.array([(8 * two(h * e) - two(2 * h * e)) / (12 * h) for e in np.eye(3)])
    off = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert off.max() < 3e-4, off
    pulls = np.random.default_rng(2).uniform(0.5, 1.5, len(indices))
    for scale in (1.0, 4.0):
        of = at(WEIGHTS * scale, **own)
        gradient = model.gradient(of, normals, pulls, ("frame_weight",))["frame_weight"]
        np.testing.assert_allclose(gradient, found @ pulls / scale, 1e-4)


def test_slopes_along_weights_against_a_pair_sum():
    """To what lattice dynamics itself is right to."""
    crystal, frames, grid, indices, model, at = model_of_frames("P 1", 0.2, 2500)
    normals = np.repeat(normal_samples("sobol", 256, 3, generator(1)), 3, axis=0)
    found = np.array(list(model.frame_slopes(at(WEIGHTS), normals)))

    def exact(weights) -> np.ndarray:
        return pair_sum(crystal, frames, grid, indices, weights / weights.sum())

    for own, e in zip(found, np.eye(3), strict=True):
        expected = (exact(WEIGHTS + 1e-3 * e) - exact(WEIGHTS - 1e-3 * e)) / 2e-3
        scale, cc = scale_and_cc(own, expected)
        assert scale == pytest.approx(1, abs=0.02) and cc > 0.999
