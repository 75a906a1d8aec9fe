"""What an evaluation costs on this machine, how exact it is, and what a fit of it will take.

Everything is measured in one run, so that ratios hold on a noisy machine too: this program, the
algorithm that it replaces, and the rate of the machine's matrix products.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from hpc_diffuser.commands.config_choice import choose_config
from hpc_diffuser.commands.fit_costs import as_fitted, fit_costs
from hpc_diffuser.commands.reference_algorithm import CUBE, SAMPLES, reference_sample
from hpc_diffuser.crystal.atom_factors import atomic_numbers, form_factors
from hpc_diffuser.crystal.lattice import fractionalization, grid_to_resolution, laue_operations
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.fit.config import Config, ModelConfig, load_config
from hpc_diffuser.fit.config_needs import require_effect
from hpc_diffuser.fit.inputs import load_modes, load_target
from hpc_diffuser.fit.problem import Problem, computation, ensemble_sampler
from hpc_diffuser.fit.scoring import Comparison
from hpc_diffuser.fit.space import search_space
from hpc_diffuser.maps.statistics import correlation_sums, pooled_cc
from hpc_diffuser.maps.target import Target
from hpc_diffuser.motion.configurations import mode_factor
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters, values_of
from hpc_diffuser.motion.registry import BY_NAME
from hpc_diffuser.parallel.communicator import Ranks, world
from hpc_diffuser.scattering.density import DensityTransform
from hpc_diffuser.scattering.direct import DirectTransform
from hpc_diffuser.scattering.interpolated import INTERPOLATION_ERROR
from hpc_diffuser.scattering.interpolation import PAIR_WIDTH_A, choose_band_grid, pair_separations
from hpc_diffuser.scattering.model import ForwardModel, forward_model
from hpc_diffuser.scattering.pair_sum import pair_sum_intensity
from hpc_diffuser.scattering.slab import Slab, slab
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.memory import peak_memory_MB
from hpc_diffuser.system.progress import log
from hpc_diffuser.system.streams import say

_REPEATS = 3
_SCALING_REPEATS = 9  # ranks disturb each other, and are disturbed: more for a steady median
_VOXELS = 1000
_SAMPLES_TRIED = (16, 32, 64, 128, 256, 512)
_COPIES = ((1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2))


class Case:
    """One model and target, at one point of the search: the middle of its ranges."""

    def __init__(self, config: Config):
        self.config = config
        self.modes: Modes = load_modes(config)
        self.target: Target = load_target(config, self.modes)
        correlated = config.structure.correlated_modes
        space = search_space(
            config.parameters, self.modes.amplitudes_A, correlated, lattice=self.modes.lattice
        )
        self.parameters: Parameters = space.middle
        self.problem = Problem(config, self.modes, self.target, space)
        self.how = computation(config.model, self.modes, space)
        self.sampler = ensemble_sampler(config.model, self.modes, space)

    def as_fitted(self) -> "Case":
        """The same case with the estimator and the number of samples that a fit would choose."""
        return self.at(as_fitted(self.problem).config.model)

    def at(self, options: ModelConfig) -> "Case":
        """The same case with other options of its model, none of them open."""
        other = copy(self)
        other.config = replace(self.config, model=options)
        other.problem = replace(self.problem, config=other.config)
        return other

    def model(self, group: Ranks) -> ForwardModel:
        """The forward model that a fit would use."""
        return forward_model(self.modes, self.target.grid, self.target.indices, group, self.how)

    def _moved(self, number: int) -> Parameters:
        """Parameters that no moments are known of: the same ones' are not computed again."""
        amplitudes = self.parameters.mode_amplitudes_A * (1 + 1e-6 * number)
        return replace(self.parameters, mode_amplitudes_A=amplitudes)

    def normals(self, kind: str, n_samples: int, *purpose: int) -> np.ndarray:
        """Sample points of one kind, keyed by the config's seed."""
        return replace(self.sampler, kind=kind).draw(n_samples, *purpose)

    def evaluation(self, group: Ranks) -> Callable[[], dict[str, float]]:
        """A function that does one evaluation and returns the seconds of its parts."""
        model, options = self.model(group), self.config.target
        model.use_estimator(self.config.model.estimator)
        comparison = Comparison(self.target, model, options.cc_rule, options.weights)
        normals, number = self.normals("sobol", self.config.model.samples, 0), count()

        def evaluate() -> dict[str, float]:
            parameters = self._moved(next(number))
            start = time.perf_counter()
            parts = model.molecule.internal_motion(parameters, normals)
            transformed = time.perf_counter()
            intensity = model.of_crystal(parts, parameters)
            interpolated = time.perf_counter()
            comparison.score(intensity)
            end = time.perf_counter()
            return {
                "transform": transformed - start,
                "interpolation": interpolated - transformed,
                "score": end - interpolated,
                "total": end - start,
            }

        return evaluate


def bench(path: Path | None) -> dict[str, Any]:
    """Measure a config's model on this machine; a few minutes.

    Parameters
    ----------
    path : Path or None
        The config that the user named; without one, as `choose_config`.

    Returns
    -------
    dict
        Plain numbers, with units in their names.
    """
    config_path = choose_config(path)[0]
    case = _case(config_path)
    _refuse_without_closed_form(case)
    case = case.as_fitted()
    own = _own_cost(case)
    reference = _reference_cost(case)
    accuracy = _accuracy(case)
    result = own | reference | accuracy
    costs = _costs_at_equal_accuracy(own, accuracy)
    if costs:
        reference_cost = reference["reference_core_seconds_per_evaluation"]
        result["ratio_at_equal_accuracy"] = reference_cost / min(costs)
    result["sgemm_gflops"] = _sgemm_rate()
    result |= _growth_with_atoms(case)
    result |= _scaling(config_path, case.config.model)
    return result | fit_costs(case.problem)


def prediction(path: Path | None) -> dict[str, Any]:
    """Only what a fit of a config will take; see `bench` and `fit_costs`.

    Parameters
    ----------
    path : Path or None
    """
    case = _case(choose_config(path)[0]).as_fitted()
    sizes = {"atoms": len(case.modes.structure), "voxels": len(case.target.indices)}
    return sizes | fit_costs(case.problem)


def _case(path: Path) -> Case:
    """Of a config's fit; what of it plays no part is told."""
    case = Case(load_config(path))
    for line in require_effect(case.config, begun=True):
        log(line)
    return case


def _costs_at_equal_accuracy(own: dict[str, Any], accuracy: dict[str, Any]) -> list[float]:
    """Core-seconds of evaluations that are no less exact than the reference's."""
    costs, equal = [], accuracy["samples_at_equal_accuracy"]
    if accuracy["error"] <= accuracy["reference_error"]:
        costs.append(own["core_seconds_per_evaluation"])
    if equal:
        fixed = own["core_seconds_interpolation"] + own["core_seconds_score"]
        costs.append(fixed + own["core_seconds_per_sample"] * equal)
    return costs


def _refuse_without_closed_form(case: Case) -> None:
    """Raise InputError for a model that the pair sum is not of."""
    for name, value in values_of(case.parameters).items():
        if not BY_NAME[name].pair_sum and np.any(value):
            raise InputError(f"parameters.{name}: bench has no closed form with it: hold it at 0")
    if len(laue_operations(case.modes.space_group, case.modes.unit_cell)) > 2:
        raise InputError('bench measures one molecule: set [crystal] space_group = "P 1"')
    if case.modes.frames is not None:
        raise InputError("structure.ensemble: bench has no closed form of it: expected modes")


def bench_text(result: dict[str, Any]) -> str:
    """The result as a table, one line for each number."""
    return "\n".join(f"{name:42s} {_number(value)}" for name, value in result.items())


def time_group() -> None:
    """What `bench` starts under mpirun: times evaluations of all ranks, prints JSON on rank 0."""
    path, samples, estimator, started = sys.argv[1:]
    group = world()

    def load() -> Case:
        case = Case(load_config(Path(path)))
        return case.at(replace(case.config.model, samples=int(samples), estimator=estimator))

    case = group.from_root(load)
    evaluate = case.evaluation(group)
    evaluate()
    first = time.time() - float(started)
    times = [evaluate() for _ in range(_SCALING_REPEATS)]
    memory = group.gather(peak_memory_MB())
    if group.is_root:
        medians = {key: statistics.median(t[key] for t in times) for key in times[0]}
        say(json.dumps(medians | {"first": first, "peak_memory_MB": max(memory)}))


def _own_cost(case: Case) -> dict[str, Any]:
    start = time.perf_counter()
    evaluate = case.evaluation(Ranks())
    setup = time.perf_counter() - start
    evaluate()
    times = [evaluate() for _ in range(_REPEATS)]
    median = {key: statistics.median(t[key] for t in times) for key in times[0]}
    model = case.model(Ranks())
    moments = model.molecule.moments
    liquid, samples = _liquid_cost(case, model), case.config.model.samples
    per_sample = _seconds_of_samples(case, model) / samples
    return {
        "atoms": len(case.modes.structure),
        "voxels": len(case.target.indices),
        "transform": type(moments.transform).__name__,
        "computed_voxels": len(moments.rows),
        "samples": samples,
        "setup_seconds": setup,
        "core_seconds_per_evaluation": median["total"],
        "core_seconds_per_sample": per_sample,
        "core_seconds_transform": median["transform"],
        "core_seconds_interpolation": median["interpolation"],
        "core_seconds_score": median["score"],
        "transform_gflops": moments.transform.flops / per_sample / 1e9,
    } | ({"liquid_motion_costs_samples": liquid / per_sample} if liquid else {})


def _seconds_of_samples(case: Case, model: ForwardModel) -> float:
    """Of moments by samples alone, as many as an evaluation has."""
    moments, samples = model.molecule.moments, case.config.model.samples
    moments.estimator = "sampled"
    draws = iter([case.normals("sobol", samples, i) for i in range(_REPEATS)])
    return _median_seconds(lambda: moments.of(case.parameters, next(draws)))


def _liquid_cost(case: Case, model: ForwardModel) -> float:
    """Core-seconds of liquid-like motion in an evaluation; 0 without it."""
    disorder = case.parameters.disorder
    if not disorder.is_liquid:
        return 0.0
    still = replace(case.parameters, disorder=replace(disorder, llm_sigma_A=0.0))
    rigid = model.molecule.rigid
    return _median_seconds(rigid, case.parameters) - _median_seconds(rigid, still)


def _reference_cost(case: Case) -> dict[str, float]:
    structure = case.modes.structure
    centred = structure.positions - structure.positions.mean(axis=0)
    electrons = atomic_numbers(structure)
    voxel_A = case.target.d_min / 2
    moments = [np.zeros((CUBE,) * 3, np.complex64), np.zeros((CUBE,) * 3, np.float32)]
    times = []
    for _ in range(_REPEATS):
        start = time.process_time()  # on one thread: what else runs on the machine is not in it
        reference_sample(centred, electrons, voxel_A, moments)
        times.append(time.process_time() - start)
    per_sample = statistics.median(times)
    return {
        "reference_core_seconds_per_sample": per_sample,
        "reference_core_seconds_per_evaluation": per_sample * SAMPLES,
    }


def _accuracy(case: Case) -> dict[str, Any]:
    """1 − CC against the closed form, at random voxels; medians over randomisations."""
    rng = np.random.default_rng(1)
    n_voxels = len(case.target.indices)
    rows = np.sort(rng.choice(n_voxels, min(_VOXELS, n_voxels), replace=False))
    part = case.target.at(rows)
    exact = _closed_form(case, part)
    shells = part.shells()
    other = _translation_sampled(case)
    own_model, other_model = case.model(Ranks()), other.model(Ranks())
    fitted = case.model(Ranks())
    fitted.use_estimator(case.config.model.estimator)
    ways = {
        "fitted": (fitted, case, "sobol"),
        "sobol": (own_model, case, "sobol"),
        "random": (own_model, case, "random"),
        "reference": (other_model, other, "random"),
    }

    def error(way: str, n_samples: int) -> float:
        model, of, sampler = ways[way]
        found = []
        for repeat in range(_REPEATS):
            normals = of.normals(sampler, n_samples, 1, repeat)
            calculated = model.internal_motion(of.parameters, normals)[rows]
            sums = correlation_sums(calculated, exact, None, shells, part.n_shells)
            found.append(1 - pooled_cc(sums))
        return statistics.median(found)

    tried = ("sobol", "random", "reference")
    errors = {way: {n: error(way, n) for n in _SAMPLES_TRIED} for way in tried}
    samples, reference = case.config.model.samples, error("reference", SAMPLES)
    enough = [n for n, e in errors["sobol"].items() if e <= reference]
    return {
        "error": error("fitted", samples),
        "reference_error": reference,
        "error_by_samples": errors["sobol"],
        "error_by_samples_plain_random": errors["random"],
        "error_by_samples_reference": errors["reference"] | {SAMPLES: reference},
        "samples_at_equal_accuracy": min(enough) if enough else None,
    }


def _closed_form(case: Case, part: Target) -> np.ndarray:
    structure = case.modes.structure
    factors = form_factors(structure.elements, part.grid.inverse_d_squared(part.indices))
    hkl = part.indices / np.array(part.grid.divisions)
    return pair_sum_intensity(
        structure.positions,
        factors * structure.occupancies,
        hkl @ fractionalization(case.modes.unit_cell),
        np.tensordot(mode_factor(case.parameters.sampled).T, case.modes.vectors, 1),
        case.parameters.disorder,
    )


def _translation_sampled(case: Case) -> Case:
    """The reference's ensemble, with exact transforms: translation is three more modes."""
    n_atoms, parameters = len(case.modes.structure), case.parameters
    rigid = np.repeat(parameters.disorder.translation_factor().T[:, None, :], n_atoms, axis=1)
    other = copy(case)
    other.modes = replace(
        case.modes,
        vectors=np.concatenate([case.modes.vectors, rigid]),
        amplitudes_A=np.concatenate([case.modes.amplitudes_A, np.zeros(3)]),
    )
    other.sampler = replace(case.sampler, modes=other.modes)
    other.parameters = replace(
        parameters,
        mode_amplitudes_A=np.append(parameters.mode_amplitudes_A, np.ones(3)),
        disorder=parameters.disorder.without_translation(),
    )
    return other


def _growth_with_atoms(case: Case) -> dict[str, Any]:
    """Seconds of a sample for 1, 2, 4, 8 copies of the molecule in a cell that grows with them."""
    result: dict[str, Any] = {
        "seconds_per_sample_by_atoms": {},
        "seconds_per_sample_by_atoms_direct_sum": {},
        "computed_voxels_by_atoms": {},
    }
    for copies in _COPIES:
        structure, unit_cell = _tiled(case, copies)
        target = grid_to_resolution(unit_cell, case.target.grid.divisions, case.target.d_min)
        spread_A = case.how.motion_A + PAIR_WIDTH_A
        separations = pair_separations(
            structure.positions, atomic_numbers(structure), spread_A, unit_cell
        )
        band = choose_band_grid(target, case.target.d_min, separations, INTERPOLATION_ERROR)
        planes = np.arange(band.grid.extent[0] + 1)
        part = slab(band.grid, band.d_min, planes)
        noise = np.random.default_rng(1).normal(0, case.how.motion_A / 2, (16, len(structure), 3))
        for name, make, n in (("", DensityTransform, 16), ("_direct_sum", DirectTransform, 1)):
            transform = make(structure, part)
            transform.moments(structure.positions + noise[:1])
            seconds = _median_seconds(transform.moments, structure.positions + noise[:n])
            result["seconds_per_sample_by_atoms" + name][len(structure)] = seconds / n
        result["computed_voxels_by_atoms"][len(structure)] = part.size
        if copies == (1, 1, 1):
            result["cost_ratio_twice_the_atoms_in_the_same_volume"] = _denser(structure, part)
    return result


def _median_seconds(work: Callable, *arguments: Any) -> float:
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        work(*arguments)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _denser(structure: Structure, part: Slab) -> float:
    """Cost of a sample with twice the atoms in the same volume, as hydrogens nearly are."""
    twice = structure.select(np.tile(np.arange(len(structure)), 2))
    seconds = []
    for atoms in (structure, twice):
        transform = DensityTransform(atoms, part)
        configurations = np.repeat(atoms.positions[None], 16, axis=0)
        seconds.append(_median_seconds(transform.moments, configurations))
    return seconds[1] / seconds[0]


def _tiled(case: Case, copies: tuple[int, int, int]) -> tuple[Structure, tuple[float, ...]]:
    """Copies of the molecule side by side, and as many unit cells in one."""
    structure, cell = case.modes.structure, case.modes.unit_cell
    axes = np.linalg.inv(fractionalization(cell)).T  # rows a, b, c in Å
    shifts = np.array(list(np.ndindex(*copies))) @ axes
    rows = np.tile(np.arange(len(structure)), len(shifts))
    positions = structure.positions + shifts[:, None]
    tiled = replace(structure.select(rows), positions=positions.reshape(-1, 3))
    edges = (edge * n for edge, n in zip(cell[:3], copies, strict=True))
    return tiled, (*edges, *cell[3:])


def _sgemm_rate() -> float:
    a, b = np.ones((2, 1024, 1024), np.float32)
    a @ b
    start = time.perf_counter()
    for _ in range(10):
        a @ b
    return 10 * 2 * 1024**3 / (time.perf_counter() - start) / 1e9


def _scaling(config_path: Path, options: ModelConfig) -> dict[str, Any]:
    """Wall time of an evaluation on 1, 2, ... ranks or threads, as many as there are cores."""
    beside = Path(sys.executable).parent / "mpirun"
    mpirun = str(beside) if beside.exists() else shutil.which("mpirun")
    cores = len(os.sched_getaffinity(0))
    several = [n for n in (2, 4, 8, 16, 32, 64) if n <= cores]
    ranks = [1, *(n for n in several if mpirun)]
    measured = {n: _timed(n, 1, mpirun, config_path, options) for n in ranks}
    threads = {n: _timed(1, n, mpirun, config_path, options) for n in several}
    result: dict[str, Any] = {
        "wall_seconds_by_ranks": {n: m["total"] for n, m in measured.items()},
        "wall_seconds_by_threads": {n: m["total"] for n, m in threads.items()},
        "seconds_to_first_evaluation_by_ranks": {n: m["first"] for n, m in measured.items()},
        "peak_memory_MB_per_rank": {n: m["peak_memory_MB"] for n, m in measured.items()},
    }
    if 2 in measured:
        two = measured[2]
        result["speedup_2_ranks"] = measured[1]["total"] / two["total"]
        result["communication_and_scoring_share_2_ranks"] = 1 - two["transform"] / two["total"]
    return result


def _timed(
    ranks: int, threads: int, mpirun: str | None, config_path: Path, options: ModelConfig
) -> dict[str, float]:
    code = "from hpc_diffuser.commands.benchmark import time_group; time_group()"
    launcher = [mpirun, "-n", str(ranks)] if ranks > 1 and mpirun else []
    pinned = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    arguments = [str(config_path), str(options.samples), options.estimator, str(time.time())]
    done = subprocess.run(
        [*launcher, sys.executable, "-c", code, *arguments],
        env=os.environ | pinned | {"NUMBA_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def _number(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{key}: {_number(entry)}" for key, entry in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
