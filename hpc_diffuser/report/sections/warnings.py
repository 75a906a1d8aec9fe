"""First of all: what is to be taken with care, and what to do about it."""

from hpc_diffuser.interface.run import Comparison, Run
from hpc_diffuser.report.section import Contents


def warnings(run: Run) -> Contents:
    """The run's warnings in words, and the restarts that were left out."""
    found = tuple(_sentence(text) for text in warnings_of(run))
    return Contents(items=found) if found else Contents(words=("None.",))


def warnings_of_models(comparison: Comparison) -> Contents:
    """The same of every model, with its name."""
    found = tuple(
        _sentence(f"{name}: {text}")
        for name, run in comparison.runs.items()
        for text in warnings_of(run)
    )
    return Contents(items=found) if found else Contents(words=("None.",))


def warnings_of(run: Run) -> list[str]:
    """Each in words, with what to do; first, that the run has not finished."""
    summary, first = run.summary, _unfinished(run)
    if summary is None:
        return first
    left_out = [f"restart {one.restart} is left out: {one.reason}" for one in summary.excluded]
    return [*first, *summary.warnings, *left_out]


def _unfinished(run: Run) -> list[str]:
    """How much is missing, and what to do about it; empty of a finished run."""
    state = run.state
    if state == "finished":
        return []
    done = run.summary.restarts_finished if run.summary else 0
    remedy = {
        "running": "it is running, and more is to come",
        "unknown": "run `hpc-diffuser fit` again, unless its job is still there",
    }.get(state, "run `hpc-diffuser fit` again")
    return [f"not finished: {done} of {run.n_restarts} restarts; {remedy}"]


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
