"""How far the weights of an ensemble's frames are from given ones: the relative entropy.

For weights w and the given w⁰, both of which add up to 1,

    KL = Σ_s w_s ln(w_s/w⁰_s),

0 where they are the given ones, and ln(1/w⁰_s) where one frame is all. Its slope has no end where a
weight falls to 0, and a weight would not come back from there: so it is that of the weights with a
thousandth of the given ones mixed in, which differs by next to nothing.

In reweighting of ensembles to data it is the prior of BioEn and EROS (Hummer & Köfinger 2015, J.
Chem. Phys. 143, 243150).
"""

import numpy as np

from hpc_diffuser.fit.priors.penalty import Penalty

FLOOR = 1e-3  # of the given weights, which are mixed in
SCALE = 1.0  # of the penalty that holds the weights' sum, which no map knows, at 1


def relative_entropy(weights: np.ndarray, given: np.ndarray) -> float:
    """KL of weights (F,) from given ones, both on any scale."""
    w, w0 = weights / weights.sum(), given / given.sum()
    some = w > 0
    return float(np.sum(w[some] * np.log(w[some] / w0[some])))


def effective_frames(weights: np.ndarray) -> float:
    """e^entropy: how many frames of one weight are as many; from 1 to F."""
    w = weights[weights > 0] / weights.sum()
    return float(np.exp(-np.sum(w * np.log(w))))


def entropy_penalty(weights: np.ndarray, given: np.ndarray) -> Penalty:
    """KL as the search has it, with what keeps it convex where the map is not: (F,) and (F, F).

    A penalty in weights that are divided by their sum: along all of them together it is level.

    Parameters
    ----------
    weights : (F,) float
        Not negative, of any sum.
    given : (F,) float
        Above 0; they add up to 1.
    """
    total = weights.sum()
    w = weights / total
    mixed = (w + FLOOR * given) / (1 + FLOOR)
    slope = np.log(mixed / given) / (1 + FLOOR)
    bend = 1 / mixed / (1 + FLOOR) ** 2
    level = bend * w
    matrix = np.diag(bend) - level[:, None] - level + w @ level
    value = float(np.sum(mixed * np.log(mixed / given)))
    return Penalty(value, (slope - w @ slope) / total, matrix / total**2)


def sum_penalty(weights: np.ndarray) -> Penalty:
    """What holds the sum at 1: the intensity does not know it, and equations would be singular."""
    n, off = len(weights), weights.sum() - 1
    return Penalty(SCALE * off**2 / 2, np.full(n, SCALE * off), np.full((n, n), SCALE))
