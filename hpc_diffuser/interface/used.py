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
    try:
        modes = run.modes
    except InputError:
        return Used.trajectory
    return modes.convergence is not None or modes.frames is not None
