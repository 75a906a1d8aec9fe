"""PDB and mmCIF in, PDB out, through gemmi."""

from pathlib import Path

import gemmi
import numpy as np

from hpc_diffuser.errors import InputError
from hpc_diffuser.io.storage import write_bytes
from hpc_diffuser.lattice import check_unit_cell
from hpc_diffuser.structure import Structure

Crystal = tuple[tuple[float, ...], str]


def read_structure(path: Path, conformer: str = "A") -> tuple[Structure, Crystal | None]:
    """First model of a PDB or mmCIF file, one alternate conformer, waters and hydrogens left out.

    Parameters
    ----------
    path : Path
    conformer : str
        Atoms without alternates are always taken, alternates only with this letter; they count
        in full (occupancy 1), because one conformation is what one molecule has.

    Returns
    -------
    structure : Structure
    crystal : (unit cell, space group) or None
        None where the file has no cell.

    Raises
    ------
    InputError
        For a file that gemmi cannot read, without atoms, with unknown elements or with
        coordinates that are not finite.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file: expected a PDB or mmCIF structure")
    try:
        model_file = _parse(path)
        atoms = _atoms(model_file, conformer)
        structure = _arrays(atoms) if atoms else None
    except InputError:
        raise
    except Exception as exc:  # gemmi raises whatever its parsers raise
        reason = (str(exc) or type(exc).__name__).splitlines()[0]
        raise InputError(f"{path}: not a readable structure: {reason}") from exc
    if structure is None:
        raise InputError(f"{path}: no atoms found: expected a PDB or mmCIF structure")
    if not np.isfinite(structure.positions).all():
        raise InputError(f"{path}: coordinates are not all finite numbers")
    if (structure.elements == "X").any():
        row = int((structure.elements == "X").argmax())
        raise InputError(f"{path}: atom {atoms[row]} has no known element")
    cell = tuple(model_file.cell.parameters)
    # A cell of 1 x 1 x 1 Å is how NMR and model files say that there is none.
    known = model_file.cell.is_crystal()
    if known:
        check_unit_cell(cell, f"{path}: unit cell")
    return structure, (cell, model_file.spacegroup_hm or "P 1") if known else None


def write_pdb(path: Path, structure: Structure, crystal: Crystal) -> None:
    """Write a structure as PDB, with its cell and B-factors."""
    model_file = gemmi.Structure()
    model_file.cell = gemmi.UnitCell(*crystal[0])
    model_file.spacegroup_hm = crystal[1]
    model = gemmi.Model(1)
    for row in range(len(structure)):
        _residue(model, structure, row).add_atom(_atom(structure, row))
    model_file.add_model(model)
    model_file.setup_entities()
    try:
        text = model_file.make_pdb_string()
    except RuntimeError as exc:
        raise InputError(f"{path}: the structure does not fit the PDB format: {exc}") from exc
    write_bytes(path, text.encode())


def _parse(path: Path) -> gemmi.Structure:
    """By content: PDB where lines look like it, else what gemmi finds."""
    lines = path.read_bytes().decode("utf-8", "surrogateescape").splitlines()
    atoms = [line for line in lines if line.startswith(("ATOM  ", "HETATM"))]
    if not atoms or lines[0].startswith(("data_", "#")):
        return gemmi.read_structure(str(path), format=gemmi.CoorFormat.Detect)
    for line in atoms:
        _check_coordinates(path, line)
    text = "\n".join(lines)
    try:
        return gemmi.read_pdb_string(text)
    except RuntimeError:
        # Before 1996, columns 73-80 held the entry's name and a line number.
        return gemmi.read_pdb_string("\n".join(line[:72] for line in lines))


def _check_coordinates(path: Path, line: str) -> None:
    """Raise InputError unless columns 31-54 are three numbers: gemmi reads anything as 0."""
    try:
        for start in (30, 38, 46):
            float(line[start : start + 8])
    except ValueError:
        raise InputError(
            f"{path}: expected three coordinates in columns 31-54, found {line[30:54]!r} "
            f"in {line[:30].strip()!r}"
        ) from None


def _atoms(model_file: gemmi.Structure, conformer: str) -> list:
    if not len(model_file):
        return []
    model_file.setup_entities()
    model_file.remove_waters()
    model_file.remove_hydrogens()
    return [cra for cra in model_file[0].all() if cra.atom.altloc in ("\0", conformer)]


def _arrays(atoms: list) -> Structure:
    alternate = np.array([cra.atom.altloc != "\0" for cra in atoms])
    occupancy = np.array([cra.atom.occ for cra in atoms])
    return Structure(
        positions=np.array([cra.atom.pos.tolist() for cra in atoms]),
        elements=np.array([cra.atom.element.name for cra in atoms]),
        atom_names=np.array([cra.atom.name for cra in atoms]),
        residue_names=np.array([cra.residue.name for cra in atoms]),
        residue_numbers=np.array([cra.residue.seqid.num for cra in atoms]),
        chain_ids=np.array([cra.chain.name for cra in atoms]),
        occupancies=np.where(alternate, 1.0, occupancy),
        b_factors_A2=np.array([cra.atom.b_iso for cra in atoms]),
    )


def _residue(model: gemmi.Model, structure: Structure, row: int) -> gemmi.Residue:
    """The residue of an atom, added to the model if it is not the last one there."""
    chain_name = str(structure.chain_ids[row])
    number, name = int(structure.residue_numbers[row]), str(structure.residue_names[row])
    if not len(model) or model[-1].name != chain_name:
        model.add_chain(gemmi.Chain(chain_name))
    chain = model[-1]
    if not len(chain) or (chain[-1].seqid.num, chain[-1].name) != (number, name):
        residue = gemmi.Residue()
        residue.name, residue.seqid = name, gemmi.SeqId(number, " ")
        chain.add_residue(residue)
    return chain[-1]


def _atom(structure: Structure, row: int) -> gemmi.Atom:
    atom = gemmi.Atom()
    atom.name = str(structure.atom_names[row])
    atom.element = gemmi.Element(str(structure.elements[row]))
    atom.pos = gemmi.Position(*structure.positions[row])
    atom.occ = float(structure.occupancies[row])
    atom.b_iso = float(structure.b_factors_A2[row])
    return atom
