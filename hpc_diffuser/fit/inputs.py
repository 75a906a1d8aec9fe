"""From a config to checked arrays: the moving molecule, its crystal, the target."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from hpc_diffuser.crystal.atom_factors import form_factors
from hpc_diffuser.crystal.chains import chain_letters
from hpc_diffuser.crystal.lattice import centring, laue_operations, same_unit_cell
from hpc_diffuser.crystal.matching import same_atoms
from hpc_diffuser.crystal.solvent import bare_residues, displaced_volumes
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.fit.config import REFINE, Config, StructureConfig
from hpc_diffuser.fit.touching import touching_atoms
from hpc_diffuser.io.maps.native import read_target
from hpc_diffuser.io.modes_file import read_modes
from hpc_diffuser.io.opened import opened
from hpc_diffuser.io.plausible import check_crystal
from hpc_diffuser.io.structures.files import Crystal, read_models, read_structure
from hpc_diffuser.io.trajectories.given import TrajectoryFiles
from hpc_diffuser.io.trajectories.in_crystal import crystal_frames
from hpc_diffuser.io.trajectories.kinds import is_trajectory
from hpc_diffuser.maps.target import Target
from hpc_diffuser.motion.bases import carried
from hpc_diffuser.motion.lattice.rigid_lattice import rigid_lattice
from hpc_diffuser.motion.modes import Modes, why_no_b_factors, with_frames
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.progress import log


def crystal_b_factors(structure: Structure, crystal: Structure) -> np.ndarray:
    """The crystal's B-factors of a structure's atoms: (N,) Å²; NaN for atoms that it lacks."""
    rows = same_atoms(structure, crystal)
    return np.where(rows >= 0, crystal.b_factors_A2[rows], np.nan)


def crystal_displacements(structure: Structure, crystal: Structure) -> np.ndarray:
    """The crystal's ANISOU records of a structure's atoms: (N, 3, 3) Å²; NaN where it has none."""
    rows = same_atoms(structure, crystal)
    return np.where(rows[:, None, None] >= 0, crystal.u_A2[rows], np.nan)


def load_modes(config: Config) -> Modes:
    """The structure and its modes, in the crystal that the config or the file names.

    Raises
    ------
    InputError
        For a missing or unfit file, too few modes, or no unit cell anywhere.
    """
    modes = _with_b_factors(_with_crystal(_some_modes(_source(config), config), config), config)
    modes = _with_lattice(modes, config)
    form_factors(np.unique(modes.structure.elements), np.zeros(1))  # refuses unknown elements
    if config.parameters.k_sol_eA3[1]:
        displaced_volumes(modes.structure)  # refuses those, too, whose volume is not known
        if bare := bare_residues(modes.structure):
            log(
                f"solvent: the hydrogens of {', '.join(bare)} are not known: their heavy atoms' "
                "volume alone displaces it"
            )
    return modes


def load_target(config: Config, modes: Modes) -> Target:
    """The target of a fit.

    Raises
    ------
    InputError
        Where it is missing, or its cell is not the model's.
    """
    if config.target.file is None:
        raise InputError('[target]: expected file = "target.h5", as hpc-diffuser target makes it')
    target = read_target(config.target.file)
    require_same_crystal(config.target.file, target, (modes.unit_cell, modes.space_group))
    if not target.free.any() or target.free.all():
        raise InputError(
            f"{config.target.file}: the free set is empty or everything: make the target again "
            "with a --free-fraction between 0 and 1"
        )
    return target


def require_same_crystal(path: Path, target: Target, crystal: Crystal) -> None:
    """Raise InputError unless a target is of the model's crystal (unit cell, space group)."""
    unit_cell, space_group = crystal
    if not same_unit_cell(target.grid.unit_cell, unit_cell):
        raise InputError(
            f"{path}: unit cell {_cell_text(target.grid.unit_cell)} differs from "
            f"the model's {_cell_text(unit_cell)}: correct [crystal] unit_cell, or use the "
            "structure of this crystal"
        )
    if not same_symmetry(target.space_group, space_group, unit_cell):
        raise InputError(
            f'{path}: made for space group "{target.space_group}", but the model\'s '
            f'is "{space_group}": correct [crystal] space_group, or the map\'s, and make the '
            "target again"
        )


def same_symmetry(one: str, other: str, unit_cell: tuple[float, ...]) -> bool:
    """Whether two space groups of a cell have one Laue class and one centring."""
    ours, theirs = (
        (set(map(bytes, laue_operations(name, unit_cell))), centring(name, unit_cell))
        for name in (one, other)
    )
    return ours == theirs


def _source(config: Config) -> Modes:
    """What [structure] names: modes, a structure alone, or an ensemble of models."""
    given = config.structure
    if sum(path is not None for path in (given.modes, given.file, given.ensemble)) != 1:
        raise InputError(
            '[structure]: expected either modes = "modes.h5", or file = "model.pdb" for a model '
            'without modes, or ensemble = "models.pdb" or "trajectory.xtc"'
        )
    for name in ("weights", "given_weights", "topology", "reference"):
        if getattr(given, name) is not None and given.ensemble is None:
            raise InputError(f"structure.{name}: expected it with an ensemble only")
    if given.positions is not None and given.modes is None:
        raise InputError("structure.positions: expected it with modes only")
    if given.modes is not None:
        return _moved(read_modes(given.modes), given)
    if given.file is not None:
        return _without_modes(*read_structure(given.file, given.conformer, given.hydrogens))
    structure, frames, crystal = _ensemble(given)
    weights = _weights(given, len(frames))
    if given.weights == REFINE:
        require_refinable(frames)
    elif weights is not None:
        frames, weights = _with_weight(frames, weights)
    ensemble = with_frames(_without_modes(structure, crystal), frames, weights)
    return _mean_alone(ensemble) if given.n_modes == 0 else ensemble


def _weights(given: StructureConfig, n_frames: int) -> np.ndarray | None:
    """As given of an ensemble's frames, on any scale; None where all are alike."""
    refines = given.weights == REFINE
    if given.given_weights is not None and not refines:
        raise InputError(
            'structure.given_weights: expected it with weights = "refine", which begins there; '
            "where they are held, give weights = [...]"
        )
    name, weights = "weights", given.weights
    if isinstance(weights, str):
        name, weights = "given_weights", given.given_weights
    if weights is None:
        return None
    if len(weights) != n_frames:
        raise InputError(
            f"structure.{name} has {len(weights)} entries for the {n_frames} models of "
            f"{given.ensemble}: give one for each"
        )
    return np.array(weights)


def _with_weight(frames: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames (F, N, 3) and their weights without those of weight 0, which no map has."""
    some = weights > 0
    if not some.all():
        log(
            f"structure.weights: {(~some).sum()} of {len(frames)} frames have no weight and are "
            "left out"
        )
    return frames[some], weights[some]


def require_refinable(frames: np.ndarray) -> None:
    """Raise InputError where no map says anything of the weights of frames (F, N, 3)."""
    what = 'structure.weights = "refine"'
    if len(frames) < 2:
        raise InputError(f"{what}: the ensemble has one frame, whose weight is 1: expected several")
    if np.ptp(frames, axis=0).max() == 0:
        raise InputError(
            f"{what}: all {len(frames)} frames are identical, so that nothing depends on their "
            "weights: expected different ones"
        )


def _moved(modes: Modes, given: StructureConfig) -> Modes:
    """Modes as motions of the structure of [structure] positions, where there is one."""
    if given.positions is None:
        return modes
    try:
        moved, still = carried(modes, _still(given.positions, given))
    except InputError as exc:
        raise InputError(f"structure.positions: {given.positions}: {exc}") from exc
    if still:
        log(f"{given.positions}: {still} atoms that {given.modes} lacks stand still")
    return moved


def _still(path: Path, given: StructureConfig) -> Modes:
    """The mean structure of a modes file, or of a PDB or mmCIF file, with its B-factors."""
    with opened(path, "structure") as file:
        if file.is_hdf5:
            return read_modes(file)
    still = _without_modes(*read_structure(path, given.conformer, given.hydrogens))
    return replace(still, crystal_b_A2=still.structure.b_factors_A2)


def _ensemble(given: StructureConfig) -> tuple[Structure, np.ndarray, tuple | None]:
    """Conformations, of several models or of a trajectory, about their mean."""
    named = given.topology, given.reference
    of_trajectory = is_trajectory(given.ensemble.name)
    if None in named and (any(named) or of_trajectory):
        raise InputError(
            f"structure.ensemble = {given.ensemble.name}: a trajectory needs both topology = "
            '"topology.pdb" and reference = "crystal.pdb", the structure that it is superposed on'
        )
    if None in named:
        return read_models(given.ensemble, given.conformer, given.hydrogens)
    files = TrajectoryFiles(
        given.ensemble, *named, conformer=given.conformer, hydrogens=given.hydrogens
    )
    found = crystal_frames(files)
    for note in found.notes:
        log(note)
    mean = replace(found.structure, positions=found.positions.mean(axis=0))
    return mean, found.positions, found.crystal


def _mean_alone(ensemble: Modes) -> Modes:
    """An ensemble's mean structure, which does not move: what n_modes = 0 leaves of it."""
    mean = np.average(ensemble.frames, axis=0, weights=ensemble.weights)
    structure = replace(ensemble.structure, positions=mean)
    return replace(ensemble, structure=structure, frames=None, weights=None)


def _without_modes(structure: Structure, crystal: tuple | None) -> Modes:
    unit_cell, space_group = crystal or ((), "P 1")
    return Modes(structure, np.empty((0, len(structure), 3)), np.empty(0), unit_cell, space_group)


def _some_modes(modes: Modes, config: Config) -> Modes:
    """The first modes, as many as are asked for."""
    given, available = config.structure, len(modes.amplitudes_A)
    n_modes = available if given.n_modes is None else given.n_modes
    if n_modes > available:
        source = given.modes or given.file or given.ensemble
        raise InputError(f"structure.n_modes = {n_modes}, but {source} has {available} modes")
    if given.correlated_modes > n_modes:
        raise InputError(
            f"structure.correlated_modes = {given.correlated_modes}, but there are {n_modes} modes"
        )
    kept = slice(n_modes)
    return replace(modes, vectors=modes.vectors[kept], amplitudes_A=modes.amplitudes_A[kept])


def _with_b_factors(modes: Modes, config: Config) -> Modes:
    """The B-factors of the crystal structure; a structure without modes is that itself."""
    source = config.crystal.file or config.structure.reference
    if source is not None:
        given = config.structure
        crystal, _ = read_structure(source, given.conformer, given.hydrogens)
        found = crystal_b_factors(modes.structure, crystal)
        if np.isnan(found).all():
            raise InputError(
                f"{source}: has none of the model's atoms: expected the structure of the "
                "same protein with the same numbering"
            )
        u = crystal_displacements(modes.structure, crystal)
        modes = replace(modes, crystal_b_A2=found, crystal_u_A2=u)
    elif config.structure.file is not None:
        own = modes.structure
        modes = replace(modes, crystal_b_A2=own.b_factors_A2, crystal_u_A2=own.u_A2)
    missing = why_no_b_factors(modes)
    if missing and config.parameters.residual_b_fraction[1]:
        raise InputError(
            'parameters.residual_b_fraction: expected [crystal] file = "crystal.pdb", whose '
            f"B-factors the motions should explain: {missing}"
        )
    return modes


def _with_crystal(modes: Modes, config: Config) -> Modes:
    unit_cell = config.crystal.unit_cell or modes.unit_cell
    if not unit_cell:
        raise InputError("[crystal]: the structure names no unit cell: give unit_cell = [...]")
    space_group = config.crystal.space_group or modes.space_group
    if not modes.unit_cell and not config.crystal.space_group:
        log('[crystal]: assumed space group "P 1": neither it nor the structure names one')
    check_crystal(unit_cell, space_group, "crystal.unit_cell")
    return replace(modes, unit_cell=tuple(unit_cell), space_group=space_group)


def _with_lattice(modes: Modes, config: Config) -> Modes:
    """The springs between the molecules, where the model has them."""
    given = config.parameters.lattice_spring_A
    if not np.any(given):
        return modes
    crystal, own = (modes.unit_cell, modes.space_group), config.lattice
    touching = touching_atoms(own.file, modes) if own.file is not None else None
    lattice = rigid_lattice(modes.structure, *crystal, touching, own.contact_A)
    n, several = lattice.springs.n_interfaces, np.ndim(given) == 2
    if several and len(given) != n:
        labels = ", ".join(lattice.springs.packing.labels())
        raise InputError(
            f"parameters.lattice_spring_A has {len(given)} entries for the crystal's {n} "
            f"interfaces, {labels}: give one for each, or one for all"
        )
    return replace(modes, lattice=lattice)


def tell_contacts(modes: Modes) -> None:
    """Log the interfaces between molecules on springs, in the order of a list of their lengths."""
    if modes.lattice is None:
        return
    packing = modes.lattice.springs.packing
    found = zip(packing.labels(), packing.firsts(), strict=True)
    told = "; ".join(f"{label} ({len(first.atoms)})" for label, first in found)
    log(f"lattice: {packing.n_interfaces} interfaces, with their pairs of atoms: {told}")
    if len(chains := chain_letters(modes.structure)) > 1:
        log(
            f"lattice: chains {', '.join(chains)} move as one body, as they lie in the model: no "
            "springs are between them"
        )


def _cell_text(unit_cell: tuple[float, ...]) -> str:
    return " ".join(f"{x:.2f}" for x in unit_cell)
