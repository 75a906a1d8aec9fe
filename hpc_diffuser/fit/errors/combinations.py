"""Which combinations of parameters the data determine well, and which badly.

In parts of their ranges, x = φ/(φ_high − φ_low), parameters have no units. The directions in which
the objective, prior included, bends without mixing are the eigenvectors v of its curvature
A = H + P: a step along one leaves the others where they are. Along v data bend it by h = vᵀHv, a
prior by p = vᵀPv, so that with f = p/h the prior has the share f/(1 + f) of what is known, and the
data the rest; and the answer has the standard deviation √(vᵀCv), C the parameters' covariance. A
range that is all there is to know is a standard deviation of 1/√12 = 0.29 of itself.
"""

from collections.abc import Sequence

import numpy as np

from hpc_diffuser.fit.errors.bend import Bend
from hpc_diffuser.fit.errors.intervals import Combination


def combinations_of(
    bend: Bend, breadths: Sequence[float], ways: np.ndarray | None = None
) -> tuple[Combination, ...]:
    """The best determined first; none without a curvature.

    Parameters
    ----------
    bend : Bend
        At a minimum.
    breadths : sequence of float
        Of the ranges of its D parameters, in φ.
    ways : (N, D) float or None
        What of N parameters each of the D is, of `plane.plane_of`.
    """
    scale = np.outer(breadths, breadths)
    total, covariance = bend.total * scale, bend.covariance() / scale
    prior = np.zeros_like(total) if bend.prior is None else bend.prior * scale
    found = []
    for direction in np.linalg.eigh(total)[1].T:
        share = direction @ prior @ direction / (direction @ total @ direction)
        deviation = np.sqrt(direction @ covariance @ direction)
        own = direction if ways is None else ways @ direction
        own = own * np.sign(own[np.argmax(np.abs(own))])
        found.append(
            Combination(
                deviation=float(deviation),
                prior_share=None if bend.prior is None else float(share),
                parts=tuple(own.tolist()),
            )
        )
    return tuple(sorted(found, key=lambda one: one.deviation))


def determined_by_data(bend: Bend) -> float:
    """How many of the D parameters the data determine, tr (H + P)⁻¹ H; a prior has the others."""
    return float(np.trace(np.linalg.solve(bend.total, bend.hessian)))
