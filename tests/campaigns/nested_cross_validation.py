"""Not a test: CC of what is unseen by a model's parameters, and by its choice among several.

    python tests/campaigns/nested_cross_validation.py a.toml b.toml --start "2.7" "0.2 0.2 2.5"

As `cross_validation`, of several configs with the same target. Every part is held out of fits of
all models, and every two parts together. For each part the model is taken that agrees best with
the other parts, each unseen by a fit that has seen neither it nor that part; what is told of the
part is that model's CC, of a fit that has seen all else. So the choice has not seen it either.
"""

import argparse
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
from cross_validation import Fit, held_out, parts_of, text

from hpc_diffuser.fit.problem import load_problem
from hpc_diffuser.interface.source import open_config


def main() -> None:
    """Print what each model says of each part, and which is taken for it."""
    given = arguments()
    names = [path.stem for path in given.configs]
    starts = given.start or [""] * len(names)
    unseen = np.array(
        [of_model(*model, given) for model in zip(given.configs, starts, strict=True)]
    )
    own = np.diagonal(unseen, axis1=1, axis2=2)
    chosen = choices(unseen)
    print("part  " + "  ".join(f"{name:>10s}" for name in names) + "  taken")
    for i, row in enumerate(own.T):
        print(f"{i + 1:4d}  " + "  ".join(f"{cc:10.4f}" for cc in row) + f"  {names[chosen[i]]}")
    for name, found in zip(names, own, strict=True):
        tell(name, found)
    for name, found in zip(names[1:], own[1:], strict=True):
        tell(f"{name} less {names[0]}", found - own[0])
    tell("what was taken", own[chosen, range(given.folds)])


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("configs", type=Path, nargs="+")
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", nargs="+", help="of each model a point, in one argument")
    parser.add_argument("--steps", type=int, default=20, help="at most, of fits to all voxels")
    parser.add_argument("--rounds", type=int, default=2, help="steps of each other fit")
    parser.add_argument("--samples", type=int, default=64)
    return parser.parse_args()


def of_model(config: Path, start: str, given: argparse.Namespace) -> np.ndarray:
    """CC (i, j) of part i, by a fit that has seen neither i nor j."""
    problem = load_problem(open_config(config))
    parts = parts_of(problem.target, given.folds, given.seed)
    fit = Fit(replace(problem, target=held_out(problem.target, None)), given.samples)
    begin = [float(word) for word in start.split()] or None
    whole, calculated = fit.settled(fit.start(begin), given.steps)
    cc = fit.score(calculated).cc_work
    print(f"{config.stem}, all voxels: {cc:.4f}  {text(whole)}", flush=True)
    columns = list(fit.columns(whole))
    found = np.empty((given.folds, given.folds))
    for i, j in pairs(given.folds):
        fit.see(~(parts == i) & ~(parts == j))
        _, calculated = fit.settled(whole, given.rounds, columns)
        found[i, j], found[j, i] = (fit.agreement(parts == k, calculated) for k in (i, j))
    return found


def pairs(n: int) -> list[tuple[int, int]]:
    """Each part, with itself and every later one."""
    return [*((i, i) for i in range(n)), *combinations(range(n), 2)]


def choices(unseen: np.ndarray) -> list[int]:
    """For each part the model (of the first axis) that agrees best with the other parts."""
    n = unseen.shape[1]
    others = [[j for j in range(n) if j != i] for i in range(n)]
    return [int(np.argmax(unseen[:, others[i], i].mean(axis=1))) for i in range(n)]


def tell(name: str, found: np.ndarray) -> None:
    """Print a mean over parts, and how well it is known."""
    print(f"{name}: {found.mean():.4f} +- {found.std(ddof=1) / np.sqrt(len(found)):.4f}")


if __name__ == "__main__":
    main()
