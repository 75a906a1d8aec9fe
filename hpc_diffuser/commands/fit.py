"""The command `fit`: refines, resumes or tries out a config; one model, or several compared."""

from dataclasses import dataclass
from pathlib import Path

from hpc_diffuser.commands.config_choice import config_argument
from hpc_diffuser.commands.running import all_ranks, command, expect_ranks, one_rank
from hpc_diffuser.motion.registry import TERM_ROWS
from hpc_diffuser.system.options import CommandOptions, option, positive, switch
from hpc_diffuser.system.stopping import watch_signals

# The words that models are named with, and what each is.
_TERMS = ", ".join(f"{term.word} {term.short}".rstrip() for term in TERM_ROWS)


@dataclass(frozen=True)
class Options(CommandOptions):
    """Which config, which models of it, and what is allowed once.

    Attributes
    ----------
    config : Path or None
        Without one: as `config_choice.choose_config`.
    models : str or None
        As "rbt,llm,rbt+int": instead of the config's [models] compare.
    test : bool
        Try the config out on one rank.
    max_hours : float or None
        Stop cleanly after so many.
    break_lock, accept_versions : bool
        As of `Resumption`.
    """

    config: Path | None = config_argument()
    models: str | None = option(
        "--models",
        metavar="NAMES",
        help=f"fit and compare several models, as rbt,llm,rbt+int: {_TERMS} (instead of "
        "[models] compare); rbt+int@NAME with the modes of one of [models] bases",
    )
    test: bool = switch(
        "--test",
        "run the config end to end on one rank in about a minute (for each model), to find "
        "mistakes; leaves nothing behind",
    )
    max_hours: float | None = option(
        "--max-hours",
        kind=positive,
        help="stop cleanly after so many hours, with exit code 75; the same command resumes",
    )
    break_lock: bool = switch(
        "--break-lock", "take over the run directory from a job that is surely dead"
    )
    accept_versions: bool = switch(
        "--accept-versions",
        "resume with other versions of the program or its libraries; the answer is then not "
        "bit for bit that of an uninterrupted run",
    )


@command
def run(options: Options) -> None:
    """Fill the run directory, and print the report on rank 0.

    Raises
    ------
    InputError, RunInUseError, StorageError, ChangedError
        Where the config, an input or the run directory cannot be used.
    StoppedError
        As asked by a signal or `max_hours`; run it again to resume.
    """
    if not options.test:
        expect_ranks()
    watch_signals(options.max_hours)
    ranks = one_rank("--test") if options.test else all_ranks()
    from hpc_diffuser.commands.fitting import fit
    from hpc_diffuser.fit.refinement import Resumption

    resumption = Resumption(options.break_lock, options.accept_versions)
    fit(options.config, options.models, options.test, ranks, resumption)
