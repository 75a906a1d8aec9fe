"""Not a test: what `lat+cllm` lacks between molecules, summed over pairs of a crystal's atoms.

    python tests/campaigns/bracket_product.py fit.toml --voxels 1000 --spring 0.7

Two molecules that move with the lattice and the crystal's liquid have (e^c − 1)(e^{xy} − 1) more in
common than the model says: see docs/lattice.md. Here that is added up over all pairs of atoms of
different molecules that are nearer than `--cut`, at some voxels of the config's target, at the hkl
themselves where a voxel is a Brillouin zone. Liquid-like motion is that in the middle of the
config's ranges. Printed: scatter about the shells' means of the map and of what lacks, 1 − CC of
the maps without and with it, and the CC of both with the data.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from hpc_diffuser.crystal.lattice import fractionalization
from hpc_diffuser.fit.config import load_config
from hpc_diffuser.fit.problem import compare, load_problem
from hpc_diffuser.motion.lattice.averages import POINTS
from hpc_diffuser.motion.lattice.rigid import displacements
from hpc_diffuser.parallel.communicator import Ranks

CELLS = np.array(list(product((-1, 0, 1), repeat=3)))


def main() -> None:
    """Print how much lacks."""
    given = arguments()
    problem = load_problem(load_config(given.config))
    model, _ = compare(problem, Ranks())
    parameters = replace(problem.space.middle, lattice_spring_A=given.spring)
    whole = model.internal_motion(parameters, problem.normals(256, 1))
    stream = np.random.default_rng(3)
    rows = np.sort(stream.choice(len(whole), min(given.voxels, len(whole)), replace=False))
    target = problem.target
    factors = model.molecule.moments.factors
    lacking = products(problem, parameters, factors, target.indices[rows], given.cut)
    shells, own = target.shells()[rows], whole[rows]
    data, centred = target.intensity[rows].astype(float), [own, lacking, own + lacking]
    map_, lacks, both, data = (about_shells(x, shells) for x in (*centred, data))
    print(f"scatter of the map {map_.std():.4g}, of what lacks {lacks.std():.4g}")
    print(f"{lacks.std() / map_.std():.4f} of it; 1 - CC of the maps {1 - cc(map_, both):.2g}")
    print(f"CC with the data {cc(map_, data):.4f} without, {cc(both, data):.4f} with it")


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--voxels", type=int, default=1000)
    parser.add_argument("--spring", type=float, required=True, help="length of all springs, Å")
    parser.add_argument("--cut", type=float, default=30.0, help="Å")
    return parser.parse_args()


def about_shells(values: np.ndarray, shells: np.ndarray) -> np.ndarray:
    """Less the mean of each shell."""
    return values - (np.bincount(shells, values) / np.maximum(np.bincount(shells), 1))[shells]


def cc(one: np.ndarray, other: np.ndarray) -> float:
    """Of what has no mean."""
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


def products(problem, parameters, factors, indices, cut: float) -> np.ndarray:
    """Per molecule, at some voxels (v, 3): (v,)."""
    modes, lattice, disorder = problem.modes, problem.modes.lattice, parameters.disorder
    packing, to_fraction = lattice.springs.packing, fractionalization(modes.unit_cell)
    hkl = indices / np.array(problem.target.grid.divisions)
    q, to_cartesian = 2 * np.pi * hkl @ to_fraction, np.linalg.inv(to_fraction)
    shifts = packing.translations @ to_cartesian.T
    places = [
        modes.structure.positions @ t.T + x for t, x in zip(packing.turns, shifts, strict=True)
    ]
    p = [
        t @ displacements(modes.structure.positions, lattice.springs.centre) for t in packing.turns
    ]
    c = correlations(lattice, parameters.lattice_spring_A)
    own, liquid = disorder.own_covariance(), disorder.crystal_covariance()
    scattered = factors.at(np.sum(q**2, axis=1) / (4 * np.pi**2))[:, factors.kind]
    from numba import njit  # which looks for `coverage`, and finds the campaign if it comes first

    compiled = njit(summed)
    pairs = list(near_pairs(places, to_cartesian, cut, disorder.crystal_llm_gamma_A))
    found = np.zeros(len(q))
    for v, at in enumerate(q):
        along = [np.einsum("i,aij->aj", at, one) for one in p]
        dimmed = [
            np.exp(-0.5 * (at @ own @ at + np.einsum("ai,ij,aj->a", x, c[13, m, :, m], x)))
            for m, x in enumerate(along)
        ]
        waves = [
            factors.occupancies * scattered[v] * d * np.exp(1j * x @ at)
            for d, x in zip(dimmed, places, strict=True)
        ]
        for k, m, r, *pair in pairs:
            moved = waves[m] * np.exp(2j * np.pi * CELLS[r] @ hkl[v])
            turned = along[k] @ c[r, m, :, k].T
            found[v] += compiled(*pair, moved, waves[k], along[m], turned, at @ liquid @ at)
    return found / packing.n_molecules


def correlations(lattice, length_A: float) -> np.ndarray:
    """⟨ξ(R) ξ(0)ᵀ⟩ of the nearest cells, extrapolated as C: (27, Z, 6, Z, 6)."""
    springs, found = lattice.springs, []
    z, stiffness = springs.packing.n_molecules, lattice.stiffness(length_A)
    for n in POINTS:
        k = (np.array(list(product(range(n), repeat=3))) + 0.5) / n
        parts = np.array_split(k, 16)
        inverses = [np.linalg.inv(springs.dynamical_matrices(stiffness, part)) for part in parts]
        waves = np.exp(2j * np.pi * CELLS @ k.T) / len(k)
        mean = (waves @ np.concatenate(inverses).reshape(len(k), -1)).real
        found.append(mean.reshape(27, z, 6, z, 6))
    return 2 * found[1] - found[0]


def near_pairs(places, to_cartesian, cut: float, gamma_A: float) -> Iterator[tuple]:
    """Of two molecules k and m, m in cell R, the pairs of atoms m, k, and e^{−r/γ}."""
    trees = [cKDTree(own) for own in places]
    for k, r, m in product(range(len(places)), range(len(CELLS)), range(len(places))):
        if m != k or CELLS[r].any():
            moved = cKDTree(places[m] + to_cartesian @ CELLS[r])
            near = moved.sparse_distance_matrix(trees[k], cut, output_type="coo_matrix")
            yield k, m, r, near.row, near.col, np.exp(-near.data / gamma_A)


def summed(row, column, y, f, g, along, turned, x):
    """Σ f g* (e^c − 1)(e^{xy} − 1) over pairs, c = along · turned."""
    total = 0.0
    for n in range(len(row)):
        a, b = row[n], column[n]
        c = 0.0
        for i in range(6):
            c += along[a, i] * turned[b, i]
        total += (f[a] * np.conj(g[b])).real * np.expm1(c) * np.expm1(x * y[n])
    return total


if __name__ == "__main__":
    main()
