"""The commands before and beside a fit: modes, target, simulate."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hpc_diffuser.config import Config
from hpc_diffuser.convergence import enough_samples
from hpc_diffuser.errors import InputError
from hpc_diffuser.inputs import load_modes
from hpc_diffuser.io.maps import read_map, write_map, write_target
from hpc_diffuser.io.modes_file import write_modes
from hpc_diffuser.io.run_directory import input_hashes
from hpc_diffuser.io.storage import sha256
from hpc_diffuser.io.structures import read_structure, write_pdb
from hpc_diffuser.io.trajectories import NON_HYDROGEN, read_trajectory
from hpc_diffuser.lattice import HklGrid, grid_to_resolution
from hpc_diffuser.model import Comparison, ForwardModel, collect, forward_model
from hpc_diffuser.modes import (
    Modes,
    effective_b_factors,
    elastic_network_modes,
    principal_components,
)
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.parameters import Parameters, held_parameters
from hpc_diffuser.progress import log
from hpc_diffuser.sampling import generator, normal_samples
from hpc_diffuser.statistics import shell_edges
from hpc_diffuser.structure import Structure, match_backbone, require_same_atoms, superpose
from hpc_diffuser.target import (
    DiffuseMap,
    Target,
    TargetOptions,
    make_target,
    map_from_voxels,
)


@dataclass(frozen=True)
class TrajectoryFiles:
    """A trajectory and what is needed to put it into the crystal.

    Attributes
    ----------
    trajectory, topology, reference : Path
    selection : str
        In mdtraj's language.
    """

    trajectory: Path
    topology: Path
    reference: Path
    selection: str = NON_HYDROGEN

    def hashes(self) -> dict[str, str]:
        """SHA-256 of the three files, as attributes for what is made of them."""
        names = ("trajectory", "topology", "reference")
        return {f"sha256 {name}": sha256(getattr(self, name)) for name in names}


def crystal_frames(files: TrajectoryFiles) -> tuple[Structure, np.ndarray, tuple]:
    """The selected atoms of all frames, superposed on the crystal structure by their backbone.

    Returns
    -------
    structure : Structure
        The selected atoms.
    frames : (F, N, 3) float, Å
    crystal : (unit cell, space group)
    """
    reference, crystal = read_structure(files.reference)
    if crystal is None:
        raise InputError(f"{files.reference}: no unit cell: expected a crystal structure")
    structure, frames, select = read_trajectory(files.trajectory, files.topology)
    rows = select(files.selection)
    moving, fixed = match_backbone(structure, reference)
    frames = superpose(frames, reference.positions[fixed], moving)
    return structure.select(rows), frames[:, rows], crystal


def modes_from_trajectory(files: TrajectoryFiles, n_modes: int) -> Modes:
    """Principal components of a trajectory in the crystal frame, about its mean structure."""
    structure, frames, crystal = crystal_frames(files)
    vectors, amplitudes = principal_components(frames, n_modes)
    mean = replace(
        structure, positions=frames.mean(axis=0), b_factors_A2=effective_b_factors(frames)
    )
    return Modes(mean, vectors, amplitudes, *crystal)


def modes_from_network(reference: Path, n_modes: int) -> Modes:
    """Elastic-network modes of a crystal structure, scaled to its B-factors."""
    structure, crystal = read_structure(reference)
    if crystal is None:
        raise InputError(f"{reference}: no unit cell: expected a crystal structure")
    return Modes(structure, *elastic_network_modes(structure, n_modes), *crystal)


def save_modes(path: Path, modes: Modes, inputs: list[Path], provenance: dict[str, str]) -> Path:
    """Write modes.h5 and, beside it, the mean structure as PDB; the PDB's path.

    Raises
    ------
    InputError
        Where that would replace one of the `inputs`.
    """
    pdb = path.with_name(f"{path.stem}-mean.pdb")
    for output in (path, pdb):
        if output.resolve() in {source.resolve() for source in inputs}:
            raise InputError(f"{output} is an input, and would be replaced: give another --output")
    write_modes(path, modes, provenance)
    write_pdb(pdb, modes.structure, (modes.unit_cell, modes.space_group))
    return pdb


def save_target(source: Path, path: Path, options: TargetOptions) -> Target:
    """From a map's file to target.h5."""
    try:
        target = make_target(read_map(source), options)
    except InputError as exc:
        message = str(exc)
        raise exc if str(source) in message else InputError(f"{source}: {message}") from exc
    settings = {f"target {key}": str(value) for key, value in vars(options).items()}
    write_target(
        path, target, {"command": "hpc-diffuser target", "sha256 map": sha256(source)} | settings
    )
    return target


def simulate(
    config: Config, config_text: str, path: Path, files: TrajectoryFiles | None, world: Ranks
) -> DiffuseMap | None:
    """From a config to a map's file; the map, on the root.

    Parameters
    ----------
    config : Config
    config_text : str
        Stored with the map.
    path : Path
    files : TrajectoryFiles or None
        The ensemble is then the trajectory's own frames, instead of motion along the modes.
    world : Ranks
    """
    modes, parameters, frames = world.from_root(lambda: _simulation(config, files))
    grid = _grid(config, modes)
    model = config.model
    if frames is None:
        motion_A = float(np.linalg.norm(parameters.mode_amplitudes_A))
    else:
        motion_A = float(np.sqrt(np.mean((frames - modes.structure.positions) ** 2) * 3))
    indices = grid.indices_between(np.inf, config.grid.d_min_A)
    forward = forward_model(modes, grid, indices, world, motion_A, model.grid, model.transform)
    if frames is None:
        values = forward.internal_motion(parameters, _normals(config, forward, grid, parameters))
    else:
        values = forward.ensemble(frames, parameters.disorder)
    diffuse = whole_map(forward, modes, grid, indices, values)

    def save() -> None:
        provenance = {"command": "hpc-diffuser simulate", "config": config_text}
        provenance |= {f"sha256 {key}": digest for key, digest in input_hashes(config).items()}
        write_map(path, diffuse, provenance | (files.hashes() if files else {}))

    world.from_root(save)
    return diffuse


def _normals(
    config: Config, forward: ForwardModel, grid: HklGrid, parameters: Parameters
) -> np.ndarray:
    """The configured number of sample points, or as many as the accuracy asks for."""
    options, n_modes = config.model, len(parameters.mode_amplitudes_A)

    def draw(samples: int, *purpose: int) -> np.ndarray:
        return normal_samples(options.sampler, samples, n_modes, generator(options.seed, *purpose))

    if options.samples != "auto":
        return draw(options.samples)
    indices = grid.indices_between(np.inf, config.grid.d_min_A)
    nothing = np.zeros(len(indices))
    edges = shell_edges(np.inf, config.grid.d_min_A, 20)
    unmeasured = Target(grid, indices, nothing, None, nothing > 0, edges, "P 1")
    comparison = Comparison(unmeasured, forward, "pooled", "none")
    found = enough_samples(forward, comparison, parameters, draw, options.map_error)
    if forward.group.is_root:
        log(f"samples: {found.samples}; they leave an error 1 - CC of {found.map_error:.1e}")
    return draw(found.samples)


def whole_map(
    model: ForwardModel, modes: Modes, grid: HklGrid, indices: np.ndarray, values: np.ndarray
) -> DiffuseMap | None:
    """The map of a model's values, on the root; None on the other ranks."""
    collected = collect(model, values, len(indices))
    if collected is None:
        return None
    return map_from_voxels(grid, indices, collected, modes.space_group)


def _simulation(
    config: Config, files: TrajectoryFiles | None
) -> tuple[Modes, Parameters, np.ndarray | None]:
    modes = load_modes(config)
    _grid(config, modes)
    if files is None:
        return modes, held_parameters(config.parameters, modes.amplitudes_A), None
    # The frames bring their own internal motion: the modes' weights, even ranges, play no part.
    disorder_only = replace(config.parameters, mode_amplitude_A=(0.0, 0.0))
    structure, frames, _ = crystal_frames(files)
    require_same_atoms(structure, modes.structure, f"{files.topology} against the config's modes")
    return modes, held_parameters(disorder_only, modes.amplitudes_A), frames


def _grid(config: Config, modes: Modes) -> HklGrid:
    grid = grid_to_resolution(modes.unit_cell, config.grid.oversampling, config.grid.d_min_A)
    if min(grid.extent) < 1:
        raise InputError(
            f"grid.d_min_A = {config.grid.d_min_A:g} Å is coarser than the cell "
            f"{modes.unit_cell[:3]}: expected a few reciprocal-lattice units in every direction"
        )
    return grid
