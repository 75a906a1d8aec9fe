"""Damaged and hostile input: mutants of every format, the ones that killed readers, no code."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import mutate_inputs
import pytest
from conftest import environment

import hpc_diffuser
from hpc_diffuser.errors import InputError
from hpc_diffuser.io.isolated import run_isolated

TESTS = Path(__file__).resolve().parent
CRASHERS = sorted(p for p in (TESTS / "crashers").iterdir() if p.suffix != ".md")
KINDS = {kind.lower(): kind for kind in mutate_inputs.FORMATS}


@pytest.fixture(scope="module")
def seeds(tmp_path_factory) -> Path:
    """Whole inputs of every format."""
    folder = tmp_path_factory.mktemp("seeds")
    mutate_inputs.make_seeds(folder)
    return folder


@pytest.mark.parametrize("kind", mutate_inputs.FORMATS)
def test_undamaged_inputs_are_read(seeds, kind):
    """Otherwise it would mean nothing that the damaged ones are refused."""
    name, _, readers = mutate_inputs.FORMATS[kind]
    folder = seeds / kind
    folder.mkdir()
    path = Path(shutil.copy(seeds / name, folder))
    for read in readers:
        assert mutate_inputs.outcome(read, path, seeds) == ("read", "")


def test_mutants():
    """A few of them; `python tests/mutate_inputs.py` reads two thousand."""
    command = [sys.executable, TESTS / "mutate_inputs.py", "--count", "54", "--seed", "5"]
    result = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines()[-1].startswith("54 mutants: ")


@pytest.mark.parametrize("path", CRASHERS, ids=lambda path: path.name)
def test_crashers(seeds, path, monkeypatch):
    """Inputs that crashed, hung or starved a native reader: each is refused in one line."""
    monkeypatch.chdir(seeds)
    _, _, readers = mutate_inputs.FORMATS[KINDS[path.name.split("-")[0]]]
    copy = Path(shutil.copy(path, seeds / f"damaged{path.suffix}"))
    for read in readers:
        result, message = mutate_inputs.outcome(read, copy, seeds)
        assert result == "refused" and "damaged" in message, message


@pytest.mark.parametrize(
    "path", [p for p in CRASHERS if p.suffix in (".xtc", ".trr")], ids=lambda path: path.name
)
def test_crashers_without_the_look_at_headers(seeds, path):
    """What the headers' lengths do not give away ends in the child as well."""
    with pytest.raises(InputError, match=r"^damaged: "):
        run_isolated(mutate_inputs.load_raw, [path, seeds / "protein.pdb"], "damaged")


def test_no_input_is_code():
    """Nothing in the package unpickles, evaluates or executes; nothing loads YAML."""
    for path in Path(hpc_diffuser.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                assert name not in ("eval", "exec", "loads_pickle", "unsafe_load"), path
                assert not any(k.arg == "allow_pickle" for k in node.keywords), path
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert not names & {"pickle", "yaml", "marshal", "shelve", "joblib"}, path
