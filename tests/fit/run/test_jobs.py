"""What a run has cost, over all jobs that worked on it, killed ones among them."""

import json
import os
import time

import pytest

from hpc_diffuser.fit.run import jobs
from hpc_diffuser.fit.run.checkpoints import checkpoint_path
from hpc_diffuser.fit.run.jobs import Machine, begin_job, cost, note_job, read_jobs, this_machine
from hpc_diffuser.fit.summary import Cost

MACHINES = [Machine("node1", "EPYC", 4), Machine("node2", "EPYC", 4), Machine("node2", "Xeon", 4)]
START, HOUR = 1767225600.0, 3600.0  # seconds, of 2026 and of an hour


@pytest.fixture
def clock(monkeypatch):
    """Time that the test sets: `clock(hours)` since the start of 2026."""
    now = [START]
    monkeypatch.setattr(jobs.time, "time", lambda: now[0])

    def set_to(hours: float) -> float:
        now[0] = START + hours * HOUR
        return now[0]

    return set_to


def test_two_jobs_add_up(tmp_path, clock):
    """Three ranks of four threads for 2 h, then one of one for 1 h: 25 core-hours in 3 h."""
    begin_job(tmp_path, MACHINES, clock(0))
    clock(2)
    note_job(tmp_path, "stopped")
    begin_job(tmp_path, [Machine("laptop", "Core", 1)], clock(10))
    clock(11)
    note_job(tmp_path, "finished")
    assert cost(tmp_path) == Cost(
        jobs=2,
        killed=0,
        core_hours=25.0,
        wall_hours=3.0,
        hosts=("laptop", "node1", "node2"),
        processors=("Core", "EPYC", "Xeon"),
    )


def test_a_killed_job_counts_up_to_its_last_checkpoint(tmp_path, clock):
    """Begun at 0, a restart noted at 1 h, another saved at 3 h, found dead at 50 h: 3 h."""
    begin_job(tmp_path, MACHINES[:1], clock(0))
    clock(1)
    note_job(tmp_path)
    path = checkpoint_path(tmp_path, 0)
    path.write_bytes(b"")
    os.utime(path, (clock(3), clock(3)))
    begin_job(tmp_path, MACHINES[:1], clock(50))
    found = cost(tmp_path)
    assert (found.jobs, found.killed) == (2, 1)
    assert (found.wall_hours, found.core_hours) == (3.0, 12.0)


def test_a_job_that_was_killed_before_it_saved_anything(tmp_path, clock):
    """Older checkpoints are other jobs' work: from its start at 4 h to its record at 4.5 h."""
    path = checkpoint_path(tmp_path, 0)
    path.write_bytes(b"")
    os.utime(path, (clock(3), clock(3)))
    began = clock(4)
    clock(4.5)
    begin_job(tmp_path, MACHINES[:1], began)
    begin_job(tmp_path, MACHINES[:1], clock(50))
    assert cost(tmp_path).wall_hours == 0.5


def test_this_machine(monkeypatch):
    """As many cores as the kernels have threads."""
    monkeypatch.setenv("NUMBA_NUM_THREADS", "3")
    found = this_machine()
    assert found.threads == 3 and found.host == os.uname().nodename and found.processor
    monkeypatch.setenv("NUMBA_NUM_THREADS", "")
    assert this_machine().threads == 1


ENTRY = {
    **{"hosts": ["a"], "processors": ["b"], "ranks": 1, "cores": 1},
    **{"began": 1.0, "last": 2.0, "ended": "", "batch_job": ""},
}
DAMAGED = [
    "{",
    "[]",
    '{"format": "hpc-diffuser/jobs", "jobs": [1]}',
    json.dumps({"format": "hpc-diffuser/jobs", "jobs": [ENTRY | {"last": 0.5}]}),
    json.dumps({"format": "hpc-diffuser/jobs", "jobs": [ENTRY | {"cores": "many"}]}),
    json.dumps({"format": "hpc-diffuser/jobs", "jobs": [ENTRY | {"hosts": [1]}]}),
]


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_record(tmp_path, content, capsys):
    """The run goes on, and says that the earlier cost is lost."""
    (tmp_path / "jobs.json").write_text(content)
    assert read_jobs(tmp_path) is None
    begin_job(tmp_path, MACHINES, time.time())
    assert "jobs.json: damaged" in capsys.readouterr().err
    assert cost(tmp_path).jobs == 1


def test_fit_tells_what_all_its_jobs_cost(call, project, edit):
    """A fit, then one restart more: two jobs, in the report and in summary.json."""
    assert call("fit", "fit.toml", folder=project).returncode == 0
    first = json.loads((project / "run" / "summary.json").read_text())["cost"]
    edit(project / "fit.toml", "restarts = 2", "restarts = 3")
    result = call("fit", "fit.toml", folder=project)
    assert result.returncode == 0, result.stderr
    both = json.loads((project / "run" / "summary.json").read_text())["cost"]
    assert (first["jobs"], both["jobs"], both["killed"]) == (1, 2, 0)
    assert both["wall_hours"] > first["wall_hours"] > 0
    assert both["hosts"] == [os.uname().nodename] and both["processors"]
    assert "Cost, 2 jobs: " in result.stdout and f"on {os.uname().nodename} (" in result.stdout
    entries = json.loads((project / "run" / "jobs.json").read_text())["jobs"]
    assert [entry["ended"] for entry in entries] == ["finished", "finished"]
