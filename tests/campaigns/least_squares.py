"""Closed loops of least squares: known weights, a noisy map, and how soon they are found again.

    python tests/campaigns/least_squares.py --modes 10 30 100 --total 0.4 --noise 0.1 0.3
    python tests/campaigns/least_squares.py --modes 10 --method bayesian

Network modes of the built-in four-helix bundle. The map is made of as many Sobol points as
`--exact` says, other ones than any fit's. Of each restart: its evaluations, those that began a
stage, and the errors of the weights that carry 90 % of the variance; core seconds are of this
process. Then the same of the restarts' median, which a fit would take.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from hpc_diffuser.commands.examples.four_helices import UNIT_CELL
from hpc_diffuser.commands.examples.protein import build_protein
from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.fit.config import parse_config
from hpc_diffuser.fit.problem import compare, load_problem
from hpc_diffuser.fit.refinement import RestartSearch
from hpc_diffuser.fit.search.history import History
from hpc_diffuser.io.maps.native import write_target
from hpc_diffuser.io.modes_file import write_modes
from hpc_diffuser.maps.noise import with_noise
from hpc_diffuser.maps.target import make_target
from hpc_diffuser.maps.target_options import TargetOptions
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.elastic_network import elastic_network_modes
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parallel.task_queue import dealer
from hpc_diffuser.scattering.model import forward_model, whole_map
from hpc_diffuser.scattering.molecule import Computation

TRANSLATION_A = 0.4
HEAD = "modes  noise  restart  evaluations  stages       median  largest  σ_t (Å)  CC_free  core s"
CONFIG = """
[structure]
modes = "modes.h5"
[target]
file = "target.h5"
[parameters]
mode_amplitude_A = [0.0, HIGH]
translation_sigma_A = [0.05, 0.9]
[model]
samples = SAMPLES
[search]
method = "METHOD"
evaluations = EVALUATIONS
"""


def main() -> None:
    """Print a row for each restart."""
    given = arguments()
    print(
        "modes  noise  restart  evaluations  stages       median  largest  σ_t (Å)  CC_free  core s"
    )
    for n_modes in given.modes:
        for noise in given.noise:
            with tempfile.TemporaryDirectory() as folder:
                closed_loop(Path(folder), n_modes, noise, given)


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modes", type=int, nargs="+", default=[10])
    parser.add_argument("--noise", type=float, nargs="+", default=[0.1])
    parser.add_argument("--total", type=float, default=0.4, help="rms of all modes, Å")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--exact", type=int, default=16384)
    parser.add_argument("--d-min", type=float, default=3.0)
    parser.add_argument("--restarts", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--method", default="least-squares")
    parser.add_argument("--evaluations", type=int, default=100)
    return parser.parse_args()


def closed_loop(folder: Path, n_modes: int, noise: float, given: argparse.Namespace) -> None:
    """One target, and a row for each restart's search for it."""
    true_A = write_inputs(folder, n_modes, noise, given)
    high = f"{max(2.5 * true_A.max(), 0.1):.3f}"
    values = {"HIGH": high, "SAMPLES": given.samples, "METHOD": given.method}
    text = CONFIG.replace("EVALUATIONS", str(given.evaluations))
    for name, value in values.items():
        text = text.replace(name, str(value))
    problem = load_problem(parse_config(text, folder))
    model, comparison = compare(problem, Ranks())
    found = []
    for restart in given.restarts:
        began, kept = time.process_time(), {}
        deal = dealer(Ranks(), [0], [restart], lambda report: None)
        RestartSearch(problem, Ranks(), deal, kept.__setitem__).run_all({})
        seconds, history = time.process_time() - began, kept[restart]
        point = problem.space.parameters(history.points[history.best])
        final = model.internal_motion(point, problem.normals(4096, 2))
        cc_free = comparison.score(final).cc_free
        found.append(history.points[history.best])
        print(
            f"{n_modes:5d}  {noise:5.2f}  {restart:7d}  {len(history):11d}  {stages(history):11s}  "
            f"{errors(found[-1], true_A)}  {cc_free:7.4f}  {seconds:6.0f}",
            flush=True,
        )
    median = np.median(found, axis=0)
    print(f"{n_modes:5d}  {noise:5.2f}  the median of all{'':17s}{errors(median, true_A)}")


def write_inputs(folder: Path, n_modes: int, noise: float, given: argparse.Namespace) -> np.ndarray:
    """Modes and a target; the true weights (M,), Å."""
    structure, d_min = build_protein(), given.d_min
    vectors, amplitudes_A = elastic_network_modes(structure, n_modes)
    modes = Modes(structure, vectors, amplitudes_A, UNIT_CELL, "P 1")
    true_A = amplitudes_A * given.total / np.linalg.norm(amplitudes_A)
    grid = grid_to_resolution(UNIT_CELL, (3, 3, 3), d_min)
    indices = grid.indices_between(10.0, d_min)
    model = forward_model(modes, grid, indices, Ranks(), Computation(motion_A=given.total))
    normals = normal_samples("sobol", given.exact, n_modes, generator(99))
    truth = Parameters(true_A, Disorder(translation_sigma_A=TRANSLATION_A))
    exact = whole_map(model, modes, grid, indices, model.internal_motion(truth, normals))
    noisy = with_noise(exact, noise, d_min, generator(7)) if noise else exact
    options = TargetOptions(d_max_A=10.0, d_min_A=d_min, n_shells=10)
    write_modes(folder / "modes.h5", modes, {})
    write_target(folder / "target.h5", make_target(noisy, options), {})
    return true_A


def stages(history: History) -> str:
    """The evaluations that began one, and whether the search ended of itself."""
    return ",".join(map(str, history.stage_starts)) + ("" if history.ended else " not ended")


def errors(point: np.ndarray, true_A: np.ndarray) -> str:
    """Those of the weights that carry 90 % of the variance, and the translation."""
    order = np.argsort(-true_A)
    n_large = int(np.searchsorted(np.cumsum(true_A[order] ** 2) / np.sum(true_A**2), 0.9)) + 1
    large = order[:n_large]
    off = np.abs(point[large] / true_A[large] - 1)
    return f"{np.median(off):6.4f}  {off.max():7.4f}  {point[len(true_A)]:7.4f}"


if __name__ == "__main__":
    main()
