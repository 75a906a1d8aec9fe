"""What a run went through, as far as its references depend on it."""

import numpy as np

from hpc_diffuser.fit.citations import Used
from hpc_diffuser.interface.run import Run
from hpc_diffuser.io.trajectories.kinds import is_trajectory
from hpc_diffuser.system.errors import InputError


def used_in(run: Run) -> Used:
    """For `citations`; of what is no longer there, as if the run had gone the usual way."""
    return Used(_method(run), _from_trajectory(run), _weighs_frames(run), _has_springs(run))


def _method(run: Run) -> str:
    try:
        return run.config.search.method
    except InputError:
        return Used.method


def _weighs_frames(run: Run) -> bool:
    outcome = run.summary.outcome if run.summary else None
    return outcome is not None and outcome.frame_weights is not None


def _has_springs(run: Run) -> bool:
    outcome = run.summary.outcome if run.summary else None
    return outcome is not None and bool(np.any(outcome.answer.get("lattice_spring_A") or 0.0))


def _from_trajectory(run: Run) -> bool:
    """By the commands that the inputs say they were made by: modes are not read for it."""
    try:
        ensemble = run.config.structure.ensemble
        if ensemble is not None and is_trajectory(ensemble.name):
            return True
        commands = [str(told.get("command", "")) for told in run.provenance.values()]
    except InputError:
        return Used.trajectory
    return any("--trajectory" in command for command in commands)
