"""Whatever a native reader does, this process gets arrays or one line."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from hpc_diffuser.system import isolated
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.isolated import require_file, run_isolated

pytestmark = pytest.mark.usefixtures("cold_readers")

MADE = {
    "number": np.array(1.5),
    "text": np.array("Å and ε"),
    "names": np.array([["CA", "C"], ["", "OXT"]]),
    "nothing": np.empty((0, 3)),
    "empty text": np.array(""),
    "truth": np.array([True, False]),
    "columns": np.arange(12.0).reshape(3, 4).T,
    "big-endian": np.array([1, -2], ">i4"),
}


@pytest.fixture
def file(tmp_path) -> Path:
    """A file of one byte."""
    (tmp_path / "file").write_bytes(b"x")
    return tmp_path / "file"


@pytest.fixture(params=["copy", "interpreter"])
def child(request, monkeypatch) -> str:
    """Which kind of child reads: a copy of this process, or an interpreter of its own."""
    monkeypatch.setattr(isolated, "_may_copy", lambda: request.param == "copy")
    return request.param


def read_made(_path: str) -> dict[str, np.ndarray]:
    return MADE


def test_arrays_come_back_as_they_were(file, child):
    """Every kind, shape, order and letter."""
    found = run_isolated(read_made, [file], "file")
    assert list(found) == list(MADE)
    for name, expected in MADE.items():
        assert found[name].dtype == expected.dtype and found[name].shape == expected.shape
        np.testing.assert_array_equal(found[name], expected)


def read_large(_path: str, n: int) -> dict[str, np.ndarray]:
    return {"a": np.arange(n, dtype=np.float32), "b": np.ones((2, n), np.float32)}


def test_large_arrays(file, child):
    """A hundred megabytes through the pipe, straight into the arrays."""
    found = run_isolated(read_large, [file], "file", 9_000_000)
    np.testing.assert_array_equal(found["a"], np.arange(9_000_000, dtype=np.float32))
    assert found["b"].shape == (2, 9_000_000) and (found["b"] == 1).all()


def crash(_path: str, number: int) -> None:
    os.kill(os.getpid(), number)


def leave(_path: str, code: int) -> None:
    os._exit(code)


def loop(_path: str) -> None:
    while True:
        pass


def wait(_path: str) -> None:
    time.sleep(600)


def allocate(_path: str) -> None:
    kept = []
    while True:
        kept.append(np.ones(1 << 20))


def complain(_path: str, text: str) -> None:
    raise RuntimeError(text)


def return_objects(_path: str) -> dict[str, np.ndarray]:
    return {"a": np.array([None])}


ENDS = {
    "segfault": (crash, [int(signal.SIGSEGV)], "its reader crashed (SIGSEGV)"),
    "division": (crash, [int(signal.SIGFPE)], "its reader crashed (SIGFPE)"),
    "abort": (crash, [int(signal.SIGABRT)], "its reader crashed (SIGABRT)"),
    "killed": (crash, [int(signal.SIGKILL)], "its reader was killed, as where memory runs out"),
    "code": (leave, [3], "its reader ended early, with code 3"),
    "no answer": (leave, [0], "its reader ended early, with code 0"),
    "endless loop": (loop, [], "its reader was not done after 1 s"),
    "endless wait": (wait, [], "its reader was not done after 2 s"),
    "endless memory": (allocate, [], "its reader asked for more than 600 MB"),
    "exception": (complain, ["\na\nb"], "file: a"),
    "exception without text": (complain, [""], "file: RuntimeError"),
    "objects": (return_objects, [], "a holds neither numbers nor text"),
    "no such reader": (Path.exists, [], "file: "),
}


@pytest.mark.parametrize("end", ENDS)
def test_whatever_a_reader_does(file, child, monkeypatch, end):
    """One line that begins with the subject, and this process goes on."""
    # A reader that asks for memory must reach its limit first, also on a slow machine.
    monkeypatch.setattr(isolated, "BASE_CPU_S", 20 if end == "endless memory" else 1)
    monkeypatch.setattr(isolated, "WALL_PER_CPU", 2 if end == "endless wait" else 60)
    monkeypatch.setattr(isolated, "BASE_MEMORY", 600 << 20)
    monkeypatch.setattr(isolated, "MEMORY_PER_BYTE", 0)
    read, arguments, reason = ENDS[end]
    with pytest.raises(InputError) as caught:
        run_isolated(read, [file], "the file", *arguments)
    message = str(caught.value)
    assert message.startswith("the file: ") and reason in message and "\n" not in message


def refuse(path: str) -> None:
    raise InputError(f"{path}: not mine")


def test_own_errors_of_a_reader(file, child):
    """They come as they are."""
    with pytest.raises(InputError) as caught:
        run_isolated(refuse, [file], "the file")
    assert str(caught.value) == f"{file}: not mine"


def chatter(_path: str) -> dict[str, np.ndarray]:
    print("hello")
    os.write(1, b"on standard output\n")
    os.write(2, b"on standard error\n")
    return {"a": np.zeros(1)}


def test_chatter_of_libraries_is_not_heard(file, child, capfd):
    """Neither by the user nor in the arrays."""
    assert run_isolated(chatter, [file], "file")["a"].tolist() == [0]
    assert capfd.readouterr() == ("", "")


def look_around(_path: str) -> dict[str, np.ndarray]:
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return {
        "environment": np.array(sorted(os.environ)),
        "blocked": np.array([int(number) for number in blocked]),
        "path": np.array([p for p in sys.path if p]),
    }


def test_no_rank_and_no_signals(file, child, monkeypatch):
    """A launcher's variables are not passed on, its warnings do not arrive; ours stay as set."""
    for name in (
        "PMI_RANK",
        "PMIX_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "SLURM_PROCID",
        "MPI_LOCALNRANKS",
    ):
        monkeypatch.setenv(name, "1")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    found = run_isolated(look_around, [file], "file")
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    assert "PATH" in found["environment"]
    assert not [n for n in found["environment"] if n.startswith(("PMI", "OMPI", "SLURM", "MPI_"))]
    assert {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1} <= set(found["blocked"].tolist())


def test_working_folder_is_not_imported_from(file, child, tmp_path, monkeypatch):
    """A file called numpy.py beside the user's data is data."""
    (tmp_path / "numpy.py").write_text("raise SystemExit(1)")
    (tmp_path / "json.py").write_text("raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)
    assert str(tmp_path) not in run_isolated(look_around, [file], "file")["path"]


@pytest.mark.parametrize("module", ["hdf5_content", "structures.files", "maps.mtz"])
def test_small_readers_load_little(module):
    """A child that reads HDF5 or PDB is there at once: without what trajectories need."""
    code = f"import sys, hpc_diffuser.io.{module}; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    loaded = set(result.stdout.split())
    assert f"hpc_diffuser.io.{module}" in loaded, result.stderr
    assert not {"mdtraj", "numba", "scipy", "mpi4py"} & loaded


def warn_group(_path: str) -> dict[str, np.ndarray]:
    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)
    return {"a": np.ones(1)}


def test_a_warned_reader_reads_on(file, child):
    """A batch system warns every process of a job: no crash of the reader."""
    assert run_isolated(warn_group, [file], "file")["a"].tolist() == [1]


def test_interrupted_reading_ends_the_child(file, child, monkeypatch):
    """Ctrl-C while a slow file is read: at once, with nothing left behind."""
    children = []
    start = isolated._start

    def remember(request):
        children.append(start(request))
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        return children[0]

    monkeypatch.setattr(isolated, "_start", remember)
    # A shell has its background jobs, these tests perhaps, ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_isolated(wait, [file], "file")
    finally:
        signal.signal(signal.SIGINT, before)
    assert children[0].returncode == -signal.SIGKILL


PARENT = """
import sys
from pathlib import Path
from hpc_diffuser.system import isolated
import test_isolated
start = isolated._start
def tell(request):
    child = start(request)
    print(child.pid, flush=True)
    return child
isolated._start = tell
isolated._may_copy = lambda: sys.argv[2] == "copy"
isolated.run_isolated(test_isolated.wait, [Path(sys.argv[1])], "file")
"""


@pytest.mark.parametrize("kind", ["copy", "interpreter"])
def test_child_dies_with_its_parent(file, clean_environment, kind):
    """After `kill -9` of the program, or of its rank, no process is left on the node."""
    environment = clean_environment | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PARENT, str(file), kind]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        time.sleep(1)
        assert alive(child)
        parent.kill()
    deadline = time.monotonic() + 1200
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(child)


def alive(pid: int) -> bool:
    """Whether a process is there, and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def count(_path: str, n: int) -> dict[str, np.ndarray]:
    return {"process": np.array(os.getpid()), "n": np.array(n)}


def test_several_readers_run_in_one_process(file, child):
    """One after the other, an error of one notwithstanding."""
    with isolated.Isolation([file], "the file") as isolation:
        first, second = isolation.run(count, 1), isolation.run(count, 2)
        with pytest.raises(InputError, match="not mine"):
            isolation.run(refuse)
        third = isolation.run(count, 3)
    assert first["process"] == second["process"] == third["process"] != os.getpid()
    assert [int(found["n"]) for found in (first, second, third)] == [1, 2, 3]


def test_after_a_crash_nothing_is_read(file, child):
    """What is asked of a child that has ended is refused too."""
    with isolated.Isolation([file], "the file") as isolation:
        for _ in range(2):
            with pytest.raises(InputError, match=r"crashed \(SIGSEGV\)"):
                isolation.run(crash, int(signal.SIGSEGV))


def descriptors(_path: str) -> dict[str, np.ndarray]:
    held = [os.path.realpath(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")]
    return {"held": np.array([name for name in held if name.endswith("held by the program")])}


def test_a_child_holds_no_files_of_the_program(file, child, tmp_path):
    """A lock that a run holds must end with the run."""
    with (tmp_path / "held by the program").open("w"):
        assert not len(run_isolated(descriptors, [file], "file")["held"])


def test_a_program_with_threads_is_not_copied(file):
    """Another thread's locks would be held in the copy for ever."""
    assert len(os.listdir("/proc/self/task")) > 1 or isolated._may_copy()
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        assert not isolated._may_copy()
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("name", ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"])
def test_a_rank_is_not_copied(monkeypatch, name):
    """What a launcher has started may have MPI's own memory and devices open."""
    monkeypatch.setenv(name, "2")
    assert not isolated._may_copy()


@pytest.mark.parametrize("kind", ["missing", "folder", "a name too long"])
def test_require_file(tmp_path, kind):
    """What is no file: one line."""
    path = tmp_path / ("x" * 300 if kind == "a name too long" else "x")
    if kind == "folder":
        path.mkdir()
    with pytest.raises(InputError) as caught:
        require_file(path, "structure")
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "expected a structure" in message


def test_empty_file(tmp_path):
    """The commonest damage has a message of its own."""
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"^the file: empty file$"):
        run_isolated(read_made, [tmp_path / "file"], "the file")
