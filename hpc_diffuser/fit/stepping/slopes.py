"""How a calculated map changes with each refined parameter: the columns of the Jacobian.

In φ of the parameters, the square of all amplitudes; see `coordinates.Coordinate`.
"""

from collections.abc import Container, Iterator

import numpy as np

from hpc_diffuser.fit.coordinates import Coordinate, coordinates
from hpc_diffuser.fit.space import SearchSpace
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.registry import BY_NAME
from hpc_diffuser.scattering.model import Model
from hpc_diffuser.scattering.moments import can_be_stepped


def slopes(
    model: Model,
    modes: Modes,
    space: SearchSpace,
    point: np.ndarray,
    normals: np.ndarray,
    asked: Container[int] | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Of each refined parameter, by its place, dI/dφ at the model's rows: (v,) float.

    Of modes that are not correlated, and of springs, to one-phonon order, where there is one; of
    weights of frames exactly; of all else by central differences, of maps from the same sample
    points, at an end of the range from one side. All ranks of the group go through them in step.
    Parameters that need no sampling come first: the moments are then those of the point itself,
    which are made once.

    Parameters
    ----------
    model : Model
    modes : Modes
    space : SearchSpace
    point : (D,) float
    normals : (S, ·) float
    asked : container of int or None
        The places of those that are asked for; of all without.
    """
    parameters = space.parameters(point)
    found = coordinates(space, space.by_name(point))
    # Atoms that move very far have no expansion that could be made.
    steps = model.steps(parameters)
    expanded, springs = (
        of(modes, space, parameters) if steps else {} for of in (expanded_modes, expanded_springs)
    )
    if asked is None:
        asked = range(len(found))
    frames = np.flatnonzero(space.of_frames)
    held = {*expanded, *springs, *frames.tolist()}
    others = [i for i in range(len(found)) if i not in held and i in asked]
    expanded = {i: mode for i, mode in expanded.items() if i in asked}
    sampled = _needs_samples(space)
    for i in others:
        if not sampled[i]:
            yield i, _difference(model, space, point, normals, i, found[i])
    if len(frames):
        of_frames = model.frame_slopes(parameters, normals)
        yield from zip(frames.tolist(), of_frames, strict=True)
    if expanded:
        of_modes = model.mode_slopes(parameters, normals, list(expanded.values()))
        yield from zip(expanded, of_modes, strict=True)
    springs = {i: number for i, number in springs.items() if i in asked}
    if springs:
        yield from _by_squares(model.spring_slopes(parameters, normals), springs, found)
    for i in others:
        if sampled[i]:
            yield i, _difference(model, space, point, normals, i, found[i])


def expanded_modes(modes: Modes, space: SearchSpace, parameters: Parameters) -> dict[int, int]:
    """The refined modes whose slope is known to one-phonon order, by their refined places."""
    if not can_be_stepped(modes, parameters.sampled) or parameters.disorder.is_crystal_liquid:
        return {}
    n_pairs = len(parameters.mode_correlation)  # k(k−1)/2 of k modes
    correlated = round((1 + np.sqrt(1 + 8 * n_pairs)) / 2) if n_pairs else 0
    return {place: mode for place, mode in space.modes.items() if mode >= correlated}


def n_sampled_maps(modes: Modes, space: SearchSpace, point: np.ndarray) -> int:
    """How many maps with moments of their own the slopes about a point are made from."""
    known = {
        *expanded_modes(modes, space, space.parameters(point)),
        *expanded_springs(modes, space, space.parameters(point)),
        *np.flatnonzero(space.of_frames),
    }
    others = (needs for i, needs in enumerate(_needs_samples(space)) if i not in known)
    return 2 * sum(others)


def expanded_springs(modes: Modes, space: SearchSpace, parameters: Parameters) -> dict[int, int]:
    """The refined lengths of springs whose slope is known, by their refined places: which each."""
    moves = bool(np.all(parameters.lattice_spring_A))  # by its square, one of length 0 has no slope
    if not moves or not can_be_stepped(modes, parameters.sampled):
        return {}
    if parameters.disorder.is_crystal_liquid:
        return {}
    return space.springs


def _by_squares(
    slopes: Iterator[np.ndarray], springs: dict[int, int], found: list[Coordinate]
) -> Iterator[tuple[int, np.ndarray]]:
    """By φ = ℓ² of the refined ones, from slopes by all lengths ℓ."""
    places = {number: i for i, number in springs.items()}
    for number, slope in enumerate(slopes):
        if number in places:
            yield places[number], slope / (2 * found[places[number]].value)


def _needs_samples(space: SearchSpace) -> list[bool]:
    """Of each refined parameter whether maps with another value need other moments."""
    rows = [BY_NAME[name] for name, n in space.layout for _ in range(1 if n is None else n)]
    return [
        row.sampled or row.scatters
        for row, refined in zip(rows, space.refined, strict=True)
        if refined
    ]


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
