"""The layers of the program: dependencies point one way, each library has one home."""

import ast
import os
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "hpc_diffuser"

# Bottom first: a module may import from the rooms before its own, and from its own without a cycle.
ROOMS = (
    "system",
    "kernels",
    "crystal",
    "parallel",
    "motion",
    "maps",
    "scattering",
    "io",
    "fit",
    "interface",
    "plots",
    "report",
    "commands",
)
PHYSICS = ("crystal", "motion", "maps", "scattering")

# Library → the modules, or folders, that may import it.
HOMES = {
    "mpi4py": ("parallel.mpi",),
    "skopt": ("fit.search.bayesian",),
    "matplotlib": ("plots",),
    "PIL": ("plots.moving",),
    "jinja2": ("report.page",),
    "mdtraj": ("io.trajectories.native",),
    "h5py": ("io", "fit.run"),
    "numba": ("kernels",),
    "tqdm": ("system.progress",),
    "pickle": (),
}


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name inside it."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)
        found[name] = path
    return found


@cache
def parsed(module: str) -> ast.Module:
    """Its tree; only the process that tests it makes one."""
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


@cache
def imports(module: str) -> set[str]:
    """Absolute dotted names that a module imports anywhere, also inside functions."""
    names = set()
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@cache
def internal_imports(module: str) -> set[str]:
    """The package's own modules among the imports."""
    found = set()
    for name in imports(module):
        parts = name.split(".")
        if parts[0] != "hpc_diffuser":
            continue
        inside = ".".join(parts[1:])
        while inside and inside not in MODULES:
            inside = inside.rpartition(".")[0]
        found.add(inside or "__init__")
    return found


def room(module: str) -> str:
    """The room that a module lies in: the first word of its name."""
    return module.split(".")[0]


MODULES = modules()
ENTRANCE = {"__init__", "__main__"}


def test_rooms_are_the_table_of_contents():
    """The package's top: the rooms, what it hands out, `python -m`, and its types."""
    found = {p.name for p in PACKAGE.iterdir() if p.name != "__pycache__"}
    assert found == {*ROOMS, "__init__.py", "__init__.pyi", "__main__.py", "py.typed"}


@pytest.mark.parametrize("module", sorted(set(MODULES) - ENTRANCE))
def test_dependencies_point_down(module):
    """No module imports from a room above its own."""
    allowed = {*ROOMS[: ROOMS.index(room(module)) + 1], "__init__"}
    above = {o for o in internal_imports(module) if room(o) not in allowed}
    assert not above, f"{module} imports from rooms above its own"


def test_no_import_cycles():
    """The graph of imports can be sorted: modules without unsorted imports come out first."""
    graph = {m: internal_imports(m) - {m} for m in MODULES}
    sorted_modules: set[str] = set()
    while len(sorted_modules) < len(graph):
        ready = {m for m, needs in graph.items() if needs <= sorted_modules} - sorted_modules
        assert ready, f"a cycle among {sorted(set(graph) - sorted_modules)}"
        sorted_modules |= ready


@pytest.mark.parametrize("library", HOMES)
def test_libraries_have_one_home(library):
    """A library that the program wraps is imported in one place only."""
    users = {m for m in MODULES if any(n.split(".")[0] == library for n in imports(m))}
    strangers = {
        u for u in users if not any(u == h or u.startswith(f"{h}.") for h in HOMES[library])
    }
    assert not strangers and bool(users) == bool(HOMES[library])


def reached(module: str) -> set[str]:
    """All modules that are loaded with one, itself included."""
    found, new = set(), {module}
    while new:
        found |= new
        new = {n for m in new for n in internal_imports(m)} - found
    return found


# In the physics these share work among the ranks that they are given, and no others know of ranks.
WITH_RANKS = {
    "scattering.crystal_liquid",
    "scattering.lattice",
    "scattering.lattice_samples",
    "scattering.lattice_transforms",
    "scattering.mates",
    "scattering.model",
    "scattering.models",
    "scattering.interpolated",
    "scattering.molecule",
    "scattering.moment_slopes",
    "scattering.dealing",
    "scattering.moments",
    "scattering.volume",
}


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) in PHYSICS])
def test_physics_knows_no_ranks(module):
    """Neither itself nor by what it imports; the model is given its ranks."""
    ranks = {m for m in reached(module) if room(m) == "parallel"}
    assert not ranks or WITH_RANKS & reached(module)
    own = {m for m in internal_imports(module) if room(m) == "parallel"}
    assert bool(own) == (module in WITH_RANKS)


# Modules below the room of files → what they know of files nevertheless.
FILES_BELOW = {
    "kernels.cache": {"pathlib", "tempfile"},
    "parallel.shared_memory": {"tempfile"},
}


def test_arrays_in_arrays_out():
    """Files are read and written above the physics: no HDF5, no JSON, no paths below."""
    kinds = {"h5py", "json", "pathlib", "tempfile"}
    below = {*ROOMS[1 : ROOMS.index("io")]}
    known = {m: {n.split(".")[0] for n in imports(m)} & kinds for m in MODULES}
    assert {m: found for m, found in known.items() if found and room(m) in below} == FILES_BELOW


def test_command_line_loads_nothing_heavy():
    """Thread counts and signal handlers come first: importing `commands.main` must not load numpy.

    With numpy loaded before OPENBLAS_NUM_THREADS is set, BLAS has a thread for each core on
    every rank.
    """
    code = "import sys, hpc_diffuser.commands.main; print(sorted(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert not {"numpy", "numba", "mpi4py", "h5py", "scipy"} & set(ast.literal_eval(result.stdout))


@pytest.mark.parametrize("words", [("status",), ("report", "--text")])
def test_looking_at_a_run_changes_nothing(finished, words):
    """No kernels, whose cache is written when they are loaded; no file opened to be written.

    A descriptor is that of a pipe: files of the inputs are read in a process of their own.
    """
    code = (
        "import sys\n"
        "written = []\n"
        "def note(event, details):\n"
        "    if event == 'open' and isinstance(details[2], int) and details[2] & 3 "
        "and not isinstance(details[0], int):\n"
        "        written.append(str(details[0]))\n"
        "sys.addaudithook(note)\n"
        "import atexit, hpc_diffuser.commands.main\n"
        "atexit.register(lambda: print([written, sorted(sys.modules)]))\n"
        f"hpc_diffuser.commands.main.main({[*words, 'run']!r})"
    )
    program = [sys.executable, "-B", "-c", code]
    result = subprocess.run(program, cwd=finished, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    written, loaded = ast.literal_eval(result.stdout.splitlines()[-1])
    assert set(written) <= {os.devnull}
    assert not {"numba", "mpi4py", "skopt", "matplotlib"} & set(loaded)


def test_blas_is_on_one_thread(tmp_path):
    """In a running command every BLAS has one thread, whatever the environment asked for."""
    code = (
        "import atexit, threadpoolctl\n"
        "atexit.register(lambda: print([p['num_threads'] for p in "
        "threadpoolctl.threadpool_info() if p['user_api'] == 'blas']))\n"
        "from hpc_diffuser.commands.main import main\n"
        f"main(['modes', '--reference', {str(tmp_path / 'a.pdb')!r}])"
    )
    structure = "\n".join(
        f"ATOM  {i:5d}  CA  ALA A{i:4d}    {i * 2.0:8.3f}{i % 3:8.3f}{i % 2:8.3f}  1.00 10.00"
        f"           C"
        for i in range(1, 9)
    )
    cell = "CRYST1   20.000   20.000   20.000  90.00  90.00  90.00 P 1"
    (tmp_path / "a.pdb").write_text(f"{cell}\n{structure}\nEND\n")
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"},
    )
    assert result.returncode == 0, result.stderr
    threads = ast.literal_eval(result.stdout.splitlines()[-1])
    assert threads and set(threads) == {1}


def test_only_the_streams_print():
    """What is said goes through `say` or `log`, which know of full disks and readers that left."""
    printing = {
        module
        for module in MODULES
        for node in ast.walk(parsed(module))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    }
    assert printing == {"system.streams"}


def test_every_test_file_has_a_name_of_its_own():
    """pytest cannot collect two files of one name."""
    names = [path.name for path in PACKAGE.parent.glob("tests/**/test_*.py")]
    assert sorted(set(names)) == sorted(names)


def test_modules_without_strict_types_become_fewer():
    """What mypy does not look at is old: a new module is strict."""
    text = (PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8")
    overrides = tomllib.loads(text)["tool"]["mypy"]["overrides"]
    ignored = [name for row in overrides if row.get("ignore_errors") for name in row["module"]]
    assert len(ignored) == len(set(ignored)) <= 31
    for name in ignored:
        path = PACKAGE.parent / name.replace(".", "/")
        assert path.with_suffix(".py").exists() or path.is_dir(), name
