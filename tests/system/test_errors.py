"""Mistakes of every kind: one line that says what, where and what to do, and the right code.

Codes: 65 bad input, 70 a mistake of ours, 74 storage failed.
"""

import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest
from mistakes import INTENSITY, NETWORK, SIMULATED, both, file, hdf5, the_line, toml, unchanged

from hpc_diffuser.fit import refinement
from hpc_diffuser.io.maps.native import write_map

# A warning would be a second line on the user's screen.
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning", "error::UserWarning")


RANGE = ("--d-max", 6, "--d-min", 2.5)


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
