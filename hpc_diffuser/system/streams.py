"""Standard output and error, whatever they are.

A terminal or a log file may know fewer letters than our messages have (Å, ½), a stream may be
closed from the start, its reader may go away, its disk may fill up. None of these is an error of
the program's: what was computed must not be lost for want of a letter.
"""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

from hpc_diffuser.system.errors import StorageError

_NAMES = ("stdout", "stderr")


@contextlib.contextmanager
def usable_streams() -> Iterator[None]:
    """Inside, letters that a stream lacks are replaced, and a closed one takes and loses all."""
    _occupy_descriptors()
    before = {name: getattr(sys, name) for name in _NAMES}
    manners = {name: getattr(stream, "errors", None) for name, stream in before.items()}
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        for name, stream in before.items():
            setattr(sys, name, nowhere if _is_closed(stream) else stream)
            _treat_errors(stream, "replace")
        try:
            yield
        finally:
            for name, stream in before.items():
                setattr(sys, name, stream)
                _treat_errors(stream, manners[name])


def say(text: str, flush: bool = False) -> None:
    """Print a result.

    Raises
    ------
    BrokenPipeError
        Where the reader has gone.
    StorageError
        Where standard output cannot be written: it may be a file on a full disk.
    """
    try:
        print(text, flush=flush)
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise _unwritten(exc) from exc


def log(message: str) -> None:
    """One line on standard error; if that cannot be written, it is not worth ending a run for."""
    with contextlib.suppress(OSError):
        print(message, file=sys.stderr, flush=True)


def flush_output() -> None:
    """Have everything that was printed go out; raises like `say`."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise _unwritten(exc) from exc


def forget_unwritten() -> None:
    """Drop what could not be written: Python would try again at its end, and complain."""
    for name in _NAMES:
        stream = getattr(sys, name)
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
            continue
        with contextlib.suppress(OSError, ValueError):
            _flush_to_nowhere(stream)


def _unwritten(exc: OSError) -> StorageError:
    return StorageError(f"standard output: could not be written ({exc.strerror})")


def _flush_to_nowhere(stream: Any) -> None:
    """Empty a stream's buffer, and leave its descriptor as it was: it may be a caller's."""
    number = stream.fileno()
    kept, nowhere = os.dup(number), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, number)
        stream.flush()
    finally:
        os.dup2(kept, number)
        os.close(kept)
        os.close(nowhere)


def _is_closed(stream: Any) -> bool:
    return stream is None or getattr(stream, "closed", False)


def _treat_errors(stream: Any, manner: str | None) -> None:
    """Say what a file does with letters that it does not know; other streams know all."""
    if isinstance(stream, io.TextIOWrapper) and not stream.closed:
        with contextlib.suppress(OSError):  # of a flush that comes with it
            stream.reconfigure(errors=manner)


def _occupy_descriptors() -> None:
    """Leave none of 0, 1 and 2 free: a data file opened there would get a library's messages."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free one is what it gets.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
