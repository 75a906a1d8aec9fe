"""What a structure file says of its crystal: one space group, and the frame of its coordinates."""

from dataclasses import dataclass, field, replace

import gemmi
import numpy as np

from hpc_diffuser.crystal.lattice import fractionalization
from hpc_diffuser.system.errors import InputError

# Matrices have six decimals, angles of cells two: what these leave is no other frame or cell.
_ROUNDING, _ROUNDING_PER_A = 1e-3, 1e-6
_ROUNDING_SHIFT_A = 0.02
_MOST_STRAIN = 0.01


@dataclass(frozen=True)
class CrystalRecords:
    """As a file has them.

    Attributes
    ----------
    unit_cell : 6 floats, Å and degrees
    names, halls : tuple of str
        Hermann-Mauguin and Hall symbols of the space group, all that there are.
    number : int or None
        Of the International Tables.
    full_names : tuple of str
        Full Hermann-Mauguin symbols.
    reference_names : tuple of str
        Hermann-Mauguin symbols of the group's reference setting; the file's may be another.
    operators : tuple of str
        As "x,y,z".
    frame : (3, 4) float or None
        From the file's Cartesian frame to fractional coordinates: matrix and vector.
    frame_name : str
        What the file calls it.
    """

    unit_cell: tuple[float, ...]
    names: tuple[str, ...] = ()
    halls: tuple[str, ...] = ()
    number: int | None = None
    full_names: tuple[str, ...] = ()
    reference_names: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    frame: np.ndarray | None = None
    frame_name: str = field(default="SCALEn")


def space_group(records: CrystalRecords, notes: list[str]) -> str:
    """The one that all records agree on, or P 1, which is noted.

    Raises
    ------
    InputError
        For a name that is none, and for records that contradict each other.
    """
    found = _by_name(records) + _known(records.full_names, records)
    found += _by_hall(records) + _by_number(records) + _known(records.reference_names, records)
    _require_one(found)
    listed = _rotations(records.operators)
    if not found and listed is None:  # refuses those of no group, rather than to take P 1
        found = _by_name(replace(records, names=records.full_names + records.reference_names))
    if found:
        name, group = found[0]
        if listed is not None and listed != _rotations(_triplets(group)):
            raise InputError(
                f'space group "{name}", but the symmetry operators in the file are not its own: '
                "correct the one, or remove the others"
            )
        if not records.names and not _known(records.full_names, records):
            notes.append(f'space group "{name}": by its number, Hall or reference symbol alone')
        return name
    if listed is not None:
        return _by_operators(records.operators, notes)
    notes.append('space group "P 1": the file names none')
    return "P 1"


def standard_frame(
    records: CrystalRecords, notes: list[str]
) -> tuple[np.ndarray, np.ndarray] | None:
    """What brings the file's coordinates into the standard frame, a along x and b in the xy plane.

    Returns
    -------
    rotation (3, 3), shift (3,) in Å : r' = rotation r + shift
        None where the frame is that already.

    Raises
    ------
    InputError
        Where the file's matrix is not that of its cell, to 1 %.
    """
    frame, name = records.frame, records.frame_name
    if frame is None:
        return None
    matrix, vector = frame[:, :3], frame[:, 3]
    if not np.isfinite(frame).all():
        raise InputError(f"{name}: expected a matrix and a vector of numbers, found {_text(frame)}")
    if not matrix.any() or (np.array_equal(matrix, np.eye(3)) and not vector.any()):
        what = "zeros" if not matrix.any() else "the unit matrix"
        notes.append(f"frame of the coordinates: the standard one, as {name} is {what}")
        return None
    to_standard = np.linalg.inv(fractionalization(records.unit_cell))
    rotation, strain = _nearest_rotation(to_standard @ matrix)
    rounding = _ROUNDING + _ROUNDING_PER_A * max(records.unit_cell[:3])
    if rotation is None or strain > _MOST_STRAIN + rounding:
        raise InputError(
            f"{name} does not belong to the unit cell {_text(np.array(records.unit_cell))}"
            + (f", by {100 * strain:.2g} %" if rotation is not None else ": it mirrors")
            + f": correct the cell, or remove {name} if the coordinates are in the standard frame"
        )
    if strain > rounding:
        notes.append(f"{name} is {100 * strain:.1f} % off the unit cell, which is used")
    return _moved(name, rotation, to_standard @ vector, rounding + 2 * strain, notes)


def _moved(
    name: str, rotation: np.ndarray, shift: np.ndarray, rounding: float, notes: list[str]
) -> tuple[np.ndarray, np.ndarray] | None:
    """The same, None for what rounding accounts for."""
    turned = np.abs(rotation - np.eye(3)).max() > rounding
    shifted = np.abs(shift).max() > _ROUNDING_SHIFT_A
    if not (turned or shifted):
        return None
    angle = np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1)))
    notes.append(
        f"frame of the coordinates: not the standard one, by {name}: atoms are turned by "
        f"{angle if turned else 0:.1f}° and shifted by {np.linalg.norm(shift):.2f} Å into it"
    )
    return rotation if turned else np.eye(3), shift


def _nearest_rotation(matrix: np.ndarray) -> tuple[np.ndarray | None, float]:
    """The proper rotation in a matrix, and how much it stretches besides; None for a mirror."""
    u, stretches, vt = np.linalg.svd(matrix)
    rotation = u @ vt
    strain = float(np.abs(stretches - 1).max())
    return (rotation if np.linalg.det(rotation) > 0 else None), strain


def known_name(name: str, unit_cell: tuple[float, ...]) -> str | None:
    """A space group's name as gemmi knows it: with the file's spelling where that will do."""
    plain = " ".join(name.replace("_", " ").strip("'\" ").split())
    if not plain.isascii():
        return None
    for spelling in (plain, plain.replace("(", "").replace(")", "")):
        if _group(spelling, unit_cell) is not None:
            return spelling
    return None


def _group(name: str, unit_cell: tuple[float, ...]) -> gemmi.SpaceGroup | None:
    return gemmi.find_spacegroup_by_name(name, unit_cell[3], unit_cell[5])


def _by_name(records: CrystalRecords) -> list[tuple[str, gemmi.SpaceGroup]]:
    found = []
    for name in records.names:
        known = known_name(name, records.unit_cell)
        if known is None:
            raise InputError(
                f'unknown space group {name!a}: expected a name like "P 21 21 21": correct it, or '
                "remove it and say so with [crystal] space_group"
            )
        found.append((known, _group(known, records.unit_cell)))
    return found


def _known(names: tuple[str, ...], records: CrystalRecords) -> list[tuple[str, gemmi.SpaceGroup]]:
    """Groups of those names that gemmi knows: of full symbols it has few."""
    known = [known_name(name, records.unit_cell) for name in names]
    return [(name, _group(name, records.unit_cell)) for name in known if name is not None]


def _by_hall(records: CrystalRecords) -> list[tuple[str, gemmi.SpaceGroup]]:
    found = []
    for hall in records.halls:
        try:
            group = gemmi.find_spacegroup_by_ops(gemmi.symops_from_hall(hall))
        except (RuntimeError, ValueError):
            group = None
        if group is not None:  # settings that have no name of their own are left to the names
            found.append((group.xhm(), group))
    return found


def _by_number(records: CrystalRecords) -> list[tuple[str, gemmi.SpaceGroup]]:
    if records.number is None:
        return []
    group = gemmi.find_spacegroup_by_number(records.number) if records.number <= 230 else None
    if group is None:
        raise InputError(f"space group number {records.number}: expected 1 to 230")
    # The standard setting of a rhombohedral group has hexagonal axes; the cell may have others.
    group = _group(group.hm, records.unit_cell) or group
    return [(group.xhm(), group)]


def _require_one(found: list[tuple[str, gemmi.SpaceGroup]]) -> None:
    for name, group in found[1:]:
        if group.number != found[0][1].number:
            raise InputError(
                f'two space groups, "{found[0][0]}" and "{name}": correct or remove one'
            )


def _by_operators(operators: tuple[str, ...], notes: list[str]) -> str:
    group = gemmi.find_spacegroup_by_ops(gemmi.GroupOps([gemmi.Op(text) for text in operators]))
    if group is None:
        raise InputError(
            "the symmetry operators in the file are of no space group, and it names none: "
            "correct them, or remove them"
        )
    notes.append(f'space group "{group.xhm()}": by its symmetry operators alone')
    return group.xhm()


def _rotations(operators: tuple[str, ...]) -> set[tuple] | None:
    """Rotation parts of operators, which are what diffuse scattering sees; None without any."""
    try:
        found = {tuple(map(tuple, gemmi.Op(text).rot)) for text in operators}
    except (RuntimeError, ValueError) as exc:
        raise InputError(f"symmetry operators: {exc}: expected some like x,y,z") from exc
    return found or None


def _triplets(group: gemmi.SpaceGroup) -> tuple[str, ...]:
    return tuple(op.triplet() for op in group.operations())


def _text(numbers: np.ndarray) -> str:
    return " ".join(f"{x:g}" for x in np.ravel(numbers))
