"""Native maps and targets: the layout of the field, exact round trips, unfit files refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from hpc_diffuser import __version__
from hpc_diffuser.crystal.lattice import HklGrid
from hpc_diffuser.io.maps.native import read_map, read_target, write_map, write_target
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.target import Target, TargetOptions, make_target
from hpc_diffuser.system.errors import InputError

CELL = (14.0, 15.0, 16.0, 88.0, 105.0, 98.0)
INTENSITY = "entry/intensity/intensity"


def random_map(errors: bool = False) -> DiffuseMap:
    """A map of random numbers, 2 x 3 x 4 samples per reciprocal-lattice unit, some masked."""
    rng = np.random.default_rng(1)
    grid = HklGrid(CELL, (2, 3, 4), (3, 4, 5))
    intensity = rng.normal(size=grid.shape).astype(np.float32)
    intensity[rng.random(grid.shape) < 0.2] = np.nan
    sigma = rng.uniform(0.1, 1, grid.shape).astype(np.float32) if errors else None
    return DiffuseMap(grid, intensity, "P 1 21 1", sigma)


def assert_same_map(found: DiffuseMap, expected: DiffuseMap) -> None:
    """Equal in every bit; NaN at the same voxels."""
    assert found.grid == expected.grid
    assert found.space_group == expected.space_group
    np.testing.assert_array_equal(found.intensity, expected.intensity)
    assert (found.errors is None) == (expected.errors is None)
    if expected.errors is not None:
        np.testing.assert_array_equal(found.errors, expected.errors)


@pytest.mark.parametrize("errors", [False, True])
def test_map_round_trip_is_exact(tmp_path, errors):
    """Intensity, masked voxels, errors, grid, cell and space group."""
    write_map(tmp_path / "m.nxs", random_map(errors), {})
    assert_same_map(read_map(tmp_path / "m.nxs"), random_map(errors))


def text(value: object) -> str:
    """A text attribute or dataset, as h5py gives it."""
    return value.decode() if isinstance(value, bytes) else str(value)


def test_layout_that_other_programs_open(tmp_path):
    """By plain h5py, item by item as the field's layout says: NeXus, and mdx2's own GridData."""
    diffuse = random_map(errors=True)
    write_map(tmp_path / "m.nxs", diffuse, {"command": "a command", "sha256 x": "00"})
    with h5py.File(tmp_path / "m.nxs") as file:
        assert text(file.attrs["creator"]) == "hpc-diffuser"
        assert text(file.attrs["creator_version"]) == __version__
        assert text(file.attrs["default"]) == "entry"
        entry = file["entry"]
        assert text(entry.attrs["NX_class"]) == "NXentry"
        assert text(entry.attrs["default"]) == "intensity"
        assert text(entry.attrs["command"]) == "a command"
        assert text(entry.attrs["sha256 x"]) == "00"
        data = entry["intensity"]
        assert text(data.attrs["NX_class"]) == "NXdata"
        assert text(data.attrs["signal"]) == "intensity"
        assert [text(a) for a in data.attrs["axes"]] == ["h", "k", "l"]
        assert text(data.attrs["mdx2_module"]) == "mdx2.geometry"
        assert text(data.attrs["mdx2_class"]) == "GridData"
        assert data["intensity"].dtype == np.float32
        assert data["intensity"].shape == (7, 9, 11)
        assert data["intensity_errors"].shape == (7, 9, 11)
        np.testing.assert_array_equal(data["intensity"][()], diffuse.intensity)
        for name, n, m in zip("hkl", (2, 3, 4), (3, 4, 5), strict=True):
            assert data[name].dtype == np.float64
            np.testing.assert_allclose(data[name][()], np.arange(-m, m + 1) / n, atol=1e-15)
        crystal = entry["crystal"]
        assert text(crystal.attrs["NX_class"]) == "NXsample"
        assert crystal["unit_cell"].dtype == np.float64
        assert tuple(crystal["unit_cell"][()]) == CELL
        assert text(crystal["space_group"][()]) == "P 1 21 1"


def write_plain(path: Path, axes: list[np.ndarray], intensity: np.ndarray, **extra) -> None:
    """A native map as another program would write it, by plain h5py."""
    with h5py.File(path, "w") as file:
        data = file.create_group("entry/intensity")
        for name, axis in zip("hkl", axes, strict=True):
            data[name] = axis
        data["intensity"] = intensity
        for name, values in extra.items():
            data[name] = values
        file["entry/crystal/unit_cell"] = CELL
        file["entry/crystal/space_group"] = "P 1"


PARTS = {
    "l from 0": ((-4, 4), (-3, 3), (0, 5)),
    "l from -1": ((-4, 4), (-3, 3), (-1, 5)),
    "h from 0": ((0, 4), (-3, 3), (-5, 5)),
    "l to 0": ((-4, 4), (-3, 3), (-5, 0)),
    "off centre": ((1, 4), (-3, -2), (-1, 2)),
    "whole": ((-4, 4), (-3, 3), (-5, 5)),
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16])
def test_part_of_reciprocal_space_is_embedded(tmp_path, part, kind):
    """Of a map of any box, each value lies at its own hkl of a symmetric grid; NaN elsewhere.

    The value at sample (i, j, k) is made of its indices, 100 i + 10 j + k.
    """
    spans = PARTS[part]
    ranges = [np.arange(first, last + 1) for first, last in spans]
    i, j, k = np.meshgrid(*ranges, indexing="ij")
    values = (100 * i + 10 * j + k).astype(kind)
    axes = [r / n for r, n in zip(ranges, (3, 2, 4), strict=True)]
    write_plain(tmp_path / "m.nxs", axes, values, intensity_errors=np.abs(values) + 1.0)
    diffuse = read_map(tmp_path / "m.nxs")
    assert diffuse.grid.divisions == (3, 2, 4)
    assert diffuse.grid.extent == tuple(max(abs(a), abs(b)) for a, b in spans)
    assert diffuse.intensity.shape == diffuse.grid.shape
    assert np.isfinite(diffuse.intensity).sum() == values.size
    place = tuple(n + e for n, e in zip((i, j, k), diffuse.grid.extent, strict=True))
    np.testing.assert_array_equal(diffuse.intensity[place], values)
    np.testing.assert_array_equal(diffuse.errors[place], np.abs(values) + 1.0)


def test_half_map_gives_the_target_of_the_whole(tmp_path, diffuse):
    """Friedel mates are equal: l >= 0 alone holds all that the target needs.

    Intensities are means of the mates that were measured, here of equal numbers or of one.
    """
    options = TargetOptions(d_max_A=6.0, d_min_A=2.5, n_shells=3)
    expected = make_target(diffuse, options)
    middle = diffuse.grid.extent[2]
    axes = [diffuse.grid.axis(0), diffuse.grid.axis(1), diffuse.grid.axis(2)[middle:]]
    write_plain(tmp_path / "m.nxs", axes, diffuse.intensity[:, :, middle:])
    found = make_target(read_map(tmp_path / "m.nxs"), options)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.free, expected.free)
    np.testing.assert_array_equal(found.intensity, expected.intensity)


def test_axes_with_rounding(tmp_path):
    """Axes in single precision, or rounded to four decimals, are on the grid all the same."""
    ranges = [np.arange(-m, m + 1) for m in (7, 8, 9)]
    axes = [np.round(ranges[0] / 7, 4), (ranges[1] / 7).astype(np.float32), ranges[2] / 13]
    write_plain(tmp_path / "m.nxs", axes, np.ones((15, 17, 19), np.float32))
    assert read_map(tmp_path / "m.nxs").grid == HklGrid(CELL, (7, 7, 13), (7, 8, 9))


BAD_AXES = {
    "up and down": np.array([3, 2, 1, 0, 1, 2, 3]) / 3,
    "not through 0": np.arange(-3, 4) / 3 + 0.1,
    "unequal steps": np.array([-1, -2 / 3, -1 / 3, 0, 1 / 3, 2 / 3, 4 / 3]),
    "step is no 1/n": np.arange(-3, 4) * 0.3,
    "step above 1": np.arange(-3, 4) * 2.0,
    "all equal": np.zeros(7),
    "NaN": np.array([-1, np.nan, -1 / 3, 0, 1 / 3, 2 / 3, 1]),
    "too short": np.arange(-2, 3) / 3,
    "two-dimensional": np.zeros((7, 2)),
    "a number": np.float64(1),
    "text": np.array([b"a"] * 7),
    "empty": np.empty(0),
}


@pytest.mark.parametrize("bad", BAD_AXES)
@pytest.mark.parametrize("position", [0, 2])
def test_bad_axes(tmp_path, bad, position):
    """An axis that is no series of equal steps 1/n through 0 is refused, and not rounded."""
    axes = [np.arange(-3, 4) / 3] * 3
    axes[position] = BAD_AXES[bad]
    write_plain(tmp_path / "m.nxs", axes, np.ones((7, 7, 7), np.float32))
    assert_refused(read_map, tmp_path / "m.nxs", "")


@pytest.mark.parametrize("first", [(-3, -4, -5), (0, -4, 2), (-3, -1, -5)])
@pytest.mark.parametrize("down", [(0,), (2,), (0, 1, 2)])
def test_axes_that_descend(tmp_path, first, down):
    """The same map written with axes from high to low, of a whole and of a part of the grid."""
    diffuse = random_map(errors=True)
    samples = list(zip(first, diffuse.grid.extent, diffuse.grid.divisions, strict=True))
    axes = [np.arange(low, m + 1) / n for low, m, n in samples]
    part = tuple(slice(low + m, None) for low, m, _ in samples)
    values, errors = diffuse.intensity[part], diffuse.errors[part]
    write_plain(tmp_path / "up.nxs", axes, values, intensity_errors=errors)
    axes = [axis[::-1] if i in down else axis for i, axis in enumerate(axes)]
    values, errors = np.flip(values, down), np.flip(errors, down)
    write_plain(tmp_path / "down.nxs", axes, values, intensity_errors=errors)
    found = read_map(tmp_path / "down.nxs")
    assert_same_map(found, read_map(tmp_path / "up.nxs"))
    np.testing.assert_array_equal(found.intensity[part], diffuse.intensity[part])


def test_a_target_with_an_axis_that_descends_is_refused(tmp_path):
    """Its voxels are counted from the first of each axis."""
    target = make_target(
        replace(random_map(), space_group="P 1"), TargetOptions(12.0, 4.0, halo_radius=0)
    )
    write_target(tmp_path / "t.h5", target, {})
    with h5py.File(tmp_path / "t.h5", "r+") as file:
        axis = file["entry/intensity/k"]
        axis[...] = axis[()][::-1]
    assert_refused(read_target, tmp_path / "t.h5", "axes h, k, l: expected ascending")


def test_bad_axis_is_named(tmp_path):
    """The message says which axis, what was expected and what was found."""
    axes = [np.arange(-3, 4) / 3, np.arange(-3, 4) * 0.3, np.arange(-3, 4) / 3]
    write_plain(tmp_path / "m.nxs", axes, np.ones((7, 7, 7), np.float32))
    assert_refused(read_map, tmp_path / "m.nxs", "axis k: expected equal steps of 1/n")


BEYOND = {
    "far from 0": (np.arange(10**4, 10**4 + 7) / 3, "axes h, k, l: a grid of 20013 x"),
    "beyond any index": (np.arange(7) + 1e6, "holds numbers beyond 100000"),
    "steps of nothing": (np.arange(-3, 4) * 1e-300, "expected equal steps of 1/n"),
    "steps below nothing": (np.arange(-3, 4) * 5e-324, "expected equal steps of 1/n"),
}


@pytest.mark.parametrize("bad", BEYOND)
def test_axes_that_claim_a_huge_grid(tmp_path, bad):
    """A few numbers far out would make a grid of terabytes: refused before there is one."""
    axis, reason = BEYOND[bad]
    write_plain(tmp_path / "m.nxs", [axis] * 3, np.ones((7, 7, 7), np.float32))
    assert_refused(read_map, tmp_path / "m.nxs", reason)


def put(name: str, value: object) -> Callable[[h5py.File], None]:
    """A change to a file: a dataset with another content."""

    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        file[name] = value

    return change


def cut(name: str, index: object) -> Callable[[h5py.File], None]:
    """A change to a file: part of a dataset instead of all."""
    return lambda file: put(name, file[name][index])(file)


def remove(name: str) -> Callable[[h5py.File], None]:
    """A change to a file: something is missing."""
    return lambda file: file.__delitem__(name)


# What neither a map nor a target may have.
DAMAGE = {
    "fewer planes": (cut(INTENSITY, slice(3)), "shape"),
    "one plane": (cut(INTENSITY, 0), ""),
    "one number": (put(INTENSITY, 1.0), ""),
    "text": (put(INTENSITY, b"text"), ""),
    "no intensity": (remove(INTENSITY), "intensity"),
    "errors of another shape": (put(f"{INTENSITY}_errors", np.ones((2, 2, 2))), ""),
    "no axis": (remove("entry/intensity/k"), "k"),
    "no cell": (remove("entry/crystal/unit_cell"), "unit_cell"),
    "no crystal": (remove("entry/crystal"), ""),
    "no entry": (remove("entry"), ""),
    "cell of zeros": (put("entry/crystal/unit_cell", np.zeros(6)), "unit_cell"),
    "cell with NaN": (put("entry/crystal/unit_cell", [10, 10, np.nan, 90, 90, 90]), "unit_cell"),
    "cell of three": (put("entry/crystal/unit_cell", np.ones(3)), "unit_cell"),
    "huge cell": (put("entry/crystal/unit_cell", [1e300, 10, 10, 90, 90, 90]), "edges up to"),
    "long space group": (put("entry/crystal/space_group", "P 1" * 99), "expected a space group"),
    "control characters": (put("entry/crystal/space_group", "P\x1b[2J"), "expected a space group"),
    "huge intensity": (
        lambda file: file[INTENSITY].__setitem__((3, 3, 3), -3e38),
        "intensity holds numbers beyond 1e+30",
    ),
    "text of the right shape": (
        lambda file: put(INTENSITY, np.full(file[INTENSITY].shape, b"x"))(file),
        "intensity: expected numbers, found text",
    ),
    "cell of one": (put("entry/crystal/unit_cell", 1.0), ""),
    "another axis": (put("entry/intensity/h", np.arange(3) / 3), ""),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", ["map", "target"])
def test_unfit_file(tmp_path, diffuse, target, kind, damage):
    """Bad input, in one line that names the file; never a map with values at other hkl."""
    path = tmp_path / "file.h5"
    if kind == "map":
        write_map(path, diffuse, {})
    else:
        write_target(path, target, {})
    change, reason = DAMAGE[damage]
    with h5py.File(path, "r+") as file:
        change(file)
    assert_refused(read_map if kind == "map" else read_target, path, reason)


TARGET_DAMAGE = {
    "another format": (lambda f: f.attrs.__setitem__("format", "hpc-diffuser/map"), "format"),
    "later version": (lambda f: f.attrs.__setitem__("version", 2), "version 2"),
    "no free set": (remove("entry/free_set"), "free_set"),
    "free set of another shape": (cut("entry/free_set", slice(3)), ""),
    "flat free set": (put("entry/free_set", np.zeros(3, np.uint8)), ""),
    "no shells": (remove("entry/shell_edges"), "shell_edges"),
    "edges without end": (put("entry/shell_edges", [0.1, 1e300]), "expected a limit above 0.1 Å"),
    "shells without end": (put("entry/shell_edges", np.arange(20_000) * 1e-4), "at most 10000"),
    "infinite voxel": (
        lambda file: file[INTENSITY].__setitem__((3, 3, 3), np.inf),
        "intensity holds NaN or infinite numbers",
    ),
    "no errors of voxels": (
        lambda file: put(f"{INTENSITY}_errors", np.zeros(file[INTENSITY].shape))(file),
        "intensity_errors should be above 0",
    ),
    "the half with h below 0": (
        lambda file: put("entry/intensity/h", file["entry/intensity/h"][()] - 2)(file),
        "expected the half with h",
    ),
    "one edge": (put("entry/shell_edges", np.ones(1)), "shell_edges"),
    "shells with NaN": (put("entry/shell_edges", [0.1, np.nan, 0.4]), "shell_edges"),
    "shells reversed": (put("entry/shell_edges", [0.4, 0.3, 0.1]), "shell_edges"),
    "all masked": (lambda f: f[INTENSITY].__setitem__(..., np.nan), "no unmasked voxel"),
}


@pytest.mark.parametrize("damage", TARGET_DAMAGE)
def test_unfit_target(tmp_path, target, damage):
    """The same for what only targets have."""
    path = tmp_path / "target.h5"
    write_target(path, target, {})
    change, reason = TARGET_DAMAGE[damage]
    with h5py.File(path, "r+") as file:
        change(file)
    assert_refused(read_target, path, reason)


@pytest.mark.parametrize("size", [0, 1, 100, 4000])
@pytest.mark.parametrize("read", [read_map, read_target])
def test_truncated_file(tmp_path, diffuse, target, read, size):
    """A copy that broke off, or an empty file."""
    path = tmp_path / "file.h5"
    if read is read_map:
        write_map(path, diffuse, {})
    else:
        write_target(path, target, {})
    assert size < path.stat().st_size
    path.write_bytes(path.read_bytes()[:size])
    assert_refused(read, path, "" if size else "empty file")


@pytest.mark.parametrize("read", [read_map, read_target])
def test_missing_file(tmp_path, read):
    """Named, with what was expected there."""
    assert_refused(read, tmp_path / "none.h5", "no such file: expected a")


def assert_refused(read: Callable, path: Path, reason: str) -> None:
    """InputError: one line, beginning with the file, with the reason in it."""
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and reason in message and "\n" not in message


def with_errors(target: Target) -> Target:
    """The target with random errors."""
    errors = np.random.default_rng(2).uniform(0.1, 1, len(target.indices)).astype(np.float32)
    return replace(target, errors=errors)


@pytest.mark.parametrize("errors", [False, True])
def test_target_round_trip_is_exact(tmp_path, target, errors):
    """Voxels in their order, intensities, free set, shells."""
    expected = with_errors(target) if errors else target
    write_target(tmp_path / "t.h5", expected, {})
    found = read_target(tmp_path / "t.h5")
    assert found.grid == expected.grid
    assert found.space_group == expected.space_group
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.intensity, expected.intensity)
    np.testing.assert_array_equal(found.free, expected.free)
    assert found.free.dtype == bool
    np.testing.assert_array_equal(found.shell_edges, expected.shell_edges)
    assert (found.errors is None) == (expected.errors is None)
    if errors:
        np.testing.assert_array_equal(found.errors, expected.errors)


def test_target_is_a_map_of_its_voxels(tmp_path, target):
    """It has the native layout, so that viewers open it: the half h >= 0, NaN where masked."""
    write_target(tmp_path / "t.h5", target, {"command": "c"})
    with h5py.File(tmp_path / "t.h5") as file:
        assert text(file.attrs["format"]) == "hpc-diffuser/target"
        assert file["entry/intensity/h"][0] == 0
        assert file["entry/free_set"].shape == file[INTENSITY].shape
        assert text(file["entry"].attrs["command"]) == "c"
    whole = read_map(tmp_path / "t.h5")
    assert whole.grid == target.grid
    place = tuple((target.indices + np.array(target.grid.extent)).T)
    np.testing.assert_array_equal(whole.intensity[place], target.intensity)
    assert np.isfinite(whole.intensity).sum() == len(target.indices)
