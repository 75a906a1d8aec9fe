"""`bench`: what an evaluation costs on this machine, and how exact it is.

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
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hpc_diffuser.config import Config, load_config
from hpc_diffuser.disorder import Disorder, pair_sum_intensity
from hpc_diffuser.fit import choose_config
from hpc_diffuser.inputs import load_modes, load_target
from hpc_diffuser.lattice import fractionalization
from hpc_diffuser.memory import peak_memory_MB
from hpc_diffuser.model import Comparison, DirectModel, InterpolatedModel, forward_model
from hpc_diffuser.modes import Modes
from hpc_diffuser.parallel.communicator import Ranks, world
from hpc_diffuser.parameters import Parameters, search_space
from hpc_diffuser.reference import CUBE, SAMPLES, reference_sample
from hpc_diffuser.sampling import generator, normal_samples
from hpc_diffuser.scattering import atomic_numbers, form_factors, plane_costs
from hpc_diffuser.statistics import correlation_sums, pooled_cc
from hpc_diffuser.target import Target

_REPEATS = 3
_VOXELS = 1000
_SAMPLES_TRIED = (16, 32, 64, 128, 256, 512, 1024)


class Case:
    """One model and target, at one point of the search: the middle of its ranges."""

    def __init__(self, config: Config):
        self.config = config
        self.modes: Modes = load_modes(config)
        self.target: Target = load_target(config, self.modes)
        space = search_space(config.parameters, self.modes.amplitudes_A)
        middle = space.bounds.mean(axis=1)
        self.parameters: Parameters = space.parameters(middle)
        self.motion_A = float(np.linalg.norm(self.parameters.mode_amplitudes_A))

    def model(self, group: Ranks) -> DirectModel | InterpolatedModel:
        """The forward model that a fit would use."""
        target, options = self.target, self.config.model
        return forward_model(
            self.modes,
            target.grid,
            target.indices,
            group,
            self.motion_A,
            options.grid,
            options.transform,
        )

    def normals(self, sampler: str, n_samples: int, n_modes: int, *purpose: int) -> np.ndarray:
        """Sample points keyed by the config's seed."""
        return normal_samples(
            sampler, n_samples, n_modes, generator(self.config.model.seed, *purpose)
        )

    def evaluation(self, group: Ranks) -> Callable[[], dict[str, float]]:
        """A function that does one evaluation and returns the seconds of its parts."""
        model, options = self.model(group), self.config.target
        comparison = Comparison(self.target, model, options.score, options.weights)
        n_modes = len(self.parameters.mode_amplitudes_A)
        normals = self.normals("sobol", self.config.model.samples, n_modes)

        def evaluate() -> dict[str, float]:
            start = time.perf_counter()
            if isinstance(model, InterpolatedModel):
                coarse = model.coarse.internal_motion(self.parameters, normals)
                transformed = time.perf_counter()
                intensity = model.interpolated(coarse)
            else:
                intensity = model.internal_motion(self.parameters, normals)
                transformed = time.perf_counter()
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


def bench(path: Path | None, default: Path) -> dict[str, Any]:
    """Measure a config's model on this machine; a few minutes.

    Parameters
    ----------
    path : Path or None
        The config that the user named.
    default : Path
        The config to use otherwise; without that file, the built-in example.

    Returns
    -------
    dict
        Plain numbers, with units in their names.
    """
    config_path = choose_config(path, default)[0]
    case = Case(load_config(config_path))
    own = _own_cost(case)
    reference = _reference_cost(case)
    accuracy = _accuracy(case)
    result = own | reference | accuracy
    equal = accuracy["samples_at_equal_accuracy"]
    fixed = own["core_seconds_per_evaluation"] - own["core_seconds_transform"]
    if equal:
        cost = fixed + own["core_seconds_per_sample"] * equal
        result["ratio_at_equal_accuracy"] = (
            reference["reference_core_seconds_per_evaluation"] / cost
        )
    result["sgemm_gflops"] = _sgemm_rate()
    result |= _scaling(config_path)
    result |= _prediction(case, result)
    return result


def bench_text(result: dict[str, Any]) -> str:
    """The result as a table, one line for each number."""
    return "\n".join(f"{name:42s} {_number(value)}" for name, value in result.items())


def time_group() -> None:
    """What `bench` starts under mpirun: times evaluations of all ranks, prints JSON on rank 0."""
    group = world()
    case = group.from_root(lambda: Case(load_config(Path(sys.argv[1]))))
    evaluate = case.evaluation(group)
    evaluate()
    times = [evaluate() for _ in range(_REPEATS)]
    memory = group.gather(peak_memory_MB())
    if group.is_root:
        medians = {key: statistics.median(t[key] for t in times) for key in times[0]}
        print(json.dumps(medians | {"peak_memory_MB": max(memory)}))


def _own_cost(case: Case) -> dict[str, Any]:
    start = time.perf_counter()
    evaluate = case.evaluation(Ranks())
    setup = time.perf_counter() - start
    evaluate()
    times = [evaluate() for _ in range(_REPEATS)]
    median = {key: statistics.median(t[key] for t in times) for key in times[0]}
    samples = case.config.model.samples
    model = case.model(Ranks())
    grid, d_min = case.target.grid, case.target.d_min
    if isinstance(model, InterpolatedModel):
        grid, d_min = model.band.grid, model.band.d_min
    flops = 16.0 * len(case.modes.structure) * plane_costs(grid, d_min).sum()
    per_sample = median["transform"] / samples
    return {
        "atoms": len(case.modes.structure),
        "voxels": len(case.target.indices),
        "samples": samples,
        "setup_seconds": setup,
        "core_seconds_per_evaluation": median["total"],
        "core_seconds_per_sample": per_sample,
        "core_seconds_transform": median["transform"],
        "core_seconds_interpolation": median["interpolation"],
        "core_seconds_score": median["score"],
        "transform_gflops": flops / per_sample / 1e9,
    }


def _reference_cost(case: Case) -> dict[str, float]:
    structure = case.modes.structure
    centred = structure.positions - structure.positions.mean(axis=0)
    electrons = atomic_numbers(structure)
    voxel_A = case.target.d_min / 2
    moments = [np.zeros((CUBE,) * 3, np.complex64), np.zeros((CUBE,) * 3, np.float32)]
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        reference_sample(centred, electrons, voxel_A, moments)
        times.append(time.perf_counter() - start)
    per_sample = statistics.median(times)
    return {
        "reference_core_seconds_per_sample": per_sample,
        "reference_core_seconds_per_evaluation": per_sample * SAMPLES,
    }


def _accuracy(case: Case) -> dict[str, Any]:
    """1 − CC against the closed form, at random voxels on a few planes of the target."""
    rng = np.random.default_rng(1)
    indices = case.target.indices
    planes = np.unique(indices[:, 0])
    planes = rng.choice(planes, min(8, len(planes)), replace=False)
    rows = np.flatnonzero(np.isin(indices[:, 0], planes))
    part = case.target.at(np.sort(rng.choice(rows, min(_VOXELS, len(rows)), replace=False)))
    exact = _closed_form(case, part)
    shells = part.shells()

    def error(calculated: np.ndarray) -> float:
        return 1 - pooled_cc(correlation_sums(calculated, exact, None, shells, part.n_shells))

    errors = {n: error(_evaluated(case, part, n)) for n in _SAMPLES_TRIED}
    reference = error(_plain_monte_carlo(case, part))
    enough = [n for n, e in errors.items() if e <= reference]
    return {
        "error": error(_evaluated(case, part, case.config.model.samples)),
        "reference_error": reference,
        "error_by_samples": errors,
        "samples_at_equal_accuracy": min(enough) if enough else None,
    }


def _closed_form(case: Case, part: Target) -> np.ndarray:
    structure = case.modes.structure
    amplitudes = case.parameters.mode_amplitudes_A
    factors = form_factors(structure.elements, part.grid.inverse_d_squared(part.indices))
    hkl = part.indices / np.array(part.grid.divisions)
    return pair_sum_intensity(
        structure.positions,
        factors * structure.occupancies,
        hkl @ fractionalization(case.modes.unit_cell),
        amplitudes[:, None, None] * case.modes.vectors,
        case.parameters.disorder,
    )


def _evaluated(case: Case, part: Target, n_samples: int) -> np.ndarray:
    normals = case.normals("sobol", n_samples, len(case.parameters.mode_amplitudes_A))
    model = DirectModel(case.modes, part.grid, part.indices, Ranks())
    return model.internal_motion(case.parameters, normals)


def _plain_monte_carlo(case: Case, part: Target) -> np.ndarray:
    """The reference's sampling at its best: exact transforms, 1000 plain random samples.

    Translation is sampled as three more modes that move all atoms alike.
    """
    n_atoms = len(case.modes.structure)
    rigid = np.repeat(np.eye(3)[:, None, :], n_atoms, axis=1)
    modes = replace(
        case.modes,
        vectors=np.concatenate([case.modes.vectors, rigid]),
        amplitudes_A=np.concatenate([case.modes.amplitudes_A, np.zeros(3)]),
    )
    disorder = case.parameters.disorder
    amplitudes = np.append(case.parameters.mode_amplitudes_A, [disorder.translation_sigma_A] * 3)
    normals = case.normals("random", SAMPLES, len(amplitudes), 1)
    model = DirectModel(modes, part.grid, part.indices, Ranks())
    still = Disorder(0.0, disorder.uncorrelated_sigma_A)
    return model.internal_motion(Parameters(amplitudes, still), normals)


def _sgemm_rate() -> float:
    a, b = np.ones((2, 1024, 1024), np.float32)
    a @ b
    start = time.perf_counter()
    for _ in range(10):
        a @ b
    return 10 * 2 * 1024**3 / (time.perf_counter() - start) / 1e9


def _scaling(config_path: Path) -> dict[str, Any]:
    """Wall time of an evaluation on 1, 2, ... ranks, as many as there are cores (at most 8)."""
    beside = Path(sys.executable).parent / "mpirun"
    mpirun = str(beside) if beside.exists() else shutil.which("mpirun")
    cores = len(os.sched_getaffinity(0))
    ranks = [1, *(n for n in (2, 4, 8) if n <= cores and mpirun)]
    measured = {n: _on_ranks(n, mpirun, config_path) for n in ranks}
    result: dict[str, Any] = {
        "wall_seconds_by_ranks": {n: m["total"] for n, m in measured.items()},
        "peak_memory_MB_per_rank": {n: m["peak_memory_MB"] for n, m in measured.items()},
    }
    if 2 in measured:
        two = measured[2]
        result["speedup_2_ranks"] = measured[1]["total"] / two["total"]
        result["communication_and_scoring_share_2_ranks"] = 1 - two["transform"] / two["total"]
    return result


def _on_ranks(n: int, mpirun: str | None, config_path: Path) -> dict[str, float]:
    code = "from hpc_diffuser.bench import time_group; time_group()"
    launcher = [mpirun, "-n", str(n)] if n > 1 and mpirun else []
    threads = {f"{name}_NUM_THREADS": "1" for name in ("NUMBA", "OMP", "OPENBLAS", "MKL")}
    done = subprocess.run(
        [*launcher, sys.executable, "-c", code, str(config_path)],
        env=os.environ | threads,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def _prediction(case: Case, result: dict[str, Any]) -> dict[str, Any]:
    search = case.config.search
    core_hours = search.restarts * search.evaluations * result["core_seconds_per_evaluation"] / 3600
    return {
        "predicted_core_hours_of_the_fit": core_hours,
        "predicted_wall_hours_by_ranks": {n: core_hours / n for n in (1, 8, 64)},
    }


def _number(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{key}: {_number(entry)}" for key, entry in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
