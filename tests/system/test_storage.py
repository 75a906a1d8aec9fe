"""Files are either the old ones or the new ones."""

import errno
import json
import os

import pytest
from builders import fails_with

from hpc_diffuser.system import storage
from hpc_diffuser.system.errors import InputError, StorageError
from hpc_diffuser.system.storage import read_json, sha256, write_bytes, write_json


def test_write_bytes_makes_folders_and_replaces(tmp_path):
    """A new file, in folders that are made for it; then another content in its place."""
    path = tmp_path / "a" / "b" / "file"
    for content in (b"first, longer", b"second", b""):
        write_bytes(path, content)
        assert path.read_bytes() == content
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("call", ["replace", "fsync", "chmod"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_failing_write_leaves_the_old_file(tmp_path, monkeypatch, call, number):
    """Disk full, over quota, I/O error, read-only: the old file is whole, nothing else is left.

    The message names the file and the system's reason, on one line, with the remedy.
    """
    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, call, fails_with(number))
    with pytest.raises(StorageError) as caught:
        write_bytes(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and os.strerror(number) in message
    assert "run the same command again" in message and "\n" not in message
    assert caught.value.exit_code == 74


def test_new_content_is_on_disk_before_the_name_is(tmp_path, monkeypatch):
    """fsync, rename, fsync of the folder: a power cut leaves one of the two files, whole."""
    done = []
    for name in ("fsync", "replace"):
        work = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, w=work: (done.append(n), w(*a)))
    write_bytes(tmp_path / "file", b"content")
    assert done == ["fsync", "replace", "fsync"]


def test_parent_that_is_a_file(tmp_path):
    """A folder cannot be made where a file is: storage error, naming the path asked for."""
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(StorageError, match="file/inside"):
        write_bytes(tmp_path / "file" / "inside", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"


def test_target_that_is_a_folder(tmp_path):
    """A folder is not replaced by a file, and no temporary file stays."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError):
        write_bytes(tmp_path / "folder", b"new")
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_mode_honours_the_umask(tmp_path, mask):
    """As of any file that a program makes: readable for the group if the user wants it so."""
    before = os.umask(mask)
    try:
        write_bytes(tmp_path / "file", b"content")
        assert os.umask(mask) == mask  # the program leaves the mask as it was
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~mask


def test_json_round_trip(tmp_path):
    """Plain values, with text beyond ASCII."""
    value = {"a": [1, 2.5, None, "1/Å"], "b": {"c": True}}
    write_json(tmp_path / "file", value)
    assert read_json(tmp_path / "file") == value
    assert json.loads((tmp_path / "file").read_text()) == value


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_refuses_nan(tmp_path, number):
    """JSON has no NaN: other programs could not read it. The old file stays."""
    write_json(tmp_path / "file", 1)
    with pytest.raises(ValueError):
        write_json(tmp_path / "file", {"cc": number})
    assert read_json(tmp_path / "file") == 1


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe", b"{'a': 1}"])
def test_unreadable_json(tmp_path, content):
    """Missing, empty, cut short, not UTF-8: bad input that names the file."""
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputError, match=str(tmp_path / "file")):
        read_json(tmp_path / "file")


def test_sha256(tmp_path):
    """Of b"abc": the first example of FIPS 180-4. A missing file is bad input."""
    (tmp_path / "file").write_bytes(b"abc")
    assert sha256(tmp_path / "file") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    with pytest.raises(InputError, match="none: No such file"):
        sha256(tmp_path / "none")


def test_temporary_files_lie_beside_the_file(tmp_path, monkeypatch):
    """On the same file system, or the rename would not be one step; hidden, so no glob takes it."""
    seen = []
    make = storage.tempfile.mkstemp
    monkeypatch.setattr(
        storage.tempfile, "mkstemp", lambda **k: (seen.append(make(**k)), seen[-1])[1]
    )
    write_bytes(tmp_path / "restart_0000.h5", b"content")
    (_, name), *_ = seen
    assert os.path.dirname(name) == str(tmp_path)
    assert os.path.basename(name).startswith(".")
