"""The objective and its exact gradient by the refined parameters."""

import numpy as np

from hpc_diffuser.fit.scoring import Comparison, Score
from hpc_diffuser.fit.space import SearchSpace
from hpc_diffuser.scattering.model import ForwardModel


def score_and_gradient(
    space: SearchSpace,
    model: ForwardModel,
    comparison: Comparison,
    point: np.ndarray,
    normals: np.ndarray,
) -> tuple[Score, np.ndarray]:
    """The score at a point, and what the objective changes by with each parameter: (D,) float.

    Of 1 − CC_work, or of χ²/χ₀², without a prior; in the parameters' own units. It is the
    derivative of what the same sample points give, to single precision, at the cost of about two
    evaluations more; each parameter of the solvent takes two besides.

    Parameters
    ----------
    space : SearchSpace
    model : ForwardModel
        Of samples alone; all its ranks call this.
    comparison : Comparison
        Of the model.
    point : (D,) float
    normals : (S, ·) float
    """
    parameters = space.parameters(point)
    score, slope = comparison.slope(model.internal_motion(parameters, normals))
    by_name = model.gradient(parameters, normals, slope, space.refined_names)
    sizes = [(name, 1 if n is None else n) for name, n in space.layout]
    every = np.concatenate([by_name.get(name, np.zeros(n)) for name, n in sizes])
    return score, every[space.refined]
