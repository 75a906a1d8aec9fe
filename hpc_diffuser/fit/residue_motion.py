"""Which residues move, by the answer of a fit: in all, within the molecule, along each mode."""

from dataclasses import dataclass

import numpy as np

from hpc_diffuser.crystal.secondary_structure import secondary_structure
from hpc_diffuser.crystal.trace import Trace, trace
from hpc_diffuser.fit.b_factors import B_OF_SQUARE, model_b_factors
from hpc_diffuser.motion.by_residue import (
    Inside,
    inside,
    mean_by_residue,
    prominent_modes,
    rms_by_residue,
)
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.system.arrays import Floats, Integers, Names

MOBILE = 1.5  # times the median: residues that are named


@dataclass(frozen=True, kw_only=True)
class ModeMotion:
    """What one mode does, at its refined amplitude.

    Attributes
    ----------
    number : int
        From 1.
    amplitude_A : float
        Rms displacement per atom.
    share : float
        Of the mean square displacement of all modes.
    rms_A : (n,) float, Å
        Over the atoms of each residue.
    standing_A : (n, 3) float, Å
        Displacement of the Cα at one standard deviation.
    """

    number: int
    amplitude_A: float
    share: float
    rms_A: Floats
    standing_A: Floats

    @property
    def standing_lengths_A(self) -> Floats:
        """How far each Cα goes (n,), Å, at one standard deviation."""
        lengths: Floats = np.linalg.norm(self.standing_A, axis=1)
        return lengths


@dataclass(frozen=True, kw_only=True)
class ResidueMotion:
    """Displacements and B-factors of the residues of proteins and nucleic acids.

    Attributes
    ----------
    trace : Trace
        Which they are; below, Cα means the atom that stands for each.
    positions : (n, 3) float, Å
        Of the Cα, their mean.
    secondary : (n,) str
        As of `secondary_structure`, of the mean positions.
    rms_A : (n,) float, Å
        In space, over the atoms of each residue, by all motions.
    standing_rms_A : (n,) float, Å
        The same of the Cα.
    inside_rms_A : (n,) float, Å
        The same of the Cα without translation, libration and the lattice's motion.
    within : Inside
        The Cα's motion of that kind.
    model_b_A2, crystal_b_A2 : (n,) float, Å²
        Means over the atoms of each residue that the crystal has a B-factor for; the crystal's is
        NaN where it has none.
    modes : tuple of ModeMotion
        The prominent ones, as of `prominent_modes`.
    """

    trace: Trace
    positions: Floats
    secondary: Names
    rms_A: Floats
    standing_rms_A: Floats
    inside_rms_A: Floats
    within: Inside
    model_b_A2: Floats
    crystal_b_A2: Floats
    modes: tuple[ModeMotion, ...]


def residue_motion(modes: Modes, parameters: Parameters) -> ResidueMotion | None:
    """Of the residues of a model; None where it has none of a protein or nucleic acid.

    Parameters
    ----------
    modes : Modes
        As the fit used them.
    parameters : Parameters
        The answer's.
    """
    residues = trace(modes.structure)
    if not len(residues):
        return None
    of_atom = residues.of_atom(len(modes.structure))
    b = model_b_factors(modes, parameters)
    crystal = np.full(len(b), np.nan) if modes.crystal_b_A2 is None else modes.crystal_b_A2
    known = np.isfinite(crystal) & (crystal > 0)
    within = inside(modes, parameters, residues.standing)
    return ResidueMotion(
        trace=residues,
        positions=modes.structure.positions[residues.standing],
        secondary=secondary_structure(modes.structure, residues),
        rms_A=rms_by_residue(b / B_OF_SQUARE, of_atom),
        standing_rms_A=np.sqrt(b[residues.standing] / B_OF_SQUARE),
        inside_rms_A=np.sqrt(_inside_squares(within)),
        within=within,
        model_b_A2=mean_by_residue(np.where(known | ~known.any(), b, np.nan), of_atom),
        crystal_b_A2=mean_by_residue(np.where(known, crystal, np.nan), of_atom),
        modes=_mode_motions(modes, parameters, residues, of_atom),
    )


def _inside_squares(within: Inside) -> Floats:
    """⟨|u|²⟩ of every atom: (n,) Å²."""
    fields = np.einsum("knx,knx->n", within.fields, within.fields)
    found: Floats = fields + within.own_A2.sum(axis=1) + np.trace(within.liquid_A2)
    return found


def _mode_motions(
    modes: Modes, parameters: Parameters, residues: Trace, of_atom: Integers
) -> tuple[ModeMotion, ...]:
    amplitudes = np.asarray(parameters.mode_amplitudes_A) if modes.frames is None else np.empty(0)
    squares = np.square(amplitudes)
    return tuple(
        ModeMotion(
            number=row + 1,
            amplitude_A=float(amplitudes[row]),
            share=float(squares[row] / squares.sum()),
            rms_A=rms_by_residue(
                np.sum((field := amplitudes[row] * modes.vectors[row]) ** 2, axis=1), of_atom
            ),
            standing_A=field[residues.standing],
        )
        for row in prominent_modes(amplitudes)
    )


@dataclass(frozen=True, kw_only=True)
class Part:
    """Residues one after the other that move more than most.

    Attributes
    ----------
    first, last, peak : int
        Places in the trace.
    """

    first: int
    last: int
    peak: int


def mobile_parts(values_A: Floats, chain: Integers) -> list[Part]:
    """Stretches of residues above `MOBILE` times the median, the one with the largest first.

    A single residue below does not part two stretches.

    Parameters
    ----------
    values_A : (n,) float, Å
        Displacements.
    chain : (n,) int
        Which residues are bonded to each other.
    """
    above = np.flatnonzero(values_A > MOBILE * np.median(values_A))
    apart = (np.diff(above) > 2) | (np.diff(chain[above]) != 0)
    stretches = np.split(above, np.flatnonzero(apart) + 1) if len(above) else []
    parts = [
        Part(first=int(rows[0]), last=int(rows[-1]), peak=int(rows[values_A[rows].argmax()]))
        for rows in stretches
    ]
    return sorted(parts, key=lambda part: -float(values_A[part.peak]))
