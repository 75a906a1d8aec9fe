"""The exact gradient, and the map, have the same bits on any number of ranks."""

import pytest
from launching import launch

# Every term at once in a crystal of eight molecules a cell, with a map that is interpolated, and
# of the modes' residual B-factors on the target's own grid.
PROGRAM = """
import hashlib
from threadpoolctl import threadpool_limits
from dataclasses import replace
import numpy as np
from hpc_diffuser.commands.examples.four_helices import example_modes
from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.crystal.symmetry import grid_operations, unique_indices
from hpc_diffuser.motion.parameters import parameters_from
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import world
from hpc_diffuser.scattering.collecting import collect
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation

threadpool_limits(1)  # as the program does
CELL = (30.0, 30.0, 31.0, 90.0, 90.0, 90.0)
common = {"mode_amplitude_A": [0.2] * 3, "translation_sigma_A": [0.2, 0.3, 0.4]}
many = common | {"mode_correlation": [0.5, 0.2, -0.3], "libration_sigma_deg": 3.0,
    "screw_correlation": 0.4, "uncorrelated_sigma_A": 0.1, "llm_sigma_A": 0.3, "llm_gamma_A": 6.0,
    "k_sol_eA3": 0.3, "b_sol_A2": 30.0, "halo_sigma_A": 0.2, "halo_gamma_A": 30.0}
residual = common | {"residual_b_fraction": 0.3}
group = world()
modes = replace(example_modes(), unit_cell=CELL, space_group="P 43 21 2")
modes = replace(modes, crystal_b_A2=np.full(len(modes.structure), 60.0))
for values, columns, d_min, how in (
    (many, 6, 5.0, Computation(0.3, liquid_gamma_A=6.0, transform="density")),
    (residual, 3, 2.6, Computation(0.3, "target", "density", many_kinds=True)),
):
    grid = grid_to_resolution(CELL, (3, 3, 3), d_min)
    indices = unique_indices(grid, np.inf, d_min, grid_operations(grid, modes.space_group))
    weights = np.random.default_rng(1).normal(size=len(indices))
    parameters = parameters_from(values)
    model = forward_model(modes, grid, indices, group, how)
    normals = normal_samples("sobol", 8, columns, generator(1))
    names = tuple(values)
    found = model.gradient(parameters, normals, weights[model.rows], names)
    row = np.concatenate([found[name] for name in names])
    assert np.isfinite(row).all() and (row != 0).all()
    whole = collect(model, model.internal_motion(parameters, normals), len(indices))
    if group.is_root:
        print(row.tobytes().hex(), hashlib.sha256(whole.tobytes()).hexdigest())
"""


@pytest.mark.parametrize("ranks", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_gradient_on_ranks_equals_one(tmp_path, ranks):
    """Of blocks, batches and planes that other ranks hold."""
    found = []
    for n in (1, ranks):
        result = launch(n, folder=tmp_path, code=PROGRAM, warm=True)
        assert result.returncode == 0, result.stderr
        found.append(result.stdout)
    assert found[0] == found[1]
