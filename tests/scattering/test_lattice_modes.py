"""Springs between molecules that move inside, too, against crystals that are summed by hand.

Molecules move and turn by the springs' exact covariance; each on its own along modes, and every
atom by itself. To first order in rotation all displacements are Gaussian, and the intensity is the
sum over all pairs of atoms: of one molecule with all that its atoms have in common, of two with
what the springs alone correlate, dimmed by all that moves either atom. With exact rotations it is
the mean over crystals that are drawn.
"""

from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest
from test_lattice_dynamics_intensity import CELLS, N, Supercell, scale_and_cc

from hpc_diffuser.motion.lattice.rigid import displacements
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters, parameters_from
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.lattice import LatticeNeighbours
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation

AMPLITUDES_A = (0.4, 0.25, 0.3)
OWN_A = 0.2


class MovingInside(Supercell):
    """The small crystal, whose molecules have three modes that are no rigid motions."""

    def modes(self) -> Modes:
        """Random fields without translation and rotation."""
        n = len(self.structure)
        rigid = displacements(self.structure.positions, self.centre).reshape(3 * n, 6)
        basis = np.linalg.qr(rigid)[0]
        rows = np.random.default_rng(6).normal(size=(len(AMPLITUDES_A), 3 * n))
        rows -= rows @ basis @ basis.T
        vectors = (rows * np.sqrt(n) / np.linalg.norm(rows, axis=1)[:, None]).reshape(-1, n, 3)
        return replace(super().modes(), vectors=vectors, amplitudes_A=np.array(AMPLITUDES_A))

    @property
    def fields(self) -> np.ndarray:
        """Of unit variance."""
        return np.array(AMPLITUDES_A)[:, None, None] * self.modes().vectors

    def parameters(self) -> Parameters:
        values = {
            "mode_amplitude_A": list(AMPLITUDES_A),
            "uncorrelated_sigma_A": OWN_A,
            "lattice_spring_A": self.length,
        }
        return parameters_from(values, self.lattice)

    def calculated_parts(self, grid, indices, transform="direct") -> tuple:
        """The whole intensity, and what neighbours add to it."""
        how = Computation(0.6, "target", transform)
        model = forward_model(self.modes(), grid, indices, Ranks(), how)
        normals = normal_samples("sobol", 1024, 3 + len(AMPLITUDES_A), generator(1))
        whole = model.internal_motion(self.parameters(), normals)
        rows = np.arange(len(indices))
        added = LatticeNeighbours(self.modes(), grid, indices, rows, Ranks(), transform)
        return whole, added.intensity(self.parameters(), model.molecule.moments.factors)

    def inside(self) -> np.ndarray:
        fields = self.fields
        return np.einsum("mai,maj->aij", fields, fields) + OWN_A**2 * np.eye(3)

    def scattered(self, factors, q, atoms, frames):
        """Averaged over Gaussian motion inside, in the frame of each turned molecule."""
        mean, added = np.empty((len(atoms), len(q)), complex), np.empty(len(q))
        for v, at in enumerate(q):
            along = at @ frames
            squares = np.einsum("ri,aij,rj->ra", along, self.inside(), along, optimize=True)
            g = factors[v] * np.exp(1j * atoms @ at - 0.5 * squares)
            moved = np.einsum("mai,ri->ram", self.fields, along)
            x = moved @ moved.swapaxes(1, 2) + OWN_A**2 * (at @ at) * np.eye(atoms.shape[1])
            mean[:, v] = g.sum(axis=1)
            added[v] = np.einsum("ra,rab,rb->", g, np.expm1(x), g.conj(), optimize=True).real
        return mean, added

    def pair_sums(self, grid, indices) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of atoms of one molecule, and of two, to first order in rotation."""
        q, factors, places, p = self.scattering(grid, indices)
        cells = np.array(list(product(range(N), repeat=3)))
        phases = np.exp(2j * np.pi * cells @ self.hkl.T) / len(self.hkl)
        blocks = self.inverses.reshape(-1, self.z, 6, self.z, 6)
        between = np.einsum("rk,kminj->rminj", phases, blocks).real
        inside = [self.fields @ turn.T for turn in self.packing.turns]
        alone, added = np.zeros((2, len(q)))
        for v in range(len(q)):
            waves = np.exp(2j * np.pi * cells @ (indices[v] / np.array(grid.divisions)))
            along = [np.einsum("i,aij->aj", q[v], own) for own in p]
            modes = [fields @ q[v] for fields in inside]
            by_itself = OWN_A**2 * (q[v] @ q[v])
            squares = [
                np.einsum("ai,ij,aj->a", g, between[0, m, :, m], g)
                + np.sum(modes[m] ** 2, axis=0)
                + by_itself
                for m, g in enumerate(along)
            ]
            for m, k in product(range(self.z), repeat=2):
                x = along[m] @ between[:, m, :, k] @ along[k].T
                if m == k:
                    x[0] += modes[m].T @ modes[m] + by_itself * np.eye(len(x[0]))
                pairs = np.exp(-0.5 * (squares[m][:, None] + squares[k])) * np.expm1(x)
                f, g = (factors[v] * np.exp(1j * places[t] @ q[v]) for t in (m, k))
                of_cells = waves * (f @ pairs @ g.conj())
                own = of_cells[0].real * (m == k)
                alone[v] += own
                added[v] += of_cells.sum().real - own
        return alone / self.z, added / self.z

    def undimmed(self, grid, indices) -> np.ndarray:
        """What neighbours would add if nothing moved inside."""
        modes, rows = super().modes(), np.arange(len(indices))
        model = forward_model(modes, grid, indices, Ranks(), Computation(0.6, "target", "direct"))
        added = LatticeNeighbours(modes, grid, indices, rows, Ranks(), "direct")
        still = Parameters(np.empty(0), lattice_spring_A=self.length, lattice=self.lattice)
        return added.intensity(still, model.molecule.moments.factors)


@cache
def summed(group: str, rms_A: float) -> tuple:
    """A crystal, some of its samples, and their intensity by pairs of atoms."""
    crystal = MovingInside(group, rms_A)
    grid, indices = crystal.samples(900 if rms_A == 0.3 else 150)
    return crystal, grid, indices, *crystal.pair_sums(grid, indices)


# What of scale is off, and CC: of the whole intensity, and of what neighbours add to it.
OFF = {
    0.3: ((2e-3, 0.9996), (5e-3, 0.9999)),
    0.6: ((4e-3, 0.998), (0.03, 0.9985)),
    0.85: ((8e-3, 0.992), (0.07, 0.993)),
}
CASES = [
    pytest.param(*case, marks=[pytest.mark.slow] * (case != ("P 1 21 1", 0.3)))
    for case in product(CELLS, OFF)
]


@pytest.mark.parametrize(("group", "rms_A"), CASES)
def test_pair_sum(group, rms_A):
    """The whole, and what neighbours add: how the difference grows."""
    crystal, grid, indices, alone, added = summed(group, rms_A)
    whole, neighbours = crystal.calculated_parts(grid, indices)
    parts = (whole, alone + added), (neighbours, added)
    for (found, expected), (off, least) in zip(parts, OFF[rms_A], strict=True):
        scale, cc = scale_and_cc(found, expected)
        assert scale == pytest.approx(1, abs=off) and cc > least


def test_what_dims_what():
    """Motion inside dims halos: without, neighbours would add twice as much and more.

    The springs' motion does not dim what moves inside: the molecule's own part would lack it, which
    is in the whole that `test_pair_sum` compares.
    """
    crystal, grid, indices, _, added = summed("P 1 21 1", 0.3)
    assert scale_and_cc(crystal.undimmed(grid, indices), added)[0] > 1.8


# The same with exact rotations, as far as 150 crystals tell.
DRAWN = {0.3: (5e-3, 0.9995), 0.6: (0.015, 0.996), 0.85: (0.02, 0.99)}


@pytest.mark.slow
@pytest.mark.parametrize("group", CELLS)
@pytest.mark.parametrize("rms_A", DRAWN)
def test_simulated_crystals(group, rms_A):
    """Where nothing is small: how the difference grows."""
    crystal = MovingInside(group, rms_A)
    grid, indices = crystal.samples(480)
    expected = crystal.drawn(grid, indices, 150)
    scale, cc = scale_and_cc(crystal.calculated_parts(grid, indices)[0], expected)
    assert scale == pytest.approx(1, abs=DRAWN[rms_A][0]) and cc > DRAWN[rms_A][1]
