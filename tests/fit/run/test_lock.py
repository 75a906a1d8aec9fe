"""One writer at a time in a run directory."""

import errno
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, nullcontext
from pathlib import Path

import pytest
from builders import fails_with
from conftest import HANG_S

from hpc_diffuser.fit.run import lock as locking
from hpc_diffuser.fit.run.lock import owner_lives, read_owner, run_lock
from hpc_diffuser.system.errors import RunInUseError, StorageError
from hpc_diffuser.system.storage import remove_leftovers


def started(pid: int) -> int:
    """Start of a process in clock ticks since boot: field 22 of /proc/pid/stat (proc(5))."""
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[22 - 3])


def own_record() -> dict:
    """What the lock of this process says."""
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "pid": pid,
        "started": started(pid),
        "job": "",
        "restart": 0,
    }


def dead_pid() -> int:
    """A process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(HANG_S)
    return process.pid


def leave_lock(directory: Path, **changes) -> Path:
    """A lock as another owner would have left it."""
    path = directory / "lock"
    path.write_text(json.dumps(own_record() | changes))
    return path


def test_lock_names_its_owner_and_is_removed(tmp_path):
    """While it is held the file says who holds it; afterwards it is gone, the folder stays."""
    directory = tmp_path / "a" / "run"
    with run_lock(directory):
        owner = json.loads((directory / "lock").read_text())
        assert owner["pid"] == os.getpid()
        assert owner["host"] == socket.gethostname()
        assert owner["started"] == started(os.getpid())
    assert os.listdir(directory) == []


def test_lock_is_removed_after_an_error(tmp_path):
    """A failing run does not lock itself out."""
    with pytest.raises(ZeroDivisionError), run_lock(tmp_path):
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_failing_release_hides_no_error(tmp_path, monkeypatch, capsys):
    """The disk has turned read-only: what the run failed with is told, the lock beside it."""
    with pytest.raises(StorageError, match="the checkpoint"), run_lock(tmp_path):
        monkeypatch.setattr(os, "unlink", fails_with(errno.EROFS))
        raise StorageError("the checkpoint")
    assert f"{tmp_path / 'lock'}: could not be removed (Read-only" in capsys.readouterr().err


def test_job_is_recorded(tmp_path, monkeypatch):
    """Under SLURM the job's number is what a user can look up."""
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    with run_lock(tmp_path):
        assert json.loads((tmp_path / "lock").read_text())["job"] == "4711"
        with pytest.raises(RunInUseError, match="job 4711"), run_lock(tmp_path):
            pass


def test_second_owner_is_refused(tmp_path):
    """Naming process and host; and the first one's lock stays."""
    with run_lock(tmp_path):
        with pytest.raises(RunInUseError) as caught, run_lock(tmp_path):
            pytest.fail("two owners")
        message = str(caught.value)
        assert str(tmp_path) in message and "\n" not in message
        assert f"process {os.getpid()} on {socket.gethostname()}" in message
        assert caught.value.exit_code == 73
        assert (tmp_path / "lock").exists()


def test_second_process_is_refused(tmp_path):
    """The same between processes, which is what it is for."""
    code = (
        "import sys; from pathlib import Path\n"
        "from hpc_diffuser.system.errors import RunInUseError\n"
        "from hpc_diffuser.fit.run.lock import run_lock\n"
        "try:\n"
        "    with run_lock(Path(sys.argv[1])): print('mine')\n"
        "except RunInUseError as exc: print(exc)"
    )

    def other() -> str:
        command = [sys.executable, "-c", code, str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, timeout=HANG_S).stdout

    with run_lock(tmp_path):
        assert f"process {os.getpid()} on" in other()
    assert other() == "mine\n"


def test_lock_of_a_dead_process_is_taken_over(tmp_path):
    """After a crash on this host nobody has to tidy up."""
    path = leave_lock(tmp_path, pid=dead_pid())
    with run_lock(tmp_path):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_lock_of_a_zombie_is_taken_over(tmp_path):
    """A process that was killed, whose parent does not yet know."""
    process = subprocess.Popen(["/bin/sleep", "60"])
    start = started(process.pid)
    process.kill()
    while Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
        time.sleep(0.01)
    path = leave_lock(tmp_path, pid=process.pid, started=start)
    with run_lock(tmp_path):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    process.wait(HANG_S)


def test_lock_of_a_reused_pid_is_taken_over(tmp_path):
    """A living process with the same number that began at another time is not the owner."""
    path = leave_lock(tmp_path, started=started(os.getpid()) - 1)
    with run_lock(tmp_path):
        assert json.loads(path.read_text())["started"] == started(os.getpid())


def test_living_owner_with_brackets_in_its_name(tmp_path):
    """A command's name in /proc may hold spaces and brackets: its start is still found."""
    script = tmp_path / "a) (b"
    script.symlink_to("/bin/sleep")
    process = subprocess.Popen([str(script), "60"])
    try:
        leave_lock(tmp_path, pid=process.pid, started=started(process.pid))
        with pytest.raises(RunInUseError, match=f"process {process.pid} "), run_lock(tmp_path):
            pass
    finally:
        process.kill()
        process.wait(HANG_S)


def test_owner_on_another_host_is_believed(tmp_path):
    """From here it cannot be seen whether it lives: refused, naming the host and the way out."""
    path = leave_lock(tmp_path, host="node17", pid=dead_pid())
    with pytest.raises(RunInUseError, match="on node17") as caught, run_lock(tmp_path):
        pass
    assert "--break-lock" in str(caught.value)
    assert path.exists()


RECORDS = {
    "empty": "",
    "cut short": '{"host": "a',
    "a list": "[]",
    "nothing known": "{}",
    "no start": json.dumps({"host": socket.gethostname(), "pid": 1, "job": ""}),
    "pid is text": json.dumps({"host": "a", "pid": "x", "started": 1, "job": ""}),
}


@pytest.mark.parametrize("record", RECORDS)
def test_unreadable_lock_is_refused(tmp_path, record):
    """An owner that cannot be identified may be alive: refused, saying what to do."""
    (tmp_path / "lock").write_text(RECORDS[record])
    with pytest.raises(RunInUseError, match=r"unknown host.*--break-lock"), run_lock(tmp_path):
        pass
    assert (tmp_path / "lock").read_text() == RECORDS[record]


@pytest.mark.parametrize(
    ("job", "restart", "lives"),
    [("4711", 1, False), ("4711", 2, True), ("4712", 0, True), ("", 0, True)],
)
def test_owner_in_a_job_on_another_host(tmp_path, monkeypatch, job, restart, lives):
    """Our own job's lock from before it was requeued is dead; that of a step beside us is not.

    Without squeue nothing is known of other jobs, and they are believed.
    """
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    monkeypatch.setenv("PATH", str(tmp_path))
    leave_lock(tmp_path, host="node17", job=job, restart=restart)
    if lives:
        with pytest.raises(RunInUseError, match="on node17"), run_lock(tmp_path):
            pass
    else:
        with run_lock(tmp_path):
            pass


@pytest.mark.parametrize(
    ("answer", "lives"),
    [
        ("echo RUNNING", True),
        ("echo COMPLETING", True),
        ("echo PENDING", False),
        ("true", False),
        ("echo slurm_load_jobs error: Invalid job id specified >&2; exit 1", False),
        ("echo slurm_load_jobs error: Unable to contact slurm controller >&2; exit 1", True),
    ],
)
def test_slurm_is_asked_about_other_jobs(tmp_path, monkeypatch, answer, lives):
    """squeue knows whether the owner's job still runs, on whichever host."""
    squeue = tmp_path / "squeue"
    squeue.write_text(f"#!/bin/sh\n{answer}\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    leave_lock(tmp_path, host="node17", job="99")
    assert owner_lives(read_owner(tmp_path)) == lives


def test_lock_is_broken_on_request(tmp_path):
    """The user knows better than the program: the lock of a living owner is taken over."""
    leave_lock(tmp_path, host="node17")
    with run_lock(tmp_path, break_lock=True):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


@pytest.fixture
def on_node17(monkeypatch):
    """Take the lock as a process of another node, where this one's `flock` is not felt."""
    monkeypatch.setattr(locking, "_one_at_a_time", lambda _: nullcontext())
    stack = ExitStack()

    def take(directory: Path, break_lock: bool = False) -> None:
        with monkeypatch.context() as there:
            there.setattr(locking, "own_record", lambda: own_record() | {"host": "node17"})
            stack.enter_context(run_lock(directory, break_lock))

    with stack:
        yield take


def test_broken_lock_is_not_removed_by_its_first_owner(tmp_path, on_node17):
    """It was not dead: when it ends, the lock is another's."""
    with run_lock(tmp_path):
        on_node17(tmp_path, break_lock=True)
    assert os.listdir(tmp_path) == ["lock"]
    assert read_owner(tmp_path)["host"] == "node17"


def test_two_nodes_take_over_one_lock(tmp_path, monkeypatch, on_node17):
    """Both have seen that the owner is dead; one has the lock then, and the other is refused."""
    leave_lock(tmp_path, host="node3", job="99")
    monkeypatch.setattr(locking, "_job_runs", lambda *_: False)

    def judge_slowly(owner):
        monkeypatch.setattr(locking, "owner_lives", owner_lives)
        on_node17(tmp_path)
        return owner_lives(owner)

    monkeypatch.setattr(locking, "owner_lives", judge_slowly)
    with pytest.raises(RunInUseError, match="node17"), run_lock(tmp_path):
        pytest.fail("two owners")
    assert os.listdir(tmp_path) == ["lock"]
    assert read_owner(tmp_path)["host"] == "node17"


def test_owner_tidies_up_while_another_asks(tmp_path, monkeypatch):
    """What it removes may be the temporary file of the other, which is refused all the same."""
    link, calls = os.link, []

    def link_late(*paths):
        if not calls:
            remove_leftovers(tmp_path)
        calls.append(paths)
        link(*paths)

    leave_lock(tmp_path)
    monkeypatch.setattr(os, "link", link_late)
    with pytest.raises(RunInUseError), run_lock(tmp_path):
        pass
    assert len(calls) == 2


def test_folder_that_cannot_be_made(tmp_path):
    """A parent that is a file: a storage error that names the path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/run/lock"), run_lock(tmp_path / "file" / "run"):
        pass


def test_lock_that_cannot_be_written_is_not_left_behind(tmp_path, monkeypatch):
    """On a full disk: an empty lock would refuse every later run, and name no owner."""
    make = os.fdopen

    def full(handle, mode):
        file = make(handle, mode)
        file.close()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(StorageError, match="No space"), run_lock(tmp_path):
        pass
    monkeypatch.undo()
    with run_lock(tmp_path):
        pass
