"""A run followed until it ends: on a terminal redrawn in place, elsewhere line by line."""

import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from hpc_diffuser.commands.pages.following import (
    BARS,
    PLAIN_BARS,
    json_text,
    log_line,
    screen_lines,
)
from hpc_diffuser.commands.pages.status import status_lines
from hpc_diffuser.fit.standing import Histories, Status, not_begun, read_status
from hpc_diffuser.system.errors import StoppedError
from hpc_diffuser.system.progress import LOG_EVERY_S
from hpc_diffuser.system.streams import say

EVERY_S = 2.0
_SHARE = 10  # looking takes no more than a tenth of the time, on whatever file system


class View(Protocol):
    """Where what is seen of a run goes."""

    def show(self, status: Status, histories: list[Histories]) -> None:
        """Show it, if there is anything new."""


def follow(directory: Path, view: View, sleep: Callable[[float], None] = time.sleep) -> None:
    """Show a run until nobody works on it; of a directory without one, wait for it.

    Parameters
    ----------
    directory : Path
    view : View
    sleep : callable
        Given how many seconds.

    Raises
    ------
    InputError
        Where something else lies in the directory.
    StoppedError
        At Ctrl-C.
    """
    try:
        while True:
            began = time.monotonic()
            waiting = not_begun(directory)
            status, histories = (waiting, []) if waiting else read_status(directory)
            view.show(status, histories)
            if status.is_over:
                return
            sleep(max(EVERY_S, _SHARE * (time.monotonic() - began)))
    except KeyboardInterrupt:
        raise StoppedError(f"{directory}: no longer followed, as asked; it is as it was") from None


def view_for(as_json: bool) -> View:
    """JSON lines, the terminal, or lines of a log: by what was asked for and where it goes."""
    if as_json:
        return JsonLines()
    return Terminal() if sys.stdout.isatty() and os.environ.get("TERM") != "dumb" else LogLines()


class JsonLines:
    """A line of JSON whenever anything has changed."""

    def __init__(self) -> None:
        self._last: Status | None = None

    def show(self, status: Status, histories: list[Histories]) -> None:
        """Show it, if there is anything new."""
        if status != self._last:
            say(json_text(status), flush=True)
        self._last = status


class LogLines:
    """A line at the beginning, when the state changes, and now and then; at the end all lines."""

    def __init__(self) -> None:
        self._last: Status | None = None
        self._at = 0.0

    def show(self, status: Status, histories: list[Histories]) -> None:
        """Show it, if there is anything new and the last line is some time ago."""
        if status.is_over:
            say("\n".join(status_lines(status)), flush=True)
            return
        other_state = self._last is None or status.state != self._last.state
        if other_state or (status != self._last and time.monotonic() - self._at > LOG_EVERY_S):
            say(log_line(status), flush=True)
            self._last, self._at = status, time.monotonic()


class Terminal:
    """All lines, redrawn in place; the last ones stay."""

    def __init__(self) -> None:
        self._height = 0
        self._size = (0, 0)
        self._bars = BARS if _has_letters(BARS) else PLAIN_BARS

    def show(self, status: Status, histories: list[Histories]) -> None:
        """Draw it in the place of what was drawn before."""
        columns, rows = shutil.get_terminal_size()
        size = columns, rows
        lines = screen_lines(status, histories, size, self._bars)
        if status.is_over:
            lines = status_lines(status)
        text = "\n".join(f"{line}\x1b[K" for line in lines)
        say(f"{self._over_the_last(size)}{text}\x1b[J", flush=True)
        self._height, self._size = len(lines), size

    def _over_the_last(self, size: tuple[int, int]) -> str:
        """Codes that go up to its first line; in a window of another size lines lie elsewhere."""
        if self._height and size != self._size:
            return "\x1b[H\x1b[2J"
        return f"\x1b[{self._height}A\r" if self._height else ""


def _has_letters(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
