"""Several models fitted to one target, one after the other, and compared in one table.

A model has the terms that its name has, `rbt+llm`: the other terms' parameters are held at 0.
A basis of modes has many weights, and any basis raises the correlation somewhat. Two controls
tell how much: the modes of other files refitted, `rbt+int@network`, and the fitted weights
scored in shuffled order, in which they span the same motions.
"""

import difflib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from hpc_diffuser.fit.comparison_table import (
    ModelComparison,
    ModelRow,
    ModelShellRow,
    Shuffled,
    Statistics,
    write_comparison,
)
from hpc_diffuser.fit.config import (
    REFINE,
    Config,
    ModelsConfig,
    ParametersConfig,
    PriorConfig,
    StructureConfig,
)
from hpc_diffuser.fit.config_values import checked_models, terms_of
from hpc_diffuser.fit.inputs import load_modes
from hpc_diffuser.fit.problem import FINAL, SHUFFLE, Problem, compare, for_final_map, settled
from hpc_diffuser.fit.ranges import twice_the_largest_A
from hpc_diffuser.fit.refinement import Resumption, refine
from hpc_diffuser.fit.run.directory import refuse_beside_fit
from hpc_diffuser.fit.run.lock import run_lock
from hpc_diffuser.fit.scoring import Score
from hpc_diffuser.fit.summary import FitShellRow, Summary, Values
from hpc_diffuser.motion.parameters import parameters_from
from hpc_diffuser.motion.random_numbers import generator
from hpc_diffuser.motion.registry import BY_NAME, TERMS, Parameter, Range
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.progress import log
from hpc_diffuser.system.stopping import stops_at_once

SHUFFLES = 8  # orders of the modes that a model with modes is compared with
# What the target says of a shell, whatever the model.
_OF_SHELL = ("d_max", "d_min", "voxels_work", "voxels_free", "cc_half", "cc_star")


def with_models(config: Config, text: str | None) -> Config:
    """The config with the models of the command line, where there are any, on every basis.

    A model with modes is there with those of [structure] and with those of each of the [models]
    bases, unless it names one.

    Parameters
    ----------
    config : Config
    text : str or None
        Names separated by commas.

    Raises
    ------
    InputError
        For a name that is no model's, or no basis's; for bases that no model of the config has.
    """
    where, names = "models.compare", config.models.compare
    if text is not None:
        where = "--models"
        names = checked_models(where, [name.strip() for name in text.split(",")])
    bases = dict(config.models.bases)
    if bases and text is None and not any("int" in terms_of(name) for name in names):
        raise InputError(
            "models.bases: no model is fitted with them: expected one with int in [models] "
            'compare, as ["rbt", "rbt+int"], or in --models; or leave bases out'
        )
    every: dict[str, None] = {}
    for name in names:
        _, at, basis = name.partition("@")
        if at and basis not in bases:
            raise _unknown_basis(f"{where}: {name}", basis, bases)
        others = () if at or "int" not in terms_of(name) else bases
        every |= dict.fromkeys([name, *(f"{name}@{other}" for other in others)])
    return replace(config, models=replace(config.models, compare=tuple(every)))


def _unknown_basis(where: str, basis: str, bases: dict[str, Path]) -> InputError:
    if not bases:
        return InputError(
            f"{where}: no basis of this name: expected its modes file in the config, as [models] "
            f'bases = {{ {basis or "other"} = "other.h5" }}'
        )
    nearest = difflib.get_close_matches(basis, list(bases), 1, cutoff=0)[0]
    return InputError(f'{where}: unknown basis "{basis}": did you mean "{nearest}"?')


def _on_basis(config: Config, name: str) -> Config:
    """With the modes of the basis in a model's name, and the structure that they are to move."""
    _, _, basis = name.partition("@")
    if not basis:
        return config
    given = config.structure
    kept = {key: getattr(given, key) for key in ("n_modes", "correlated_modes")}
    if config.models.positions == "structure":
        kept["positions"] = given.positions or given.modes or given.file
        kept |= {key: getattr(given, key) for key in ("conformer", "hydrogens")}
    modes = dict(config.models.bases)[basis]
    return replace(config, structure=StructureConfig(modes=modes, **kept))


def model_config(config: Config, name: str) -> Config:
    """The config of one model's fit.

    Parameters
    ----------
    config : Config
    name : str
        Terms joined by "+"; after an "@", a basis.

    Returns
    -------
    Config
        Its run directory is the folder `name` in that of `config`. A model that is wholly held
        is scored once.

    Raises
    ------
    InputError
        Where the model has a term that the config has not enough for.
    """
    terms, config = terms_of(name), _on_basis(config, name)
    if terms == ["sol"]:
        raise InputError(f"model {name}: nothing moves: expected a motion too, as in rbt+sol")
    rows = [BY_NAME[key] for term in terms for key in TERMS[term]]
    kept = {
        row.name: _range_of(row, config)
        for row in rows
        if not row.beside or row.beside in terms  # as a screw, of libration with a translation
    }
    if "halo" in terms and not any(np.any(kept[key]) for key in TERMS["halo"]):
        raise InputError(
            f"model {name}: expected [parameters] halo_alpha, or halo_sigma_A and halo_gamma_A"
        )
    structure = config.structure
    if "int" in terms:
        kept["mode_amplitude_A"] = _mode_ranges(config, name)
    else:
        structure = replace(structure, n_modes=0, correlated_modes=0)
        if structure.weights == REFINE:  # of the frames only the mean is left
            structure = replace(structure, weights=structure.given_weights, given_weights=None)
    search = config.search
    prior = config.prior if "int" in terms else replace(config.prior, amplitudes=0.0, weights=None)
    prior = prior if "lat" in terms else replace(prior, springs=0.0)
    if not _refines(kept.values()) and structure.weights != REFINE:
        search, prior = replace(search, restarts=1, evaluations=1), PriorConfig()
    return replace(
        config,
        structure=structure,
        parameters=ParametersConfig(**kept),
        search=search,
        prior=prior,
        models=ModelsConfig(),
        run=replace(config.run, directory=config.run.directory / name),
    )


def _range_of(row: Parameter, config: Config) -> Range | tuple[Range, ...] | None:
    """As given, or by default. Of modes: see `_mode_ranges`."""
    given = getattr(config.parameters, row.name)
    return row.default_range if row.default_range and not np.any(given) else given


def _refines(ranges: Iterable[Range | tuple[Range, ...] | None]) -> bool:
    """True where any of the ranges has a width."""
    return any(low < high for of_one in ranges for low, high in np.reshape(of_one or (), (-1, 2)))


def _mode_ranges(config: Config, name: str) -> Range | tuple[Range, ...] | None:
    """The weights' ranges: as given, else up to twice the largest stored amplitude."""
    structure = config.structure
    if structure.ensemble is not None and structure.n_modes != 0:
        return config.parameters.mode_amplitude_A
    if structure.modes is None or structure.n_modes == 0:
        raise InputError(
            f'model {name}: no modes for the term int: expected [structure] modes = "modes.h5", '
            "and n_modes above 0"
        )
    if config.parameters.mode_amplitude_A is not None:
        return config.parameters.mode_amplitude_A
    return 0.0, twice_the_largest_A(load_modes(config).amplitudes_A)


def compare_models(
    load: Callable[[Config], Problem],
    config: Config,
    config_text: str,
    world: Ranks,
    resumption: Resumption,
) -> ModelComparison:
    """Fit all models of a config, or resume where it was stopped; the comparison, on every rank.

    Parameters
    ----------
    load, config, config_text, world, resumption
        As of `refine`.

    Raises
    ------
    DiffuserError
        As of `refine`; an input that one of the models cannot use before the first one is fitted.
    """
    directory, names = config.run.directory, config.models.compare
    with ExitStack() as stack:
        lock = run_lock(directory, resumption.break_lock)
        world.from_root(lambda: stack.enter_context(lock) and None)
        world.from_root(lambda: refuse_beside_fit(directory))
        configs = world.from_root(lambda: _checked_configs(load, config))
        rows, shells = [], []
        for number, (name, own) in enumerate(zip(names, configs, strict=True), start=1):
            if world.is_root:
                log(f"model {name}, {number} of {len(names)}: {own.run.directory}")
            summary = refine(load, own, _headed(config_text, name), world, resumption)
            outcome = summary.complete()[1]
            shells.append(outcome.shells)
            shuffled = shuffled_modes(load, own, outcome.answer, world)
            rows.append(_row(name, own, summary, shuffled))
        comparison = ModelComparison(
            models=tuple(rows),
            score=outcome.score,
            ceiling=outcome.ceiling,
            shells=_side_by_side(names, shells),
        )
        world.from_root(lambda: write_comparison(directory, comparison))
    return comparison


def _checked_configs(load: Callable[[Config], Problem], config: Config) -> list[Config]:
    """One config for each model, all of whose inputs have been read once."""
    configs = []
    for name in config.models.compare:
        configs.append(model_config(config, name))
        try:
            load(configs[-1])
        except InputError as exc:
            raise InputError(f"model {name}: {exc}") from exc
    return configs


def _headed(config_text: str, name: str) -> str:
    note = f"# Of a comparison: here the model {name}, with the settings in manifest.json.\n"
    return note + config_text


def _row(name: str, config: Config, summary: Summary, shuffled: Shuffled | None) -> ModelRow:
    own = {key for term in terms_of(name) for key in TERMS[term]}
    modes = config.structure.modes if "int" in terms_of(name) else None
    findings, outcome = summary.complete()
    return ModelRow(
        name=name,
        basis=name.partition("@")[2] or None,
        modes_file=_name(modes),
        positions_file=_name(config.structure.positions if modes else None),
        refined=summary.refined,
        cc_work=outcome.cc_work,
        cc_free=outcome.cc_free,
        median={key: value for key, value in findings.median.items() if key in own},
        answer={key: value for key, value in outcome.answer.items() if key in own},
        answer_is=outcome.answer_is,
        at_upper_bound=findings.at_upper_bound,
        warnings=summary.warnings,
        b_factors=outcome.b_factors,
        shuffled_modes=shuffled,
    )


def _name(path: Path | None) -> str | None:
    return None if path is None else path.name


def _side_by_side(
    names: tuple[str, ...], shells: list[tuple[FitShellRow, ...]]
) -> tuple[ModelShellRow, ...]:
    """Every shell once, with all models' CC."""
    return tuple(
        ModelShellRow(
            **{key: getattr(of_models[0], key) for key in _OF_SHELL},
            cc={name: shell.cc for name, shell in zip(names, of_models, strict=True)},
            cc_free={name: shell.cc_free for name, shell in zip(names, of_models, strict=True)},
        )
        for of_models in zip(*shells, strict=True)
    )


def shuffled_modes(
    load: Callable[[Config], Problem], config: Config, answer: Values, world: Ranks
) -> Shuffled | None:
    """Scores of a fit's answer with its weights given to the modes in other orders.

    The total motion is the same in all of them, Σ_a |Δ_ia|² being the same for all modes, and so
    are the sample points. What a correlation between modes is told of stays in its place.

    Parameters
    ----------
    load : callable
        As of `refine`.
    config : Config
        The fit's.
    answer : dict
        The finished fit's, by parameter name.
    world : Ranks

    Returns
    -------
    Shuffled or None
        None where no other order has other weights.
    """
    orders = shuffled_orders(np.atleast_1d(answer["mode_amplitude_A"]).tolist(), config.model.seed)
    if not orders:
        return None
    with stops_at_once():
        scores = _scores_of(world.from_root(lambda: load(config)), answer, orders, world)
    return Shuffled(
        orders=len(orders),
        cc_work=_statistics([score.cc_work for score in scores]),
        cc_free=_statistics([score.cc_free for score in scores]),
    )


def _scores_of(
    problem: Problem, answer: Values, orders: list[np.ndarray], world: Ranks
) -> list[Score]:
    """One score for each order, with the samples of the final map."""
    model, comparison = compare(for_final_map(settled(problem, world)), world)
    normals = problem.normals(problem.config.model.final_samples, FINAL)
    parameters = parameters_from(answer, problem.modes.lattice)
    shuffled = [
        replace(parameters, mode_amplitudes_A=parameters.mode_amplitudes_A[order])
        for order in orders
    ]
    return [comparison.score(model.internal_motion(p, normals)) for p in shuffled]


def shuffled_orders(weights: Sequence[float], seed: int) -> list[np.ndarray]:
    """Orders of the modes that give them other weights, each once: `SHUFFLES`, or all there are.

    What exchanges equal weights only, as two at 0, is the model itself. The same on all ranks, as
    they depend on weights and seed alone.
    """
    stream = generator(seed, SHUFFLE)
    alike = math.prod(math.factorial(n) for n in Counter(weights).values())
    n_orders = min(SHUFFLES, math.factorial(len(weights)) // alike - 1)
    found = {tuple(weights): np.arange(len(weights))}
    while len(found) <= n_orders:
        order = stream.permutation(len(weights))
        found.setdefault(tuple(weights[i] for i in order), order)
    return list(found.values())[1:]


def _statistics(values: list[float]) -> Statistics:
    if not np.all(np.isfinite(values)):
        return Statistics(mean=None, standard_deviation=None, largest=None)
    return Statistics(
        mean=float(np.mean(values)),
        standard_deviation=float(np.std(values)),
        largest=float(np.max(values)),
    )
