"""Which thread does what."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numba import get_num_threads, set_num_threads

from hpc_diffuser.system.arrays import Floats, Integers


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, kernels run on one thread, however many numba has started."""
    before = get_num_threads()
    set_num_threads(1)
    try:
        yield
    finally:
        set_num_threads(before)


def n_threads() -> int:
    """Threads that the environment gives the kernels, as the program sets it; else 1."""
    return int(os.environ.get("NUMBA_NUM_THREADS", "1"))


def thread_shares(costs: Floats) -> Integers:
    """Which pieces of work each thread does, the costliest first: (T, ·) int, filled with −1."""
    shares: list[list[int]] = [[] for _ in range(get_num_threads())]
    load = np.zeros(len(shares))
    for piece in np.argsort(-costs, kind="stable").tolist():
        shares[load.argmin()].append(piece)
        load[load.argmin()] += costs[piece]
    table = np.full((len(shares), max(len(share) for share in shares)), -1, np.int64)
    for row, share in zip(table, shares, strict=True):
        row[: len(share)] = share
    return table
