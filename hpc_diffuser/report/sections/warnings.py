"""First of all: what is to be taken with care, and what to do about it."""

from hpc_diffuser.interface.run import Run
from hpc_diffuser.report.section import Contents


def warnings(run: Run) -> Contents:
    """The run's warnings in words, and the restarts that were left out."""
    summary = run.summary
    if summary is None or summary.findings is None:
        return Contents(
            words=("No restart has finished yet: there is nothing to warn of, and no answer.",)
        )
    items = (
        *summary.warnings,
        *(f"restart {one.restart} is left out: {one.reason}" for one in summary.excluded),
    )
    if not items:
        return Contents(words=("None.",))
    return Contents(items=tuple(item[0].upper() + item[1:] + "." for item in items))
