"""The process in which native readers run, started by `isolated`; never imported by others."""

import contextlib
import ctypes
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
    """Run the reader that the first argument names, and send what it returns."""
    request = json.loads(sys.argv[1])
    pipe = _silence()
    _die_with(request["parent"])
    _limit(request)
    with contextlib.suppress(BrokenPipeError):  # nobody is waiting any more
        _send(pipe, *_answer(request))
    # Not through the libraries' own tidying up, which may crash after all went well.
    os._exit(0)


def _silence() -> int:
    """The pipe to the parent, which nothing that libraries print can reach."""
    sys.stderr.flush()
    pipe, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    return pipe


def _die_with(parent: int) -> None:
    """Have the kernel end this process with its parent, even in the middle of a native call."""
    with contextlib.suppress(AttributeError, OSError):  # elsewhere than on Linux: time limits
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before
        os._exit(1)


def _limit(request: dict[str, Any]) -> None:
    """Ends that the kernel sets, which hold in native code too."""
    _lower(resource.RLIMIT_CORE, 0, 0)
    _lower(resource.RLIMIT_AS, request["memory"], 0)
    _lower(resource.RLIMIT_CPU, request["cpu_s"], 5)  # SIGXCPU, and 5 s later SIGKILL
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(request["wall_s"])


def _lower(which: int, value: int, grace: int) -> None:
    """Lower a soft limit to `value` and its hard limit to `grace` more; raise none."""
    soft, hard = (limit if limit >= 0 else sys.maxsize for limit in resource.getrlimit(which))
    hard = min(hard, value + grace)
    resource.setrlimit(which, (min(soft, value, hard), hard))


def _answer(request: dict[str, Any]) -> tuple[dict[str, Any], list]:
    """The header to send, and the arrays that follow it."""
    try:
        read = getattr(importlib.import_module(request["module"]), request["name"])
        arrays = read(*request["arguments"])
        described = [(name, *_description(name, array)) for name, array in arrays.items()]
        return {"arrays": described}, list(arrays.values())
    except InputError as exc:
        return {"failure": str(exc), "ours": True}, []
    except MemoryError:
        most = request["memory"] >> 20
        return {"failure": f"its reader asked for more than {most} MB: the file is damaged"}, []
    except Exception as exc:  # readers raise whatever their parsers raise
        return {"failure": next(iter(str(exc).strip().splitlines()), type(exc).__name__)}, []


def _description(name: str, array: Any) -> tuple[str, tuple[int, ...]]:
    if array.dtype.kind not in "biufU":
        raise TypeError(f"{name} holds neither numbers nor text")
    return array.dtype.str, array.shape


def _send(pipe: int, header: dict[str, Any], arrays: list) -> None:
    with open(pipe, "wb") as stream:
        stream.write(json.dumps(header).encode() + b"\n")
        for array in arrays:
            if array.nbytes:
                stream.write(array.ravel().view("u1"))  # a copy only where it is not contiguous


if __name__ == "__main__":
    main()
