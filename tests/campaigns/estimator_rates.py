"""Not a test: the rates that `estimator_costs` and `transform_costs` count with, measured.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1 \\
        python tests/campaigns/estimator_rates.py bench.toml

For each step of a transform, of one density and to first order: processor seconds, what is counted
for it, and how the first is to the second, in parts of what it is for the products along x, y and
z. Where all are 1 the choice of an estimator, and of a transform, is by what they cost.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from evaluation_cost import case_of

from hpc_diffuser.motion.configurations import independent_fields
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering import estimator_costs as counted
from hpc_diffuser.scattering.boxes import moved_at_once
from hpc_diffuser.scattering.direct import DirectTransform
from hpc_diffuser.scattering.transform import ATOM_S, density_products_s, transform_costs

REPEATS = 7
DIRECT_ATOMS = 100  # of a sum over atoms, which takes long


def seconds(work: Callable[[], object]) -> float:
    """Median processor time of a call, after one that is not counted."""
    work()
    times = []
    for _ in range(REPEATS):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return statistics.median(times)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--modes", type=int, default=10)
    options = parser.parse_args()
    case = case_of(options.config, options.modes)
    moments = case.model(Ranks()).molecule.moments
    rows = {**of_samples(moments), **of_first_order(moments, case.parameters)}
    unit = rows["products of a sample"]
    print(f"{'':32s} {'measured, ms':>13s} {'counted, ms':>12s} {'ratio':>7s}")
    for name, (found, expected) in rows.items():
        ratio = found / expected / (unit[0] / unit[1])
        print(f"{name:32s} {1e3 * found:13.3f} {1e3 * expected:12.3f} {ratio:7.2f}")


def of_samples(moments) -> dict[str, tuple[float, float]]:
    """Of one configuration, through the density and as a sum over atoms."""
    transform, structure = moments.transform, moments.transform.structure
    drawing, slab = transform.drawing, transform.slab
    steps = drawing.steps(np.repeat(structure.positions[None], 16, axis=0))
    half_box = drawing.half_box(steps)
    at_once = moved_at_once(8.0 * np.prod(half_box))
    steps, nothing = steps[:at_once], np.zeros(2 * half_box, np.float32)
    densities, sums = drawing.draw(steps, nothing), transform.sums(1.0)
    weights = np.full(at_once, 1.0)
    few = structure.select(np.arange(min(DIRECT_ATOMS, len(structure))))
    direct = DirectTransform(few, slab)
    positions = np.repeat(few.positions[None], at_once, axis=0)
    products = density_products_s(2.0 * half_box, slab.grid, slab.d_min)
    drawn = seconds(lambda: drawing.draw(steps, nothing)) / at_once
    added = seconds(lambda: drawing.add(densities, half_box, sums, weights)) / at_once
    summed = seconds(lambda: direct.moments(positions)) / at_once
    return {
        "products of a sample": (added, products),
        "drawing of a sample": (drawn, ATOM_S * len(structure)),
        f"sum over {len(few)} atoms": (summed, transform_costs(few, slab.grid, slab.d_min)[0]),
    }


def of_first_order(moments, parameters) -> dict[str, tuple[float, float]]:
    """Of the densities of H_i, and of what remainders subtract."""
    transform, modes = moments.transform, moments.modes
    slab = transform.slab
    fields = independent_fields(modes, parameters.sampled)
    phonons = transform.phonons(fields)
    covariances = counted.field_covariances(fields)
    n_copies, box, own = counted._dressed(
        transform.structure, slab.grid.unit_cell, slab.d_min, covariances
    )
    products = density_products_s(box, slab.grid, slab.d_min)
    added = counted._POINT_S * float(np.prod(own, axis=1).sum())
    sums, one, n = phonons.sums(), phonons._fields[:1], len(fields)
    density = phonons._gradients(one)[0]
    of_one = seconds(lambda: phonons._gradients(one))
    of_all = seconds(lambda: phonons._gradients(phonons._fields))
    each = (of_all - of_one) / (n - 1)
    normals, every = np.ones((8, n), np.float32), phonons._all_fields()
    expected = counted._BOX_POINT_S * n * float(np.prod(box))
    return {
        "|F|² of a density": (
            seconds(lambda: phonons._add_square(density, sums)),
            counted._SQUARES * products,
        ),
        "gradients of all copies": (of_one - each, counted._COPY_S * n_copies),
        "adding them to a field": (each, added),
        "densities of a remainder": (seconds(lambda: normals @ every) / 8, expected),
    }


if __name__ == "__main__":
    main()
