"""`status`: where a run stands, from what lies in its folder."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import builders
import pytest
from builders import history

from hpc_diffuser.commands.pages.status import status_text
from hpc_diffuser.fit.run.checkpoints import checkpoint_path, previous_path, write_checkpoint
from hpc_diffuser.fit.run.directory import write_session
from hpc_diffuser.fit.run.lock import run_lock
from hpc_diffuser.system.errors import InputError


@pytest.fixture
def run(finished, tmp_path) -> Path:
    """A run of 20 restarts of 5 evaluations, none of which has begun."""
    folder = tmp_path / "run"
    folder.mkdir()
    manifest = json.loads((finished / "run" / "manifest.json").read_text())
    manifest["settings"] |= {"search.restarts": 20, "search.evaluations": 5}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def begun(run: Path, seconds_ago: float, evaluations: int) -> None:
    """A session that began so long ago, on 8 ranks in 4 groups."""
    write_session(run, 8, 4, evaluations)
    path = run / "session.json"
    session = json.loads(path.read_text())
    path.write_text(json.dumps(session | {"began": time.time() - seconds_ago}))


def test_while_it_runs(run):
    """Ten done, two under way, 58 of 100 evaluations, 48 of them in this session's half hour.

    96 an hour; the other 42 take 42/96 h = 26 min. Best of 0.60 ... 0.71 is 0.71, their median
    0.655.
    """
    with run_lock(run):
        begun(run, 1800, 10)
        for restart in range(12):
            n = 5 if restart < 10 else 4
            write_checkpoint(checkpoint_path(run, restart), history(n, 0.6 + 0.01 * restart))
        text = status_text(run)
    assert f"running, process {os.getpid()} on " in text
    assert "; 8 ranks in 4 groups, for 30 min" in text
    assert "restarts     10 of 20 done, 2 under way, 8 to come\n" in text
    assert "evaluations  58 of 100 (58 %), 96 an hour, 26 min left\n" in text
    assert "best 0.7100 (restart 11), median over restarts 0.6550: CC_work with" in text
    assert "last saved   0 s ago" in text


def test_failed_restarts_are_named(run):
    """Those that the summary will leave out: far below the others."""
    for restart in range(10):
        cc = 0.2 if restart == 3 else 0.7 + 0.001 * restart
        write_checkpoint(checkpoint_path(run, restart), history(5, cc))
    assert "10 of 20 done, 0 under way, 10 to come; 1 failed (3)\n" in status_text(run)


def test_after_a_crash(run):
    """A lock whose owner is gone: said so, with what to do; no time left is promised."""
    with run_lock(run):
        begun(run, 600, 0)
        write_checkpoint(checkpoint_path(run, 0), history(2, 0.5))
        lock = (run / "lock").read_text()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(30)
    (run / "lock").write_text(json.dumps(json.loads(lock) | {"pid": gone.pid}))
    text = status_text(run)
    assert f"not finished, ended without a word (process {gone.pid} on " in text
    assert "run hpc-diffuser fit again to resume" in text
    assert "2 of 100 (2 %), 12 an hour\n" in text


def test_damaged_files_are_told_and_left(run, contents):
    """The one before is counted; nothing is renamed or written."""
    path = checkpoint_path(run, 0)
    for n in (3, 4):
        write_checkpoint(path, history(n, 0.5))
    path.write_bytes(path.read_bytes()[:100])
    previous_path(checkpoint_path(run, 1)).write_bytes(b"")
    before = contents(run)
    text = status_text(run)
    assert "restarts     0 of 20 done, 1 under way, 19 to come" in text
    assert "evaluations  3 of 100" in text
    assert (
        "damaged      restart_0000.h5" in text and "damaged      restart_0001.previous.h5" in text
    )
    assert contents(run) == before


def test_damaged_session_is_done_without(run):
    """Pace and ranks are not known then; the rest is."""
    write_checkpoint(checkpoint_path(run, 0), history(2, 0.5))
    (run / "session.json").write_text("{")
    assert "evaluations  2 of 100 (2 %)\n" in status_text(run)


DAMAGED = {
    "cut short": "{",
    "a list": "[]",
    "nothing inside": "{}",
    "format alone": '{"format": "hpc-diffuser/session"}',
    "texts": '{"format": "hpc-diffuser/session", "began": "a", "ranks": 1, "groups": 1, '
    '"evaluations": 0, "restarts_finished": "all", "shells": []}',
    "no number": '{"format": "hpc-diffuser/session", "began": NaN, "ranks": 1, "groups": 1, '
    '"evaluations": 0}',
}


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_session_and_summary(run, content):
    """Of a job that goes on, and of one that has ended: each is named, the rest is told."""
    write_checkpoint(checkpoint_path(run, 0), history(2, 0.5))
    for name in ("session.json", "summary.json", "jobs.json"):
        (run / name).write_text(DAMAGED[content])
    with run_lock(run):
        texts = [status_text(run)]
    texts.append(status_text(run))
    assert "run: running, process" in texts[0] and "run: not finished, stopped" in texts[1]
    for text in texts:
        assert "evaluations  2 of 100 (2 %)\n" in text
        assert "damaged      session.json: " in text and "damaged      summary.json: " in text
        assert "damaged      jobs.json: " in text


@pytest.mark.parametrize("restarts", [None, 0, "20", -1])
def test_damaged_manifest(run, restarts):
    """Without knowing how much there is to do, nothing can be told: one line, no crash."""
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["settings"]["search.restarts"] = restarts
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=rf"{run}/manifest\.json: damaged"):
        status_text(run)


def test_one_damaged_model_of_several(run):
    """The others of a comparison are told all the same."""
    for name in ("rbt", "rbt+int"):
        shutil.copytree(run, run / name, ignore=shutil.ignore_patterns("rbt*"))
    (run / "rbt" / "manifest.json").write_text("{")
    text = status_text(run)
    assert "rbt/manifest.json: not a readable" in text
    assert "rbt+int: not finished" in text


def test_slurm_that_does_not_answer(run, tmp_path, monkeypatch):
    """It is not waited for: who waits would learn an hour later that it knows no such job."""
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\nexec /bin/sleep 3600\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with run_lock(run):
        lock = json.loads((run / "lock").read_text())
    (run / "lock").write_text(json.dumps(lock | {"host": "node17", "job": "99"}))
    text = status_text(run)
    assert "run: not known whether it runs, SLURM does not answer: process" in text
    assert "on node17, job 99\n" in text


def test_while_files_are_being_replaced(run):
    """A thousand looks at a run that is being written: none fails, none goes back."""
    write_checkpoint(checkpoint_path(run, 0), history(1, 0.5))
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path; from builders import history\n"
        "from hpc_diffuser.fit.run.checkpoints import checkpoint_path, write_checkpoint\n"
        "path = checkpoint_path(Path(sys.argv[1]), 0)\n"
        "while True:\n"
        "    for n in (3, 4): write_checkpoint(path, history(n, 0.5))"
    )
    command = [sys.executable, "-c", code, str(run), str(Path(builders.__file__).parent)]
    writer = subprocess.Popen(command)
    try:
        for _ in range(1000):
            assert "damaged" not in status_text(run)
        assert writer.poll() is None
    finally:
        writer.kill()
        writer.wait(30)
    shutil.rmtree(run)
