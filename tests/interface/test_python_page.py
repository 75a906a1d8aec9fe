"""docs/python.md and the notebook beside it: every line of Python in them runs."""

import json
import re
import shutil
from pathlib import Path

import pytest
from matplotlib import pyplot

import hpc_diffuser as hd

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
PAGE, NOTEBOOK = DOCS / "python.md", DOCS / "example.ipynb"
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.M | re.S)


@pytest.fixture(autouse=True)
def no_screen():
    """Figures are drawn to memory, and none is left open."""
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")


def cells() -> list[dict]:
    """Of the notebook, those of code."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_every_example_of_the_page(finished, call, tmp_path, edit, monkeypatch):
    """In their order, in a folder with a run, a comparison, and their files."""
    project = Path(shutil.copytree(finished, tmp_path / "project"))
    shutil.copy(project / "fit.toml", project / "models.toml")
    edit(project / "models.toml", 'directory = "run"', 'directory = "comparison"')
    words = ("fit", "models.toml", "--models", "rbt,rbt+int")
    assert call(*words, folder=project).returncode == 0
    monkeypatch.chdir(project)
    names: dict = {}
    blocks = _BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) > 8
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert names["found"].cc_work > 0.9 and names["run"].state == "finished"
    assert (project / "fit.pdf").read_bytes()[:4] == b"%PDF"


def test_the_page_tells_of_every_name():
    """But for what is only returned, or raised as a matter of course."""
    text = PAGE.read_text(encoding="utf-8")
    untold = {name for name in hd.__all__ if name not in text} - {"__version__", "StorageError"}
    assert untold <= {"Run", "Comparison", "Restart", "CrystalStructure", "write_example"}


def test_the_notebook_was_run_to_its_end():
    """Every cell, in order, without an error; its figures are kept in it."""
    found = cells()
    assert [cell["execution_count"] for cell in found] == [*range(1, len(found) + 1)]
    outputs = [output for cell in found for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 5


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch):
    """Plain Python, cell by cell: what a kernel would do, without its packages."""
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for cell in cells():
        exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert names["run"].state == "finished" and names["outcome"].cc_free > 0.9
    # Internal motions explain more than translation alone, at whatever amplitude.
    assert names["restart"].cc_free > max(names["cc"]) and names["found"].cc_free > 0.99
