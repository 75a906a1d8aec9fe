"""Reports of runs that have not finished, of comparisons, and of many runs."""

import json
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest
from report_pages import column, read_csv, read_page, wrong_cells

from hpc_diffuser.fit import refinement
from hpc_diffuser.system import stopping

ERRORS = ("model", "standard error (free)")
pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")


def report(call, folder: Path, *words: str) -> str:
    """What `report` prints, which must succeed."""
    done = call("report", *words, folder=folder)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def several(finished, tmp_path_factory) -> Path:
    """Three runs of which one has stopped before its end, and a folder that is none."""
    folder = tmp_path_factory.mktemp("several")
    for name in ("d1", "d2", "d3"):
        shutil.copytree(finished, folder / name)
    for path in (folder / "d2" / "run").glob("restart_0001*"):
        path.unlink()
    (folder / "d2" / "run" / "summary.json").unlink()
    path = folder / "d3" / "run" / "summary.json"
    summary = json.loads(path.read_text())
    path.write_text(json.dumps(summary | {"cc_free": 0.25, "warnings": ["of d3; do this"]}))
    (folder / "d4" / "run").mkdir(parents=True)
    return folder


def test_inputs_that_are_gone(call, finished, tmp_path, quick_figures):
    """The page says which, and shows what the run itself knows."""
    folder = Path(shutil.copytree(finished, tmp_path / "here"))
    (folder / "target.h5").unlink()
    path = folder / "run" / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({key: manifest[key] for key in manifest if key != "files"}))
    report(call, folder, "run")
    page = read_page(folder / "run" / "report")
    assert any("target.h5: gone" in text for text in page.words)
    quantities = column(folder / "run" / "report" / "tables" / "table-1.csv", "quantity")
    assert "CC_work" in quantities and "space group" not in quantities


def test_stopped_runs(call, project, monkeypatch):
    """Before and after the first restart: how far it is, and what to do, come before all else."""
    write, done = refinement.write_checkpoint, []

    def count(path, history):
        write(path, history)
        done.append(path)
        if len(done) in (2, 6):
            stopping._requested.append(signal.SIGUSR1)

    monkeypatch.setattr(refinement, "write_checkpoint", count)
    for finished in (0, 1):
        assert call("fit", "fit.toml", folder=project).returncode == 75
        stopping._requested.clear()
        text = report(call, project, "run")
        assert ("no restart has finished" in text) == (finished == 0)
        page = read_page(project / "run" / "report")
        assert any(f"{finished} of 2 restarts have finished" in words for words in page.words)
        first = f"not finished: {finished} of 2 restarts; run `hpc-diffuser fit` again."
        assert page.words.count(first) == 1
        assert any("run hpc-diffuser fit again" in words for words in page.words)
        assert not wrong_cells(project / "run" / "report")
    assert call("report", "--text", "none", folder=project).returncode == 65


def test_many_runs(call, several):
    """A line for each, in their order; one that is no run is named, and hides no other."""
    text = report(call, several, "d1/run", "d2/run", "d3/run", "d4/run")
    assert "d4/run: not a run directory" in text and "0.2500" in text
    page = several / "report"
    assert not wrong_cells(page)
    table = page / "tables" / "runs.csv"
    assert column(table, "run") == ["d1/run", "d2/run", "d3/run"]
    assert column(table, "state") == ["finished", "stopped", "finished"]
    assert column(table, "CC_free")[1:] == ["", "0.25"]
    assert column(table, "warnings")[2] == "1"
    assert ["d3/run", "of d3; do this"] in read_csv(page / "tables" / "warnings.csv")
    shown = read_page(page)
    assert any("d4/run cannot be read" in words for words in shown.words)
    warned = len(set(column(page / "tables" / "warnings.csv", "run")))
    assert any(f"{warned} of 3 runs have warnings" in words for words in shown.words)
    names, *lines = read_csv(page / "tables" / "parameters-of-runs.csv")
    assert names == ["run", "mode 1 (Å)", "mode 2 (Å)", "translation (Å)"]
    summary = json.loads((several / "d1" / "run" / "summary.json").read_text())
    assert lines[0][3] == repr(summary["answer"]["translation_sigma_A"])


def test_each_of_many_runs(call, several, tmp_path, quick_figures):
    """With --each the pages of all, to which the table leads; only those that cannot be, not."""
    folder = Path(shutil.copytree(several, tmp_path / "copy"))
    report(call, folder, "d1/run", "d2/run", "--each", "-o", "pages/all")
    links = {found.get("href") for _, found in read_page(folder / "pages" / "all").tags}
    for name in ("d1", "d2"):
        assert f"../../{name}/run/report/index.html" in links
        assert read_page(folder / name / "run" / "report").headings


def test_no_run_at_all(call, several):
    """65, in a line."""
    done = call("report", "d4/run", "d5/run", folder=several)
    assert done.returncode == 65 and len(done.stderr.splitlines()) == 1
    done = call("report", "d1/run", "d3/run", "--png", "cc.png", folder=several)
    assert done.returncode == 65 and "report d1/run --png cc.png" in done.stderr


@pytest.fixture(scope="module")
def compared(program, inputs, tmp_path_factory) -> Path:
    """A project with a finished comparison of two models; to be read only."""
    folder = Path(shutil.copytree(inputs, tmp_path_factory.mktemp("compared") / "project"))
    done = program("fit", "fit.toml", "--models", "rbt,rbt+int", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_comparison(call, compared, tmp_path):
    """Of two models: scores, parameters and shells are those of models.json."""
    project = Path(shutil.copytree(compared, tmp_path / "here"))
    report(call, project, "run")
    folder = project / "run" / "report"
    assert not wrong_cells(folder)
    found = json.loads((project / "run" / "models.json").read_text())
    assert column(folder / "tables" / "models.csv", "model") == ["rbt", "rbt+int"]
    scores = [repr(model["cc_free"]) for model in found["models"]]
    assert column(folder / "tables" / "models.csv", "CC_free") == scores
    shells = [repr(shell["cc"]["rbt+int"]) for shell in found["shells"]]
    assert column(folder / "tables" / "shells-of-models.csv", "CC_work rbt+int") == shells
    parameters = column(folder / "tables" / "parameters-of-models.csv", "rbt")
    assert repr(found["models"][0]["answer"]["translation_sigma_A"]) in parameters
    page = read_page(folder)
    best, other = sorted(found["models"], key=lambda model: -model["cc_free"])
    path = folder / "tables" / "cc-free-of-models.csv"
    assert column(path, "model") == [other["name"]]
    assert column(path, "CC_free is lower by") == [repr(best["cc_free"] - other["cc_free"])]
    error = float(column(path, "standard error")[0])
    apart = best["cc_free"] - other["cc_free"] >= 2 * error
    assert column(path, "distinguishable") == ["yes" if apart else "no"]
    said = next(words for words in page.words if words.startswith("CC_free is highest for"))
    assert best["name"] in said and ("not distinguishable" in said) != apart
    assert not any("SHA-256 are in Table 1" in words for words in page.words)
    shared = column(folder / "tables" / "table-1.csv", "quantity")
    own = column(folder / "tables" / "table-1-models.csv", "quantity")
    assert "space group" in shared and "CC_work" in own and not set(shared) & set(own)
    for name in ("rbt", "rbt+int"):
        of_own = dict(zip(own, column(folder / "tables" / "table-1-models.csv", name), strict=True))
        of_all = dict(
            zip(*map(partial(column, folder / "tables" / "cc-of-models.csv"), ERRORS), strict=True)
        )
        assert of_own["CC_free, standard error"] == of_all[name]


def test_each_of_a_comparison(call, compared, tmp_path, quick_figures):
    """With --each, its page leads to those of its models; without models.json, it is many runs."""
    project = Path(shutil.copytree(compared, tmp_path / "here"))
    report(call, project, "run", "--each")
    folder = project / "run" / "report"
    assert "../rbt/report/index.html" in {tag.get("href") for _, tag in read_page(folder).tags}
    assert read_page(project / "run" / "rbt" / "report").headings
    (project / "run" / "models.json").unlink()
    assert "run/rbt+int" in report(call, project, "run")
    assert column(folder / "tables" / "runs.csv", "run") == ["run/rbt", "run/rbt+int"]
