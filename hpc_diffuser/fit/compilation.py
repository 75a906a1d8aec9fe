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
from hpc_diffuser.fit.config import TargetConfig
from hpc_diffuser.fit.problem import Problem
from hpc_diffuser.fit.scoring import Comparison
from hpc_diffuser.fit.search.method import METHODS
from hpc_diffuser.fit.stepping.likelihood_equations import LikelihoodEquations
from hpc_diffuser.fit.stepping.normal_equations import NormalEquations
from hpc_diffuser.kernels import density as density_kernel
from hpc_diffuser.kernels import density_adjoint, direct_sum, lattice_form
from hpc_diffuser.maps.target import Target
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.lattice.full_springs import N_SHAPE
from hpc_diffuser.motion.lattice.rigid_lattice import rigid_lattice
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import ForwardModel, forward_model
from hpc_diffuser.scattering.molecule import Computation

_CELL = (9.0, 10.0, 11.0, 90.0, 90.0, 90.0)
_REACH_A = 12.0  # of springs: beyond the nearest molecules


def compile_kernels(problem: Problem) -> None:
    """Evaluate a model of four atoms in every way that a fit may take, on this rank alone.

    Parameters
    ----------
    problem : Problem
        Kernels are compiled for the types of its target's numbers, and those of springs and of
        slopes where it needs them.
    """
    options = problem.config.target
    derivatives = METHODS[problem.config.search.method].steps_after is not None
    target = _small(problem.target)
    modes = _four_atoms(coupled=problem.modes.lattice is not None)
    parameters, normals = _moving(modes), np.ones((4, 4))
    # Intensities come in single precision from a coarse grid, in double from the target's.
    for how in (
        Computation(0.1, "band-limited", "direct"),
        Computation(0.1, "band-limited", "density"),
        Computation(0.1, "target", "direct"),
    ):
        model = forward_model(modes, target.grid, target.indices, Ranks(), how)
        intensity = model.internal_motion(parameters, normals)
        # A run scores maps against the target, and against each other.
        for against in (target, replace(target, intensity=intensity)):
            Comparison(against, model, "pooled", options.weights, options.knots).score(intensity)
        if modes.lattice is None:
            model.use_estimator("control-variate")  # by default it may be taken
            model.internal_motion(parameters, normals)
            model.use_estimator("sampled")
        if derivatives:
            _differentiate(model, target, options, parameters, normals)
    crystal_gamma_A = problem.space.at_least("crystal_llm_gamma_A")
    if crystal_gamma_A:
        of_crystal = Computation(0.1, crystal_gamma_A=crystal_gamma_A)
        model = forward_model(modes, target.grid, target.indices, Ranks(), of_crystal)
        disorder = Disorder(crystal_llm_sigma_A=0.1, crystal_llm_gamma_A=crystal_gamma_A)
        model.internal_motion(Parameters(np.zeros(1), disorder), normals)


def _small(target: Target) -> Target:
    """A few voxels in place of a target's, their numbers of the same types."""
    grid = grid_to_resolution(_CELL, (3, 3, 3), 3.5)
    indices = grid.indices_between(20.0, 3.5)
    values = np.arange(1, len(indices) + 1)
    return Target(
        grid,
        indices,
        values.astype(target.intensity.dtype),
        values.astype((target.intensity if target.errors is None else target.errors).dtype),
        np.zeros(len(indices), bool),
        np.array([1 / 20.0, 1 / 3.5]),
        "P 1",
    )


def _four_atoms(coupled: bool) -> Modes:
    """With springs between their molecules, or without."""
    structure = Structure(
        positions=np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]),
        elements=np.array(["C", "O", "C", "C"]),
        atom_names=np.array(["C", "O", "CA", "CB"]),
        residue_names=np.array(["ALA"] * 4),
        residue_numbers=np.ones(4, int),
        chain_ids=np.array(["A"] * 4),
        occupancies=np.ones(4),
        b_factors_A2=np.ones(4),
    )
    lattice = rigid_lattice(structure, _CELL, "P 1", contact_A=_REACH_A) if coupled else None
    fields = np.ones((1, 4, 3)) / np.sqrt(3)
    return Modes(structure, fields, np.ones(1), _CELL, "P 1", lattice=lattice)


def _moving(modes: Modes) -> Parameters:
    """As wholes too: by springs of any shape where there are some."""
    amplitudes, lattice = np.array([0.1]), modes.lattice
    if lattice is None:
        return Parameters(amplitudes, Disorder(0.1, 0.1))
    shape = (0.0,) * (N_SHAPE * lattice.springs.n_interfaces)
    return Parameters(amplitudes, lattice_spring_A=0.1, lattice_shape=shape, lattice=lattice)


def _differentiate(
    model: ForwardModel,
    target: Target,
    options: TargetConfig,
    parameters: Parameters,
    normals: np.ndarray,
) -> None:
    """What a step takes: slopes, their products, and the exact gradient."""
    columns = list(model.mode_slopes(parameters, normals, [0]))
    names: tuple[str, ...] = ("mode_amplitude_A",)
    if parameters.lattice is not None:
        columns += model.spring_slopes(parameters, normals)
        names += ("lattice_spring_A",)
    comparison = Comparison(target, model, "pooled", options.weights, options.knots)
    intensity = model.internal_motion(parameters, normals)
    _, slope = comparison.slope(intensity)
    model.gradient(parameters, normals, slope, names)
    equations: NormalEquations | LikelihoodEquations
    if options.knots is None:
        equations = NormalEquations(target, model, options.cc_rule, options.weights)
    else:
        equations = LikelihoodEquations(target, model, options.knots)
    equations.of(intensity, enumerate(columns), len(columns))


def compiler_MB(problem: Problem) -> float:
    """What a rank keeps of compiling those of a fit's kernels that numba's cache lacks.

    Measured on two ranks, with numba 0.68; a fit holds it until its end.
    """
    stepping = METHODS[problem.config.search.method].steps_after is not None
    needed = [
        (400.0, kernels_compiled()),
        (120.0, not stepping or _cached(density_adjoint.pull_back)),
        (190.0, problem.modes.lattice is None or _cached(lattice_form.quadratic_forms)),
    ]
    return sum(size for size, is_there in needed if not is_there)


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
