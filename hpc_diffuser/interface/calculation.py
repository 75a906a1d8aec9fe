"""Calculations on this process, without MPI: a map, its score, one restart of a fit.

They are those of the commands, to the same bits; nothing is written.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from hpc_diffuser.fit.cc_text import cc_text
from hpc_diffuser.fit.config import Config, GridConfig
from hpc_diffuser.fit.config_needs import require_effect, require_effect_in_simulation
from hpc_diffuser.fit.map_score import MapScore, score_map
from hpc_diffuser.fit.sampling_error import final_estimator
from hpc_diffuser.interface.checked import path_of, require_kind
from hpc_diffuser.interface.files import open_map, open_target
from hpc_diffuser.interface.run import Run
from hpc_diffuser.interface.source import Source, open_config, with_values
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.reindexing import in_crystal
from hpc_diffuser.maps.subtraction import Subtrahend
from hpc_diffuser.maps.target import Target
from hpc_diffuser.maps.target import make_target as cut_to_target
from hpc_diffuser.maps.target_options import SUBTRACT_SCALES, TargetOptions
from hpc_diffuser.motion.parameters import Value
from hpc_diffuser.motion.registry import FRAME_WEIGHT
from hpc_diffuser.system.arrays import Floats
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.guest import as_found
from hpc_diffuser.system.progress import log
from hpc_diffuser.system.threads import pin_threads

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def _as_guest(calculate: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Leaves the session's threads, signals and environment as they are."""

    @functools.wraps(calculate)
    def inside(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        with as_found():
            pin_threads()
            return calculate(*args, **kwargs)

    return inside


@dataclass(frozen=True)
class Restart:
    """One restart of a fit.

    Attributes
    ----------
    number : int
    refined : tuple of D str
        Labels of the refined parameters.
    bounds : (D, 2) float
        What they were searched between, in their units.
    points : (E, D) float
        Every point that was tried, in the parameters' units.
    objectives : (E,) float
        1 − CC_work of each, by the search's own samples; or χ²/χ₀² of a likelihood, and a prior's
        part.
    answer : dict
        All parameters at the best point, by name, in their units.
    cc_work, cc_free : float or None
        Of the map there, with `final_samples`; None where undefined.
    target : Target
    calculated : (V,) float
        The map there, at the target's voxels, in electrons squared.
    """

    number: int
    refined: tuple[str, ...]
    bounds: Floats
    points: Floats
    objectives: Floats
    answer: dict[str, Value]
    cc_work: float | None
    cc_free: float | None
    target: Target
    calculated: Floats

    def __repr__(self) -> str:
        return (
            f"Restart({self.number}: {len(self.points)} evaluations of {len(self.refined)} "
            f"parameters, CC_work {cc_text(self.cc_work)}, CC_free {cc_text(self.cc_free)})"
        )


@_as_guest
def simulate(
    config: Source, parameters: Mapping[str, Value] | None = None, noise: float | None = None
) -> DiffuseMap:
    """The map of a model's motions.

    Parameters
    ----------
    config : str, Path, dict, Config or Run
        As of `open_config`. Of a run, the model is at its answer, on the grid of its target.
    parameters : dict, optional
        Values by parameter name, in the parameter's unit, instead of those of the config; all
        parameters must be held.
    noise : float, optional
        Standard deviation of Gaussian noise, as a part of the mean intensity of a shell; the map
        then has `errors`.

    Returns
    -------
    DiffuseMap
        All Laue mates to `grid.d_min_A`, in electrons squared for one molecule.

    Raises
    ------
    InputError
        Where the config or a file cannot be used, a parameter is a range, or the run has no
        answer yet.

    Examples
    --------
    >>> model = {"structure": {"file": "6o2h.pdb"}, "grid": {"d_min_A": 4.0}}
    >>> diffuse = hd.simulate(model, {"translation_sigma_A": 0.4})
    >>> at_answer = hd.simulate(hd.open_run("run"))
    """
    from hpc_diffuser.fit.simulation import simulated_map
    from hpc_diffuser.parallel.communicator import Ranks

    settings = open_config(config)
    if isinstance(config, Run):
        settings = _at_answer(config, settings)
    settings = with_values(settings, parameters or {})
    idle = [] if isinstance(config, Run) else require_effect_in_simulation(settings)
    found = simulated_map(settings, None, Ranks(), noise)
    _tell(idle)
    if found is None:
        raise AssertionError("one process is the root of its ranks")
    return found


def _tell(lines: list[str]) -> None:
    for line in lines:
        log(line)


def _at_answer(run: Run, config: Config) -> Config:
    """A run's model, held at its answer, with its final samples, on the grid of its target."""
    answer, target = dict(run.outcome.answer), run.target
    weights = answer.pop(FRAME_WEIGHT.name, None)
    if isinstance(weights, list):  # no key of [parameters]
        held = replace(config.structure, weights=tuple(weights), given_weights=None)
        config = replace(config, structure=held)
    grid = GridConfig(target.grid.whole_divisions(), target.d_min)
    found = run.convergence
    estimator = final_estimator(found.estimator if found else config.model.estimator)
    model = replace(config.model, samples=config.model.final_samples, estimator=estimator)
    return replace(with_values(config, answer), grid=grid, model=model)


@_as_guest
def score(
    diffuse: DiffuseMap | str | Path,
    target: Target | Run | str | Path,
    rule: str = "shell-mean",
    weights: str = "none",
) -> MapScore:
    """Anybody's calculated map against a target, by the rules of a fit.

    Parameters
    ----------
    diffuse : DiffuseMap, str or Path
        A map, or its file; Laue mates are averaged.
    target : Target, Run, str or Path
        A target, its file, or the run that has it.
    rule : {"shell-mean", "pooled", "likelihood"}
        The mean of the shells' CCs, or one CC over all voxels; shell means subtracted first. Or χ²
        beside the former, of a target with errors or half-maps.
    weights : {"none", "errors"}
        "errors" weights with 1/σ².

    Returns
    -------
    MapScore
        `cc_work`, `cc_free`, `ceiling`, and by shell; `likelihood`, where that is asked for.

    Raises
    ------
    InputError
        Where a file cannot be read, the cells differ by more than 2 %, the samples do not fit,
        too many voxels are missing, or the map does not vary.

    Examples
    --------
    >>> hd.score(hd.simulate("rigid.toml"), "target.h5").cc_free
    0.44
    """
    for name, value, choices in (
        ("rule", rule, ("shell-mean", "pooled", "likelihood")),
        ("weights", weights, ("none", "errors")),
    ):
        if value not in choices:
            raise InputError(f"{name}: expected {' or '.join(choices)}, found {value!r}")
    whole = _target_of(target)
    crystal = whole.grid.unit_cell, whole.space_group
    found = (
        diffuse
        if isinstance(diffuse, DiffuseMap)
        else _map_of(path_of(diffuse, "a map, or its file"), crystal)
    )
    files = _name(diffuse), _name(target)
    return score_map(in_crystal(found, crystal), whole, rule, weights, files)


def _name(source: DiffuseMap | Target | Run | str | Path) -> str:
    """What a score tells of: a file or a run; nothing of arrays."""
    if isinstance(source, DiffuseMap | Target):
        return ""
    return str(source.directory if isinstance(source, Run) else source)


def _target_of(source: Target | Run | str | Path) -> Target:
    if isinstance(source, Target):
        return source
    return source.target if isinstance(source, Run) else open_target(source)


def _map_of(path: Path, crystal: tuple[tuple[float, ...], str]) -> DiffuseMap:
    """A map's file; one that names no crystal is of the target's."""
    try:
        return open_map(path)
    except InputError:
        return open_map(path, *crystal)


@_as_guest
def make_target(
    diffuse: DiffuseMap | str | Path,
    subtract: DiffuseMap | str | Path | None = None,
    subtract_scale: str = SUBTRACT_SCALES[0],
    **options: Any,
) -> Target:
    """Cut a measured map to what a fit is compared with: no halos, a resolution range, a free set.

    Parameters
    ----------
    diffuse : DiffuseMap, str or Path
        A map in its crystal, or its file.
    subtract : DiffuseMap, str or Path, or None
        A calculated map, to be subtracted from the merged voxels.
    subtract_scale : {"one", "shells"}
        Its scale, by least squares: one, or one of each resolution shell.
    **options
        As of `TargetOptions`: `d_max_A`, `d_min_A`, `halo_radius`, `n_shells`, `free_fraction` ...

    Returns
    -------
    Target

    Raises
    ------
    InputError
        Where the file cannot be read, an option is unknown, or no voxel is left.

    Examples
    --------
    >>> target = hd.make_target("map.nxs", d_max_A=6.0, d_min_A=2.2)
    """
    known = TargetOptions.__dataclass_fields__
    for name in options:
        if name not in known:
            raise InputError(
                f"{name}: unknown option of a target: expected one of {', '.join(known)}"
            )
    found = diffuse if isinstance(diffuse, DiffuseMap) else open_map(diffuse)
    if subtract_scale not in SUBTRACT_SCALES:
        raise InputError(
            f"subtract_scale: expected one of {', '.join(SUBTRACT_SCALES)}, found {subtract_scale}"
        )
    model = None if subtract is None else _subtrahend(subtract, found, subtract_scale)
    return cut_to_target(found, TargetOptions(**options), model)


def _subtrahend(subtract: DiffuseMap | str | Path, diffuse: DiffuseMap, scale: str) -> Subtrahend:
    """A calculated map in the measured one's crystal."""
    crystal = diffuse.grid.unit_cell, diffuse.space_group
    if isinstance(subtract, DiffuseMap):
        return Subtrahend(in_crystal(subtract, crystal, of_map=True), scale)
    return Subtrahend(
        in_crystal(_map_of(path_of(subtract, "a map, or its file"), crystal), crystal),
        scale,
        str(subtract),
    )


@_as_guest
def fit_restart(config: Source, number: int = 0) -> Restart:
    """One restart of a fit: the one of this number, to the same bits as in a run.

    Progress is told on standard error; a notebook's interrupt ends it, and nothing is kept.

    Parameters
    ----------
    config : str, Path, dict, Config or Run
        As of `open_config`: with a target, and at least one parameter a range.
    number : int
        From 0, below `search.restarts`; each has its own random numbers.

    Returns
    -------
    Restart

    Raises
    ------
    InputError
        Where the config or a file cannot be used, there is no such restart, or memory does not
        suffice.

    Examples
    --------
    >>> restart = hd.fit_restart("fit.toml")
    >>> restart.answer["translation_sigma_A"], restart.cc_free
    (0.46, 0.6)
    """
    from hpc_diffuser.fit.one_restart import run_restart

    require_kind(number, Integral, "a restart's number, from 0")
    if number < 0:
        raise InputError(f"number: expected a whole number from 0, found {number}")
    settings = open_config(config)
    idle = require_effect(settings, begun=isinstance(config, Run))
    if number >= settings.search.restarts:
        raise InputError(
            f"number: the config has {settings.search.restarts} restarts, counted from 0; found "
            f"{number}: expected a smaller one, or raise [search] restarts"
        )
    problem, history, final = run_restart(settings, number)
    _tell(idle)
    return Restart(
        number=number,
        refined=tuple(problem.space.names),
        bounds=problem.space.bounds,
        points=history.points,
        objectives=history.objectives,
        answer=problem.space.by_name(history.points[history.best]),
        cc_work=final.cc_work,
        cc_free=final.cc_free,
        target=problem.target,
        calculated=final.calculated,
    )
