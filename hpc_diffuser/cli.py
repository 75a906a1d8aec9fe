"""The command line: parses, dispatches, and turns every failure into one line and a code.

Nothing heavy is imported at the top: thread counts must be set before numpy is loaded, and
signal handlers must be in place before the imports that take seconds.
"""

import argparse
import os
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from hpc_diffuser import __version__
from hpc_diffuser.errors import DiffuserError, InputError
from hpc_diffuser.parallel.launcher import launched_rank, launched_size

DEFAULT_CONFIG = Path("hpc-diffuser.toml")


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and exit; under MPI, a failing rank ends all of them."""
    args = _parser().parse_args(arguments)
    _pin_threads()
    code = 70
    try:
        args.command(args)
        code = 0
    except DiffuserError as exc:
        code = exc.exit_code
        _complain(str(exc), args.debug, shared=exc.known_to_all)
        if not exc.known_to_all:
            _abort(code)
    except BrokenPipeError:
        # The reader of our output (head, less) has gone: not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except SystemExit as exc:
        # A rank that leaves alone would leave the others waiting, whatever its code.
        code = exc.code if isinstance(exc.code, int) else 70
        _complain(f"left early with exit code {exc.code}", args.debug)
        _abort(code or 70)
    except BaseException as exc:
        _complain(f"internal error: {type(exc).__name__}: {exc}", args.debug)
        _abort(code)
    sys.exit(code)


def _complain(message: str, debug: bool, shared: bool = False) -> None:
    """One line on standard error; of an error that all ranks have, only the first tells."""
    from hpc_diffuser.parallel.communicator import started

    ranks = started()
    if (shared or ranks.size == 1) and launched_rank() > 0:
        return
    where = f" (rank {ranks.rank} of {ranks.size})" if ranks.size > 1 and not shared else ""
    if debug:
        traceback.print_exc()
    print(f"hpc-diffuser: error{where}: {' '.join(message.split())}", file=sys.stderr, flush=True)


def _abort(code: int) -> None:
    from hpc_diffuser.parallel.communicator import started

    sys.stdout.flush()
    started().abort(code)


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
    from hpc_diffuser import describe, prepare
    from hpc_diffuser.io.storage import sha256

    if (args.trajectory is None) != (args.topology is None):
        raise InputError("--trajectory and --topology go together: give both, or neither")
    if args.trajectory is None:
        modes = prepare.modes_from_network(args.reference, args.n_modes)
        hashes = {"sha256 reference": sha256(args.reference)}
        inputs = [args.reference]
    else:
        files = _trajectory_files(args)
        modes = prepare.modes_from_trajectory(files, args.n_modes)
        hashes = files.hashes()
        inputs = [args.trajectory, args.topology, args.reference]
    provenance = {"command": f"hpc-diffuser {' '.join(sys.argv[1:])}"} | hashes
    pdb = prepare.save_modes(args.output, modes, inputs, provenance)
    print(describe.describe(args.output))
    print(f"mean structure with effective B-factors: {pdb}")


def _simulate(args: argparse.Namespace) -> None:
    from hpc_diffuser.parallel.communicator import world

    ranks = world()
    from hpc_diffuser import describe, prepare
    from hpc_diffuser.config import load_config

    given = [args.trajectory, args.topology, args.reference]
    if any(given) and not all(given):
        raise InputError("--trajectory, --topology and --reference go together: give all three")
    config = ranks.from_root(lambda: load_config(args.config))
    text = args.config.read_text(encoding="utf-8") if ranks.is_root else ""
    files = _trajectory_files(args) if args.trajectory else None
    prepare.simulate(config, text, args.output, files, ranks)
    if ranks.is_root:
        print(describe.describe(args.output))


def _target(args: argparse.Namespace) -> None:
    from hpc_diffuser import describe, prepare
    from hpc_diffuser.target import TargetOptions

    options = TargetOptions(
        d_max_A=args.d_max,
        d_min_A=args.d_min,
        halo_radius=args.halo_radius,
        n_shells=args.shells,
        free_fraction=args.free_fraction,
        seed=args.seed,
    )
    prepare.save_target(args.map, args.output, options)
    print(describe.describe(args.output))


def _fit(args: argparse.Namespace) -> None:
    from hpc_diffuser.stopping import watch_signals

    watch_signals()
    from hpc_diffuser.parallel.communicator import world

    ranks = world()
    from hpc_diffuser import fit

    fit.fit_command(args.config, DEFAULT_CONFIG, args.test, ranks)


def _status(args: argparse.Namespace) -> None:
    from hpc_diffuser.report import status_text

    print(status_text(args.directory))


def _report(args: argparse.Namespace) -> None:
    from hpc_diffuser.report import read_summary, report_text

    summary = read_summary(args.directory)
    if args.png:
        from hpc_diffuser.figures import plot_shells

        plot_shells(args.png, summary)
    print(report_text(summary))
    if args.png:
        print(f"\nCC against resolution: {args.png}")


def _bench(args: argparse.Namespace) -> None:
    os.environ["NUMBA_NUM_THREADS"] = "1"  # core-seconds are seconds of one core
    from hpc_diffuser import bench
    from hpc_diffuser.io.storage import write_json

    result = bench.bench(args.config, DEFAULT_CONFIG)
    print(bench.bench_text(result))
    if args.json:
        write_json(args.json, result)
    if args.png:
        from hpc_diffuser.figures import plot_sampling_errors

        plot_sampling_errors(args.png, result)


def _info(args: argparse.Namespace) -> None:
    from hpc_diffuser.describe import describe

    print(describe(args.file))


def _trajectory_files(args: argparse.Namespace):
    from hpc_diffuser.prepare import TrajectoryFiles

    return TrajectoryFiles(args.trajectory, args.topology, args.reference, args.select)


class _Parser(argparse.ArgumentParser):
    """Mistakes on the command line are bad input too: one line, and its exit code."""

    def error(self, message: str) -> NoReturn:
        self.exit(InputError.exit_code, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="hpc-diffuser",
        description="Fit internal motions of a protein to its 3-D X-ray diffuse scattering.",
        epilog="Try the built-in example: mpirun -n 2 hpc-diffuser fit",
    )
    parser.add_argument("--version", action="version", version=f"hpc-diffuser {__version__}")
    parser.set_defaults(debug=False)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (
        _add_modes,
        _add_target,
        _add_simulate,
        _add_fit,
        _add_status,
        _add_report,
        _add_bench,
        _add_info,
    ):
        add(commands)
    return parser


def _command(commands, name: str, run, summary: str, example: str) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    command.set_defaults(command=run)
    return command


def _add_modes(commands) -> None:
    command = _command(
        commands,
        "modes",
        _modes,
        "Motion modes from a trajectory (principal components), or without one from an\n"
        "elastic network of the crystal structure.",
        "hpc-diffuser modes --trajectory md.xtc --topology md.pdb --reference 6o2h.pdb -o modes.h5",
    )
    _add_trajectory(command, reference_required=True)
    command.add_argument(
        "--n-modes", type=_whole, default=20, help="how many to keep (default: %(default)s)"
    )
    command.add_argument("-o", "--output", type=Path, default=Path("modes.h5"))


def _add_target(commands) -> None:
    command = _command(
        commands,
        "target",
        _target,
        "Cut a diffuse map to what a fit is compared with: halos around Bragg peaks masked,\n"
        "a resolution range, a free set of whole Brillouin zones.",
        "hpc-diffuser target map.nxs --d-max 3.3 --d-min 1.6 -o target.h5",
    )
    command.add_argument("map", type=Path, help="diffuse map in the native NeXus layout")
    command.add_argument("-o", "--output", type=Path, default=Path("target.h5"))
    command.add_argument("--d-max", type=_positive, default=3.3, help="Å (default: %(default)s)")
    command.add_argument("--d-min", type=_positive, default=1.6, help="Å (default: %(default)s)")
    command.add_argument(
        "--halo-radius",
        type=_fraction,
        default=3 / 7,
        help="of the masked sphere about each lattice point, in reciprocal-lattice units "
        "(default: 3/7)",
    )
    command.add_argument("--shells", type=_whole, default=20, help="(default: %(default)s)")
    command.add_argument(
        "--free-fraction", type=_fraction, default=0.1, help="of Bragg peaks (default: %(default)s)"
    )
    command.add_argument("--seed", type=_whole, default=1, help="of the free set (default: 1)")


def _add_simulate(commands) -> None:
    command = _command(
        commands,
        "simulate",
        _simulate,
        "The diffuse map of a model: motion along modes, or a trajectory's own frames.",
        "mpirun -n 64 hpc-diffuser simulate hpc-diffuser.toml -o map.nxs",
    )
    command.add_argument("config", type=Path, help="TOML config; all parameters held")
    command.add_argument("-o", "--output", type=Path, default=Path("map.nxs"))
    _add_trajectory(command, reference_required=False)


def _add_fit(commands) -> None:
    command = _command(
        commands,
        "fit",
        _fit,
        "Refine the weights of the motions against a target. Run it again to resume.",
        "mpirun -n 64 hpc-diffuser fit hpc-diffuser.toml",
    )
    command.add_argument(
        "config",
        type=Path,
        nargs="?",
        help=f"TOML config (default: ./{DEFAULT_CONFIG}; without that, the built-in example)",
    )
    command.add_argument(
        "--test",
        action="store_true",
        help="run the config end to end on one rank in about a minute, to find mistakes; "
        "leaves nothing behind",
    )


def _add_status(commands) -> None:
    command = _command(
        commands, "status", _status, "Where a run stands. Reads only.", "hpc-diffuser status run"
    )
    command.add_argument("directory", type=Path, help="run directory")


def _add_report(commands) -> None:
    command = _command(
        commands,
        "report",
        _report,
        "Parameters with their spread, CC_work, CC_free, CC by resolution shell.",
        "hpc-diffuser report run --png cc.png",
    )
    command.add_argument("directory", type=Path, help="run directory")
    command.add_argument("--png", type=Path, help="write a figure of CC against resolution")


def _add_bench(commands) -> None:
    command = _command(
        commands,
        "bench",
        _bench,
        "What an evaluation of a model costs on this machine, beside the algorithm that this\n"
        "program replaces, and how exact both are. Takes a few minutes.",
        "hpc-diffuser bench hpc-diffuser.toml --json bench.json",
    )
    command.add_argument(
        "config",
        type=Path,
        nargs="?",
        help=f"TOML config (default: ./{DEFAULT_CONFIG}; without that, the built-in example)",
    )
    command.add_argument("--json", type=Path, help="write the numbers to this file too")
    command.add_argument("--png", type=Path, help="write a figure of error against samples")


def _add_info(commands) -> None:
    command = _command(
        commands, "info", _info, "What a file contains.", "hpc-diffuser info target.h5"
    )
    command.add_argument("file", type=Path, help="modes, map, target, checkpoint or structure")


def _add_trajectory(command: argparse.ArgumentParser, reference_required: bool) -> None:
    command.add_argument("--trajectory", type=Path, help="XTC, TRR, DCD, NetCDF, ...")
    command.add_argument("--topology", type=Path, help="PDB, GRO, PRMTOP or PSF of its atoms")
    command.add_argument(
        "--reference",
        type=Path,
        required=reference_required,
        help="crystal structure (PDB, mmCIF) to superpose on",
    )
    command.add_argument(
        "--select",
        default="element != H",
        help='atoms, in mdtraj\'s language (default: "%(default)s")',
    )


def _whole(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, found {text}")
    return int(text)


def _positive(text: str) -> float:
    value = _float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {text}")
    return value


def _fraction(text: str) -> float:
    value = _float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 up to 1, found {text}")
    return value


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, found {text}") from None
