"""The process in which native readers run; `isolated` starts it and asks it."""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import sys
from typing import Any

from hpc_diffuser.system.errors import InputError

_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>


def main() -> None:
    """As an interpreter of its own: the first argument tells the limits."""
    sys.stderr.flush()
    _serve(json.loads(sys.argv[1]), 0)


def serve_as_copy(limits: dict[str, Any], asked: int, answer: int) -> None:
    """As a copy of the program, of whose files, signals and objects nothing is left.

    Parameters
    ----------
    limits : dict
    asked, answer : int
        File descriptors that calls come from, and answers go to.
    """
    gc.freeze()  # what the program has thrown away is not tidied up twice
    sys.stdin, sys.stdout = open(os.devnull), open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stdout
    os.dup2(asked, 0)
    os.dup2(answer, 1)
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor > 2 and descriptor not in (sys.stdin.fileno(), sys.stdout.fileno()):
            with contextlib.suppress(OSError):  # that of the listing
                os.close(descriptor)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    _serve(limits, _mapped())


def _serve(limits: dict[str, Any], mapped: int) -> None:
    """Run the readers that calls name, and send what they return, until no more calls come."""
    calls, pipe = _silence()
    _die_with(limits["parent"])
    _limit(limits, mapped)
    with contextlib.suppress(BrokenPipeError), open(calls, "rb") as lines:  # or nobody waits
        for line in lines:
            signal.alarm(limits["wall_s"])
            _send(pipe, *_answer(limits, json.loads(line)))
            signal.alarm(0)
    # Not through the libraries' own tidying up, which may crash after all went well.
    os._exit(0)


def _silence() -> tuple[int, int]:
    """The pipes from and to the parent, which nothing that libraries read or print can reach."""
    calls, pipe, nothing = os.dup(0), os.dup(1), os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    return calls, pipe


def _mapped() -> int:
    """Bytes of address space that the program takes already."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _die_with(parent: int) -> None:
    """Have the kernel end this process with its parent, even in the middle of a native call."""
    with contextlib.suppress(AttributeError, OSError):  # elsewhere than on Linux: time limits
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before
        os._exit(1)


def _limit(limits: dict[str, Any], mapped: int) -> None:
    """Ends that the kernel sets, which hold in native code too."""
    _lower(resource.RLIMIT_CORE, 0, 0)
    _lower(resource.RLIMIT_AS, limits["memory"] + mapped, 0)
    _lower(resource.RLIMIT_CPU, limits["cpu_s"], 5)  # SIGXCPU, and 5 s later SIGKILL
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _lower(which: int, value: int, grace: int) -> None:
    """Lower a soft limit to `value` and its hard limit to `grace` more; raise none."""
    soft, hard = (limit if limit >= 0 else sys.maxsize for limit in resource.getrlimit(which))
    hard = min(hard, value + grace)
    resource.setrlimit(which, (min(soft, value, hard), hard))


def _answer(limits: dict[str, Any], call: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """The header to send, and the arrays that follow it."""
    try:
        module, _, name = call["read"].rpartition(".")
        read = getattr(importlib.import_module(module), name)
        arrays = read(*call["arguments"])
        described = [(name, *_description(name, array)) for name, array in arrays.items()]
        return {"arrays": described}, list(arrays.values())
    except InputError as exc:
        return {"failure": str(exc), "ours": True}, []
    except MemoryError:
        most = limits["memory"] >> 20
        return {"failure": f"its reader asked for more than {most} MB: the file is damaged"}, []
    except Exception as exc:  # readers raise whatever their parsers raise
        return {"failure": next(iter(str(exc).strip().splitlines()), type(exc).__name__)}, []


def _description(name: str, array: Any) -> tuple[str, tuple[int, ...]]:
    if array.dtype.kind not in "biufU":
        raise TypeError(f"{name} holds neither numbers nor text")
    return array.dtype.str, array.shape


def _send(pipe: int, header: dict[str, Any], arrays: list[Any]) -> None:
    with open(pipe, "wb", closefd=False) as stream:
        stream.write(json.dumps(header).encode() + b"\n")
        for array in arrays:
            if array.nbytes:
                stream.write(array.ravel().view("u1"))  # a copy only where it is not contiguous


if __name__ == "__main__":
    main()
