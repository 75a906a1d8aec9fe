"""What to cite for a run, as text for a terminal."""

from pathlib import Path

from hpc_diffuser.commands.pages.report import wrapped
from hpc_diffuser.fit.citations import Reference, citations
from hpc_diffuser.interface.run import Run
from hpc_diffuser.interface.used import used_in


def cite_text(directory: Path) -> str:
    """One paragraph: the program, the paper of the method, what else was used, with DOIs.

    Parameters
    ----------
    directory : Path
        Of a run.
    """
    return wrapped("Cite: " + "; ".join(map(_short, citations(used_in(Run(directory))))))


def _short(reference: Reference) -> str:
    if not reference.doi:
        return reference.title
    year = f" {reference.year}" if reference.year else ""
    return f"{reference.authors}{year} ({reference.what}), doi:{reference.doi}"
