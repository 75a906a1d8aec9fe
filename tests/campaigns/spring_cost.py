"""Not a test: what springs add to an evaluation, in processor time.

    OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 \\
        python tests/campaigns/spring_cost.py STRUCTURE DIVISIONS D_MIN SAMPLES

Of a rigid molecule, all voxels from 10 Å to D_MIN: one that translates and turns by itself, and one
on springs of one length. Both are changed a little before each evaluation, so that nothing is kept.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.crystal.symmetry import grid_operations, unique_indices
from hpc_diffuser.io.structures.files import read_places, read_structure
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.lattice.rigid_lattice import rigid_lattice
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation

REPEATS = 3


def main() -> None:
    """Print both and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("structure", type=Path)
    parser.add_argument("divisions", type=int)
    parser.add_argument("d_min", type=float)
    parser.add_argument("samples", type=int)
    options = parser.parse_args()
    structure, (cell, group) = read_structure(options.structure, "A", False)
    lattice = rigid_lattice(structure, cell, group, read_places(options.structure))
    modes = Modes(structure, np.empty((0, len(structure), 3)), np.empty(0), cell, group)
    grid = grid_to_resolution(cell, (options.divisions,) * 3, options.d_min)
    indices = unique_indices(grid, 10.0, options.d_min, grid_operations(grid, group))
    normals = normal_samples("sobol", options.samples, 3, generator(1))

    def seconds(modes: Modes, at: Callable[[int], Parameters]) -> float:
        model, times = forward_model(modes, grid, indices, Ranks(), Computation(0.4)), []
        model.internal_motion(at(0), normals[:8])
        for repeat in range(1, REPEATS + 1):
            began = time.process_time()
            model.internal_motion(at(repeat), normals)
            times.append(time.process_time() - began)
        return statistics.median(times)

    def alone(repeat: int) -> Parameters:
        rigid = Disorder(translation_sigma_A=0.3)
        return Parameters(np.empty(0), rigid, libration_sigma_deg=1.5 + 1e-3 * repeat)

    def on_springs(repeat: int) -> Parameters:
        return Parameters(np.empty(0), lattice_spring_A=4 + 1e-2 * repeat, lattice=lattice)

    without, with_springs = (
        seconds(modes, alone),
        seconds(replace(modes, lattice=lattice), on_springs),
    )
    print(f"{group}, {len(indices)} voxels, {options.samples} samples")
    print(
        f"without springs {without:.2f} s, with {with_springs:.2f} s: {with_springs / without:.2f}"
    )


if __name__ == "__main__":
    main()
