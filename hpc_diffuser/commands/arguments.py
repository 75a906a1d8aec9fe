"""The command line's words: commands, options and their help; what they do is in `main`."""

import argparse
from pathlib import Path
from typing import NoReturn

from hpc_diffuser import __version__
from hpc_diffuser.motion.registry import TERM_ROWS
from hpc_diffuser.system.errors import InputError

DEFAULT_CONFIG = Path("hpc-diffuser.toml")


class _Parser(argparse.ArgumentParser):
    """Mistakes on the command line are bad input too: one line, and its exit code."""

    def error(self, message: str) -> NoReturn:
        self.exit(InputError.exit_code, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser; what it returns has the name of the command as `command`."""
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
        _add_score,
        _add_bench,
        _add_doctor,
        _add_convert,
        _add_info,
    ):
        add(commands)
    return parser


def _command(commands, name: str, summary: str, example: str) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    command.set_defaults(command=name)
    return command


def _add_modes(commands) -> None:
    command = _command(
        commands,
        "modes",
        "Motion modes from a trajectory (principal components), or without one from an\n"
        "elastic network of the crystal structure.",
        "hpc-diffuser modes --trajectory md.xtc --topology md.pdb --reference 6o2h.pdb -o modes.h5",
    )
    _add_trajectory(command, reference_required=True)
    command.add_argument(
        "--conformer",
        metavar="LETTER",
        default="A",
        help="of the reference's alternates; or occupancy: in each residue the most occupied "
        "(default: %(default)s)",
    )
    command.add_argument(
        "--hydrogens",
        action="store_true",
        help="keep hydrogens: the reference's in an elastic network, of a trajectory those on "
        "the reference's atoms",
    )
    command.add_argument(
        "--n-modes", type=_whole, default=20, help="how many to keep (default: %(default)s)"
    )
    command.add_argument("-o", "--output", type=Path, default=Path("modes.h5"))


def _add_target(commands) -> None:
    command = _command(
        commands,
        "target",
        "Cut a diffuse map to what a fit is compared with: halos around Bragg peaks masked,\n"
        "a resolution range, Laue mates merged, a free set of whole Brillouin zones. Tells how\n"
        "well the mates agree.",
        "hpc-diffuser target map.nxs --d-max 3.3 --d-min 1.6 -o target.h5",
    )
    command.add_argument("map", type=Path, help="diffuse map")
    _add_map_options(command)
    command.add_argument("-o", "--output", type=Path, default=Path("target.h5"))
    command.add_argument(
        "--d-max", type=_positive, help="Å (default: 3.3, if the map reaches well beyond that)"
    )
    command.add_argument(
        "--d-min",
        type=_positive,
        help="Å (default: the map's own: that of the last shell which is about as complete as the "
        "others)",
    )
    command.add_argument(
        "--halo-radius",
        type=_halo_radius,
        default=3 / 7,
        help="of the masked sphere about each lattice point, in reciprocal-lattice units; three, "
        "as 0.4,0.4,0.5, of an ellipsoid along h, k, l; 0 masks nothing (default: 3/7)",
    )
    command.add_argument(
        "--min-i-over-sigma",
        type=_finite,
        metavar="X",
        help="leave out merged voxels with a lower ratio of intensity to error",
    )
    command.add_argument(
        "--outliers",
        type=_positive,
        metavar="N",
        help="leave out merged voxels farther than N standard deviations from their shell's mean",
    )
    command.add_argument(
        "--remove-isotropic",
        action="store_true",
        help="subtract the mean intensity as a smooth function of resolution",
    )
    command.add_argument(
        "--shells",
        type=_whole,
        default=20,
        help="equally wide in 1/d; empty ones are left out, and thin ones joined with their "
        "neighbours (default: %(default)s)",
    )
    command.add_argument(
        "--free-fraction", type=_fraction, default=0.1, help="of Bragg peaks (default: %(default)s)"
    )
    command.add_argument(
        "--free-block",
        type=_free_block,
        default=1,
        metavar="N",
        help="free blocks of N x N x N zones, N at least 3, of which the inner voxels alone are "
        "scored: a fit has seen no neighbour of theirs (default: single zones)",
    )
    command.add_argument("--seed", type=_whole, default=1, help="of the free set (default: 1)")


def _add_simulate(commands) -> None:
    command = _command(
        commands,
        "simulate",
        "The diffuse map of a model: motion along modes, or a trajectory's own frames. Or, with\n"
        "--example, a figure that tells what diffuse scattering is, from simulated crystals.",
        "mpirun -n 64 hpc-diffuser simulate hpc-diffuser.toml -o map.nxs",
    )
    command.add_argument("config", type=Path, nargs="?", help="TOML config; all parameters held")
    command.add_argument(
        "--example",
        choices=("two-state",),
        help="instead of a CONFIG: a plane crystal of molecules with two shapes, as a figure",
    )
    command.add_argument(
        "-o", "--output", type=Path, help="(default: map.nxs; of the example two-state.png)"
    )
    _add_trajectory(command, reference_required=False)


def _add_fit(commands) -> None:
    command = _command(
        commands,
        "fit",
        "Refine the weights of the motions against a target. Run it again to resume.",
        "mpirun -n 64 hpc-diffuser fit hpc-diffuser.toml",
    )
    command.add_argument(
        "--models",
        metavar="NAMES",
        help=f"fit and compare several models, as rbt,llm,rbt+int: {_terms()} (instead of "
        "[models] compare); rbt+int@NAME with the modes of one of [models] bases",
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
        help="run the config end to end on one rank in about a minute (for each model), to find "
        "mistakes; leaves nothing behind",
    )
    command.add_argument(
        "--max-hours",
        type=_positive,
        help="stop cleanly after so many hours, with exit code 75; the same command resumes",
    )
    command.add_argument(
        "--break-lock",
        action="store_true",
        help="take over the run directory from a job that is surely dead",
    )
    command.add_argument(
        "--accept-versions",
        action="store_true",
        help="resume with other versions of the program or its libraries; the answer is then not "
        "bit for bit that of an uninterrupted run",
    )


def _terms() -> str:
    """The words that models are named with, and what each is."""
    return ", ".join(f"{term.word} {term.short}".rstrip() for term in TERM_ROWS)


def _add_status(commands) -> None:
    command = _command(
        commands,
        "status",
        "Where a run stands: restarts done, CC, evaluations per hour, time left. It only reads:\n"
        "while the run goes on, after a crash, on a read-only disk.",
        "hpc-diffuser status run",
    )
    command.add_argument("directory", type=Path, help="run directory")


def _add_report(commands) -> None:
    command = _command(
        commands,
        "report",
        "Warnings, the answer with the restarts' scatter, CC_work and CC_free, also by shell,\n"
        "how far the model moves beside the crystal's B-factors, and what the run cost.",
        "hpc-diffuser report run --png cc.png",
    )
    command.add_argument(
        "directory", type=Path, help="run directory, also of a comparison of models"
    )
    command.add_argument("--png", type=Path, help="write a figure of CC against resolution")


def _add_score(commands) -> None:
    command = _command(
        commands,
        "score",
        "CC_work and CC_free of any calculated map, of this or another program, by the rules of a\n"
        "fit: at the target's voxels, Laue mates averaged, by resolution shell.",
        "hpc-diffuser score calculated.mtz target.h5 --score pooled",
    )
    command.add_argument("map", type=Path, help="calculated diffuse map, of any format")
    command.add_argument("target", type=Path, help="target.h5, as hpc-diffuser target makes it")
    command.add_argument(
        "--score",
        choices=("shell-mean", "pooled"),
        default="shell-mean",
        help="mean of the shells' CCs, or one CC over all voxels, each shell's mean subtracted "
        "first; as the config's [target] score (default: %(default)s)",
    )
    command.add_argument(
        "--weights",
        choices=("none", "errors"),
        default="none",
        help="as the config's [target] weights (default: %(default)s)",
    )
    command.add_argument("--json", type=Path, help="write the numbers to this file too")
    _add_map_options(command)


def _add_bench(commands) -> None:
    command = _command(
        commands,
        "bench",
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


def _add_doctor(commands) -> None:
    command = _command(
        commands,
        "doctor",
        "What would go wrong in a job here: MPI, CPUs and threads, memory, files, signals.\n"
        "Start it as the fit will be started. Ends with code 65 if anything is wrong.",
        "mpirun -n 64 hpc-diffuser doctor hpc-diffuser.toml",
    )
    command.add_argument(
        "config", type=Path, nargs="?", help="TOML config of a fit whose memory is predicted too"
    )


def _add_convert(commands) -> None:
    command = _command(
        commands,
        "convert",
        "A diffuse map in another format. Reads the native format, mdx2, mdx-lib, diffuser HDF5,\n"
        "lunus .lat and .hkl, MTZ, CCP4/MRC and eryx arrays, told apart by their content; writes\n"
        ".nxs (native), .mtz (a supercell), .ccp4, .map, .mrc, .lat, .hkl.",
        "hpc-diffuser convert map.nxs map.mtz",
    )
    command.add_argument("input", type=Path, metavar="IN", help="diffuse map")
    command.add_argument("output", type=Path, metavar="OUT", help="its ending tells the format")
    command.add_argument(
        "--to",
        metavar="FORMAT",
        help="native, mdx2 (a table), mtz, ccp4, lat, hkl or diffuser, whatever OUT's ending",
    )
    command.add_argument(
        "--complete",
        action="store_true",
        help="fill voxels that were not measured from their Laue mates",
    )
    _add_map_options(command)


def _add_info(commands) -> None:
    command = _command(
        commands,
        "info",
        "What a file contains. Of a diffuse map of any format: what is assumed about it, grid,\n"
        "cell, resolution, and by shell how much was measured, its mean and its scatter.",
        "hpc-diffuser info map.mtz --cell 48.5,48.5,63.5,90,90,90 --png sections.png",
    )
    command.add_argument("file", type=Path, help="modes, map, target, checkpoint or structure")
    command.add_argument("--png", type=Path, help="of a map: a figure of its central sections")
    _add_map_options(command)


def _add_map_options(command: argparse.ArgumentParser) -> None:
    """What a user knows about a map, whatever its format."""
    command.add_argument(
        "--structure",
        type=Path,
        help="PDB or mmCIF of the crystal: the map gets its unit cell and space group, if its own "
        "cell agrees to 2 %%",
    )
    command.add_argument(
        "--reindex",
        metavar="WHAT",
        help="the new h,k,l in terms of the old, as k,h,-l (with = where it begins with -: "
        "--reindex=-h,k,l); search: the one that fits --structure best",
    )
    command.add_argument(
        "--cell",
        type=_unit_cell,
        metavar="A,B,C,AL,BE,GA",
        help="unit cell of the file's own indices, Å and degrees (default: the file's)",
    )
    command.add_argument("--space-group", metavar="NAME", help='as "P 41" (default: the file\'s)')
    command.add_argument("--column", metavar="NAME", help="which of several maps in the file")
    command.add_argument(
        "--divisions",
        type=_divisions,
        metavar="N,N,N",
        help="samples per reciprocal-lattice unit along h, k, l, where the file does not tell",
    )


def _add_trajectory(command: argparse.ArgumentParser, reference_required: bool) -> None:
    command.add_argument(
        "--trajectory", type=Path, help="XTC, TRR, DCD, NetCDF, HDF5 of MDTraj, GRO or PDB"
    )
    command.add_argument("--topology", type=Path, help="PDB, GRO, PRMTOP or PSF of its atoms")
    command.add_argument(
        "--reference",
        type=Path,
        required=reference_required,
        help="crystal structure (PDB, mmCIF) to superpose on",
    )
    command.add_argument(
        "--select",
        help="atoms, in mdtraj's language (default: those that the reference has, without "
        "water, ions and hydrogens)",
    )


def _whole(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, found {text}")
    return int(text)


def _free_block(text: str) -> int:
    size = _whole(text)
    if size == 2:
        raise argparse.ArgumentTypeError(
            "blocks of 2 zones have nothing inside: expected 3 or more"
        )
    return size


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


def _finite(text: str) -> float:
    value = _float(text)
    if not abs(value) < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number, found {text}")
    return value


def _halo_radius(text: str) -> float | tuple[float, ...]:
    radii = tuple(_fraction(part) for part in text.split(","))
    if len(radii) == 1:
        return radii[0]
    if len(radii) != 3 or not all(radii):
        raise argparse.ArgumentTypeError(
            f"expected one radius, or three above 0 with commas between, found {text}"
        )
    return radii


def _unit_cell(text: str) -> tuple[float, ...]:
    numbers = tuple(_positive(part) for part in text.split(","))
    if len(numbers) != 6:
        raise argparse.ArgumentTypeError(
            f"expected six numbers with commas between, as 48.5,48.5,63.5,90,90,90, found {text}"
        )
    return numbers


def _divisions(text: str) -> tuple[int, ...]:
    numbers = tuple(_whole(part) for part in text.split(","))
    if len(numbers) != 3:
        raise argparse.ArgumentTypeError(
            f"expected three whole numbers with commas between, as 7,7,7, found {text}"
        )
    return numbers


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, found {text}") from None
