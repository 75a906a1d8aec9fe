"""Where least squares begin: at the one-phonon map nearest to the target, or at the source.

With the atoms' U held, the one-phonon intensity is linear in the modes' variances,

    I₁ = (1 − T)|m|² + Σ σ_i² |h_i|²,

so that non-negative least squares against the measured map tell them, up to the map's scale, which
the first term has too: that is one more column, for each translation that is tried.
"""

from collections.abc import Iterator

import numpy as np

from hpc_diffuser.fit.problem import Problem
from hpc_diffuser.fit.search.trial_step import bounded_step
from hpc_diffuser.fit.space import SearchSpace, no_farther, source_point
from hpc_diffuser.fit.stepping.normal_equations import NormalEquations
from hpc_diffuser.fit.stepping.slopes import expanded_modes
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters, parameters_from
from hpc_diffuser.scattering.model import ForwardModel

TRIED = 8  # translations, or lengths of springs, equally far apart in their range
_ROUNDS = 2  # the second with the atoms' U of what the first has found
_MOVING = ("translation_sigma_A", "lattice_spring_A")
_RIGID = ("translation_sigma_A", "halo_sigma_A", "lattice_spring_A")


def random_point(space: SearchSpace, modes: Modes, stream: np.random.Generator) -> np.ndarray:
    """Anywhere within the ranges (D,), but no mode farther than the source goes in all.

    A hundred modes in the middle of their ranges move atoms by Ångströms, from where the first
    order does not lead back: they are scaled down together. Weights of frames are any that add up
    to 1, all alike likely.
    """
    point = no_farther(space, modes, stream.uniform(*space.bounds.T))
    frames = space.of_frames
    point[frames] = -np.log1p(-point[frames])
    return np.clip(space.normed(point), *space.bounds.T)


def one_phonon_point(problem: Problem, model: ForwardModel, normals: np.ndarray) -> np.ndarray:
    """The point (D,) whose one-phonon map is nearest to the target, on every rank of the group.

    Of modes and translation, or springs, as far as the ranges go; all else is in the middle of its
    range. Where no mode has a one-phonon map, or nothing agrees, the source's amplitudes.

    Parameters
    ----------
    problem : Problem
    model : ForwardModel
        With the target's indices.
    normals : (S, ·) float
    """
    point, options = source_point(problem.space, problem.modes), problem.config.target
    modes = expanded_modes(problem.modes, problem.space, problem.space.parameters(point))
    if not modes:
        return point
    equations = NormalEquations(problem.target, model, options.cc_rule, options.weights)
    for _ in range(_ROUNDS):
        tried = _tried(problem.space, point)
        columns = _columns(problem, model, normals, tried, modes)
        found = equations.with_data(columns, len(modes) + len(tried))
        best = None if found is None else _best(*found, len(modes))
        chosen = model.group.broadcast(best)
        if chosen is None:
            return point
        which, phi = chosen
        point = tried[which].copy()
        point[list(modes)] = np.sqrt(phi)
        point = np.clip(point, *problem.space.bounds.T)
    return point


def _tried(space: SearchSpace, point: np.ndarray) -> list[np.ndarray]:
    """The point with other translations, all axes alike; the point alone where that is held.

    Of springs all lengths go with it.
    """
    moves = np.array([name.startswith(_MOVING) for name in space.names], bool)
    if not moves.any():
        return [point]
    low, high = space.bounds.T
    parts = np.arange(1, TRIED + 1) / TRIED
    return [np.where(moves, low + part * (high - low), point) for part in parts]


def _columns(
    problem: Problem,
    model: ForwardModel,
    normals: np.ndarray,
    tried: list[np.ndarray],
    modes: dict[int, int],
) -> Iterator[tuple[int, np.ndarray]]:
    """|h|² of the modes, then (1 − T)|m|² of each translation: all from the same moments."""
    still = _without_translation(problem.space, tried[0])
    within = model.internal_motion(still, normals)
    for i, point in enumerate(tried):
        whole = model.internal_motion(problem.space.parameters(point), normals)
        yield len(modes) + i, whole - within
    # Of a molecule that does not move as a whole all intensity is the modes'.
    yield from enumerate(model.mode_slopes(still, normals, list(modes.values())))


def _without_translation(space: SearchSpace, point: np.ndarray) -> Parameters:
    values = space.by_name(point)
    for name in _RIGID:
        if name in values:
            values[name] = (np.array(values[name]) * 0.0).tolist()
    return parameters_from(values, space.lattice)


def _best(gram: np.ndarray, data: np.ndarray, n_modes: int) -> tuple[int, np.ndarray] | None:
    """Which translation, and the modes' variances (M,); None where the rigid body is no part.

    Parameters
    ----------
    gram : (M + K, M + K) float
        Products of the columns, in units of the data's.
    data : (M + K,) float
        Those with the data.
    n_modes : int
    """
    least, best = np.inf, None
    for which in range(len(data) - n_modes):
        own = np.append(np.arange(n_modes), n_modes + which)
        matrix, low = gram[np.ix_(own, own)], np.zeros(len(own))
        found = bounded_step(-data[own], matrix, 0.0, low, low + np.inf)
        left = found @ matrix @ found - 2 * found @ data[own]
        if found[-1] > 0 and left < least:
            least, best = left, (which, found[:-1] / found[-1])
    return best
