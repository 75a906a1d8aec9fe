"""Structure files as text, and what is said of them."""

from pathlib import Path

import numpy as np
import pytest
from builders import atom

from hpc_diffuser.io.structures.files import read_structure
from hpc_diffuser.system.errors import InputError

CELL = (27.4, 32.1, 34.5, 88.7, 108.5, 111.9)
CRYST1 = "CRYST1   27.400   32.100   34.500  88.70 108.50 111.90 P 1           1\n"
ORTHORHOMBIC = "CRYST1   30.000   32.000   34.000  90.00  90.00  90.00 {:11s}\n"
PLACES = np.array([[1.0, 2, 3], [2, -2.5, 3], [-3, 4, 5.25], [4, 1, -2]])
BACKBONE = (("N", "N"), ("CA", "C"), ("C", "C"), ("O", "O"))


def atoms(places: np.ndarray = PLACES, number: int = 1) -> str:
    """One residue's backbone at these places."""
    return "".join(
        atom(i, name, tuple(place), element, number=number)
        for i, ((name, element), place) in enumerate(zip(BACKBONE, places, strict=True), 1)
    )


ATOMS = atoms()


def scale(matrix: np.ndarray, vector=(0.0, 0.0, 0.0)) -> str:
    """SCALEn as the PDB's description has them: six and five decimals."""
    return "".join(
        f"SCALE{i}    {''.join(f'{x:10.6f}' for x in row)}     {v:10.5f}\n"
        for i, (row, v) in enumerate(zip(matrix, vector, strict=True), 1)
    )


def told(path: Path, read=read_structure, **options):
    """Structure, crystal and what was said."""
    said: list[str] = []
    return *read(path, tell=said.append, **options), " | ".join(said)


def refusal(path: Path, read=read_structure) -> str:
    """The message, one line that begins with the path."""
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message


def cif(crystal: str) -> str:
    """mmCIF of a 30 x 32 x 34 Å cell with these lines about its crystal."""
    cell = "".join(f"_cell.length_{e} {x}\n" for e, x in zip("abc", (30, 32, 34), strict=True))
    cell += "".join(f"_cell.angle_{name} 90\n" for name in ("alpha", "beta", "gamma"))
    columns = "group_PDB id type_symbol label_atom_id label_comp_id label_asym_id label_seq_id"
    columns += " Cartn_x Cartn_y Cartn_z occupancy B_iso_or_equiv"
    loop = "loop_\n" + "".join(f"_atom_site.{name}\n" for name in columns.split())
    rows = "ATOM 1 N N ALA A 1 1 2 3 1 10\nATOM 2 C CA ALA A 1 2 2 3 1 12\n"
    return f"data_x\n{cell}{crystal}\n{loop}{rows}"


def written(folder: Path, *parts: str, name: str = "model.pdb", encoding: str = "utf-8") -> Path:
    """A file of these parts; its path."""
    path = folder / name
    path.write_bytes("".join(parts).encode(encoding))
    return path
