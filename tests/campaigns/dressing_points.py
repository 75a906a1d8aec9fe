"""The points that stand for a normal distribution along an axis: `scattering.dressing._RULES`.

    python tests/campaigns/dressing_points.py

For each number of points the largest x for which some rule has an rms error below
`DRESSING_ERROR` over the resolution sphere, at x and at all smaller ones; prints x, places and
weights of the points at 0 and on one side, and x of Gauss and Hermite's rule beside it.
"""

import numpy as np
from scipy.optimize import least_squares

from hpc_diffuser.scattering.dressing import DRESSING_ERROR

MOST = 10
SMALLER = (1.0, 0.7, 0.4, 0.2)
_nodes, _weights = np.polynomial.legendre.leggauss(60)
T = (_nodes + 1) / 2
# Of t = |q| cos θ over its largest value, in a sphere of q.
ROOT_DENSITY = np.sqrt(_weights / 2 * 1.5 * (1 - T**2))


def rule(n: int, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of the points that are not negative, and the weight of each with its mirror image."""
    places, weights = numbers[: n // 2], 2 * numbers[n // 2 :]
    rest = 1 - weights.sum()
    if n % 2:
        return np.append(0.0, places), np.append(rest, weights)
    return places, np.append(weights, rest)


def errors(n: int, numbers: np.ndarray, x: float) -> np.ndarray:
    """Of the mean of cos(√x z t) at all t: their squares add up to the mean square."""
    places, weights = rule(n, numbers)
    along = np.sqrt(x) * T
    return ROOT_DENSITY * (np.cos(np.outer(along, places)) @ weights - np.exp(-(along**2) / 2))


def holds(n: int, numbers: np.ndarray, x: float) -> bool:
    """Whether the error stays below what is asked for, down to no motion."""
    return all(
        np.linalg.norm(errors(n, numbers, x * part)) < DRESSING_ERROR
        for part in np.linspace(0.02, 1, 40)
    )


def gauss_hermite(n: int) -> np.ndarray:
    """Its numbers for `rule`."""
    places, weights = np.polynomial.hermite_e.hermegauss(n)
    upper = slice(n - n // 2, n if n % 2 else n - 1)
    return np.append(places[n - n // 2 :], (weights / weights.sum())[upper])


def main() -> None:
    for n in range(1, MOST + 1):
        start = numbers = gauss_hermite(n)
        x = least = max(x for x in np.geomspace(1e-3, 40, 800) if holds(n, start, x))
        best = start
        for larger in np.geomspace(least, 8 * least, 100) if n > 1 else ():

            def all_errors(of: np.ndarray, x: float = larger, n: int = n) -> np.ndarray:
                return np.concatenate([errors(n, of, x * part) for part in SMALLER])

            numbers = least_squares(all_errors, numbers, xtol=1e-12, ftol=1e-12).x
            if holds(n, numbers, larger):
                x, best = larger, numbers
        places, weights = rule(n, best)
        print(f"{n}: x {x:.4g} (Gauss and Hermite {least:.4g})")
        print(f"    {np.round(places, 5).tolist()}\n    {np.round(weights, 5).tolist()}")


if __name__ == "__main__":
    main()
