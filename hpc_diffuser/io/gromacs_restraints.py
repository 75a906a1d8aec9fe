"""Position restraints as GROMACS reads them: an include file for each molecule type."""

from hpc_diffuser.crystal.residues import canonical_atom, is_polymer, same_residue
from hpc_diffuser.crystal.structure import atom_label
from hpc_diffuser.io.gromacs_topology import GromacsTopology
from hpc_diffuser.io.restraint_files import Restraints, told
from hpc_diffuser.system.errors import InputError


def includes_of(
    restraints: Restraints, topology: GromacsTopology, provenance: dict[str, str]
) -> dict[str, bytes]:
    """A `[ position_restraints ]` include for each molecule type that has restrained atoms.

    Of several polymers each has one, that of a chain without them an empty one: pdb2gmx includes
    one for every chain, by the chain's name.

    Raises
    ------
    InputError
        Where the topology's order is not the trajectory's; where several molecules are of one
        type, and would share their restraints; where a type before them is not known.
    """
    rows: dict[str, list[tuple[int, float]]] = {}
    numbered = _numbered(restraints, topology)
    for (name, number), constant in zip(numbered, restraints.constants.tolist(), strict=True):
        rows.setdefault(name, []).append((number, constant))
    polymers = _polymers(topology)
    if len(polymers) > 1:
        rows |= {name: [] for name in polymers if name not in rows}
    return {name: _include(name, rows[name], told(restraints, provenance)) for name in rows}


def _polymers(topology: GromacsTopology) -> list[str]:
    """Molecule types of the system that are proteins or nucleic acids, as far as they are known."""
    there = [topology.types[name] for name, n in topology.molecules if n and name in topology.types]
    found = [kind.name for kind in there if any(is_polymer(atom[0]) for atom in kind.atoms)]
    return list(dict.fromkeys(found))


def _include(name: str, rows: list[tuple[int, float]], told: list[str]) -> bytes:
    if not rows:
        return f"; molecule type {name}: none of its atoms is restrained\n".encode(
            "ascii", "replace"
        )
    lines = [
        f"; position restraints of molecule type {name}; hydrogens are free",
        *(f"; {line}" for line in told),
        "[ position_restraints ]",
        ";  atom  type         fcx         fcy         fcz   (kJ/mol/nm^2)",
    ]
    for number, constant in rows:
        if constant > 0:
            lines.append(f"{number:7d}     1" + 3 * f" {constant:11.4f}")
    return ("\n".join(lines) + "\n").encode("ascii", "backslashreplace")


def _numbered(restraints: Restraints, topology: GromacsTopology) -> list[tuple[str, int]]:
    """Molecule type and number in it, from 1, of every atom."""
    found, s = [], restraints.structure
    spans = _spans(topology, int(restraints.places.max()))
    for row, place in enumerate(restraints.places.tolist()):
        span = next((x for x in spans if x[1] <= place < x[2]), None)
        if span is None:
            raise InputError(_beyond(topology, atom_label(s, row), place))
        _require_same(restraints, row, topology, span)
        found.append((span[0], place - span[1] + 1))
    _require_single(topology, {name for name, _ in found})
    return found


def _spans(topology: GromacsTopology, last: int) -> list[tuple[str, int, int]]:
    """(type, first atom, end) of the molecules up to an atom, or to the first unknown type."""
    spans: list[tuple[str, int, int]] = []
    first = 0
    for name, count in topology.molecules:
        if name not in topology.types:
            break
        size = len(topology.types[name].atoms)
        for _ in range(count if size else 0):
            if first > last:
                return spans
            spans.append((name, first, first + size))
            first += size
    return spans


def _require_same(
    restraints: Restraints, row: int, topology: GromacsTopology, span: tuple[str, int, int]
) -> None:
    """Raise InputError where an atom is another one in the two topologies."""
    s, place = restraints.structure, int(restraints.places[row])
    residue, number, atom = topology.types[span[0]].atoms[place - span[1]]
    name, ours = str(s.atom_names[row]), str(s.residue_names[row])
    if same_residue(residue, ours) and canonical_atom(atom, residue) == canonical_atom(name, ours):
        return
    raise InputError(
        f"{topology.path}: atom {place + 1} of the system is {residue} {number}/{atom}, and "
        f"{atom_label(s, row)} in the trajectory's topology: expected one order of atoms: give "
        "the topology that the simulation was started from"
    )


def _beyond(topology: GromacsTopology, label: str, place: int) -> str:
    lacking = [name for name, _ in topology.molecules if name not in topology.types]
    if not lacking:
        return (
            f"{topology.path}: has no atom {place + 1}, which is {label} in the trajectory's "
            "topology: give the topology that the simulation was started from"
        )
    return (
        f"{topology.path}: molecule type {lacking[0]}, which comes before {label}, is in no file "
        "that it includes and that is found: set GMXLIB to the force fields' folder, or "
        'leave the atoms behind it out (--select "protein")'
    )


def _require_single(topology: GromacsTopology, names: set[str]) -> None:
    for name in sorted(names):
        copies = sum(count for other, count in topology.molecules if other == name)
        if copies > 1:
            raise InputError(
                f"{topology.path}: {copies} molecules are of type {name}, and would share one set "
                "of restraints: give each a type of its own (copy its .itp under another name), "
                'or leave them out (--select "protein")'
            )
