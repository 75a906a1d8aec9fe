"""What is cited: what was used, and nothing else; the file for citing says the same."""

import re
from pathlib import Path

import pytest

from hpc_diffuser import __version__
from hpc_diffuser.fit.citations import REFERENCES, Used, bibtex, citation_text, citations

FILE = Path(__file__).resolve().parents[2] / "CITATION.cff"


@pytest.mark.parametrize(
    ("used", "lacking"),
    [
        (Used("bayesian", trajectory=True, frame_weights=True, springs=True), set()),
        (Used("bayesian"), {"mcgibbon2015", "hummer2015", "meisburger2020"}),
        (
            Used("another", trajectory=True),
            {"scikit_optimize", "hummer2015", "meisburger2020"},
        ),
    ],
)
def test_what_was_used(used, lacking):
    keys = [reference.key for reference in citations(used)]
    assert set(keys) == {reference.key for reference, _ in REFERENCES} - lacking
    assert keys[:2] == ["hpc_diffuser", "mazumder2021"], "the program and its method first"


def test_references():
    """Keys and DOIs are there once; a DOI has its prefix and no address before it."""
    references = [reference for reference, _ in REFERENCES]
    dois = [reference.doi for reference in references if reference.doi]
    assert len({reference.key for reference in references}) == len(references)
    assert len(set(dois)) == len(dois) == len(references) - 1
    assert all(re.fullmatch(r"10\.\d{4,}/\S+", doi) for doi in dois)


def test_as_text():
    paper = citations(Used())[1]
    assert citation_text(paper).startswith("P. Mazumder and K. Ayyer (2021). Understanding")
    assert citation_text(paper).endswith("https://doi.org/10.1101/2021.02.11.429988")


def test_as_bibtex():
    """An entry for each reference, with braces that are closed."""
    text = bibtex(citations(Used()))
    assert text.count("@misc{") == len(citations(Used()))
    assert text.count("{") == text.count("}")
    assert "doi = {10.21105/joss.04200}," in text


def test_file_for_citing():
    """Of this version, with the paper that a fit names."""
    text = FILE.read_text()
    assert f"\nversion: {__version__}\n" in text
    assert f"doi: {citations(Used())[1].doi}\n" in text
