"""How the molecules of a crystal pack: which ones touch, in which interfaces, by which atoms."""

from dataclasses import dataclass

import numpy as np

from hpc_diffuser.crystal.contacts import check_apart, check_room, contacts_with, images
from hpc_diffuser.crystal.lattice import cell_text, fractionalization
from hpc_diffuser.crystal.symmetry import operators, triplet
from hpc_diffuser.system.arrays import Floats, Integers
from hpc_diffuser.system.errors import InputError

CONTACT_A = 4.0  # atoms of two molecules that are nearer than this touch

Place = tuple[int, tuple[int, int, int]]  # operator and lattice translation


@dataclass(frozen=True)
class Neighbour:
    """A molecule that touches the one of the asymmetric unit.

    Attributes
    ----------
    operator : int
        Number of the space group's operator that makes it.
    cell : 3 ints
        The lattice translation behind that.
    turn : (3, 3) float
    shift : (3,) float, Å
        Its atoms are at turn·r + shift.
    atoms, mates : (K,) int
        Rows of the atoms that touch: of the molecule, and of those whose images they touch.
    points : (K, 3) float, Å
        Half-way between them.
    steps : (K, 3) float, Å
        From the atom to the image.
    """

    operator: int
    cell: tuple[int, int, int]
    turn: Floats
    shift: Floats
    atoms: Integers
    mates: Integers
    points: Floats
    steps: Floats

    @property
    def place(self) -> Place:
        """Operator and lattice translation."""
        return self.operator, self.cell


@dataclass(frozen=True)
class Packing:
    """The molecules of a unit cell and their interfaces.

    A molecule is all that the operators copy; those of a cell are numbered as the operators are,
    Z of them. Every one has the same neighbours in its own frame.

    Attributes
    ----------
    rotations : (Z, 3, 3) int
    translations : (Z, 3) float
        The operators, of fractions: molecule m is at W r + w.
    turns : (Z, 3, 3) float
        Their Cartesian rotations.
    neighbours : tuple of Neighbour
        An interface is there twice, seen from either side, unless both are one.
    interfaces : (n,) int
        Of each neighbour its interface: those that symmetry makes of each other are one.
    targets : (Z, n) int
        Which molecule is the neighbour of each molecule,
    cells : (Z, n, 3) int
        and in which cell: lattice vector R.
    middle : (3,) float
        Of the molecule's atoms, in fractions.
    """

    rotations: Integers
    translations: Floats
    turns: Floats
    neighbours: tuple[Neighbour, ...]
    interfaces: Integers
    targets: Integers
    cells: Integers
    middle: Floats

    @property
    def n_molecules(self) -> int:
        """Z, in a unit cell."""
        return len(self.rotations)

    @property
    def centring(self) -> Floats:
        """Where in the cell lattice points are, as fractions: (C, 3), the origin among them."""
        own = (self.rotations == np.eye(3, dtype=int)).all(axis=(1, 2))
        found: Floats = self.translations[own]
        return found

    @property
    def places(self) -> Floats:
        """Where the operators put the molecules of the cell, in fractions: (Z, 3)."""
        found: Floats = self.rotations @ self.middle + self.translations
        return found

    @property
    def n_interfaces(self) -> int:
        """Different ones."""
        return int(self.interfaces.max(initial=-1)) + 1

    def firsts(self) -> list[Neighbour]:
        """Of each interface the neighbour that stands for it."""
        first = [int(np.argmax(self.interfaces == i)) for i in range(self.n_interfaces)]
        return [self.neighbours[row] for row in first]

    def labels(self) -> list[str]:
        """Of each interface where that neighbour is: `-1 0 0`, and the operator if there is one."""
        labels = [" ".join(map(str, n.cell)) for n in self.firsts()]
        if self.n_molecules == 1:
            return labels
        operators = [str(n.operator + 1) for n in self.firsts()]
        return [f"{operator}: {cell}" for operator, cell in zip(operators, labels, strict=True)]

    def images(self) -> list[str]:
        """Of each interface that neighbour, as of `image`."""
        return [self.image(n.place) for n in self.firsts()]

    def image(self, place: Place) -> str:
        """A molecule as the image of x, y, z: `-y,x+1,z+1/4`."""
        operator, cell = place
        return triplet(self.rotations[operator], self.translations[operator] + cell)


def crystal_packing(
    positions: Floats,
    unit_cell: tuple[float, ...],
    space_group: str,
    reach_A: float = CONTACT_A,
) -> Packing:
    """The neighbours of a molecule, by symmetry and lattice.

    Parameters
    ----------
    positions : (N, 3) float, Å
        Of all that the operators copy: the asymmetric unit.
    unit_cell : 6 floats, Å and degrees
    space_group : str
    reach_A : float, Å

    Raises
    ------
    InputError
        Where gemmi does not know the space group; where the molecules that touch do not hold the
        crystal together.
    """
    check_room(len(positions), unit_cell, space_group)
    rotations, translations = operators(space_group, unit_cell)
    neighbours = _neighbours(positions, unit_cell, space_group, reach_A)
    places = [n.place for n in neighbours]
    targets, cells = _targets(rotations, translations, places)
    _require_whole(targets, cells, unit_cell, reach_A)
    opposite = {place: _inverse(rotations, translations, place) for place in places}
    to_fraction = fractionalization(unit_cell)
    return Packing(
        rotations=rotations,
        translations=translations,
        turns=np.linalg.inv(to_fraction) @ rotations @ to_fraction,
        neighbours=tuple(neighbours),
        interfaces=_numbered(places, opposite),
        targets=targets,
        cells=cells,
        middle=to_fraction @ positions.mean(axis=0),
    )


def _neighbours(
    positions: Floats, unit_cell: tuple[float, ...], space_group: str, reach_A: float
) -> list[Neighbour]:
    from scipy.spatial import KDTree  # who only looks at modes needs none of it

    tree, found = KDTree(positions), []
    for image in images(positions, unit_cell, space_group, reach_A):
        check_apart(tree, image, space_group)
        contacts = contacts_with(tree, image, reach_A)
        if len(contacts):
            points = positions[contacts.atoms] + contacts.steps / 2
            of_pairs = contacts.atoms, contacts.mates, points, contacts.steps
            shift = image.positions[0] - image.turn @ positions[0]
            found.append(Neighbour(image.operator, image.cell, image.turn, shift, *of_pairs))
    return found


def _targets(
    rotations: Integers, translations: Floats, places: list[Place]
) -> tuple[Integers, Integers]:
    """Of each molecule and place the molecule there (Z, n), and its cell (Z, n, 3)."""
    numbers: dict[bytes, list[int]] = {rotation.tobytes(): [] for rotation in rotations}
    for number, rotation in enumerate(rotations):
        numbers[rotation.tobytes()].append(number)
    targets = np.empty((len(rotations), len(places)), int)
    cells = np.empty((*targets.shape, 3), int)
    for m, n in np.ndindex(targets.shape):
        operator, cell = places[n]
        rotation = rotations[m] @ rotations[operator]
        moved = translations[m] + rotations[m] @ (translations[operator] + cell)
        targets[m, n], cells[m, n] = _place(numbers[rotation.tobytes()], translations, moved)
    return targets, cells


def _place(numbers: list[int], translations: Floats, moved: Floats) -> tuple[int, Integers]:
    """Which of some operators has a translation (3,) but for a lattice vector, and that."""
    away = moved - translations[numbers]
    whole = np.rint(away)
    best = int(np.abs(away - whole).max(axis=1).argmin())  # of a centred cell there are several
    return numbers[best], whole[best].astype(int)


def _inverse(rotations: Integers, translations: Floats, place: Place) -> Place:
    """Where a molecule is as its neighbour sees it."""
    operator, cell = place
    back = np.rint(np.linalg.inv(rotations[operator])).astype(int)
    numbers = [i for i, rotation in enumerate(rotations) if np.array_equal(rotation, back)]
    moved = -back @ (translations[operator] + cell)
    number, lattice = _place(numbers, translations, moved)
    return number, tuple(lattice.tolist())


def _numbered(places: list[Place], opposite: dict[Place, Place]) -> Integers:
    """Interfaces numbered as they come, each with its other side."""
    numbers: dict[Place, int] = {}
    for place in places:
        if place not in numbers:
            numbers[place] = numbers[opposite[place]] = len(set(numbers.values()))
    return np.array([numbers[place] for place in places], int)


def _require_whole(
    targets: Integers, cells: Integers, unit_cell: tuple[float, ...], reach_A: float
) -> None:
    """Raise InputError unless one can walk from every molecule to every other by contacts."""
    places, walks = {0: np.zeros(3, int)}, []
    new = [0]
    while new:
        m = new.pop()
        for target, cell in zip(targets[m].tolist(), cells[m], strict=True):
            reached = places[m] + cell
            if target not in places:
                places[target] = reached
                new.append(target)
            walks.append(reached - places[target])
    if len(places) < len(targets) or not _span_lattice(walks):
        raise InputError(
            f"the molecules of the cell {cell_text(unit_cell)} do not hold together by atoms "
            f"nearer than {reach_A:g} Å: a lattice of springs needs all of the asymmetric unit's "
            "chains, in the right cell and space group"
        )


def _span_lattice(walks: list[Integers]) -> bool:
    """Whether lattice vectors are a basis of all: an integer matrix of three has determinant ±1."""
    rows = np.unique(np.array(walks, int).reshape(-1, 3), axis=0)
    # Row by row Euclid's algorithm: the product of the pivots is the index of what they span.
    index = 1
    for column in range(3):
        while np.count_nonzero(rows[:, column]) > 1:
            sizes = np.where(rows[:, column] == 0, np.iinfo(int).max, np.abs(rows[:, column]))
            pivot = int(sizes.argmin())
            steps = rows[:, column] // rows[pivot, column]
            steps[pivot] = 0
            rows = rows - steps[:, None] * rows[pivot]
        own = rows[:, column] != 0
        if not own.any():
            return False
        index *= abs(int(rows[own][0, column]))
        rows = rows[~own]
    return index == 1
