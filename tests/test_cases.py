"""Small inputs from real life that once went wrong, each with a script that shows it.

They lie beside the real data, a folder for each kind; the kinds have tests of their own elsewhere,
on files that those tests make.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import environment

KINDS = (
    "01-insertion-codes",
    "02-homodimer-without-chains",
    "03-solvent-in-modes",
    "04-broken-across-box",
    "05-scale-nonstandard",
    "06-mmcif-space-group",
    "08-gro-elements",
    "09-residue-names",
    "10-residues-the-crystal-lacks",
    "11-gz-unchecked",
    "13-solvent-volume-names",
    "15-vmd-multimodel",
    "16-locale",
    "19-mtz-valm",
    "20-mrc-step",
    "22-bom",
)
LIMIT_S = 900  # a net for what hangs, not a measure


@pytest.fixture(scope="session")
def cases(data: Path) -> Path:
    """The folder of cases, or a visible skip."""
    folder = data.parent / "cases"
    if not folder.is_dir():
        pytest.skip("no cases beside the real data")
    return folder


@pytest.fixture
def shown(cases, tmp_path, warm_script):
    """What a case's script prints: `shown("05-scale-nonstandard")`."""

    def run(kind: str) -> str:
        done = subprocess.run(
            ["bash", str(cases / kind / "run.sh")],
            cwd=tmp_path,
            env=environment(HPC_DIFFUSER=str(warm_script), PYTHON=sys.executable),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=LIMIT_S,
            check=False,
        )
        assert "internal error" not in done.stdout and "Traceback" not in done.stdout, done.stdout
        return done.stdout

    return run


def first_modes(text: str) -> list[str]:
    """The amplitude of mode 1 of every run of `modes`, in Å, as printed."""
    return re.findall(r"^  mode   1 +(\S+)", text, re.M)


def test_every_case_has_its_test(cases):
    """A case that is added is tried too."""
    assert {path.name for path in cases.iterdir() if path.is_dir()} == set(KINDS)


def test_residues_with_insertion_codes_are_residues(shown):
    """The same coordinates with and without insertion codes: 20 residues, one mode."""
    text = shown("01-insertion-codes")
    assert len(re.findall("in 20 residues", text)) == 3
    with_codes, without = first_modes(text)
    assert with_codes == without


def test_molecules_without_chains_are_told_apart(shown):
    """0.386 Å of a dimer with chains; without, the same or one line."""
    text = shown("02-homodimer-without-chains")
    blocks = text.split("-- ")[1:]
    assert len(blocks) == 3
    for block in blocks:
        assert "error:" in block or float(first_modes(block)[0]) == pytest.approx(0.386, abs=2e-3)
    assert first_modes(blocks[1])  # dimer against dimer is no matter of doubt


def test_solvent_has_no_part_in_modes(shown):
    """By default what `--select "protein and element != H"` gives."""
    text = shown("03-solvent-in-modes")
    by_default, selected = first_modes(text)
    assert by_default == selected
    assert len(re.findall(r"^atoms +116 ", text, re.M)) == 2


def test_broken_molecules_are_made_whole_or_refused(shown):
    """3.7 Å of a molecule that jumps by the box; whole it is 0.47 Å."""
    whole, wrapped = shown("04-broken-across-box").split("-- ")[1:]
    assert first_modes(wrapped) == first_modes(whole) or re.search("error: .*frame", wrapped)


def test_another_cartesian_frame_is_the_same_crystal(shown):
    """SCALEn tells the frame."""
    assert "CC of the two maps 1.000" in shown("05-scale-nonstandard")


def test_space_groups_have_many_names(shown):
    """P 21 21 21 by its number, or by its newer name."""
    assert len(re.findall("unit cell .*P 21 21 21", shown("06-mmcif-space-group"))) == 2


def test_elements_of_two_letters(shown):
    """Fe, Cl, Br and Se of a GRO are those of the PDB."""
    of_pdb, of_gro = re.findall(r"^atoms .*", shown("08-gro-elements"), re.M)
    assert of_pdb == of_gro and all(e in of_gro for e in ("1 Br", "2 Cl", "1 Fe", "1 Se"))


def test_force_fields_names_are_the_same_residues(shown):
    """LYN, HISE, NMET and MSE are LYS, HIS, MET and MET: four times the same mode."""
    found = first_modes(shown("09-residue-names"))
    assert len(found) == 4 and len(set(found)) == 1


def test_crystals_that_lack_residues(shown):
    """Superposed on what is common, however the atoms were chosen."""
    text = shown("10-residues-the-crystal-lacks")
    assert len(first_modes(text)) >= 3 and "error:" not in text


def test_packed_files_are_checked_too(shown):
    """Last lines of a file and of the same packed: equal but for the name."""
    blocks = shown("11-gz-unchecked").split("== ")[1:]
    said = [block.split("\n", 1) for block in blocks]
    assert len(said) == 6
    for (name, plain), (_, packed) in zip(said[::2], said[1::2], strict=True):
        assert packed.replace(name + ".gz", name).splitlines()[0] == plain.splitlines()[0]
    assert "no atoms found" not in blocks[-1]


def test_solvent_volumes_by_any_name(shown):
    """HIE, LYN and CYX displace what HIS, LYS and CYS do: CC 1 for the same atoms.

    The case's two files are not of the same atoms: `HIE.pdb` lacks CG of residues 3, 5 and 18 and
    SG of residue 6. Of `HIS.pdb` without those four, the CC with `HIE.pdb` is 1.0000, with all of
    them 0.957; with hydrogens forgotten it was 0.954.
    """
    assert "CC of the two maps 0.957" in shown("13-solvent-volume-names")


def test_models_end_where_a_line_says_end(shown):
    """Four models, or what to change."""
    text = shown("15-vmd-multimodel")
    assert "found one" not in text and "error:" not in text


def test_any_locale(shown):
    """Letters that a locale lacks are replaced."""
    text = shown("16-locale")
    assert re.findall(r"^rc (\d+)", text, re.M) == ["0", "0"]
    assert "Error" not in text


def test_missing_values_of_an_mtz(shown):
    """2923 voxels, whether NaN or VALM marks what is missing."""
    text = shown("19-mtz-valm")
    assert len(re.findall(r"overall +2923 ", text)) == 2 and "-9999" not in text


def test_steps_of_an_mrc(shown):
    """3 samples per unit to 4.6 Å, where the header's cell over MX is the step a*/3."""
    text = shown("20-mrc-step")
    assert len(re.findall(r"^grid +3 x 3 x 3 ", text, re.M)) >= 2
    assert len(re.findall("to 4.60 Å", text)) == 2


def test_byte_order_marks(shown):
    """Skipped in a structure and in a config."""
    text = shown("22-bom")
    assert "unit cell    none" not in text and "Invalid statement" not in text
