"""Mistakes in what modes come from, and in simulations: one line, and 65."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from mistakes import NETWORK, SIMULATED, both, file, the_line, unchanged

from hpc_diffuser.io.modes_file import read_modes
from hpc_diffuser.io.structures.files import write_pdb
from hpc_diffuser.motion.modes import Modes

# A warning would be a second line on the user's screen.
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning", "error::UserWarning")


TRAJECTORY = ("--trajectory", "md.xtc", "--topology", "top.pdb", "--reference", "model.pdb")


WATER = "HETATM  999  O   HOH A 999       9.000   9.000   9.000  1.00 10.00           O\n"


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
