"""Very skewed cells: no atom's shape fits a grid along their axes, and the sum over atoms does."""

import gemmi
import numpy as np
import pytest
from builders import direct_sum, random_structure, s_vectors

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.crystal.symmetry import grid_operations, unique_indices
from hpc_diffuser.io.maps.native import read_map
from hpc_diffuser.io.structures.files import read_structure, write_pdb
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.direct import DirectTransform
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation
from hpc_diffuser.scattering.transform import choose_transform
from hpc_diffuser.system.errors import InputError

SIGMA_A = 0.4
CELLS = {
    "R 3:R": (30.0, 30.0, 30.0, 32.0, 32.0, 32.0),
    "P 1 21 1": (50.0, 24.0, 45.0, 90.0, 151.0, 90.0),
    "P 1": (24.0, 25.0, 26.0, 115.0, 118.0, 120.0),
}
SIMULATE = """\
[structure]
file = "model.pdb"
[grid]
oversampling = [3, 3, 3]
d_min_A = 4.0
[parameters]
translation_sigma_A = {sigma}
[model]
grid = "target"
transform = "{transform}"
"""


def modes_of(space_group: str) -> Modes:
    """Forty atoms within 12 Å, which do not move against each other."""
    structure = random_structure(np.random.default_rng(5), 40, 6.0, ("C", "N", "O"))
    still = np.empty((0, 40, 3)), np.empty(0)
    return Modes(structure, *still, CELLS[space_group], space_group)


def expected(modes: Modes, grid, indices: np.ndarray) -> np.ndarray:
    """|F|²(1 − e^{−q²σ²}) summed atom by atom, averaged over gemmi's operations."""
    operations = gemmi.find_spacegroup_by_name(modes.space_group).operations().sym_ops
    turned = [indices @ (np.array(op.rot) // op.DEN) for op in operations]
    squares = [np.abs(direct_sum(modes.structure, s_vectors(grid, i))) ** 2 for i in turned]
    q_squared = 4 * np.pi**2 * np.sum(s_vectors(grid, indices) ** 2, axis=1)
    return np.mean(squares, axis=0) * -np.expm1(-q_squared * SIGMA_A**2)


@pytest.mark.parametrize("grid", ["target", "band-limited"])
@pytest.mark.parametrize("space_group", CELLS)
def test_skewed_cells_are_computed(space_group, grid):
    """1 − CC < 1e-6 and rms error < 2e-3 at 500 samples: what interpolation leaves, or less."""
    modes = modes_of(space_group)
    samples = grid_to_resolution(modes.unit_cell, (5, 5, 5), 3.0)
    indices = unique_indices(samples, 10.0, 3.0, grid_operations(samples, space_group))
    some = np.random.default_rng(0).choice(len(indices), 500, replace=False)
    indices = indices[np.sort(some)]
    how = Computation(1.0, grid=grid, many_kinds=True)
    model = forward_model(modes, samples, indices, Ranks(), how)
    found = model.rigid(Parameters(np.empty(0), Disorder(SIGMA_A)))
    exact = expected(modes, samples, indices)
    assert 1 - np.corrcoef(found, exact)[0, 1] < 1e-6
    assert np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2)) < 2e-3


@pytest.mark.parametrize("space_group", CELLS)
def test_they_are_simulated(space_group, call, tmp_path):
    """The command's map at every sample, to 1e-5 rms; "density" is refused with its remedy."""
    modes = modes_of(space_group)
    write_pdb(tmp_path / "model.pdb", modes.structure, (modes.unit_cell, space_group))
    (tmp_path / "auto.toml").write_text(SIMULATE.format(sigma=SIGMA_A, transform="auto"))
    result = call("simulate", "auto.toml", "-o", "map.nxs")
    assert result.returncode == 0, result.stderr
    diffuse = read_map(tmp_path / "map.nxs")
    indices = diffuse.grid.indices_between(np.inf, 4.0)
    found = diffuse.intensity[tuple((indices + np.array(diffuse.grid.extent)).T)]
    structure, _ = read_structure(tmp_path / "model.pdb")
    written = Modes(structure, modes.vectors, modes.amplitudes_A, *diffuse_crystal(diffuse))
    exact = expected(written, diffuse.grid, indices)
    assert np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2)) < 1e-5
    (tmp_path / "drawn.toml").write_text(SIMULATE.format(sigma=SIGMA_A, transform="density"))
    result = call("simulate", "drawn.toml", "-o", "drawn.nxs")
    assert result.returncode == 65
    assert "too skewed" in result.stderr and 'transform = "auto"' in result.stderr
    assert result.stderr.strip().splitlines()[-1].startswith("hpc-diffuser: error: the unit cell")


def diffuse_crystal(diffuse) -> tuple:
    """Its cell and space group."""
    return diffuse.grid.unit_cell, diffuse.space_group


def test_only_what_was_asked_for_is_refused():
    """Drawing by name; otherwise the sum over atoms, however many kinds of atoms there are."""
    modes = modes_of("P 1")
    grid = grid_to_resolution(modes.unit_cell, (5, 5, 5), 2.0)
    for many_kinds in (False, True):
        found = choose_transform(modes.structure, grid, 2.0, "auto", many_kinds=many_kinds)
        assert found is DirectTransform
    with pytest.raises(InputError, match="too skewed"):
        choose_transform(modes.structure, grid, 2.0, "density")
