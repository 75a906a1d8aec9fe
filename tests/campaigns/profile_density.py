"""Not a test: where the time of one sample's transform goes, on one core.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1 \\
        python tests/campaigns/profile_density.py bench.toml

Folding, and the products along x and y, are timed together as the kernel does them.
"""

import sys
import time
from pathlib import Path

import numpy as np

from hpc_diffuser.commands.benchmark import Case
from hpc_diffuser.fit.config import load_config
from hpc_diffuser.kernels import density as kernel
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.direct import SAMPLES_AT_ONCE


def seconds(work, repeats: int = 5) -> float:
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
    transform = case.model(Ranks()).coarse.transform
    positions = np.repeat(case.modes.structure.positions[None], SAMPLES_AT_ONCE, axis=0)
    steps = transform._steps(positions)
    half_box = transform._half_box(steps)
    nothing = np.zeros(2 * half_box, np.float32)
    densities = transform._draw(steps, nothing)
    tables, planes, _ = transform._inputs(half_box)
    sums = np.zeros((3, transform.slab.size), np.float32)
    blocks = range(len(planes[0]) - 1)
    buffers = [kernel.block_buffers(SAMPLES_AT_ONCE, tables, planes, b) for b in blocks]
    stages = {
        "drawing": lambda: transform._draw(steps, nothing),
        "along x and y": lambda: [
            kernel.transform_xy(densities, tables, planes, b, buffers[b]) for b in blocks
        ],
        "along z, and sums": lambda: [
            kernel._add_block(tables, planes, b, buffers[b], *sums) for b in blocks
        ],
        "all": lambda: transform.moments(positions),
    }
    for name, work in stages.items():
        print(f"{name:20s} {1e3 * seconds(work, 9) / SAMPLES_AT_ONCE:6.2f} ms")
    print(f"{'products':20s} {transform.flops / 1e6:6.0f} million operations")


if __name__ == "__main__":
    main()
