"""NMD, the modes' format of NMWiz (a part of VMD) and of ProDy: a line for each kind of datum."""

import numpy as np

from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.motion.modes import Modes


def nmd_bytes(modes: Modes, title: str) -> bytes:
    """All modes that move, with their mean structure.

    A mode's array has length 1, and its scale is √eigenvalue, the standard deviation of the
    coefficient of an array of that length: amplitude · √N in Å. By these, arrows and animations
    have the modes' true proportions.

    Parameters
    ----------
    modes : Modes
    title : str
    """
    lines = [f"name {_word(title)}", *_atoms(modes.structure)]
    root = np.sqrt(len(modes.structure))
    for number, amplitude in enumerate(modes.amplitudes_A, start=1):
        if amplitude > 0:
            array = _numbers(modes.vectors[number - 1] / root, "%.7f")
            lines.append(f"mode {number} {amplitude * root:.6f} {array}")
    return "\n".join([*lines, ""]).encode()


def _atoms(structure: Structure) -> list[str]:
    """Lines of the atoms. Readers part words at blanks: where no chain has a letter, no line."""
    named = {
        "atomnames": structure.atom_names,
        "resnames": structure.residue_names,
        "chainids": structure.chain_ids,
    }
    lines = [
        f"{key} {' '.join(map(_word, words.tolist()))}"
        for key, words in named.items()
        if any(word.strip() for word in words.tolist())
    ]
    return [
        *lines,
        f"resids {_numbers(structure.residue_numbers, '%d')}",
        f"bfactors {_numbers(structure.b_factors_A2, '%.2f')}",
        f"coordinates {_numbers(structure.positions, '%.3f')}",
    ]


def _word(text: str) -> str:
    return "_".join(text.split()) or "_"


def _numbers(values: np.ndarray, form: str) -> str:
    return " ".join(form % value for value in values.ravel().tolist())
