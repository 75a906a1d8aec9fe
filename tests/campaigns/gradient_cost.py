"""Not a test: what the exact gradient costs beside an evaluation, and how exact it is.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1 \\
        python tests/campaigns/gradient_cost.py bench.toml --modes 10 100

CPU time of one process, medians of three: of an evaluation with new sample points, and of the
evaluation and its gradient by all modes and the translation together. With --direct, the gradient
by the sum over atoms, of some samples, beside that of the density, and differences of both.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from hpc_diffuser.commands.benchmark import Case
from hpc_diffuser.fit.config import load_config
from hpc_diffuser.fit.results import objective
from hpc_diffuser.fit.scoring import Comparison
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.slopes import with_number
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import ForwardModel, forward_model

NAMES = ("mode_amplitude_A", "translation_sigma_A")


def with_modes(case: Case, n_modes: int) -> tuple[Modes, Parameters]:
    """So many smooth fields more than the file has, 0.28 Å in all, in place of its own."""
    modes, rng = case.modes, np.random.default_rng(1)
    n_atoms, n_new = len(modes.structure), max(0, n_modes - len(modes.vectors))
    waves, phases = rng.normal(0, 0.1, (n_new, 3)), rng.uniform(0, 6, (n_new, 1))
    centred = modes.structure.positions - modes.structure.positions.mean(axis=0)
    new = np.cos(waves @ centred.T + phases)[..., None] * rng.normal(size=(n_new, 1, 3))
    new *= np.sqrt(n_atoms / np.sum(new**2, axis=(1, 2)))[:, None, None]
    vectors = np.concatenate([modes.vectors, new])[:n_modes]
    amplitudes = np.full(n_modes, 0.28 / np.sqrt(n_modes))
    more = replace(modes, vectors=vectors, amplitudes_A=amplitudes)
    return more, Parameters(amplitudes, case.parameters.disorder)


def value_and_gradient(
    model: ForwardModel, comparison: Comparison, parameters: Parameters, normals: np.ndarray
) -> np.ndarray:
    """The objective's gradient, all parameters in a row."""
    _, slope = comparison.slope(model.internal_motion(parameters, normals))
    found = model.gradient(parameters, normals, slope, NAMES)
    return np.concatenate([found[name] for name in NAMES])


def cpu_seconds(work) -> float:
    """Of one call."""
    started = time.process_time()
    work()
    return time.process_time() - started


def measure_cost(case: Case, n_modes: int, samples: int) -> None:
    """Print seconds and their ratio."""
    modes, parameters = with_modes(case, n_modes)
    target = case.target
    model = forward_model(modes, target.grid, target.indices, Ranks(), case.how)
    comparison = Comparison(target, model, case.config.target.cc_rule, "none")
    rng = np.random.default_rng(2)
    draws = [rng.normal(size=(samples, n_modes)) for _ in range(8)]
    value_and_gradient(model, comparison, parameters, draws.pop())
    values, both = [], []
    for _ in range(3):
        one, other = draws.pop(), draws.pop()
        values.append(
            cpu_seconds(lambda z=one: comparison.score(model.internal_motion(parameters, z)))
        )
        both.append(
            cpu_seconds(lambda z=other: value_and_gradient(model, comparison, parameters, z))
        )
    value, whole = np.median(values), np.median(both)
    print(
        f"{n_modes} modes, {samples} samples: evaluation {value:.2f} s, "
        f"with gradient {whole:.2f} s, {whole / value:.2f} times",
        flush=True,
    )


def measure_error(case: Case, samples: int) -> None:
    """Print the gradient by both transforms, and differences of the objective of each."""
    modes, parameters = with_modes(case, 10)
    target = case.target.at(case.target.indices[:, 0] % 7 == 3)
    normals = np.random.default_rng(3).normal(size=(samples, 10))
    found = {}
    for transform in ("direct", "density"):
        how = replace(case.how, transform=transform)
        model = forward_model(modes, target.grid, target.indices, Ranks(), how)
        comparison = Comparison(target, model, case.config.target.cc_rule, "none")
        found[transform] = value_and_gradient(model, comparison, parameters, normals)
        print(transform, found[transform], flush=True)

        def at(place: int, value: float, model=model, comparison=comparison) -> float:
            moved = with_number(parameters, "mode_amplitude_A", place, value)
            return objective(comparison.score(model.internal_motion(moved, normals)))

        for place in (0, 9):
            h, value = 0.005, float(parameters.mode_amplitudes_A[place])
            two = [at(place, value + s * h) - at(place, value - s * h) for s in (1, 2)]
            slope = (8 * two[0] - two[1]) / (12 * h)
            print(f"  mode {place + 1} by differences: {slope / found[transform][place] - 1:+.1e}")
    scale = np.linalg.norm(found["direct"][:10]) / np.sqrt(10)
    print("density - direct, of the modes' rms:", (found["density"] - found["direct"])[:10] / scale)


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--modes", type=int, nargs="*", default=[10, 100])
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--direct", type=int, default=0, metavar="SAMPLES")
    args = parser.parse_args()
    case = Case(load_config(args.config))
    for n_modes in args.modes:
        measure_cost(case, n_modes, args.samples)
    if args.direct:
        measure_error(case, args.direct)


if __name__ == "__main__":
    main()
