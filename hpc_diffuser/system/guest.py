"""The program as a guest in a larger one: a script, a notebook, a test.

As a program it may do with its process what it likes. As a function of a larger one it has to
leave it as it was, however the command ends.
"""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import threadpool_limits

from hpc_diffuser.system.stopping import signals_as_found

_NUMBA_THREADS, _NUMBA_FOLDER = "NUMBA_NUM_THREADS", "NUMBA_CACHE_DIR"


@contextmanager
def as_found() -> Iterator[None]:
    """Afterwards the process is what it was: signals, environment, filters of warnings.

    Inside, BLAS has one thread: it may have been loaded long before, with more.
    """
    before = dict(os.environ)
    if "numba" in sys.modules:
        os.environ[_NUMBA_THREADS] = str(_numba().NUMBA_NUM_THREADS)
    with signals_as_found(), warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):
        try:
            yield
        finally:
            _put_back(before)


def _put_back(before: dict[str, str]) -> None:
    # Numba looks at its variables whenever it compiles. It refuses another number once its
    # threads run, and where it had no folder before it has none for what is compiled later.
    if "numba" in sys.modules and _numba().NUMBA_NUM_THREADS != _numba().NUMBA_DEFAULT_NUM_THREADS:
        before = {_NUMBA_THREADS: str(_numba().NUMBA_NUM_THREADS)} | before
    if _NUMBA_FOLDER in os.environ:
        before = {_NUMBA_FOLDER: os.environ[_NUMBA_FOLDER]} | before
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    for name, value in before.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _numba() -> Any:
    """Numba's settings, of a numba that somebody has loaded."""
    return sys.modules["numba"].config
