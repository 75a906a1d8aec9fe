"""PDB and mmCIF in, PDB out, through gemmi."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np

from hpc_diffuser.crystal.chains import letters_of_segments, tell_chains_apart
from hpc_diffuser.crystal.lattice import check_unit_cell
from hpc_diffuser.crystal.residues import is_water
from hpc_diffuser.crystal.structure import Structure, atom_label, require_occupied
from hpc_diffuser.io.plausible import check_crystal, check_names, check_numbers
from hpc_diffuser.io.structures.b_column import anisotropic_notes, b_column_notes
from hpc_diffuser.io.structures.conformers import one_conformation
from hpc_diffuser.io.structures.crystal_records import space_group, standard_frame
from hpc_diffuser.io.structures.parsing import Parsed, parse
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.isolated import require_file, run_isolated
from hpc_diffuser.system.progress import log
from hpc_diffuser.system.storage import write_bytes

Arrays = dict[str, np.ndarray]
Crystal = tuple[tuple[float, ...], str]
_EXPECTED = "PDB or mmCIF structure"
_TEXT = ("elements", "atom_names", "residue_names", "chain_ids", "insertion_codes")
_NUMBERS = ("residue_numbers", "occupancies", "b_factors_A2")


def read_structure(
    path: Path,
    conformer: str = "A",
    hydrogens: bool = False,
    tell: Callable[[str], None] | None = None,
) -> tuple[Structure, Crystal | None]:
    """First model of a PDB or mmCIF file in one of its conformations, waters left out.

    Positions are in the crystal's standard frame: a file that says by SCALEn that its own is
    another one is turned into it.

    Parameters
    ----------
    path : Path
    conformer : str
        A letter, or "occupancy", as of `one_conformation`. Alternates that are taken count in
        full (occupancy 1), because one conformation is what one molecule has.
    hydrogens : bool
        Keep them; deuterium is hydrogen to X-rays.
    tell : callable or None
        Given, line by line, what the file does not say and was assumed, and what was left out;
        by default they are named on standard error.

    Returns
    -------
    structure : Structure
    crystal : (unit cell, space group) or None
        None where the file has no cell.

    Raises
    ------
    InputError
        For a file that gemmi cannot read, without atoms, with unknown elements, with an atom
        twice, with coordinates that are not finite or not in their columns, or whose records of
        the crystal contradict each other.
    """
    require_file(path, _EXPECTED)
    subject = f"{path}: not a readable structure"
    return _checked(path, run_isolated(_load, [path], subject, conformer, hydrogens), tell)


def read_models(
    path: Path,
    conformer: str = "A",
    hydrogens: bool = False,
    tell: Callable[[str], None] | None = None,
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
    require_file(path, f"{_EXPECTED} of several models")
    subject = f"{path}: not a readable structure"
    arrays = run_isolated(_load_models, [path], subject, conformer, hydrogens)
    frames = arrays.pop("frames")
    check_numbers(frames, f"{path}: coordinates")
    structure, crystal = _checked(path, arrays, tell)
    return replace(structure, positions=frames.mean(axis=0)), frames, crystal


def read_places(path: Path) -> np.ndarray:
    """Where a file's atoms are, all conformers of them, but hydrogens and waters: (N, 3) Å.

    Raises
    ------
    InputError
        As of `read_structure`.
    """
    require_file(path, _EXPECTED)
    subject = f"{path}: not a readable structure"
    places: np.ndarray = run_isolated(_load_places, [path], subject)["positions"]
    check_numbers(places, f"{path}: coordinates")
    return places


def _checked(
    path: Path, arrays: Arrays, tell: Callable[[str], None] | None = None
) -> tuple[Structure, Crystal | None]:
    unit_cell, group = tuple(arrays.pop("cell").tolist()), str(arrays.pop("space_group"))
    known, absent = arrays.pop("is_crystal"), arrays.pop("absent")
    notes = arrays.pop("notes")
    structure = Structure(**arrays)
    _check(path, structure)
    try:
        structure, told = tell_chains_apart(structure)
    except InputError as exc:
        raise InputError(f"{path}: {exc}") from exc
    lines = [f"assumed      {note}" for note in (*notes.tolist(), *told)]
    if len(absent):
        check_names(absent, f"{path}: residue names")
        lines.append(f"not in the chosen conformation, left out: {', '.join(absent)}")
    for line in lines:
        tell(line) if tell else log(f"{path}: {' '.join(line.split())}")
    if not known:
        return structure, None
    check_crystal(unit_cell, group, f"{path}: unit cell")
    return structure, (unit_cell, group)


def _check(path: Path, structure: Structure) -> None:
    if not np.isfinite(structure.positions).all():
        raise InputError(f"{path}: coordinates are not all finite numbers")
    check_numbers(structure.positions, f"{path}: coordinates")
    for name in _NUMBERS:
        check_numbers(getattr(structure, name), f"{path}: {name}")
    require_occupied(structure, str(path))
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
    write_bytes(path, pdb_bytes(path, structure, crystal))


def pdb_bytes(
    path: Path,
    structure: Structure,
    crystal: Crystal,
    frames: np.ndarray | None = None,
    covariances_A2: np.ndarray | None = None,
) -> bytes:
    """A structure as PDB, with its cell and B-factors.

    Parameters
    ----------
    path : Path
        For messages.
    structure : Structure
    crystal : (unit cell, space group)
    frames : (F, N, 3) float, Å, or None
        Positions of as many models.
    covariances_A2 : (N, 3, 3) float, Å², or None
        ⟨u uᵀ⟩ of every atom, for ANISOU records.

    Raises
    ------
    InputError
        Where a number has no place in the format's columns.
    """
    model_file = gemmi.Structure()
    model_file.cell = gemmi.UnitCell(*crystal[0])
    model_file.spacegroup_hm = crystal[1]
    model = _model(structure, covariances_A2)
    for number, positions in enumerate([structure.positions] if frames is None else frames, 1):
        model.num = number
        for cra, position in zip(model.all(), positions.tolist(), strict=True):
            cra.atom.pos = gemmi.Position(*position)
        model_file.add_model(model)
    model_file.setup_entities()
    try:
        return model_file.make_pdb_string().encode()
    except RuntimeError as exc:
        raise InputError(f"{path}: the structure does not fit the PDB format: {exc}") from exc


def remarked(pdb: bytes, remarks: Sequence[str]) -> bytes:
    """A PDB file of as many models, or of one alone, with a remark in each.

    Remark 99 is free for whatever a program has to say.
    """
    lines = pdb.decode().splitlines(keepends=True)
    models = [i + 1 for i, line in enumerate(lines) if line.startswith("MODEL ")]
    first = next((i for i, line in enumerate(lines) if line.startswith(("ATOM", "HETATM"))), 0)
    rows = list(zip(models or [first], remarks, strict=True))
    for row, text in reversed(rows):
        lines.insert(row, f"REMARK  99 {text.upper()}\n")
    return "".join(lines).encode()


def _model(structure: Structure, covariances_A2: np.ndarray | None) -> gemmi.Model:
    model = gemmi.Model(1)
    for row in range(len(structure)):
        atom = _atom(structure, row)
        if covariances_A2 is not None:
            (xx, xy, xz), (_, yy, yz), (*_, zz) = covariances_A2[row].tolist()
            atom.aniso = gemmi.SMat33f(xx, yy, zz, xy, xz, yz)
        _residue(model, structure, row).add_atom(atom)
    return model


def _load(path: str, conformer: str, hydrogens: bool) -> Arrays:
    """Runs in a child process: everything that gemmi has to read."""
    return _loaded(path, conformer, hydrogens, False)


def _load_models(path: str, conformer: str, hydrogens: bool) -> Arrays:
    """Runs in a child process: the same of a file with several models."""
    return _loaded(path, conformer, hydrogens, True)


def _load_places(path: str) -> Arrays:
    """Runs in a child process: the positions of all that may touch other molecules."""
    parsed = parse(Path(path))
    if not len(parsed.models):
        raise InputError(f"{path}: no atoms found: expected a {_EXPECTED}")
    parsed.models.setup_entities()
    _remove_waters(parsed.models)
    parsed.models.remove_hydrogens()
    arrays = _in_standard_frame(_first_model(parsed, list(parsed.models[0].all()), True))
    return {"positions": arrays["positions"]}


def _loaded(path: str, conformer: str, hydrogens: bool, every: bool) -> Arrays:
    try:
        parsed = parse(Path(path))
        count = len(parsed.models) if every else 1
        models, absent = _models(parsed.models, count, conformer, hydrogens)
        if not models or not models[0]:
            raise InputError(f"no atoms found: expected a {_EXPECTED}")
        arrays = _first_model(parsed, models[0], every) | {"absent": absent}
        arrays |= {"frames": _frames(models)} if every else {}
        return _in_standard_frame(arrays)
    except InputError as exc:
        message = str(exc)
        raise InputError(message if message.startswith(path) else f"{path}: {message}") from exc


def _in_standard_frame(arrays: Arrays) -> Arrays:
    """The same, positions and frames turned and shifted by "to_standard", if there is such."""
    to_standard = arrays.pop("to_standard")
    for name in ("positions", "frames") if len(to_standard) else ():
        if name in arrays:
            arrays[name] = arrays[name] @ to_standard[:, :3].T + to_standard[:, 3]
    if len(to_standard):
        arrays["u_A2"] = to_standard[:, :3] @ arrays["u_A2"] @ to_standard[:, :3].T
    return arrays


def _frames(models: list[list[gemmi.CRA]]) -> np.ndarray:
    """Positions (F, N, 3) of models that have the same atoms."""
    if len(models) < 2:
        raise InputError("expected an ensemble of several models, found one")
    for number, atoms in enumerate(models, 1):
        if [_name(cra) for cra in atoms] != [_name(cra) for cra in models[0]]:
            raise InputError(
                f"model {number} has other atoms than model 1: expected the same in the same order"
            )
    return np.array([[cra.atom.pos.tolist() for cra in atoms] for atoms in models])


def _name(cra: gemmi.CRA) -> tuple:
    return cra.chain.name, str(cra.residue.seqid), cra.residue.name, cra.atom.name


def _first_model(parsed: Parsed, atoms: list[gemmi.CRA], every: bool) -> Arrays:
    notes, records = list(parsed.notes), parsed.records
    if len(parsed.models) > 1 and not every:
        notes.append(f"the first of {len(parsed.models)} models")
    # A cell of 1 x 1 x 1 Å is how NMR and model files say that there is none.
    is_crystal = gemmi.UnitCell(*records.unit_cell).is_crystal()
    group, moved = "P 1", None
    if is_crystal:
        check_unit_cell(records.unit_cell, "unit cell")
        group, moved = space_group(records, notes), standard_frame(records, notes)
    elif records.names:
        notes.append("unit cell: none, as its 1 x 1 x 1 Å stand for; nor is there a space group")
    arrays = _arrays(atoms)
    if parsed.without_b >= parsed.models[0].count_atom_sites():
        arrays["b_factors_A2"][:] = 0
    residues = [hash((cra.chain.name, str(cra.residue.seqid))) for cra in atoms]
    notes += b_column_notes(arrays["b_factors_A2"], np.array(residues), parsed.without_b)
    notes += anisotropic_notes(arrays["b_factors_A2"], arrays["u_A2"])
    crystal = {
        "cell": np.array(records.unit_cell),
        "space_group": np.array(group),
        "is_crystal": np.array(is_crystal),
        "to_standard": np.array([]) if moved is None else np.column_stack(moved),
        "notes": np.array(notes, str),
    }
    return crystal | arrays


def _models(
    model_file: gemmi.Structure, count: int, conformer: str, hydrogens: bool
) -> tuple[list[list], np.ndarray]:
    """Atoms of the first models, and the residues that are absent from the first of all."""
    if not len(model_file):
        return [], np.array([], str)
    model_file.setup_entities()
    _remove_waters(model_file)
    if not hydrogens:
        model_file.remove_hydrogens()
    found = [one_conformation(model_file[i], conformer) for i in range(count)]
    return [atoms for atoms, _ in found], np.array(found[0][1], str)


def _remove_waters(model_file: gemmi.Structure) -> None:
    """Under any of their names, of which gemmi knows the PDB's."""
    for chain in (chain for model in model_file for chain in model):
        for i in reversed(range(len(chain))):
            if is_water(chain[i].name):
                del chain[i]
    model_file.remove_empty_chains()


def _arrays(atoms: list) -> dict[str, np.ndarray]:
    alternate = np.array([cra.atom.altloc != "\0" for cra in atoms])
    chain_ids = np.array([cra.chain.name for cra in atoms])
    segments = np.array([cra.residue.segment for cra in atoms])
    occupancy = np.array([cra.atom.occ for cra in atoms])
    return dict(
        positions=np.array([cra.atom.pos.tolist() for cra in atoms]),
        elements=np.array([_element(cra.atom) for cra in atoms]),
        atom_names=np.array([cra.atom.name for cra in atoms]),
        residue_names=np.array([cra.residue.name for cra in atoms]),
        residue_numbers=np.array([cra.residue.seqid.num for cra in atoms]),
        chain_ids=letters_of_segments(chain_ids, segments),
        insertion_codes=np.array([cra.residue.seqid.icode.strip() for cra in atoms]),
        occupancies=np.where(alternate, 1.0, occupancy),
        b_factors_A2=np.array([cra.atom.b_iso for cra in atoms]),
        u_A2=np.array([_anisotropic(cra.atom) for cra in atoms]),
    )


def _anisotropic(atom: gemmi.Atom) -> list[list[float]]:
    """⟨u uᵀ⟩ in Å²; NaN for an atom without ANISOU record."""
    given = atom.aniso.nonzero()
    return atom.aniso.as_mat33().tolist() if given else np.full((3, 3), np.nan).tolist()


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
    place = gemmi.SeqId(number, str(structure.insertion_codes[row]) or " ")
    if not len(chain) or (chain[-1].seqid, chain[-1].name) != (place, name):
        residue = gemmi.Residue()
        residue.name, residue.seqid = name, place
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
