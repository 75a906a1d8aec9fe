"""`convert`, `info` and the completion of maps, as a user meets them."""

import gemmi
import h5py
import numpy as np
import pytest

from hpc_diffuser.crystal.lattice import HklGrid
from hpc_diffuser.io.maps.files import read_any_map, write_any_map
from hpc_diffuser.io.maps.native import read_map
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.merging import completed

TETRAGONAL = (20.0, 20.0, 30.0, 90.0, 90.0, 90.0)


def wedge(space_group: str = "P 41") -> DiffuseMap:
    """Random intensities at the samples of gemmi's asymmetric unit, two samples a unit."""
    grid = HklGrid(TETRAGONAL, (2, 2, 2), (4, 5, 3))
    unit = gemmi.ReciprocalAsu(gemmi.SpaceGroup(space_group))
    values = np.random.default_rng(1).normal(100, 20, grid.shape).astype(np.float32)
    for index in np.ndindex(grid.shape):
        if not unit.is_in([int(i) for i in np.array(index) - grid.extent]):
            values[index] = np.nan
    return DiffuseMap(grid, values, space_group, np.sqrt(values))


def test_completed():
    """Every sample has the value of gemmi's representative of it, on a grid that holds all mates.

    The fourfold axis takes |k| ≤ 5 to |h| ≤ 5.
    """
    diffuse = wedge()
    whole = completed(diffuse)
    assert whole.grid.extent == (5, 5, 3)
    group = gemmi.SpaceGroup("P 41")
    unit, operations = gemmi.ReciprocalAsu(group), group.operations()
    for index in np.ndindex(whole.grid.shape):
        hkl = [int(i) for i in np.array(index) - whole.grid.extent]
        place = np.array(unit.to_asu(hkl, operations)[0]) + diffuse.grid.extent
        there = (place >= 0).all() and (place < diffuse.grid.shape).all()
        expected = diffuse.intensity[tuple(place)] if there else np.nan
        np.testing.assert_equal(whole.intensity[index], expected)
    np.testing.assert_array_equal(whole.errors, np.sqrt(whole.intensity))


def test_completed_changes_nothing_that_was_measured():
    """Mates that disagree stay as they are; completing twice is completing once.

    Under 4/m the mates of (h, k, l) are its turns by 90° about l, (−k, h, l) and so on, and their
    negatives: what is filled in is one of theirs.
    """
    values = np.random.default_rng(2).normal(size=(5, 5, 5)).astype(np.float32)
    values[0] = np.nan
    diffuse = DiffuseMap(HklGrid(TETRAGONAL, (1, 1, 1), (2, 2, 2)), values, "P 4")
    once = completed(diffuse)
    np.testing.assert_array_equal(once.intensity[1:], values[1:])
    for y, z in np.ndindex(5, 5):
        turned = [(4, 4 - y), (4 - y, 0), (y, 4)]
        mates = {values[i, j, k] for i, j in turned if i for k in (z, 4 - z)}
        assert once.intensity[0, y, z] in mates
    np.testing.assert_array_equal(completed(once).intensity, once.intensity)


@pytest.fixture
def map_file(tmp_path):
    write_any_map(tmp_path / "map.nxs", wedge())
    return tmp_path / "map.nxs"


def test_convert(call, map_file):
    """To an MTZ and back, completed: what was done and what was left out is told."""
    folder = map_file.parent
    done = call("convert", "map.nxs", "map.mtz")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "map.mtz: written as mtz"
    done = call("convert", "map.mtz", "whole.map", "--complete")
    assert "filled from Laue mates of P 4" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("no place for it: space group, errors")
    found = read_any_map(folder / "whole.map").diffuse
    np.testing.assert_array_equal(found.intensity, completed(wedge()).intensity)


def test_convert_re_indexes_and_keeps_where_it_came_from(call, map_file):
    """(h, k, l) → (k, h, −l); the native format holds the command and the input's SHA-256."""
    done = call("convert", "map.nxs", "new.nxs", "--reindex", "k,h,-l", "--space-group", "P 43")
    assert done.returncode == 0, done.stderr
    path = map_file.with_name("new.nxs")
    expected = wedge().intensity.transpose(1, 0, 2)[:, :, ::-1]
    np.testing.assert_array_equal(read_map(path).intensity, expected)
    with h5py.File(path) as file:
        attributes = dict(file["entry"].attrs)
    assert attributes["command"] == "hpc-diffuser convert" and len(attributes["sha256 map"]) == 64


MISTAKES = {
    "ending": (["map.nxs", "map.h5"], "its ending does not tell the format"),
    "format": (["map.nxs", "map.x", "--to", "vtk"], "--to vtk: expected one of native"),
    "itself": (["map.nxs", "map.nxs"], "would be replaced"),
    "missing": (["none.nxs", "map.mtz"], "none.nxs: no such file"),
    "cell": (["map.nxs", "a.mtz", "--cell", "1,2,3"], "expected six numbers"),
    "divisions": (["map.nxs", "a.mtz", "--divisions", "7"], "expected three whole numbers"),
    "integers": (["map.nxs", "a.hkl"], "a table of integer h k l cannot hold"),
    "group": (["map.nxs", "a.nxs", "--space-group", "P 99"], 'space group "P 99" is unknown'),
    "group of MTZ": (
        ["map.nxs", "a.mtz", "--space-group", "P 99"],
        'space group "P 99" is unknown',
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(call, map_file, name):
    """One line, code 65, and nothing written."""
    arguments, reason = MISTAKES[name]
    before = sorted(map_file.parent.iterdir())
    done = call("convert", *arguments)
    assert done.returncode == 65 and reason in done.stderr
    assert done.stderr.count("\n") == 1 and sorted(map_file.parent.iterdir()) == before


@pytest.mark.parametrize("words", [("info",), ("target", "--d-min", "3", "-o", "a.h5")], ids=str)
def test_unknown_space_group(call, map_file, words):
    """Refused as by convert, whoever reads the map."""
    before = sorted(map_file.parent.iterdir())
    done = call(words[0], "map.nxs", *words[1:], "--space-group", "P 99")
    assert done.returncode == 65 and 'space group "P 99" is unknown' in done.stderr
    assert done.stderr.count("\n") == 1 and sorted(map_file.parent.iterdir()) == before


def test_info_of_a_map(call, map_file):
    """What is assumed; shells that are as complete as a quarter of 4/m's sphere; the sections."""
    pytest.importorskip("matplotlib")
    done = call("info", "map.nxs", "--png", "sections.png", "--space-group", "P 4")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "map.nxs: native map" and lines[-1] == "central sections: sections.png"
    assert any(line.endswith("(Å, degrees), P 4") for line in lines)
    picture = map_file.with_name("sections.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 10_000


def test_info_of_an_unmeasured_map(call, tmp_path):
    """Nothing to tell of its shells, and no figure: one line."""
    empty = DiffuseMap(wedge().grid, np.full(wedge().grid.shape, np.nan, np.float32), "P 1")
    write_any_map(tmp_path / "map.nxs", empty)
    assert "all masked" in call("info", "map.nxs").stdout
    done = call("info", "map.nxs", "--png", "a.png")
    assert done.returncode == 65 and "nothing is measured" in done.stderr
