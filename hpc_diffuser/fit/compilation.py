"""Compiling the kernels once, on one rank, before all ranks need them.

Sixty-four ranks that find an empty cache compile the same code sixty-four times over, on cores
that they share. What rank 0 has compiled, the others load from the cache.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.fit.scoring import Comparison
from hpc_diffuser.kernels import density as density_kernel
from hpc_diffuser.kernels import direct_sum
from hpc_diffuser.maps.target import Target
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation

_CELL = (9.0, 10.0, 11.0, 90.0, 90.0, 90.0)


def compile_kernels(
    target: Target, weights: str, knots: int | None = None, derivatives: bool = False
) -> None:
    """Evaluate a model of two atoms in every way, on this rank alone.

    Parameters
    ----------
    target : Target
        The run's: kernels are compiled for the types of its numbers.
    weights : {"none", "errors"}
        As the run's target is weighted.
    knots : int or None
        Of the likelihood's background.
    derivatives : bool
        Whether the search steps by slopes of the intensity and by its gradient.
    """
    modes = _two_atoms()
    grid = grid_to_resolution(_CELL, (3, 3, 3), 3.5)
    indices = grid.indices_between(20.0, 3.5)
    values = np.arange(1, len(indices) + 1)
    errors = values.astype((target.intensity if target.errors is None else target.errors).dtype)
    small = Target(
        grid,
        indices,
        values.astype(target.intensity.dtype),
        errors,
        np.zeros(len(indices), bool),
        np.array([1 / 20.0, 1 / 3.5]),
        "P 1",
    )
    parameters, points = Parameters(np.array([0.1]), Disorder(0.1, 0.1)), np.ones((4, 1))
    # Intensities come in single precision from a coarse grid, in double from the target's.
    for how in (
        Computation(0.1, "band-limited", "direct"),
        Computation(0.1, "band-limited", "density"),
        Computation(0.1, "target", "direct"),
    ):
        model = forward_model(modes, grid, indices, Ranks(), how)
        intensity = model.internal_motion(parameters, points)
        # A run scores maps against the target, and against each other.
        for against in (small, replace(small, intensity=intensity)):
            Comparison(against, model, "pooled", weights, knots).score(intensity)
        model.use_estimator("control-variate")  # by default it may be taken
        model.internal_motion(parameters, points)
        model.use_estimator("sampled")
        if derivatives:
            list(model.mode_slopes(parameters, points, [0]))
            model.gradient(parameters, points, np.ones(len(intensity)), ("mode_amplitude_A",))


def _two_atoms() -> Modes:
    structure = Structure(
        positions=np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]),
        elements=np.array(["C", "O"]),
        atom_names=np.array(["C", "O"]),
        residue_names=np.array(["GLY", "GLY"]),
        residue_numbers=np.array([1, 1]),
        chain_ids=np.array(["A", "A"]),
        occupancies=np.ones(2),
        b_factors_A2=np.ones(2),
    )
    return Modes(structure, np.ones((1, 2, 3)) / np.sqrt(3), np.ones(1), _CELL, "P 1")


def kernels_compiled() -> bool:
    """True where numba's cache holds the transforms, from a source that has not changed since."""
    return all(_cached(kernel) for kernel in (density_kernel.add_moments, direct_sum.add_moments))


def kernel_cache_folder() -> Path:
    """Where numba keeps what it has compiled."""
    return Path(getattr(density_kernel.add_moments, "stats", _Uncached).cache_path)


class _Uncached:
    """Of kernels that run as plain Python (NUMBA_DISABLE_JIT)."""

    cache_path = "."


def _cached(kernel: Any) -> bool:
    if not hasattr(kernel, "stats"):
        return True  # plain Python: nothing to compile
    try:
        # As numba decides: not by time, which says nothing of files that were written anew.
        return bool(kernel._cache._cache_file._load_index())
    except AttributeError:  # of another numba: rather foretell a compiler that is not needed
        return False
