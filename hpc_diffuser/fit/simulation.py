"""A map of the motions that a config describes, or of a trajectory's own frames."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from hpc_diffuser.crystal.lattice import HklGrid, grid_to_resolution
from hpc_diffuser.crystal.structure import require_same_atoms
from hpc_diffuser.crystal.symmetry import grid_operations, unique_indices
from hpc_diffuser.fit.config import REFINE, Config
from hpc_diffuser.fit.estimator_choice import Trial, cheapest_estimator, choice_text, named_text
from hpc_diffuser.fit.inputs import load_modes, tell_contacts
from hpc_diffuser.fit.problem import (
    NOISE,
    computation,
    ensemble_sampler,
    require_expansion,
)
from hpc_diffuser.fit.run.directory import input_hashes
from hpc_diffuser.fit.scoring import Comparison
from hpc_diffuser.fit.space import SearchSpace, held_space
from hpc_diffuser.io.maps.native import write_map
from hpc_diffuser.io.plausible import MOST_POINTS
from hpc_diffuser.io.trajectories.given import TrajectoryFiles
from hpc_diffuser.io.trajectories.in_crystal import crystal_frames
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.noise import with_noise
from hpc_diffuser.maps.statistics import shell_edges
from hpc_diffuser.maps.target import Target
from hpc_diffuser.motion.ensemble import Sampler
from hpc_diffuser.motion.lattice.rigid_lattice import turn_deg, why_turned_too_far
from hpc_diffuser.motion.modes import Modes, with_frames
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.random_numbers import generator
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.collecting import whole_map
from hpc_diffuser.scattering.model import ForwardModel, forward_model
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.progress import log


def simulate(
    config: Config,
    config_text: str,
    path: Path,
    files: TrajectoryFiles | None,
    world: Ranks,
    noise: float | None = None,
) -> DiffuseMap | None:
    """From a config to a map's file; the map, on the root.

    Parameters
    ----------
    config : Config
    config_text : str
        Stored with the map.
    path : Path
    files, world, noise
        As of `simulated_map`.
    """
    diffuse = simulated_map(config, files, world, noise)

    def save() -> None:
        provenance = {"command": "hpc-diffuser simulate", "config": config_text}
        provenance |= {} if noise is None else {"noise": noise}
        provenance |= {f"sha256 {key}": digest for key, digest in input_hashes(config).items()}
        write_map(path, diffuse, provenance | (files.hashes() if files else {}))

    world.from_root(save)
    return diffuse


def simulated_map(
    config: Config, files: TrajectoryFiles | None, world: Ranks, noise: float | None = None
) -> DiffuseMap | None:
    """The map of a config whose parameters are all held, on the root.

    Parameters
    ----------
    config : Config
    files : TrajectoryFiles or None
        The ensemble is then the trajectory's own frames, instead of motion along the modes.
    world : Ranks
    noise : float or None
        As of `with_noise`, by the seed of [model]; the map then has errors.
    """
    modes, space = world.from_root(lambda: _simulation(config, files))
    grid = _grid(config, modes)
    operations = grid_operations(grid, modes.space_group)
    indices = unique_indices(grid, np.inf, config.grid.d_min_A, operations)
    how = computation(config.model, modes, space)
    forward = forward_model(modes, grid, indices, world, how)
    sampler = ensemble_sampler(config.model, modes, space)
    samples = _samples(config, forward, grid, indices, space.middle, sampler)
    told = named_text(config.model.estimator, forward, space.middle, config.grid.d_min_A)
    if told and forward.group.is_root:
        log(told)
    values = forward.internal_motion(space.middle, sampler.draw(samples))
    diffuse = whole_map(forward, modes, grid, indices, values)
    if diffuse is not None and noise is not None:
        stream = generator(config.model.seed, NOISE)
        diffuse = with_noise(diffuse, noise, config.grid.d_min_A, stream)
    return diffuse


def _samples(
    config: Config,
    forward: ForwardModel,
    grid: HklGrid,
    indices: np.ndarray,
    parameters: Parameters,
    sampler: Sampler,
) -> int:
    """The configured number of samples, or as many as the accuracy asks for."""
    options = config.model
    if options.samples != "auto":
        return options.samples
    nothing = np.zeros(len(indices))
    edges = shell_edges(np.inf, config.grid.d_min_A, 20)
    unmeasured = Target(grid, indices, nothing, None, nothing > 0, edges, "P 1")
    comparison = Comparison(unmeasured, forward, "pooled", "none")
    trial = Trial(forward, comparison, options, sampler)
    if options.estimator == "auto":
        found = cheapest_estimator(trial, parameters, parameters)
    else:
        found = trial.of_named(parameters, options.estimator)
    forward.use_estimator(found.estimator)
    if forward.group.is_root:
        if options.estimator == "auto":
            log(choice_text(found))
        log(f"samples: {found.samples}; they leave an error 1 - CC of {found.map_error:.1e}")
    return found.samples


def _simulation(config: Config, files: TrajectoryFiles | None) -> tuple[Modes, SearchSpace]:
    if config.structure.weights == REFINE:
        raise InputError(
            'structure.weights = "refine" is of a fit alone: give numbers to simulate, or leave '
            "them out"
        )
    modes, given = load_modes(config), config.parameters
    _grid(config, modes)
    if given.halo_alpha[1]:
        raise InputError("parameters.halo_alpha: simulate has no measured map to take halos from")
    if files is None:
        correlated = config.structure.correlated_modes
        space = held_space(given, modes.amplitudes_A, correlated, modes.lattice)
        require_expansion(config.model, modes, space)
        tell_contacts(modes)
        tell_large_turns(modes, space)
        return modes, space
    # The frames bring their own internal motion: the modes' weights, even ranges, play no part.
    still = replace(given, mode_amplitude_A=None, mode_correlation=(0.0, 0.0))
    found = crystal_frames(files)
    against = f"{files.topology} against the config's modes"
    require_same_atoms(found.structure, modes.structure, against)
    for note in found.notes:
        log(note)
    modes = with_frames(modes, found.positions)
    space = held_space(still, modes.amplitudes_A, lattice=modes.lattice)
    require_expansion(config.model, modes, space)
    tell_large_turns(modes, space)
    return modes, space


def tell_large_turns(modes: Modes, space: SearchSpace) -> None:
    """Where springs let molecules turn farther than linear dynamics holds."""
    if modes.lattice is None:
        return
    why = why_turned_too_far(turn_deg(modes.lattice.covariance(space.middle.springs)))
    if why:
        log(f"lattice: by these springs {why}; make parameters.lattice_spring_A smaller")


def _grid(config: Config, modes: Modes) -> HklGrid:
    grid = grid_to_resolution(modes.unit_cell, config.grid.oversampling, config.grid.d_min_A)
    if min(grid.extent) < 1:
        raise InputError(
            f"grid.d_min_A = {config.grid.d_min_A:g} Å is coarser than the cell "
            f"{modes.unit_cell[:3]}: expected a few reciprocal-lattice units in every direction"
        )
    points = math.prod(grid.shape)
    if points > MOST_POINTS:
        raise InputError(
            f"grid.d_min_A = {config.grid.d_min_A:g} Å and grid.oversampling = "
            f"{list(config.grid.oversampling)} make a grid of {points:.1e} points in the cell "
            f"{modes.unit_cell[:3]}: expected at most {MOST_POINTS:.1e}"
        )
    return grid
