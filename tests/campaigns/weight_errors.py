"""Not a test: what limits weights that least squares finds, the sample points or the map's noise.

    python tests/campaigns/weight_errors.py --modes 100 --oversampling 3 5 7

Network modes of the built-in four-helix bundle at their true weights. Without noise, where a step
from there leads is the error of the sample points of a stage; what it leads elsewhere by with
noise, from the same points, is that of the noise. Median and largest of the weights that carry
90 % of the variance.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from least_squares import TRANSLATION_A, Exact, carrying, config, source

from hpc_diffuser.fit.config import parse_config
from hpc_diffuser.fit.problem import compare, load_problem
from hpc_diffuser.fit.search.least_squares import times_more
from hpc_diffuser.fit.search.trial_step import bounded_step
from hpc_diffuser.fit.stepping.steps import Steps
from hpc_diffuser.parallel.communicator import Ranks

SAMPLES, RESTART = 128, 2
NOISES = (0.1, 0.3)


def main() -> None:
    """Print a row for each source of error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modes", type=int, default=100)
    parser.add_argument("--total", type=float, default=0.5)
    parser.add_argument("--oversampling", type=int, nargs="+", default=[3])
    parser.add_argument("--d-min", type=float, default=2.5)
    parser.add_argument("--exact", type=int, default=16384)
    given = parser.parse_args()
    vars(given).update(d_max=10.0, samples=SAMPLES, evaluations=1, estimator="sampled")
    modes = source(given.modes, None)
    for oversampling in given.oversampling:
        given.oversampling = oversampling
        rows(Exact(modes, given), given)


def rows(exact: Exact, given: argparse.Namespace) -> None:
    """Of one map."""
    which = f"{given.oversampling} samples a unit to {given.d_min} Å"
    for estimator in ("sampled", "control-variate"):
        given.estimator = estimator
        for stage in (1, 2):
            found = step(exact, 0.0, stage, given)
            print(f"{which}, {SAMPLES * times_more(stage)} points, {estimator}: {text(found)}")
    given.estimator = "sampled"
    without = step(exact, 0.0, 1, given)
    for noise in NOISES:
        found = step(exact, noise, 1, given) - without
        print(f"{which}, {100 * noise:.0f} % noise: {text(found)}", flush=True)


def step(exact: Exact, noise: float, stage: int, given: argparse.Namespace) -> np.ndarray:
    """From the true weights, where a stage's step leads: relative to those that carry."""
    with tempfile.TemporaryDirectory() as folder:
        exact.write(Path(folder), noise, given)
        text = config(exact.true_A, "least-squares", given)
        problem = load_problem(parse_config(text, Path(folder)))
    model, comparison = compare(problem, Ranks())
    point = np.append(exact.true_A, TRANSLATION_A)
    about = Steps(problem, model, comparison, lambda: None).of_map(point, RESTART, stage)
    assert about is not None
    anywhere = np.full(len(point), np.inf)
    phi = bounded_step(about.gradient, about.matrix, 0.0, -anywhere, anywhere)
    return (phi / (2 * point**2))[carrying(exact.true_A)]


def text(relative: np.ndarray) -> str:
    """Median and largest, in per cent."""
    return f"{100 * np.median(abs(relative)):.2f} %, largest {100 * abs(relative).max():.1f} %"


if __name__ == "__main__":
    main()
