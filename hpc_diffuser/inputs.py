"""From a config to checked arrays: the moving molecule, its crystal, the target."""

from dataclasses import replace

import numpy as np

from hpc_diffuser.config import Config
from hpc_diffuser.errors import InputError
from hpc_diffuser.io.maps import read_target
from hpc_diffuser.io.modes_file import read_modes
from hpc_diffuser.io.structures import read_structure
from hpc_diffuser.lattice import check_unit_cell, laue_operations, same_unit_cell
from hpc_diffuser.modes import Modes
from hpc_diffuser.scattering import form_factors
from hpc_diffuser.target import Target


def load_modes(config: Config) -> Modes:
    """The structure and its modes, in the crystal that the config or the file names.

    Raises
    ------
    InputError
        For a missing or unfit file, too few modes, or no unit cell anywhere.
    """
    structure = config.structure
    if (structure.modes is None) == (structure.file is None):
        raise InputError(
            '[structure]: expected either modes = "modes.h5", or file = "model.pdb" for a model '
            "without modes"
        )
    modes = _structure_only(config) if structure.modes is None else read_modes(structure.modes)
    modes = _with_crystal(modes, config)
    form_factors(np.unique(modes.structure.elements), np.zeros(1))  # refuses unknown elements
    if structure.n_modes is None:
        return modes
    available = len(modes.amplitudes_A)
    if structure.n_modes > available:
        raise InputError(
            f"structure.n_modes = {structure.n_modes}, but {structure.modes or structure.file} "
            f"has {available} modes"
        )
    kept = slice(structure.n_modes)
    return replace(modes, vectors=modes.vectors[kept], amplitudes_A=modes.amplitudes_A[kept])


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
    if not same_unit_cell(target.grid.unit_cell, modes.unit_cell):
        raise InputError(
            f"{config.target.file}: unit cell {_cell_text(target.grid.unit_cell)} differs from "
            f"the model's {_cell_text(modes.unit_cell)}: correct [crystal] unit_cell, or use the "
            "structure of this crystal"
        )
    if not target.free.any() or target.free.all():
        raise InputError(
            f"{config.target.file}: the free set is empty or everything: make the target again "
            "with a --free-fraction between 0 and 1"
        )
    return target


def _structure_only(config: Config) -> Modes:
    structure, crystal = read_structure(config.structure.file)
    unit_cell, space_group = crystal or ((), "P 1")
    return Modes(structure, np.empty((0, len(structure), 3)), np.empty(0), unit_cell, space_group)


def _with_crystal(modes: Modes, config: Config) -> Modes:
    unit_cell = config.crystal.unit_cell or modes.unit_cell
    if not unit_cell:
        raise InputError("[crystal]: the structure names no unit cell: give unit_cell = [...]")
    check_unit_cell(unit_cell, "crystal.unit_cell")
    space_group = config.crystal.space_group or modes.space_group
    if len(laue_operations(space_group)) > 2:
        raise InputError(
            f'space group "{space_group}": the intensities of symmetry-related molecules are not '
            'added yet; [crystal] space_group = "P 1" computes one molecule alone'
        )
    return replace(modes, unit_cell=tuple(unit_cell), space_group=space_group)


def _cell_text(unit_cell: tuple[float, ...]) -> str:
    return " ".join(f"{x:.2f}" for x in unit_cell)
