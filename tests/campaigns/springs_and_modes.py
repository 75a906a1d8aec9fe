"""A closed loop of springs between molecules and modes inside them, of triclinic lysozyme.

    python tests/campaigns/springs_and_modes.py ../shared/data/lysozyme --d-max 3.3 --d-min 2.0

The folder holds `trajectory.xtc`, `topology.pdb` and `6o2h.pdb`. A map is made of six different
springs, principal components of the trajectory and motion of every atom on its own, with noise,
at 7 samples per reciprocal-lattice unit. Then least squares with springs over all voxels, and with
an independent translation, its axes free, where halos are masked. Of each restart: its evaluations,
those that began a stage, by how much the springs, the modes that carry 90 % of the variance and the
uncorrelated motion are off, the largest of these in standard errors, and CC_free, beside that of
the truth; core seconds, and the most memory that the process had. Standard errors are those of the
first order, as least squares steps by it.
"""

import argparse
import resource
import tempfile
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from least_squares import carrying, searched, source, stages

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.fit.config import parse_config
from hpc_diffuser.fit.problem import Problem, compare, load_problem
from hpc_diffuser.fit.stepping.steps import Steps
from hpc_diffuser.io.maps.native import write_target
from hpc_diffuser.io.modes_file import write_modes
from hpc_diffuser.io.structures.files import read_places
from hpc_diffuser.maps.noise import with_noise
from hpc_diffuser.maps.target import make_target
from hpc_diffuser.maps.target_options import TargetOptions
from hpc_diffuser.motion.lattice.rigid_lattice import rigid_lattice
from hpc_diffuser.motion.parameters import Parameters, parameters_from
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.collecting import whole_map
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation

FINAL = 256  # points of the maps that CC_free is of
SPRINGS_A = [2.6, 3.2, 2.9, 3.6, 3.0, 2.4]
UNCORRELATED_A = 0.2
CONFIG = """
[structure]
modes = "modes.h5"
[lattice]
file = "{crystal}"
[target]
file = "{target}.h5"
[parameters]
mode_amplitude_A = [0.0, {high:.3f}]
uncorrelated_sigma_A = [0.0, 0.6]
{rigid}
[model]
samples = {samples}
[search]
method = "least-squares"
"""
# Of each target how the molecule moves as a whole; a translation by anything that it may be.
RIGID = {
    "kept": "lattice_spring_A = [" + ", ".join(["[1.0, 7.0]"] * len(SPRINGS_A)) + "]",
    "masked": "translation_sigma_A = [[0.05, 0.9], [0.05, 0.9], [0.05, 0.9]]",
}
HEAD = "target  restart  evaluations  stages     CC_free  (truth)  core s  MiB"


def main() -> None:
    """Print rows for each restart."""
    given = arguments()
    with tempfile.TemporaryDirectory() as folder:
        truth = made(Path(folder), given)
        print(HEAD)
        for target, restart in product(given.targets, given.restarts):
            closed_loop(Path(folder), target, restart, truth, given)


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of a trajectory and its crystal")
    parser.add_argument("--modes", type=int, default=10)
    parser.add_argument("--total", type=float, default=0.4, help="rms of all modes, Å")
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--exact", type=int, default=1024)
    parser.add_argument("--d-max", type=float, default=3.3)
    parser.add_argument("--d-min", type=float, default=2.0)
    parser.add_argument("--oversampling", type=int, default=7)
    parser.add_argument("--restarts", type=int, nargs="+", default=[0])
    parser.add_argument("--targets", nargs="+", default=list(RIGID), choices=RIGID)
    return parser.parse_args()


def made(folder: Path, given: argparse.Namespace) -> dict[str, list[float]]:
    """Modes and both targets in a folder; the true values."""
    modes = source(given.modes, given.data)
    scale = given.total / np.linalg.norm(modes.amplitudes_A)
    truth = {
        "mode_amplitude_A": (scale * modes.amplitudes_A).tolist(),
        "lattice_spring_A": SPRINGS_A,
        "uncorrelated_sigma_A": [UNCORRELATED_A],
    }
    write_modes(folder / "modes.h5", modes, {})
    places = read_places(given.data / "6o2h.pdb")
    lattice = rigid_lattice(modes.structure, modes.unit_cell, modes.space_group, places)
    moving = replace(modes, lattice=lattice)
    grid = grid_to_resolution(modes.unit_cell, (given.oversampling,) * 3, given.d_min)
    indices = grid.indices_between(given.d_max, given.d_min)
    began = time.process_time()
    model = forward_model(moving, grid, indices, Ranks(), Computation(motion_A=given.total))
    normals = normal_samples("sobol", given.exact, given.modes + 3, generator(99))
    parameters = parameters_from(truth | {"uncorrelated_sigma_A": UNCORRELATED_A}, lattice)
    exact = whole_map(model, moving, grid, indices, model.internal_motion(parameters, normals))
    took = time.process_time() - began
    print(f"{len(indices)} voxels, of {given.exact} points: {took:.0f} core s", flush=True)
    noisy = with_noise(exact, given.noise, given.d_min, generator(7))
    for name, radius in (("kept", 0.0), ("masked", 3 / 7)):
        limits = {"d_max_A": given.d_max, "d_min_A": given.d_min, "n_shells": 10}
        target = make_target(noisy, TargetOptions(halo_radius=radius, **limits))
        write_target(folder / f"{name}.h5", target, {})
    return truth


def problem_of(
    folder: Path, target: str, rigid: str, truth: dict, given: argparse.Namespace
) -> Problem:
    """A fit to one of the targets, with a molecule that moves as in the fit to one of them."""
    text = CONFIG.format(
        crystal=(given.data / "6o2h.pdb").resolve(),
        target=target,
        high=max(2.5 * max(truth["mode_amplitude_A"]), 0.1),
        rigid=RIGID[rigid],
        samples=given.samples,
    )
    return load_problem(parse_config(text, folder))


def closed_loop(
    folder: Path, target: str, restart: int, truth: dict, given: argparse.Namespace
) -> None:
    """A restart's search for the truth, and what came of it."""
    problem = problem_of(folder, target, target, truth, given)
    history, seconds = searched(problem, restart, None, Ranks())
    point = history.points[history.best]
    free = cc_free(problem, problem.space.parameters(point))
    there = problem_of(folder, target, "kept", truth, given)
    ceiling = cc_free(there, there.space.parameters(np.concatenate(list(in_order(there, truth)))))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{target:6s}  {restart:7d}  {len(history):11d}  {stages(history):9s}  {free:7.4f}  "
        f"({ceiling:.4f})  {seconds:6.0f}  {memory:5.0f}",
        flush=True,
    )
    errors = standard_errors(problem, point, restart)
    for name, own in names_of(problem).items():
        tell(name, point[own], errors[own], truth.get(name))


def in_order(problem: Problem, truth: dict) -> list[list[float]]:
    """True values as a point of a search has them."""
    return [truth[name] for name, _ in problem.space.layout if name in truth]


def names_of(problem: Problem) -> dict[str, np.ndarray]:
    """Of each refined parameter its places."""
    words = np.array([problem_name(name) for name in problem.space.names])
    return {name: np.flatnonzero(words == name) for name in dict.fromkeys(words.tolist())}


def problem_name(label: str) -> str:
    """The parameter that a label is of."""
    return "mode_amplitude_A" if label.startswith("mode ") else label.split()[0]


def tell(name: str, found: np.ndarray, errors: np.ndarray, true: list[float] | None) -> None:
    """By how much one parameter's numbers are off; of modes those that carry the variance."""
    if true is None:
        print(f"    {name:22s} {np.round(found, 4).tolist()}")
        return
    which = carrying(np.array(true)) if name.startswith("mode") else np.arange(len(true))
    off = found[which] - np.array(true)[which]
    part = np.abs(off / np.array(true)[which])
    print(
        f"    {name:22s} off by {np.median(part):.4f}, at most {part.max():.4f}; in standard "
        f"errors {np.sqrt(np.mean((off / errors[which]) ** 2)):.1f} rms, at most "
        f"{np.abs(off / errors[which]).max():.1f}; which are {np.median(errors[which]):.5f} Å, "
        f"at most {errors[which].max():.5f}",
        flush=True,
    )


def standard_errors(problem: Problem, point: np.ndarray, restart: int) -> np.ndarray:
    """Of the parameters at a point (D,), as least squares takes them."""
    model, comparison = compare(problem, Ranks())
    steps = Steps(problem, model, comparison, lambda: None)
    found = steps.of_map(point, restart, 0, measuring=True)
    covariance = np.linalg.pinv(found.matrix, hermitian=True) * found.scatter
    of_phi = np.sqrt(np.diag(covariance) / steps.n_independent)
    return np.where(problem.space.squared, of_phi / (2 * point), of_phi)


def cc_free(problem: Problem, parameters: Parameters) -> float:
    """Of a map of `FINAL` points, always the same ones."""
    model, comparison = compare(problem, Ranks())
    intensity = model.internal_motion(parameters, problem.normals(FINAL, 2))
    return float(comparison.score(intensity).cc_free)


if __name__ == "__main__":
    main()
