"""Not a test: CC of a model with every part of a measured map held out once.

    python tests/campaigns/cross_validation.py fit.toml --folds 10 --start 0.8 0.7 8.5 60

Of a small map CC_free depends on which voxels are free: here the Brillouin zones are dealt into as
many parts as `--folds` says, Laue mates together, and each part is held out of a fit of its own.
First all voxels are fitted, by steps of least squares from `--start` or the middle of the ranges.
Each part's fit goes on from there, by `--rounds` steps along the slopes of that answer, with a map
of its own after each; one that is worse is not taken. The free set of the config's
target plays no part, its score and its prior do. Printed: CC of what each fit has seen and has not
seen, its parameters; the mean and scatter over parts; and the CC of one map, put together of what
each fit has not seen, with the scale of what it has.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from hpc_diffuser.crystal.lattice import centring, laue_operations, laue_zones
from hpc_diffuser.fit.problem import FINAL, Problem, anisotropic_scale, compare, load_problem
from hpc_diffuser.fit.scoring import Comparison, score_at_voxels
from hpc_diffuser.fit.search.trial_step import DAMPING, braked, relieved, trial_point
from hpc_diffuser.fit.stepping.normal_equations import NormalEquations
from hpc_diffuser.fit.stepping.slopes import slopes
from hpc_diffuser.interface.source import open_config
from hpc_diffuser.maps.target import Target
from hpc_diffuser.motion.random_numbers import generator
from hpc_diffuser.parallel.communicator import Ranks

WORTH = 1e-5  # of CC: a step that gains less is the last
MOST_REJECTED = 3  # steps in a row


def main() -> None:
    """Print a row for all voxels, one for each part, and what they say together."""
    given = arguments()
    problem = load_problem(open_config(given.config))
    problem = replace(problem, target=held_out(problem.target, None))
    fit = Fit(problem, given.samples)
    print(" " * 22 + "CC seen   unseen   " + "  ".join(problem.space.names))
    whole, calculated = fit.settled(fit.start(given.start), given.steps)
    print(f"{'all voxels':22s}{fit.score(calculated).cc_work:.4f}            {text(whole)}")
    columns = list(fit.columns(whole))
    parts = parts_of(problem.target, given.folds, given.seed)
    found = [fit.part(parts == i, whole, columns, given.rounds) for i in range(given.folds)]
    put_together(fit, parts, found, given)


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=float, nargs="+")
    parser.add_argument("--steps", type=int, default=20, help="at most, of the fit to all voxels")
    parser.add_argument("--rounds", type=int, default=2, help="steps of each part's fit")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--output", type=Path, help="npz: the map of all voxels, and the unseen")
    return parser.parse_args()


class Fit:
    """The model of a config, fitted to some of a target's voxels."""

    def __init__(self, problem: Problem, samples: int):
        self._problem, self._normals = problem, problem.normals(samples, FINAL)
        self.model, _ = compare(problem, Ranks())
        self._made: dict[bytes, np.ndarray] = {}
        self.see(~problem.target.free)

    def see(self, seen: np.ndarray) -> None:
        """Which voxels (V,) are seen from here on."""
        target, options = held_out(self.target, ~seen), self._problem.config.target
        self._problem = replace(self._problem, target=target)
        rule = options.cc_rule, options.weights
        self._comparison = Comparison(target, self.model, *rule)
        self._equations = NormalEquations(target, self.model, *rule)
        if options.anisotropic_scale:
            self.model.scaling = anisotropic_scale(self._problem, self.model)

    @property
    def target(self) -> Target:
        """With what is not seen as its free set."""
        return self._problem.target

    def start(self, given: list[float] | None) -> np.ndarray:
        """The point (D,) to begin at."""
        bounds = self._problem.space.bounds
        return bounds.mean(axis=1) if given is None else np.clip(given, *bounds.T)

    def map(self, point: np.ndarray) -> np.ndarray:
        """Of a point: (V,); where all begin it is asked for again and again."""
        if self.model.scaling is None and point.tobytes() in self._made:
            return self._made[point.tobytes()]
        found = self.model.internal_motion(self._problem.space.parameters(point), self._normals)
        self._made[point.tobytes()] = found
        return found

    def columns(self, point: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Its slopes."""
        problem = self._problem
        return slopes(self.model, problem.modes, problem.space, point, self._normals)

    def score(self, calculated: np.ndarray):
        """CC of what is seen, and what is not."""
        return self._comparison.score(calculated)

    def agreement(self, rows: np.ndarray, calculated: np.ndarray) -> float:
        """CC of some voxels (V,) of a map."""
        options = self._problem.config.target
        target = held_out(self.target, rows)
        return score_at_voxels(target, calculated, options.cc_rule, options.weights).cc_free

    def _objective(self, point: np.ndarray, calculated: np.ndarray) -> float:
        prior, found = self._problem.prior, 1 - self.score(calculated).cc_work
        return found if prior is None else found + prior.added_about(point, None).value

    def _step(self, point, calculated, columns, damping: float) -> np.ndarray:
        space, prior = self._problem.space, self._problem.prior
        about = self._equations.of(calculated, columns, len(point))
        added = None if prior is None else lambda there: prior.added_about(there, None)
        return trial_point(point, space.bounds, space.squared, about, added, damping)[0]

    def settled(
        self, point: np.ndarray, steps: int, columns: list | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The least of the objective from a point, and the map there.

        By the slopes of every point that is better, or by the given ones, never made anew.
        """
        here, damping, rejected = self.map(point), DAMPING, 0
        by = columns
        for _ in range(steps):
            by = by or list(self.columns(point))
            there = self._step(point, here, by, damping)
            found = self.map(there)
            gain = self._objective(point, here) - self._objective(there, found)
            if gain > 0:
                point, here, damping, rejected = there, found, relieved(damping, rejected), 0
            else:
                damping, rejected = braked(damping, rejected), rejected + 1
            if rejected > MOST_REJECTED or 0 <= gain < WORTH:
                break
            if gain > 0 and columns is None:
                by = None
        return point, here

    def part(self, unseen: np.ndarray, point: np.ndarray, columns: list, rounds: int) -> np.ndarray:
        """The map of a fit that has not seen some voxels; its row of the table is printed."""
        self.see(~unseen)
        point, calculated = self.settled(point, rounds, columns)
        score = self.score(calculated)
        label = f"{unseen.sum()} voxels held out"
        print(f"{label:22s}{score.cc_work:.4f}   {score.cc_free:.4f}   {text(point)}", flush=True)
        return calculated


def held_out(target: Target, unseen: np.ndarray | None) -> Target:
    """The target with other voxels, or none, as its free set."""
    free = np.zeros(len(target.indices), bool) if unseen is None else unseen
    return replace(target, free=free, half_sums=None)


def parts_of(target: Target, folds: int, seed: int) -> np.ndarray:
    """Which part each voxel (V,) is in: whole Brillouin zones."""
    crystal = (target.space_group, target.grid.unit_cell)
    divisions = target.grid.whole_divisions()
    zones = laue_zones(target.indices, divisions, laue_operations(*crystal), centring(*crystal))
    unique, zone = np.unique(zones, axis=0, return_inverse=True)
    return (generator(seed).permutation(len(unique)) % folds)[zone.reshape(-1)]


def put_together(fit: Fit, parts: np.ndarray, found: list, given: argparse.Namespace) -> None:
    """Print what all parts say; `found` are their fits' maps (V,)."""
    target, options = fit.target, fit._problem.config.target
    unseen, shells = np.empty(len(parts)), target.shells()
    of_parts = []
    for i, calculated in enumerate(found):
        rows = parts == i
        unseen[rows] = on_scale(target.intensity, calculated, shells, ~rows)[rows]
        of_parts.append(fit.agreement(rows, calculated))
    mean, scatter = np.mean(of_parts), np.std(of_parts, ddof=1)
    print(
        f"unseen, mean of parts {mean:.4f}, scatter {scatter:.4f}, "
        f"so that the mean is known to {scatter / np.sqrt(len(found)):.4f}"
    )
    whole = held_out(target, None)
    score = score_at_voxels(whole, unseen, options.cc_rule, options.weights)
    print(f"unseen, put together  {score.cc_work:.4f}")
    print("CC by shell           " + " ".join(f"{cc:.3f}" for cc in score.shells_work))
    if given.output:
        np.savez(given.output, unseen=unseen, parts=parts)


def on_scale(y: np.ndarray, x: np.ndarray, shells: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """x (V,) on the scale of y, less its shells' means: both by what is seen."""
    means = np.bincount(shells[seen], x[seen]) / np.bincount(shells[seen])
    away, of_y = (x - means[shells])[seen], y[seen] - y.mean()
    return (away @ of_y) / (away @ away) * (x - means[shells])


def text(point: np.ndarray) -> str:
    """A point's numbers."""
    return "  ".join(f"{value:.4g}" for value in point)


if __name__ == "__main__":
    main()
