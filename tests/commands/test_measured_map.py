"""Maps with a structure: the search for a re-indexing, and whose cell and space group count.

The maps are of twelve atoms that move as one by 0.4 Å.
"""

from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
from builders import direct_sum, s_vectors
from conftest import tiny_structure

from hpc_diffuser.commands import measured_map, reindexing_search
from hpc_diffuser.commands.measured_map import MapSource, in_crystal, load_map
from hpc_diffuser.commands.reindexing_search import Candidate, decided, search
from hpc_diffuser.crystal.lattice import HklGrid, grid_to_resolution, laue_operations
from hpc_diffuser.io.maps.files import Found, Given
from hpc_diffuser.io.maps.native import read_target, write_map
from hpc_diffuser.io.structures.files import write_pdb
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.merging import merged_intensity
from hpc_diffuser.maps.reindexing import parse_reindexing, reindexed, reindexing_text
from hpc_diffuser.maps.target import TargetOptions
from hpc_diffuser.system.errors import InputError

CUBIC = (15.0, 15.0, 15.0, 90.0, 90.0, 90.0)
TETRAGONAL = (14.0, 14.0, 17.0, 90.0, 90.0, 90.0)
OPTIONS = TargetOptions(10.0, 4.0)
RANGE = ("--d-max", 10, "--d-min", 4)


@cache
def molecule(cell, divisions) -> tuple[HklGrid, np.ndarray, np.ndarray]:
    """|F|² (1 − exp(−q²σ²)), F by the plain sum over atoms: grid to 4 Å, all samples, values."""
    grid = grid_to_resolution(cell, divisions, 4.0)
    every = np.argwhere(np.ones(grid.shape)) - np.array(grid.extent)
    s = s_vectors(grid, every)
    damping = np.exp(-4 * np.pi**2 * np.sum(s**2, axis=1) * 0.4**2)
    return grid, every, np.abs(direct_sum(tiny_structure(), s)) ** 2 * (1 - damping)


def map_of(cell, space_group: str, divisions=(2, 2, 2), noise: float = 0.1) -> DiffuseMap:
    """The twelve atoms' map in a crystal, with noise of a tenth of its spread in each voxel."""
    grid, every, values = molecule(cell, divisions)
    values = values.reshape(grid.shape)
    values = merged_intensity(values, every, laue_operations(space_group)).reshape(grid.shape)
    values += np.random.default_rng(5).normal(size=grid.shape) * noise * values.std()
    return DiffuseMap(grid, values.astype(np.float32), space_group)


def misindexed(diffuse: DiffuseMap, text: str) -> DiffuseMap:
    """The map such that re-indexing by `text` makes it right again."""
    return reindexed(diffuse, np.rint(np.linalg.inv(parse_reindexing(text))).astype(int))


@pytest.fixture
def folder(tmp_path) -> Path:
    """model.pdb in the tetragonal crystal, and its map, of which h and k are swapped."""
    write_pdb(tmp_path / "model.pdb", tiny_structure(), (TETRAGONAL, "P 41"))
    write_map(tmp_path / "map.nxs", misindexed(map_of(TETRAGONAL, "P 41"), "k,h,-l"), {})
    return tmp_path


@pytest.mark.parametrize("text", ["h,k,l", "k,h,-l", "k,l,h", "-h,l,k"])
def test_search_finds_the_axes_of_a_cubic_lattice(text, monkeypatch):
    """In P 1 on a cubic lattice there are 24: the right one has CC ≈ 1, the others far less.

    The structure's map is calculated once.
    """
    calls, original = [], reindexing_search.rigid_body
    monkeypatch.setattr(reindexing_search, "rigid_body", lambda *a: calls.append(1) or original(*a))
    diffuse = misindexed(map_of(CUBIC, "P 1"), text)
    found = search(diffuse, tiny_structure(), (CUBIC, "P 1"), OPTIONS)
    assert len(found) == 24 and len(calls) == 1
    assert found[0].cc > 0.98 and found[1].cc < 0.9
    assert all(a.cc >= b.cc for a, b in pairwise(found))
    np.testing.assert_array_equal(decided(found), parse_reindexing(text))


def test_search_knows_the_laue_class():
    """In P 4₁ only one other is different; that with axes divided differently is compared too."""
    for divisions in ((2, 2, 2), (2, 2, 3)):
        diffuse = misindexed(map_of(TETRAGONAL, "P 41", divisions), "k,h,-l")
        found = search(diffuse, tiny_structure(), (TETRAGONAL, "P 41"), OPTIONS)
        assert [reindexing_text(c.reindexing) for c in found] == ["k,h,-l", "h,k,l"]
        assert found[0].cc > 0.98


def test_search_of_a_map_on_the_peaks():
    """One voxel per integer hkl: nothing is masked unless it is asked for."""
    diffuse = misindexed(map_of(TETRAGONAL, "P 41", (1, 1, 1)), "k,h,-l")
    found = search(diffuse, tiny_structure(), (TETRAGONAL, "P 41"), None)
    assert reindexing_text(found[0].reindexing) == "k,h,-l" and found[0].cc > 0.9


def test_search_between_alike_cells():
    """Axes of another order, and 1 % off: found from the cells alone."""
    structure, crystal = tiny_structure(), ((14.0, 15.0, 17.0, 90.0, 90.0, 90.0), "P 21 21 21")
    diffuse = misindexed(map_of(*crystal), "l,h,k")
    off = tuple(1.01 * x for x in diffuse.grid.unit_cell[:3])
    diffuse = replace(diffuse, grid=replace(diffuse.grid, unit_cell=(*off, 90.0, 90.0, 90.0)))
    (found,) = search(diffuse, structure, crystal, OPTIONS)
    assert reindexing_text(found.reindexing) == "l,h,k" and found.cc > 0.95


def test_search_needs_a_lattice_in_common():
    """Another crystal's map: both cells are named."""
    with pytest.raises(InputError, match=r"no re-indexing makes.*14 14 17.*15 15 15"):
        search(map_of(TETRAGONAL, "P 41"), tiny_structure(), (CUBIC, "P 1"), OPTIONS)


def candidates(*ccs: float, noise: float = 0.01) -> list[Candidate]:
    """In the order given, of any matrices."""
    return [Candidate(np.eye(3, dtype=int), cc, noise) for cc in ccs]


@pytest.mark.parametrize(
    ("ccs", "noise", "clear"),
    [
        ((0.48, 0.04), 0.014, True),
        ((0.48, 0.47), 0.001, False),
        ((0.48, 0.44), 0.014, False),
        ((0.48, 0.44), 0.001, True),
        ((0.09, -0.2), 0.001, False),
        ((0.3, 0.0), 0.1, False),
        ((0.999, 0.8), 0.04, True),
        ((0.02,), 0.01, True),
        ((np.nan, np.nan), 0.01, False),
        ((0.5, np.nan), 0.01, True),
    ],
)
def test_what_is_clear(ccs, noise, clear):
    """At least 0.1, 0.02 more than the next, both beyond the noise; one alone is no choice.

    0.48 and 0.44, of 1/0.014² = 5100 voxels: 0.014 √((1 − 0.48²)² + (1 − 0.44²)²) = 0.016,
    of which the difference is less than three. 0.999 and 0.8: 0.014, of which it is fourteen.
    """
    if clear:
        decided(candidates(*ccs, noise=noise))
    else:
        with pytest.raises(InputError, match=r"does not decide: CC .*--reindex"):
            decided(candidates(*ccs, noise=noise))


def test_noise_does_not_decide():
    """Of a map that is nothing but noise no re-indexing is clearly best."""
    diffuse = map_of(CUBIC, "P 1", noise=100.0)
    with pytest.raises(InputError, match="does not decide"):
        decided(search(diffuse, tiny_structure(), (CUBIC, "P 1"), OPTIONS))


def test_standard_deviation_of_the_noise():
    """Of 24 CCs with pure noise the rms is what the candidates say, 1/√n, within a third."""
    found = search(map_of(CUBIC, "P 1", noise=1000.0), tiny_structure(), (CUBIC, "P 1"), OPTIONS)
    rms = np.sqrt(np.mean([c.cc**2 for c in found]))
    assert rms == pytest.approx(found[0].noise, rel=0.34)


def test_structure_gives_cell_and_space_group():
    """Exactly its own, where the map's cell is 1 % off; 3 % off it is refused."""
    crystal = (TETRAGONAL, "P 41")
    near, far = (
        DiffuseMap(
            HklGrid((14.0 * x, *TETRAGONAL[1:]), (1, 1, 1), (1, 1, 1)), np.ones((3, 3, 3)), "P 1"
        )
        for x in (1.01, 1.03)
    )
    found = in_crystal(near, crystal)
    assert (found.grid.unit_cell, found.space_group) == crystal
    with pytest.raises(InputError, match=r"14\.42 14 17.* is not the structure's 14 14 17.*2 %"):
        in_crystal(far, crystal)
    with pytest.raises(InputError, match=r"14\.42 14 17.* is not the measured map's 14 14 17"):
        in_crystal(far, crystal, of_map=True)


def test_space_group_that_is_given_comes_first(folder):
    """Before the structure's, so that a map can be merged in a lower class."""
    source = MapSource(
        folder / "map.nxs", given=Given(space_group="P 1"), structure=folder / "model.pdb"
    )
    assert load_map(source).diffuse.space_group == "P 1"


@pytest.mark.parametrize("reindex", [None, "l,h,k"])
def test_file_without_a_crystal_takes_the_structures(folder, monkeypatch, reindex):
    """In the file's own indices: if the new h is the old l, the old c is the new a, and so on."""
    asked = []

    def reader(path, given):
        asked.append(given)
        if given.unit_cell is None:
            raise InputError(f"{path}: no unit cell: give --cell")
        grid = HklGrid(given.unit_cell, (1, 1, 1), (1, 1, 1))
        return Found(DiffuseMap(grid, np.ones((3, 3, 3)), given.space_group), "a map", ("a guess",))

    (folder / "x.lat").write_bytes(b"read by the reader above")
    monkeypatch.setattr(measured_map, "read_any_map", reader)
    loaded = load_map(MapSource(folder / "x.lat", structure=folder / "model.pdb", reindex=reindex))
    expected = (14.0, 17.0, 14.0) if reindex else (14.0, 14.0, 17.0)
    assert asked[-1].unit_cell[:3] == pytest.approx(expected) and asked[-1].space_group == "P 41"
    assert (loaded.diffuse.grid.unit_cell, loaded.diffuse.space_group) == (TETRAGONAL, "P 41")
    assert loaded.said[:2] == (f"{folder / 'x.lat'}: a map", "assumed      a guess")
    with pytest.raises(InputError, match="give --cell"):
        load_map(MapSource(folder / "x.lat"))


def test_target_with_a_search(call, folder):
    """The table of candidates, the best applied, and both in the target's file."""
    options = ("--structure", "model.pdb", "--reindex", "search", *RANGE, "--shells", 4)
    result = call("target", "map.nxs", *options, "-o", "t.h5")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    row = next(i for i, line in enumerate(lines) if line.startswith("re-indexing"))
    assert [line.split()[0] for line in lines[row + 1 : row + 3]] == ["k,h,-l", "h,k,l"]
    assert "the new h,k,l are the old k,h,-l" in result.stdout
    by_hand = call("target", "map.nxs", "--reindex", "k,h,-l", *RANGE, "--shells", 4, "-o", "u.h5")
    assert by_hand.returncode == 0
    one, other = (read_target(folder / name) for name in ("t.h5", "u.h5"))
    np.testing.assert_array_equal(one.intensity, other.intensity)
    with h5py.File(folder / "t.h5") as file:
        assert file["entry"].attrs["target reindexing"] == "k,h,-l"
        assert file["entry"].attrs["sha256 structure"]


MISTAKES = {
    "search alone": (("--reindex", "search"), "--reindex search needs"),
    "no re-indexing": (("--reindex", "k,h"), 're-indexing "k,h": expected three sums'),
    "no lattice": (("--reindex", "h,h,l"), "determinant 0"),
    "another axis": (
        ("--structure", "model.pdb", "--reindex", "l,h,k"),
        "map.nxs: unit cell 17 14 14",
    ),
    "no structure": (("--structure", "none.pdb"), "none.pdb: no such file"),
    "structure of a map": (("--structure", "map.nxs"), "map.nxs: "),
    "five numbers": (("--cell", "1,2,3,90,90"), "--cell: expected six numbers"),
    "no cell": (("--cell", "14,14,17,10,90,170"), "--cell: expected a, b, c > 0"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(call, folder, mistake):
    """65, one line, and no target."""
    options, reason = MISTAKES[mistake]
    result = call("target", "map.nxs", *options, *RANGE, "-o", "t.h5")
    assert result.returncode == 65 and not (folder / "t.h5").exists()
    (line,) = result.stderr.splitlines()
    assert reason in line
