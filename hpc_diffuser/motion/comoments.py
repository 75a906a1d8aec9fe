"""Means and co-moments of coordinates, taken a batch of frames at a time.

Two batches' moments combine exactly, so no frame is needed twice, and nothing cancels as in
Σxxᵀ − n x̄x̄ᵀ: Chan, Golub & LeVeque (1983), Am. Stat. 37, 242; Schubert & Gertz (2018), SSDBM, 10.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hpc_diffuser.system.arrays import Floats, Integers

_BANDS = 64  # of a co-moment's upper triangle: no more ranks than this share one


@dataclass(frozen=True)
class Moments:
    """Of rows of numbers: how many, their mean, and Σ (x − x̄)(x − x̄)ᵀ.

    Attributes
    ----------
    count : int
    mean : (K,) float
    comoment : (K, K) float
    """

    count: int
    mean: Floats
    comoment: Floats


def moments_of(rows: Floats) -> Moments:
    """Of rows (F, K), F ≥ 1."""
    mean = rows.mean(axis=0)
    centred = rows - mean
    return Moments(len(rows), mean, centred.T @ centred)


def merged(one: Moments, other: Moments) -> Moments:
    """Of both batches' rows together."""
    count = one.count + other.count
    step = other.mean - one.mean
    between = np.outer(step, step) * (one.count * other.count / count)
    mean = one.mean + step * (other.count / count)
    return Moments(count, mean, one.comoment + other.comoment + between)


def block_moments(rows: Floats, n_blocks: int) -> list[Moments]:
    """Of consecutive blocks of rows (F, K), whose lengths differ by one at most."""
    return [moments_of(block) for block in np.array_split(rows, n_blocks)]


def bands(n_columns: int) -> list[slice]:
    """Rows of the bands that a (K, K) co-moment is shared out in, whoever holds them."""
    edges = np.unique(np.arange(_BANDS + 1) * n_columns // _BANDS).tolist()
    return [slice(a, b) for a, b in pairwise(edges)]


def band_costs(n_columns: int) -> Integers:
    """How many numbers each band has: from the diagonal to the right edge."""
    found = [(b.stop - b.start) * (n_columns - b.start) for b in bands(n_columns)]
    return np.array(found)


class CoMoments:
    """Some bands of the co-moment of rows that come batch by batch.

    A batch is merged into what the batches before it have made, always in this order; a band is
    the same whoever holds it. (As a tree the merging would need a matrix for each of its floors.)

    Parameters
    ----------
    n_columns : int
    held : sequence of int
        Which bands.

    Attributes
    ----------
    count : int
    mean : (K,) float
    squares : (K,) float
        The whole co-moment's diagonal.
    parts : dict of int → (rows of the band, K − its first row) float
    """

    def __init__(self, n_columns: int, held: Sequence[int]):
        self._bands = {band: bands(n_columns)[band] for band in held}
        self.count = 0
        self.mean: Floats = np.zeros(n_columns)
        self.squares: Floats = np.zeros(n_columns)
        self.parts: dict[int, Floats] = {
            band: np.zeros((rows.stop - rows.start, n_columns - rows.start))
            for band, rows in self._bands.items()
        }

    def add(self, rows: Floats) -> None:
        """Merge a batch (F, K), F ≥ 1."""
        mean = rows.mean(axis=0)
        centred, step = rows - mean, mean - self.mean
        total = self.count + len(rows)
        weight = self.count * len(rows) / total
        for band, some in self._bands.items():
            part = self.parts[band]
            part += centred[:, some].T @ centred[:, some.start :]
            part += (weight * step[some])[:, None] * step[some.start :]
        self.squares += np.sum(centred**2, axis=0) + weight * step**2
        self.mean += step * (len(rows) / total)
        self.count = total
