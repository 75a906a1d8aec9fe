"""The page of a report: valid, self-contained, its numbers those of its files."""

import itertools
import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from report_pages import column, read_csv, read_page, unfounded_numbers, wrong_cells

from hpc_diffuser.plots.files import KINDS, figure_bytes
from hpc_diffuser.report.page import Heading, write_page
from hpc_diffuser.report.section import (
    Animation,
    Column,
    Contents,
    Figure,
    Rounded,
    Section,
    Table,
)
from hpc_diffuser.report.table_text import table_shown
from hpc_diffuser.system.errors import InputError, StorageError

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
HEADING = Heading(title="A <title>", subtitle="and what it is of")
GIF = b"GIF89a\x01\x00\x01\x00\x00\x00\x00;"


def drawn():
    """A figure with a line."""
    from matplotlib.figure import Figure as Drawn

    figure = Drawn()
    figure.subplots().plot([1, 2], [3, 5], label="rising")
    return figure


def everything(subject: str) -> Contents:
    """A section with a piece of every kind."""
    figure = Figure(name="rise", caption="3 < 5", alternative='from 3 to "5"', draw=drawn)
    moving = Animation(name="turn", caption="Turns.", alternative="it turns", frames=lambda: GIF)
    numbers = Table(
        name="numbers",
        caption="Of all kinds.",
        columns=(Column(name="what"), Column(name="size (Å)", digits=2), Column(name="n")),
        rows=(
            ("a", 1.23456, 7),
            ("b & c", None, Rounded(1e-5 / 3, 7)),
            ("d", -0.001, ""),
            ("e", float("nan"), 12345678.9),
        ),
        most_rows=3,
        links={"a": "https://doi.org/10.1/a"},
    )
    grouped = Table(
        name="grouped",
        caption="In groups.",
        columns=(Column(name="part"), Column(name="what"), Column(name="value")),
        rows=(("one", "x", 1), ("one", "y", 2), ("two", "z", 3)),
        grouped=True,
    )
    return Contents(
        words=(f"Of {subject}.",),
        items=("first", "second"),
        code=("hpc-diffuser fit\nhpc-diffuser report run",),
        figures=(figure,),
        animations=(moving,),
        tables=(numbers, grouped),
    )


def refuses(subject: str) -> Contents:
    """A section whose files are gone."""
    raise InputError("target.h5: gone")


SECTIONS = (
    Section("all", "Everything", everything),
    Section("nothing", "Nothing", lambda subject: None),
    Section("gone", "Gone", refuses),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The folder of a page with a piece of every kind."""
    return write_page(tmp_path_factory.mktemp("made") / "report", HEADING, "it", SECTIONS).parent


@pytest.fixture(scope="module")
def reported(program, finished, tmp_path_factory) -> Path:
    """A project with a finished run, and its page as the command wrote it; to be read only."""
    folder = Path(shutil.copytree(finished, tmp_path_factory.mktemp("page") / "project"))
    done = program("report", "run", folder=folder)
    assert done.returncode == 0 and not done.stderr, done.stderr
    (folder / "said.txt").write_text(done.stdout)
    return folder


@pytest.fixture
def of_a_run(reported) -> Path:
    """The folder of the page of a finished fit."""
    return reported / "run" / "report"


@pytest.fixture(params=["made", "of_a_run"])
def folder(request) -> Path:
    """Each of the two."""
    return request.getfixturevalue(request.param)


def test_pieces(made):
    """Every kind is there, as files and in the page; a section without contents is not."""
    files = {str(p.relative_to(made)) for p in made.rglob("*") if p.is_file()}
    figures = {f"figures/{name}" for name in ("rise.svg", "rise.pdf", "rise.png", "turn.gif")}
    assert files == {"index.html", "tables/numbers.csv", "tables/grouped.csv", *figures}
    page = read_page(made)
    assert page.headings == [(1, "A <title>"), (2, "Everything"), (2, "Gone")]
    assert "Of it." in page.words and "first" in page.words
    assert "Not shown: target.h5: gone" in page.words
    alternatives = [found["alt"] for tag, found in page.tags if tag == "img"]
    assert alternatives == ['from 3 to "5"', "it turns"]


def test_table_cells(made):
    """Rounded by the column or the cell; not known is a dash, not applicable nothing."""
    page = read_page(made)
    assert page.tables["numbers"] == [
        ["what", "size (Å)", "n"],
        ["a", "1.23", "7"],
        ["b & c", "–", "0.0000033"],
        ["d", "0.00", ""],
    ]
    assert page.tables["grouped"] == [["what", "value"], ["x", "1"], ["y", "2"], ["z", "3"]]
    assert page.groups["grouped"] == ["", "one", "one", "two"]
    assert read_csv(made / "tables" / "numbers.csv")[1:] == [
        ["a", "1.23456", "7"],
        ["b & c", "", repr(1e-5 / 3)],
        ["d", "-0.001", ""],
        ["e", "", "12345678.9"],
    ]
    assert any(found.get("href") == "https://doi.org/10.1/a" for _, found in page.tags)


def test_an_error_is_never_shown_as_0():
    """Two digits of what the column's would hide; 0 itself is 0, and other columns round."""
    columns = (Column(name="value", digits=3), Column(name="standard error", digits=3))
    rows = ((0.0001, 0.000123), (0.5, 0.0), (0.5, 0.0123))
    found = table_shown(Table(name="a", caption="", columns=columns, rows=rows))
    cells = [[cell["text"] for cell in row] for row in found["groups"][0]["rows"]]
    assert cells == [["0.000", "0.00012"], ["0.500", "0.000"], ["0.500", "0.012"]]


def test_page_is_valid(folder):
    """Tags closed, names unique, no script, nothing loaded; every figure has words for it."""
    page = read_page(folder)
    assert len(page.ids) == len(set(page.ids))
    assert not {"script", "iframe", "object", "link"} & {tag for tag, _ in page.tags}
    for tag, found in page.tags:
        assert found.get("src", "data:image/").startswith("data:image/"), tag
        assert not any(name.startswith("on") for name in found)
        if tag == "img":
            assert found["alt"]
        if found.get("href", "").startswith("#"):
            assert found["href"][1:] in page.ids
        elif "href" in found and not found["href"].startswith("https://doi.org/"):
            assert (folder / found["href"]).exists()
    style = re.search("<style>(.*?)</style>", (folder / "index.html").read_text(), re.S)[1]
    assert "url(" not in style and "@import" not in style


def test_headings_in_order(folder):
    """One title; no level is skipped."""
    levels = [level for level, _ in read_page(folder).headings]
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))


def test_numbers_are_those_of_the_files(folder):
    """Every cell of every table is that of the CSV, rounded."""
    assert not wrong_cells(folder)


def test_numbers_in_words(of_a_run, finished):
    """They are those of the summary and of the CSVs, rounded."""
    run = finished / "run"
    assert not unfounded_numbers(of_a_run, run / "summary.json", run / "manifest.json")


def test_two_pages_are_the_same(made, contents, tmp_path):
    """To the byte, figures too; the second takes the place of the first."""
    before = contents(made)
    write_page(tmp_path / "report", HEADING, "it", SECTIONS)
    assert contents(tmp_path / "report") == before
    write_page(tmp_path / "report", HEADING, "another", SECTIONS[:1])
    assert "Of another." in read_page(tmp_path / "report").words
    assert os.listdir(tmp_path) == ["report"]


def test_one_name_twice(tmp_path):
    """Of a figure or table: a mistake of ours, and nothing is left of the attempt."""
    twice = (SECTIONS[0], Section("again", "Again", everything))
    with pytest.raises(ValueError, match=r"figures/rise\.svg"):
        write_page(tmp_path / "report", HEADING, "it", twice)
    assert os.listdir(tmp_path) == []


def test_only_a_report_is_replaced(tmp_path, contents):
    """A folder that holds anything else stays as it is."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years")
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"mine: not a report's folder.*thesis\.tex"):
        write_page(tmp_path / "mine", HEADING, "it", SECTIONS)
    with pytest.raises(InputError, match=r"thesis\.tex: not a report's folder"):
        write_page(tmp_path / "mine" / "thesis.tex", HEADING, "it", SECTIONS)
    assert contents(tmp_path) == before


def test_failing_storage(tmp_path, contents, monkeypatch):
    """The page that was there is untouched, and nothing else is left."""
    write_page(tmp_path / "report", HEADING, "it", SECTIONS)
    before = contents(tmp_path)

    def fail(path, *_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(StorageError, match="No space left"):
        write_page(tmp_path / "report", HEADING, "it", SECTIONS)
    assert contents(tmp_path) == before


def test_command(call, finished, reported, tmp_path, contents, quick_figures):
    """The text, and the page in the run directory, or the same to the byte where --output says.

    But for the figures' own bytes, which `test_figures_are_the_same_to_the_byte` compares.
    """
    folder = Path(shutil.copytree(finished, tmp_path / "project"))
    before = contents(folder)
    text = call("report", "--text", "run", folder=folder).stdout
    assert contents(folder) == before
    told = (reported / "said.txt").read_text()
    assert told.startswith(text) and "run/report/index.html" in told
    assert before.items() <= contents(reported).items()
    done = call("report", "run", "-o", "page", folder=folder)
    assert done.returncode == 0 and done.stdout.startswith(text)
    assert not (folder / "run" / "report").exists()
    found, whole = contents(folder / "page"), contents(reported / "run" / "report")
    assert call("report", "run", folder=folder).returncode == 0
    assert contents(folder / "run" / "report") == found
    assert set(found) == set(whole)
    assert {name for name in found if found[name] != whole[name]} <= figures_of(whole)


def figures_of(page: dict[str, bytes]) -> set[str]:
    """The page itself, which holds them, and their files."""
    return {name for name in page if name.endswith((".html", ".png", ".svg", ".pdf"))}


@pytest.mark.parametrize("kind", KINDS)
def test_figures_are_the_same_to_the_byte(kind):
    """Drawn twice: nothing in a file tells when it was made."""
    assert len({figure_bytes(drawn(), kind) for _ in range(2)}) == 1


def test_unwritable_folder(call, finished, tmp_path):
    """The text is printed all the same; an error only where the page was asked for there."""
    folder = Path(shutil.copytree(finished, tmp_path / "here"))
    (folder / "run" / "report").write_text("in the way")
    text = call("report", "--text", "run", folder=folder).stdout
    done = call("report", "run", folder=folder)
    assert (done.returncode, done.stdout) == (0, text)
    assert done.stderr.startswith("no page: run/report")
    done = call("report", "run", "-o", "run/report/page", folder=folder)
    assert done.returncode == 74 and done.stdout == text


def test_without_the_libraries(call, finished, tmp_path, monkeypatch):
    """Said so, with what to install; the text needs none of them."""
    folder = Path(shutil.copytree(finished, tmp_path / "here"))
    monkeypatch.setitem(sys.modules, "jinja2", None)
    done = call("report", "run", folder=folder)
    assert done.returncode == 0 and "restarts finished" in done.stdout
    assert "pip install hpc-diffuser[report]" in done.stderr
    assert not (folder / "run" / "report").exists()
    assert call("report", "run", "-o", "page", folder=folder).returncode == 65


def test_table_one(reported):
    """Crystal, data, parameters, scores and hashes are those of the run's files."""
    path = reported / "run" / "report" / "tables" / "table-1.csv"
    quantities = column(path, "quantity")
    values = dict(zip(quantities, column(path, "value"), strict=True))
    summary = json.loads((reported / "run" / "summary.json").read_text())
    manifest = json.loads((reported / "run" / "manifest.json").read_text())
    assert values["space group"] == "P 1" and values["a, b, c (Å)"] == "14, 15, 16"
    assert values["resolution (Å)"] == "6.00-2.50" and values["atoms"] == "12"
    assert values["mode 1 (Å)"] == repr(summary["answer"]["mode_amplitude_A"][0])
    assert values["CC_free"] == repr(summary["cc_free"])
    assert values["SHA-256 of target.file"] == manifest["inputs"]["target.file"]
    sets = [
        sum(shell[f"voxels_{kind}"] for shell in summary["shells"]) for kind in ("work", "free")
    ]
    assert values["voxels compared, one of each set of Laue mates"] == str(sum(sets))
    told = [values[f"of these in the {kind} set"] for kind in ("working", "free")]
    assert told == list(map(str, sets))
    assert "mean over the shells" in values["CC_work and CC_free are"]
    scatter = dict(zip(quantities, column(path, "scatter of restarts"), strict=True))
    assert scatter["mode 1 (Å)"] == repr(summary["spread"]["mode_amplitude_A"][0])
    assert scatter["uncorrelated (Å)"] == "held"
    errors = dict(zip(quantities, column(path, "standard error"), strict=True))
    known = summary["intervals"]["standard_errors"][summary["refined"].index("mode 1")]
    cc = path.with_name("cc.csv")
    of_scores = dict(zip(column(cc, "score"), column(cc, "standard error"), strict=True))
    assert of_scores and all(errors[name] == error for name, error in of_scores.items())
    assert errors["mode 1 (Å)"] == ("" if known is None else repr(known))


def test_how_to_cite(reported):
    """The references of what was used, with links to them, and as BibTeX."""
    path = reported / "run" / "report" / "tables" / "references.csv"
    dois = [doi for doi in column(path, "DOI") if doi]
    assert "10.1101/2021.02.11.429988" in dois and column(path, "what")[0] == "program"
    page = (reported / "run" / "report" / "index.html").read_text()
    assert all(f'href="https://doi.org/{doi}"' in page for doi in dois)
    assert "@misc{mazumder2021" in page
