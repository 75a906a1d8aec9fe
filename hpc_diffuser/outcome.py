"""What a run leaves behind: the summary, and the map at the median with its scores."""

import math
import time
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from hpc_diffuser.config import Config
from hpc_diffuser.disorder import Disorder
from hpc_diffuser.io.maps import write_map
from hpc_diffuser.io.run_directory import input_hashes, read_convergence, read_histories
from hpc_diffuser.io.storage import write_json
from hpc_diffuser.memory import peak_memory_MB
from hpc_diffuser.model import Comparison, ForwardModel, Score, collect
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parameters import Parameters
from hpc_diffuser.problem import FINAL, Problem, compare
from hpc_diffuser.summary import summarise
from hpc_diffuser.target import Target, map_from_voxels


def objective(score: Score) -> float:
    """1 − CC_work; a map without any variation, whose CC is undefined, counts as CC = 0."""
    return 1.0 - score.cc_work if math.isfinite(score.cc_work) else 1.0


def write_summary(problem: Problem, outcome: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write summary.json from the checkpoints, with the final map's scores where there are any."""
    config = problem.config
    histories = read_histories(config.run.directory, config.search.restarts)
    summary = summarise(problem.space, histories, config.search.restarts, config.search.evaluations)
    summary["source_mode_amplitude_A"] = [float(a) for a in problem.modes.amplitudes_A]
    sampled = read_convergence(config.run.directory)
    summary["sampling"] = asdict(sampled) if sampled else None
    summary |= outcome or {}
    write_json(config.run.directory / "summary.json", summary)
    return summary


def finish(problem: Problem, world: Ranks, started: float, share: float | None) -> dict[str, Any]:
    """The final map at the median, by all ranks together; the complete summary."""
    summary = world.from_root(lambda: write_summary(problem))
    model, comparison = compare(problem, world)
    median = summary["median"]
    parameters = Parameters(
        np.array(median["mode_amplitude_A"]),
        Disorder(median["translation_sigma_A"], median["uncorrelated_sigma_A"]),
    )
    normals = problem.normals(problem.config.model.final_samples, FINAL)
    intensity = model.internal_motion(parameters, normals)
    score = comparison.score(intensity)
    translation, baseline = _translation_alone(problem, model, comparison)
    values = collect(model, intensity, len(problem.target.indices))
    peak_memory = world.gather(peak_memory_MB())

    def save() -> dict[str, Any]:
        _write_calculated(problem, values)
        outcome = {
            "cc_work": _plain(score.cc_work),
            "cc_free": _plain(score.cc_free),
            "translation_alone": {
                "translation_sigma_A": translation,
                "cc_work": _plain(baseline.cc_work),
                "cc_free": _plain(baseline.cc_free),
            },
            "shells": _shells(problem.target, score, baseline),
            "last_session": {
                "ranks": world.size,
                "wall_s": round(time.monotonic() - started, 1),
                "optimiser_share": None if share is None else round(share, 4),
                "peak_memory_MB_per_rank": round(max(peak_memory)),
            },
        }
        return write_summary(problem, outcome)

    return world.from_root(save)


def _translation_alone(
    problem: Problem, model: ForwardModel, comparison: Comparison
) -> tuple[float, Score]:
    """Rigid-body translation without modes, at its best sigma in the range: the baseline.

    Every rank runs the same one-dimensional search in step, on scores that all of them have.
    """
    low, high = problem.space.low[-2], problem.space.high[-2]

    def score(sigma_A: float) -> Score:
        return comparison.score(model.rigid(Disorder(translation_sigma_A=float(sigma_A))))

    best = float(low)
    if low < high:
        found = minimize_scalar(
            lambda sigma: objective(score(sigma)),
            bounds=(low, high),
            method="bounded",
            options={"xatol": 1e-3},
        )
        best = float(found.x)
    return best, score(best)


def _write_calculated(problem: Problem, values: np.ndarray) -> None:
    config = problem.config
    provenance = {"command": "hpc-diffuser fit", "config": _config_text(config)}
    provenance |= {f"sha256 {key}": digest for key, digest in input_hashes(config).items()}
    path = config.run.directory / "calculated.h5"
    target = problem.target
    diffuse = map_from_voxels(target.grid, target.indices, values, target.space_group)
    write_map(path, diffuse, provenance)


def _config_text(config: Config) -> str:
    return (config.run.directory / "config.toml").read_text(encoding="utf-8")


def _shells(target: Target, score: Score, baseline: Score) -> list[dict[str, float | None]]:
    edges = target.shell_edges
    return [
        {
            "d_max": float(1 / edges[i]) if edges[i] > 0 else None,
            "d_min": float(1 / edges[i + 1]),
            "cc": _plain(score.shells_work[i]),
            "cc_free": _plain(score.shells_free[i]),
            "cc_translation": _plain(baseline.shells_work[i]),
            "cc_free_translation": _plain(baseline.shells_free[i]),
        }
        for i in range(target.n_shells)
    ]


def _plain(value: float) -> float | None:
    """A JSON number; None where a CC is undefined."""
    return float(value) if math.isfinite(value) else None
