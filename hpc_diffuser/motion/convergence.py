"""Is a trajectory long enough? What its parts say of each other.

All of it is computed from the frames' coefficients along the trajectory's own modes: there a part's
covariance matrix is small, and turning the coordinates changes nothing. Frames that follow each
other are compared with the same frames in random order, which tells too short a trajectory from
too few frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpc_diffuser.motion.overlap import leading_axes, overlap_of_roots, rmsip, square_root
from hpc_diffuser.motion.random_numbers import generator
from hpc_diffuser.system.arrays import Floats, Integers

FEWEST_FRAMES = 12  # so that thirds hold four
COMPARED = 10  # modes, as is customary for the RMSIP
SPACE = 100  # modes to project on: the larger, the less is overlap that could not have been missed
PAIRS = (("halves", 2, 0, 1), ("thirds", 3, 0, 1), ("thirds", 3, 0, 2), ("thirds", 3, 1, 2))
_BLOCKS = (2, 3, 4, 5, 7, 10, 20, 50, 100, 200, 500, 1000)  # of one trajectory
_LONG = 5  # blocks: in no more than so many the correlation of neighbouring frames is told
_MOST_FRAMES = 10_000  # that are looked at; of more, every second, third and so on
_DRAWN = 20  # blocks looked at, and drawings of random frames
_WINDOW = 2.5  # times the inefficiency, so 5 correlation times: Sokal
_STILL = 1e-14  # of all variance: what rounding leaves of none
_SEED = 1


@dataclass(frozen=True)
class Convergence:
    """How well the parts of a trajectory agree; see `convergence`.

    Attributes
    ----------
    n_frames : int
    compared : int
        K, the modes that the RMSIP compares.
    share : float
        Of the motion, that the modes hold on which the frames were projected; at most 1.
    rmsip, overlap : (4,) float
        Of the `PAIRS`: between the halves, and the first and second, first and third, second and
        third third.
    random_rmsip, random_overlap : (4,) float
        The same of the frames in random order, on average.
    cosine_content : (K,) float
        Of mode i with i half periods, the largest of all runs.
    independent : (K,) float
        Frames that are independent along each mode.
    block_lengths : (L,) int
        In frames, longest first.
    block_overlap, random_block_overlap : (L,) float
        Mean covariance overlap of a block, or of so many random frames, with all frames.
    independent_blocks : float
        Frames that are independent, as the blocks' covariance matrices tell.
    """

    n_frames: int
    compared: int
    share: float
    rmsip: Floats
    overlap: Floats
    random_rmsip: Floats
    random_overlap: Floats
    cosine_content: Floats
    independent: Floats
    block_lengths: Integers
    block_overlap: Floats
    random_block_overlap: Floats
    independent_blocks: float


def convergence(
    projections: Floats, share: float = 1.0, runs: Sequence[int] = ()
) -> Convergence | None:
    """What the parts of a trajectory say of each other; None of fewer than 12 frames.

    Parameters
    ----------
    projections : (F, M) float, Å
        Coefficients of the frames along the trajectory's own modes, largest mode first; best of
        `SPACE` modes.
    share : float
        Of the motion that these modes hold.
    runs : sequence of int
        Frames of each trajectory, where there are several; they add up to F. Parts and blocks
        are cut from all of them, one behind the other.

    Notes
    -----
    Of more than 10 000 frames every second, third and so on is looked at, so that the work does
    not grow with them: no more than so many need be told to be independent.
    """
    n_frames, n_modes = projections.shape
    if n_frames < FEWEST_FRAMES or not n_modes:
        return None
    step = -(-n_frames // _MOST_FRAMES)
    of_runs = [run[::step] for run in np.split(projections, np.cumsum(runs)[:-1])]
    some = np.concatenate(of_runs)
    centred = some - some.mean(axis=0)
    compared = min(COMPARED, n_modes, n_frames // 3 - 1)
    first = np.split(centred[:, :compared], np.cumsum([len(run) for run in of_runs])[:-1])
    lengths, along, random, independent = block_overlaps(centred)
    return Convergence(
        n_frames,
        compared,
        share,
        *_parts(centred, compared),
        np.max([cosine_content(run) for run in first], axis=0),
        len(centred) / statistical_inefficiency(first),
        step * lengths,
        along,
        random,
        independent,
    )


def cosine_content(projections: Floats) -> Floats:
    """How much of the motion along mode i is a cosine of i half periods: (K,), 0 to 1.

    Parameters
    ----------
    projections : (F, K) float
        Of one trajectory, in its order, on its principal components; their mean is taken off.

    Notes
    -----
    2/F (Σ_t cos(iπ(t+½)/F) p_t)²/Σ_t p_t²: Hess (2000), Phys. Rev. E 62, 8438, and (2002), 65,
    031910, with the integral as a sum of midpoints, in which the cosines are orthogonal. The
    components of a random walk in many dimensions are such cosines.
    """
    n_frames, count = projections.shape
    away = projections - projections.mean(axis=0)
    half_turns = np.outer(np.arange(n_frames) + 0.5, np.arange(1, count + 1)) / n_frames
    along = np.sum(np.cos(np.pi * half_turns) * away, axis=0)
    powers = np.sum(away**2, axis=0)
    content: Floats = 2 / n_frames * along**2 / np.where(powers > 0, powers, 1)
    return content


def statistical_inefficiency(runs: Sequence[Floats]) -> Floats:
    """How many frames make one independent one: g = 1 + 2 Σ_k ρ_k, at least 1: (K,).

    Parameters
    ----------
    runs : sequence of (F_r, K) float
        Series of one stationary process about their common mean, 0.

    Notes
    -----
    The variance of the mean of F frames is g/F times theirs, so that F/g of them are independent
    (Müller-Krumbhaar & Binder 1973). The sum ends at the first lag above 2.5 g (Sokal's window);
    where there is none, the largest sum counts. Of an AR(1) process, ρ_k = φ^k and
    g = (1 + φ)/(1 − φ); for a variance, to which ρ² applies, (1 + φ²)/(1 − φ²), which is less.
    """
    longest = max(len(run) for run in runs)
    padded = 1 << (2 * longest - 1).bit_length()
    power = sum(np.abs(np.fft.rfft(run, padded, axis=0)) ** 2 for run in runs)
    products = np.fft.irfft(power, padded, axis=0)[:longest]
    variance = np.where(products[0] > 0, products[0], 1)
    sums = 2 * np.cumsum(products / variance, axis=0) - 1
    ended = np.arange(longest)[:, None] >= _WINDOW * np.maximum(sums, 1)
    at_window = np.take_along_axis(sums, ended.argmax(axis=0)[None], axis=0)[0]
    found: Floats = np.where(ended.any(axis=0), at_window, sums.max(axis=0))
    return np.maximum(found, 1.0)


def block_overlaps(projections: Floats) -> tuple[Integers, Floats, Floats, float]:
    """Covariance overlap of blocks with all frames, beside that of as many random frames.

    Parameters
    ----------
    projections : (F, M) float
        In the trajectory's order, F ≥ 4.

    Returns
    -------
    lengths : (L,) int
        Frames of a block, longest first: F/2, F/3 and so on.
    overlap, random_overlap : (L,) float
        Means over up to twenty blocks, and over twenty drawings with replacement.
    independent : float
        Independent frames in the trajectory, 1 to F.

    Notes
    -----
    Block covariance overlap and its bootstrap: Romo & Grossfield (2011), J. Chem. Theory Comput.
    7, 2464. Of their ratio's decay they fit the times; here both curves are read at one height
    instead. A block of t frames, one in g of which counts, differs from the whole that holds it by
    g (1/t − 1/F) in variance, n frames drawn from the whole by 1/n. So where n random frames
    overlap as the block does, g = t/(n (1 − t/F)); the median of the longest blocks is taken.
    """
    n_frames = len(projections)
    lengths = np.array([n_frames // count for count in _BLOCKS if n_frames // count >= 2])
    whole = _root(projections)
    along = np.array([_mean_overlap(whole, _blocks(projections, t)) for t in lengths])
    sizes = np.array([n_frames, *lengths])
    random = np.array([_mean_overlap(whole, _drawn(projections, n)) for n in sizes])
    as_good = _sizes_of_overlap(along[: _LONG - 1], sizes, random)
    long = lengths[: _LONG - 1]
    inefficiency = max(float(np.median(long / (as_good * (1 - long / n_frames)))), 1.0)
    return lengths, along, random[1:], max(n_frames / inefficiency, 1.0)


def _sizes_of_overlap(wanted: Floats, sizes: Integers, overlaps: Floats) -> Floats:
    """How many random frames overlap so with all: 1 − Ω goes about as a power of their number."""
    steepness = np.maximum.accumulate(-np.log(np.maximum(1 - overlaps[::-1], 1e-12)))
    heights = -np.log(np.maximum(1 - wanted, 1e-12))
    return np.exp(np.interp(heights, steepness, np.log(sizes[::-1])))


def _blocks(projections: Floats, length: int) -> list[Floats]:
    """Blocks of following frames, evenly spread, that share none; up to twenty."""
    count = min(len(projections) // length, _DRAWN)
    starts = np.linspace(0, len(projections) - length, count).astype(int)
    return [projections[start : start + length] for start in starts]


def _drawn(projections: Floats, size: int) -> list[Floats]:
    stream = generator(_SEED, 0, size)
    return [projections[stream.integers(len(projections), size=size)] for _ in range(_DRAWN)]


def _mean_overlap(whole: Floats, parts: list[Floats]) -> float:
    return float(np.mean([overlap_of_roots(whole, _root(part)) for part in parts]))


def _parts(projections: Floats, compared: int) -> tuple[Floats, Floats, Floats, Floats]:
    """RMSIP and covariance overlap of the `PAIRS`, and both of frames in random order."""
    stream = generator(_SEED, 1)
    found = _compared(projections, compared)
    random = np.mean(
        [_compared(stream.permutation(projections), compared) for _ in range(_DRAWN)], axis=0
    )
    return found[0], found[1], random[0], random[1]


def _compared(projections: Floats, compared: int) -> Floats:
    """RMSIP and covariance overlap of the `PAIRS`: (2, 4)."""
    cut = {n: _cut(projections, n) for n in (2, 3)}
    still = _STILL * float(np.sum(projections**2)) / len(projections)
    axes = {n: [leading_axes(_covariance(part), compared, still) for part in cut[n]] for n in cut}
    roots = {n: [_root(part) for part in cut[n]] for n in cut}
    return np.array(
        [
            [rmsip(axes[n][i], axes[n][j]) for _, n, i, j in PAIRS],
            [overlap_of_roots(roots[n][i], roots[n][j]) for _, n, i, j in PAIRS],
        ]
    )


def _cut(projections: Floats, count: int) -> list[Floats]:
    """So many parts of equal length, about the middle; up to count − 1 frames are left over."""
    length = len(projections) // count
    return [projections[i * length : (i + 1) * length] for i in range(count)]


def _covariance(part: Floats) -> Floats:
    """About the part's own mean: (M, M)."""
    away = part - part.mean(axis=0)
    covariance: Floats = away.T @ away / len(part)
    return covariance


def _root(part: Floats) -> Floats:
    return square_root(_covariance(part))
