"""One conformation of a model: by letter, by occupancy, of chains, ligands and mixed residues."""

from collections import Counter, defaultdict
from pathlib import Path

import gemmi
import pytest
from builders import atom

from hpc_diffuser.io.structures.conformers import one_conformation
from hpc_diffuser.io.structures.files import read_structure
from hpc_diffuser.system.errors import InputError


def residue(letters: dict[str, float], name: str = "SER", number: int = 2) -> str:
    """N and CA without alternates, CB and OG once for each letter, at its occupancy."""
    fixed = atom(1, "N", (0, 0, 0), "N", name, number) + atom(2, "CA", (1, 0, 0), "C", name, number)
    return fixed + "".join(
        atom(3, what, (2, 0, 0), what[0], name, number, letter, occupancy)
        for letter, occupancy in letters.items()
        for what in ("CB", "OG")
    )


def ligand(name: str, letters: dict[str, float], number: int = 201) -> str:
    """Chloride-like: one atom for each letter, after the end of the chain."""
    return "".join(
        atom(9, "CL", (9, 9, 9), "CL", name, number, letter, occupancy, record="HETATM")
        for letter, occupancy in letters.items()
    )


def chosen(text: str, conformer: str) -> tuple[Counter, list[str]]:
    """Letters of what is taken, counted over atoms; and what is absent."""
    structure = gemmi.read_pdb_string(text)
    structure.setup_entities()
    atoms, absent = one_conformation(structure[0], conformer)
    return Counter(cra.atom.altloc.strip("\0") for cra in atoms), absent


@pytest.mark.parametrize(
    ("letters", "conformer", "expected"),
    [
        ({"A": 0.6, "B": 0.4}, "A", "A"),
        ({"A": 0.6, "B": 0.4}, "B", "B"),
        ({"A": 0.4, "B": 0.6}, "A", "A"),
        ({"A": 0.4, "B": 0.6}, "occupancy", "B"),
        ({"A": 0.5, "B": 0.5}, "occupancy", "A"),
        ({"B": 0.5, "A": 0.5}, "occupancy", "A"),
        ({"A": 0.3, "B": 0.3, "C": 0.4}, "occupancy", "C"),
        ({"B": 0.3, "C": 0.7}, "A", "C"),
        ({"B": 0.5, "C": 0.5}, "A", "B"),
        ({"1": 0.4, "2": 0.6}, "occupancy", "2"),
    ],
)
def test_letter_of_a_residue(letters, conformer, expected):
    """The named one; else the most occupied; of equal ones the first letter, not the first line.

    Two atoms without alternates and two of one letter, whichever it is: no side chain is lost.
    """
    assert chosen(residue(letters), conformer) == (Counter({"": 2, expected: 2}), [])


def test_occupancy_is_summed_over_the_residue():
    """CB says A by 0.6 to 0.4, OG says B by 0.9 to 0.1: 0.7 against 1.3, and both take B."""
    text = "".join(
        atom(i, name, (i, 0, 0), name[0], "SER", 2, letter, occupancy)
        for i, (name, letter, occupancy) in enumerate(
            [("CB", "A", 0.6), ("CB", "B", 0.4), ("OG", "A", 0.1), ("OG", "B", 0.9)]
        )
    )
    assert chosen(text, "occupancy")[0] == Counter({"B": 2})


def test_residues_choose_on_their_own():
    """By occupancy, neighbours may take different letters; insertion codes make neighbours."""
    first, second = residue({"A": 0.6, "B": 0.4}), residue({"A": 0.1, "B": 0.9})
    inserted = "".join(line[:26] + "A" + line[27:] for line in second.splitlines(keepends=True))
    assert chosen(first + inserted, "occupancy")[0] == Counter({"": 4, "A": 2, "B": 2})


SERINE_OR_CYSTEINE = "".join(
    atom(i, name, (i, 0, 0), name[0], what, 5, letter, occupancy)
    for what, letter, occupancy in (("SER", "A", 0.3), ("CYS", "B", 0.7))
    for i, name in enumerate(("N", "CA", "C", "O", "CB", "OG" if what == "SER" else "SG"))
)


@pytest.mark.parametrize(
    ("conformer", "expected"), [("A", "SER"), ("B", "CYS"), ("C", "CYS"), ("occupancy", "CYS")]
)
@pytest.mark.parametrize("interleaved", [False, True])
def test_two_residues_at_one_position(conformer, expected, interleaved):
    """Microheterogeneity: all six atoms of one residue and none of the other, in either order."""
    lines = SERINE_OR_CYSTEINE.splitlines(keepends=True)
    text = "".join(sorted(lines, key=lambda line: line[6:11]) if interleaved else lines)
    structure = gemmi.read_pdb_string(text)
    structure.setup_entities()
    atoms, absent = one_conformation(structure[0], conformer)
    assert [cra.residue.name for cra in atoms] == [expected] * 6 and not absent


@pytest.mark.parametrize(
    ("letters", "conformer", "present"),
    [
        ({"B": 0.3}, "A", False),
        ({"B": 0.3}, "B", True),
        ({"A": 0.3}, "A", True),
        ({"B": 0.3}, "occupancy", False),
        ({"B": 0.7}, "occupancy", True),
        ({"A": 0.5}, "occupancy", True),
        ({"B": 0.5}, "occupancy", False),
        ({" ": 0.3}, "A", True),
        ({" ": 0.3}, "occupancy", True),
    ],
)
def test_ligand_may_be_absent(letters, conformer, present):
    """Of conformer A, an ion of B is no part; by occupancy one that most molecules lack.

    Ligands of A and B, at 0.5 each, may exclude each other: A is taken, as of any equal pair.
    Without a letter there is no alternative, and it stays.
    """
    taken, absent = chosen(residue({}) + "TER\n" + ligand("CL", letters), conformer)
    assert taken.total() == 2 + present
    assert absent == ([] if present else ["A/CL 201"])


def test_atom_that_is_there_twice():
    """It would scatter twice; a chain that is there twice is the commonest cause."""
    for text in (
        residue({"A": 0.5}) + residue({}, number=3) * 2,
        residue({}) + "TER\n" + residue({}),
    ):
        with pytest.raises(InputError, match=r"atom A/SER [23]/N is there twice: .* chain names"):
            chosen(text, "A")


def alternates_of(path: Path) -> dict[tuple[str, str], dict[str, float]]:
    """(residue number, atom) → occupancy by letter, by columns of the PDB; no water, no H."""
    found = defaultdict(dict)
    for line in path.read_text().splitlines():
        if line.startswith(("ATOM", "HETATM")) and line[17:20] != "HOH" and line[77] != "H":
            found[line[22:26].strip(), line[12:16].strip()][line[16]] = float(line[54:60])
    return found


def test_triclinic_lysozyme(data, capsys):
    """PDB entry 6O2H: every atom of the chain once, in any conformer; what differs is told.

    Only THR 43 is mostly B. Of the anions beside ASP 18, nitrate 206 is A (0.7) and chloride 208
    is B (0.3), 2.5 Å from each other: they exclude each other, and A has the nitrate alone.
    """
    path = data / "lysozyme" / "6o2h.pdb"
    alternates = alternates_of(path)
    chain = {key for key in alternates if int(key[0]) <= 129}
    absent = {"A": "A/CL 208", "B": "A/NO3 206", "occupancy": "A/CL 208"}
    read = {conformer: read_structure(path, conformer)[0] for conformer in absent}
    for conformer, structure in read.items():
        names = list(zip(structure.residue_numbers.astype(str), structure.atom_names, strict=True))
        assert len(names) == len(set(names)) and chain <= set(names) <= set(alternates)
        gone = {number for number, _ in set(alternates) - set(names)}
        assert gone == {absent[conformer].split()[1]}
    told = capsys.readouterr().err.splitlines()
    assert [line.rpartition("left out: ")[2] for line in told] == list(absent.values())
    moved = (read["A"].positions != read["occupancy"].positions).any(axis=1)
    assert set(read["A"].residue_numbers[moved]) == {43}


def blank_and(letters: dict[str, float], blank: float = 0.6, name: str = "SER") -> str:
    """A residue whose side chain is there without a letter, and once for each letter."""
    text = residue({}, name)
    for letter, occupancy in ({" ": blank} | letters).items():
        for what in ("CB", "OG"):
            text += atom(3, what, (2, 0, 0), what[0], name, 2, letter, occupancy)
    return text


@pytest.mark.parametrize(
    ("letters", "conformer", "expected"),
    [
        ({"B": 0.4}, "A", "A"),
        ({"B": 0.4}, "B", "B"),
        ({"B": 0.4}, "occupancy", "A"),
        ({"B": 0.7}, "occupancy", "B"),
        ({"A": 0.3, "B": 0.1}, "A", "A"),
        ({"A": 0.3, "B": 0.1}, "occupancy", "C"),
    ],
)
def test_blank_beside_a_letter(letters, conformer, expected):
    """Old programs leave the first conformer's letter out: it is A, or where A is taken, C.

    Four atoms are taken, not six: none of them is there twice.
    """
    assert chosen(blank_and(letters), conformer) == (Counter({"": 2, expected: 2}), [])


def test_blank_beside_a_letter_counts_in_full(tmp_path):
    """From the file: one atom of each name, of occupancy 1, as any alternate that is taken."""
    (tmp_path / "m.pdb").write_text(blank_and({"B": 0.4}))
    structure, _ = read_structure(tmp_path / "m.pdb")
    assert structure.atom_names.tolist() == ["N", "CA", "CB", "OG"]
    assert structure.occupancies.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(("conformer", "expected"), [("A", "SER"), ("B", "CYS")])
def test_blank_residue_beside_another(conformer, expected):
    """Two residues at one position, of which one has no letter: one of them, whole."""
    lines = SERINE_OR_CYSTEINE.splitlines(keepends=True)
    text = "".join(x[:16] + " " + x[17:] if "SER" in x else x for x in lines)
    structure = gemmi.read_pdb_string(text)
    structure.setup_entities()
    atoms, absent = one_conformation(structure[0], conformer)
    assert [cra.residue.name for cra in atoms] == [expected] * 6 and not absent
