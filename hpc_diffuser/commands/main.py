"""The command line: parses, dispatches, and turns every failure into one line and a code.

Nothing heavy is imported at the top: thread counts must be set before numpy is loaded, and
signal handlers must be in place before the imports that take seconds.
"""

import argparse
import contextlib
import sys
import time
import traceback
from inspect import unwrap
from typing import NoReturn

from hpc_diffuser.commands.arguments import build_parser, options_of
from hpc_diffuser.commands.running import failures_told
from hpc_diffuser.parallel.watching import watch
from hpc_diffuser.system.errors import DiffuserError, StoppedError, StorageError
from hpc_diffuser.system.launcher import launched_rank, launched_size
from hpc_diffuser.system.stopping import ignore_signals
from hpc_diffuser.system.streams import flush_output, forget_unwritten, log, usable_streams
from hpc_diffuser.system.threads import pin_threads

_FIRST_WORD_S = 2.0


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command as a function of a larger program, which finds everything as it was.

    Signal handlers, the environment's variables and the number of BLAS threads are the caller's:
    all that is only the process's own while the command runs.

    Raises
    ------
    SystemExit
        With the command's exit code, always.
    """
    from hpc_diffuser.system.guest import as_found

    with as_found():
        run_program(arguments)


def run_program(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and exit; under MPI, a failing rank ends all of them."""
    with usable_streams():
        try:
            code = _exit_code(_parsed(arguments))
        finally:
            forget_unwritten()
    sys.exit(code)


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The command line's words; with --help, or a mistake in them, all ends here."""
    try:
        words = sys.argv[1:] if arguments is None else arguments
        args = build_parser(words).parse_args(words)
        args.options = options_of(args, _command_line(words))
        return args
    except SystemExit:
        try:
            flush_output()
        except BrokenPipeError:
            pass
        except StorageError as exc:
            _complain(str(exc), debug=False)
            sys.exit(exc.exit_code)
        raise


def _command_line(words: list[str]) -> str:
    """The command as files record it: names need not be text, and in some locales are not."""
    text = " ".join(["hpc-diffuser", *words])
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _exit_code(args: argparse.Namespace) -> int:
    """Run the command, say what went wrong, and tell the other ranks."""
    pin_threads()
    code = 70
    try:
        with failures_told():
            unwrap(args.command.module.run)(args.options)
        flush_output()
        code = 0
    except DiffuserError as exc:
        ignore_signals()  # one that comes while the others are told would end in a traceback
        code = exc.exit_code
        _complain(str(exc), args.debug, shared=exc.known_to_all or _told_by_rank_0(exc))
        if not exc.known_to_all:
            _abort(code)
    except BrokenPipeError:
        code = 0  # the reader of our output (head, less) has gone: not an error of ours
    except SystemExit as exc:
        ignore_signals()
        # A rank that leaves alone would leave the others waiting, whatever its code.
        code = exc.code if isinstance(exc.code, int) and exc.code else 70
        _complain(f"left early with exit code {exc.code}", args.debug)
        _abort(code)
    except BaseException as exc:
        ignore_signals()
        _complain(f"internal error: {type(exc).__name__}: {exc}", args.debug)
        _abort(code)
    watch.leave_with_a_word()
    ignore_signals()
    return code


def _told_by_rank_0(exc: DiffuserError) -> bool:
    """True if this is a stop that rank 0 tells: mostly all ranks get the signal."""
    if not isinstance(exc, StoppedError) or launched_rank() == 0:
        return False
    time.sleep(_FIRST_WORD_S)
    return watch.end_is_explained()


def _complain(message: str, debug: bool, shared: bool = False) -> None:
    """One line on standard error; of an error that all ranks have, only the first tells."""
    from hpc_diffuser.parallel.communicator import started

    ranks = started()
    if (shared or not watch.of_all_ranks()) and launched_rank() > 0:
        return
    rank, size = (ranks.rank, ranks.size) if ranks.size > 1 else (launched_rank(), launched_size())
    where = f" (rank {rank} of {size or 'several'})" if size != 1 and not shared else ""
    with contextlib.suppress(OSError):  # nobody may be reading
        if debug:
            traceback.print_exc()
    log(f"hpc-diffuser: error{where}: {' '.join(message.split())}")
    watch.have_explained()


def _abort(code: int) -> None:
    """End all ranks; those that wait for MPI to start wait for this one too."""
    from hpc_diffuser.parallel.communicator import started, world

    with contextlib.suppress(OSError):
        sys.stdout.flush()
    ranks = started()
    with contextlib.suppress(DiffuserError):
        ranks = world() if watch.of_all_ranks() else ranks
    watch.leave_with_a_word()
    ranks.abort(code)
