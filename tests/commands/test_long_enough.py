"""Whether a trajectory is long enough: what `modes` and `info` say and draw of it."""

from dataclasses import replace
from pathlib import Path

import h5py
import mdtraj
import numpy as np
import pytest

from hpc_diffuser.commands.examples.protein import build_protein
from hpc_diffuser.commands.pages.convergence import convergence_lines, verdict
from hpc_diffuser.io.modes_file import read_modes, write_modes
from hpc_diffuser.io.structures.files import write_pdb
from hpc_diffuser.motion.convergence import Convergence, convergence
from hpc_diffuser.motion.elastic_network import elastic_network_modes

CRYSTAL = ((90.0, 90, 90, 90, 90, 90), "P 1")
SCALES = np.arange(1, 31) ** -0.5


def independent_frames(n_frames: int) -> Convergence:
    """Of so many frames without correlation in 30 coordinates."""
    found = convergence(np.random.default_rng(0).standard_normal((n_frames, 30)) * SCALES)
    assert found is not None
    return found


def simulate(folder: Path, coefficients: np.ndarray) -> list:
    """A trajectory of the package's protein along elastic-network modes; its files as arguments.

    Parameters
    ----------
    coefficients : (F, M) float, Å
    """
    protein = build_protein()
    vectors = elastic_network_modes(protein, coefficients.shape[1])[0]
    write_pdb(folder / "m.pdb", protein, CRYSTAL)
    frames = protein.positions + np.einsum("fm,mnx->fnx", coefficients, vectors)
    topology = mdtraj.load_topology(str(folder / "m.pdb"))
    mdtraj.Trajectory(frames / 10, topology).save(str(folder / "md.xtc"))
    return ["--trajectory", "md.xtc", "--topology", "m.pdb", "--reference", "m.pdb"]


@pytest.fixture
def walk(tmp_path) -> list:
    """Sixty frames that drift along twelve modes."""
    steps = np.random.default_rng(1).standard_normal((60, 12))
    return simulate(tmp_path, 0.015 * np.cumsum(steps, axis=0))


def test_a_walk_is_not_long_enough(call, walk, tmp_path):
    """`modes` says so in words, `info` the same of the file; both draw it; the file holds it."""
    done = call("modes", *walk, "--png", "enough.png")
    assert done.returncode == 0, done.stderr
    page = done.stdout
    assert "long enough? 60 frames\n" in page
    assert "as a random walk does" in page and "times as long" in page
    assert "halves 1, 2" in page and "thirds 2, 3" in page
    assert page.endswith("whether the trajectory is long enough: enough.png\n")
    assert (tmp_path / "enough.png").read_bytes()[:4] == b"\x89PNG"
    found = read_modes(tmp_path / "modes.h5").convergence
    assert found.n_frames == 60 and found.cosine_content[0] > 0.7
    assert found.share == pytest.approx(1, abs=1e-6)
    told = call("info", "modes.h5").stdout
    assert told in page and "\n".join(convergence_lines(found)) in told
    assert call("info", "modes.h5", "--png", "again.png").stdout.startswith(told)
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "enough.png").read_bytes()


def test_more_modes_to_keep_change_nothing_else(call, walk, tmp_path):
    """The modes that are kept are the first of those that the frames are projected on."""
    for n_modes in (2, 5):
        assert call("modes", *walk, "--n-modes", n_modes, "-o", f"{n_modes}.h5").returncode == 0
    with h5py.File(tmp_path / "2.h5") as two, h5py.File(tmp_path / "5.h5") as five:
        np.testing.assert_array_equal(two["vectors"], five["vectors"][:2])
        assert len(two["amplitudes"]) == 2 and len(five["amplitudes"]) == 5
        for name in two["convergence"]:
            np.testing.assert_array_equal(two["convergence"][name], five["convergence"][name])


def test_few_frames(call, tmp_path):
    """Modes are made, and it is said that no more can be told."""
    files = simulate(tmp_path, 0.1 * np.random.default_rng(2).standard_normal((11, 3)))
    done = call("modes", *files)
    assert done.returncode == 0
    assert (
        "11 frames: too few to tell whether the trajectory is long enough (12 at least)"
        in done.stdout
    )
    assert read_modes(tmp_path / "modes.h5").convergence is None
    assert "long enough?" not in call("info", "modes.h5").stdout


def test_no_figure_without_a_trajectory(call, inputs, tmp_path, modes):
    """What was expected, and nothing is written."""
    write_modes(tmp_path / "m.h5", modes, {})
    done = call("info", "m.h5", "--png", "a.png")
    assert done.returncode == 65 and "expected modes of a trajectory of 12 frames" in done.stderr
    done = call("modes", "--reference", inputs / "model.pdb", "--png", "a.png")
    assert done.returncode == 65 and "give --trajectory" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["m.h5"]


def test_nothing_to_say():
    """Of 400 independent frames: and what even that does not show."""
    (said,) = verdict(independent_frames(400))
    assert said.startswith("nothing here says that the trajectory is too short; nor that it has")


def test_drifting_modes_are_named():
    """Those of the first three whose cosine content is above a half; later ones do not matter."""
    found = independent_frames(400)
    content = np.array([0.51, 0.2, 0.8, 0.9, *found.cosine_content[4:]])
    (said,) = verdict(replace(found, cosine_content=content))
    assert said.startswith("modes 1 and 3 drift") and "0.51, 0.80, where" in said
    (said,) = verdict(replace(found, cosine_content=content - 0.02))
    assert said.startswith("mode 3 drifts")


def test_halves_that_differ():
    """By their order, so that a longer run helps; or in any order: then frames are too few."""
    found = independent_frames(400)
    apart = replace(found, rmsip=np.full(4, 0.62))
    (said,) = verdict(apart)
    assert "span the first 10 modes to an RMSIP of 0.62" in said and said.endswith("run longer")
    (said,) = verdict(replace(apart, random_rmsip=np.full(4, 0.66)))
    assert "no more than 0.66" in said and "write frames more often" in said


def test_precision_of_amplitudes():
    """1/√(2n): 12.5 independent frames know an amplitude to 20 %, and 50 to 10 %."""
    found = independent_frames(400)
    along = np.full(10, 60.0)
    along[3] = 12.5
    (said,) = verdict(replace(found, independent=along))
    assert "worth 12 independent frames along mode 4" in said
    assert "to some 20 %; for 10 % run 4 times as long" in said
    assert not [x for x in verdict(replace(found, independent=along + 38)) if "worth" in x]
    (said,) = verdict(replace(found, n_frames=20, independent=along))
    assert said.endswith("write 4 times as many frames")


def test_a_table_of_each():
    """Pairs of parts, modes and blocks, a line each, whatever their number."""
    found = independent_frames(30)
    lines = convergence_lines(found)
    said = len(verdict(found))
    assert len(lines) == 2 + said + 1 + 4 + 1 + found.compared + 1 + len(found.block_lengths)
    row = next(line for line in lines if "halves 1, 2" in line).replace("(", "").replace(")", "")
    expected = found.rmsip[0], found.random_rmsip[0], found.overlap[0], found.random_overlap[0]
    assert row.split()[3:] == [f"{x:.2f}" for x in expected]
