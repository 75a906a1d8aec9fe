"""Position restraints from files: a trajectory beside its crystal's B-factors."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from hpc_diffuser.crystal.structure import Structure, atom_label
from hpc_diffuser.io.restraint_files import Restraints, earlier_values
from hpc_diffuser.io.trajectories.given import TrajectoryFiles
from hpc_diffuser.io.trajectories.stream import CrystalStream, crystal_stream
from hpc_diffuser.motion.restraints import force_constants, updated_restraints
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.system.arrays import Floats, Mask
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.progress import log

_NAMED = 6  # atoms, before the rest is counted
_LEAST_B_A2 = 1e-6  # of atoms that move; rounding leaves less


def restraints_from_trajectory(
    files: TrajectoryFiles,
    temperature_K: float,
    scale: float,
    previous: Path | None = None,
    tell: Callable[[str], None] = log,
) -> Restraints:
    """What the next simulation is to be restrained by, to move as the crystal does.

    Parameters
    ----------
    files : TrajectoryFiles
    temperature_K : float
        Of the simulation.
    scale : float
        As of `updated_restraints`.
    previous : Path or None
        The table of the restraints under which the trajectory was made.
    tell : callable
        Given, line by line, what was left out and assumed.

    Raises
    ------
    InputError
        For files that cannot be used, fewer than two frames or frames without motion, no atom with
        a B-factor, or a previous table of other atoms.
    """
    source = ", ".join(map(str, files.trajectories))
    with crystal_stream(files, Ranks()) as found:
        if found.n_frames < 2:
            raise InputError(f"{source}: one frame has no motion: expected at least two")
        every = b_factors_of(found)
        notes, used = found.notes(), "; ".join(found.used)
    for note in notes:
        tell(note)
    kept = _with_b_factors(found, files.reference, tell)
    moving = every[kept]
    if moving.max() < _LEAST_B_A2:
        raise InputError(f"{source}: all frames are identical: there is no motion")
    structure, places = _in_crystal(found, kept), found.places[kept]
    before: Floats = np.zeros(len(structure))
    b_before: Floats | None = None
    if previous is not None:
        before, b_before = earlier_values(previous, structure, places)
    crystal = force_constants(structure.b_factors_A2, temperature_K)
    now = force_constants(np.maximum(moving, _LEAST_B_A2), temperature_K)
    constants = updated_restraints(before, crystal, now, scale)
    return Restraints(structure, places, moving, constants, temperature_K, scale, used, b_before)


def b_factors_of(stream: CrystalStream) -> Floats:
    """B = 8π²⟨u²⟩/3 of every atom over the frames of a trajectory, in one pass: (N,) Å².

    Means and squares of rounds of frames are merged as of Chan, Golub & LeVeque (1983), Am. Stat.
    37, 242.
    """
    width = 3 * len(stream.structure)
    count, mean, squares = 0, np.zeros(width), np.zeros(width)
    for rows in stream.rounds(lambda frames: frames.reshape(len(frames), -1), width):
        centre, total = rows.mean(axis=0), count + len(rows)
        away = centre - mean
        squares += ((rows - centre) ** 2).sum(axis=0) + away**2 * (count * len(rows) / total)
        mean += away * (len(rows) / total)
        count = total
    b_factors: Floats = 8 * np.pi**2 / 3 * (squares / count).reshape(-1, 3).sum(axis=1)
    return b_factors


def _in_crystal(found: CrystalStream, kept: Mask) -> Structure:
    """Atoms at the crystal's positions, with its B-factors."""
    structure = found.structure.select(kept)
    positions, b_factors = found.crystal_positions[kept], found.crystal_b_A2[kept]
    return replace(structure, positions=positions, b_factors_A2=b_factors)


def _with_b_factors(found: CrystalStream, reference: Path, tell: Callable[[str], None]) -> Mask:
    """Which atoms can be restrained, (N,) bool; the others are told."""
    b, heavy = found.crystal_b_A2, found.structure.elements != "H"
    lacking, none = heavy & np.isnan(b), heavy & (b <= 0)
    kept: Mask = heavy & (b > 0)
    if not kept.any():
        raise InputError(
            f"{reference}: none of the trajectory's atoms has a B-factor above 0: expected "
            "those that were refined: give the deposited structure"
        )
    for which, why in ((lacking, "the crystal lacks them"), (none, "their B-factor is 0 or none")):
        if which.any():
            tell(f"left free, because {why}: {_some(found.structure, which)}")
    return kept


def _some(structure: Structure, which: Mask) -> str:
    rows = np.flatnonzero(which)
    named = ", ".join(atom_label(structure, row) for row in rows[:_NAMED])
    return named + (f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else "")
