"""Which copy of a molecule in its crystal lies where another model of it does."""

from dataclasses import dataclass

import gemmi
import numpy as np

from hpc_diffuser.crystal.lattice import fractionalization, space_group_of
from hpc_diffuser.crystal.symmetry import operators
from hpc_diffuser.system.arrays import Floats

APART_A = 4.0  # a model that is farther, by its median atom, is of another copy


@dataclass(frozen=True)
class Copy:
    """A copy of a molecule by a symmetry operator and a lattice translation.

    Attributes
    ----------
    turn : (3, 3) float
    shift : (3,) float, Å
        Its atoms are at turn·r + shift.
    label : str
        As crystallographers write the operator: `-x,y+1/2,-z`.
    """

    turn: Floats
    shift: Floats
    label: str

    def of(self, places: Floats) -> Floats:
        """Where it has atoms (N, 3), Å."""
        found: Floats = places @ self.turn.T + self.shift
        return found


def distance_A(places: Floats, others: Floats) -> float:
    """Of the median of atoms from where they are in another model (N, 3)."""
    return float(np.median(np.linalg.norm(places - others, axis=1)))


def copy_beside(
    places: Floats, others: Floats, unit_cell: tuple[float, ...], space_group: str
) -> Copy:
    """The copy of a molecule that is nearest to a model of it; itself where that is near enough.

    Parameters
    ----------
    places : (N, 3) float, Å
        Of atoms of the molecule.
    others : (N, 3) float, Å
        Of the same atoms of the model.
    unit_cell : 6 floats, Å and degrees
    space_group : str

    Raises
    ------
    InputError
        Where gemmi does not know the space group.
    """
    if distance_A(places, others) < APART_A:
        return Copy(np.eye(3), np.zeros(3), "x,y,z")
    to_fraction = fractionalization(unit_cell)
    to_cartesian = np.linalg.inv(to_fraction)
    middle, target = (to_fraction @ x.mean(axis=0) for x in (places, others))
    named = list(space_group_of(space_group, unit_cell).operations())
    found = []
    for rotation, translation, op in zip(*operators(space_group, unit_cell), named, strict=True):
        cell = np.rint(target - rotation @ middle - translation)
        turn = to_cartesian @ rotation @ to_fraction
        label = gemmi.Op(op.triplet()).translated((cell * gemmi.Op.DEN).astype(int).tolist())
        found.append(Copy(turn, to_cartesian @ (translation + cell), label.triplet()))
    return min(found, key=lambda own: distance_A(own.of(places), others))
