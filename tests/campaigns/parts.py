"""How one evaluation divides among ranks, counted: parts, imbalance, bytes, memory.

    NUMBA_NUM_THREADS=1 python tests/campaigns/parts.py fit.toml --ranks 1 2 64 512

All ranks work on one restart. Nothing is computed but sizes. Of every number of ranks: how they
lie (samples x slabs), how many parts the busiest has, its work over the mean of all, the bytes of
sums that it sends and gets and of the map that every rank gets, and its memory.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from hpc_diffuser.fit.config import load_config
from hpc_diffuser.fit.footprint import predict
from hpc_diffuser.fit.phases import computed_voxels, measured_sizes, shares_of_group
from hpc_diffuser.fit.problem import load_problem
from hpc_diffuser.parallel.decomposition import Layout, choose_layout, own_parts, share_planes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 64, 512])
    parser.add_argument("--parts", type=int, help="of samples or modes; the config's by default")
    options = parser.parse_args()
    problem = load_problem(load_config(options.config))
    problem = replace(problem, config=replace(problem.config, run=one_group(problem.config.run)))
    sizes = measured_sizes(problem)
    n_parts, work = options.parts or sizes.sample_parts, sizes.work
    sizes = replace(sizes, sample_parts=n_parts)
    print(f"{n_parts} parts of samples x {len(work.blocks)} blocks = {n_parts * len(work.blocks)}")
    alone = work.time(Layout(1, 1), n_parts)
    for ranks in options.ranks:
        layout = choose_layout(ranks, work, n_parts)
        share = shares_of_group(sizes, ranks)[0]
        slabs = share_planes(work.blocks, layout.slab_ranks)
        loads = np.array([work.blocks[own].sum() + work.drawing for own in slabs if len(own)])
        parts = len(own_parts(n_parts, 0, layout.sample_ranks))
        busiest = parts * loads.max()
        mean = n_parts * loads.sum() / ranks
        got = 4 * computed_voxels(sizes) * (sizes.interpolated and ranks > 1)
        print(
            f"{ranks:4d} ranks: {layout.sample_ranks:3d} x {layout.slab_ranks:2d}, "
            f"{parts * max(map(len, slabs)):4d} parts, imbalance {busiest / mean:5.2f}, "
            f"{alone / work.time(layout, n_parts):6.1f} times faster, "
            f"sums {24 * share.given / 1e6:6.1f} MB sent, {24 * share.taken / 1e6:6.1f} MB got, "
            f"map {got / 1e6:5.1f} MB, memory {predict(problem, ranks).of_rank(ranks - 1):6.0f} MB",
            flush=True,
        )


def one_group(run):
    """All ranks work on one restart."""
    return replace(run, groups=1)


if __name__ == "__main__":
    main()
