"""The command `fit`: which config, the built-in example, the test mode, what is printed."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpc_diffuser import example
from hpc_diffuser.config import Config, load_config
from hpc_diffuser.errors import InputError
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.problem import load_problem, shrunk_problem
from hpc_diffuser.progress import log
from hpc_diffuser.refinement import refine
from hpc_diffuser.report import report_text


def fit_command(path: Path | None, default: Path, test: bool, world: Ranks) -> None:
    """Run, resume or try out a fit, and print its report on rank 0.

    Parameters
    ----------
    path : Path or None
        The config that the user named.
    default : Path
        The config to use otherwise; without that file, the built-in example.
    test : bool
        Try the config out on one rank.
    world : Ranks
    """
    config_path, is_example = world.from_root(lambda: choose_config(path, default))
    config = world.from_root(lambda: load_config(config_path))
    if test:
        _try_out(config, world)
        return
    text = config_path.read_text(encoding="utf-8") if world.is_root else ""
    summary = refine(load_problem, config, text, world)
    if world.is_root:
        print(_outcome(summary, config.run.directory, is_example))


def choose_config(path: Path | None, default: Path) -> tuple[Path, bool]:
    """The named config, else the default one, else the example's; and whether it is that."""
    if path is not None or default.is_file():
        return path or default, False
    config = example.FOLDER / "hpc-diffuser.toml"
    if config.is_file():
        log(f"no {default} here: the built-in example in {example.FOLDER}/ goes on")
    else:
        log(f"no {default} here: making the built-in example in {example.FOLDER}/")
        config = example.write_example(example.FOLDER)
    return config, True


def _try_out(config: Config, world: Ranks) -> None:
    """The whole way with few samples and evaluations, in a folder that is removed again."""
    if world.size > 1:
        error = InputError("--test runs on one rank: start it without mpirun")
        error.known_to_all = True
        raise error
    with tempfile.TemporaryDirectory(prefix="hpc-diffuser-test-") as folder:
        directory = Path(folder)
        inputs = replace(config, run=replace(config.run, directory=directory))
        summary = refine(lambda c: shrunk_problem(load_problem(c)), inputs, "", world)
    print(report_text(summary))
    print("\nThe config works; these numbers are of a coarse grid and mean nothing more.")


def _outcome(summary: dict[str, Any], directory: Path, is_example: bool) -> str:
    parts = [report_text(summary)]
    if is_example:
        parts.append(example.comparison_table(summary["median"], summary["spread"]))
    parts.append(f"Final map: {directory / 'calculated.h5'}; more: hpc-diffuser report {directory}")
    return "\n\n".join(parts)
