"""Many runs beside each other, as text."""

from hpc_diffuser.interface.run import Run
from hpc_diffuser.report.runs import Runs


def several_text(subject: Runs) -> str:
    """A line for every run: its state, its restarts, its scores, how many warnings."""
    width = max(len("Run"), *(len(name) for name in subject.runs))
    lines = [f"{'Run':{width}}  state     restarts  CC_work  CC_free  warnings"]
    lines += [f"{name:{width}}  {_line(run)}" for name, run in subject.runs.items()]
    lines += [f"{name}: {why}" for name, why in subject.lost.items()]
    return "\n".join(lines)


def _line(run: Run) -> str:
    summary = run.summary
    finished = summary.restarts_finished if summary else 0
    text = f"{run.state:9}{finished:>4} of {run.n_restarts:<3}"
    outcome = summary.outcome if summary else None
    scores = (outcome.cc_work, outcome.cc_free) if outcome else (None, None)
    text += "".join("     none" if cc is None else f"{cc:9.4f}" for cc in scores)
    return f"{text}{len(summary.warnings) if summary else 0:>10}"
