"""The command `doctor`: what would go wrong in a job here, found before it is queued.

Every rank looks at its own process and node; rank 0 judges and tells. Nothing here may crash or
hang where something is broken: that is when it is asked.
"""

from dataclasses import dataclass
from pathlib import Path

from hpc_diffuser.commands.checks.finding import Finding
from hpc_diffuser.commands.running import command
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.launcher import launched_rank
from hpc_diffuser.system.options import CommandOptions, argument
from hpc_diffuser.system.streams import say


@dataclass(frozen=True)
class Options(CommandOptions):
    """What is examined besides this environment.

    Attributes
    ----------
    config : Path or None
        A fit whose memory is predicted too.
    """

    config: Path | None = argument(
        "config", help="TOML config of a fit whose memory is predicted too", default=None
    )


@command
def run(options: Options) -> None:
    """Examine this environment, and print what is found on rank 0.

    Raises
    ------
    InputError
        With the number of problems, if there are any; on all ranks.
    """
    from hpc_diffuser.commands.checks import files, process, ranks

    page = Page(launched_rank() == 0)
    # One by one, before MPI starts: that is the likeliest to end in a crash.
    for finding in process.before_mpi() if page.shown else ():
        page.add(finding)
    world, finding = process.start()
    if world.size > 1:
        page.shown = world.is_root
    page.add(finding)
    facts = world.gather(process.look(world))
    if page.shown:
        for finding in (*ranks.of_ranks(facts), *files.of_folder(Path.cwd())):
            page.add(finding)
        page.add(ranks.memory(options.config, facts))
        page.close()
    problems = world.broadcast(page.problems)
    if problems:
        error = InputError(f"{_counted(problems)}, named above with what to do")
        error.known_to_all = True
        raise error


class Page:
    """Findings as they come.

    Attributes
    ----------
    shown : bool
        False on ranks that stay silent.
    problems : int
        How many have come.
    """

    def __init__(self, shown: bool):
        self.shown = shown
        self.problems = 0

    def add(self, finding: Finding) -> None:
        """Print a finding, and count its problem."""
        self.problems += finding.problem is not None
        self._print(f"{finding.name:12s} {finding.text}")
        if finding.problem:
            self._print(f"problem: {finding.problem}")

    def close(self) -> None:
        """Print the result."""
        self._print(f"\n{_counted(self.problems)}")

    def _print(self, line: str) -> None:
        if self.shown:
            say(line, flush=True)


def _counted(problems: int) -> str:
    if not problems:
        return "no problem found"
    return "1 problem" if problems == 1 else f"{problems} problems"
