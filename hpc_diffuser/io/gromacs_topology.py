"""GROMACS topologies (.top, .itp): the molecules of a system, and the atoms of their types.

Read are [ moleculetype ], [ atoms ] and [ molecules ], through #include, #define, #ifdef, #ifndef,
#else and #endif (GROMACS reference manual, "Topology file").
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hpc_diffuser.io.text import plain_text
from hpc_diffuser.system.errors import InputError

_SECTION = re.compile(r"\[\s*(\w+)\s*\]")
_INCLUDE = re.compile(r'#\s*include\s+["<]([^">]+)[">]')
_CONDITION = re.compile(r"#\s*(ifdef|ifndef|else|endif|define|undef)\b\s*(\S*)")
_DEEPEST = 20  # files that include each other


@dataclass(frozen=True)
class MoleculeType:
    """Atoms of a molecule, in the topology's order.

    Attributes
    ----------
    name : str
    atoms : list of (residue name, residue number, atom name)
    """

    name: str
    atoms: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class GromacsTopology:
    """What a system is made of.

    Attributes
    ----------
    path : Path
    types : dict of MoleculeType by name
        Those that are in the topology, or in files that it includes and that are found.
    molecules : list of (name of the type, how many)
        In the order of the coordinates.
    """

    path: Path
    types: dict[str, MoleculeType]
    molecules: list[tuple[str, int]]


def read_gromacs_topology(path: Path) -> GromacsTopology:
    """A topology with what it includes.

    A file that it includes is looked for beside the one that names it, then in the folders of
    GMXLIB and GMXDATA/top; the force field's need not be found.

    Raises
    ------
    InputError
        Where it cannot be read, names no molecules, or an atom's line is none.
    """
    found = GromacsTopology(path, {}, [])
    section, current = "", None
    for file, number, line in _lines(path, set(), 0):
        if match := _SECTION.match(line):
            section = match[1]
            continue
        words = line.split()
        try:
            if section == "moleculetype":
                current = found.types.setdefault(words[0], MoleculeType(words[0]))
            elif section == "atoms" and current is not None:
                current.atoms.append((words[3], words[2], words[4]))
            elif section == "molecules":
                found.molecules.append((words[0], int(words[1])))
        except (IndexError, ValueError):
            raise InputError(
                f"{file}: line {number}, in [ {section} ], has {len(words)} words ({line[:60]}): "
                "expected a GROMACS topology, as gmx pdb2gmx writes it"
            ) from None
    if not found.molecules:
        raise InputError(
            f"{path}: no [ molecules ]: expected the topology of the whole system (topol.top), "
            "not one of the files that it includes"
        )
    return found


def _lines(path: Path, defined: set[str], depth: int) -> Iterator[tuple[Path, int, str]]:
    """Lines that count, without comments: of which file, their number, and text."""
    if depth > _DEEPEST:
        raise InputError(f"{path}: includes itself, or more than {_DEEPEST} files in each other")
    active = [True]
    for number, line in _logical_lines(path):
        if match := _CONDITION.match(line):
            _steer(active, defined, match[1], match[2])
        elif not all(active):
            continue
        elif match := _INCLUDE.match(line):
            other = _included(path, match[1])
            if other is not None:
                yield from _lines(other, defined, depth + 1)
        elif line and not line.startswith("#"):
            yield path, number, line


def _logical_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Without comments; a backslash at the end joins two lines."""
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise InputError(f"{path}: {exc.strerror}: expected a GROMACS topology") from exc
    held = ""
    for number, line in enumerate(plain_text(path, content, "GROMACS topology").split("\n"), 1):
        text = held + line.split(";", 1)[0].strip()
        held = text[:-1] + " " if text.endswith("\\") else ""
        if not held:
            yield number, text


def _steer(active: list[bool], defined: set[str], word: str, name: str) -> None:
    """What a directive changes: which lines count, what is defined."""
    if word in ("ifdef", "ifndef"):
        active.append((name in defined) == (word == "ifdef"))
    elif word == "else" and len(active) > 1:
        active[-1] = not active[-1]
    elif word == "endif" and len(active) > 1:
        active.pop()
    elif word == "define" and all(active):
        defined.add(name)
    elif word == "undef" and all(active):
        defined.discard(name)


def _included(path: Path, name: str) -> Path | None:
    folders = [path.parent]
    if "GMXLIB" in os.environ:
        folders += [Path(part) for part in os.environ["GMXLIB"].split(":")]
    if "GMXDATA" in os.environ:
        folders.append(Path(os.environ["GMXDATA"]) / "top")
    return next((folder / name for folder in folders if (folder / name).is_file()), None)
