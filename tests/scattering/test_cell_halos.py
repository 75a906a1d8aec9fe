"""Halos of the whole cell against sums over all molecules of a crystal, placed by gemmi."""

from dataclasses import replace

import gemmi
import numpy as np
import pytest
from builders import gemmi_form_factors, random_structure, s_vectors
from ranks_in_turn import on_ranks

from hpc_diffuser.crystal.lattice import centring, fractionalization, grid_to_resolution
from hpc_diffuser.crystal.structure import centre_of_mass
from hpc_diffuser.crystal.symmetry import grid_operations, unique_indices
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.cell_halos import NearPoints, coupling_waves
from hpc_diffuser.scattering.halos import period
from hpc_diffuser.scattering.model import ForwardModel, forward_model
from hpc_diffuser.scattering.molecule import Computation

CELLS = {
    "P 1 21 1": (13.0, 11.0, 12.0, 90.0, 103.0, 90.0),
    "P 21 21 21": (13.0, 14.0, 15.0, 90.0, 90.0, 90.0),
    "C 1 2 1": (21.0, 11.0, 12.0, 90.0, 103.0, 90.0),
    "P 1": (9.0, 10.0, 11.0, 82.0, 101.0, 105.0),
}
SIGMA_A, GAMMA_A, OWN_A, D_MIN = 0.4, 4.0, 0.2, 2.5
REACH = 16 * GAMMA_A


class Crystal:
    """Six atoms a molecule, and some samples of a map."""

    def __init__(self, group: str, divisions=(3, 3, 3)):
        self.cell, self.group = CELLS[group], group
        structure = random_structure(np.random.default_rng(4), 6, 2.5, ("C", "N", "O", "S"))
        place = np.array([3.0, 2.0, 3.5])
        structure = replace(
            structure, positions=structure.positions + place, occupancies=np.ones(6)
        )
        none = np.empty((0, 6, 3)), np.empty(0)
        self.modes = Modes(structure, *none, self.cell, group)
        self.grid = grid_to_resolution(self.cell, divisions, D_MIN)
        operations = grid_operations(self.grid, group)
        every = unique_indices(self.grid, 10.0, D_MIN, operations)
        some = np.random.default_rng(2).choice(len(every), 40, replace=False)
        self.indices = every[np.sort(some)]

    def model(self, **how) -> ForwardModel:
        given = {"transform": "direct", "grid": "target", "halos": "cell"} | how
        modes, group = self.modes, Ranks()
        return forward_model(modes, self.grid, self.indices, group, Computation(0.3, **given))

    def molecules(self) -> tuple[list, list, np.ndarray]:
        """Of each operator the atoms of its molecule, its centre, and its rotation."""
        to_fraction = fractionalization(self.cell)
        to_cartesian = np.linalg.inv(to_fraction)
        operations = list(gemmi.SpaceGroup(self.group).operations())

        def placed(points) -> list:
            fractions = (points @ to_fraction.T).tolist()
            return [
                np.array([op.apply_to_xyz(x) for x in fractions]) @ to_cartesian.T
                for op in operations
            ]

        centre = centre_of_mass(self.modes.structure)
        turns = [to_cartesian @ np.array(op.rot) / op.DEN @ to_fraction for op in operations]
        return placed(self.modes.structure.positions), placed(centre[None]), np.array(turns)

    def transforms(self, translation=0.0) -> tuple[np.ndarray, list, np.ndarray]:
        """F of each molecule at its place dimmed by its own motion (Z, V); centres; S."""
        s = s_vectors(self.grid, self.indices)
        q = 2 * np.pi * s
        factors = gemmi_form_factors(self.modes.structure.elements, np.sum(s**2, axis=1))
        atoms, centres, turns = self.molecules()
        found = []
        for own, turn in zip(atoms, turns, strict=True):
            u = np.diag(np.broadcast_to(translation, 3) ** 2.0) + OWN_A**2 * np.eye(3)
            alone = np.einsum("vi,ij,vj->v", q, turn @ u @ turn.T, q)
            found.append(np.sum(factors * np.exp(1j * q @ own.T), axis=1) * np.exp(-alone / 2))
        return np.array(found), centres, q

    def between(self, translation=0.0) -> np.ndarray:
        """What all pairs of different molecules scatter, per molecule."""
        f, centres, q = self.transforms(translation)
        to_fraction = fractionalization(self.cell)
        ends = np.ceil(REACH * np.linalg.norm(to_fraction, axis=1)).astype(int) + 1
        cells = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in ends)), -1).reshape(-1, 3)
        shifts = cells @ np.linalg.inv(to_fraction).T
        x = SIGMA_A**2 * np.sum(q**2, axis=1)
        total = np.zeros(len(q))
        for m, n in np.ndindex(len(f), len(f)):
            distances = np.linalg.norm(centres[m] + shifts - centres[n], axis=1)
            other = (distances > 1e-6) & (distances < REACH)
            near = np.exp(-distances[other] / GAMMA_A)
            for v in range(len(q)):
                waves = np.exp(1j * shifts[other] @ q[v])
                coupled = waves @ (np.exp(x[v] * (near - 1)) - np.exp(-x[v]))
                total[v] += (f[m, v] * f[n, v].conj() * coupled).real
        return total / len(f)


def halos(crystal: Crystal, model: ForwardModel, translation=0.0, normals=None) -> np.ndarray:
    """What the model adds as molecules are coupled: with a correlation, less without one."""
    given = {"translation_sigma_A": translation, "uncorrelated_sigma_A": OWN_A}
    coupled = Disorder(**given, halo_sigma_A=SIGMA_A, halo_gamma_A=GAMMA_A)
    apart = Disorder(**given, halo_sigma_A=SIGMA_A, halo_gamma_A=1e-3)
    return np.subtract(*(model.rigid(Parameters(np.empty(0), d)) for d in (coupled, apart)))


@pytest.mark.parametrize(
    ("group", "translation"),
    [("P 1 21 1", (0.1, 0.3, 0.2)), ("P 21 21 21", 0.2), ("C 1 2 1", 0.0)],
)
def test_sum_over_all_molecules(group, translation):
    """Also where each moves on its own besides, in its own frame; of a centred cell, too."""
    crystal = Crystal(group)
    found, expected = halos(crystal, crystal.model(), translation), crystal.between(translation)
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())
    alone = halos(crystal, crystal.model(halos="molecule"), translation)
    assert np.corrcoef(alone, expected)[0, 1] < 0.98


def test_interpolated():
    """On a coarse grid: to some 1e-3."""
    crystal = Crystal("P 21 21 21")
    expected = halos(crystal, crystal.model())
    for transform in ("direct", "density"):
        found = halos(crystal, crystal.model(grid="band-limited", transform=transform))
        assert np.linalg.norm(found - expected) < 4e-3 * np.linalg.norm(expected)


def test_on_any_number_of_ranks():
    """The same bits."""
    crystal = Crystal("P 1 21 1")
    disorder = Disorder(halo_sigma_A=SIGMA_A, halo_gamma_A=GAMMA_A)

    def work(group):
        how = Computation(0.3, grid="band-limited", transform="direct", halos="cell")
        model = forward_model(crystal.modes, crystal.grid, crystal.indices, group, how)
        return model.rows, model.rigid(Parameters(np.empty(0), disorder))

    alone = work(Ranks())[1]
    for rows, found in on_ranks(3, work)[0]:
        np.testing.assert_array_equal(found, alone[rows])


def test_one_orientation():
    """In P 1 both kinds are the same bits."""
    crystal = Crystal("P 1")
    np.testing.assert_array_equal(
        halos(crystal, crystal.model()), halos(crystal, crystal.model(halos="molecule"))
    )


def test_systematic_absences():
    """Of a screw axis along b: next to 0k0 with k odd there is hardly a halo, with k even there is.

    Of molecules of one orientation alone there is one next to either.
    """
    crystal = Crystal("P 1 21 1", (1, 8, 1))
    crystal.indices = np.array([[0, 8 * k + 1, 0] for k in (1, 2, 3, 4)])
    of_cell, of_molecules = (
        halos(crystal, crystal.model(halos=kind)) for kind in ("cell", "molecule")
    )
    share = of_cell / of_molecules
    assert share[[0, 2]].max() < 0.4 and share[[1, 3]].min() > 1.2
    assert of_molecules.min() > 0


def test_with_modes_that_are_sampled():
    """Neighbours see the average molecule: as with the Debye-Waller factors of its atoms."""
    crystal = Crystal("P 1 21 1")
    vectors = np.random.default_rng(3).normal(size=(2, 6, 3))
    crystal.modes = replace(crystal.modes, vectors=vectors, amplitudes_A=np.array([0.15, 0.1]))
    still = {"uncorrelated_sigma_A": OWN_A, "halo_sigma_A": SIGMA_A}
    coupled, apart = Disorder(**still, halo_gamma_A=GAMMA_A), Disorder(**still, halo_gamma_A=1e-3)
    model, normals = crystal.model(), normal_samples("sobol", 1024, 2, generator(1))
    found = np.subtract(
        *(
            model.internal_motion(Parameters(crystal.modes.amplitudes_A, d), normals)
            for d in (coupled, apart)
        )
    )
    fields = vectors * crystal.modes.amplitudes_A[:, None, None]
    u = np.einsum("mni,mnj->nij", fields, fields)
    dimmed = dimmed_transforms(crystal, u)
    crystal.transforms = lambda translation=0.0: dimmed
    expected = crystal.between()
    assert np.linalg.norm(found - expected) < 5e-3 * np.linalg.norm(expected)


def dimmed_transforms(crystal: Crystal, u_A2: np.ndarray) -> tuple[np.ndarray, list, np.ndarray]:
    """As `Crystal.transforms`, of atoms that move by U (N, 3, 3) besides."""
    s = s_vectors(crystal.grid, crystal.indices)
    q = 2 * np.pi * s
    factors = gemmi_form_factors(crystal.modes.structure.elements, np.sum(s**2, axis=1))
    atoms, centres, turns = crystal.molecules()
    found = []
    for own, turn in zip(atoms, turns, strict=True):
        u = turn @ (u_A2 + OWN_A**2 * np.eye(3)) @ turn.T
        dimming = np.exp(-0.5 * np.einsum("vi,aij,vj->va", q, u, q))
        found.append(np.sum(factors * dimming * np.exp(1j * q @ own.T), axis=1))
    return np.array(found), centres, q


@pytest.mark.parametrize("group", CELLS)
def test_what_is_kept_changes_no_bit(group):
    """Lattice points from evaluations before: as if each were the first."""
    cell = CELLS[group]
    lattice, apart = centring(group, cell), np.array([0.3, -0.8, 0.6])
    shape = period((3, 3, 3), lattice)
    many, none = (NearPoints(apart, shape, cell, lattice, most) for most in (10**6, 0))
    for gamma_A in (4.0, 4.01, 6.0, 3.99, 4.0):
        kept = coupling_waves(many, gamma_A, 6)
        np.testing.assert_array_equal(kept, coupling_waves(none, gamma_A, 6))
        assert many._kept is not None and none._kept is None
