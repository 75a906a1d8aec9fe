"""Make fifty fits that differ in all that fits differ in, and one page of them all.

    python tests/campaigns/fifty_runs.py FOLDER             # d01-…/run to d50-…/run, and report/
    python tests/campaigns/fifty_runs.py FOLDER --only 12   # the first twelve

Molecules, crystals, ranges, noise and motions come from the lists below at paces that have
no common factor, so that no two fits have all of them alike. One run has stopped before its end,
one is a folder without any, one a comparison. Fits that are there are kept. It prints how many
lines the page has, the processor time it took, and its size.
"""

import argparse
import contextlib
import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hpc_diffuser.commands import main as command_line
from hpc_diffuser.commands.examples.protein import build_protein
from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.io.maps.native import write_target
from hpc_diffuser.io.modes_file import write_modes
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.noise import with_noise
from hpc_diffuser.maps.target import make_target
from hpc_diffuser.maps.target_options import TargetOptions
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.elastic_network import elastic_network_modes
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.collecting import whole_map
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation

RUNS = 50
STOPPED, NONE, COMPARISON = 17, 33, 41  # which runs are others than finished fits
# Residues of the example's helices, from where, how many; and how many modes.
MOLECULES = {
    "loop": (13, 6, 2),
    "helix": (1, 13, 3),
    "hairpin": (1, 30, 4),
    "bundle": (1, 64, 5),
    "second-helix-and-the-loops-on-both-of-its-sides": (13, 22, 14),
}
CRYSTALS = (
    ("P 1", (31.0, 30.0, 33.0, 87.0, 104.0, 97.0)),
    ("P 1 21 1", (32.0, 34.0, 36.0, 90.0, 103.0, 90.0)),
    ("P 21 21 21", (33.5, 37.25, 41.125, 90.0, 90.0, 90.0)),
)
RANGES = ((12.0, 4.0), (8.0, 3.4), (20.0, 5.0), (10.0, 3.0))  # d_max, d_min in Å
NOISES = (0.0, 0.1, 0.5, 2.0, 0.05, 0.2, 1.0)
MOTIONS = {
    "rigid": "mode_amplitude_A = 0\ntranslation_sigma_A = [0.0, 1.5]",
    "modes": "mode_amplitude_A = [0.0, 1.0]",
    "modes-rigid": "mode_amplitude_A = [0.0, 0.8]\ntranslation_sigma_A = [0.0, 1.0]",
    "liquid": "mode_amplitude_A = 0\nllm_sigma_A = [0.0, 1.0]\nllm_gamma_A = [2.0, 40.0]",
    "held": "mode_amplitude_A = 0.25\ntranslation_sigma_A = 0.4",
    "tensor": "mode_amplitude_A = 0.2\ntranslation_sigma_A = [[0, 1.5], [0, 1.5], [0, 1.5]]",
    "libration": "mode_amplitude_A = 0\ntranslation_sigma_A = [0.0, 1.0]\n"
    "libration_sigma_deg = [0.0, 8.0]",
    "solvent": "mode_amplitude_A = 0\ntranslation_sigma_A = [0.0, 1.0]\nk_sol_eA3 = 0.334\n"
    "b_sol_A2 = [0.0, 200.0]",
    "noisy-atoms": "mode_amplitude_A = [0.0, 0.5]\nuncorrelated_sigma_A = [0.0, 0.6]\n"
    "translation_sigma_A = 0.4",
    "residual": "mode_amplitude_A = [0.0, 0.5]\ntranslation_sigma_A = 0.3\n"
    "residual_b_fraction = [0.0, 1.0]",
    "too-narrow": "mode_amplitude_A = [0.0, 0.05]\ntranslation_sigma_A = [0.0, 0.1]",
}
SCORES = (
    'score = "shell-mean"',
    'score = "pooled"',
    'weights = "errors"',
)
SEARCHES = ((2, 6), (1, 8), (2, 10), (1, 5), (3, 5), (2, 7), (1, 12))  # restarts, evaluations
METHODS = ("bayesian", "bayesian", "least-squares", "bayesian+least-squares")
FEWEST = 10  # evaluations of what begins with nine Bayesian ones
SAMPLES = (8, 16, '"auto"', 32, 4)
CONFIG = """\
[structure]
modes = "modes.h5"
[target]
file = "target.h5"
{score}
[parameters]
{motion}
[model]
samples = {samples}
sampler = "{sampler}"
seed = {seed}
final_samples = 32
[search]
method = "{method}"
restarts = {restarts}
evaluations = {evaluations}
initial_points = 3
[run]
directory = "run"
"""
COMPARED = '\n[models]\ncompare = ["rbt", "rbt+int"]\n'


def of(choices: Any, number: int) -> Any:
    """The choice of a run, each list at a pace of its own."""
    every = list(choices)
    return every[number % len(every)]


def molecule(first: int, residues: int, other_b: bool) -> Structure:
    """A piece of the example's protein, with B-factors that rise to its ends, or all 10 Å²."""
    whole = build_protein()
    numbers = whole.residue_numbers
    piece = whole.select((numbers >= first) & (numbers < first + residues))
    positions = piece.positions - piece.positions.mean(axis=0)
    far = np.linalg.norm(positions, axis=1)
    b = 8 + 12 * (far / far.max()) ** 2 if other_b else piece.b_factors_A2
    return replace(piece, positions=positions, b_factors_A2=b)


def modes_of(number: int) -> Modes:
    """Elastic-network modes of the run's molecule in its crystal."""
    first, residues, n_modes = MOLECULES[of(MOLECULES, number)]
    structure = molecule(first, residues, number % 2 == 0)
    vectors, amplitudes = elastic_network_modes(structure, n_modes)
    space_group, cell = of(CRYSTALS, number)
    known = structure.b_factors_A2 if number % 4 or of(MOTIONS, number) == "residual" else None
    return Modes(structure, vectors, amplitudes, cell, space_group, crystal_b_A2=known)


def measured(modes: Modes, number: int, d_min: float) -> DiffuseMap:
    """A map of true motions, with noise, and of every third run with half-maps."""
    grid = grid_to_resolution(modes.unit_cell, (3, 3, 3), d_min)
    indices = grid.indices_between(np.inf, d_min)
    truth = Parameters(0.3 / np.arange(1, len(modes.amplitudes_A) + 1), Disorder(0.4))
    normals = normal_samples("sobol", 64, len(modes.amplitudes_A), generator(number))
    model = forward_model(modes, grid, indices, Ranks(), Computation(grid="target"))
    exact = whole_map(model, modes, grid, indices, model.internal_motion(truth, normals))
    noise = of(NOISES, number)
    if not noise:
        return exact
    noisy = [with_noise(exact, noise, d_min, generator(number, i)) for i in (1, 2)]
    halves = (noisy[0].intensity, noisy[1].intensity) if number % 3 == 0 else None
    return replace(noisy[0], halves=halves)


def project(folder: Path, number: int) -> None:
    """modes.h5, target.h5 and fit.toml of a run."""
    modes = modes_of(number)
    d_max, d_min = of(RANGES, number)
    options = TargetOptions(d_max_A=d_max, d_min_A=d_min, n_shells=4 + number % 5)
    target = make_target(measured(modes, number, d_min), options)
    told = {"command": "made up"}
    folder.mkdir(parents=True, exist_ok=True)
    write_modes(folder / "modes.h5", modes, told)
    write_target(folder / "target.h5", target, told)
    (folder / "fit.toml").write_text(config(number))


def config(number: int) -> str:
    """The run's config."""
    restarts, evaluations = of(SEARCHES, number)
    method = of(METHODS, number + number // 4)
    if "+" in method:
        evaluations = max(evaluations, FEWEST)
    if of(MOTIONS, number) == "held":
        method, evaluations = METHODS[0], 1
    score = of(SCORES, number + number // 3)
    if "errors" in score and not of(NOISES, number):
        score = SCORES[1]  # a map without noise has no errors
    return CONFIG.format(
        score=score,
        motion=MOTIONS["modes-rigid" if number == COMPARISON else of(MOTIONS, number)],
        samples=of(SAMPLES, number),
        sampler="random" if number % 6 == 5 else "sobol",
        seed=number,
        method=method,
        restarts=2 if number in (STOPPED, COMPARISON) else restarts,
        evaluations=evaluations,
    ) + (COMPARED if number == COMPARISON else "")


def name_of(number: int) -> str:
    """Its folder's name, some of which are long."""
    what = "comparison" if number == COMPARISON else of(MOTIONS, number)
    return f"d{number:02d}-{of(MOLECULES, number)}-{what}"


def program(*words: str) -> int | str | None:
    """The program's exit code, run in this process."""
    try:
        command_line.main(list(words))
    except SystemExit as left:
        return left.code
    return 0


@contextlib.contextmanager
def quietly(folder: Path) -> Iterator[None]:
    """In a folder, with what is printed kept in its log."""
    with (
        contextlib.chdir(folder),
        open("log", "w", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        yield


def fitted(folder: Path, number: int) -> None:
    """One fit, if it is not there yet."""
    if (folder / "done").exists():
        return
    if number == NONE:
        (folder / "run").mkdir(parents=True, exist_ok=True)
        return
    project(folder, number)
    with quietly(folder):
        code = program("fit", "fit.toml")
    if code:
        raise SystemExit(f"{folder}: exit code {code}: {(folder / 'log').read_text()[-500:]}")
    if number == STOPPED:
        for path in (folder / "run").glob("restart_0001*"):
            path.unlink()
        (folder / "run" / "summary.json").unlink()
    (folder / "done").touch()


def reported(folder: Path) -> None:
    """The page of all, and what it took."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    with contextlib.chdir(folder), open(os.devnull, "w") as nothing:
        names = sorted(str(path) for path in Path().glob("d*/run"))
        with contextlib.redirect_stdout(nothing):
            code = program("report", *names)
    if code:
        raise SystemExit(f"report: exit code {code}")
    after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    report = folder / "report"
    lines = (report / "tables" / "runs.csv").read_text().count("\n") - 1
    size = (report / "index.html").stat().st_size
    print(
        f"{lines} runs on the page: {used:.1f} s of processor time, {size / 1e3:.0f} kB: "
        f"{report / 'index.html'}"
    )


def main() -> None:
    """Make what is not there, and the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", type=int, default=RUNS, help="so many runs (default: all)")
    options = parser.parse_args()
    folder = options.folder.resolve()
    for number in range(1, options.only + 1):
        fitted(folder / name_of(number), number)
        print(f"{number}/{options.only} {name_of(number)}", flush=True)
    reported(folder)


if __name__ == "__main__":
    sys.exit(main())
