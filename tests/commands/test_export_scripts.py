"""Scripts for viewers: what they load lies beside them, and arrows are where atoms go."""

import re
import sys
import types

import gemmi
import numpy as np
import pytest

TRACE = [1, 5, 9]  # the Cα of the three residues


class Viewer:
    """Stands in for PyMOL's cmd: notes what it is asked for, and whether files are there."""

    def __init__(self):
        self.loaded, self.drawn, self.coloured, self.disabled = {}, {}, {}, []

    def load(self, path, name, quiet):
        """A file under a name."""
        self.loaded[name] = gemmi.read_structure(path)

    def load_cgo(self, drawn, name):
        """Numbers of cylinders and cones."""
        self.drawn[name] = drawn

    def spectrum(self, what, palette, name, minimum, maximum):
        """Colours by a column, between two values."""
        assert what == "b" and len(palette.split()) == 5
        self.coloured[name] = minimum, maximum

    def count_atoms(self, selection):
        """There is a backbone."""
        return 1

    def disable(self, name):
        """What is not shown at first."""
        self.disabled.append(name)

    def __getattr__(self, name):
        """What only changes looks."""
        assert name in ("hide", "show", "dss", "bg_color", "orient", "zoom"), name
        return lambda *words, **named: None


@pytest.fixture
def viewer(monkeypatch):
    """Under the name of PyMOL's module."""
    cgo = types.ModuleType("pymol.cgo")
    cgo.CYLINDER, cgo.CONE = 9.0, 27.0
    program = types.ModuleType("pymol")
    program.cmd = Viewer()
    monkeypatch.setitem(sys.modules, "pymol", program)
    monkeypatch.setitem(sys.modules, "pymol.cgo", cgo)
    return program.cmd


def displacements(modes, row, amplitude):
    """Of the Cα at two standard deviations, in Å."""
    return 2 * amplitude * modes.vectors[row, TRACE]


def seen(positions, moved):
    """The arrows that are long enough, the longest of at least 6 Å: starts, tips, factor."""
    lengths = np.linalg.norm(moved, axis=1)
    factor = int(np.ceil(6 / lengths.max()))
    long = factor * lengths >= 1
    return positions[long], positions[long] + factor * moved[long], factor


def test_pymol(call, project, modes, viewer):
    """The script runs from any folder, and shows the prominent mode of the two."""
    done = call("export", "modes.h5", "a.pml", folder=project)
    assert done.returncode == 0, done.stderr
    text = (project / "a.pml").read_text()
    # One block of Python: elsewhere PyMOL takes what follows a semicolon in a comment as a command.
    assert text.startswith("python\n") and text.endswith("\npython end\n")
    block = text.removeprefix("python\n").removesuffix("python end\n")
    exec(block, {"__script__": str(project / "a.pml")})
    assert list(viewer.loaded) == ["molecule", "mode_1"] and viewer.disabled == ["molecule"]
    moved = displacements(modes, 0, 0.4)
    starts, tips, factor = seen(modes.structure.positions[TRACE], moved)
    numbers = np.array(viewer.drawn["arrows_1"]).reshape(len(starts), -1)
    np.testing.assert_allclose(numbers[:, 1:4], starts, atol=0.006)
    cone = numbers[:, 14:]
    assert (cone[:, 0] == 27).all()
    np.testing.assert_allclose(cone[:, 4:7], tips, atol=0.006)
    assert f"arrows {factor} times as long" in done.stdout
    # The B column of the models: how far each atom goes; of the mean, its rms displacement.
    atoms = [cra.atom for cra in viewer.loaded["mode_1"][0].all()]
    far = 2 * 0.4 * np.linalg.norm(modes.vectors[0], axis=1)
    np.testing.assert_allclose([a.b_iso for a in atoms], far, atol=0.006)
    assert viewer.coloured["mode_1"] == (0, pytest.approx(np.percentile(far[TRACE], 95), abs=1e-4))
    assert len(viewer.loaded["mode_1"]) == 20
    rms = np.sqrt(np.einsum("m,mnx->n", [0.16, 0.04], modes.vectors**2))
    atoms = [cra.atom for cra in viewer.loaded["molecule"][0].all()]
    np.testing.assert_allclose([a.b_iso for a in atoms], rms, atol=0.006)


def test_chimerax(call, project, modes):
    """What is opened is there, in the order of the models' numbers; BILD has the same arrows."""
    words = ("modes.h5", "a.cxc", "--amplitudes", "0.3,0.3", "--models", "8")
    done = call("export", *words, folder=project)
    assert done.returncode == 0, done.stderr
    text = (project / "a.cxc").read_text()
    opened = re.findall(r'^open "(.*?)"(?: coordsets true)?$', text, re.M)
    assert opened == [
        "a-mean.pdb",
        *("a-mode1.pdb", "a-arrows1.bild"),
        *("a-mode2.pdb", "a-arrows2.bild"),
    ]
    assert f"it loads: {', '.join(sorted(opened, key=lambda name: 'bild' in name))}" in done.stdout
    for name in opened:
        assert (project / name).stat().st_size
    starts, tips, _ = seen(modes.structure.positions[TRACE], displacements(modes, 1, 0.3))
    lines = (project / "a-arrows2.bild").read_text().splitlines()
    found = np.array([line.split()[1:] for line in lines if line.startswith(".arrow")], float)
    np.testing.assert_allclose(found[:, :6], np.hstack([starts, tips]), atol=6e-4)
    assert "hide #1,4,5 models" in text and "coordset #2 1,8 " in text
    assert re.search(r"^key #440154:0.0 (#\w{6}: ){3}#fde725:\d+\.\d$", text, re.M)
    palettes = re.findall(r"color byattribute a:bfactor #(\d) target ac palette (\S+)", text)
    assert [number for number, _ in palettes] == ["1", "2", "4"]
    assert all(re.fullmatch(r"([\d.]+,#\w{6}:?){5}", palette) for _, palette in palettes)


def test_one_mode_of_a_run(call, finished, tmp_path):
    """`--mode` says which; of a run colours are of all motions."""
    words = (finished / "run", "a.pml", "--mode", "2", "--reach", "1")
    done = call("export", *words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "translation" in done.stdout and "\nmode 2: 1 standard deviations" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"a.pml", "a-mean.pdb", "a-mode2.pdb"}
