"""Closed loop of frame weights: a map of some frames of a trajectory, and which fits find in it.

    python tests/campaigns/frame_weights.py ../shared/data/lysozyme OUT
    python tests/campaigns/frame_weights.py ../shared/data/lysozyme OUT --every 2
    python tests/campaigns/frame_weights.py ../shared/data/lysozyme OUT --lbfgs 71

Of a folder with `trajectory.xtc`, `topology.pdb` and `6o2h.pdb`. The target is of `--true` frames
with random weights that are told, and noise. With `--every 2` the ensemble is every second frame,
and the target is of frames between these: of none that the fit has. Written to OUT, which must not
be there: ensemble.pdb, target.h5 and fit.toml, whose run is OUT/run; then what it has found, beside
the truth and beside the trajectory as it is, whose translation alone is refined. With `--lbfgs` the
first restart's steps beside those of L-BFGS-B on the weights' logarithms, by the exact gradient,
from the same start: how far from the least objective each is.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.fit.config import load_config
from hpc_diffuser.fit.problem import compare, load_problem
from hpc_diffuser.fit.refinement import refine
from hpc_diffuser.fit.results import objective
from hpc_diffuser.fit.run.directory import read_histories
from hpc_diffuser.fit.stepping.gradient import score_and_gradient
from hpc_diffuser.fit.stepping.starts import source_point
from hpc_diffuser.fit.summary import Summary
from hpc_diffuser.io.maps.native import write_target
from hpc_diffuser.io.structures.files import pdb_bytes
from hpc_diffuser.io.trajectories.given import TrajectoryFiles
from hpc_diffuser.io.trajectories.in_crystal import crystal_frames
from hpc_diffuser.maps.noise import with_noise
from hpc_diffuser.maps.target import make_target
from hpc_diffuser.maps.target_options import TargetOptions
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import Modes, with_frames
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.random_numbers import generator
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.collecting import whole_map
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation

TRANSLATION_A = 0.3
CONFIG = """\
[structure]
ensemble = "ensemble.pdb"
WEIGHTS
[target]
file = "target.h5"
[parameters]
translation_sigma_A = [0.05, 0.8]
[search]
method = "least-squares"
restarts = RESTARTS
[run]
directory = "RUN"
"""


def true_weights(n_frames: int, n_true: int, seed: int) -> np.ndarray:
    """Of some frames, between one and three times as much as of another; they add up to 1."""
    stream = generator(seed, 1)
    weights = np.zeros(n_frames)
    weights[stream.choice(n_frames, n_true, replace=False)] = stream.uniform(1, 3, n_true)
    return weights / weights.sum()


def write_inputs(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """The ensemble and the target; the frames' numbers in the trajectory, and all true weights."""
    names = (options.data / n for n in ("trajectory.xtc", "topology.pdb", "6o2h.pdb"))
    found = crystal_frames(TrajectoryFiles(*names))
    frames, (cell, group) = np.round(found.positions, 3), found.crystal
    ours = np.arange(0, len(frames), options.every)
    others = np.arange(1, len(frames), options.every) if options.every > 1 else ours
    weights = np.zeros(len(frames))
    weights[others] = true_weights(len(others), options.true, options.seed)
    structure = replace(found.structure, positions=frames[ours].mean(axis=0))
    path = options.out / "ensemble.pdb"
    path.write_bytes(pdb_bytes(path, structure, found.crystal, frames=frames[ours]))
    still = Modes(structure, np.empty((0, len(structure), 3)), np.empty(0), cell, group)
    grid = grid_to_resolution(cell, (options.oversampling,) * 3, options.d_min)
    indices = grid.indices_between(np.inf, options.d_min)
    true = np.flatnonzero(weights)
    moving = with_frames(still, frames[true], weights[true])
    model = forward_model(moving, grid, indices, Ranks(), Computation(grid="target"))
    truth = Parameters(np.empty(0), Disorder(TRANSLATION_A))
    values = model.internal_motion(truth, np.zeros((len(true), 0)))
    exact = whole_map(model, moving, grid, indices, values)
    noisy = with_noise(exact, options.noise, options.d_min, generator(options.seed, 2))
    target = TargetOptions(d_max_A=options.d_max, d_min_A=options.d_min, n_shells=10)
    write_target(options.out / "target.h5", make_target(noisy, target), {})
    return ours, weights


def fitted(options: argparse.Namespace, weights: str, run: str, restarts: int) -> Summary:
    """A fit of the program's."""
    text = CONFIG.replace("WEIGHTS", weights).replace("RESTARTS", str(restarts))
    path = options.out / f"{run}.toml"
    path.write_text(text.replace("RUN", run))
    return refine(load_problem, load_config(path), path.read_text(), Ranks())


def scored_truth(options: argparse.Namespace, weights: np.ndarray) -> tuple[float, float]:
    """CC_work and CC_free of the true weights, where the ensemble has these frames."""
    problem = load_problem(load_config(options.out / "run.toml"))
    model, comparison = compare(problem, Ranks())
    truth = Parameters(np.empty(0), Disorder(TRANSLATION_A), frame_weight=tuple(weights.tolist()))
    score = comparison.score(model.internal_motion(truth, problem.normals(1)))
    return score.cc_work, score.cc_free


def print_lbfgs(options: argparse.Namespace, theta: float) -> None:
    """How far above the least objective known each evaluation is, of either way."""
    config = load_config(options.out / "run.toml")
    problem = load_problem(replace(config, prior=replace(config.prior, weights=theta)))
    (model, comparison), prior = compare(problem, Ranks()), problem.prior
    assert prior is not None
    steps = read_histories(options.out / "run", options.restarts)[0].objectives
    tried: list[float] = []

    def objective_and_slope(x: np.ndarray) -> tuple[float, np.ndarray]:
        weights = np.exp(x[1:] - x[1:].max())
        weights /= weights.sum()
        point = np.append(x[:1], weights)
        of = (problem.space, model, comparison, point, problem.normals(1))
        score, slope = score_and_gradient(*of)
        added = prior.added_about(point, None)
        slope = slope + added.gradient
        tried.append(objective(score) + added.value)
        return tried[-1], np.append(slope[:1], weights * (slope[1:] - weights @ slope[1:]))

    start = source_point(problem.space, problem.modes)
    x = np.append(start[:1], np.log(start[1:]))
    bounds = [problem.space.bounds[0], *[(None, None)] * (len(x) - 1)]
    limits = {"maxfun": options.lbfgs, "ftol": 1e-12, "gtol": 1e-9}
    minimize(objective_and_slope, x, jac=True, method="L-BFGS-B", bounds=bounds, options=limits)
    least = min(*tried, *steps)
    for above in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6):
        told = [np.flatnonzero(np.array(x) < least + above)[:1] + 1 for x in (steps, tried)]
        shown = [str(n[0]) if len(n) else "none" for n in told]
        print(f"within {above:g}: evaluation {shown[0]} of least squares, {shown[1]} of L-BFGS-B")


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True)
    ours, weights = write_inputs(options)
    at_start = time.process_time()
    before = fitted(options, "", "given", 1)
    middle = time.process_time()
    summary = fitted(options, 'weights = "refine"', "run", options.restarts)
    spent = time.process_time() - middle
    print(f"{len(ours)} frames, target of {np.count_nonzero(weights)}; noise {options.noise}")
    _print_scores("given weights", before)
    _print_scores("refined", summary)
    found = summary.complete()[1].frame_weights
    refined = np.array(found.weights)
    if options.every == 1:
        work, free = scored_truth(options, weights)
        print(f"the truth: CC_work {work:.4f}, CC_free {free:.4f}")
        off = np.abs(refined - weights)
        true = weights > 0
        print(
            f"largest error: of true frames {off[true].max():.4f}, of others {off[~true].max():.4f}"
        )
        print(f"weight on true frames: {refined[true].sum():.4f}")
    print(f"effective frames: {found.effective:.2f}, of the truth {_effective(weights):.2f}")
    print(f"theta {found.theta:g}; frames that carry 90 %: {found.carry_most}")
    print(f"true frames: {(np.flatnonzero(weights) + 1).tolist()}, {weights[weights > 0].round(3)}")
    histories = read_histories(options.out / "run", options.restarts)
    for number, history in histories.items():
        best = history.points[history.best]
        apart = np.abs(best[1:] - refined).max()
        print(
            f"restart {number}: {len(history)} evaluations, objective "
            f"{history.objectives[history.best]:.6f}, farthest from the answer {apart:.1e}"
        )
    if options.lbfgs:
        print_lbfgs(options, found.theta)
    print(f"core seconds: {spent:.0f}, of the fit with given weights {middle - at_start:.0f}")


def _effective(weights: np.ndarray) -> float:
    some = weights[weights > 0]
    return float(np.exp(-np.sum(some * np.log(some))))


def _print_scores(what: str, summary: Summary) -> None:
    outcome = summary.complete()[1]
    sigma = outcome.answer["translation_sigma_A"]
    print(
        f"{what}: CC_work {outcome.cc_work:.4f}, CC_free {outcome.cc_free:.4f}, σ_t {sigma:.4f} Å, "
        f"{summary.evaluations} evaluations"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--true", type=int, default=10, help="frames that the target is of")
    parser.add_argument("--every", type=int, default=1, help="stride of the fit's frames")
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--d-max", type=float, default=5.0)
    parser.add_argument("--d-min", type=float, default=2.5)
    parser.add_argument("--oversampling", type=int, default=4)
    parser.add_argument("--restarts", type=int, default=5)
    parser.add_argument("--lbfgs", type=int, default=0, help="evaluations of L-BFGS-B")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
