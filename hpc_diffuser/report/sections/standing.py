"""How far a run is that has not finished, and what to do."""

from hpc_diffuser.fit.search.history import evaluations_in_all
from hpc_diffuser.interface.run import Comparison, Run
from hpc_diffuser.report.section import Contents

STATES = {
    "finished": "It has finished.",
    "running": "It is running: this page is of what it had saved when the page was written.",
    "stopped": "It has stopped before its end, as it was asked to, or was due to: run "
    "hpc-diffuser fit again, which goes on from there.",
    "killed": "Its job was killed, or its machine has failed: run hpc-diffuser fit again, which "
    "goes on from what was saved last.",
    "unknown": "Whether it is running is not known: SLURM does not answer.",
}


def standing(run: Run) -> Contents | None:
    """Its state in words, and what to do; None of a finished run."""
    state = run.state
    return None if state == "finished" else Contents(words=(STATES[state],))


def standing_of_models(comparison: Comparison) -> Contents | None:
    """The same of the models that have not finished; None where all have."""
    states = {name: run.state for name, run in comparison.runs.items()}
    words = tuple(
        f"{name}: {STATES[state]} {progress(comparison.runs[name])}"
        for name, state in states.items()
        if state != "finished"
    )
    return Contents(words=words) if words else None


def progress(run: Run) -> str:
    """Restarts and evaluations, done and in all."""
    done = [min(len(history), run.n_evaluations) for history in run.histories.values()]
    finished = sum(h.finished(run.n_evaluations) for h in run.histories.values())
    total = evaluations_in_all(run.histories, run.n_restarts, run.n_evaluations)
    others, what = len(done) - finished, "under way" if run.state == "running" else "begun"
    return (
        f"{finished} of {run.n_restarts} restarts have finished"
        + (f", {others} more {what}" if others else "")
        + f"; {sum(done)} of {total} evaluations are done."
    )
