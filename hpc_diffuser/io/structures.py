"""PDB and mmCIF in, PDB out, through gemmi."""

from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np

from hpc_diffuser.errors import InputError
from hpc_diffuser.io.conformers import one_conformation
from hpc_diffuser.io.isolated import require_file, run_isolated
from hpc_diffuser.io.plausible import check_crystal, check_names, check_numbers
from hpc_diffuser.io.storage import write_bytes
from hpc_diffuser.progress import log
from hpc_diffuser.structure import Structure, atom_label

Crystal = tuple[tuple[float, ...], str]
_TEXT = ("elements", "atom_names", "residue_names", "chain_ids")
_NUMBERS = ("residue_numbers", "occupancies", "b_factors_A2")


def read_structure(
    path: Path, conformer: str = "A", hydrogens: bool = False
) -> tuple[Structure, Crystal | None]:
    """First model of a PDB or mmCIF file in one of its conformations, waters left out.

    Ligands that this conformation lacks are named on standard error.

    Parameters
    ----------
    path : Path
    conformer : str
        A letter, or "occupancy", as of `one_conformation`. Alternates that are taken count in
        full (occupancy 1), because one conformation is what one molecule has.
    hydrogens : bool
        Keep them; deuterium is hydrogen to X-rays.

    Returns
    -------
    structure : Structure
    crystal : (unit cell, space group) or None
        None where the file has no cell.

    Raises
    ------
    InputError
        For a file that gemmi cannot read, without atoms, with unknown elements, with an atom
        twice, or with coordinates that are not finite.
    """
    require_file(path, "PDB or mmCIF structure")
    subject = f"{path}: not a readable structure"
    return _checked(path, run_isolated(_load, [path], subject, conformer, hydrogens))


def read_models(
    path: Path, conformer: str = "A", hydrogens: bool = False
) -> tuple[Structure, np.ndarray, Crystal | None]:
    """All models of a file, which must have the same atoms in the same order.

    Returns
    -------
    structure : Structure
        At the mean of the models' positions.
    frames : (F, N, 3) float, Å
    crystal : as of `read_structure`

    Raises
    ------
    InputError
        As of `read_structure`; for models that differ, and for a single one.
    """
    require_file(path, "PDB or mmCIF structure of several models")
    subject = f"{path}: not a readable structure"
    arrays = run_isolated(_load_models, [path], subject, conformer, hydrogens)
    frames = arrays.pop("frames")
    check_numbers(frames, f"{path}: coordinates")
    structure, crystal = _checked(path, arrays)
    return replace(structure, positions=frames.mean(axis=0)), frames, crystal


def _checked(path: Path, arrays: dict[str, np.ndarray]) -> tuple[Structure, Crystal | None]:
    unit_cell, space_group = tuple(arrays.pop("cell").tolist()), str(arrays.pop("space_group"))
    known, absent = arrays.pop("is_crystal"), arrays.pop("absent")
    structure = Structure(**arrays)
    _check(path, structure)
    if len(absent):
        check_names(absent, f"{path}: residue names")
        log(f"{path}: not in the chosen conformation, left out: {', '.join(absent)}")
    if not known:
        return structure, None
    check_crystal(unit_cell, space_group, f"{path}: unit cell")
    return structure, (unit_cell, space_group)


def _check(path: Path, structure: Structure) -> None:
    if not np.isfinite(structure.positions).all():
        raise InputError(f"{path}: coordinates are not all finite numbers")
    check_numbers(structure.positions, f"{path}: coordinates")
    for name in _NUMBERS:
        check_numbers(getattr(structure, name), f"{path}: {name}")
    for name in _TEXT:
        check_names(getattr(structure, name), f"{path}: {name}")
    unknown = structure.elements == "X"
    if unknown.any():
        atom = atom_label(structure, int(unknown.argmax()))
        raise InputError(
            f"{path}: atom {atom} has no known element: expected a symbol like C or Cl: "
            "correct it, or remove the atom"
        )


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


def _load(path: str, conformer: str, hydrogens: bool) -> dict[str, np.ndarray]:
    """Runs in a child process: everything that gemmi has to read."""
    model_file = _parse(Path(path))
    models, absent = _models(path, model_file, 1, conformer, hydrogens)
    return _first_model(path, model_file, models) | {"absent": absent}


def _load_models(path: str, conformer: str, hydrogens: bool) -> dict[str, np.ndarray]:
    """Runs in a child process: the same of a file with several models."""
    model_file = _parse(Path(path))
    models, absent = _models(path, model_file, len(model_file), conformer, hydrogens)
    first = _first_model(path, model_file, models) | {"absent": absent}
    if len(models) < 2:
        raise InputError(f"{path}: expected an ensemble of several models, found one")
    for number, atoms in enumerate(models, 1):
        if [_name(cra) for cra in atoms] != [_name(cra) for cra in models[0]]:
            raise InputError(
                f"{path}: model {number} has other atoms than model 1: expected the same in the "
                "same order"
            )
    frames = np.array([[cra.atom.pos.tolist() for cra in atoms] for atoms in models])
    return first | {"frames": frames}


def _name(cra: gemmi.CRA) -> tuple:
    return cra.chain.name, cra.residue.seqid.num, cra.residue.name, cra.atom.name


def _first_model(path: str, model_file: gemmi.Structure, models: list) -> dict[str, np.ndarray]:
    atoms = models[0] if models else []
    if not atoms:
        raise InputError(f"{path}: no atoms found: expected a PDB or mmCIF structure")
    crystal = {
        "cell": np.array(model_file.cell.parameters),
        "space_group": np.array(model_file.spacegroup_hm or "P 1"),
        # A cell of 1 x 1 x 1 Å is how NMR and model files say that there is none.
        "is_crystal": np.array(model_file.cell.is_crystal()),
    }
    return crystal | _arrays(atoms)


def _parse(path: Path) -> gemmi.Structure:
    """By content: PDB where lines look like it, else what gemmi finds."""
    lines = path.read_bytes().decode("utf-8", "surrogateescape").splitlines()
    atoms = [line for line in lines if line.startswith(("ATOM  ", "HETATM"))]
    if not atoms or lines[0].startswith(("data_", "#")):
        return _without_charges(
            gemmi.read_structure(str(path), format=gemmi.CoorFormat.Detect), path
        )
    _check_cell(path, lines)
    for line in atoms:
        _check_coordinates(path, line)
    text = "\n".join(lines)
    try:
        text.encode()
    except UnicodeEncodeError:
        message = f"{path}: not UTF-8 text: expected a PDB or mmCIF structure"
        raise InputError(message) from None
    try:
        return gemmi.read_pdb_string(text)
    except RuntimeError:
        # Before 1996, columns 73-80 held the entry's name and a line number.
        return gemmi.read_pdb_string("\n".join(line[:72] for line in lines))


def _without_charges(model_file: gemmi.Structure, path: Path) -> gemmi.Structure:
    """The same, read again without the charges that mmCIF may append to elements: O1-, Zn2+."""
    unknown = any(cra.atom.element.name == "X" for model in model_file for cra in model.all())
    if not unknown or model_file.input_format != gemmi.CoorFormat.Mmcif:
        return model_file
    document = gemmi.cif.read(str(path))
    symbols = document[0].find_values("_atom_site.type_symbol")
    for row, symbol in enumerate(symbols):
        symbols[row] = symbol.strip("'\"").rstrip("+-0123456789") or "X"
    return gemmi.make_structure_from_block(document[0])


def _check_cell(path: Path, lines: list[str]) -> None:
    """Raise InputError for a CRYST1 record that breaks off: gemmi takes it for none."""
    for line in lines:
        if line.startswith("CRYST1") and len(line.rstrip()) < 54:
            raise InputError(
                f"{path}: expected six numbers in columns 7-54 of CRYST1, found {line[6:]!r}"
            )


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


def _models(
    path: str, model_file: gemmi.Structure, count: int, conformer: str, hydrogens: bool
) -> tuple[list[list], np.ndarray]:
    """Atoms of the first models, and the residues that are absent from the first of all."""
    if not len(model_file):
        return [], np.array([], str)
    model_file.setup_entities()
    model_file.remove_waters()
    if not hydrogens:
        model_file.remove_hydrogens()
    try:
        found = [one_conformation(model_file[i], conformer) for i in range(count)]
    except InputError as exc:
        raise InputError(f"{path}: {exc}") from exc
    return [atoms for atoms, _ in found], np.array(found[0][1], str)


def _arrays(atoms: list) -> dict[str, np.ndarray]:
    alternate = np.array([cra.atom.altloc != "\0" for cra in atoms])
    occupancy = np.array([cra.atom.occ for cra in atoms])
    return dict(
        positions=np.array([cra.atom.pos.tolist() for cra in atoms]),
        elements=np.array([_element(cra.atom) for cra in atoms]),
        atom_names=np.array([cra.atom.name for cra in atoms]),
        residue_names=np.array([cra.residue.name for cra in atoms]),
        residue_numbers=np.array([cra.residue.seqid.num for cra in atoms]),
        chain_ids=np.array([cra.chain.name for cra in atoms]),
        occupancies=np.where(alternate, 1.0, occupancy),
        b_factors_A2=np.array([cra.atom.b_iso for cra in atoms]),
    )


def _element(atom: gemmi.Atom) -> str:
    """Its symbol; X-rays see deuterium as hydrogen."""
    return "H" if atom.is_hydrogen() else atom.element.name


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
