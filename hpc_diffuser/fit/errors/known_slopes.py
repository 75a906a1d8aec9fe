"""Slopes of a map beside an answer that need no maps to its sides.

Of many parameters two maps each are too much: then those along modes are of the one-phonon
intensity. Those along shapes of springs are the ones that a search steps by: of numbers that data
hardly tell, second differences of maps are the noise's. Of frames' weights they are exact.
"""

from collections.abc import Iterator

import numpy as np

from hpc_diffuser.fit.problem import Problem
from hpc_diffuser.fit.stepping.slopes import by_squares, expanded_modes, expanded_springs
from hpc_diffuser.scattering.models import Model

MANY = 20  # refined parameters: of more, the modes' slopes are to one-phonon order


def known_slopes(
    problem: Problem, model: Model, point: np.ndarray, normals: np.ndarray
) -> dict[int, Iterator[np.ndarray]]:
    """Of each parameter's place, of those that have one, where its slope comes next.

    Parameters
    ----------
    problem : Problem
    model : Model
    point : (D,) float
        The answer.
    normals : (S, ·) float
    """
    space, parameters = problem.space, problem.space.parameters(point)
    many, found = len(point) > MANY, dict[int, Iterator[np.ndarray]]()
    modes = expanded_modes(problem.modes, space, parameters) if many else {}
    if modes:
        along = model.mode_slopes(parameters, normals, list(modes.values()))
        found |= dict.fromkeys(modes, along)
    if "lattice_shape" in space.refined_names and model.steps(parameters):
        springs = expanded_springs(problem.modes, space, parameters)
        numbers = model.spring_slopes(parameters, normals)
        columns = (column for _, column in by_squares(numbers, springs, point, space.squared))
        found |= dict.fromkeys(springs, columns)
    frames = np.flatnonzero(space.of_frames).tolist()
    if frames:
        found |= dict.fromkeys(frames, model.frame_slopes(parameters, normals))
    return found
