"""Which atoms touch other molecules: those of a crystal structure beside the model, checked."""

from pathlib import Path

import numpy as np

from hpc_diffuser.crystal.copy_beside import APART_A, copy_beside, distance_A
from hpc_diffuser.crystal.lattice import cell_text, same_unit_cell
from hpc_diffuser.crystal.matching import same_atoms
from hpc_diffuser.crystal.structure import superpose
from hpc_diffuser.crystal.symmetry import operators
from hpc_diffuser.io.structures.files import Crystal, read_places, read_structure
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.system.arrays import Floats
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.progress import log

_OTHER_CELL = 5e-3  # of an edge, and in half degrees: crystals of one form differ by less
_MOVED_A = 1.0  # rms that a superposition takes away, more than models of one crystal differ by


def touching_atoms(path: Path, modes: Modes) -> Floats:
    """Where the atoms of a crystal structure are beside the model's: (N, 3) Å.

    Another copy of the molecule, by the crystal's symmetry, is taken to where the model is.

    Raises
    ------
    InputError
        Where the structure is of another crystal, or lies otherwise in it than the model.
    """
    structure, crystal = read_structure(path, tell=lambda line: _tell_models(path, line))
    _require_same_crystal(path, crystal, modes)
    rows = same_atoms(modes.structure, structure)
    known = rows >= 0
    if not known.any():
        raise InputError(
            f"lattice.file: {path} has none of the model's atoms: expected a structure of the same "
            "crystal, with the same numbering"
        )
    places, model = structure.positions[rows[known]], modes.structure.positions[known]
    copy = copy_beside(places, model, modes.unit_cell, modes.space_group)
    _require_beside(path, copy.of(places), model, modes.structure.chain_ids[known])
    if copy.label != "x,y,z":
        log(f"lattice: {path} is another copy of the model: its atoms are taken to {copy.label}")
    return copy.of(read_places(path))


def _tell_models(path: Path, line: str) -> None:
    """Of what is assumed of a structure, which of several models counts."""
    if line.endswith(" models"):
        log(f"lattice: {path}: {' '.join(line.split())}")


def _require_same_crystal(path: Path, crystal: Crystal | None, modes: Modes) -> None:
    if crystal is None:
        log(f"lattice: {path} names no unit cell: assumed the model's")
        return
    own, cell = modes.unit_cell, crystal[0]
    edges = np.allclose(cell[:3], own[:3], rtol=_OTHER_CELL, atol=0)
    if not (edges and np.allclose(cell[3:], own[3:], rtol=0, atol=100 * _OTHER_CELL)):
        raise InputError(
            f"lattice.file: {path} has the unit cell {cell_text(cell)}, the model "
            f"{cell_text(own)}: expected a structure of the same crystal: correct the file, or "
            "[crystal] unit_cell"
        )
    if not same_unit_cell(cell, own):
        log(
            f"lattice: {path} has the unit cell {cell_text(cell)}: its atoms are taken to touch in "
            f"the model's, {cell_text(own)}"
        )
    if _all_operators(crystal[1], own) != _all_operators(modes.space_group, own):
        raise InputError(
            f'lattice.file: {path} is of space group "{crystal[1]}", the model of '
            f'"{modes.space_group}": expected a structure of the same crystal: correct the file, '
            "or [crystal] space_group"
        )


def _all_operators(space_group: str, unit_cell: tuple[float, ...]) -> set[bytes]:
    rotations, translations = operators(space_group, unit_cell)
    wrapped = np.rint(24 * translations).astype(int) % 24
    both = zip(rotations, wrapped, strict=True)
    return {np.column_stack([w, t]).astype(np.int8).tobytes() for w, t in both}


def _require_beside(path: Path, places: Floats, model: Floats, chains: np.ndarray) -> None:
    """Every chain near the model's, and not all of them turned or shifted as a whole."""
    for chain in dict.fromkeys(chains.tolist()):
        away = distance_A(places[chains == chain], model[chains == chain])
        if away > APART_A:
            raise InputError(
                f"lattice.file: chain {chain} of {path} lies {away:.1f} Å from the model's, in the "
                "nearest copy that the space group makes of the structure: expected the same "
                "origin, and the chains in one asymmetric unit"
            )
    superposed = superpose(places[None], model, np.arange(len(model)))[0]
    before, after = (
        float(np.sqrt(((x - model) ** 2).sum(axis=1).mean())) for x in (places, superposed)
    )
    if before - after > _MOVED_A:
        raise InputError(
            f"lattice.file: {path} lies turned or shifted as a whole: its atoms are {before:.1f} Å "
            f"rms from the model's, and {after:.1f} Å once superposed: expected a structure that "
            "lies in the cell as the model does, whose contacts are the crystal's"
        )
