"""A fit from its config to its report: one model or several, the example, the test mode."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hpc_diffuser.commands.config_choice import choose_config
from hpc_diffuser.commands.examples import four_helices
from hpc_diffuser.commands.pages.citing import cite_text
from hpc_diffuser.commands.pages.comparison import comparison_text
from hpc_diffuser.commands.pages.report import report_text
from hpc_diffuser.fit.comparison import compare_models, model_config, with_models
from hpc_diffuser.fit.comparison_table import ModelComparison
from hpc_diffuser.fit.config import Config, load_config
from hpc_diffuser.fit.config_needs import is_begun, require_effect
from hpc_diffuser.fit.problem import Problem, load_problem, shrunk_problem
from hpc_diffuser.fit.refinement import Resumption, refine
from hpc_diffuser.fit.summary import Summary
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.system.progress import log
from hpc_diffuser.system.streams import say


def fit(
    path: Path | None,
    models: str | None,
    test: bool,
    world: Ranks,
    resumption: Resumption,
) -> None:
    """Run, resume or try out a fit, or several to compare models; print its report on rank 0.

    Parameters
    ----------
    path : Path or None
        The config that the user named; without one, as `choose_config`.
    models : str or None
        The models to compare, separated by commas, instead of those of the config.
    test : bool
        Try the config out on one rank.
    world : Ranks
    resumption : Resumption
    """
    config_path, is_example = world.from_root(lambda: choose_config(path))
    config, idle = world.from_root(lambda: _read(config_path, models))

    def load(config: Config) -> Problem:
        problem = load_problem(config)
        while idle:  # told once, after what is refused
            log(idle.pop(0))
        return problem

    if test:
        _try_out(load, config, world)
        return
    text = config_path.read_text(encoding="utf-8") if world.is_root else ""
    if config.models.compare:
        comparison = compare_models(load, config, text, world, resumption)
        if world.is_root:
            say(_compared(comparison, config.run.directory))
        return
    summary = refine(load, config, text, world, resumption)
    if world.is_root:
        say(_outcome(summary, config.run.directory, is_example))


def _read(path: Path, models: str | None) -> tuple[Config, list[str]]:
    """The config, with the models of the command line; lines of what of it plays no part."""
    config = with_models(load_config(path), models)
    compared = [model_config(config, name) for name in config.models.compare]
    return config, require_effect(config, compared, is_begun(config.run.directory))


def _try_out(load: Callable[[Config], Problem], config: Config, world: Ranks) -> None:
    """The whole way with few samples and evaluations, in a folder that is removed again."""
    with tempfile.TemporaryDirectory(prefix="hpc-diffuser-test-") as folder:
        directory = Path(folder)
        inputs = replace(config, run=replace(config.run, directory=directory))
        say(_tried_out(load, inputs, world))
    say("\nThe config works; these numbers are of a coarse grid and mean nothing more.")


def _tried_out(load: Callable[[Config], Problem], config: Config, world: Ranks) -> str:
    def shrunk(config: Config) -> Problem:
        return shrunk_problem(load(config))

    if config.models.compare:
        comparison = compare_models(shrunk, config, "", world, Resumption())
        rows = tuple(replace(row, warnings=()) for row in comparison.models)
        return comparison_text(replace(comparison, models=rows))
    # What would be warned of is of the trial, not of the config.
    return report_text(replace(refine(shrunk, config, "", world), warnings=()))


def _compared(comparison: ModelComparison, directory: Path) -> str:
    of_one = directory / comparison.models[0].name
    return (
        f"{comparison_text(comparison)}\n\n{cite_text(of_one)}\n\n"
        f"Again: hpc-diffuser report {directory}; of one model: hpc-diffuser report {of_one}"
    )


def _outcome(summary: Summary, directory: Path, is_example: bool) -> str:
    parts = [report_text(summary)]
    if is_example:
        findings, outcome = summary.complete()
        parts.append(four_helices.comparison_table(outcome.answer, findings.spread))
    parts.append(cite_text(directory))
    parts.append(f"Final map: {directory / 'calculated.h5'}; more: hpc-diffuser report {directory}")
    return "\n\n".join(parts)
