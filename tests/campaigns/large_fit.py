"""Not a test: what a fit's kinds of work really take on some ranks, for what `bench` predicts.

    mpirun -n 2 python tests/campaigns/large_fit.py fit.toml --estimator sampled --samples 64

Each kind once, of all ranks in one group, after one that loads kernels and deals out planes: a map
and its score; slopes, where the config's search takes steps; the exact gradient, of --gradient
samples. Of every kind: wall seconds, the processor time of the busiest rank (those that wait,
sleep), and the most resident memory of a rank so far, beside what is predicted for all phases up to
there. --cell PDB OUT writes the whole cell of a crystal structure as one molecule in P 1, as
docs/cluster.md has it.
"""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ |= {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "NUMBA")}

import gemmi

from hpc_diffuser.fit import phases
from hpc_diffuser.fit.config import load_config
from hpc_diffuser.fit.footprint import LIBRARIES_MB, PROGRAM_MB, peak_MB
from hpc_diffuser.fit.problem import ENSEMBLE, Problem, compare, likely_point, load_problem
from hpc_diffuser.fit.sampling_error import final_estimator
from hpc_diffuser.fit.search.method import METHODS
from hpc_diffuser.fit.stepping.steps import Steps
from hpc_diffuser.maps.target import target_arrays
from hpc_diffuser.parallel.communicator import Ranks, world
from hpc_diffuser.system.memory import MB, peak_memory_MB


def write_cell(source: str, out: str) -> None:
    """All molecules of a P 43 21 2 or any other cell, protein without hydrogens, in P 1."""
    crystal = gemmi.read_structure(source)
    for tidy in ("ligands_and_waters", "hydrogens", "alternative_conformations"):
        crystal.setup_entities()
        getattr(crystal, f"remove_{tidy}")()
    crystal.remove_empty_chains()
    model = gemmi.Model(1)
    operations = gemmi.SpaceGroup(crystal.spacegroup_hm).operations()
    for letter, operation in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", operations, strict=False):
        chain = crystal[0][0].clone()
        chain.name = letter
        atoms = [atom for residue in chain for atom in residue]
        places = [
            operation.apply_to_xyz(crystal.cell.fractionalize(atom.pos).tolist()) for atom in atoms
        ]
        shifts = [-(sum(axis) / len(axis) // 1) for axis in zip(*places, strict=True)]
        for atom, place in zip(atoms, places, strict=True):
            moved = gemmi.Fractional(*(x + s for x, s in zip(place, shifts, strict=True)))
            atom.pos = crystal.cell.orthogonalize(moved)
            atom.aniso = gemmi.SMat33f(0, 0, 0, 0, 0, 0)
        model.add_chain(chain)
    whole = gemmi.Structure()
    whole.cell, whole.spacegroup_hm = crystal.cell, "P 1"
    whole.add_model(model)
    whole.setup_entities()
    whole.write_pdb(out)


class Report:
    """Does work on all ranks, and prints what it took."""

    def __init__(self, problem: Problem, group: Ranks):
        self._group, self._problem = group, problem
        self._sizes = phases.measured_sizes(problem)
        shares = phases.shares_of_group(self._sizes, group.size)
        self._share = max(shares, key=lambda share: share.stored)
        self._phases = [phases.loading(self._sizes), *phases.building(self._sizes, self._share)]

    def of(self, name: str, work: Callable[[], object], new: list[phases.Phase]) -> None:
        """Print one line."""
        self._phases += new
        self._group.all_true(True)
        wall, processor = time.perf_counter(), time.process_time()
        work()
        processor = time.process_time() - processor
        found = self._group.gather((processor, peak_memory_MB()))
        self._group.all_true(True)
        wall = time.perf_counter() - wall
        if self._group.is_root:
            seconds, memory = (max(values) for values in zip(*found, strict=True))
            print(
                f"{name:34s} wall {wall:8.2f} s  processor {seconds:8.2f} s  "
                f"memory {memory:7.0f} MB, predicted {self._predicted():7.0f} MB",
                flush=True,
            )

    def _predicted(self) -> float:
        sizes = self._sizes
        inputs = sum(target_arrays(sizes.voxels, sizes.has_errors))
        inputs += self._problem.modes.vectors.nbytes
        return PROGRAM_MB + LIBRARIES_MB + inputs / MB + peak_MB(self._phases)

    def of_evaluating(self) -> list[phases.Phase]:
        """What maps take."""
        return phases.evaluating(self._sizes, self._share)

    def of_linearising(self) -> list[phases.Phase]:
        """What slopes, and what follows, take; without the exact gradient."""
        without = replace(self._sizes, forcing=([], []))
        return phases.linearising(without, self._share)

    def of_polishing(self) -> list[phases.Phase]:
        """What the exact gradient takes too."""
        return phases.linearising(self._sizes, self._share)


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--estimator", default="sampled")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--gradient", type=int, default=64, metavar="SAMPLES")
    parser.add_argument("--cell", nargs=2, metavar=("PDB", "OUT"))
    args = parser.parse_args()
    if args.cell:
        write_cell(*args.cell)
        return
    group = world()
    problem = group.from_root(lambda: load_problem(load_config(args.config)))
    model = replace(problem.config.model, estimator=args.estimator, samples=args.samples)
    run = replace(problem.config.run, groups=1)
    problem = replace(problem, config=replace(problem.config, model=model, run=run))
    report = Report(problem, group)
    measure(problem, group, report, args.gradient)


def measure(problem: Problem, group: Ranks, report: Report, n_gradient: int) -> None:
    """Each kind of work once."""
    model, comparison = compare(problem, group)
    steps = Steps(problem, model, comparison, lambda: None)
    middle, space = likely_point(problem), problem.space
    samples = int(problem.config.model.samples)

    def score(number: int, n_samples: int) -> None:
        parameters = space.parameters(middle * (1 + 1e-6 * number))
        normals = problem.normals(n_samples, ENSEMBLE, 0)
        comparison.score(model.internal_motion(parameters, normals))

    model.use_estimator(problem.config.model.estimator)
    report.of("the first map: loading", lambda: score(1, samples), report.of_evaluating())
    name = f"a map, {problem.config.model.estimator}, {samples} samples"
    report.of(name, lambda: score(2, samples), [])
    if METHODS[problem.config.search.method].steps_after is None:
        return
    for number in (3, 4):
        point = middle * (1 + 1e-6 * number)
        steps.score(point, 0, 0)
        if number == 3:  # loads kernels
            steps.of_map(point, 0, 0)
    report.of("slopes", lambda: steps.of_map(point, 0, 0), report.of_linearising())

    def gradient(n_samples: int) -> Callable[[], object]:
        parameters, normals = space.parameters(point), problem.normals(n_samples, ENSEMBLE, 0)
        model.use_estimator(final_estimator(problem.config.model.estimator))
        _, slope = comparison.slope(model.internal_motion(parameters, normals))
        model.use_estimator("sampled")
        return lambda: model.gradient(parameters, normals, slope, space.refined_names)

    gradient(4)()
    name = f"exact gradient, {n_gradient} samples"
    report.of(name, gradient(n_gradient), report.of_polishing())


if __name__ == "__main__":
    main()
