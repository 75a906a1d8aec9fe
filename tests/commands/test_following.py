"""`status --follow` and `--json`: runs as they go on, made up and real."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from builders import history

from hpc_diffuser.commands import following
from hpc_diffuser.commands.following import JsonLines, LogLines, Terminal, follow, view_for
from hpc_diffuser.commands.pages.following import BARS, PLAIN_BARS, line_of_bars, screen_lines
from hpc_diffuser.fit.run.checkpoints import checkpoint_path, write_checkpoint
from hpc_diffuser.fit.run.directory import write_session
from hpc_diffuser.fit.run.lock import run_lock
from hpc_diffuser.fit.standing import read_status
from hpc_diffuser.system.errors import InputError, StoppedError


@pytest.fixture
def run(finished, tmp_path) -> Path:
    """A run of 6 restarts of 10 evaluations, none of which has begun."""
    return made_up(finished, tmp_path / "run")


def made_up(finished: Path, folder: Path) -> Path:
    """A run directory with nothing but its manifest."""
    folder.mkdir(parents=True)
    manifest = json.loads((finished / "run" / "manifest.json").read_text())
    manifest["settings"] |= {"search.restarts": 6, "search.evaluations": 10}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def went(run: Path, restart: int, evaluations: int, cc: float = 0.5) -> None:
    """A restart that has come so far."""
    write_checkpoint(checkpoint_path(run, restart), history(evaluations, cc))


def test_bars_rise_with_the_curve():
    """As long as the way that was gone, from the lowest letter to the highest; by hand.

    Of ten evaluations five are done: of ten letters five, of five letters the half of the fifth
    counts as one.
    """
    trace = np.array([0.0, 0.1, 0.2, 0.6, 0.7])
    assert line_of_bars(trace, 10, 10, (0.0, 0.7), BARS) == "▁▂▃▇█"
    assert line_of_bars(trace, 10, 10, (0.0, 0.7), PLAIN_BARS) == ".:-#%"
    assert line_of_bars(trace, 10, 5, (0.0, 0.7), BARS) == "▂▇█"
    assert line_of_bars(np.full(10, 0.3), 10, 5, (0.3, 0.3), BARS) == "▁▁▁▁▁"
    assert line_of_bars(trace, 200, 60, (0.0, 0.7), BARS) == "▃█"


def test_a_screen(run):
    """Two under way, each with its curve; what is finished has none; pace by the minute.

    17 evaluations in two minutes are 8.5 a minute; the other 43 take 5.06 minutes.
    """
    with run_lock(run):
        write_session(run, 4, 2, 0)
        session = json.loads((run / "session.json").read_text())
        (run / "session.json").write_text(json.dumps(session | {"began": time.time() - 120}))
        went(run, 0, 10, 0.7)
        went(run, 1, 4, 0.6)
        went(run, 2, 3, 0.45)
        lines = screen_lines(*read_status(run), (100, 24), BARS)
    assert lines[1] == "restarts     1 of 6 done, 2 under way, 3 to come"
    assert lines[2] == "evaluations  17 of 60 (28 %), 8.5 a minute, 5 min left"
    assert lines[5:] == [
        "under way    best CC_search so far, from 0.100 to 0.600, by evaluation",
        "     1     4 of 10  0.6000  ▁▁▁█",
        "     2     3 of 10  0.4500  ▁▁▆",
    ]


@pytest.mark.parametrize("size", [(100, 24), (40, 24), (20, 9), (10, 3), (1, 1)])
def test_no_more_than_fits_the_terminal(run, size):
    """Neither wider nor higher, with a line left for the cursor; what is left out is told."""
    for restart in range(6):
        went(run, restart, 1 + restart, 0.5)
    with run_lock(run):
        lines = screen_lines(*read_status(run), size, BARS)
    assert len(lines) <= size[1] - 1 and all(len(line) < max(size[0], 2) for line in lines)
    if size == (20, 9):
        assert lines[-1] == "  and 5 more" and lines[-2].startswith("     0     1 of 10")


def test_a_comparison(finished, tmp_path):
    """The model that runs in full, of the others a line; it goes on between two models."""
    folder = tmp_path / "run"
    for name in ("rbt", "rbt+int"):
        made_up(finished, folder / name)
        went(folder / name, 0, 4, 0.6)
    with run_lock(folder):
        between, _ = read_status(folder)
        with run_lock(folder / "rbt+int"):
            status, histories = read_status(folder)
            lines = screen_lines(status, histories, (100, 24), BARS)
    after, _ = read_status(folder)
    assert (between.state, status.state, after.state) == ("running", "running", "stopped")
    assert [run.name for run in status.runs] == ["rbt", "rbt+int"]
    assert [run.state for run in status.runs] == ["stopped", "running"]
    assert lines[1].startswith(f"{folder}/rbt: not finished") or lines[1].endswith("…")
    assert lines[3] == "restarts     0 of 6 done, 1 under way, 5 to come"


def test_after_the_last_evaluation(run):
    """No time is promised for the final map, which is still to be computed."""
    with run_lock(run):
        write_session(run, 1, 1, 0)
        for restart in range(6):
            went(run, restart, 10)
        lines = screen_lines(*read_status(run), (100, 24), BARS)
    assert lines[2].startswith("evaluations  60 of 60 (100 %), ")
    assert lines[2].endswith(" a minute; the final map")


def test_json_is_what_the_files_say(run, call):
    """One object, whose keys are those of docs/run.md."""
    for restart in range(3):
        went(run, restart, 10 if restart else 4, 0.5 + 0.1 * restart)
    found = call("status", "run", "--json")
    data = json.loads(found.stdout)
    assert found.returncode == 0 and len(found.stdout.splitlines()) == 1
    assert data["format"] == "hpc-diffuser/status" and data["version"] == 1
    assert abs(data["time"] - time.time()) < 60
    (one,) = data["runs"]
    assert data["state"] == one["state"] == "stopped" and not data["comparison"]
    assert (one["restarts"], one["restarts_finished"]) == (6, 2)
    assert (one["evaluations"], one["evaluations_done"]) == (60, 24)
    assert one["cc_best"] == pytest.approx(0.7) and one["best_restart"] == 2
    assert one["cc_median"] == pytest.approx(0.6)
    assert one["begun"][0] == {
        "restart": 0,
        "evaluations": 4,
        "cc_search": pytest.approx(0.5),
        "state": "running",
    }
    assert one["evaluations_per_minute"] is None and one["left_s"] is None and one["owner"] is None
    page = Path(__file__).resolve().parents[2] / "docs" / "run.md"
    documented = {*re.findall(r"`([a-z_]+)`", page.read_text().split("## A run as JSON")[1])}
    assert {*data, *one, *one["begun"][0]} <= documented


def test_lines_until_it_ends(run, monkeypatch, capsys):
    """JSON when something has changed; of a log the first line and, at the end, all lines."""
    monkeypatch.setattr(following, "EVERY_S", 0.0)
    waits = []
    for view in (JsonLines(), LogLines()):
        went(run, 0, 2)
        lock = run_lock(run)
        lock.__enter__()

        def go_on(seconds: float, lock=lock) -> None:
            waits.append(seconds)
            if len(waits) % 4 == 1:
                went(run, 0, 3)
            if len(waits) % 4 == 0:
                lock.__exit__(None, None, None)

        follow(run, view, go_on)
    out = capsys.readouterr().out.splitlines()
    told = [json.loads(line) for line in out[:3]]
    assert [each["runs"][0]["evaluations_done"] for each in told] == [2, 3, 3]
    assert [each["state"] for each in told] == ["running", "running", "stopped"]
    assert re.fullmatch(
        rf"\d\d:\d\d:\d\d {run}: running, restarts 0 of 6, evaluations 2 of 60 \(3 %\), CC_search "
        r"best 0\.5000 \(restart 0\), median over restarts 0\.5000",
        out[3],
    )
    assert out[4] == f"{run}: not finished, stopped; run hpc-diffuser fit again to resume"
    assert len(waits) == 8


class Screen:
    """A terminal that knows the few codes that are used: what is seen in the end."""

    def __init__(self, columns: int):
        self.rows, self.row, self.column, self.columns = [""], 0, 0, columns

    def write(self, text: str) -> None:
        for piece in re.findall(r"\x1b\[\d*[A-Z]|\r|\n|[^\x1b\r\n]+", text):
            self._take(piece)

    def _take(self, piece: str) -> None:
        line = self.rows[self.row]
        if piece == "\n":
            self.row, self.column = self.row + 1, 0
            self.rows += [""] * (self.row + 1 - len(self.rows))
        elif piece == "\r":
            self.column = 0
        elif piece.endswith("A"):
            self.row -= int(piece[2:-1])
        elif piece == "\x1b[K":
            self.rows[self.row] = line[: self.column]
        elif piece == "\x1b[J":
            self.rows[self.row :] = [line[: self.column]]
        else:
            assert not piece.startswith("\x1b") and self.column + len(piece) < self.columns
            self.rows[self.row] = line[: self.column] + piece + line[self.column + len(piece) :]
            self.column += len(piece)


def test_a_terminal_is_redrawn_in_place(run, monkeypatch, capsys):
    """What is seen after each look is the screen of that look alone, and below it nothing."""
    monkeypatch.setattr(following.shutil, "get_terminal_size", lambda: os.terminal_size((70, 24)))
    monkeypatch.setattr(following, "_has_letters", lambda text: True)
    view, screen = Terminal(), Screen(70)
    with run_lock(run):
        for done in ((2,), (3, 1, 1), (10, 5, 1), (10, 10, 10)):
            for restart, evaluations in enumerate(done):
                went(run, restart, evaluations)
            status, histories = read_status(run)
            view.show(status, histories)
            screen.write(capsys.readouterr().out)
            assert screen.rows == [*screen_lines(status, histories, (70, 24), BARS), ""]


def test_another_size_of_the_window(run, monkeypatch, capsys):
    """Lines lie elsewhere then: all is drawn anew from the top."""
    sizes = [(70, 24), (70, 24), (50, 24)]
    monkeypatch.setattr(
        following.shutil, "get_terminal_size", lambda: os.terminal_size(sizes.pop(0))
    )
    view = Terminal()
    with run_lock(run):
        for _ in range(3):
            view.show(*read_status(run))
    assert capsys.readouterr().out.count("\x1b[H\x1b[2J") == 1


def test_which_view(monkeypatch):
    """JSON where asked; a terminal that can be redrawn; else lines. Letters that it has."""

    class Tty(io.StringIO):
        encoding = "ascii"

        def isatty(self) -> bool:
            return True

    assert isinstance(view_for(True), JsonLines) and isinstance(view_for(False), LogLines)
    monkeypatch.setattr(sys, "stdout", Tty())
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(view_for(False), Terminal) and view_for(False)._bars == PLAIN_BARS
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(view_for(False), LogLines)


def test_a_run_that_begins_later(finished, tmp_path, capsys):
    """It is waited for, and said; from a missing folder over a locked one to the end."""
    folder = tmp_path / "later" / "run"
    steps = iter(range(9))
    lock = run_lock(folder)

    def wait(_: float) -> None:
        step = next(steps)
        if step == 1:
            lock.__enter__()
        if step == 2:
            shutil.copy(finished / "run" / "manifest.json", folder)
        if step == 3:
            lock.__exit__(None, None, None)

    follow(folder, LogLines(), wait)
    out = capsys.readouterr().out.splitlines()
    assert f"{folder}: no run yet, waiting for hpc-diffuser fit to begin it" in out[0]
    assert f"{folder}: running" in out[1] and f"{folder}: not finished, stopped" in out[2]
    assert next(steps) == 4


def test_a_folder_of_other_files(tmp_path):
    """No run will begin there: said at once."""
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match="not a run directory"):
        follow(tmp_path, LogLines())


def test_ctrl_c(run):
    """One line, code 75, nothing changed."""

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with run_lock(run), pytest.raises(StoppedError, match="no longer followed") as left:
        follow(run, JsonLines(), interrupt)
    assert left.value.exit_code == 75


def test_a_real_run_to_its_end(finished, call):
    """A finished one is told at once, as `status` tells it, with code 0."""
    followed, told = (
        call("status", "run", *words, folder=finished) for words in (["--follow"], [])
    )
    assert followed.returncode == told.returncode == 0
    without_ages = [re.sub(r"last saved .*", "", page.stdout) for page in (followed, told)]
    assert without_ages[0] == without_ages[1] and "finished" in followed.stdout


def test_interrupted_as_a_process(run):
    """Ctrl-C in a terminal: its last screen stays, one line on standard error."""
    command = [sys.executable, "-m", "hpc_diffuser", "status", "run", "--follow", "--json"]
    went(run, 0, 2)
    with run_lock(run):
        # What is started in the background ignores Ctrl-C, and so do its children.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        process = subprocess.Popen(
            command, cwd=run.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        signal.signal(signal.SIGINT, before)
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert json.loads(first)["state"] == "running" and process.returncode == 75
    assert len(err.splitlines()) == 1 and "run: no longer followed, as asked" in err
