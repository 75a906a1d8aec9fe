"""Damaged and hostile input: mutants of every format, the ones that killed readers, no code."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import mutate_inputs
import pytest
from conftest import HANG_S, environment

import hpc_diffuser
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.isolated import run_isolated

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


def test_mutants(seeds, tmp_path):
    """A few of them; `python tests/campaigns/mutate_inputs.py` reads two thousand."""
    for i in range(54):
        _, path, read = mutate_inputs.make_mutant(5, i, seeds, tmp_path)
        result, message = mutate_inputs.outcome(read, path, seeds)
        assert result in ("read", "refused"), (i, path, message)


@pytest.mark.slow
def test_campaign_of_mutants():
    """The program that does it finds the same, in processes whose death it notices."""
    command = [
        sys.executable,
        TESTS.parent / "campaigns" / "mutate_inputs.py",
        "--count",
        "54",
        "--seed",
        "5",
    ]
    result = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=HANG_S, check=False
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


# What turns data into code, or may; each is found in its own line.
DANGEROUS = (
    "eval(text)",
    "exec(text)",
    "compile(text, '', 'exec')",
    "__import__(name)",
    "import pickle",
    "from yaml import safe_load",
    "import marshal, shelve",
    "import joblib",
    "np.load(path, allow_pickle=True)",
    "anything.loads(data)",
    "anything.loads_oob(data, buffers)",
    "anything.unsafe_load(data)",
)
# Messages between our own ranks.
KNOWN = {"parallel/communicator.py": {"loads", "loads_oob"}}
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "yaml", "marshal", "shelve", "joblib"}
FUNCTIONS = {"eval", "exec", "compile", "__import__"}
METHODS = {"loads", "loads_oob", "unsafe_load", "full_load", "load_module", "exec_module"}
PLAIN = {"json", "tomllib"}  # whose `loads` makes numbers, text, lists and dictionaries


def dangers(code: str) -> set[str]:
    """Names of what a piece of code uses that could turn data into code."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call):
            found |= {getattr(node.func, "id", "")} & FUNCTIONS
            if getattr(getattr(node.func, "value", None), "id", "") not in PLAIN:
                found |= {getattr(node.func, "attr", "")} & METHODS
            found |= {k.arg for k in node.keywords} & {"allow_pickle"}
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", "")}
            found |= names & MODULES
    return found


@pytest.mark.parametrize("code", DANGEROUS)
def test_what_turns_data_into_code_is_found(code):
    """The search of the next test finds what it looks for."""
    assert len(dangers(code)) >= 1


def test_no_input_is_code():
    """Nothing in the package unpickles, evaluates or executes; nothing loads YAML."""
    package = Path(hpc_diffuser.__file__).parent
    sources = {str(p.relative_to(package)): p.read_text("utf-8") for p in package.rglob("*.py")}
    found = {name: dangers(source) for name, source in sources.items()}
    assert {name: wrong for name, wrong in found.items() if wrong} == KNOWN
