"""One phonon as displacements, against the energy of springs between all pairs of atoms."""

from itertools import product
from types import SimpleNamespace

import gemmi
import numpy as np
import pytest
from builders import random_structure

from hpc_diffuser.commands.export import Options
from hpc_diffuser.commands.exports.source import Source
from hpc_diffuser.commands.exports.waves import along_phonon
from hpc_diffuser.crystal.lattice import fractionalization
from hpc_diffuser.motion.lattice.phonons import frequencies, mass_matrix
from hpc_diffuser.motion.lattice.rigid_lattice import RigidLattice, rigid_lattice
from hpc_diffuser.motion.lattice.waves import Wave, in_cells, phonon, wave_frames
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.system.errors import InputError

CELLS = {
    "P 1": (13.1, 14.3, 12.7, 82.0, 101.0, 113.0),
    "P 1 21 1": (13.0, 14.0, 17.0, 90.0, 104.0, 90.0),
}
REACH_A, LENGTH_A, KT = 7.0, 1.3, 8.31446261815324e-3 * 298 * 100
FRAMES = 8


def crystal(group: str):
    """Twenty atoms off the special positions, and their springs."""
    structure = random_structure(np.random.default_rng(4), 20, 4.5)
    structure.positions[:] += [1.0, 2.0, 1.5]
    structure.occupancies[:] = 1.0
    return structure, rigid_lattice(structure, CELLS[group], group, contact_A=REACH_A)


def wave_of(structure, lattice: RigidLattice, hkl, branch: int) -> Wave:
    masses = mass_matrix(structure, lattice.springs.centre)
    return phonon(lattice.springs, lattice.stiffness(LENGTH_A), masses, hkl, branch, 298.0)


def moving(group: str, hkl, branch: int, cells=(2, 2, 2), reach=1.0):
    """The molecules of some cells: at rest (P, N, 3), moved (F, P, N, 3), and where they are."""
    structure, lattice = crystal(group)
    wave = wave_of(structure, lattice, hkl, branch)
    places = in_cells(lattice.springs.packing, cells)
    of = structure.positions, lattice.springs, CELLS[group], wave, places, reach, FRAMES
    mean, frames = wave_frames(*of)
    n = len(structure)
    return mean.reshape(-1, n, 3), frames.reshape(FRAMES, -1, n, 3), places


def energies(group: str, mean: np.ndarray, frames: np.ndarray, cells) -> np.ndarray:
    """½κ|u − u'|² of all pairs of near atoms of a crystal that repeats after some cells: (F,) kT.

    u of the rigid body at the middle between the two, from where its atoms have gone.
    """
    at_rest = np.concatenate([mean, np.ones((*mean.shape[:2], 1))], axis=2)
    affine = [
        np.linalg.lstsq(a, (f - m).swapaxes(0, 1).reshape(len(a), -1), rcond=None)[0]
        for a, m, f in zip(at_rest, mean, frames.swapaxes(0, 1), strict=True)
    ]
    edges = np.linalg.inv(fractionalization(CELLS[group])).T * np.array(cells)[:, None]
    total = np.zeros(len(frames))
    for image in product((-1, 0, 1), repeat=3):
        shift = np.array(image) @ edges
        for i, j in product(range(len(mean)), repeat=2):
            if i == j and image == (0, 0, 0):
                continue
            steps = mean[j][None] + shift - mean[i][:, None]
            for a, b in zip(*np.nonzero(np.linalg.norm(steps, axis=2) < REACH_A), strict=True):
                middle = mean[i][a] + steps[a, b] / 2
                own = np.append(middle, 1) @ affine[i]
                other = np.append(middle - shift, 1) @ affine[j]
                apart = (own - other).reshape(len(frames), 3)
                total += 0.5 * 0.5 / LENGTH_A**2 * np.sum(apart**2, axis=1)  # met from both sides
    return total


@pytest.mark.parametrize(
    ("group", "hkl", "branch", "cells"),
    [
        ("P 1", (0.5, 0, 0), 1, (2, 1, 1)),
        ("P 1", (0, 0.5, 0.5), 4, (1, 2, 2)),
        ("P 1", (1 / 3, 0, 0), 2, (3, 1, 1)),
        ("P 1 21 1", (0, 0.5, 0), 1, (1, 2, 1)),
        ("P 1 21 1", (0, 1 / 3, 0), 5, (1, 3, 1)),
    ],
)
def test_energy_of_the_displaced_crystal_is_the_eigenvalue(group, hkl, branch, cells):
    """Of every pair of atoms within reach, over a period: kT/4 a cell at one standard deviation.

    And ω² = 2E/Σmu², the frequency that the dispersion curves have.
    """
    mean, frames, _ = moving(group, hkl, branch, cells)
    n_cells = np.prod(cells)
    energy = energies(group, mean, frames, cells).mean() / n_cells
    assert energy == pytest.approx(0.25, rel=1e-6)
    structure, lattice = crystal(group)
    masses = np.array([gemmi.Element(e).weight for e in structure.elements])
    moved = np.sum((frames - mean) ** 2, axis=3)
    inertia = (moved * masses).sum(axis=(1, 2)).mean() / n_cells
    whole = mass_matrix(structure, lattice.springs.centre)
    of = lattice.springs, lattice.stiffness(LENGTH_A), whole
    expected = frequencies(*of, np.array([hkl]), 298.0)[0, branch - 1]
    assert np.sqrt(2 * energy * KT / inertia) / (2 * np.pi) == pytest.approx(expected, rel=1e-6)
    assert wave_of(structure, lattice, hkl, branch).frequency_THz == pytest.approx(expected)


@pytest.mark.parametrize("group", CELLS)
def test_neighbours_follow_by_the_phase(group):
    """In a cell R later a molecule does k·R later what the first does; at the zone's edge, −1."""
    mean, frames, places = moving(group, (0.25, 0, 0), 2, (5, 1, 1), reach=2.0)
    moved = dict(zip(places, (frames - mean).swapaxes(0, 1), strict=True))
    for m in {m for m, _ in places}:
        for steps in range(5):  # a quarter of a period is two of eight frames
            later = np.roll(moved[m, (0, 0, 0)], 2 * steps, axis=0)
            np.testing.assert_allclose(moved[m, (steps, 0, 0)], later, atol=1e-9)
    mean, frames, places = moving(group, (0, 0, 0.5), 1, (1, 1, 2))
    moved = dict(zip(places, (frames - mean).swapaxes(0, 1), strict=True))
    for m in {m for m, _ in places}:
        np.testing.assert_allclose(moved[m, (0, 0, 1)], -moved[m, (0, 0, 0)], atol=1e-9)


def test_a_wave_at_the_edge_of_the_zone_stands():
    """In P 1 with k = −k all molecules pass the middle at once; the path begins there."""
    mean, frames, _ = moving("P 1", (0.5, 0.5, 0), 3)
    moved = frames - mean
    np.testing.assert_allclose(moved[[0, 4]], 0, atol=1e-9)
    np.testing.assert_allclose(moved[2], -moved[6], atol=1e-9)
    np.testing.assert_allclose(moved[1], moved[2] * np.sqrt(0.5), atol=1e-9)


def test_all_branches_together_are_the_covariance():
    """Σ ε ε† = D⁻¹(k)."""
    structure, lattice = crystal("P 1 21 1")
    hkl = (0.3, 0.1, -0.2)
    waves = [wave_of(structure, lattice, hkl, b).motion.ravel() for b in range(1, 13)]
    total = sum(np.outer(w, w.conj()) for w in waves)
    d = lattice.springs.dynamical_matrices(lattice.stiffness(LENGTH_A), np.array([hkl]))[0]
    np.testing.assert_allclose(total, np.linalg.inv(d), atol=1e-9 * abs(total).max())


def source(group="P 1 21 1", lengths=LENGTH_A) -> Source:
    """What a finished run would be."""
    structure, lattice = crystal(group)
    modes = Modes(structure, np.empty((0, 20, 3)), np.empty(0), CELLS[group], group)
    modes = modes.__class__(**vars(modes) | {"lattice": lattice})
    parameters = SimpleNamespace(springs=lengths, lattice=lattice)
    return Source("run", modes, parameters, (), None)


def test_movie_of_a_phonon(tmp_path):
    """As gemmi reads it: a chain for each molecule, at rest where the crystal has it."""
    out = tmp_path / "wave.pdb"
    options = Options("run", out, "phonon", wave="0.5,0,0", mode=2, models=FRAMES)
    made = along_phonon(source(), options)
    out.write_bytes(made.files[out])
    found = gemmi.read_structure(str(out))
    assert len(found) == FRAMES and "branch 2 of the wave 0.5 0 0" in made.said[0]
    structure, lattice = crystal("P 1 21 1")
    near = lattice.springs.packing.neighbours
    assert len(found[0]) == 1 + len(near) == len(made.said) - 1
    places = np.array([[[a.pos.tolist() for r in c for a in r] for c in m] for m in found])
    rest = places.mean(axis=0)
    np.testing.assert_allclose(rest[0], structure.positions, atol=1e-3)
    for chain, neighbour in zip(rest[1:], near, strict=True):
        there = structure.positions @ neighbour.turn.T + neighbour.shift
        np.testing.assert_allclose(chain, there, atol=1e-3)
    assert found.cell.parameters == pytest.approx(CELLS["P 1 21 1"])
    assert found.spacegroup_hm == "P 1"


def test_whole_cells_and_what_is_refused(tmp_path):
    """Sixteen molecules of 2 x 2 x 2 cells; no more chains than PDB has names for; no springs."""
    out = tmp_path / "wave.pdb"
    options = Options("run", out, "phonon", wave="0.5,0,0", cells="2,2,2", models=4)
    made = along_phonon(source(), options)
    assert made.files[out].decode().count("TER") == 16 * 4
    wrong = {
        "at most 62 chains": (source(), {"cells": "4,4,2"}),
        "has no springs between molecules": (source(lengths=0.0), {}),
        "branch 13 of the wave 0.5 0 0: expected one from 1 to 12": (source(), {"mode": 13}),
        "moves the whole crystal": (source(), {"wave": "1,0,-2"}),
    }
    for message, (of, given) in wrong.items():
        with pytest.raises(InputError, match=message):
            along_phonon(of, Options("run", out, "phonon", **{"wave": "0.5,0,0"} | given))
    with pytest.raises(InputError, match=r"expected three numbers as 0.5,0,0, found a$"):
        Options("run", out, "phonon", wave="a")
