"""Not a test: the error of every estimator against the pair sum, by modes and amplitude.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1 \\
        python tests/campaigns/estimators.py 6o2h.pdb > table.md

Modes are those of an elastic network, between 3.3 and 1.6 Å; they move the molecule by so many Å
per atom in all, beside a translation of 0.3 Å. Prints 1 − CC after each shell's mean is
subtracted, the scale, and seconds, as rows of the table in docs/estimators.md. Half an hour.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from oracles import random_voxels, shell_cc

from hpc_diffuser.crystal.atom_factors import form_factors
from hpc_diffuser.crystal.lattice import fractionalization
from hpc_diffuser.io.modes_from_files import modes_from_network
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation
from hpc_diffuser.scattering.pair_sum import pair_sum_intensity

MODES = (10, 30, 100, 300)
TOTALS_A = (0.15, 0.28, 0.55, 1.0, 1.4)
WAYS = (
    ("one-phonon", 0),
    *(("sampled", n) for n in (64, 256, 1024)),
    *(("control-variate", n) for n in (64, 256, 1024)),
)
VOXELS, REPEATS = 300, 2
DISORDER = Disorder(0.3)


def first_modes(modes: Modes, n_modes: int, total_A: float) -> tuple[Modes, Parameters]:
    """Some of the modes, that move by so much in all."""
    amplitudes = modes.amplitudes_A[:n_modes]
    amplitudes = amplitudes * total_A / np.linalg.norm(amplitudes)
    some = Modes(**{**vars(modes), "vectors": modes.vectors[:n_modes], "amplitudes_A": amplitudes})
    return some, Parameters(amplitudes, DISORDER)


def errors(modes: Modes, parameters: Parameters) -> Iterator[tuple[str, int, float, float, float]]:
    """Of every way: its name, points, median 1 − CC, scale and seconds."""
    grid, indices = random_voxels(modes, VOXELS)
    s_squared = grid.inverse_d_squared(indices)
    structure = modes.structure
    factors = form_factors(structure.elements, s_squared) * structure.occupancies
    s = indices / np.array(grid.divisions) @ fractionalization(modes.unit_cell)
    fields = parameters.mode_amplitudes_A[:, None, None] * modes.vectors
    exact = pair_sum_intensity(structure.positions, factors, s, fields, DISORDER)
    for name, n_samples in WAYS:
        how = Computation(grid="target", estimator=name)
        model = forward_model(modes, grid, indices, Ranks(), how)
        found, started = [], time.perf_counter()
        for repeat in range(REPEATS if n_samples else 1):
            points = normal_samples(
                "sobol", max(n_samples, 1), len(modes.vectors), generator(1, repeat)
            )
            values = model.internal_motion(parameters, points)
            found.append((1 - shell_cc(values, exact, s_squared), values @ exact / (exact @ exact)))
        seconds = (time.perf_counter() - started) / len(found)
        loss, scale = np.median(found, axis=0)
        yield name, n_samples, float(loss), float(scale), seconds


def main() -> None:
    """Print the rows, as they come."""
    every = modes_from_network(Path(sys.argv[1]), max(MODES), tell=lambda line: None)
    columns = ("modes", "total rms, Å", "estimator", "points", "1 − CC", "scale", "s")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for n_modes in MODES:
        for total_A in TOTALS_A:
            of = errors(*first_modes(every, n_modes, total_A))
            for name, points, loss, scale, seconds in of:
                row = (
                    n_modes,
                    total_A,
                    name,
                    points,
                    f"{loss:.1e}",
                    f"{scale:.4f}",
                    f"{seconds:.2f}",
                )
                print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()
