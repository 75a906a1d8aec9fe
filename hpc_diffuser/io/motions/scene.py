"""A molecule and its modes to look at: what the scripts for viewers show, and load."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_diffuser.system.arrays import Floats

# Dark to light, in order also for colour-blind readers and in grey.
COLOURS = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")
_LONGEST_A = 6.0  # that the longest arrow has at least, to stand out of a cartoon
_SHORTEST_A = 1.0  # of a shorter one nothing but the head would be seen


@dataclass(frozen=True)
class ModeScene:
    """A mode: models along it, and arrows.

    Attributes
    ----------
    number : int
        From 1.
    path : str
        Name of the PDB with the models, whose B column holds displacements in Å.
    n_models : int
    reach_A : float
        That the last colour stands for: of a Cα that moves far in it.
    arrows : (k, 2, 3) float, Å
        From the mean positions, `factor` times as long as the displacements.
    factor : int
    """

    number: int
    path: str
    n_models: int
    reach_A: float
    arrows: Floats
    factor: int


@dataclass(frozen=True)
class Scene:
    """What a script shows.

    Attributes
    ----------
    title : str
        In one line.
    mean : str
        Name of the PDB with the mean structure, whose B column holds rms displacements in Å.
    least_A, most_A : float
        Of these, that the first and the last colour stand for, of the Cα.
    modes : tuple of ModeScene
    notes : tuple of str
        Lines for the script's head.
    """

    title: str
    mean: str
    least_A: float
    most_A: float
    modes: tuple[ModeScene, ...]
    notes: tuple[str, ...] = ()


def arrows(positions: Floats, displacements: Floats) -> tuple[Floats, int]:
    """Arrows from positions, as many times as long as it takes to see the longest.

    Parameters
    ----------
    positions, displacements : (n, 3) float, Å

    Returns
    -------
    arrows : (k, 2, 3) float, Å
        Starts and tips of those that are not too short to be seen.
    factor : int
    """
    lengths = np.linalg.norm(displacements, axis=1)
    longest = float(lengths.max(initial=0.0))
    factor = max(1, int(np.ceil(_LONGEST_A / longest))) if longest > 0 else 1
    long = factor * lengths >= _SHORTEST_A
    ends = np.stack([positions, positions + factor * displacements], axis=1)
    return ends[long], factor


def beside(script: Path, name: str) -> Path:
    """A file that a script loads, in its folder: `motions.pml` → `motions-NAME`."""
    return script.with_name(f"{script.stem}-{name}")
