"""Whether a trajectory is long enough, in numbers, and in words with what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpc_diffuser.motion.convergence import PAIRS

if TYPE_CHECKING:
    from hpc_diffuser.motion.convergence import Convergence

AGREE = 0.7  # RMSIP of parts that are usually taken to agree
DRIFT = 0.5  # cosine content of a mode that looks like a random walk more than not
_DRIFTING = 3  # first modes, those that a random walk would show
PRECISION = 0.1  # of an amplitude, that is worth longer runs
_APART = 0.5  # of the frames: with more of them independent, frames between them would help


def convergence_lines(found: Convergence) -> list[str]:
    """A page's lines about a trajectory's parts: what they mean, then tables."""
    return [
        f"long enough? {found.n_frames} frames",
        *(f"  - {sentence}" for sentence in verdict(found)),
        f"  in the space of modes with {100 * found.share:.1f} % of the motion; RMSIP of "
        f"{found.compared} modes; in brackets: the same frames in random order",
        *_pairs(found),
        "  mode   cosine content   independent frames",
        *(
            f"  {i + 1:4d}{content:17.2f}{independent:21.0f}"
            for i, (content, independent) in enumerate(
                zip(found.cosine_content, found.independent, strict=True)
            )
        ),
        *_blocks(found),
    ]


def _pairs(found: Convergence) -> list[str]:
    lines = ["  parts           RMSIP           covariance overlap"]
    for k, (parts, _, i, j) in enumerate(PAIRS):
        lines.append(
            f"  {parts} {i + 1}, {j + 1}     {found.rmsip[k]:.2f} ({found.random_rmsip[k]:.2f})"
            f"     {found.overlap[k]:.2f} ({found.random_overlap[k]:.2f})"
        )
    return lines


def _blocks(found: Convergence) -> list[str]:
    lines = ["  frames of a block   covariance overlap with all"]
    rows = zip(found.block_lengths, found.block_overlap, found.random_block_overlap, strict=True)
    return lines + [f"  {t:17d}   {along:.2f} ({random:.2f})" for t, along, random in rows]


def verdict(found: Convergence) -> list[str]:
    """What that means for the modes, and what to do: a sentence each, the worst first."""
    said = [*_drifting(found), *_halves(found), *_precision(found)]
    return said or [
        "nothing here says that the trajectory is too short; nor that it has been everywhere: "
        "only another one, from another start, can tell that"
    ]


def _drifting(found: Convergence) -> list[str]:
    modes = [i + 1 for i, c in enumerate(found.cosine_content[:_DRIFTING]) if c > DRIFT]
    if not modes:
        return []
    contents = ", ".join(f"{found.cosine_content[i - 1]:.2f}" for i in modes)
    drift = "mode {} drifts" if len(modes) == 1 else "modes {} drift"
    return [
        f"{drift.format(_listed(modes))} as a random walk does (cosine content {contents}, where "
        "1 is all): direction and amplitude are this run's, not the molecule's: run several times "
        "as long, leave out the beginning (--first), or take several runs"
    ]


def _halves(found: Convergence) -> list[str]:
    spanned, random = found.rmsip[0], found.random_rmsip[0]
    if spanned >= AGREE:
        return []
    what = f"the halves span the first {found.compared} modes to an RMSIP of {spanned:.2f}"
    if random < AGREE:
        return [
            f"{what}, and no more than {random:.2f} with the frames in random order ({AGREE} is "
            "agreement): too few frames for so many modes: write frames more often and run longer, "
            "or keep fewer modes"
        ]
    return [
        f"{what}, where the same frames in random order reach {random:.2f} ({AGREE} is "
        "agreement): run longer"
    ]


def _precision(found: Convergence) -> list[str]:
    """The amplitude of n independent frames is known to 1/√(2n), if it is a normal variable's."""
    slowest = int(np.argmin(found.independent))
    n = min(float(found.independent[slowest]), found.independent_blocks)
    wanted = 1 / (2 * PRECISION**2)
    if n >= wanted:
        return []
    what = (
        f"worth {found.independent[slowest]:.0f} independent frames along mode {slowest + 1}, "
        f"{found.independent_blocks:.0f} by the blocks' covariance: amplitudes are known to some "
        f"{100 / np.sqrt(2 * n):.0f} %; for {100 * PRECISION:.0f} %"
    )
    if n > _APART * found.n_frames:
        return [f"{what} write {_times(wanted / n)} as many frames"]
    return [f"{what} run {_times(wanted / n)} as long"]


def _times(factor: float) -> str:
    return f"{factor:.0f} times" if factor >= 10 else f"{factor:.2g} times"


def _listed(numbers: list[int]) -> str:
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}" if first else last
