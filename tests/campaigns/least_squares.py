"""Closed loops of least squares: known weights, a noisy map, and how soon they are found again.

    python tests/campaigns/least_squares.py --modes 10 30 100 --total 0.4 --noise 0.1 0.3
    python tests/campaigns/least_squares.py --modes 10 --method bayesian
    python tests/campaigns/least_squares.py --trajectory ../shared/data/lysozyme --modes 10 \\
        --d-max 3.3 --d-min 1.6 --oversampling 7
    mpirun -n 3 python tests/campaigns/least_squares.py --modes 300 --keep work --restarts 2

Network modes of the built-in four-helix bundle, or principal components of a trajectory: of a
folder with `trajectory.xtc`, `topology.pdb` and `6o2h.pdb`. The map is made of as many Sobol points
as `--exact` says, other ones than any fit's. Of each restart: its evaluations, those that began a
stage, the errors of the weights that carry 90 % of the variance, and what CC_free is less than that
of the true weights; core seconds are of this process. Then the same of the restarts' median, which
a fit would take, and how far apart the restarts are in those weights. `--keep` keeps the map, which
is one, and each restart as it goes: they can be made side by side, or on, and told of together.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from hpc_diffuser.commands.examples.four_helices import UNIT_CELL
from hpc_diffuser.commands.examples.protein import build_protein
from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.fit.config import parse_config
from hpc_diffuser.fit.problem import Problem, compare, load_problem
from hpc_diffuser.fit.refinement import RestartSearch
from hpc_diffuser.fit.run.checkpoints import read_checkpoint, write_checkpoint
from hpc_diffuser.fit.scoring import Comparison
from hpc_diffuser.fit.search.history import History
from hpc_diffuser.io.maps.native import read_map, write_map, write_target
from hpc_diffuser.io.modes_file import write_modes
from hpc_diffuser.io.modes_from_files import modes_from_trajectory
from hpc_diffuser.io.trajectories.given import TrajectoryFiles
from hpc_diffuser.maps.noise import with_noise
from hpc_diffuser.maps.target import make_target
from hpc_diffuser.maps.target_options import TargetOptions
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.elastic_network import elastic_network_modes
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks, world
from hpc_diffuser.parallel.task_queue import dealer
from hpc_diffuser.scattering.collecting import whole_map
from hpc_diffuser.scattering.model import ForwardModel, forward_model
from hpc_diffuser.scattering.molecule import Computation

TRANSLATION_A = 0.4
FINAL = 1024  # points of the maps that CC_free is of
HEAD = (
    "modes  noise  restart  evaluations  stages       median  largest  σ_t (Å)  CC_free     less"
    "  core s"
)
CONFIG = """
[structure]
modes = "modes.h5"
[target]
file = "target.h5"
[parameters]
mode_amplitude_A = [0.0, HIGH]
translation_sigma_A = [0.05, 0.9]
[model]
estimator = "ESTIMATOR"
samples = SAMPLES
[search]
method = "METHOD"
evaluations = EVALUATIONS
"""


def main() -> None:
    """Print a row for each restart."""
    given, ranks = arguments(), world()
    tell = partial(print, flush=True) if ranks.is_root else lambda line: None
    tell(HEAD)
    for n_modes in given.modes:
        exact = Exact(source(n_modes, given.trajectory), given)
        for noise in given.noise:
            with tempfile.TemporaryDirectory() as folder:
                closed_loop(Path(folder), exact, noise, given, ranks, tell)


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trajectory", type=Path, help="folder of a trajectory and its crystal")
    parser.add_argument("--modes", type=int, nargs="+", default=[10])
    parser.add_argument("--noise", type=float, nargs="+", default=[0.1])
    parser.add_argument("--total", type=float, default=0.4, help="rms of all modes, Å")
    parser.add_argument("--estimator", default="sampled")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--exact", type=int, default=16384)
    parser.add_argument("--d-max", type=float, default=10.0)
    parser.add_argument("--d-min", type=float, default=3.0)
    parser.add_argument("--oversampling", type=int, default=3)
    parser.add_argument("--restarts", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--method", nargs="+", default=["least-squares"])
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--keep", type=Path, help="folder of the map and of what was found")
    return parser.parse_args()


class Exact:
    """A map of modes without noise, and their true weights (M,), Å."""

    def __init__(self, modes: Modes, given: argparse.Namespace):
        self.modes, d_min = modes, given.d_min
        self.true_A = modes.amplitudes_A * given.total / np.linalg.norm(modes.amplitudes_A)
        kept = given.keep and given.keep / f"exact-{len(modes.amplitudes_A)}.nxs"
        if kept and kept.exists():
            self.map = read_map(kept)
            return
        grid = grid_to_resolution(modes.unit_cell, (given.oversampling,) * 3, d_min)
        indices = grid.indices_between(given.d_max, d_min)
        model = forward_model(modes, grid, indices, Ranks(), Computation(motion_A=given.total))
        normals = normal_samples("sobol", given.exact, len(self.true_A), generator(99))
        truth = Parameters(self.true_A, Disorder(translation_sigma_A=TRANSLATION_A))
        values = model.internal_motion(truth, normals)
        self.map = whole_map(model, modes, grid, indices, values)
        if kept:
            given.keep.mkdir(exist_ok=True)
            write_map(kept, self.map, {})

    def write(self, folder: Path, noise: float, given: argparse.Namespace) -> None:
        """Modes and a target."""
        noisy = with_noise(self.map, noise, given.d_min, generator(7)) if noise else self.map
        options = TargetOptions(d_max_A=given.d_max, d_min_A=given.d_min, n_shells=10)
        write_modes(folder / "modes.h5", self.modes, {})
        write_target(folder / "target.h5", make_target(noisy, options), {})


def closed_loop(
    folder: Path,
    exact: Exact,
    noise: float,
    given: argparse.Namespace,
    ranks: Ranks,
    tell: Callable[[str], None],
) -> None:
    """One target, and a row for each restart's search for it."""
    exact.write(folder, noise, given)
    true_A, n_modes = exact.true_A, len(exact.true_A)
    for method in given.method:
        problem = load_problem(parse_config(config(true_A, method, given), folder))
        model, comparison = compare(problem, ranks)
        truth = cc_free(problem, model, comparison, np.append(true_A, TRANSLATION_A))
        tell(f"{n_modes:5d}  {noise:5.2f}  truth: CC_free {truth:.4f}; by {method}:")
        found = []
        for restart in given.restarts:
            kept = given.keep and given.keep / f"{n_modes}-{noise}-{method}-{restart}.h5"
            history, seconds = searched(problem, restart, kept, ranks)
            found.append(history.points[history.best])
            free = cc_free(problem, model, comparison, found[-1])
            tell(
                f"{n_modes:5d}  {noise:5.2f}  {restart:7d}  {len(history):11d}  "
                f"{stages(history):11s}  {errors(found[-1], true_A)}  {free:7.4f}  "
                f"{truth - free:7.4f}  {seconds:6.0f}"
            )
        tell(of_all(np.array(found), true_A))


def config(true_A: np.ndarray, method: str, given: argparse.Namespace) -> str:
    """The fit's, with ranges that go well beyond the truth."""
    values = {
        "HIGH": f"{max(2.5 * true_A.max(), 0.1):.3f}",
        "ESTIMATOR": given.estimator,
        "SAMPLES": given.samples,
        "METHOD": method,
        "EVALUATIONS": given.evaluations,
    }
    text = CONFIG
    for name, value in values.items():
        text = text.replace(name, str(value))
    return text


def source(n_modes: int, trajectory: Path | None) -> Modes:
    """Modes of the trajectory in a folder; without one those of the bundle's network."""
    if trajectory is None:
        structure = build_protein()
        return Modes(structure, *elastic_network_modes(structure, n_modes), UNIT_CELL, "P 1")
    files = [trajectory / name for name in ("trajectory.xtc", "topology.pdb", "6o2h.pdb")]
    return modes_from_trajectory(TrajectoryFiles(*files), n_modes, lambda line: None)


def searched(
    problem: Problem, restart: int, kept: Path | None, ranks: Ranks
) -> tuple[History, float]:
    """A restart to its end, from where it was kept, and this session's core seconds."""
    began = time.process_time()
    found = {restart: read_checkpoint(kept)} if kept and kept.exists() else {}

    def keep(restart: int, history: History) -> None:
        found[restart] = history
        if kept:
            write_checkpoint(kept, history)

    deal = dealer(ranks, [0], [restart], lambda report: None)
    RestartSearch(problem, ranks, deal, keep).run_all(dict(found))
    seconds = ranks.gather_to_all(time.process_time() - began)
    return ranks.broadcast(found.get(restart)), sum(seconds)


def cc_free(
    problem: Problem, model: ForwardModel, comparison: Comparison, point: np.ndarray
) -> float:
    """Of a point's map, always from the same sample points."""
    parameters = problem.space.parameters(point)
    intensity = model.internal_motion(parameters, problem.normals(FINAL, 2))
    return float(comparison.score(intensity).cc_free)


def stages(history: History) -> str:
    """The evaluations that began one, and whether the search ended of itself."""
    return ",".join(map(str, history.stage_starts)) + ("" if history.ended else " not ended")


def carrying(true_A: np.ndarray) -> np.ndarray:
    """Which weights carry 90 % of the variance."""
    order = np.argsort(-true_A)
    share = np.cumsum(true_A[order] ** 2) / np.sum(true_A**2)
    return order[: int(np.searchsorted(share, 0.9)) + 1]


def errors(point: np.ndarray, true_A: np.ndarray) -> str:
    """Those of the weights that carry 90 % of the variance, and the translation."""
    large = carrying(true_A)
    off = np.abs(point[large] / true_A[large] - 1)
    return f"{np.median(off):6.4f}  {off.max():7.4f}  {point[len(true_A)]:7.4f}"


def of_all(found: np.ndarray, true_A: np.ndarray) -> str:
    """The restarts' median, and how far apart they are."""
    large = carrying(true_A)
    apart = np.ptp(found[:, large], axis=0) / true_A[large]
    median = errors(np.median(found, 0), true_A)
    return (
        f"of {len(large)} weights: the median of all{'':14s}{median}\n"
        f"    apart: median {np.median(apart):.4f}, largest {apart.max():.4f}"
    )


if __name__ == "__main__":
    main()
