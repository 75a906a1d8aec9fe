"""What refined weights of an ensemble's frames say: which frames carry them, and how many count."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpc_diffuser.fit.priors.entropy import effective_frames, relative_entropy

HALF, MOST = 0.5, 0.9  # of the weight, whose frames are named


@dataclass(frozen=True, kw_only=True)
class FrameWeights:
    """The weights of an ensemble's frames at the answer; frames are counted from 1.

    Attributes
    ----------
    weights, given : tuple of F floats
        They add up to 1: refined, and those that the search and its prior began with.
    effective, effective_given : float
        e^entropy: how many frames of one weight are as many.
    relative_entropy : float
        Of the refined to the given ones, Σ w ln(w/w⁰).
    theta : float
        What that counts for in the objective.
    carry_half, carry_most : tuple of int
        The fewest frames that together carry half of the weight, and nine tenths; the heaviest
        first.
    cc_work_given, cc_free_given : float or None
        With the given weights, and all else as at the answer; None where undefined.
    """

    weights: tuple[float, ...]
    given: tuple[float, ...]
    effective: float
    effective_given: float
    relative_entropy: float
    theta: float
    carry_half: tuple[int, ...]
    carry_most: tuple[int, ...]
    cc_work_given: float | None
    cc_free_given: float | None


def frame_weights(
    weights: Sequence[float],
    given: Sequence[float],
    theta: float,
    cc_given: tuple[float | None, float | None],
) -> FrameWeights:
    """What is to be said of refined weights.

    Parameters
    ----------
    weights, given : (F,) float
        On any scale.
    theta : float
    cc_given : two floats or None
        CC_work and CC_free with the given ones.
    """
    w, w0 = (np.array(x, np.float64) / np.sum(x) for x in (weights, given))
    return FrameWeights(
        weights=tuple(w.tolist()),
        given=tuple(w0.tolist()),
        effective=effective_frames(w),
        effective_given=effective_frames(w0),
        relative_entropy=relative_entropy(w, w0),
        theta=theta,
        carry_half=carrying(w, HALF),
        carry_most=carrying(w, MOST),
        cc_work_given=cc_given[0],
        cc_free_given=cc_given[1],
    )


def carrying(weights: np.ndarray, part: float) -> tuple[int, ...]:
    """The fewest frames, from 1, that together carry such a part; the heaviest first."""
    order = np.argsort(-weights, kind="stable")
    carried = np.cumsum(weights[order]) / weights.sum()
    n = int(np.searchsorted(carried, part * (1 - 1e-9))) + 1
    return tuple((order[:n] + 1).tolist())
