"""How a calculated map changes with each refined parameter: the columns of the Jacobian.

In φ of the parameters, the square of all amplitudes; see `coordinates.Coordinate`.
"""

from collections.abc import Container, Iterator
from itertools import chain

import numpy as np

from hpc_diffuser.fit.coordinates import Coordinate, coordinates
from hpc_diffuser.fit.space import SearchSpace
from hpc_diffuser.fit.stepping.common_growth import Column, corrected, shares_of_motion
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.registry import BY_NAME
from hpc_diffuser.scattering.models import Model
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
    if not springs:
        expanded = {i: mode for i, mode in expanded.items() if i in asked}
    sampled = _needs_samples(space)
    for i in others:
        if not sampled[i]:
            yield i, _difference(model, space, point, normals, i, found[i])
    if len(frames):
        of_frames = model.frame_slopes(parameters, normals)
        yield from zip(frames.tolist(), of_frames, strict=True)
    if springs:
        columns = _with_springs(model, modes, space, point, normals, expanded, springs)
        yield from _asked_for(columns, {*expanded, *springs}, asked)
    elif expanded:
        yield from _along_modes(model, parameters, normals, expanded)
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
    about = modes, space, space.parameters(point)
    springs = expanded_springs(*about)
    known = {*expanded_modes(*about), *springs, *np.flatnonzero(space.of_frames)}
    others = (needs for i, needs in enumerate(_needs_samples(space)) if i not in known)
    return 2 * (sum(others) + bool(springs))


def expanded_springs(modes: Modes, space: SearchSpace, parameters: Parameters) -> dict[int, int]:
    """The refined lengths of springs whose slope is known, by their refined places: which each."""
    moves = bool(np.all(parameters.lattice_spring_A))  # by its square, one of length 0 has no slope
    if not moves or not can_be_stepped(modes, parameters.sampled):
        return {}
    if parameters.disorder.is_crystal_liquid:
        return {}
    return space.springs


def _asked_for(
    columns: Iterator[Column], places: set[int], asked: Container[int]
) -> Iterator[Column]:
    """Those that are asked for of columns that are made together, if any is."""
    if any(i in asked for i in places):
        yield from (column for column in columns if column[0] in asked)


def _with_springs(
    model: Model,
    modes: Modes,
    space: SearchSpace,
    point: np.ndarray,
    normals: np.ndarray,
    expanded: dict[int, int],
    springs: dict[int, int],
) -> Iterator[Column]:
    """By modes' variances and the squares of springs' lengths; see `common_growth`."""
    parameters = space.parameters(point)
    by_numbers = model.spring_slopes(parameters, normals)
    of_springs = by_squares(by_numbers, springs, point, space.squared)
    every = chain(_along_modes(model, parameters, normals, expanded), of_springs)
    if len(parameters.lattice_shape):
        # Dimmed atom by atom they are right to 1 % along common growth, too.
        yield from every
        return
    columns = [(i, slope.astype(np.float32)) for i, slope in every]

    def calculated(moved: np.ndarray) -> np.ndarray:
        return model.internal_motion(space.parameters(moved), normals)

    shares = shares_of_motion(modes, parameters, expanded, springs)
    yield from corrected(columns, point, shares, calculated)


def _along_modes(
    model: Model, parameters: Parameters, normals: np.ndarray, expanded: dict[int, int]
) -> Iterator[Column]:
    """By the variances of modes at their places."""
    if expanded:
        of_modes = model.mode_slopes(parameters, normals, list(expanded.values()))
        yield from zip(expanded, of_modes, strict=True)


def by_squares(
    slopes: Iterator[np.ndarray],
    springs: dict[int, int],
    point: np.ndarray,
    squared: np.ndarray,
) -> Iterator[Column]:
    """By φ of the refined ones, ℓ² of a length ℓ, from slopes by all numbers of springs."""
    places = {number: i for i, number in springs.items()}
    for number, slope in enumerate(slopes):
        if number in places:
            i = places[number]
            yield i, slope / (2 * point[i]) if squared[i] else slope


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
