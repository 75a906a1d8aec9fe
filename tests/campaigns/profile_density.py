"""Not a test: where the time of one sample's transform goes, on one core.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1 \\
        python tests/campaigns/profile_density.py bench.toml

What is left of all is the making of tables, of the mean's difference and of steps.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hpc_diffuser.commands.benchmark import Case
from hpc_diffuser.fit.config import load_config
from hpc_diffuser.kernels import density as kernel
from hpc_diffuser.kernels.transforms import block_steps, transform_xy
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.drawing import planes_of

SAMPLES = 8


def seconds(work: Callable[[], object], repeats: int = 9) -> float:
    """Median time of a call, after one that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def main() -> None:
    """Print milliseconds a sample, stage by stage."""
    case = Case(load_config(Path(sys.argv[1])))
    transform = case.model(Ranks()).molecule.moments.transform
    if not transform.drawn:
        sys.exit('the model sums over atoms: give [model] transform = "density"')
    drawing = transform.drawing
    positions = np.repeat(case.modes.structure.positions[None], SAMPLES, axis=0)
    steps = drawing.steps(positions)
    half_box = drawing.half_box(steps)
    nothing = np.zeros(2 * half_box, np.float32)
    densities = drawing.draw(steps, nothing)
    tables, planes, _ = drawing.inputs(half_box)
    blocks = [block_steps(tables, planes, b) for b in range(len(planes[0]) - 1)]
    sums = transform.sums(SAMPLES)

    def along_x_and_y() -> None:
        for of_block, after_y in blocks:
            for density in densities:
                transform_xy(density, of_block, after_y)

    stages = {
        "drawing": lambda: drawing.draw(steps, nothing),
        "folding": lambda: kernel.fold_x(densities, *planes_of(half_box)),
        "along x and y": along_x_and_y,
        "products, and sums": lambda: drawing.add(densities, half_box, sums),
        "all": lambda: transform.moments(positions),
    }
    for name, work in stages.items():
        print(f"{name:20s} {1e3 * seconds(work) / SAMPLES:6.2f} ms")
    print(f"{'operations':20s} {transform.flops / 1e6:6.0f} millions in products")


if __name__ == "__main__":
    main()
