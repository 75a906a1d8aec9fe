"""What an evaluation costs by each estimator, and how exact it is, beside the reference's.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1 \\
        python tests/campaigns/evaluation_cost.py bench.toml --modes 10

An evaluation is all that a search does for a point: moments, interpolation, score. Its error is
1 − CC with the pair sum at 1000 random voxels, medians of three, as `bench` has it; the reference
draws 1000 plain samples, of three transforms each.
"""

import argparse
import statistics
import time
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np

from hpc_diffuser.commands.benchmark import (
    _VOXELS,
    Case,
    _closed_form,
    _reference_cost,
    _translation_sampled,
)
from hpc_diffuser.fit.config import load_config
from hpc_diffuser.fit.scoring import Comparison
from hpc_diffuser.maps.statistics import correlation_sums, pooled_cc
from hpc_diffuser.parallel.communicator import Ranks

REPEATS = 3
WAYS = (
    ("one-phonon", (1,)),
    ("control-variate", (16, 32, 64)),
    ("sampled", (64, 128, 256)),
)


def case_of(config: Path, n_modes: int) -> Case:
    """The config's case with so many of its modes."""
    loaded = load_config(config)
    loaded = replace(loaded, structure=replace(loaded.structure, n_modes=n_modes))
    return Case(loaded)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--modes", type=int, default=10)
    options = parser.parse_args()
    case = case_of(options.config, options.modes)
    rng = np.random.default_rng(1)
    rows = np.sort(rng.choice(len(case.target.indices), _VOXELS, replace=False))
    part = case.target.at(rows)
    exact, shells = _closed_form(case, part), part.shells()

    def error(model, of, kind: str, n_samples: int) -> float:
        found = []
        for repeat in range(REPEATS):
            normals = of.normals(kind, n_samples, 1, repeat)
            calculated = model.internal_motion(of.parameters, normals)[rows]
            sums = correlation_sums(calculated, exact, None, shells, part.n_shells)
            found.append(1 - pooled_cc(sums))
        return statistics.median(found)

    reference = _reference_cost(case)["reference_core_seconds_per_evaluation"]
    plain = _translation_sampled(case)
    plain.how = replace(plain.how, estimator="sampled")
    rms_A = float(np.sqrt(np.square(case.parameters.mode_amplitudes_A).sum()))
    print(f"{options.modes} modes, {rms_A:.3f} Å in all, {len(case.target.indices)} voxels")
    exactness = error(plain.model(Ranks()), plain, "random", 1000)
    print(f"{'reference':16s} 1000  {reference:9.3f} core-s  1 - CC {exactness:.1e}")
    for estimator, numbers in WAYS:
        of = copy(case)
        of.how = replace(case.how, estimator=estimator)
        model, target = of.model(Ranks()), of.config.target
        comparison = Comparison(of.target, model, target.cc_rule, target.weights)
        for n in numbers:
            times = [seconds(of, model, comparison, n, i) for i in range(REPEATS + 1)][1:]
            cost, exactness = statistics.median(times), error(model, of, "sobol", n)
            print(
                f"{estimator:16s} {n:4d}  {cost:9.3f} core-s  1 - CC {exactness:.1e}  "
                f"{reference / cost:7.0f} times less",
                flush=True,
            )


def seconds(case: Case, model, comparison: Comparison, n_samples: int, number: int) -> float:
    """Of an evaluation at a point that no moments are known of; processor time of one thread."""
    amplitudes = case.parameters.mode_amplitudes_A * (1 + 1e-6 * number)
    parameters = replace(case.parameters, mode_amplitudes_A=amplitudes)
    normals = case.normals("sobol", n_samples, number)
    began = time.process_time()
    comparison.score(model.internal_motion(parameters, normals))
    return time.process_time() - began


if __name__ == "__main__":
    main()
