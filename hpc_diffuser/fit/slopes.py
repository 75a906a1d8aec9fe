"""How a calculated map changes with each refined parameter: the columns of the Jacobian.

In φ of the parameters, the square of all amplitudes; see `uncertainty.Coordinate`.
"""

from collections.abc import Iterator

import numpy as np

from hpc_diffuser.fit.space import SearchSpace
from hpc_diffuser.fit.uncertainty import Coordinate, coordinates
from hpc_diffuser.motion.registry import BY_NAME
from hpc_diffuser.scattering.model import Model


def slopes(
    model: Model, space: SearchSpace, point: np.ndarray, normals: np.ndarray
) -> Iterator[tuple[int, np.ndarray]]:
    """Of each refined parameter, by its place, dI/dφ at the model's rows: (v,) float.

    By central differences, of maps from the same sample points; at an end of the range from one
    side. All ranks of the group go through them in step. Parameters that need no sampling come
    first: the moments are then those of the point itself, which are made once.

    Parameters
    ----------
    model : Model
    space : SearchSpace
    point : (D,) float
    normals : (S, ·) float
    """
    found = coordinates(space, space.by_name(point))
    rows = [BY_NAME[name] for name, n in space.layout for _ in range(1 if n is None else n)]
    rows = [row for row, refined in zip(rows, space.refined, strict=True) if refined]
    sampled = [row.sampled or row.scatters for row in rows]
    for i in np.argsort(sampled, kind="stable"):
        yield int(i), _difference(model, space, point, normals, int(i), found[i])


def _difference(
    model: Model,
    space: SearchSpace,
    point: np.ndarray,
    normals: np.ndarray,
    i: int,
    of_one: Coordinate,
) -> np.ndarray:
    maps = []
    for value in of_one.sides:
        moved = point.copy()
        moved[i] = value
        maps.append(model.internal_motion(space.parameters(moved), normals))
    low, high = map(of_one.phi, of_one.sides)
    return np.asarray((maps[1] - maps[0]) / (high - low))


def phi_is_square(space: SearchSpace) -> np.ndarray:
    """Of which refined parameters φ is the square: (D,) bool."""
    middle = space.bounds.mean(axis=1)
    return np.array([of_one.squared for of_one in coordinates(space, space.by_name(middle))], bool)
