"""Fail every single call by which a fit changes its disk, and fill and lock real disks.

    python tests/campaigns/fail_storage.py
    python tests/campaigns/fail_storage.py --damage

Each time the fit must end with code 74, naming the path and the reason, and the same command must
then end with the same result as a fit that nothing disturbed. Only where nothing is lost, in
tidying up, a fit may go on. The last line says how many of these cases there were. Mounting needs
root; without it those cases are skipped, and it says so.

With --damage instead: a checkpoint cut at every 64th byte, and with each of 200 single bits wrong.
The fit must warn, keep it under another name, and end with the same result.
"""

import argparse
import contextlib
import errno
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from builders import history_arrays
from conftest import tiny_project

from hpc_diffuser.fit.run.checkpoints import checkpoint_path, read_checkpoint
from hpc_diffuser.io.hdf5_content import hdf5_arrays
from hpc_diffuser.system.storage import read_json

ERRORS = (errno.ENOSPC, errno.EIO)
# What the program calls, and where it finds it; writing is done by a file that `fdopen` makes.
CALLS = {
    "write": (os, "fdopen"),
    "fsync": (os, "fsync"),
    "replace": (os, "replace"),
    "mkstemp": (tempfile, "mkstemp"),
    "link": (os, "link"),
    "unlink": (os, "unlink"),
    "rename": (os, "rename"),  # of pathlib too
}


def storage_project(folder: Path) -> Path:
    """The tiny fit without interpolation: half of its time, and the same files."""
    config = tiny_project(folder) / "fit.toml"
    config.write_text(config.read_text().replace("[model]", '[model]\ngrid = "target"'))
    return folder


def fit(folder: Path) -> tuple[int, str]:
    """The command in this process, which saves its start: exit code and standard error."""
    from hpc_diffuser.commands.main import main

    told = io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stderr(told),
        contextlib.redirect_stdout(io.StringIO()),
        mock.patch("hpc_diffuser.commands.fit.watch_signals"),
        mock.patch("hpc_diffuser.commands.main.ignore_signals"),
    ):
        try:
            main(["fit", "fit.toml"])
        except SystemExit as left:
            return left.code, told.getvalue()


def outcome(folder: Path) -> tuple:
    """Histories, map and summary of a finished fit, without what it says of the session."""
    run = folder / "run"
    summary = read_json(run / "summary.json")
    del summary["last_session"], summary["cost"]
    histories = [history_arrays(read_checkpoint(checkpoint_path(run, r))) for r in range(2)]
    map_arrays = {n: a.tobytes() for n, a in hdf5_arrays(run / "calculated.h5").items()}
    return histories, map_arrays, summary


class Disk:
    """Stands between the program and its disk, and fails one call of one kind.

    Parameters
    ----------
    kind : str
        Of `CALLS`.
    when : int
        Which call in the run directory, from 1; 0 for none, to count them.
    number : int
        With this errno; a write has half of its bytes on disk then.
    """

    def __init__(self, kind: str, when: int = 0, number: int = errno.EIO):
        self.kind, self._when, self.number = kind, when, number
        self.calls = 0
        self._call = getattr(*CALLS[kind])

    @contextmanager
    def failing(self) -> Iterator[None]:
        """The fault is in place."""
        replacement = self._file if self.kind == "write" else self._counted
        with mock.patch.object(*CALLS[self.kind], replacement):
            yield

    @property
    def failed(self) -> bool:
        """True if the call has come."""
        return 0 < self._when <= self.calls

    def _come(self) -> None:
        self.calls += 1
        if self.calls == self._when:
            self.fail()

    def fail(self) -> None:
        """What happens then."""
        raise OSError(self.number, os.strerror(self.number))

    def _counted(self, *args, **keywords):
        # Other libraries move and remove files too; a handle tells no path.
        if self.kind == "fsync" or "/run/" in "".join(f"{a}/" for a in (*args, *keywords.values())):
            self._come()
        return self._call(*args, **keywords)

    def _file(self, handle, mode="r", *args, **keywords):
        file = self._call(handle, mode, *args, **keywords)
        if "b" not in mode:
            return file
        write = file.write

        def counted(data):
            try:
                self._come()
            except OSError:
                write(data[: len(data) // 2])
                file.flush()
                raise
            return write(data)

        return _Proxy(file, counted)


class _Proxy:
    """A file with another `write`."""

    def __init__(self, file, write):
        self._file, self.write = file, write

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()


def check_fault(start: Path, folder: Path, expected: tuple, disk: Disk) -> list[str]:
    """What is wrong with how a fit took a fault; nothing where all is well."""
    shutil.copytree(start, folder)
    with disk.failing():
        code, told = fit(folder)
    wrong = [] if disk.failed else [f"only {disk.calls} calls"]
    if code or disk.kind != "unlink":
        wrong += refused(code, told, folder, disk.number)
    return wrong + resumed(folder, expected)


def refused(code: int, told: str, folder: Path, number: int) -> list[str]:
    """Code 74, path and reason in the last line, no temporary file."""
    line = told.splitlines()[-1] if told else ""
    wrong = [] if code == 74 else [f"exit code {code}"]
    if os.strerror(number) not in line or "run/" not in line or "Traceback" in told:
        wrong.append(f"told: {told!r}")
    return wrong + [f"left {path.name}" for path in folder.glob("run/.*")]


def resumed(folder: Path, expected: tuple) -> list[str]:
    """The same command afterwards: code 0, the same result, no temporary file."""
    owner_ends(folder / "run" / "lock")
    code, told = fit(folder)
    if code:
        return [f"resumed with code {code}: {told!r}"]
    wrong = [] if outcome(folder) == expected else ["another result"]
    return wrong + [f"left {path.name}" for path in folder.glob("run/.*")]


def owner_ends(lock: Path) -> None:
    """A lock that could not be removed: all fits here are one process, which goes on."""
    if lock.exists():
        lock.write_text(lock.read_text().replace(f'"pid": {os.getpid()},', '"pid": 0,'))


def count_calls(inputs: Path, folder: Path, kinds: Iterable[str] = CALLS) -> dict[str, int]:
    """How often a whole fit, whose folder stays, calls each of them."""
    shutil.copytree(inputs, folder)
    disks = [Disk(kind) for kind in kinds]
    with contextlib.ExitStack() as stack:
        for disk in disks:
            stack.enter_context(disk.failing())
        assert fit(folder)[0] == 0
    return {disk.kind: disk.calls for disk in disks}


def every_fault(
    inputs: Path, work: Path, expected: tuple, calls: dict[str, int], step: int = 1
) -> Iterator[tuple]:
    """(name, what is wrong) of every step-th call of every kind and error."""
    for kind, count in calls.items():
        for number in ERRORS:
            for when in range(1, count + 1, step):
                name = f"{kind} {when} fails with {errno.errorcode[number]}"
                folder = work / name.replace(" ", "-")
                yield name, check_fault(inputs, folder, expected, Disk(kind, when, number))
                shutil.rmtree(folder)


def setting_aside(finished: Path, work: Path, expected: tuple) -> Iterator[tuple]:
    """A damaged checkpoint that cannot be renamed."""
    start = Path(shutil.copytree(finished, work / "damaged"))
    path = checkpoint_path(start / "run", 1)
    path.write_bytes(path.read_bytes()[:-1])
    for number in ERRORS:
        name = f"setting aside fails with {errno.errorcode[number]}"
        folder = work / name.replace(" ", "-")
        yield name, check_fault(start, folder, expected, Disk("rename", 1, number))


def damages(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """What may become of a file, by name."""
    for size in (*range(0, len(whole), 64), len(whole) - 1):
        yield f"cut to {size} bytes", whole[:size]
    for bit in np.random.default_rng(1).choice(8 * len(whole), 200, replace=False).tolist():
        wrong = bytearray(whole)
        wrong[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit} wrong", bytes(wrong)


def damaged_checkpoints(
    finished: Path, work: Path, expected: tuple, step: int = 1
) -> Iterator[tuple]:
    """A finished run of which one checkpoint is damaged, in every step-th way."""
    whole = checkpoint_path(finished / "run", 1).read_bytes()
    for name, content in islice(damages(whole), 0, None, step):
        folder = Path(shutil.copytree(finished, work / name.replace(" ", "-")))
        path = checkpoint_path(folder / "run", 1)
        path.write_bytes(content)
        code, told = fit(folder)
        wrong = [] if code == 0 else [f"exit code {code}: {told!r}"]
        wrong += [] if f"{path.name}: damaged; kept as" in told else ["no warning"]
        kept = [p.read_bytes() for p in (folder / "run").glob("*.damaged-*")]
        wrong += [] if kept == [content] else ["not kept"]
        yield name, wrong or ([] if outcome(folder) == expected else ["another result"])
        shutil.rmtree(folder)


def mount(*arguments: str) -> bool:
    """False where mounting is not permitted."""
    return subprocess.run(["mount", *arguments], capture_output=True).returncode == 0


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[bool]:
    """A file system of its own in memory for the run directory."""
    run = folder / "run"
    run.mkdir()
    mounted = mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(run))
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(run)], check=True)


def full_disks(
    inputs: Path, work: Path, expected: tuple, rooms_kB: tuple[int, ...] = (8, 40, 80, 120, 160)
) -> Iterator[tuple]:
    """A disk of 1 MB that others fill, at several places of the run, and then clear."""
    for room_kB in rooms_kB:
        folder = Path(shutil.copytree(inputs, work / f"room-{room_kB}"))
        with small_disk(folder, "1m") as mounted:
            if not mounted:
                return
            others = folder / "run" / "others"
            others.write_bytes(bytes(1024 * (1024 - room_kB)))
            wrong = refused(*fit(folder), folder, errno.ENOSPC)
            others.unlink()
            yield f"{room_kB} kB left on a disk of 1 MB", wrong + resumed(folder, expected)


class TurnsReadOnly(Disk):
    """A disk that, at one call, can be written no more, as after an error of its own."""

    def __init__(self, kind: str, when: int, folder: Path):
        super().__init__(kind, when, errno.EROFS)
        self._folder = folder

    def fail(self) -> None:
        """The system does the rest."""
        assert mount("-o", "remount,ro", str(self._folder))


def turning_read_only(inputs: Path, work: Path, expected: tuple) -> Iterator[tuple]:
    """In mid-run, when nothing can be tidied up either: neither temporary file nor lock."""
    folder = Path(shutil.copytree(inputs, work / "turning-read-only"))
    with small_disk(folder, "8m") as mounted:
        if not mounted:
            return
        disk = TurnsReadOnly("replace", 9, folder / "run")
        with disk.failing():
            wrong = refused(*fit(folder), folder, errno.EROFS)
        wrong = [text for text in wrong if not text.startswith("left ")]
        mount("-o", "remount,rw", str(folder / "run"))
        yield "disk turns read-only", wrong + resumed(folder, expected)


def read_only_disk(inputs: Path, work: Path, expected: tuple) -> Iterator[tuple]:
    """Half a run on a disk that then cannot be written, but read; and then can again."""
    folder = Path(shutil.copytree(inputs, work / "read-only"))
    with small_disk(folder, "8m") as mounted:
        if not mounted:
            return
        with Disk("replace", 9, errno.EIO).failing():
            fit(folder)
        mount("-o", "remount,ro", str(folder / "run"))
        wrong = refused(*fit(folder), folder, errno.EROFS)
        command = [sys.executable, "-m", "hpc_diffuser", "status", "run"]
        status = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if status.returncode or "not finished, stopped" not in status.stdout:
            wrong.append(f"status: {status}")
        mount("-o", "remount,rw", str(folder / "run"))
        yield "read-only disk", wrong + resumed(folder, expected)


def main() -> None:
    """All of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--damage", action="store_true", help="damaged checkpoints instead")
    args = parser.parse_args()
    for name in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
        os.environ[f"{name}_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        inputs, finished = storage_project(work / "inputs"), work / "finished"
        calls = count_calls(inputs, finished)
        expected = outcome(finished)
        disks = (full_disks, read_only_disk, turning_read_only)
        faults = (
            every_fault(inputs, work, expected, calls),
            setting_aside(finished, work, expected),
            *(disk(inputs, work, expected) for disk in disks),
        )
        passed = failed = 0
        for cases in (damaged_checkpoints(finished, work, expected),) if args.damage else faults:
            before = passed + failed
            for name, wrong in cases:
                print(f"{name}: {'; '.join(wrong) or 'as it should, and resumed'}", flush=True)
                passed, failed = passed + (not wrong), failed + bool(wrong)
            if passed + failed == before:
                print(f"{cases.__name__}: skipped, mounting is not permitted")
    what = "damaged checkpoints" if args.damage else "storage faults"
    print(f"{what}: {passed} passed, {failed} failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
