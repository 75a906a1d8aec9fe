"""One-phonon slopes of the intensity along modes, against differences of pair sums."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from launching import launch
from oracles import COUPLED, HALO, coupling, random_voxels, shell_cc, solvent_by_hand

from hpc_diffuser.commands.examples.four_helices import UNIT_CELL, example_modes
from hpc_diffuser.crystal.atom_factors import atom_factors, form_factors
from hpc_diffuser.crystal.lattice import fractionalization
from hpc_diffuser.crystal.solvent import displaced_volumes
from hpc_diffuser.crystal.symmetry import grid_operations, one_of_each_inverse
from hpc_diffuser.motion.configurations import residual_b_factors
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.halos import empirical_halo
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation
from hpc_diffuser.scattering.pair_sum import pair_sum_intensity

STEP = 0.1  # of a variance, either way
PLACES = np.stack(np.meshgrid(*[np.arange(7)] * 3, indexing="ij"), axis=-1)
PROFILE = 0.7 + 0.3 * np.cos(2 * np.pi * PLACES @ [1, -2, 1] / 7)


class Example:
    """The example's protein, moving inside by so many Å; at some voxels between 3.3 and 1.6 Å."""

    def __init__(
        self,
        internal_A: float,
        disorder: Disorder,
        n_voxels: int = 120,
        cell: tuple[float, ...] = UNIT_CELL,
        space_group: str = "P 1",
        **others,
    ):
        self.modes = replace(example_modes(), unit_cell=cell, space_group=space_group)
        amplitudes = self.modes.amplitudes_A * internal_A
        amplitudes /= np.linalg.norm(self.modes.amplitudes_A)
        self.parameters = Parameters(amplitudes, disorder, **others)
        self.grid, self.indices = random_voxels(self.modes, n_voxels)
        if space_group != "P 1":  # no two that are mates
            self.indices = np.unique(np.abs(self.indices), axis=0)
        self.s_squared = self.grid.inverse_d_squared(self.indices)

    def slopes(self, modes=(0, 1, 2), transform="auto", grid="target"):
        """The model's: (M, V)."""
        model = self.model(transform, grid)
        return np.array(list(model.mode_slopes(self.parameters, np.empty((0, 3)), modes)))

    def model(self, transform="auto", grid="target", group=None):
        """Of these parameters."""
        p, group = self.parameters, group or Ranks()
        solvent = (p.k_sol_eA3, p.b_sol_A2)
        how = Computation(
            0.5,
            "auto" if p.disorder.llm_gamma_A else grid,
            transform,
            liquid_gamma_A=p.disorder.llm_gamma_A,
            factors=atom_factors(self.modes.structure, *solvent) if p.k_sol_eA3 else None,
            many_kinds=p.residual_b_fraction > 0,
        )
        return forward_model(self.modes, self.grid, self.indices, group, how, PROFILE)

    def differences(self, modes=(0, 1, 2)):
        """Central differences of the closed form with respect to variances, (M, V)."""
        variances = np.asarray(self.parameters.mode_amplitudes_A) ** 2
        found = []
        for mode in modes:
            step = max(STEP * variances[mode], 1e-5)
            ends, places = [], (variances[mode] + step, max(variances[mode] - step, 0))
            for place in places:
                moved = variances.copy()
                moved[mode] = place
                ends.append(self.exact(replace(self.parameters, mode_amplitudes_A=np.sqrt(moved))))
            found.append((ends[0] - ends[1]) / (places[0] - places[1]))
        return np.array(found)

    def exact(self, parameters):
        """The pair sum, averaged over mates, with what a lattice adds."""
        operations = one_of_each_inverse(grid_operations(self.grid, self.modes.space_group))
        mates = [self.of_molecule(self.indices @ operation, parameters) for operation in operations]
        return np.mean(mates, axis=0)

    def of_molecule(self, indices, parameters):
        """The same of one orientation."""
        structure, disorder = self.modes.structure, parameters.disorder
        hkl = indices / np.array(self.grid.divisions)
        s = hkl @ fractionalization(self.modes.unit_cell)
        s2 = np.sum(s**2, axis=1)
        factors = form_factors(structure.elements, s2)
        solvent = (parameters.k_sol_eA3, parameters.b_sol_A2)
        if parameters.k_sol_eA3:
            factors = factors - solvent_by_hand(displaced_volumes(structure), s2, *solvent)
        factors = factors * structure.occupancies
        fields = parameters.mode_amplitudes_A[:, None, None] * self.modes.vectors
        residual = np.zeros(len(structure))
        if parameters.residual_b_fraction:
            residual = residual_b_factors(self.modes, parameters)
        pairs = (structure.positions, factors, s, fields)
        if disorder.halo_alpha:
            inside = pair_sum_intensity(*pairs, replace(disorder, translation_sigma_A=0.0))
            whole = pair_sum_intensity(*pairs, disorder)
            halo = empirical_halo(indices, PROFILE, disorder.halo_alpha)
            return inside + halo * (whole - inside)
        if not disorder.halo_sigma_A:
            return pair_sum_intensity(*pairs, disorder, residual)
        whole = np.hypot(disorder.translation_sigma_A, HALO)
        q = 2 * np.pi * s
        variances = np.sum((fields @ q.T) ** 2, axis=0).T + whole**2 * np.sum(q**2, axis=1)[:, None]
        waves = np.exp(1j * q @ structure.positions.T - variances / 2)
        mean = np.abs(np.sum(factors * waves, axis=1)) ** 2
        halo = coupling(hkl, np.sum(q**2, axis=1), self.modes.unit_cell, self.modes.space_group)
        return pair_sum_intensity(*pairs, Disorder(whole)) + mean * halo


def off(found, expected):
    """Relative rms differences, (M,)."""
    return np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)


def alike(example, found, expected):
    """CC of each mode's slopes after shell-mean subtraction, (M,)."""
    return np.array(
        [shell_cc(a, b, example.s_squared) for a, b in zip(found, expected, strict=True)]
    )


TERMS = {
    "translation": (Disorder(0.3), {}),
    "anisotropic": (Disorder((0.3, 0.4, 0.2), 0.0, (0.2, -0.3, 0.1)), {}),
    "uncorrelated": (Disorder(0.3, (0.2, 0.1, 0.3)), {}),
    "liquid": (Disorder(0.2, llm_sigma_A=0.3, llm_gamma_A=6.0), {}),
    "solvent": (Disorder(0.3), {"k_sol_eA3": 0.33, "b_sol_A2": 20.0}),
    "residual": (Disorder(0.1), {"residual_b_fraction": 0.8}),
    "lattice": (Disorder(0.2, halo_sigma_A=HALO, halo_gamma_A=COUPLED), {}),
    "profile": (Disorder(0.3, halo_alpha=3.0), {}),
}
# Tried first; the others are slow together. Translation: `test_drawn_interpolated_and_averaged`.
QUICK = ("residual", "lattice")
every_term = pytest.mark.parametrize("term", TERMS)


def of_term(term, internal_A):
    """An example with one term."""
    disorder, others = TERMS[term]
    example = Example(internal_A, disorder, **others)
    if term == "residual":
        b = np.linspace(5, 60, len(example.modes.structure))
        example.modes = replace(example.modes, crystal_b_A2=b)
    return example


@pytest.mark.parametrize(
    "term",
    [pytest.param(term, marks=[] if term in QUICK else pytest.mark.slow) for term in TERMS],
)
def test_small_motions(term):
    """Exact to first order: what is left grows with the atoms' variance."""
    example = of_term(term, 0.04)
    found, expected = example.slopes(transform="direct"), example.differences()
    assert off(found, expected).max() < 0.045
    assert alike(example, found, expected).min() > 0.999


@pytest.mark.slow
@every_term
def test_larger_motions(term):
    """Still the way to go: 0.3 Å along three modes of a small protein."""
    example = of_term(term, 0.3)
    found, expected = example.slopes(), example.differences()
    assert alike(example, found, expected).min() > (0.84 if term == "residual" else 0.92)


@pytest.mark.parametrize("grid", ["target", "band-limited"])
def test_drawn_interpolated_and_averaged(grid):
    """As exact through the density, on a coarse grid, and over the mates of a space group."""
    example = Example(0.04, Disorder(0.3), 40, (33.0, 32.0, 34.0, 90.0, 90.0, 90.0), "P 21 21 21")
    found, expected = example.slopes(transform="density", grid=grid), example.differences()
    assert off(found, expected).max() < 0.045
    assert alike(example, found, expected).min() > 0.999


def test_a_mode_at_rest_has_a_slope():
    """That of the mode itself, though nothing moves along it yet."""
    example = Example(0.04, Disorder(0.3))
    amplitudes = example.parameters.mode_amplitudes_A * [1, 0, 1]
    example.parameters = replace(example.parameters, mode_amplitudes_A=amplitudes)
    found, expected = example.slopes([1], transform="direct"), example.differences([1])
    assert off(found, expected).max() < 0.02


ON_RANKS = """
import sys
from hashlib import sha256
import numpy as np
sys.path[:0] = {paths}
from test_slopes import Disorder, Example
from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.parallel.communicator import world
from hpc_diffuser.scattering.collecting import collect
ranks = world()
for disorder in (Disorder(0.3), Disorder(0.2, llm_sigma_A=0.3, llm_gamma_A=6.0)):
    for grid in ("target", "band-limited"):
        example = Example(0.3, disorder)
        if grid == "target":  # one block of planes: ranks share the modes
            example.grid = grid_to_resolution(example.modes.unit_cell, (2, 2, 2), 4.5)
            example.indices = example.grid.indices_between(9.0, 4.5)
        model = example.model(grid=grid, group=ranks)
        slopes = model.mode_slopes(example.parameters, np.empty((0, 3)), (2, 0, 1))
        found = [collect(model, values, len(example.indices)) for values in slopes]
        if ranks.is_root:
            print(sha256(np.array(found).tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_the_same_bits_on_ranks(tmp_path):
    """On one to three ranks: of the transform's planes, and of modes that are shared out."""
    here = Path(__file__).parent
    code = ON_RANKS.format(paths=[str(here), str(here.parent)])
    found = [launch(n, folder=tmp_path, code=code, warm=True) for n in (1, 2, 3)]
    assert [result.returncode for result in found] == [0, 0, 0], found[-1].stderr
    assert found[0].stdout and len({result.stdout for result in found}) == 1
