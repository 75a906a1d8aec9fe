"""What a person sees of a long run: one line on a terminal, plain log lines in a file."""

import contextlib
import sys
import time

from hpc_diffuser.system.streams import log as log

LOG_EVERY_S = 20.0


class Progress:
    """Evaluations done, best CC and the time that is left.

    Parameters
    ----------
    total : int
        Evaluations in all.
    done : int
        Of those, finished in earlier sessions.
    shown : bool
        False on ranks that stay silent.
    """

    def __init__(self, total: int, done: int, shown: bool):
        self._shown = shown
        self._best: dict[int, tuple[float, float]] = {}
        self._total, self._first, self._done = total, done, done
        self._start = self._last = time.monotonic()
        self._bar = None
        if shown and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=done, unit="eval", desc="fit")

    def step(self, restart: int, cc: float, objective: float) -> None:
        """One more evaluation of this restart, whose best point so far has these.

        What is shown is the CC where the objective is least, which a prior may have lowered.
        """
        self._done += 1
        self._best[restart] = objective, cc
        best = min(self._best.values())[1]
        if self._bar is not None:
            with contextlib.suppress(OSError):  # the terminal may be gone
                self._bar.set_postfix_str(f"restart {restart}, best CC {best:.4f}")
                self._bar.update()
        elif self._shown and time.monotonic() - self._last > LOG_EVERY_S:
            self._last = time.monotonic()
            log(
                f"evaluation {self._done}/{self._total}, restart {restart}, "
                f"best CC {best:.4f}, {duration(self._remaining())} left"
            )

    def forgo(self, evaluations: int) -> None:
        """So many will not be made after all."""
        self._total -= evaluations
        if self._bar is not None:
            self._bar.total = self._total

    def close(self) -> None:
        """Leave the terminal's line as it is."""
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._bar.close()

    def _remaining(self) -> float:
        each = (time.monotonic() - self._start) / max(self._done - self._first, 1)
        return each * (self._total - self._done)


def duration(seconds: float) -> str:
    """`42 s`, `12 min` or `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
