"""First of all: what is to be taken with care, and what to do about it."""

from hpc_diffuser.interface.run import Comparison, Run
from hpc_diffuser.report.section import Contents


def warnings(run: Run) -> Contents:
    """The run's warnings in words, and the restarts that were left out."""
    found = tuple(_sentence(text) for text in warnings_of(run))
    if found:
        return Contents(items=found)
    if run.summary is None or run.summary.findings is None:
        return Contents(words=("None yet: no restart has finished.",))
    return Contents(words=("None.",))


def warnings_of_models(comparison: Comparison) -> Contents:
    """The same of every model, with its name."""
    found = tuple(
        _sentence(f"{name}: {text}")
        for name, run in comparison.runs.items()
        for text in warnings_of(run)
    )
    return Contents(items=found) if found else Contents(words=("None.",))


def warnings_of(run: Run) -> list[str]:
    """Each in words, with what to do; none before a restart is finished."""
    summary = run.summary
    if summary is None:
        return []
    left_out = [f"restart {one.restart} is left out: {one.reason}" for one in summary.excluded]
    return [*summary.warnings, *left_out]


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
