"""HDF5 files: written in one step; read as plain arrays, and nothing but those."""

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from builders import fails_with

from hpc_diffuser.io import hdf5
from hpc_diffuser.io.hdf5 import Arrays, read_arrays, require_format, write_hdf5
from hpc_diffuser.io.hdf5_content import hdf5_arrays
from hpc_diffuser.system.errors import InputError, StorageError


def get(path: Path, *names: str, what: str = "thing") -> Arrays:
    """The arrays of these names; a missing one is an error."""
    return read_arrays(path, what, names, lambda arrays: {name: arrays[name] for name in names})


def test_hdf5_round_trip(tmp_path):
    """What is filled in memory is what plain h5py reads from the file, and what we read."""

    def fill(file: h5py.File) -> None:
        file.attrs["a"] = "text"
        file["b/c"] = [1.5, 2.5]

    path = tmp_path / "file.h5"
    write_hdf5(path, fill)
    assert os.listdir(tmp_path) == ["file.h5"]
    with h5py.File(path) as file:
        assert file.attrs["a"] == "text"
        assert file["b/c"][()].tolist() == [1.5, 2.5]
    found = get(path, "b/c", "@a")
    assert found["b/c"].tolist() == [1.5, 2.5] and found["@a"] == "text"


def test_failing_hdf5_write_leaves_the_old_file(tmp_path, monkeypatch):
    """A full disk during a write: an error, not a crash of the process inside HDF5."""
    path = tmp_path / "file.h5"
    write_hdf5(path, lambda f: f.create_dataset("a", data=1))
    monkeypatch.setattr(os, "fsync", fails_with(errno.ENOSPC))
    with pytest.raises(StorageError):
        write_hdf5(path, lambda f: f.create_dataset("a", data=2))
    monkeypatch.undo()
    assert get(path, "a")["a"] == 1


PLAIN = {
    "float": np.array([1.5, np.nan]),
    "big-endian": np.array([1, -2], ">i4"),
    "half": np.array([0.5], np.float16),
    "truth": np.array([True, False]),
    "no rows": np.empty((0, 3)),
    "bytes": np.array([b"CA", b""]),
    "one text": "Å",
}


def fill_plain(file: h5py.File) -> None:
    """Every kind of content that is read, as dataset, attribute, and in a group."""
    for name, value in PLAIN.items():
        file[name] = value
        file[f"group/{name}"] = value
        file["group"].attrs[name] = value
    file["texts"] = ["N", "CA"]
    file.create_dataset("packed", data=np.arange(900), compression="gzip", shuffle=True)
    file.create_dataset("lzf", data=np.arange(900), compression="lzf", fletcher32=True)
    file.attrs["whole"] = 3


def test_kinds_of_content(tmp_path):
    """Numbers in this machine's byte order, text as text."""
    write_hdf5(tmp_path / "file.h5", fill_plain)
    for form in ("{}", "group/{}", "group@{}"):
        found = get(tmp_path / "file.h5", *map(form.format, PLAIN))
        for name, value in PLAIN.items():
            array, expected = found[form.format(name)], np.asarray(value)
            assert array.dtype.isnative and array.shape == expected.shape
            expected = np.char.decode(expected) if expected.dtype.kind == "S" else expected
            np.testing.assert_array_equal(array, expected)
    found = get(tmp_path / "file.h5", "texts", "packed", "lzf")
    assert found["texts"].tolist() == ["N", "CA"]
    assert found["packed"].tolist() == found["lzf"].tolist() == list(range(900))


def test_everything_of_an_image_in_memory():
    """In this process, of bytes that are known to be whole."""
    found = hdf5_arrays(io.BytesIO(hdf5.hdf5_image(fill_plain)))
    names = [*PLAIN, *(f"group/{name}" for name in PLAIN), "texts", "packed", "lzf", "@whole"]
    assert sorted(found) == sorted(names)
    assert found["@whole"] == 3 and found["group/float"][0] == 1.5


def other_file(file: h5py.File) -> Path:
    """A file whose content must not come out."""
    path = Path(file.filename).with_name("secret.h5")
    with h5py.File(path, "w") as secret:
        secret["a"] = np.arange(5)
    return path


def external_link(file: h5py.File) -> None:
    file["a"] = h5py.ExternalLink(str(other_file(file)), "/a")


def external_group(file: h5py.File) -> None:
    file["group"] = h5py.ExternalLink(str(other_file(file)), "/")


def soft_link(file: h5py.File) -> None:
    file["elsewhere"] = h5py.ExternalLink(str(other_file(file)), "/a")
    file["a"] = h5py.SoftLink("/elsewhere")


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((5,), np.int64)
    layout[:] = h5py.VirtualSource(str(other_file(file)), "a", (5,))
    file.create_virtual_dataset("a", layout)


def external_storage(file: h5py.File) -> None:
    file.create_dataset("a", (5,), "u1", external=[(str(other_file(file)), 0, 5)])


def references(file: h5py.File) -> None:
    file["a"] = np.array([file.ref], h5py.ref_dtype)


def ragged(file: h5py.File) -> None:
    file.create_dataset("a", (2,), h5py.vlen_dtype(np.int32))


def compound(file: h5py.File) -> None:
    file["a"] = np.zeros(2, [("x", "f8"), ("y", "i4")])


def opaque(file: h5py.File) -> None:
    file["a"] = np.zeros(2, "V8")


def complex_numbers(file: h5py.File) -> None:
    file["a"] = np.zeros(2, complex)


def a_group(file: h5py.File) -> None:
    file.create_group("a")


def a_type(file: h5py.File) -> None:
    file["a"] = np.dtype("f8")


def no_content(file: h5py.File) -> None:
    file["a"] = h5py.Empty("f8")


def unknown_filter(file: h5py.File) -> None:
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((5,))
    plan.set_filter(32008, h5py.h5z.FLAG_OPTIONAL)  # bitshuffle
    h5py.h5d.create(file.id, b"a", h5py.h5t.NATIVE_INT32, h5py.h5s.create_simple((5,)), plan)


def claims(shape: tuple[int, ...], chunks: tuple[int, ...]) -> Callable[[h5py.File], None]:
    return lambda file: file.create_dataset("a", shape, "f8", chunks=chunks)


def claiming_attribute(file: h5py.File) -> None:
    file["a"] = 1
    file["a"].attrs["b"] = np.zeros((2, 2), [("x", "f8")])


REFUSED = {
    "external link": (external_link, "a", '"a" is a link to elsewhere'),
    "external group": (external_group, "group/a", '"group/a" is a link to elsewhere'),
    "soft link": (soft_link, "a", '"a" is a link to elsewhere'),
    "virtual dataset": (virtual, "a", "stored in other files"),
    "external storage": (external_storage, "a", "stored in other files"),
    "references": (references, "a", "expected numbers or text"),
    "ragged arrays": (ragged, "a", "expected numbers or text"),
    "compound": (compound, "a", "expected numbers or text"),
    "opaque": (opaque, "a", "expected numbers or text"),
    "complex": (complex_numbers, "a", "expected numbers or text"),
    "a group": (a_group, "a", '"a" is no dataset'),
    "a type": (a_type, "a", '"a" is no dataset'),
    "no content": (no_content, "a", "expected numbers or text"),
    "object in an attribute": (claiming_attribute, "a@b", "expected numbers or text"),
    "unknown filter": (unknown_filter, "a", "packed with HDF5 filter 32008"),
    "absurd size": (claims((10**6,) * 3, (10,) * 3), "a", "claims 8000000000000 MB of data"),
    "a size that wraps": (claims((2**31, 2**31, 4), (1,) * 3), "a", "MB of data in a file of"),
    "from nothing": (claims((200, 200, 2000), (10,) * 3), "a", "claims 640 MB of data"),
    "a huge chunk": (claims((10, 10, 10**8), (10, 10, 10**6)), "a", "MB of data"),
}


@pytest.mark.parametrize("refused", REFUSED)
def test_refused_before_reading(tmp_path, refused):
    """Links, other files, objects, filters, claims: one line, and not a byte of a secret."""
    fill, name, reason = REFUSED[refused]
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        fill(file)
    with pytest.raises(InputError) as caught:
        get(path, name)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and reason in message and "\n" not in message


def test_hostile_content_that_nobody_asks_for(tmp_path):
    """What is not read does no harm: other programs keep more in their files."""
    with h5py.File(tmp_path / "file.h5", "w") as file:
        external_group(file)
        compound(file)
        file["b"] = 1
    assert get(tmp_path / "file.h5", "b")["b"] == 1


def test_claims_within_reason(tmp_path):
    """Zeros that gzip packs a hundredfold, and a small dataset whose chunks were never written."""
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file.create_dataset("zeros", data=np.zeros(5_000_000), compression="gzip")
        file.create_dataset("unwritten", (1000,), "f8", chunks=(10,))
    found = get(tmp_path / "file.h5", "zeros", "unwritten")
    assert not found["zeros"].any() and found["unwritten"].shape == (1000,)


def test_text_in_another_encoding(tmp_path):
    """Refused by name."""
    write_hdf5(tmp_path / "file.h5", lambda f: f.create_dataset("a", data=[b"\xe9"]))
    with pytest.raises(InputError, match='"a" holds text that is not UTF-8'):
        get(tmp_path / "file.h5", "a")


def missing(path):
    """Nothing there."""


def folder(path):
    path.mkdir()


def empty(path):
    path.write_bytes(b"")


def text(path):
    path.write_bytes(b"hello\n" * 500)


def truncated(path):
    write_hdf5(path, lambda f: f.create_dataset("a", data=list(range(1000))))
    path.write_bytes(path.read_bytes()[:-500])


@pytest.mark.parametrize("make", [missing, folder, empty, text, truncated])
def test_unreadable_hdf5(tmp_path, make):
    """Bad input: one line that names the file and what it should be."""
    path = tmp_path / "file.h5"
    make(path)
    with pytest.raises(InputError) as caught:
        get(path, "a", what="diffuse map")
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "diffuse map" in message and "\n" not in message
    assert (make is empty) == ("empty file" in message)


def test_missing_dataset_is_named(tmp_path):
    """An HDF5 file of another kind: the message says what it lacks."""
    write_hdf5(tmp_path / "file.h5", lambda f: f.create_dataset("a", data=1))
    with pytest.raises(InputError, match=r"not a modes file: there is no 'vectors'"):
        get(tmp_path / "file.h5", "a", "vectors", what="modes file")


@pytest.mark.parametrize(
    "error", [ValueError("x\ny"), TypeError("x"), IndexError("x"), OverflowError("x")]
)
def test_whatever_goes_wrong_in_building_is_bad_input(tmp_path, error):
    """Contents that do not fit together make all kinds of errors; all are the file's fault."""
    path = tmp_path / "file.h5"
    write_hdf5(path, lambda f: f.create_dataset("a", data=1))

    def build(_arrays: Arrays) -> None:
        raise error

    with pytest.raises(InputError) as caught:
        read_arrays(path, "target", ["a"], build)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({}, 'format="hpc-diffuser/modes"'),
        ({"format": "hpc-diffuser/map", "version": 1}, 'format="hpc-diffuser/modes"'),
        ({"format": "hpc-diffuser/modes", "version": 2}, "version 2"),
        ({"format": "hpc-diffuser/modes"}, "version"),
        ({"format": ["a", "b"], "version": 1}, "modes"),
        ({"format": "hpc-diffuser/modes", "version": np.ones((2, 2))}, r"version \[\[1"),
    ],
)
def test_format_and_version(tmp_path, attributes, reason):
    """A file of another kind or of a later version is not guessed at."""
    path = tmp_path / "file.h5"
    write_hdf5(path, lambda f: f.attrs.update(attributes))
    names = ["@format", "@version"]
    with pytest.raises(InputError, match=reason) as caught:
        read_arrays(path, "modes file", names, lambda arrays: require_format(arrays, "modes"))
    assert "\n" not in str(caught.value)
