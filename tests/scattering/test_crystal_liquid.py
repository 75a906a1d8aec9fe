"""Liquid-like motion of the whole crystal against the sum over all pairs of its atoms."""

from dataclasses import replace

import gemmi
import numpy as np
import pytest
from builders import random_structure, s_vectors

from hpc_diffuser.crystal.atom_factors import atom_factors
from hpc_diffuser.crystal.lattice import fractionalization, grid_to_resolution
from hpc_diffuser.crystal.symmetry import grid_operations, unique_indices
from hpc_diffuser.kernels.folding import fold_radial
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.crystal_liquid import require_crystal_axes
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation
from hpc_diffuser.system.errors import InputError

TRICLINIC = (17.0, 18.0, 19.0, 88.0, 105.0, 98.0)
MONOCLINIC = (17.0, 18.0, 19.0, 90.0, 105.0, 90.0)
TETRAGONAL = (25.0, 25.0, 30.0, 90.0, 90.0, 90.0)
REACH = 16.0  # correlation lengths, beyond which pairs do not count
D_MIN = 3.0


def molecule(n_atoms, cell, space_group) -> Modes:
    """Atoms no nearer to each other than bonded ones, or to those of neighbours than these touch.

    None of them moves inside.
    """
    rng, places = np.random.default_rng(1), []
    while len(places) < n_atoms:
        place = rng.uniform(-5, 5, 3) + np.array([3.0, 2.0, 4.0])
        nearest = [np.linalg.norm(place - other) for other in places]
        others = to_copies(place, [*places, place], cell, space_group)
        if min([2.0, *nearest]) > 1.3 and others > 2.5:
            places.append(place)
    structure = random_structure(rng, n_atoms, elements=("C", "N", "O", "S"))
    structure = replace(
        structure,
        positions=np.array(places),
        residue_names=np.full(n_atoms, "HOH"),
        occupancies=np.where(np.arange(n_atoms) == 0, 0.5, 1.0),
    )
    return Modes(structure, np.empty((0, n_atoms, 3)), np.empty(0), cell, space_group)


def to_copies(place, atoms, cell, space_group) -> float:
    """How far an atom is from the symmetry mates and lattice copies of some, Å."""
    to_fraction = fractionalization(cell)
    cells = np.stack(np.meshgrid(*[[-2, -1, 0, 1, 2]] * 3), axis=-1).reshape(-1, 3)
    found = []
    for number, operator in enumerate(gemmi.SpaceGroup(space_group).operations()):
        copies = [operator.apply_to_xyz((to_fraction @ atom).tolist()) for atom in atoms]
        away = np.array(copies)[:, None] + cells - to_fraction @ place
        others = cells.any(axis=1) | (number > 0)
        found.append(np.linalg.norm(away[:, others] @ np.linalg.inv(to_fraction).T, axis=-1).min())
    return min(found)


def pair_sum(modes, s, factors, u_A2, gamma_A, own_A2=0.0) -> np.ndarray:
    """Every pair of atoms of the crystal, by gemmi's operators, per molecule: (V,) electrons²."""
    cell, q = modes.unit_cell, 2 * np.pi * s
    to_fraction = fractionalization(cell)
    fractions = (modes.structure.positions @ to_fraction.T).tolist()
    operators = list(gemmi.SpaceGroup(modes.space_group).operations())
    atoms = np.array([op.apply_to_xyz(x) for op in operators for x in fractions])
    f = np.tile(factors.at(np.sum(s**2, axis=1))[:, factors.kind], len(operators))
    f = f * np.tile(factors.occupancies, len(operators))
    reach = REACH * gamma_A
    ends = np.ceil(reach * np.linalg.norm(to_fraction, axis=1)).astype(int) + 1
    cells = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in ends)), axis=-1).reshape(-1, 3)
    x = np.einsum("vi,ij,vj->v", q, u_A2, q)
    alone = own_A2 * np.sum(q**2, axis=1)
    total = np.zeros(len(q))
    for a, atom in enumerate(atoms):
        away = (atom - atoms + cells[:, None]) @ np.linalg.inv(to_fraction).T
        r = np.linalg.norm(away, axis=-1)
        cell_rows, b = np.nonzero(r < reach)
        away, r = away[cell_rows, b], r[cell_rows, b]
        for v in range(len(q)):
            waves = f[v, a] * f[v, b] * np.cos(away @ q[v])
            same = alone[v] * (r == 0)
            moving = np.exp(x[v] * (np.exp(-r / gamma_A) - 1) - alone[v] + same)
            total[v] += np.sum(waves * (moving - np.exp(-x[v] - alone[v])))
    return total / len(operators)


CASES = {
    "a voxel a peak": (24, TRICLINIC, "P 1", (1, 1, 1), {"crystal_llm_sigma_A": 0.5}),
    "fine": (24, TRICLINIC, "P 1", (2, 3, 4), {"crystal_llm_sigma_A": 0.5}),
    "axes": (
        24,
        TRICLINIC,
        "P 1",
        (2, 2, 2),
        {"crystal_llm_sigma_A": (0.3, 0.6, 0.5), "crystal_llm_correlation": (0.5, -0.3, 0.2)},
    ),
    "uncorrelated beside": (
        24,
        TRICLINIC,
        "P 1",
        (2, 1, 2),
        {"crystal_llm_sigma_A": 0.4, "uncorrelated_sigma_A": 0.3},
    ),
    "screw": (12, MONOCLINIC, "P 1 21 1", (2, 1, 2), {"crystal_llm_sigma_A": 0.5}),
    "tetragonal": (3, TETRAGONAL, "P 43 21 2", (1, 1, 1), {"crystal_llm_sigma_A": (0.6, 0.4)}),
    "centred": (6, MONOCLINIC, "C 1 2 1", (1, 2, 1), {"crystal_llm_sigma_A": 0.5}),
}


class Case:
    """A crystal, its model, and the pair sum at some of the model's voxels."""

    def __init__(self, name, solvent=(0.0, 0.0)):
        n_atoms, cell, space_group, divisions, of_disorder = CASES[name]
        self.modes = molecule(n_atoms, cell, space_group)
        self.grid = grid_to_resolution(cell, divisions, D_MIN)
        operations = grid_operations(self.grid, space_group)
        self.indices = unique_indices(self.grid, np.inf, D_MIN, operations)
        self.disorder = Disorder(crystal_llm_gamma_A=5.0, **of_disorder)
        factors = atom_factors(self.modes.structure, *solvent) if solvent[0] else None
        how = Computation(0.3, crystal_gamma_A=5.0, factors=factors, transform="direct")
        self.model = forward_model(self.modes, self.grid, self.indices, Ranks(), how)
        of_solvent = dict(zip(("k_sol_eA3", "b_sol_A2"), solvent, strict=True))
        self.parameters = Parameters(np.empty(0), self.disorder, **of_solvent)
        rng, n = np.random.default_rng(0), len(self.indices)
        self.some = np.sort(rng.choice(n, min(60, n), replace=False))

    def both(self) -> tuple[np.ndarray, np.ndarray]:
        """The model and the pair sum at these voxels."""
        found = self.model.rigid(self.parameters)[self.some]
        parameters, disorder = self.parameters, self.disorder
        solvent = parameters.k_sol_eA3, parameters.b_sol_A2
        factors = atom_factors(self.modes.structure, *solvent)
        s = s_vectors(self.grid, self.indices[self.some])
        own = float(disorder.uncorrelated_sigma_A) ** 2
        of_motion = disorder.crystal_covariance(), disorder.crystal_llm_gamma_A, own
        return found, pair_sum(self.modes, s, factors, *of_motion)


@pytest.mark.parametrize("name", CASES)
def test_model_is_the_pair_sum(name):
    """The scale to 1e-3 and 1 − CC below 1e-5, at integer hkl too; all of it finite."""
    found, exact = Case(name).both()
    assert np.isfinite(found).all()
    assert found @ exact / (exact @ exact) == pytest.approx(1, abs=1e-3)
    assert 1 - np.corrcoef(found, exact)[0, 1] < 1e-5


def test_with_solvent():
    """Factors that the solvent changes differently are mixed at low resolution: 4e-5."""
    found, exact = Case("fine", (0.334, 30.0)).both()
    assert found @ exact / (exact @ exact) == pytest.approx(1, abs=1e-3)
    assert 1 - np.corrcoef(found, exact)[0, 1] < 4e-5


@pytest.mark.parametrize("space_group", [pytest.param("P 1", marks=pytest.mark.slow), "P 1 21 1"])
def test_with_modes_inside(space_group):
    """Each molecule moves along its own modes besides: 512 samples, 1 − CC below 3e-4.

    C_ab of two atoms of one molecule is U e^{−r/γ} + Σ Δ_a Δ_bᵀ, of others U e^{−r/γ}.
    """
    cell = TRICLINIC if space_group == "P 1" else MONOCLINIC
    modes = molecule(10, cell, space_group)
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(2, 10, 3))
    vectors *= np.sqrt(10 / np.sum(vectors**2, axis=(1, 2)))[:, None, None]
    modes = replace(modes, vectors=vectors, amplitudes_A=np.array([0.3, 0.25]))
    grid = grid_to_resolution(cell, (2, 1, 2), D_MIN)
    indices = unique_indices(grid, 12, D_MIN, grid_operations(grid, space_group))
    disorder = Disorder(crystal_llm_sigma_A=0.4, crystal_llm_gamma_A=5.0)
    how = Computation(0.4, transform="direct", liquid_gamma_A=5.0, crystal_gamma_A=5.0)
    model = forward_model(modes, grid, indices, Ranks(), how)
    parameters = Parameters(modes.amplitudes_A, disorder)
    normals = normal_samples("sobol", 512, 2, generator(1))
    some = np.sort(rng.choice(len(indices), min(40, len(indices)), replace=False))
    found = model.internal_motion(parameters, normals)[some]
    s = s_vectors(grid, indices[some])
    fields = modes.vectors * modes.amplitudes_A[:, None, None]
    exact = moving_pairs(modes, s, fields, disorder.crystal_covariance(), 5.0)
    assert found @ exact / (exact @ exact) == pytest.approx(1, abs=5e-3)
    assert 1 - np.corrcoef(found, exact)[0, 1] < 3e-4
    still = model.rigid(parameters)[some]
    assert 1 - np.corrcoef(still, exact)[0, 1] > 3e-3


@pytest.mark.parametrize(("space_group", "sigmas"), [("P 1", 0.3), ("P 1 21 1", (0.2, 0.3, 0.45))])
def test_with_molecules_that_move_as_wholes(space_group, sigmas):
    """Each on its own, in its own frame: as exact as without, 1 − CC below 1e-5."""
    modes = molecule(10, TRICLINIC if space_group == "P 1" else MONOCLINIC, space_group)
    grid = grid_to_resolution(modes.unit_cell, (2, 1, 2), D_MIN)
    indices = unique_indices(grid, 12, D_MIN, grid_operations(grid, space_group))
    motion = {"crystal_llm_sigma_A": 0.4, "crystal_llm_gamma_A": 5.0}
    how = Computation(0.3, transform="direct", liquid_gamma_A=5.0, crystal_gamma_A=5.0)
    model = forward_model(modes, grid, indices, Ranks(), how)
    some = np.sort(np.random.default_rng(3).choice(len(indices), 20, replace=False))
    parameters = Parameters(np.empty(0), Disorder(translation_sigma_A=sigmas, **motion))
    found = model.rigid(parameters)[some]
    fields = np.repeat(np.diag(np.broadcast_to(sigmas, 3))[:, None], 10, axis=1)
    exact = moving_pairs(modes, s_vectors(grid, indices[some]), fields, 0.16 * np.eye(3), 5.0)
    assert found @ exact / (exact @ exact) == pytest.approx(1, abs=1e-3)
    assert 1 - np.corrcoef(found, exact)[0, 1] < 1e-5


def test_without_a_series_of_the_molecule():
    """A model that was made for still molecules says what it lacks."""
    modes = molecule(3, TRICLINIC, "P 1")
    grid = grid_to_resolution(TRICLINIC, (1, 1, 1), D_MIN)
    indices = grid.indices_between(12, D_MIN)
    model = forward_model(modes, grid, indices, Ranks(), Computation(crystal_gamma_A=5.0))
    motion = {"crystal_llm_sigma_A": 0.4, "crystal_llm_gamma_A": 5.0}
    with pytest.raises(ValueError, match="liquid_gamma_A"):
        model.rigid(Parameters(np.empty(0), Disorder(translation_sigma_A=0.2, **motion)))


def moving_pairs(modes, s, fields, u_A2, gamma_A) -> np.ndarray:
    """As `pair_sum`, with independent displacements (M, N, 3) of every molecule besides."""
    cell, q = modes.unit_cell, 2 * np.pi * s
    to_fraction = fractionalization(cell)
    to_cartesian = np.linalg.inv(to_fraction)
    fractions = (modes.structure.positions @ to_fraction.T).tolist()
    operators = list(gemmi.SpaceGroup(modes.space_group).operations())
    atoms = np.array([op.apply_to_xyz(x) for op in operators for x in fractions])
    turns = [to_cartesian @ np.array(op.rot) / op.DEN @ to_fraction for op in operators]
    moved = np.concatenate([fields @ turn.T for turn in turns], axis=1)
    factors = atom_factors(modes.structure)
    f = np.tile(factors.at(np.sum(s**2, axis=1))[:, factors.kind], len(operators))
    f = f * np.tile(factors.occupancies, len(operators))
    ends = np.ceil(REACH * gamma_A * np.linalg.norm(to_fraction, axis=1)).astype(int) + 1
    cells = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in ends)), axis=-1).reshape(-1, 3)
    whose = np.arange(len(atoms)) // len(fractions)
    x = np.einsum("vi,ij,vj->v", q, u_A2, q)
    total = np.zeros(len(q))
    for a, atom in enumerate(atoms):
        away = (atom - atoms + cells[:, None]) @ to_cartesian.T
        r = np.linalg.norm(away, axis=-1)
        rows, b = np.nonzero(r < REACH * gamma_A)
        together = ~cells[rows].any(axis=1) & (whose[b] == whose[a])
        away, r = away[rows, b], r[rows, b]
        for v in range(len(q)):
            along = moved @ q[v]
            own = np.sum(along**2, axis=0)
            inside = np.where(together, along[:, b].T @ along[:, a], 0.0)
            alone = np.exp(-x[v] - (own[a] + own[b]) / 2)
            pairs = alone * np.expm1(x[v] * np.exp(-r / gamma_A) + inside)
            total[v] += np.sum(f[v, a] * f[v, b] * np.cos(away @ q[v]) * pairs)
    return total / len(operators)


def test_a_lone_molecule_is_liquid_like_motion_of_a_molecule():
    """In a cell much larger than γ neighbours are out of reach: 0.5 % rms of the model of one."""
    cell = (60.0, 62.0, 58.0, 90.0, 100.0, 90.0)
    modes = molecule(24, cell, "P 1")
    grid = grid_to_resolution(cell, (1, 1, 1), D_MIN)
    indices = grid.indices_between(20, D_MIN)
    crystal = Disorder(crystal_llm_sigma_A=0.5, crystal_llm_gamma_A=3.0)
    alone = Disorder(llm_sigma_A=0.5, llm_gamma_A=3.0)
    one, other = (
        forward_model(modes, grid, indices, Ranks(), how).rigid(Parameters(np.empty(0), disorder))
        for how, disorder in (
            (Computation(0.3, crystal_gamma_A=3.0), crystal),
            (Computation(0.3, liquid_gamma_A=3.0), alone),
        )
    )
    assert np.sqrt(np.mean((one - other) ** 2) / np.mean(other**2)) < 5e-3


def test_images_are_added_up():
    """A Gaussian and a cone folded into a skewed box, against a loop over all of its images."""
    vectors = np.array([[1.0, 0.0, 0.0], [0.3, 1.1, 0.0], [-0.2, 0.4, 0.9]])
    step, n_table = 0.01, 620
    r = step * np.arange(n_table)
    table = (np.exp(-(r**2)) + 1j * np.maximum(6 - r, 0)).astype(np.complex64)
    folded = np.empty((4, 5, 3), np.complex64)
    reach = np.ceil(n_table * step * np.linalg.norm(np.linalg.inv(vectors), axis=0)).astype(int)
    fold_radial(table, step, vectors @ vectors.T, reach, folded)
    expected = np.zeros((4, 5, 3), complex)
    ends = [np.arange(-n, n + 1) for n in reach]
    for point in np.stack(np.meshgrid(*ends), axis=-1).reshape(-1, 3):
        distance = np.linalg.norm(point @ vectors)
        if distance < (n_table - 2) * step:
            cone = max(6 - distance, 0)
            expected[tuple(point % folded.shape)] += np.exp(-(distance**2)) + 1j * cone
    np.testing.assert_allclose(folded, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("space_group", "cell", "sigmas", "correlation"),
    [
        ("P 43 21 2", TETRAGONAL, (0.3, 0.5, 0.4), ()),
        ("P 1 21 1", MONOCLINIC, (0.3, 0.5, 0.4), (0.2, 0.0, 0.0)),
        ("P 21 3", (20.0, 20.0, 20.0, 90.0, 90.0, 90.0), (0.3, 0.4), ()),
    ],
)
def test_motion_without_the_crystals_symmetry_is_refused(space_group, cell, sigmas, correlation):
    """One line says what the symmetry leaves."""
    disorder = Disorder(
        crystal_llm_sigma_A=sigmas,
        crystal_llm_gamma_A=5.0,
        crystal_llm_correlation=correlation,
    )
    with pytest.raises(InputError, match="expected one number for every axis") as caught:
        require_crystal_axes(disorder, space_group, cell)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("space_group", "cell", "sigmas", "correlation"),
    [
        ("P 43 21 2", TETRAGONAL, (0.3, 0.4), ()),
        ("P 43 21 2", TETRAGONAL, (0.3, 0.3, 0.4), ()),
        ("P 31 2 1", (20.0, 20.0, 30.0, 90.0, 90.0, 120.0), (0.3, 0.4), ()),
        ("P 1 21 1", MONOCLINIC, (0.3, 0.5, 0.4), (0.0, 0.3, 0.0)),
        ("P 1", TRICLINIC, (0.3, 0.5, 0.4), (0.1, 0.3, 0.5)),
        ("P 21 3", (20.0, 20.0, 20.0, 90.0, 90.0, 90.0), 0.3, ()),
    ],
)
def test_motion_with_the_crystals_symmetry(space_group, cell, sigmas, correlation):
    """What the rotations leave as it is."""
    disorder = Disorder(
        crystal_llm_sigma_A=sigmas,
        crystal_llm_gamma_A=5.0,
        crystal_llm_correlation=correlation,
    )
    require_crystal_axes(disorder, space_group, cell)
