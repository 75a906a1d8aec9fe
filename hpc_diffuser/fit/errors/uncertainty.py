"""How well the data determine the parameters of an answer, from maps a little to its sides.

The objective's slope and curvature at the answer, and how the zones of the data disagree about
them: see `curvature`. An amplitude σ enters as σ², which intensities are nearly linear in.

Of many modes two maps each are too much: their slopes are then those of the one-phonon intensity,
whose standard errors are within a few per cent of the exact ones, and the curvature is that of
Gauss and Newton (`tests/fit/errors/test_many_modes.py`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hpc_diffuser.fit.coordinates import Coordinate, coordinates
from hpc_diffuser.fit.errors.bend import Bend
from hpc_diffuser.fit.errors.bootstrap import resampled_answers
from hpc_diffuser.fit.errors.combinations import combinations_of, determined_by_data
from hpc_diffuser.fit.errors.curvature import Curvature
from hpc_diffuser.fit.errors.directions import directions, free_on_both_sides
from hpc_diffuser.fit.errors.effective_number import FEWEST_ZONES, effective_voxels
from hpc_diffuser.fit.errors.intervals import NO_MINIMUM, Intervals
from hpc_diffuser.fit.errors.known_slopes import known_slopes
from hpc_diffuser.fit.errors.likelihood_curvature import curvature_of
from hpc_diffuser.fit.errors.plane import (
    AT_NONE,
    at_none,
    breadths_along,
    plane_of,
    spread_over,
    upper_bounds,
)
from hpc_diffuser.fit.errors.stiffness import shares_of_prior, stiffness_slopes
from hpc_diffuser.fit.errors.stiffness import told as told_stiffness
from hpc_diffuser.fit.priors.prior import background_alone
from hpc_diffuser.fit.problem import INTERVALS, Problem
from hpc_diffuser.fit.scoring import score_at_voxels
from hpc_diffuser.fit.space import SearchSpace
from hpc_diffuser.fit.summary import Spread, Values
from hpc_diffuser.maps.zones import Zones, blocks_of, error_and_interval
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.collecting import collect
from hpc_diffuser.scattering.models import Model
from hpc_diffuser.system.memory import give_back

WITHIN = 1.959964  # standard errors: 95 % of a normal distribution
PROBABLE = 0.95
ONE_ERROR = 0.682689  # of it, within one
_NO_EFFECT = 1e-9  # on the objective, over the whole range
_NO_PART = 0.03  # at most, of one that is determined where others are not
_CONCERNED = 0.3  # part that a parameter has in a direction for it to be named


def parameter_intervals(
    problem: Problem, model: Model, answer: Values, samples: int, final: np.ndarray | None = None
) -> Intervals | None:
    """The intervals of an answer's parameters, on the group's root; None on the other ranks.

    Up to two maps for each parameter, and for each direction in which the objective bends without
    mixing (`directions`), all from the same sample points. None, too, where nothing is refined.

    The slope is that of the final map, of more samples: few of them shift the minimum of every
    evaluation of the search alike, which maps of as few do not see. The curvature is that of as
    few samples as were searched with, in whose minimum the answer lies.

    Parameters
    ----------
    problem : Problem
    model : Model
        With the target's indices.
    answer : dict
        By parameter name.
    samples : int
        Of the maps to the sides.
    final : (V,) float or None
        The map at the answer, on the root; without one it is made of as few samples.
    """
    found, root = coordinates(problem.space, answer), model.group
    if not found:
        return None
    normals = problem.normals(samples, INTERVALS)
    point = np.array([c.value for c in found])
    parameters = problem.space.parameters(point)
    given = known_slopes(problem, model, point, normals)

    def calculated(at: np.ndarray) -> np.ndarray | None:
        intensity = model.internal_motion(problem.space.parameters(at), normals)
        return collect(model, intensity, len(problem.target.indices))

    here = calculated(point)
    curvature, n_zones, why = None, 0, None
    if here is not None:
        zones = blocks_of(problem.target)
        n_zones, why = _enough(problem, here, zones)
        about = problem.target, problem.config.target, here, zones
        curvature = None if why else curvature_of(*about)
    if root.from_root(lambda: why is not None):
        return Intervals(zones=n_zones, samples=samples, missing=why) if root.is_root else None
    at_final = None if curvature is None or final is None else curvature.about(final)
    both = [] if given else free_on_both_sides(found)
    for i, of_one in enumerate(found):
        if i in given:
            slope = collect(model, next(given[i]), len(problem.target.indices))
            _add(slope, None, curvature, at_final)
            give_back()
            continue
        sides = (_moved(calculated, point, i, v) for v in of_one.sides)
        _add_derivatives(of_one, here, sides, curvature, at_final, alone=both == [i])
        give_back()
    _add_along_directions(root, found, both, calculated, here, curvature)
    if curvature is None or here is None:
        return None
    bend = curvature.bend()
    if at_final is not None:
        bend = replace(bend, gradient=at_final.gradient())
    asked = stiffness_slopes(problem.space, parameters) if _has_shapes(problem) else None
    told, known = _intervals_of(_with_prior(bend, problem, point, here), found, samples, asked)
    if known is not None:
        told = replace(told, stiffness=told_stiffness(parameters, *known))
    return replace(told, first_order=len(given.keys() & problem.space.modes.keys()))


def _has_shapes(problem: Problem) -> bool:
    return "lattice_shape" in problem.space.refined_names


def _with_prior(bend: Bend, problem: Problem, point: np.ndarray, here: np.ndarray) -> Bend:
    """With what the config's [prior] adds to slope and curvature of the objective."""
    if problem.prior is None:
        return bend
    options = problem.config.target
    score = score_at_voxels(problem.target, here, options.cc_rule, options.weights, options.knots)
    background = background_alone(score)
    penalty = problem.prior.added_about(point, background)
    bend = replace(bend, gradient=bend.gradient + penalty.gradient, prior=penalty.matrix)
    stated = problem.prior.stated(background)
    return bend if stated is None else replace(bend, stated=stated[0], stated_unit=stated[1])


def standard_errors(space: SearchSpace, found: Intervals | None) -> Spread:
    """Of every parameter by its name, in its unit; None where not determined, and of those held.

    Parameters
    ----------
    space : SearchSpace
    found : Intervals or None
        Of the space's refined parameters.
    """
    known = found.standard_errors if found else ()
    numbers = np.full(len(space.names), np.nan)
    if known:
        numbers[:] = [np.nan if error is None else error for error in known]
    return space.where_known(numbers)


def _add_derivatives(
    of_one: Coordinate,
    here: np.ndarray | None,
    sides: Iterable[np.ndarray | None],
    curvature: Curvature | None,
    at_final: Curvature | None,
    alone: bool,
) -> None:
    """All ranks make the maps to a parameter's sides; the root adds what they tell.

    The second derivative only where it is of the one parameter that has any.
    """
    left, right = sides
    if curvature is None or here is None:
        return
    phis = [of_one.phi(v) for v in (of_one.value, *of_one.sides)]
    first, second = derivatives(here, left, right, *phis)
    _add(first, second if alone else None, curvature, at_final)


def _add_along_directions(
    group: Ranks,
    found: Sequence[Coordinate],
    rows: Sequence[int],
    calculated: Callable[[np.ndarray], np.ndarray | None],
    here: np.ndarray | None,
    curvature: Curvature | None,
) -> None:
    """All ranks make maps along the directions of some parameters; the root adds their bends.

    Of one parameter the direction is its own, which has been added with it.
    """
    if len(rows) < 2:
        return
    along = group.from_root(
        lambda: None if curvature is None else directions(found, rows, curvature.gauss_newton())
    )
    for one in along:
        left, right = calculated(one.left), calculated(one.right)
        if curvature is not None and here is not None and left is not None and right is not None:
            curvature.add_along(one.weights, one.move, (left + right - 2 * here) / one.far**2)
        give_back()


def _add(
    first: np.ndarray | None,
    second: np.ndarray | None,
    curvature: Curvature | None,
    at_final: Curvature | None,
) -> None:
    """On the root, a parameter's derivatives of the map; without a second one it counts as 0."""
    if curvature is None or first is None:
        return
    curvature.add(first, np.zeros_like(first) if second is None else second)
    if at_final is not None:
        at_final.add_slope(first)


def _moved(
    calculated: Callable[[np.ndarray], np.ndarray | None], point: np.ndarray, i: int, value: float
) -> np.ndarray | None:
    """The map with one parameter at another value; None where that is the answer's own."""
    if value == point[i]:
        return None
    moved = point.copy()
    moved[i] = value
    return calculated(moved)


def _enough(problem: Problem, calculated: np.ndarray, zones: Zones) -> tuple[int, str | None]:
    """How many working zones there are, and why they or the map say too little, on the root."""
    n_zones = int((~zones.free).sum())
    if n_zones < FEWEST_ZONES:
        return n_zones, (
            f"the target has {n_zones} Brillouin zones, whose scatter says too little: expected "
            f"{FEWEST_ZONES} or more"
        )
    options = problem.config.target
    score = score_at_voxels(problem.target, calculated, options.cc_rule, options.weights)
    if not np.isfinite(score.cc_work):
        return n_zones, "the calculated map does not vary: nothing moves"
    return n_zones, None


def derivatives(
    here: np.ndarray,
    left: np.ndarray | None,
    right: np.ndarray | None,
    at: float,
    at_left: float,
    at_right: float,
) -> tuple[np.ndarray, np.ndarray]:
    """First and second derivative (V,) of a map from it and those to its sides.

    With one side only, the slope to there, and no second derivative.

    Parameters
    ----------
    here : (V,) float
    left, right : (V,) float or None
    at, at_left, at_right : float
        Where they are.
    """
    slopes = []
    if left is not None:
        slopes.append((here - left) / (at - at_left))
    if right is not None:
        slopes.append((right - here) / (at_right - at))
    if len(slopes) == 1:
        return slopes[0], np.zeros_like(here)
    before, behind = at - at_left, at_right - at
    first = (slopes[0] * behind + slopes[1] * before) / (before + behind)
    return first, 2 * (slopes[1] - slopes[0]) / (before + behind)


def intervals_of(bend: Bend, found: Sequence[Coordinate], samples: int) -> Intervals:
    """Standard errors, intervals and correlations, or why there are none.

    Parameters
    ----------
    bend : Bend
        In φ of the parameters.
    found : sequence of Coordinate
    samples : int
    """
    return _intervals_of(bend, found, samples, None)[0]


_Known = tuple[tuple[float | None, ...], tuple[float | None, ...]]


def _intervals_of(
    bend: Bend, found: Sequence[Coordinate], samples: int, asked: np.ndarray | None
) -> tuple[Intervals, _Known | None]:
    """The same; and of functions with slopes (F, D) their errors, and the prior's share in them."""
    reasons = [_reason(c, bend, i) for i, c in enumerate(found)]
    rows = np.array([i for i, reason in enumerate(reasons) if reason is None], np.int64)
    rows = _without_lone_part(rows, found, reasons)
    own, known = bend.of(rows), [found[i] for i in rows]
    ways = plane_of(known)
    why = _no_minimum(_flat_parts(own, ways), [c.label for c in known])
    if why:
        kept = _determined(_flat_parts(own, ways))
        weighs = [i for i in kept if known[i].part]
        if len(weighs) == 1:  # the sum of all holds it
            kept = kept[kept != weighs[0]]
        if not len(kept):
            return Intervals(zones=len(bend.pulls), samples=samples, missing=why), None
        for i in set(range(len(rows))) - set(kept.tolist()):
            reasons[rows[i]] = why
        # Weights that cannot be told apart are held: along the plane others have no say in them.
        own = own.determined(kept) if ways is None else own.of(kept)
        known, rows = [known[i] for i in kept], rows[kept]
        ways = plane_of(known)
    inside = (own if ways is None else own.mixed(ways)).less_the_prior()
    covariance = spread_over(inside.covariance(), ways)
    errors = np.sqrt(np.diag(covariance))
    steps = own.step_within(*np.transpose([c.room for c in known]))
    drawn = resampled_answers(inside)
    drawn = drawn if ways is None else drawn @ ways.T
    columns = _columns(known, errors, steps) | _resampled(drawn, known)
    placed: dict[str, Any] = {n: _at(rows, x, len(found)) for n, x in columns.items()}
    placed |= _bounds(bend, found, rows, reasons, placed)
    correlation = np.full((len(found), len(found)), np.nan)
    correlation[np.ix_(rows, rows)] = covariance / np.outer(errors, errors)
    intervals = Intervals(
        **placed,
        correlation=tuple(_plain(row) for row in correlation),
        bootstrap_without=int(np.isnan(drawn).any(axis=1).sum()),
        reasons=tuple(reasons),
        known=tuple(rows.tolist()),
        combinations=combinations_of(
            inside, breadths_along([c.breadth for c in known], ways), ways
        ),
        determined=determined_by_data(inside),
        effective=effective_voxels(inside),
        zones=len(bend.pulls),
        samples=samples,
        springs_prior_times=_times(inside),
    )
    return intervals, None if asked is None else _functions(asked, rows, covariance, own)


def _times(bend: Bend) -> float | None:
    """How many times as hard a prior pulls that states its scatter, as if all that were meant."""
    scatter = bend.scatter if bend.stated is not None else 0.0
    return bend.stated_unit / scatter if scatter > 0 else None


def _functions(asked: np.ndarray, rows: np.ndarray, covariance: np.ndarray, own: Bend) -> _Known:
    """Errors (F,) and the prior's shares of functions; None of those of what is not known."""
    slopes = asked[:, rows]
    whole = np.isclose((slopes**2).sum(axis=1), (asked**2).sum(axis=1))
    errors = np.sqrt(np.einsum("fi,ij,fj->f", slopes, covariance, slopes))
    shares = np.full(len(asked), np.nan)
    if own.stated is not None:
        shares = shares_of_prior(slopes, own.total, own.stated)
    return _plain(np.where(whole, errors, np.nan)), _plain(np.where(whole, shares, np.nan))


def _bounds(
    bend: Bend,
    found: Sequence[Coordinate],
    rows: np.ndarray,
    reasons: list[str | None],
    placed: dict[str, Any],
) -> dict[str, Any]:
    """Intervals, by field, with those of weights at 0 from there to their upper bounds.

    They may grow at the expense of all weights that are free, and of one that has all.
    """
    ends = {name: list(placed[name]) for name in ("low", "high", "low_68", "high_68")}
    lone = [i for i, c in enumerate(found) if c.part and not at_none(c) and i not in rows]
    free = [*rows.tolist(), *lone]
    for i in [i for i, c in enumerate(found) if at_none(c)]:
        bounds = upper_bounds(bend, found, free, i, (PROBABLE, ONE_ERROR))
        if bounds is not None:
            ends["low"][i] = ends["low_68"][i] = 0.0
            ends["high"][i], ends["high_68"][i] = bounds
            reasons[i] = AT_NONE
    return {name: tuple(numbers) for name, numbers in ends.items()}


def _columns(
    known: Sequence[Coordinate], errors: np.ndarray, steps: np.ndarray
) -> dict[str, np.ndarray]:
    """Standard errors and ends of intervals, in the parameters' units, by field: (d,) each.

    The standard error is half of what lies between one error to either side; intervals are wide
    by the error together with what the answer is away from the minimum by.
    """
    wide = np.hypot(errors, steps)
    one = np.array([c.ends(e) for c, e in zip(known, errors, strict=True)])
    few = np.array([c.ends(w) for c, w in zip(known, wide, strict=True)])
    most = np.array([c.ends(WITHIN * w) for c, w in zip(known, wide, strict=True)])
    return {
        "standard_errors": (one[:, 1] - one[:, 0]) / 2,
        "low": most[:, 0],
        "high": most[:, 1],
        "low_68": few[:, 0],
        "high_68": few[:, 1],
        "to_minimum": np.array([_step(*pair) for pair in zip(known, steps, strict=True)]),
    }


def _resampled(drawn: np.ndarray, known: Sequence[Coordinate]) -> dict[str, np.ndarray]:
    """The same of answers (B, d) of zones drawn anew: half of what holds the central 68 %."""
    _, few, most = error_and_interval(drawn, ONE_ERROR)
    _, low, high = error_and_interval(drawn)
    rows = zip(known, (most - few) / 2, low, high, strict=True)
    table = [((high - low) / 2, a, b) for (low, high), a, b in (_drawn(*row) for row in rows)]
    errors, low, high = np.transpose(table)
    return {"bootstrap_errors": errors, "bootstrap_low": low, "bootstrap_high": high}


def _drawn(
    of_one: Coordinate, error: float, low: float, high: float
) -> tuple[tuple[float, float], float, float]:
    """One error to either side, and the ends of the interval; NaN where none is known."""
    if not np.isfinite(error):
        return (np.nan, np.nan), np.nan, np.nan
    phi = of_one.phi(of_one.value)
    return of_one.ends(error), of_one.back(phi + low), of_one.back(phi + high)


def _at(rows: np.ndarray, values: np.ndarray, n: int) -> tuple[float | None, ...]:
    """Values at their places among n parameters, None elsewhere."""
    every = np.full(n, np.nan)
    every[rows] = values
    return _plain(every)


def _reason(of_one: Coordinate, bend: Bend, i: int) -> str | None:
    """Why a parameter has no interval; None where it may have one."""
    if of_one.held:
        return "at the end of its range"
    slope, curvature = abs(bend.gradient[i]), abs(bend.hessian[i, i])
    if max(slope * of_one.breadth, curvature * of_one.breadth**2) < _NO_EFFECT:
        return "without effect on the map here"
    return None


def _without_lone_part(
    rows: np.ndarray, found: Sequence[Coordinate], reasons: list[str | None]
) -> np.ndarray:
    """The places (d,) without a weight that has all others held: their sum holds it, too."""
    parts = [i for i in rows if found[i].part]
    if len(parts) != 1:
        return rows
    reasons[parts[0]] = "at the end of its range"
    return rows[rows != parts[0]]


def _flat_parts(bend: Bend, ways: np.ndarray | None) -> np.ndarray:
    """What part parameters have in directions in which the objective does not rise: (d, F)."""
    if ways is None or not len(bend.gradient):
        return bend.flat_directions() if len(bend.gradient) else np.zeros((0, 0))
    found = ways @ bend.mixed(ways).along_flat()
    found = found * np.sqrt(np.abs(np.diag(bend.total)))[:, None]
    parts: np.ndarray = found / np.linalg.norm(found, axis=0)
    return parts


def _no_minimum(flat: np.ndarray, labels: Sequence[str]) -> str | None:
    """Why the objective has no curvature to speak of; None where it has."""
    if not labels:
        return "each parameter is at the end of its range, or without effect on the map here"
    if not flat.size:
        return None
    parts = np.abs(flat).max(axis=1)
    named = [label for label, part in zip(labels, parts, strict=True) if part > _CONCERNED]
    return f"{NO_MINIMUM} {', '.join(named)}"


def _determined(flat: np.ndarray) -> np.ndarray:
    """Places of the parameters that have no part in any direction without a minimum."""
    return np.flatnonzero(np.abs(flat).max(axis=1, initial=0.0) < _NO_PART)


def _step(of_one: Coordinate, step: float) -> float:
    """From the answer to the minimum, which is looked for within the range."""
    there = of_one.back(of_one.phi(of_one.value) + step)
    return float(np.clip(there, of_one.low, of_one.high)) - of_one.value


def _plain(values: np.ndarray) -> tuple[float | None, ...]:
    """Numbers, None for NaN."""
    return tuple(float(v) if np.isfinite(v) else None for v in values)
