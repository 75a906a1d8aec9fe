"""What to cite, and the same for a bibliography."""

from hpc_diffuser.fit.citations import Reference, bibtex, citations
from hpc_diffuser.interface.run import Comparison, Run
from hpc_diffuser.interface.used import used_in
from hpc_diffuser.report.section import Column, Contents, Table

_WORDS = "What this fit owes to others: the method's paper, and the programs that it computed with."
_COLUMNS = ("what", "authors", "title", "where", "year", "DOI")


def citing(run: Run) -> Contents:
    """References of a run, as a table and as BibTeX."""
    references = citations(used_in(run))
    table = Table(
        name="references",
        caption="References.",
        columns=tuple(Column(name=name) for name in _COLUMNS),
        rows=tuple(_row(reference) for reference in references),
        links={reference.doi: reference.url for reference in references if reference.doi},
    )
    return Contents(words=(_WORDS,), code=(bibtex(references).strip(),), tables=(table,))


def citing_of_models(comparison: Comparison) -> Contents | None:
    """The same of a comparison: its models go the same way."""
    runs = list(comparison.runs.values())
    return citing(runs[0]) if runs else None


def _row(reference: Reference) -> tuple[str | None, ...]:
    year = None if reference.year is None else str(reference.year)
    told = (reference.what, reference.authors, reference.title, reference.where)
    return (*told, year, reference.doi or None)
