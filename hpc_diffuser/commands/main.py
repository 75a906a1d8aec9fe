"""The command line: parses, dispatches, and turns every failure into one line and a code.

Nothing heavy is imported at the top: thread counts must be set before numpy is loaded, and
signal handlers must be in place before the imports that take seconds.
"""

import argparse
import contextlib
import os
import sys
import time
import traceback
from pathlib import Path
from typing import NoReturn

from hpc_diffuser.commands.arguments import DEFAULT_CONFIG, build_parser
from hpc_diffuser.parallel.watching.companion import dismiss_second, has_a_second, have_a_second
from hpc_diffuser.system.errors import DiffuserError, InputError, StoppedError, StorageError
from hpc_diffuser.system.launcher import launched_rank, launched_size
from hpc_diffuser.system.stopping import ignore_signals, watch_signals
from hpc_diffuser.system.streams import flush_output, forget_unwritten, say, usable_streams

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
        args = build_parser().parse_args(arguments)
        args.words = _command_line(sys.argv[1:] if arguments is None else arguments)
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
    _pin_threads()
    code = 70
    try:
        _run(args)
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
    _say_farewell()
    ignore_signals()
    return code


def _run(args: argparse.Namespace) -> None:
    commands = {
        "modes": _modes,
        "target": _target,
        "simulate": _simulate,
        "fit": _fit,
        "status": _status,
        "report": _report,
        "score": _score,
        "bench": _bench,
        "doctor": _doctor,
        "convert": _convert,
        "info": _info,
    }
    try:
        commands[args.command](args)
    except KeyboardInterrupt as exc:  # of a command that has nothing to save
        raise StoppedError("stopped as asked; nothing is half-written: run it again") from exc
    except MemoryError as exc:
        raise InputError(
            f"not enough memory ({str(exc) or 'no more could be had'}): raise the limit (ulimit "
            "-v, --mem), use a node with more, or smaller inputs"
        ) from exc
    except (ImportError, OSError) as exc:
        from hpc_diffuser.system.memory import library_lacks_room

        if isinstance(exc, BrokenPipeError) or not library_lacks_room():
            raise
        raise InputError(
            f"not enough memory: a library could not be loaded ({exc}): raise the limit (ulimit "
            "-v), which counts all that libraries map, a gigabyte of it"
        ) from exc


def _say_farewell() -> None:
    """The other ranks need not wonder why this one ends."""
    dismiss_second()
    if "hpc_diffuser.parallel.watching.neighbour" in sys.modules:
        sys.modules["hpc_diffuser.parallel.watching.neighbour"].leave_with_a_word()


def _told_by_rank_0(exc: DiffuserError) -> bool:
    """True if this is a stop that rank 0 tells: mostly all ranks get the signal."""
    if not isinstance(exc, StoppedError) or launched_rank() == 0:
        return False
    time.sleep(_FIRST_WORD_S)
    watch = sys.modules.get("hpc_diffuser.parallel.watching.neighbour")
    return watch is not None and watch.end_is_explained()


def _complain(message: str, debug: bool, shared: bool = False) -> None:
    """One line on standard error; of an error that all ranks have, only the first tells."""
    from hpc_diffuser.parallel.communicator import started

    ranks = started()
    if (shared or not has_a_second()) and launched_rank() > 0:
        return
    rank, size = (ranks.rank, ranks.size) if ranks.size > 1 else (launched_rank(), launched_size())
    where = f" (rank {rank} of {size or 'several'})" if size != 1 and not shared else ""
    with contextlib.suppress(OSError):  # nobody may be reading
        if debug:
            traceback.print_exc()
        line = f"hpc-diffuser: error{where}: {' '.join(message.split())}"
        print(line, file=sys.stderr, flush=True)
    if "hpc_diffuser.parallel.watching.neighbour" in sys.modules:
        sys.modules["hpc_diffuser.parallel.watching.neighbour"].have_explained()


def _abort(code: int) -> None:
    """End all ranks; those that wait for MPI to start wait for this one too."""
    from hpc_diffuser.parallel.communicator import started, world

    with contextlib.suppress(OSError):
        sys.stdout.flush()
    ranks = started()
    with contextlib.suppress(DiffuserError):
        ranks = world() if has_a_second() else ranks
    _say_farewell()
    ranks.abort(code)


def _end_all_ranks() -> None:
    from hpc_diffuser.parallel.communicator import world

    world().abort(70)


def _pin_threads() -> None:
    """One BLAS thread, and as many numba threads as this rank may use.

    BLAS results change with its threads; the numba kernels' do not.
    """
    for name in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{name}_NUM_THREADS"] = "1"
    alone = launched_size() == 1
    default = len(os.sched_getaffinity(0)) if alone else 1
    threads = os.environ.get("SLURM_CPUS_PER_TASK", "")
    os.environ.setdefault("NUMBA_NUM_THREADS", threads if threads.isdigit() else str(default))


def _modes(args: argparse.Namespace) -> None:
    from hpc_diffuser.commands import info
    from hpc_diffuser.commands.modes import modes_from_network, modes_from_trajectory, save_modes
    from hpc_diffuser.fit.config import checked_conformer
    from hpc_diffuser.system.storage import sha256

    conformer = checked_conformer("--conformer", args.conformer)
    if (args.trajectory is None) != (args.topology is None):
        raise InputError("--trajectory and --topology go together: give both, or neither")
    notes: list[str] = []
    if args.trajectory is None:
        modes = modes_from_network(args.reference, args.n_modes, conformer, args.hydrogens)
        hashes = {"sha256 reference": sha256(args.reference)}
        inputs = [args.reference]
    else:
        files = _trajectory_files(args, conformer, args.hydrogens)
        modes = modes_from_trajectory(files, args.n_modes, notes.append)
        hashes = files.hashes()
        inputs = [args.trajectory, args.topology, args.reference]
    provenance = {"command": args.words} | hashes
    pdb = save_modes(args.output, modes, inputs, provenance)
    say(info.describe(args.output))
    for note in notes:
        say(note)
    say(f"mean structure with effective B-factors: {pdb}")


def _simulate(args: argparse.Namespace) -> None:
    given = [args.trajectory, args.topology, args.reference]
    if args.example:
        if args.config or any(given):
            raise InputError("--example takes no CONFIG and no trajectory: leave them out")
        _two_state(args.output or Path("two-state.png"))
        return
    if args.config is None:
        raise InputError("expected a CONFIG to simulate, or --example two-state")
    have_a_second(_end_all_ranks)
    ranks = _world()
    from hpc_diffuser.commands import info, simulate
    from hpc_diffuser.fit.config import load_config

    if any(given) and not all(given):
        raise InputError("--trajectory, --topology and --reference go together: give all three")
    config = ranks.from_root(lambda: load_config(args.config))
    text = args.config.read_text(encoding="utf-8") if ranks.is_root else ""
    given = config.structure
    hydrogens = given.hydrogens and args.select is None
    files = _trajectory_files(args, given.conformer, hydrogens) if args.trajectory else None
    output = args.output or Path("map.nxs")
    simulate.simulate(config, text, output, files, ranks)
    if ranks.is_root:
        say(info.describe(output))


def _two_state(output: Path) -> None:
    """A matter of seconds, without MPI: of several ranks the first does it."""
    if launched_rank() > 0:
        return
    from hpc_diffuser.commands.examples.two_state import two_state_example
    from hpc_diffuser.commands.figures import plot_two_state

    maps = two_state_example()
    plot_two_state(output, maps)
    between, everywhere = maps.agreement()
    say(
        f"{output}: {maps.realisations} simulated crystals of molecules in two shapes\n"
        f"CC with one molecule that changes its shape: {between:.2f} between the halos, "
        f"{everywhere:.2f} with them"
    )


def _target(args: argparse.Namespace) -> None:
    from hpc_diffuser.commands import info, target
    from hpc_diffuser.maps.target import TargetOptions

    options = TargetOptions(
        d_max_A=args.d_max,
        d_min_A=args.d_min,
        halo_radius=args.halo_radius,
        n_shells=args.shells,
        free_fraction=args.free_fraction,
        free_block=args.free_block,
        seed=args.seed,
        min_i_over_sigma=args.min_i_over_sigma,
        outliers=args.outliers,
        remove_isotropic=args.remove_isotropic,
    )
    page = target.save_target(_map_source(args, args.map), args.output, options)
    say(f"{info.describe(args.output)}\n\n{page}")


def _fit(args: argparse.Namespace) -> None:
    if not args.test:
        have_a_second(_end_all_ranks)
    watch_signals(args.max_hours)
    ranks = _one_rank() if args.test else _world()
    from hpc_diffuser.commands import fit
    from hpc_diffuser.fit.refinement import Resumption

    resumption = Resumption(args.break_lock, args.accept_versions)
    fit.fit_command(args.config, DEFAULT_CONFIG, args.models, args.test, ranks, resumption)


def _one_rank():
    """This process alone, which has nothing to do with MPI."""
    from hpc_diffuser.parallel.communicator import Ranks

    if launched_size() > 1:
        error = InputError("--test runs on one rank: start it without mpirun")
        error.known_to_all = True
        raise error
    return Ranks()


def _world():
    """All ranks, each with an eye on its neighbour."""
    from hpc_diffuser.parallel.communicator import world
    from hpc_diffuser.parallel.watching.neighbour import watch_neighbour

    ranks = world()
    watch_neighbour(ranks)
    return ranks


def _status(args: argparse.Namespace) -> None:
    from hpc_diffuser.commands.status import status_text

    say(status_text(args.directory))


def _report(args: argparse.Namespace) -> None:
    if (args.directory / "models.json").exists():
        _report_comparison(args)
        return
    from hpc_diffuser.commands.report import finished_summary, report_text

    summary = finished_summary(args.directory)
    if args.png:
        from hpc_diffuser.commands.figures import plot_shells

        plot_shells(args.png, summary)
    say(report_text(summary))
    if args.png:
        say(f"\nCC against resolution: {args.png}")


def _report_comparison(args: argparse.Namespace) -> None:
    from hpc_diffuser.commands.comparison_page import comparison_text
    from hpc_diffuser.fit.comparison_table import read_comparison

    comparison = read_comparison(args.directory)
    if args.png:
        one = args.directory / comparison.models[0].name
        raise InputError(f"--png draws one model: hpc-diffuser report {one} --png {args.png}")
    say(comparison_text(comparison))


def _score(args: argparse.Namespace) -> None:
    from hpc_diffuser.commands.score import score_data, score_map, score_text
    from hpc_diffuser.system.storage import write_json

    found = score_map(_map_source(args, args.map), args.target, args.score, args.weights)
    print(score_text(found))
    if args.json:
        write_json(args.json, score_data(found))


def _bench(args: argparse.Namespace) -> None:
    from hpc_diffuser.commands import bench
    from hpc_diffuser.kernels.threads import one_thread
    from hpc_diffuser.system.storage import write_json

    with one_thread():  # core-seconds are seconds of one core
        result = bench.bench(args.config, DEFAULT_CONFIG)
    say(bench.bench_text(result))
    if args.json:
        write_json(args.json, result)
    if args.png:
        from hpc_diffuser.commands.figures import plot_sampling_errors

        plot_sampling_errors(args.png, result)


def _doctor(args: argparse.Namespace) -> None:
    from hpc_diffuser.commands.doctor import doctor_command

    doctor_command(args.config)


def _convert(args: argparse.Namespace) -> None:
    from hpc_diffuser.commands.convert import convert

    say(convert(_map_source(args, args.input), args.output, args.to, args.complete))


def _info(args: argparse.Namespace) -> None:
    from hpc_diffuser.commands.info import describe, map_page

    source = _map_source(args, args.file)
    if not (args.png or source.is_qualified):
        say(describe(args.file))
        return
    loaded, page = map_page(source)
    say(page)
    if args.png:
        from hpc_diffuser.commands.figures import plot_sections

        plot_sections(args.png, loaded)
        say(f"central sections: {args.png}")


def _trajectory_files(args: argparse.Namespace, conformer: str, hydrogens: bool):
    from hpc_diffuser.commands.simulate import TrajectoryFiles

    if hydrogens and args.select is not None:
        raise InputError("--hydrogens and --select: the selection says what is kept: give one")
    return TrajectoryFiles(
        args.trajectory, args.topology, args.reference, args.select, conformer, hydrogens
    )


def _map_source(args: argparse.Namespace, path: Path):
    """The map that the options of `arguments._add_map_options` describe."""
    from hpc_diffuser.commands.measured_map import MapSource
    from hpc_diffuser.io.maps.formats import Given

    given = Given(args.cell, args.space_group, args.column, args.divisions)
    return MapSource(path, given, args.structure, args.reindex)
