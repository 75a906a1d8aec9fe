"""A crystal's contacts: which atoms of a molecule lie near which of its symmetry mates' atoms."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import gemmi
import numpy as np

from hpc_diffuser.crystal.lattice import along_hkl, cell_text, fractionalization, space_group_of
from hpc_diffuser.system.arrays import Floats, Integers
from hpc_diffuser.system.errors import InputError

if TYPE_CHECKING:
    from scipy.spatial import KDTree

SAME_PLACE_A = 1.0  # nearer images are an atom on a special position, or of another conformer
_MOST_ON_IMAGES = 0.5  # of the atoms; by chance few are
_LEAST_VOLUME_A3 = 3.0  # of an atom; in proteins, hydrogens counted, 10 and more


@dataclass(frozen=True)
class Contacts:
    """Pairs of an atom and an image of an atom, seen from one molecule.

    Every contact between molecules is here twice, once from each side.

    Attributes
    ----------
    atoms, mates : (K,) int
        Rows of the atom, and of the atom whose image it is near.
    steps : (K, 3) float, Å
        From the atom to the image.
    turns : (K, 3, 3) float
        Cartesian rotations of the symmetry operators: the image moves by W u where its original
        moves by u, if all copies move alike.
    """

    atoms: Integers
    mates: Integers
    steps: Floats
    turns: Floats

    def __len__(self) -> int:
        return len(self.atoms)


def crystal_contacts(
    positions: Floats, unit_cell: tuple[float, ...], space_group: str, reach_A: float
) -> Contacts:
    """All contacts of the atoms with the images of all of them, by symmetry and lattice.

    Parameters
    ----------
    positions : (N, 3) float, Å
        Of all that the operators copy: the asymmetric unit.
    unit_cell : 6 floats, Å and degrees
    space_group : str
    reach_A : float, Å
        Images nearer than this, and not nearer than `SAME_PLACE_A`.

    Raises
    ------
    InputError
        Where gemmi does not know the space group, the cell is too small for the atoms, or these
        lie on images of each other.
    """
    check_room(len(positions), unit_cell, space_group)
    from scipy.spatial import KDTree  # who only looks at modes needs none of it

    tree, found = KDTree(positions), []
    for image in images(positions, unit_cell, space_group, reach_A):
        check_apart(tree, image, space_group)
        found.append(contacts_with(tree, image, reach_A))
    none = Contacts(np.empty(0, int), np.empty(0, int), np.empty((0, 3)), np.empty((0, 3, 3)))
    together = zip(*((c.atoms, c.mates, c.steps, c.turns) for c in (none, *found)), strict=True)
    return Contacts(*(np.concatenate(parts) for parts in together))


def check_room(n_atoms: int, unit_cell: tuple[float, ...], space_group: str) -> None:
    """Raise InputError where a cell is no cell of these atoms, but by mistake."""
    copies = len(space_group_of(space_group, unit_cell).operations())
    volume = gemmi.UnitCell(*unit_cell).volume
    if volume < _LEAST_VOLUME_A3 * copies * n_atoms:
        raise InputError(
            f"unit cell {cell_text(unit_cell)}: {volume:.0f} Å³ do not hold {copies} copies "
            f"(space group {space_group}) of {n_atoms} atoms: correct the cell or the space group, "
            "or leave the crystal's neighbours out"
        )


def check_apart(tree: "KDTree", image: "Image", space_group: str) -> None:
    """Raise InputError where a model holds more than an asymmetric unit: it is its own image."""
    near, rows = tree.query(image.positions, distance_upper_bound=SAME_PLACE_A)
    # One that is on itself is on a special position.
    on_others = float(np.mean(np.isfinite(near) & (rows != np.arange(len(image.positions)))))
    if on_others > _MOST_ON_IMAGES:
        raise InputError(
            f"{100 * on_others:.0f} % of the atoms lie on others, as the space group {space_group} "
            "copies them: the model holds more than one asymmetric unit: give that alone, or the "
            'space group "P 1"'
        )


class Image(NamedTuple):
    """A copy of all atoms by a symmetry operator and a lattice translation.

    Attributes
    ----------
    positions : (N, 3) float, Å
    turn : (3, 3) float
        The operator's Cartesian rotation.
    operator : int
        Its number among the space group's, as gemmi goes through them.
    cell : 3 ints
        The lattice translation behind it.
    """

    positions: Floats
    turn: Floats
    operator: int
    cell: tuple[int, int, int]


def contacts_with(tree: "KDTree", image: Image, reach_A: float) -> Contacts:
    """Contacts of the tree's atoms with one image of all atoms."""
    low, high = tree.mins - reach_A, tree.maxes + reach_A
    near = np.flatnonzero(((image.positions > low) & (image.positions < high)).all(axis=1))
    rows = [np.array(r, int) for r in tree.query_ball_point(image.positions[near], reach_A)]
    mates = np.repeat(near, [r.size for r in rows])
    atoms = np.concatenate([np.empty(0, int), *rows])
    steps = image.positions[mates] - tree.data[atoms]
    apart = np.linalg.norm(steps, axis=1) >= SAME_PLACE_A
    atoms, mates, steps = atoms[apart], mates[apart], steps[apart]
    return Contacts(atoms, mates, steps, np.broadcast_to(image.turn, (len(atoms), 3, 3)))


def images(
    positions: Floats, unit_cell: tuple[float, ...], space_group: str, reach_A: float
) -> Iterator[Image]:
    """Images of the atoms whose box comes within reach; not the atoms themselves."""
    to_fraction = fractionalization(unit_cell)
    to_cartesian = np.linalg.inv(to_fraction)
    fractional = positions @ to_fraction.T
    # Planes of a fraction x lie |grad x|⁻¹ apart: a reach of r Å is r |grad x| of a cell's edge.
    reach = reach_A * np.linalg.norm(to_fraction, axis=1)
    low, high = fractional.min(axis=0) - reach, fractional.max(axis=0) + reach
    for number, operation in enumerate(space_group_of(space_group, unit_cell).operations()):
        rotation = np.array(operation.rot) / gemmi.Op.DEN
        copied = fractional @ rotation.T + np.array(operation.tran) / gemmi.Op.DEN
        turn = to_cartesian @ rotation @ to_fraction
        first = np.ceil(low - copied.max(axis=0)).astype(int)
        last = np.floor(high - copied.min(axis=0)).astype(int)
        for cell in product(*(range(a, b + 1) for a, b in zip(first, last, strict=True))):
            if operation == gemmi.Op() and cell == (0, 0, 0):
                continue
            yield Image((copied + cell) @ to_cartesian.T, turn, number, along_hkl(cell))
