"""Small periodic crystals of molecules on springs, made by gemmi's operators, summed by hand.

Nothing here knows interfaces, Brillouin zones or transforms: the springs' energy is a sum over
pairs of atoms, its inverse is the covariance of all molecules at once, and the intensity is the sum
over all pairs of their atoms.
"""

from dataclasses import dataclass
from itertools import product

import gemmi
import numpy as np
from builders import gemmi_form_factors, s_vectors

from hpc_diffuser.crystal.lattice import fractionalization
from hpc_diffuser.crystal.structure import Structure

NEAREST_A = 1.0  # images that are nearer are the same atom, or of another conformer


def levers(points: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """u = t + ω × (r − c) at some points as (N, 3, 6) times (t, ω)."""
    found = np.zeros((len(points), 3, 6))
    found[:, :, :3] = np.eye(3)
    for axis, e in enumerate(np.eye(3)):
        found[:, :, 3 + axis] = np.cross(e, points - centre)
    return found


@dataclass
class CrystalByHand:
    """A crystal of a few cells, periodic, whose atoms move by some Å along any axis.

    Attributes
    ----------
    structure : Structure
        The asymmetric unit, a rigid body.
    cell, group
    cells : 3 ints
        How many along each axis.
    reach_A : float
        Nearer atoms of two molecules are joined by a spring.
    rms_A : float
    """

    structure: Structure
    cell: tuple
    group: str
    cells: tuple
    reach_A: float
    rms_A: float

    def __post_init__(self):
        self.to_cartesian = np.linalg.inv(fractionalization(self.cell))
        to_fraction = np.linalg.inv(self.to_cartesian)
        self.operators = list(gemmi.SpaceGroup(self.group).operations())
        self.z = len(self.operators)
        self.lattice = np.array(list(product(*map(range, self.cells))))
        masses = np.array([gemmi.Element(str(e)).weight for e in self.structure.elements])
        counts = masses * self.structure.occupancies
        self.centre = counts @ self.structure.positions / counts.sum()
        self.turns, self.places, self.centres = [], [], []
        for op in self.operators:
            rotation = np.array(op.rot) / op.DEN
            self.turns.append(self.to_cartesian @ rotation @ to_fraction)
            for points, kept in (
                (self.structure.positions, self.places),
                (self.centre[None], self.centres),
            ):
                fractions = [op.apply_to_xyz(f) for f in (points @ to_fraction.T).tolist()]
                kept.append(np.array(fractions) @ self.to_cartesian.T)
        hessian, self.n_pairs = self._hessian()
        levels, vectors = np.linalg.eigh(hessian)
        assert np.abs(levels[:3]).max() < 1e-9 * levels[-1] < levels[3] * 1e-3
        covariance = (vectors[:, 3:] / levels[3:]) @ vectors[:, 3:].T
        own = levers(self.places[0], self.centres[0])
        moved = np.trace(own @ covariance[:6, :6] @ own.swapaxes(1, 2), axis1=1, axis2=2).mean()
        self.length = self.rms_A / np.sqrt(moved)
        shape = (len(self.lattice), self.z, 6)
        self.covariance = (covariance * self.length**2).reshape(*shape, *shape)

    def _hessian(self) -> tuple[np.ndarray, int]:
        """By (t, ω) of all molecules, in the crystal's frame, each about its own centre."""
        moves = self.lattice @ self.to_cartesian.T
        bodies = [(p + move, c[0] + move) for move in moves for p, c in self._molecules()]
        hessian, n_pairs = np.zeros((6 * len(bodies),) * 2), 0
        images = np.array(list(product((-1, 0, 1), repeat=3))) * self.cells
        every = np.concatenate([points for points, _ in bodies])
        of_body = np.repeat(np.arange(len(bodies)), len(self.structure))
        for image in images @ self.to_cartesian.T:
            for i, (points, centre) in enumerate(bodies):
                near = np.flatnonzero(
                    (every + image > points.min(axis=0) - self.reach_A).all(axis=1)
                    & (every + image < points.max(axis=0) + self.reach_A).all(axis=1)
                )
                if not image.any():
                    near = near[of_body[near] != i]
                away = every[near] + image - points[:, None]
                distances = np.linalg.norm(away, axis=2)
                for a, b in np.argwhere((distances < self.reach_A) & (distances >= NEAREST_A)):
                    j = of_body[near[b]]
                    middle = (points[a] + away[a, b] / 2)[None]
                    row = np.zeros((3, len(hessian)))
                    row[:, 6 * i : 6 * i + 6] += levers(middle, centre)[0]
                    row[:, 6 * j : 6 * j + 6] -= levers(middle, bodies[j][1] + image)[0]
                    used = np.r_[6 * i : 6 * i + 6, 6 * j : 6 * j + 6]
                    used = np.unique(used)
                    # Every pair is met from both sides.
                    hessian[np.ix_(used, used)] += 0.5 * row[:, used].T @ row[:, used]
                    n_pairs += i < self.z
        return hessian, n_pairs

    def _molecules(self):
        return zip(self.places, self.centres, strict=True)

    def own_frames(self) -> np.ndarray:
        """The covariance of all molecules with those of the first cell, each in its own frame."""
        turns = np.zeros((self.z, 6, 6))
        turns[:, :3, :3] = turns[:, 3:, 3:] = self.turns
        with_first = self.covariance[:, :, :, 0]
        return np.einsum("mki,rmknl,nlj->rminj", turns, with_first, turns)

    def pair_sum(self, grid, indices: np.ndarray) -> np.ndarray:
        """Per molecule, to first order in rotation."""
        s = s_vectors(grid, indices)
        q = 2 * np.pi * s
        factors = gemmi_form_factors(self.structure.elements, np.sum(s**2, axis=1))
        factors = factors * self.structure.occupancies
        p = np.array([levers(points, c[0]) for points, c in self._molecules()])
        between, found = self.covariance[:, :, :, 0], np.zeros(len(q))
        moves = self.lattice @ self.to_cartesian.T
        for v, at in enumerate(q):
            along = np.einsum("i,maij->maj", at, p)
            blocks = between[0, np.arange(self.z), :, np.arange(self.z)]
            own = np.einsum("mai,mij,maj->ma", along, blocks, along)
            x = np.einsum("mai,rminj,nbj->rmanb", along, between, along, optimize=True)
            waves = np.exp(1j * moves @ at)
            f = factors[v] * np.exp(1j * np.array(self.places) @ at - 0.5 * own)
            found[v] = np.einsum(
                "r,ma,rmanb,nb->", waves, f, np.expm1(x), f.conj(), optimize=True
            ).real
        return found / self.z
