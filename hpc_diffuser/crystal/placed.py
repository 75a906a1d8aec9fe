"""The transforms of all molecules of a unit cell, each at its place, from that of one molecule.

With the molecule's F(h) = Σ_a f_a e^{2πi h·x_a}, that of its copy at W x + w is

    F_m(h) = e^{2πi h·w} F(h W),

in which the copies' phases count: the cell's transform is their sum.
"""

from dataclasses import dataclass

import numpy as np

from hpc_diffuser.crystal.lattice import first_of_friedel_pair, fractionalization
from hpc_diffuser.crystal.symmetry import operators, sample_table
from hpc_diffuser.system.arrays import Complexes, Floats, Integers, Mask


@dataclass(frozen=True)
class PlacedMolecules:
    """Where one molecule's transform is needed for those of all molecules of the cell.

    Attributes
    ----------
    expanded : (E, 3) int
        Samples of the one molecule, one of each Friedel pair: h ≥ 0, sorted, each once.
    rows : (Z, V) int
        Of each molecule and sample its row in `expanded`.
    mated : (Z, V) bool
        Whether that is its Friedel mate, of the complex conjugate.
    hkl : (V, 3) float
        The samples asked for, in reciprocal-lattice units.
    rotations, translations : (Z, 3, 3) int, (Z, 3) float
        W and w of each molecule, of fractions.
    unit_cell : 6 floats, Å and degrees
    """

    expanded: Integers
    rows: Integers
    mated: Mask
    hkl: Floats
    rotations: Integers
    translations: Floats
    unit_cell: tuple[float, ...]

    @property
    def n_molecules(self) -> int:
        """Z, in a unit cell."""
        return len(self.rotations)

    def transform(self, molecule: int, own: Complexes, origin_A: Floats) -> Complexes:
        """F_m of one molecule of the cell at its place: (V,) complex, electrons.

        Parameters
        ----------
        molecule : int
        own : (E,) complex
            At `expanded`: of the one molecule about an origin, Σ f exp 2πi s·(r − r₀).
        origin_A : (3,) float, Å
            r₀, as of `transform.Transform`.
        """
        found = own[self.rows[molecule]]
        mated = self.mated[molecule]
        found[mated] = found[mated].conj()
        at = fractionalization(self.unit_cell) @ origin_A
        place = self.rotations[molecule] @ at + self.translations[molecule]
        placed: Complexes = found * np.exp(2j * np.pi * (self.hkl @ place))
        return placed

    def cell(self, own: Complexes, origin_A: Floats) -> Complexes:
        """The transform of the whole cell: the sum over its molecules, (V,) complex."""
        total = np.zeros(len(self.hkl), np.complex128)
        for molecule in range(self.n_molecules):
            total += self.transform(molecule, own, origin_A)
        return total


def placed_molecules(
    indices: Integers,
    divisions: tuple[float, float, float],
    unit_cell: tuple[float, ...],
    space_group: str,
) -> PlacedMolecules:
    """What the transforms of all molecules need at sample indices.

    Parameters
    ----------
    indices : (V, 3) int
    divisions : 3 numbers
        Samples per reciprocal-lattice unit.
    unit_cell : 6 floats, Å and degrees
    space_group : str

    Raises
    ------
    InputError
        Where the space group is unknown, or mixes axes that are divided differently.
    """
    rotations, translations = operators(space_group, unit_cell)
    expanded, rows = sample_table(indices, divisions, rotations)
    mated = [~first_of_friedel_pair(indices @ rotation) for rotation in rotations]
    return PlacedMolecules(
        expanded,
        np.ascontiguousarray(rows.T),
        np.array(mated),
        indices / np.array(divisions),
        rotations,
        translations,
        unit_cell,
    )
