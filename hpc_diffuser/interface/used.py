"""What a run went through, as far as its references depend on it."""

from hpc_diffuser.fit.citations import Used
from hpc_diffuser.interface.run import Run
from hpc_diffuser.system.errors import InputError


def used_in(run: Run) -> Used:
    """For `citations`; of what is no longer there, as if the run had gone the usual way."""
    return Used(_method(run), _from_trajectory(run))


def _method(run: Run) -> str:
    try:
        return run.config.search.method
    except InputError:
        return Used.method


def _from_trajectory(run: Run) -> bool:
    """By the commands that the inputs say they were made by: modes are not read for it."""
    try:
        commands = [str(told.get("command", "")) for told in run.provenance.values()]
    except InputError:
        return Used.trajectory
    return any("--trajectory" in command for command in commands)
