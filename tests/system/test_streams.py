"""Standard output and error that know few letters, are closed, full, or have lost their reader."""

import io
import os
import subprocess
import sys

import h5py
import pytest
from conftest import environment

from hpc_diffuser.system.errors import StorageError
from hpc_diffuser.system.streams import say, usable_streams

# Python's own ways out of an ASCII locale are closed.
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
UNREADABLE_NAME = os.fsdecode(b"\xff\xc3\x85.h5")  # a byte that is no text, and an Å in UTF-8
COMMANDS = (
    ("--help",),
    ("target", "--help"),
    ("info", "map.nxs"),
    ("modes", "--reference", "model.pdb", "--n-modes", "2", "-o", UNREADABLE_NAME),
    ("info", UNREADABLE_NAME),
    ("target", "map.nxs", "--d-max", "6", "--d-min", "2.5", "-o", "Å.h5"),
    ("info", "Å.h5"),
    ("fit", "fit.toml"),
    ("status", "run"),
    ("report", "--text", "run"),
)
RUN_ALL = """
import os, sys
from hpc_diffuser.commands.main import main
for words in COMMANDS:
    try:
        main([os.fsdecode(word) for word in words])
    except SystemExit as left:
        print(words[0], left.code, file=sys.stderr, flush=True)
"""


def stream(encoding: str = "utf-8", raw: io.RawIOBase | None = None) -> io.TextIOWrapper:
    """A standard stream of such an encoding; strict, as Python makes it."""
    return io.TextIOWrapper(io.BufferedWriter(raw) if raw else io.BytesIO(), encoding, "strict")


class Full(io.RawIOBase):
    """A file on a full disk."""

    def writable(self) -> bool:
        return True

    def write(self, _data) -> int:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("encoding", "expected"), [("ascii", b"? ?\n"), ("latin-1", b"\xc5 ?\n"), ("utf-8", None)]
)
def test_letters_that_a_stream_lacks(monkeypatch, encoding, expected):
    """Each is replaced by one "?", and only inside: afterwards the stream is strict again."""
    out, err = stream(encoding), stream(encoding)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with usable_streams():
        say("Å ⅔")
        print("Å ⅔", file=sys.stderr)
    for each in (out, err):
        each.flush()
        assert each.buffer.getvalue() == (expected or "Å ⅔\n".encode())
        assert each.errors == "strict"


def test_names_that_are_no_text(monkeypatch):
    """A file's name in another encoding is printed with replaced letters, even in UTF-8."""
    out = stream("utf-8")
    monkeypatch.setattr(sys, "stdout", out)
    with usable_streams():
        say("\udcff.pdb", flush=True)
    assert out.buffer.getvalue() == b"?.pdb\n"


@pytest.mark.parametrize("closed", [None, "closed"])
def test_closed_streams(monkeypatch, closed):
    """What is printed is lost; nothing of it goes to the other stream."""
    out, gone = stream(), stream()
    gone.close()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", gone if closed else None)
    with usable_streams():
        print("an error", file=sys.stderr, flush=True)
    assert out.buffer.getvalue() == b"" and sys.stderr is (gone if closed else None)


def test_other_streams_are_left_alone(monkeypatch):
    """Notebooks put objects of their own there, which have no descriptor and know all letters."""
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    with usable_streams():
        say("Å", flush=True)
    assert out.getvalue() == "Å\n" and sys.stdout is out


@pytest.mark.parametrize("text", ["short", "longer than every buffer " * 9999])
def test_full_disk(monkeypatch, text):
    """Whether it shows at once or with what is left at the end."""
    monkeypatch.setattr(sys, "stdout", stream(raw=Full()))
    with usable_streams(), pytest.raises(StorageError, match="No space left on device"):
        say(text, flush=True)


def shell(command: str, folder, **variables: str) -> subprocess.CompletedProcess:
    """A line of shell, in which `$P` is the program."""
    return subprocess.run(
        ["bash", "-c", command.replace("$P", f"{sys.executable} -m hpc_diffuser")],
        cwd=folder,
        env=environment(PYTHONUNBUFFERED="", **variables),
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        ("$P --help >&-", 0, ""),
        ("$P info model.pdb >&-", 0, ""),
        ("$P info model.pdb 2>&-", 0, ""),
        ("$P info nothing >&- 2>&-", 65, ""),
        ("$P nonsense >&- 2>&-", 65, ""),
        ("$P info nothing 2>/dev/full", 65, ""),
        ("$P --help >/dev/full", 74, "standard output: could not be written"),
        ("$P info model.pdb >/dev/full", 74, "standard output: could not be written"),
        ("$P --help | true; exit ${PIPESTATUS[0]}", 0, ""),
        ("$P info nothing 2> >(true) | true; exit ${PIPESTATUS[0]}", 65, ""),
    ],
)
def test_streams_of_a_shell(inputs, command, code, told):
    """At most one line, and the exit code that the command would have had."""
    result = shell(command, inputs)
    assert result.returncode == code, result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == bool(told) and told in result.stderr


def test_closed_descriptors_do_not_take_files(project):
    """With 0, 1 and 2 closed, the next files opened would get these numbers, and our messages."""
    result = shell(
        "$P modes --reference model.pdb --n-modes 2 -o new.h5 <&- >&- 2>&-; exit $?", project
    )
    assert result.returncode == 0
    with h5py.File(project / "new.h5") as file:
        assert file["vectors"].shape == (2, 12, 3)


def test_every_command_in_an_ascii_locale(project):
    """All end as they would elsewhere, with "?" for what ASCII lacks; files stay UTF-8.

    The Å of the config's comment is in the run's copy of it; a name that is no text is recorded
    as far as it is.
    """
    config = project / "fit.toml"
    config.write_text("# in Å\n" + config.read_text(), encoding="utf-8")
    words = [tuple(os.fsencode(word) for word in command) for command in COMMANDS]
    result = subprocess.run(
        [sys.executable, "-c", RUN_ALL.replace("COMMANDS", repr(words))],
        cwd=project,
        env=environment(**ASCII),
        capture_output=True,
    )
    ended = [line for line in result.stderr.decode("ascii").splitlines() if line[:2] == "b'"]
    assert ended == [f"{command[0]!r} 0" for command in words], result.stderr
    assert "(?, degrees)" in result.stdout.decode("ascii")
    assert "# in Å" in (project / "run" / "config.toml").read_text(encoding="utf-8")
    with h5py.File(project / UNREADABLE_NAME) as file:
        assert file.attrs["command"].endswith("-o \ufffdÅ.h5")


def test_log_in_a_file(project):
    """What a batch system keeps of a fit, where the locale is Latin-1's: one byte per letter."""
    with open(project / "log", "wb") as log:
        done = subprocess.run(
            [sys.executable, "-m", "hpc_diffuser", "fit", "fit.toml"],
            cwd=project,
            env=environment(PYTHONIOENCODING="latin-1"),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    text = (project / "log").read_bytes().decode("latin-1")
    assert done.returncode == 0, text
    assert "Å" in text and "Traceback" not in text and "Ã" not in text
