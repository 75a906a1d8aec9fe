"""modes.h5: what is written is what is read, and nothing unfit is accepted."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from hpc_diffuser.io.modes_file import read_modes, write_modes
from hpc_diffuser.motion.convergence import convergence
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.system.errors import InputError


def assert_same(found: Modes, expected: Modes) -> None:
    """Equal in every number and letter."""
    for field in fields(expected.structure):
        np.testing.assert_array_equal(
            getattr(found.structure, field.name), getattr(expected.structure, field.name)
        )
    np.testing.assert_array_equal(found.vectors, expected.vectors)
    np.testing.assert_array_equal(found.amplitudes_A, expected.amplitudes_A)
    assert (found.unit_cell, found.space_group) == (expected.unit_cell, expected.space_group)


def test_round_trip_is_exact(tmp_path, modes):
    """Every number to the last bit, every name."""
    write_modes(tmp_path / "m.h5", modes, {})
    assert_same(read_modes(tmp_path / "m.h5"), modes)


@pytest.fixture
def looked_at(modes) -> Modes:
    """Modes of a trajectory of 150 000 frames of which something is known."""
    found = convergence(np.random.default_rng(0).standard_normal((40, 12)))
    return replace(modes, convergence=replace(found, n_frames=150_000, share=0.5))


def test_round_trip_of_convergence(tmp_path, looked_at):
    """Every number of it; integers stay such; modes that are not a trajectory's have none."""
    write_modes(tmp_path / "m.h5", looked_at, {})
    found, expected = read_modes(tmp_path / "m.h5").convergence, looked_at.convergence
    for field in fields(expected):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name))
        assert type(getattr(found, field.name)) is type(getattr(expected, field.name))
    write_modes(tmp_path / "m.h5", replace(looked_at, convergence=None), {})
    assert read_modes(tmp_path / "m.h5").convergence is None


def remove(name: str) -> Callable[[h5py.File], None]:
    """Delete one dataset."""
    return lambda file: file.__delitem__(name)


def swap(name: str, value: object) -> Callable[[h5py.File], None]:
    """Replace one dataset by another, of any shape and type."""

    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = value

    return change


def remove_blocks(file: h5py.File) -> None:
    """Empty tables, that agree."""
    for name in ("block_lengths", "block_overlap", "random_block_overlap"):
        swap(f"convergence/{name}", np.empty(0))(file)


UNFIT_CONVERGENCE = {
    "one is missing": (remove("convergence/rmsip"), "there is no 'convergence/rmsip'"),
    "NaN": (swap("convergence/overlap", np.full(4, np.nan)), '"convergence/overlap" holds NaN'),
    "text": (swap("convergence/share", "half"), '"convergence/share": expected numbers'),
    "another shape": (swap("convergence/rmsip", np.ones(5)), "(5,): expected (4,)"),
    "other blocks": (swap("convergence/block_overlap", np.ones(2)), '"convergence/block_overlap"'),
    "frames by mode": (swap("convergence/n_frames", np.ones(2)), '"convergence/n_frames"'),
    "no frame counts": (swap("convergence/independent", np.zeros(10)), "numbers from 1 up"),
    "a table of lengths": (
        swap("convergence/block_lengths", np.ones((2, 2))),
        '"convergence/block_lengths" is of shape (2, 2): expected (4,)',
    ),
    "no blocks": (remove_blocks, '"convergence/block_lengths" should hold numbers from 1 up'),
    "modes by mode": (swap("convergence/compared", np.ones(2)), '"convergence/compared"'),
}


@pytest.mark.parametrize("damage", UNFIT_CONVERGENCE)
def test_unfit_convergence(tmp_path, looked_at, damage):
    """Named, as everything else in the file."""
    change, reason = UNFIT_CONVERGENCE[damage]
    write_modes(tmp_path / "m.h5", looked_at, {})
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        change(file)
    assert_refused(tmp_path / "m.h5", reason)


def test_round_trip_of_awkward_values(tmp_path, modes):
    """Partial occupancies, negative residue numbers, long chain names, another space group."""
    structure = replace(
        modes.structure,
        occupancies=np.linspace(0, 1, 12),
        residue_numbers=np.arange(-5, 7),
        chain_ids=np.array(["A", "BB", "CCC"] * 4),
        atom_names=np.array(["O5'", "C1*", 'HO"'] * 4),
        insertion_codes=np.array(["", "A", "B"] * 4),
    )
    awkward = replace(modes, structure=structure, space_group="P 21 21 21")
    write_modes(tmp_path / "m.h5", awkward, {})
    assert_same(read_modes(tmp_path / "m.h5"), awkward)


def test_b_factors_of_the_reference(tmp_path, modes):
    """Kept exactly, NaN where the reference lacks an atom; a file without them has none."""
    b = np.linspace(1, 90, 12)
    b[4] = np.nan
    write_modes(tmp_path / "m.h5", replace(modes, crystal_b_A2=b), {})
    np.testing.assert_array_equal(read_modes(tmp_path / "m.h5").crystal_b_A2, b)
    write_modes(tmp_path / "m.h5", modes, {})
    assert read_modes(tmp_path / "m.h5").crystal_b_A2 is None


@pytest.mark.parametrize("b", [np.zeros(11), np.full(12, np.inf), np.full(12, b"a")])
def test_unfit_b_factors_of_the_reference(tmp_path, modes, b):
    """One for each atom, no infinite ones, no text: told by the dataset's name."""
    write_modes(tmp_path / "m.h5", replace(modes, crystal_b_A2=b), {})
    with pytest.raises(InputError, match="crystal_b_factors_A2"):
        read_modes(tmp_path / "m.h5")


def test_no_modes(tmp_path, modes):
    """A structure without modes is a modes file too."""
    none = replace(modes, vectors=np.empty((0, 12, 3)), amplitudes_A=np.empty(0))
    write_modes(tmp_path / "m.h5", none, {})
    assert_same(read_modes(tmp_path / "m.h5"), none)


def test_layout_of_the_contract(tmp_path, modes):
    """The names, shapes and types that other programs may rely on, by plain h5py."""
    write_modes(tmp_path / "m.h5", modes, {"command": "hpc-diffuser modes", "sha256 x": "00"})
    with h5py.File(tmp_path / "m.h5") as file:
        assert file.attrs["format"] == "hpc-diffuser/modes"
        assert file.attrs["version"] == 1
        assert file.attrs["command"] == "hpc-diffuser modes"
        assert file.attrs["sha256 x"] == "00"
        assert file["mean_positions"].shape == (12, 3)
        assert file["vectors"].shape == (2, 12, 3)
        assert file["amplitudes"][()].tolist() == [0.4, 0.2]
        np.testing.assert_allclose(np.sum(file["vectors"][()] ** 2, axis=(1, 2)), 12)
        for name in ("elements", "atom_names", "residue_names", "chain_ids", "insertion_codes"):
            assert file[name].shape == (12,)
            assert file[name].dtype.kind == "S", "fixed-length bytes, as the contract says"
        assert file["atom_names"][:4].tolist() == [b"N", b"CA", b"C", b"O"]
        assert file["residue_numbers"].dtype.kind == "i"


def test_provenance_cannot_replace_the_format(tmp_path, modes):
    """Attributes of the file itself win over provenance of the same name."""
    write_modes(tmp_path / "m.h5", modes, {"format": "other", "version": "0"})
    assert_same(read_modes(tmp_path / "m.h5"), modes)


def test_file_of_another_program(tmp_path, modes):
    """Only what the contract names: names as text, no occupancies, no B-factors, no cell."""
    s = modes.structure
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs.update(format="hpc-diffuser/modes", version=1)
        file["mean_positions"], file["vectors"] = s.positions, modes.vectors
        file["amplitudes"], file["residue_numbers"] = modes.amplitudes_A, s.residue_numbers
        for name in ("elements", "atom_names", "residue_names", "chain_ids", "insertion_codes"):
            file[name] = getattr(s, name).tolist()
    found = read_modes(tmp_path / "m.h5")
    assert found.structure.names() == s.names()
    assert (found.structure.occupancies == 1).all()
    assert (found.structure.b_factors_A2 == 0).all()
    assert (found.structure.insertion_codes == "").all()
    assert found.unit_cell == ()


def put(name: str, value: object) -> Callable[[h5py.File], None]:
    """A change to a file: a dataset with another content."""

    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = value

    return change


def at(name: str, index: tuple, value: float) -> Callable[[h5py.File], None]:
    """A change to a file: one number."""
    return lambda file: file[name].__setitem__(index, value)


def cut(name: str, index: object) -> Callable[[h5py.File], None]:
    """A change to a file: part of a dataset instead of all."""
    return lambda file: put(name, file[name][index])(file)


def attribute(name: str, value: object) -> Callable[[h5py.File], None]:
    """A change to a file: one attribute."""
    return lambda file: file.attrs.__setitem__(name, value)


DAMAGE = {
    "NaN in vectors": (at("vectors", (0, 0, 0), np.nan), "vectors"),
    "inf in amplitudes": (at("amplitudes", (1,), np.inf), "amplitudes"),
    "NaN in positions": (at("mean_positions", (3, 1), np.nan), "mean_positions"),
    "NaN in occupancies": (at("occupancies", (3,), np.nan), "occupancies"),
    "not normalised": (put("vectors", np.ones((2, 12, 3))), "mode 1 has Σ|Δ|² = 36, expected"),
    "fewer vectors": (cut("vectors", slice(1)), "12 atoms and 2 amplitudes"),
    "fewer atoms": (cut("vectors", np.s_[:, :5]), "expected (2, 12, 3)"),
    "flat vectors": (put("vectors", np.ones((2, 36))), "expected (2, 12, 3)"),
    "flat positions": (put("mean_positions", np.ones(12)), "atoms"),
    "fewer codes": (cut("insertion_codes", slice(5)), '"insertion_codes"'),
    "fewer elements": (cut("elements", slice(5)), '"elements"'),
    "fewer numbers": (cut("residue_numbers", slice(5)), '"residue_numbers"'),
    "one occupancy": (put("occupancies", 1.0), '"occupancies"'),
    "text as vectors": (put("vectors", b"text"), ""),
    "text as amplitudes": (put("amplitudes", [b"a", b"b"]), ""),
    "one amplitude": (put("amplitudes", 1.0), ""),
    "rows of amplitudes": (put("amplitudes", np.ones((2, 2))), '"amplitudes" should hold one'),
    "not ASCII": (put("atom_names", [b"\xe9"] * 12), ""),
    "no vectors": (lambda file: file.__delitem__("vectors"), "'vectors'"),
    "no elements": (lambda file: file.__delitem__("elements"), "'elements'"),
    "huge vectors": (at("vectors", (0, 0, 0), 1e200), '"vectors" holds numbers beyond'),
    "huge positions": (at("mean_positions", (0, 0), 1e7), '"mean_positions" holds numbers beyond'),
    "negative amplitude": (at("amplitudes", (0,), -0.1), "negative"),
    "control characters": (put("atom_names", [b"\x1b[2J"] * 12), "expected short names"),
    "long names": (put("elements", [b"C" * 99] * 12), "expected short names"),
    "numbers as names": (put("elements", np.ones(12)), "expected text, found numbers"),
    "huge cell": (attribute("unit_cell", [1e300, 10, 10, 90, 90, 90]), "edges up to"),
    "other format": (attribute("format", "hpc-diffuser/target"), 'format="hpc-diffuser/modes"'),
    "no format": (lambda file: file.attrs.__delitem__("format"), 'format="hpc-diffuser/modes"'),
    "later version": (attribute("version", 2), "version 2"),
    "three cell numbers": (attribute("unit_cell", [10.0, 10.0, 10.0]), "unit_cell"),
    "negative cell": (attribute("unit_cell", [10.0, 10, -10, 90, 90, 90]), "unit_cell"),
    "impossible angles": (attribute("unit_cell", [10.0, 10, 10, 10, 90, 170]), "unit_cell"),
    "text as cell": (attribute("unit_cell", "P 1"), ""),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_unfit_file(tmp_path, modes, damage):
    """Bad input, in one line that names the file and what is wrong in it."""
    change, reason = DAMAGE[damage]
    path = tmp_path / "m.h5"
    write_modes(path, modes, {})
    with h5py.File(path, "r+") as file:
        change(file)
    assert_refused(path, reason)


@pytest.mark.parametrize("size", [0, 1, 100, 5000])
def test_truncated_file(tmp_path, modes, size):
    """A copy that broke off."""
    path = tmp_path / "m.h5"
    write_modes(path, modes, {})
    assert size < path.stat().st_size
    path.write_bytes(path.read_bytes()[:size])
    assert_refused(path, "" if size else "empty file")


def test_missing_file(tmp_path):
    """Named, with what was expected there."""
    assert_refused(tmp_path / "m.h5", "no such file: expected a modes file")


def assert_refused(path: Path, reason: str) -> None:
    """InputError: one line, beginning with the file, with the reason in it."""
    with pytest.raises(InputError) as caught:
        read_modes(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and reason in message and "\n" not in message
