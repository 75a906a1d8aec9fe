"""Mistakes of every kind: one line that says what, where and what to do, and the right code.

Codes: 65 bad input, 73 run directory in use, 74 storage failed, 75 stopped, 78 changed.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import mdtraj
import numpy as np
import pytest
from builders import history_arrays
from conftest import HANG_S

from hpc_diffuser.fit import refinement
from hpc_diffuser.fit.run.checkpoints import (
    checkpoint_path,
    previous_path,
    read_checkpoint,
    write_checkpoint,
)
from hpc_diffuser.fit.run.lock import run_lock
from hpc_diffuser.fit.search.history import new_history
from hpc_diffuser.io.maps.native import read_map, write_map
from hpc_diffuser.io.modes_file import read_modes, write_modes
from hpc_diffuser.io.structures.files import write_pdb
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.system import stopping

# A warning would be a second line on the user's screen.
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning", "error::UserWarning")

RANGE = ("--d-max", 6, "--d-min", 2.5)
NETWORK = ("modes", "--reference")
TRAJECTORY = ("--trajectory", "md.xtc", "--topology", "top.pdb", "--reference", "model.pdb")
WATER = "HETATM  999  O   HOH A 999       9.000   9.000   9.000  1.00 10.00           O\n"
INTENSITY = "entry/intensity/intensity"
INTERRUPTED = "restarts = 2\nevaluations = 8\n"


def the_line(result: subprocess.CompletedProcess, code: int) -> str:
    """The one line on standard error of a command that failed with this code."""
    assert result.returncode == code, (result.stdout, result.stderr)
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert re.match(r"hpc-diffuser( \w+)?: error: \S", lines[0]), result.stderr
    assert result.stdout == ""
    return lines[0]


def toml(old: str, new: str) -> Callable[[Path], None]:
    """A change to the config."""

    def change(project: Path) -> None:
        path = project / "fit.toml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return change


def file(name: str, content: str | bytes | None) -> Callable[[Path], None]:
    """Another content of a file; None: no file."""

    def change(project: Path) -> None:
        path = project / name
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return change


def hdf5(name: str, change: Callable[[h5py.File], None]) -> Callable[[Path], None]:
    """A change inside an HDF5 file."""

    def apply(project: Path) -> None:
        with h5py.File(project / name, "r+") as opened:
            change(opened)

    return apply


def both(*changes: Callable[[Path], None]) -> Callable[[Path], None]:
    """Several changes."""

    def apply(project: Path) -> None:
        for change in changes:
            change(project)

    return apply


def unchanged(_project: Path) -> None:
    """The inputs as they are."""


def all_free(opened: h5py.File) -> None:
    opened["entry/free_set"][...] = 1


def none_free(opened: h5py.File) -> None:
    opened["entry/free_set"][...] = 0


def nan_in_vectors(opened: h5py.File) -> None:
    opened["vectors"][0, 0, 0] = np.nan


def infinite_voxel(opened: h5py.File) -> None:
    opened[INTENSITY][3, 3, 3] = np.inf


def all_masked(opened: h5py.File) -> None:
    opened[INTENSITY][...] = np.nan


# What is wrong → change to the inputs of a fit, what the line must say.
FIT = {
    "no config": (file("fit.toml", None), "fit.toml: No such file"),
    "empty config": (file("fit.toml", ""), "[structure]: expected either modes"),
    "not TOML": (file("fit.toml", "modes"), "not valid TOML"),
    "unknown key": (toml("samples = 4", "sample = 4"), 'did you mean "model.samples"'),
    "bounds reversed": (toml("[0.0, 0.6]", "[0.6, 0.0]"), "mode_amplitude_A has its bounds rev"),
    "negative": (toml("[0.1, 0.8]", "[-0.1, 0.8]"), "translation_sigma_A is a length"),
    "nothing to refine": (
        both(toml("[0.0, 0.6]", "0.3"), toml("[0.1, 0.8]", "0.4")),
        "nothing to refine: give at least one parameter a range",
    ),
    "too many modes": (toml("n_modes = 2", "n_modes = 3"), "modes.h5 has 2 modes"),
    "too few ranges": (toml("[0.0, 0.6]", "[[0.0, 0.6]]"), "has 1 entries for 2 modes"),
    "no ranges": (toml("[0.0, 0.6]", "[]"), "mode_amplitude_A"),
    "modes and file": (
        toml("n_modes", 'file = "model.pdb"\nn_modes'),
        "expected either modes",
    ),
    "no target": (toml('file = "target.h5"', ""), '[target]: expected file = "target.h5"'),
    "another cell": (
        toml("[target]", "[crystal]\nunit_cell = [14, 15, 17, 88, 105, 98]\n[target]"),
        "unit cell 14.00 15.00 16.00 88.00 105.00 98.00 differs from the model's 14.00 15.00 17.00",
    ),
    "impossible cell": (
        toml("[target]", "[crystal]\nunit_cell = [14, 15, 16, 10, 90, 170]\n[target]"),
        "crystal.unit_cell: expected",
    ),
    "unknown space group": (
        toml("[target]", '[crystal]\nspace_group = "P 99"\n[target]'),
        'space group "P 99" is unknown',
    ),
    "errors wanted": (
        toml('"target.h5"', '"target.h5"\nweights = "errors"'),
        "target.h5 has none",
    ),
    "no modes file": (file("modes.h5", None), "modes.h5: no such file: expected a modes file"),
    "empty modes file": (file("modes.h5", ""), "modes.h5: could not be read as a modes file"),
    "modes file is text": (file("modes.h5", "text\n" * 99), "modes.h5: could not be read"),
    "NaN in modes": (hdf5("modes.h5", nan_in_vectors), '"vectors" holds NaN'),
    "no target file": (file("target.h5", None), "target.h5: no such file: expected a target"),
    "empty target file": (file("target.h5", ""), "target.h5: could not be read as a target"),
    "map as target": (toml("target.h5", "map.nxs"), "map.nxs: not a target file"),
    "target as modes": (toml('modes = "modes.h5"', 'modes = "target.h5"'), "not a modes file"),
    "nothing free": (hdf5("target.h5", none_free), "the free set is empty or everything"),
    "everything free": (hdf5("target.h5", all_free), "the free set is empty or everything"),
    "target all masked": (hdf5("target.h5", all_masked), "no unmasked voxel"),
    "no cell anywhere": (
        both(
            toml('modes = "modes.h5"\nn_modes = 2', 'file = "bare.pdb"'),
            lambda p: (p / "bare.pdb").write_text((p / "model.pdb").read_text().split("\n", 1)[1]),
        ),
        "names no unit cell: give unit_cell",
    ),
    "atoms without form factor": (
        hdf5("modes.h5", lambda f: f["elements"].__setitem__(0, b"Q")),
        "Q",
    ),
}


@pytest.mark.parametrize("mistake", FIT)
def test_fit_of_bad_input(call, project, contents, mistake):
    """65, one line that names file or key; no run directory is made."""
    change, reason = FIT[mistake]
    change(project)
    before = contents(project)
    assert reason in the_line(call("fit", "fit.toml", folder=project), 65)
    assert contents(project) == before
    assert not (project / "run").exists()


def test_one_line_in_a_process_of_its_own(cli, project, contents):
    """The same as a user sees it, without pytest around it."""
    toml("samples = 4", "sample = 4")(project)
    before = contents(project)
    result = cli("fit", "fit.toml", folder=project)
    path = "fit.toml"
    assert the_line(result, 65) == (
        f'hpc-diffuser: error: {path}: unknown key "model.sample": did you mean "model.samples"?'
    )
    assert contents(project) == before


def test_traceback_only_on_request(call, project):
    """`--debug` shows where it happened, then the line."""
    result = call("fit", "--debug", "none.toml", folder=project)
    assert result.returncode == 65
    assert result.stderr.startswith("Traceback")
    assert result.stderr.splitlines()[-1].startswith("hpc-diffuser: error: none.toml")


TARGET = {
    "no map": (file("map.nxs", None), RANGE, "map.nxs: no such file: expected a diffuse map"),
    "empty map": (file("map.nxs", ""), RANGE, "map.nxs: no diffuse map of a known"),
    "not HDF5": (file("map.nxs", "text\n" * 99), RANGE, "map.nxs: no diffuse map of a known"),
    "modes as map": (
        lambda p: shutil.copy(p / "modes.h5", p / "map.nxs"),
        RANGE,
        "map.nxs: no diffuse map of a known format",
    ),
    "infinite": (hdf5("map.nxs", infinite_voxel), RANGE, "map.nxs: the map holds infinite"),
    "all masked": (hdf5("map.nxs", all_masked), RANGE, "map.nxs: no unmasked voxel between"),
    "beyond the map": (
        unchanged,
        ("--d-max", 1.2, "--d-min", 1.0),
        "map.nxs: no unmasked voxel between 1.2 and 1.0 Å",
    ),
    "below the map": (unchanged, ("--d-max", 900, "--d-min", 400), "no unmasked voxel between"),
    "reversed": (unchanged, ("--d-max", 2.5, "--d-min", 6), "--d-m"),
    "equal": (unchanged, ("--d-max", 2.5, "--d-min", 2.5), "--d-m"),
    "negative": (unchanged, ("--d-max", 6, "--d-min", -2.5), "--d-min"),
    "zero": (unchanged, ("--d-max", 6, "--d-min", 0), "--d-min"),
    "NaN": (unchanged, ("--d-max", "nan", "--d-min", 2.5), "--d-max"),
    "infinite range": (unchanged, ("--d-max", "inf", "--d-min", 2.5), "--d-max"),
    "text": (unchanged, ("--d-max", "six"), "--d-max: expected a number, found six"),
    "wide halos": (unchanged, (*RANGE, "--halo-radius", 0.9), "halo radius 0.9 leaves no voxel"),
    "negative halos": (unchanged, (*RANGE, "--halo-radius", -0.1), "--halo-radius"),
    "two radii": (unchanged, (*RANGE, "--halo-radius", "0.4,0.4"), "--halo-radius: expected one"),
    "a radius of 0": (unchanged, (*RANGE, "--halo-radius", "0.4,0.4,0"), "or three above 0"),
    "no errors": (
        unchanged,
        (*RANGE, "--min-i-over-sigma", 1),
        "map.nxs: the map has no intensity",
    ),
    "a ratio of NaN": (unchanged, (*RANGE, "--min-i-over-sigma", "nan"), "expected a number"),
    "no outliers": (unchanged, (*RANGE, "--outliers", 0), "--outliers: expected a number above 0"),
    "no shells": (unchanged, (*RANGE, "--shells", 0), "--shells"),
    "all free": (unchanged, (*RANGE, "--free-fraction", 1), "--free-fraction"),
    "unknown option": (unchanged, (*RANGE, "--shell", "a", "b"), "hpc-diffuser"),
    "unknown space group": (
        hdf5("map.nxs", lambda f: f["entry/crystal/space_group"].__setitem__((), "P 99")),
        RANGE,
        'map.nxs: space group "P 99" is unknown',
    ),
}


@pytest.mark.parametrize("mistake", TARGET)
def test_target_of_bad_input(call, project, contents, mistake):
    """65, one line that names map or option; no target is written."""
    change, options, reason = TARGET[mistake]
    change(project)
    before = contents(project)
    result = call("target", "map.nxs", *options, "-o", "new.h5", folder=project)
    assert reason in the_line(result, 65)
    assert contents(project) == before


def test_masked_voxels_are_no_mistake(call, project, diffuse):
    """NaN means not measured: such voxels are left out, and their mates are used."""
    partly = replace(diffuse, intensity=diffuse.intensity.copy())
    partly.intensity[:5] = np.nan
    write_map(project / "map.nxs", partly, {})
    result = call("target", "map.nxs", *RANGE, "--shells", 3, "-o", "new.h5", folder=project)
    assert result.returncode == 0 and result.stderr == ""


@pytest.fixture
def moving(project, modes) -> Path:
    """The project with a trajectory of its twelve atoms: md.xtc, top.pdb."""
    shutil.copy(project / "model.pdb", project / "top.pdb")
    save_frames(project, modes)
    return project


def save_frames(project: Path, modes: Modes, n_frames: int = 6) -> None:
    """md.xtc: frames along the modes."""
    weights = np.random.default_rng(6).normal(size=(n_frames, 2)) * 0.3
    frames = modes.structure.positions + np.einsum("fm,mnx->fnx", weights, modes.vectors)
    topology = mdtraj.load_topology(str(project / "top.pdb"))
    mdtraj.Trajectory(frames / 10, topology).save(str(project / "md.xtc"))


def renamed(name: str, old: str, new: str) -> Callable[[Path], None]:
    """Another text in a file."""

    def change(project: Path) -> None:
        text = (project / name).read_text()
        assert old in text
        (project / name).write_text(text.replace(old, new))

    return change


def cut_to(name: str, fraction: float) -> Callable[[Path], None]:
    """A file that breaks off."""

    def change(project: Path) -> None:
        content = (project / name).read_bytes()
        (project / name).write_bytes(content[: int(len(content) * fraction)])

    return change


def one_frame(project: Path) -> None:
    """A trajectory of one frame."""
    save_frames(project, read_modes(project / "modes.h5"), 1)


MODES = {
    "no trajectory": (file("md.xtc", None), TRAJECTORY, "md.xtc: no such file"),
    "empty trajectory": (file("md.xtc", ""), TRAJECTORY, "md.xtc: empty file"),
    "truncated trajectory": (cut_to("md.xtc", 0.7), TRAJECTORY, "md.xtc could not be read"),
    "text as trajectory": (file("md.xtc", "text\n" * 99), TRAJECTORY, "md.xtc could not be read"),
    "no topology": (file("top.pdb", None), TRAJECTORY, "top.pdb: no such file"),
    "no reference": (file("model.pdb", None), TRAJECTORY, "model.pdb: no such file"),
    "empty reference": (file("model.pdb", ""), TRAJECTORY, "model.pdb: "),
    "one option": (unchanged, TRAJECTORY[:2], "--reference"),
    "no --topology": (unchanged, (*TRAJECTORY[:2], *TRAJECTORY[4:]), "--topology"),
    "other number of atoms": (
        renamed("top.pdb", "ATOM      1", "REMARK"),
        TRAJECTORY,
        "md.xtc could not be read with topology top.pdb",
    ),
    "other residues": (
        renamed("model.pdb", "GLY A   2", "VAL A   2"),
        TRAJECTORY,
        "chain A of the trajectory (3 residues from A/ALA 1 on) is not in the reference structure",
    ),
    "no cell": (renamed("model.pdb", "CRYST1", "REMARK"), TRAJECTORY, "model.pdb: no unit cell"),
    "impossible cell": (
        renamed("model.pdb", "  88.00 105.00  98.00", "  10.00  90.00 170.00"),
        TRAJECTORY,
        "model.pdb",
    ),
    "selection of nothing": (
        unchanged,
        (*TRAJECTORY, "--select", "name ZN"),
        'selection "name ZN" matches no atom',
    ),
    "no selection": (
        unchanged,
        (*TRAJECTORY, "--select", "name CA and"),
        'selection "name CA and" is not in mdtraj\'s language',
    ),
    "one frame": (one_frame, TRAJECTORY, "modes need at least two"),
    "no modes": (unchanged, (*TRAJECTORY, "--n-modes", 0), "--n-modes"),
    "NaN in reference": (
        lambda p: (p / "model.pdb").write_text(
            re.sub(r"(?m)^(ATOM      1.{19}).{8}", r"\1     nan", (p / "model.pdb").read_text())
        ),
        TRAJECTORY,
        "model.pdb: coordinates are not all finite",
    ),
}


@pytest.mark.parametrize("mistake", MODES)
def test_modes_of_bad_input(call, moving, contents, mistake):
    """65, one line that names file, atom or option; neither modes nor PDB is written."""
    change, options, reason = MODES[mistake]
    change(moving)
    before = contents(moving)
    assert reason in the_line(call("modes", *options, "-o", "new.h5", folder=moving), 65)
    assert contents(moving) == before


@pytest.mark.parametrize("ending", ["xtc", "trr"])
def test_trajectory_that_breaks_off(call, moving, contents, ending):
    """Wherever it does: the library that reads it complains by itself, the user sees our line."""
    path = moving / f"cut.{ending}"
    mdtraj.load(str(moving / "md.xtc"), top=str(moving / "top.pdb")).save(str(path))
    content = path.read_bytes()
    options = ("--trajectory", path.name, *TRAJECTORY[2:])
    accepted: list[int] = []
    for percent in (1, 12, 30, 50, 70, 90, 99):
        for old in moving.glob("new.*"):
            old.unlink()
        path.write_bytes(content[: len(content) * percent // 100])
        before = contents(moving)
        result = call("modes", *options, "-o", "new.h5", folder=moving)
        if result.returncode == 0:
            assert result.stderr == "", "a file that ends between two frames is whole"
            accepted.append(percent)
            continue
        assert f"{path.name} could not be read" in the_line(result, 65)
        assert contents(moving) == before
    assert not {1, 99} & set(accepted)


def test_identical_frames_have_no_modes(call, moving, modes):
    """Nothing moves: said so, instead of modes of rounding errors."""
    still = replace(modes, vectors=np.zeros_like(modes.vectors))
    save_frames(moving, still)
    result = call("modes", *TRAJECTORY, "-o", "new.h5", folder=moving)
    assert "no motion" in the_line(result, 65)


@pytest.mark.parametrize("words", [("--first", "2"), ("--weighting", "mass")])
def test_a_network_has_no_frames(call, project, words):
    """What is asked of a trajectory is refused without one."""
    result = call(*NETWORK, "model.pdb", *words, "-o", "new.h5", folder=project)
    assert "are of a trajectory" in the_line(result, 65)


def test_network_of_scattered_molecules(call, project, modes):
    """Atoms beyond the network's reach of each other have no common modes."""
    positions = modes.structure.positions + 40.0 * (np.arange(12)[:, None] // 4)
    apart = replace(modes.structure, positions=positions)
    write_pdb(project / "apart.pdb", apart, (modes.unit_cell, "P 1"))
    result = call(*NETWORK, "apart.pdb", "-o", "new.h5", folder=project)
    assert "falls apart" in the_line(result, 65)


def test_network_of_two_atoms(call, project, modes):
    """Two atoms have no internal motion but their bond: at least three are asked for."""
    pair = modes.structure.select(np.arange(2))
    write_pdb(project / "pair.pdb", pair, (modes.unit_cell, "P 1"))
    result = call(*NETWORK, "pair.pdb", "-o", "new.h5", folder=project)
    assert "at least three" in the_line(result, 65)


@pytest.mark.parametrize("name", ["protein.pdb", "protein-mean.pdb"])
def test_mean_structure_does_not_replace_the_reference(call, project, name):
    """`--reference protein.pdb -o protein.h5` must not write over the PDB that it read.

    Whether it is refused or the mean structure has another name: the user's file stays.
    """
    reference = project / name
    reference.write_text((project / "model.pdb").read_text().replace("END\n", "") + WATER)
    before = reference.read_bytes()
    call(*NETWORK, name, "--n-modes", 2, "-o", "protein.h5", folder=project)
    assert reference.read_bytes() == before


def test_output_named_like_the_mean_structure(call, project):
    """`-o modes.pdb`: the modes are not written and then lost under their own PDB."""
    result = call(*NETWORK, "model.pdb", "--n-modes", 2, "-o", "new.pdb", folder=project)
    if result.returncode == 0:
        assert len(read_modes(project / "new.pdb").amplitudes_A) == 2
    else:
        the_line(result, 65)


SIMULATED = (
    '[structure]\nmodes = "modes.h5"\n[grid]\noversampling = [2, 2, 2]\nd_min_A = 5.0\n'
    "[parameters]\nmode_amplitude_A = 0.2\n[model]\nsamples = 4\n"
)
SIMULATE = {
    "a range": (
        renamed("s.toml", "= 0.2", "= [0.1, 0.2]"),
        (),
        "mode 1 is a range, which only a fit can use",
    ),
    "no config": (file("s.toml", None), (), "s.toml: No such file"),
    "one file of three": (unchanged, TRAJECTORY[:2], "go together: give all three"),
    "selection of other atoms": (
        unchanged,
        (*TRAJECTORY, "--select", "name CA"),
        "atom 1 is A/ALA 1/CA, expected A/ALA 1/N",
    ),
    "selection of fewer atoms": (
        unchanged,
        (*TRAJECTORY, "--select", "resid 0 1"),
        "8 atoms, expected 12",
    ),
    "coarser than the cell": (renamed("s.toml", "= 5.0", "= 1000.0"), (), "grid.d_min_A"),
    "one plane": (
        both(renamed("s.toml", "= 5.0", "= 14.9"), renamed("s.toml", "[2, 2, 2]", "[1, 1, 1]")),
        (),
        "grid.d_min_A",
    ),
}


@pytest.mark.parametrize("mistake", SIMULATE)
def test_simulate_of_bad_input(call, moving, contents, mistake):
    """65, one line; no map is written, also none that nothing can read back."""
    (moving / "s.toml").write_text(SIMULATED)
    change, options, reason = SIMULATE[mistake]
    change(moving)
    before = contents(moving)
    result = call("simulate", "s.toml", *options, "-o", "new.nxs", folder=moving)
    assert reason in the_line(result, 65)
    assert contents(moving) == before


OTHERS = {
    "status of nothing": (("status", "none"), "none: not a run directory"),
    "status of a file": (("status", "modes.h5"), "modes.h5: not a run directory"),
    "report of nothing": (("report", "none"), "none: not a run directory"),
    "info of nothing": (("info", "none.h5"), "none.h5: no such file"),
    "info of a text": (("info", "fit.toml"), "fit.toml"),
    "info of an empty file": (("info", "empty.h5"), "empty.h5"),
    "info of a folder": (("info", "."), "not a run directory"),
    "info of other HDF5": (("info", "other.h5"), "other.h5: of no known kind"),
    "no command": ((), "COMMAND"),
    "unknown command": (("fti",), "'fti'"),
    "unknown option": (("fit", "--tset"), "--tset"),
    "no file": (("info",), "file"),
}


@pytest.mark.parametrize("mistake", OTHERS)
def test_other_commands_of_bad_input(call, project, contents, mistake):
    """65 and one line, of commands that only read too, and of slips on the command line."""
    (project / "empty.h5").write_bytes(b"")
    with h5py.File(project / "other.h5", "w") as opened:
        opened["a"] = 1
    before = contents(project)
    words, reason = OTHERS[mistake]
    assert reason in the_line(call(*words, folder=project), 65)
    assert contents(project) == before


def stopped_run(call, project: Path, monkeypatch, after: int) -> None:
    """Begin the fit, and ask it to stop after so many evaluations: 75."""
    write, done = refinement.write_checkpoint, []

    def count(path, history):
        write(path, history)
        done.append(path)
        if len(done) == after:
            stopping._requested.append(signal.SIGUSR1)

    with monkeypatch.context() as patch:
        patch.setattr(refinement, "write_checkpoint", count)
        result = call("fit", "fit.toml", folder=project)
    stopping._requested.clear()
    assert result.returncode == 75, result.stderr
    assert "run again to resume" in result.stderr.splitlines()[-1]


def test_report_before_a_restart_is_finished(call, project, monkeypatch):
    """Nothing to report yet: said so, with the command that tells more."""
    stopped_run(call, project, monkeypatch, after=2)
    result = call("report", "--text", "run", folder=project)
    assert "no restart has finished yet" in the_line(result, 65)
    assert "status" in result.stderr


def test_report_before_the_last_restart_is_finished(call, project, monkeypatch):
    """After the first restart there are parameters, but no scores; a figure says it must wait."""
    stopped_run(call, project, monkeypatch, after=6)
    text = call("report", "--text", "run", folder=project)
    assert text.returncode == 0 and "1 of 2 restarts finished" in text.stdout
    result = call("report", "--text", "run", "--png", "cc.png", folder=project)
    assert result.returncode == 65, result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (project / "cc.png").exists()


CHANGES = {
    "seed": (toml("seed = 3", "seed = 4"), ["model.seed: 3 → 4"]),
    "two settings": (
        both(toml("samples = 4", "samples = 8"), toml("[0.1, 0.8]", "[0.1, 0.9]")),
        ["model.samples: 4 → 8", "parameters.translation_sigma_A: [0.1, 0.8] → [0.1, 0.9]"],
    ),
    "modes": (
        lambda p: write_modes(p / "modes.h5", read_modes(p / "modes.h5"), {"new": "yes"}),
        ["structure.modes: "],
    ),
    "target": (
        hdf5("target.h5", lambda f: f[INTENSITY].__setitem__((3, 3, 3), 7.0)),
        ["target.file: "],
    ),
    "setting and input": (
        both(
            toml("initial_points = 3", "initial_points = 4"),
            hdf5("target.h5", lambda f: f.attrs.__setitem__("note", "new")),
        ),
        ["search.initial_points: 3 → 4", "target.file: "],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_resume_of_a_changed_run(call, finished, tmp_path, contents, change):
    """78, and each difference as `key: old → new`; the run stays as it was."""
    folder = Path(shutil.copytree(finished, tmp_path / "changed"))
    apply, differences = CHANGES[change]
    apply(folder)
    before = contents(folder)
    line = the_line(call("fit", "fit.toml", folder=folder), 78)
    assert line.count("→") == len(differences)
    assert all(difference in line for difference in differences)
    assert contents(folder) == before


@pytest.mark.parametrize("damage", ["truncated", "empty", "both generations"])
def test_resume_from_a_damaged_checkpoint(call, finished, tmp_path, damage):
    """Told, set aside, and computed again from what is before it: the same history in the end."""
    folder = Path(shutil.copytree(finished, tmp_path / "damaged"))
    path = checkpoint_path(folder / "run", 1)
    expected = path.read_bytes()
    path.write_bytes(b"" if damage == "empty" else expected[: len(expected) // 2])
    if damage == "both generations":
        previous_path(path).write_bytes(b"damaged too")
    result = call("fit", "fit.toml", folder=folder)
    assert result.returncode == 0
    assert "restart_0001.h5: damaged; kept as restart_0001.damaged-1" in result.stderr
    assert history_arrays(read_checkpoint(path)) == history_arrays(
        read_checkpoint(finished / "run" / path.name)
    )


def test_resume_from_a_checkpoint_of_another_run(call, finished, tmp_path):
    """A whole one that cannot be of this run: 65, naming it."""
    folder = Path(shutil.copytree(finished, tmp_path / "foreign"))
    path = checkpoint_path(folder / "run", 1)
    foreign = new_history(2).extended(np.zeros(2), 0.5, new_history(2).hedge)
    write_checkpoint(path, foreign)
    line = the_line(call("fit", "fit.toml", folder=folder), 65)
    assert "restart 1 has 2 refined parameters" in line and "remove" in line


def test_run_directory_in_use(cli, project, contents):
    """73, naming the process that has it, here this one; and nothing is touched."""
    with run_lock(project / "run"):
        before = contents(project)
        line = the_line(cli("fit", "fit.toml", folder=project), 73)
        assert f"in use by process {os.getpid()} on " in line
        assert contents(project) == before


def test_status_names_the_owner(call, finished, tmp_path):
    """Who is at work in a run directory can be asked without disturbing."""
    folder = Path(shutil.copytree(finished, tmp_path / "used"))
    with run_lock(folder / "run"):
        result = call("status", "run", folder=folder)
    assert f"running, process {os.getpid()} on " in result.stdout


OUTPUTS = {
    "modes": (*NETWORK, "model.pdb", "--n-modes", 2, "-o", "fit.toml/new.h5"),
    "target": ("target", "map.nxs", *RANGE, "-o", "fit.toml/new.h5"),
    "simulate": ("simulate", "s.toml", "-o", "fit.toml/new.nxs"),
    "fit": ("fit", "fit.toml"),
    "an existing folder": ("target", "map.nxs", *RANGE, "-o", "folder"),
}


@pytest.mark.parametrize("command", OUTPUTS)
def test_output_that_cannot_be_written(call, project, contents, command):
    """74, naming the path; here a folder is wanted where a file is, or a file where a folder is."""
    (project / "folder").mkdir()
    (project / "s.toml").write_text(SIMULATED)
    toml('directory = "run"', 'directory = "modes.h5/run"')(project)
    before = contents(project)
    result = call(*OUTPUTS[command], folder=project)
    assert result.returncode == 74
    (line,) = result.stderr.splitlines()
    path = {"fit": "modes.h5/run", "an existing folder": "folder"}.get(command, "fit.toml/new")
    assert line.startswith("hpc-diffuser: error: ") and path in line
    assert contents(project) == before


def test_output_that_is_this_folder(call, project, contents):
    """`-o .` names no file: refused like any other output that cannot be."""
    before = contents(project)
    result = call("target", "map.nxs", *RANGE, "-o", ".", folder=project)
    assert result.returncode in (65, 74), result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert contents(project) == before


def test_figure_that_cannot_be_written(call, finished):
    """74 for `report --png` too."""
    pytest.importorskip("matplotlib")
    result = call("report", "--text", "run", "--png", "fit.toml/cc.png", folder=finished)
    assert result.returncode == 74 and len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", [("fit", "fit.toml"), ("simulate", "fit.toml")])
@pytest.mark.parametrize("rank", [0, 1])
def test_launcher_of_another_mpi(cli, project, contents, command, rank):
    """Four processes that each believe to be alone: 65 from all, and one of them says why.

    As when `srun` or another MPI's `mpirun` starts the program: every process would do the
    whole job, into the same files.
    """
    before = contents(project)
    result = cli(*command, folder=project, PMI_SIZE="4", PMI_RANK=str(rank))
    assert result.returncode == 65, result.stderr
    if rank == 0:
        assert "4 ranks" in the_line(result, 65) and "own mpirun" in result.stderr
    else:
        assert result.stderr == "" and result.stdout == ""
    assert contents(project) == before


@pytest.fixture(scope="module")
def uninterrupted(program, inputs, tmp_path_factory) -> tuple:
    """What the longer fit leaves when nobody stops it."""
    folder = Path(shutil.copytree(inputs, tmp_path_factory.mktemp("whole") / "project"))
    toml("restarts = 2\nevaluations = 5\n", INTERRUPTED)(folder)
    result = program("fit", "fit.toml", folder=folder)
    assert result.returncode == 0, result.stderr
    return outcome(folder)


def outcome(folder: Path) -> tuple:
    """Histories and map as bytes, and the summary without what it says of the session."""
    summary = json.loads((folder / "run" / "summary.json").read_text())
    del summary["last_session"], summary["cost"]
    histories = [read_checkpoint(checkpoint_path(folder / "run", r)) for r in range(2)]
    arrays = [(h.points.tobytes(), h.objectives.tobytes()) for h in histories]
    return arrays, read_map(folder / "run" / "calculated.h5").intensity.tobytes(), summary


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_signal_stops_cleanly_and_resumes(call, project, uninterrupted, clean_environment, number):
    """75 after the evaluation under way, nothing locked; resumed, the same bits as without.

    TERM is what `scancel` sends, USR1 the batch script before the time limit, INT Ctrl-C.
    """
    toml("restarts = 2\nevaluations = 5\n", INTERRUPTED)(project)
    command = [sys.executable, "-m", "hpc_diffuser", "fit", "fit.toml"]
    process = subprocess.Popen(
        command, cwd=project, env=clean_environment, stderr=subprocess.PIPE, text=True
    )
    first = checkpoint_path(project / "run", 0)
    deadline = time.monotonic() + HANG_S
    while not first.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(number)
    _, err = process.communicate(timeout=HANG_S)
    assert process.returncode == 75, err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("hpc-diffuser: error: stopped as asked")
    assert "run again to resume" in err
    assert not (project / "run" / "lock").exists()
    assert 1 <= len(read_checkpoint(first)) <= 8
    result = call("fit", "fit.toml", folder=project)
    assert result.returncode == 0, result.stderr
    assert outcome(project) == uninterrupted


STOP_AT_ONCE = """
import signal
from hpc_diffuser.system import stopping
watch = stopping.watch_signals
def watch_and_stop(max_hours):
    watch(max_hours)
    signal.raise_signal(signal.SIGUSR1)
stopping.watch_signals = watch_and_stop
from hpc_diffuser.commands.main import main
main(["fit", "fit.toml"])
"""


def test_signal_while_the_program_is_loading(project, clean_environment):
    """Handlers are in place before the imports that take seconds: 75 then too, nothing begun."""
    result = subprocess.run(
        [sys.executable, "-c", STOP_AT_ONCE],
        cwd=project,
        env=clean_environment,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert result.returncode == 75, result.stderr
    assert "stopped as asked" in result.stderr and "Traceback" not in result.stderr
    assert not (project / "run").exists()


def test_internal_error_is_one_line_too(call, project, monkeypatch):
    """70, with the kind of the error; its traceback is for `--debug`."""

    def fail(*_args):
        raise ZeroDivisionError("deliberate")

    monkeypatch.setattr(refinement, "search_method", lambda name: fail)
    result = call("fit", "fit.toml", folder=project)
    assert result.returncode == 70
    last = result.stderr.splitlines()[-1]
    assert last == "hpc-diffuser: error: internal error: ZeroDivisionError: deliberate"
    assert "Traceback" not in result.stderr
    assert not (project / "run" / "lock").exists()
