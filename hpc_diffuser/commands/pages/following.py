"""A run that goes on, as lines of a terminal, as one line of a log, and as JSON."""

import json
import time

import numpy as np

from hpc_diffuser.commands.pages.status import (
    comparison_line,
    progress_text,
    run_lines,
    score_text,
)
from hpc_diffuser.fit.standing import RUNNING, Histories, Standing, Status
from hpc_diffuser.system.records import to_plain

BARS, PLAIN_BARS = "▁▂▃▄▅▆▇█", ".:-=+*#%"  # the latter where the terminal has no other letters
_LONGEST = 60  # letters of a line of CCs


def json_text(status: Status) -> str:
    """One line: the status, and the Unix time at which it was looked at."""
    return json.dumps({**to_plain(status), "time": round(time.time(), 3)})


def log_line(status: Status) -> str:
    """The run that goes on, or the last one, in one line with the time of day."""
    now = time.strftime("%H:%M:%S")
    if not status.runs:
        return f"{now} {waiting_text(status)}"
    run = _current(status)
    parts = [
        f"{now} {run.directory}: {run.state}",
        f"restarts {run.restarts_finished} of {run.restarts}",
        f"evaluations {progress_text(run, 'minute')}",
        *([score_text(run)] if run.last_saved is not None else []),
    ]
    return ", ".join(parts)


def waiting_text(status: Status) -> str:
    """What is waited for."""
    return f"{status.directory}: no run yet, waiting for hpc-diffuser fit to begin it"


def screen_lines(
    status: Status, histories: list[Histories], size: tuple[int, int], bars: str
) -> list[str]:
    """What a terminal shows, none of it longer or higher than the terminal.

    Parameters
    ----------
    status : Status
    histories : list of dict
        Of the restarts of each of its runs.
    size : (columns, lines)
    bars : str
        Letters of rising height.
    """
    columns, rows = size
    if not status.runs:
        return [_cut(waiting_text(status), columns)]
    current = _current(status)
    lines = [comparison_line(status)] if status.comparison else []
    lines += [run_lines(run)[0] for run in status.runs if run is not current]
    lines += run_lines(current, followed=True)
    of_current = histories[status.runs.index(current)]
    lines += _search_lines(current, of_current, (columns, rows - len(lines) - 1), bars)
    return [_cut(line, columns) for line in lines][: rows - 1]


def _current(status: Status) -> Standing:
    """The run that goes on; where none does, the one that something was last saved of."""
    going = [run for run in status.runs if run.state == RUNNING]
    return going[0] if going else max(status.runs, key=lambda run: run.last_saved or 0.0)


def _search_lines(
    run: Standing, histories: Histories, size: tuple[int, int], bars: str
) -> list[str]:
    """A line for every restart under way, as many as there is room for."""
    columns, rows = size
    if not run.running or rows < 2:
        return []
    n_evaluations = run.evaluations_each
    traces = {each.restart: histories[each.restart].best_cc_so_far() for each in run.running}
    low = min(float(trace[0]) for trace in traces.values())
    high = max(float(trace[-1]) for trace in traces.values())
    shown = run.running if len(run.running) < rows else run.running[: rows - 2]
    lines = [f"under way    best CC_search so far, from {low:.3f} to {high:.3f}, by evaluation"]
    for each in shown:
        head = (
            f"  {each.restart:4d} {each.evaluations:5d} of {n_evaluations}  {each.cc_search:.4f}  "
        )
        width = min(_LONGEST, n_evaluations, max(columns - len(head) - 1, 1))
        lines.append(
            head + line_of_bars(traces[each.restart], n_evaluations, width, (low, high), bars)
        )
    others = len(run.running) - len(shown)
    return lines + ([f"  and {others} more"] if others else [])


def line_of_bars(
    trace: np.ndarray, n_evaluations: int, width: int, limits: tuple[float, float], bars: str
) -> str:
    """A curve in one line of text, as long as the search has gone of its way.

    Parameters
    ----------
    trace : (n,) float
    n_evaluations : int
        To which the whole width belongs.
    width : int
        Letters; at most `n_evaluations`.
    limits : (float, float)
        The values of the lowest and the highest letter.
    bars : str
        The letters, rising.
    """
    low, high = limits
    ends = np.arange(1, width + 1) * n_evaluations // width  # evaluations at each letter's end
    last = np.searchsorted(ends, len(trace))  # of which the search is within
    values = trace[np.minimum(ends[: last + 1], len(trace)) - 1]
    heights = (values - low) / max(high - low, 1e-9) * (len(bars) - 1)
    return "".join(bars[round(float(height))] for height in np.clip(heights, 0, len(bars) - 1))


def _cut(line: str, columns: int) -> str:
    return line if len(line) < columns else line[: max(columns - 2, 0)] + "…"
