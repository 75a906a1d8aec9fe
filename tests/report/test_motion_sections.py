"""The sections on motion: of a finished run, beside its summary and files; of one that is not."""

import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from hpc_diffuser.fit.residue_motion import MOBILE
from hpc_diffuser.interface.run import open_run
from hpc_diffuser.report.sections.modes import refined_modes
from hpc_diffuser.report.sections.motion import kinds_of_motion, shares_of
from hpc_diffuser.report.sections.pairs import moving_pairs
from hpc_diffuser.report.sections.residues import moving_residues
from hpc_diffuser.system.errors import InputError

ALL = (kinds_of_motion, refined_modes, moving_residues, moving_pairs)


@pytest.fixture(scope="module")
def run(finished):
    """The finished run, opened."""
    return open_run(finished / "run")


def columns(table):
    """A table's columns by their names."""
    return {c.name: [row[i] for row in table.rows] for i, c in enumerate(table.columns)}


def test_kinds_are_those_of_the_summary(run, finished):
    """Shares add to all; each rms is summary.json's."""
    said = json.loads((finished / "run" / "summary.json").read_text())["motion"]
    (table,) = kinds_of_motion(run).tables
    found = columns(table)
    assert found["motion"] == [*said["kinds"], "all"]
    rms = [kind["rms_A"] for kind in said["kinds"].values()]
    assert found["rms displacement (Å)"] == [*rms, said["rms_A"]]
    assert sum(found["part (%)"][:-1]) == pytest.approx(100)
    assert f"{said['rms_A']:.2f} Å" in kinds_of_motion(run).words[0]


def test_what_a_screw_adds_is_told():
    """Squares that do not add up to all leave a part of their own."""
    from hpc_diffuser.fit.summary import MotionSize, MotionSizes

    kinds = {"translation": MotionSize(rms_A=1.0, mean_b_A2=6.0)}
    shares = shares_of(MotionSizes(rms_A=1.3, mean_b_A2=10.0, kinds=kinds))
    assert shares == {"translation": 0.6, "translation and libration together": pytest.approx(0.4)}


def test_modes_are_those_of_the_answer(run, finished):
    """Amplitudes of summary.json; the prominent ones have a moving picture."""
    said = json.loads((finished / "run" / "summary.json").read_text())
    found = refined_modes(run)
    table = columns(found.tables[0])
    assert table["amplitude (Å)"] == said["answer"]["mode_amplitude_A"]
    assert table["in the source (Å)"] == said["source_mode_amplitude_A"]
    assert sum(table["part (%)"]) == pytest.approx(100)
    prominent = [n for n, yes in zip(table["mode"], table["prominent"], strict=True) if yes]
    assert sorted(moving.name for moving in found.animations) == [f"mode_{n}" for n in prominent]
    assert all(moving.frames()[:6] == b"GIF89a" for moving in found.animations)
    assert f"Prominent mode: {prominent[0]} (" in found.words[0]


def test_residues_are_those_of_the_answer(run, finished, modes):
    """Displacements by the answer of summary.json and the modes that it was begun with."""
    answer = json.loads((finished / "run" / "summary.json").read_text())["answer"]
    found = columns(moving_residues(run).tables[1])
    assert found["residue"] == ["A/ALA 1", "A/GLY 2", "A/SER 3"]
    fields = np.array(answer["mode_amplitude_A"])[:, None, None] * modes.vectors
    squares = np.sum(fields**2, axis=(0, 2))
    inside = np.sqrt(squares[[1, 5, 9]])
    np.testing.assert_allclose(found["the same within the molecule (Å)"], inside)
    total = squares + 3 * answer["translation_sigma_A"] ** 2
    expected = np.sqrt(total.reshape(3, 4).mean(axis=1))
    np.testing.assert_allclose(found["rms displacement (Å)"], expected)
    ranges = columns(moving_residues(run).tables[0])
    row = ranges["of the residues"].index("the same within the molecule (Å)")
    assert [ranges[name][row] for name in ("least", "median", "mean", "largest")] == pytest.approx(
        [inside.min(), np.median(inside), inside.mean(), inside.max()]
    )
    assert ranges["largest at"][row] == found["residue"][int(inside.argmax())]
    words = moving_residues(run).words[0]
    assert f"{inside.min():.2f} to {inside.max():.2f} Å" in words


def test_pairs_are_listed_by_how_much_they_change(run):
    """All pairs in the table of the matrix; the largest change first in that of distances."""
    found = moving_pairs(run)
    most, every = found.tables
    assert len(every.rows) == 6
    changes = columns(every)["its change (Å)"]
    assert columns(most)["its change (Å)"][0] == max(changes)
    assert f"by {max(changes):.2f} Å" in found.words[0]


def of_atoms_alone(run, residual):
    """The run with an answer in which atoms move on their own, by residual B or without."""
    still = {"mode_amplitude_A": [0.0] * len(run.modes.amplitudes_A), "uncorrelated_sigma_A": 0.3}
    kinds = dict.fromkeys(["uncorrelated", *["residual B"] * residual])
    motion = SimpleNamespace(rms_A=0.5, kinds=kinds)
    outcome = SimpleNamespace(answer=still, motion=motion)
    return SimpleNamespace(summary=SimpleNamespace(outcome=outcome), modes=run.modes)


def test_atoms_that_move_alone_are_no_pairs(run):
    """Nothing goes together: there is no matrix, nor a distance, to look at."""
    found = moving_pairs(of_atoms_alone(run, False))
    assert found.words[0].startswith("No two residues") and not found.figures + found.tables


@pytest.mark.parametrize("residual", [True, False])
def test_what_was_put_in_is_no_finding(run, residual):
    """B-factors that the crystal's have been put into agree with them, and it is said why."""
    words = " ".join(moving_residues(of_atoms_alone(run, residual)).words)
    assert ("Residual B is not found in the map" in words) == residual


@pytest.mark.parametrize("section", ALL)
def test_every_figure_can_be_drawn(run, section):
    """With labels, and an alternative text of its own."""
    for figure in section(run).figures:
        drawn = figure.draw()
        ax = drawn.axes[0]
        assert ax.get_xlabel() or not ax.axison
        assert figure.alternative and figure.caption.endswith(".")


@pytest.mark.parametrize("section", ALL)
def test_numbers_in_words_are_in_the_tables(run, section):
    """Those with decimals, of words and alternative texts: each is a cell, rounded."""
    found = section(run)
    tables = [table for one in ALL for table in one(run).tables]
    cells = [x for table in tables for row in table.rows for x in row if type(x) is float]
    texts = [*found.words, *(f.alternative for f in (*found.figures, *found.animations))]
    for number in re.findall(r"-?\d+\.\d+", " ".join(texts)):
        digits = len(number.partition(".")[2])
        known = {f"{cell:.{digits}f}" for cell in cells} | {f"{MOBILE:g}"}
        assert number in known, number


@pytest.mark.parametrize("section", ALL)
def test_nothing_is_said_before_there_is_an_answer(finished, tmp_path, section):
    """No summary yet, or one without the final map."""
    folder = tmp_path / "run"
    shutil.copytree(finished / "run", folder)
    data = json.loads((folder / "summary.json").read_text())
    for key in ("answer", "shells"):
        data.pop(key)
    (folder / "summary.json").write_text(json.dumps(data))
    assert section(open_run(folder)) is None
    (folder / "summary.json").unlink()
    assert section(open_run(folder)) is None


def test_without_the_molecules_files_the_kinds_are_there(finished, tmp_path):
    """What the summary knows is told; the rest says which file is gone."""
    folder = tmp_path / "run"
    shutil.copytree(finished / "run", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["inputs"]["structure.modes"] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))
    run = open_run(folder)
    assert kinds_of_motion(run) is not None
    with pytest.raises(InputError, match="modes"):
        moving_residues(run)
