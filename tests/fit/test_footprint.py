"""Predicted memory, against what fits really needed."""

import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from launching import launch, mpirun

from hpc_diffuser.commands.examples.four_helices import UNIT_CELL, example_modes
from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.crystal.symmetry import grid_operations, unique_indices
from hpc_diffuser.fit import compilation
from hpc_diffuser.fit import footprint as module
from hpc_diffuser.fit.compilation import (
    compile_kernels,
    kernel_cache_folder,
    kernels_compiled,
)
from hpc_diffuser.fit.config import ParametersConfig, load_config
from hpc_diffuser.fit.footprint import (
    Footprint,
    Node,
    memory_text,
    peak_MB,
    predict,
    refusal,
    require_memory,
)
from hpc_diffuser.fit.phases import measured_sizes, shares_of_group
from hpc_diffuser.fit.problem import Problem, compare, load_problem
from hpc_diffuser.fit.space import search_space
from hpc_diffuser.io.maps.native import write_target
from hpc_diffuser.io.modes_file import write_modes
from hpc_diffuser.io.structures.files import pdb_bytes
from hpc_diffuser.kernels import direct_sum
from hpc_diffuser.maps.target import Target
from hpc_diffuser.motion.ensemble import ensemble_points, n_configurations
from hpc_diffuser.motion.random_numbers import generator
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.memory import MB, Limit

CONFIG = """
[structure]
modes = "modes.h5"
[target]
file = "target.h5"
[parameters]
mode_amplitude_A = [0.0, 0.6]
translation_sigma_A = 0.4
[model]
samples = 8
final_samples = 8
grid = "GRID"
[search]
restarts = 2
evaluations = 3
initial_points = 2
[run]
groups = 1
"""
# Tells what each rank has needed, when it ends: after the last file was written.
TELLING = (
    "import atexit\n"
    "from hpc_diffuser.system.memory import peak_memory_MB\n"
    "from hpc_diffuser.parallel.communicator import started\n"
    "atexit.register(lambda: print(f'\\npeak {started().rank} {peak_memory_MB():.1f}\\n'))\n"
    "from hpc_diffuser.commands.main import main; main(['fit', 'fit.toml'])"
)


def write_project(
    folder: Path,
    oversampling: int,
    d_min: float,
    grid: str,
    unit_cell: tuple[float, ...] = UNIT_CELL,
    space_group: str = "P 1",
) -> Problem:
    """The example's protein and a target of random numbers in a folder; its fit's problem."""
    modes = replace(example_modes(), unit_cell=unit_cell, space_group=space_group)
    lattice = grid_to_resolution(unit_cell, (oversampling,) * 3, d_min)
    operations = grid_operations(lattice, space_group)
    indices = unique_indices(lattice, 3 * d_min, d_min, operations)
    rng = np.random.default_rng(4)
    target = Target(
        grid=lattice,
        indices=indices,
        intensity=rng.uniform(1, 2, len(indices)).astype(np.float32),
        errors=None,
        free=rng.uniform(size=len(indices)) < 0.1,
        shell_edges=np.linspace(1 / (3 * d_min), 1 / d_min, 6),
        space_group=space_group,
    )
    write_modes(folder / "modes.h5", modes, {})
    write_target(folder / "target.h5", target, {})
    (folder / "fit.toml").write_text(CONFIG.replace("GRID", grid))
    return load_problem(load_config(folder / "fit.toml"))


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory) -> None:
    """Kernels are in the cache: the compiler's memory would be foreseen, and not be needed."""
    folder = tmp_path_factory.mktemp("compiled")
    compile_kernels(write_project(folder, 2, 4.0, "target"))


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> tuple[Path, Problem]:
    """Two million voxels, interpolated from a coarse grid."""
    folder = tmp_path_factory.mktemp("interpolated")
    return folder, write_project(folder, 7, 2.0, "band-limited")


def peaks(result: subprocess.CompletedProcess) -> list[float]:
    """What the ranks have told, in their order."""
    assert result.returncode == 0, result.stderr
    found = re.findall(r"peak (\d+) ([\d.]+)", result.stdout)
    return [float(peak) for _, peak in sorted(found, key=lambda pair: int(pair[0]))]


def assert_predicted(predicted: Footprint, measured: list[float]) -> None:
    """Never less than was needed, and at most 30 % more."""
    assert len(measured) == len(predicted.private)
    for rank, peak in enumerate(measured):
        assert 1.0 <= predicted.of_rank(rank) / peak <= 1.3, (predicted, measured)


@pytest.mark.slow
def test_prediction_on_one_rank(project):
    """The kernel's high-water mark of a whole fit, of two million voxels."""
    folder, problem = project
    predicted = predict(problem, 1)
    assert len(problem.target.indices) > 1.5e6
    assert_predicted(predicted, peaks(launch(1, folder=folder, code=TELLING)))


@pytest.mark.slow
def test_prediction_on_two_ranks(project):
    """Rank 0 reads and writes; both hold half the model, and the target in common."""
    folder, problem = project
    (folder / "fit.toml").write_text(CONFIG.replace("GRID", "band-limited") + 'directory = "two"')
    predicted = predict(problem, 2)
    assert predicted.private[0] > predicted.private[1]
    assert_predicted(predicted, peaks(launch(2, folder=folder, code=TELLING)))


@pytest.mark.slow
def test_prediction_of_a_symmetric_crystal_with_liquid_motion(tmp_path):
    """Mates are computed too, and every rank has the Patterson function: as above, two ranks."""
    write_project(tmp_path, 4, 2.2, "auto", (44.0, 44.0, 48.0, 90.0, 90.0, 90.0), "P 43 21 2")
    config = (tmp_path / "fit.toml").read_text()
    config = config.replace("[model]", "llm_sigma_A = [0.1, 0.4]\nllm_gamma_A = 8\n[model]")
    (tmp_path / "fit.toml").write_text(config)
    problem = load_problem(load_config(tmp_path / "fit.toml"))
    assert measured_sizes(problem).mates == 8
    predicted = predict(problem, 2)
    assert_predicted(predicted, peaks(launch(2, folder=tmp_path, code=TELLING)))


TETRAGONAL = (44.0, 44.0, 48.0, 90.0, 90.0, 90.0)
SPRINGS = "[lattice]\ncontact_A = 10\n[model]"
STEPS = '[search]\nmethod = "least-squares"'
ONCE = {"restarts = 2": "restarts = 1", "evaluations = 3": "evaluations = 2"}
FRAMES = 'ensemble = "frames.pdb"\nweights = "refine"\n[crystal]\nspace_group = "P 1"'
# Sampling, resolution, crystal, and what the config has in place of what; on how many ranks.
COUPLED = {
    "halos of the cell": (
        (4, 2.2, "P 43 21 2"),
        {"[model]": 'halo_sigma_A = [0.1, 0.4]\nhalo_gamma_A = 30\n[model]\nhalos = "cell"'},
        (1, 2),
    ),
    "frames": (
        (4, 2.7, "P 1"),
        {
            'modes = "modes.h5"': FRAMES,
            "mode_amplitude_A = [0.0, 0.6]\n": "",
            "translation_sigma_A = 0.4": "lattice_spring_A = [1.5, 4.0]",
            "[model]": "[prior]\nweights = 1e-3\n" + SPRINGS,
            "[search]": STEPS,
        },
        (1, 2),
    ),
    "shapes": (
        (4, 2.7, "P 1"),
        {
            "[0.0, 0.6]": "0.3",
            "translation_sigma_A = 0.4": "lattice_spring_A = 3.0\nlattice_shape = [-2, 2]",
            "[model]": SPRINGS,
            "[search]": STEPS,
        },
        (1,),
    ),
    "tables": (
        (16, 9.0, "P 43 21 2"),
        {"translation_sigma_A = 0.4": "lattice_spring_A = [1.5, 4.0]", "[model]": SPRINGS},
        (1,),
    ),
}


def write_coupled(folder: Path, name: str) -> Problem:
    """One of `COUPLED` in a folder; its fit's problem."""
    (oversampling, d_min, group), changes, _ = COUPLED[name]
    cell = UNIT_CELL if group == "P 1" else TETRAGONAL
    write_frames(folder, write_project(folder, oversampling, d_min, "auto", cell, group), 30)
    text = (folder / "fit.toml").read_text()
    for old, new in {**changes, **ONCE}.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "fit.toml").write_text(text)
    return load_problem(load_config(folder / "fit.toml"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "n_ranks"), [(name, n) for name, case in COUPLED.items() for n in case[2]]
)
def test_prediction_of_molecules_that_are_coupled(tmp_path, name, n_ranks):
    """By halos of the cell; by springs, with frames that are weighed, with shapes, at many k."""
    problem = write_coupled(tmp_path, name)
    compile_kernels(problem)
    predicted = predict(problem, n_ranks)
    assert_predicted(predicted, peaks(launch(n_ranks, folder=tmp_path, code=TELLING)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["halos of the cell", "frames"])
def test_prediction_with_nothing_compiled(tmp_path, monkeypatch, name):
    """Rank 0 compiles what all of them need, and keeps the compiler's memory; the other loads it.

    Where kernels of springs were left for each rank to compile, each had 200 MB more; and the
    forecast had 180 MB for a compiler that keeps 350 to 600.
    """
    problem = write_coupled(tmp_path, name)
    predicted = predict(problem, 2)
    monkeypatch.setattr(compilation, "_cached", lambda kernel: False)
    cold = predict(problem, 2)
    assert cold.private[1] == predicted.private[1]
    assert cold.private[0] >= predicted.private[0] + 400
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("NUMBA_DEBUG_CACHE", "1")
    done = launch(2, folder=tmp_path, code=TELLING)
    assert_predicted(cold, peaks(done))
    saved = Counter(re.findall(r"data saved to '(.*?)'", done.stdout))
    assert len(saved) > 40
    assert set(saved.values()) == {1}, [name for name, n in saved.items() if n > 1]


def write_frames(folder: Path, problem: Problem, n_frames: int) -> None:
    """Random ones, about the mean structure."""
    modes, path = problem.modes, folder / "frames.pdb"
    shape = (n_frames, len(modes.structure), 3)
    away = np.random.default_rng(2).normal(scale=0.3, size=shape)
    frames = np.round(modes.structure.positions + away, 3)
    crystal = modes.unit_cell, modes.space_group
    path.write_bytes(pdb_bytes(path, modes.structure, crystal, frames=frames))


def test_prediction_without_interpolation(tmp_path):
    """The same where all of the target's voxels are computed themselves."""
    problem = write_project(tmp_path, 4, 2.2, "target")
    assert not measured_sizes(problem).interpolated
    predicted = predict(problem, 1)
    assert_predicted(predicted, peaks(launch(1, folder=tmp_path, code=TELLING)))


def write_many_modes(folder: Path, problem: Problem, n_modes: int) -> None:
    """In place of the problem's own: at random, all equally large."""
    rng, modes = np.random.default_rng(1), problem.modes
    vectors = rng.normal(size=(n_modes, len(modes.structure), 3))
    vectors /= np.sqrt(np.mean(np.sum(vectors**2, axis=2), axis=1))[:, None, None]
    many = replace(modes, vectors=vectors, amplitudes_A=np.full(n_modes, 0.05))
    write_modes(folder / "modes.h5", many, {})


@pytest.mark.slow
def test_prediction_of_many_modes_by_least_squares(tmp_path):
    """A hundred that are refined: their slopes, and the zones' sums of products of all of them.

    Of these 770 were made where room for 10 800 was foretold, a gigabyte of a fit of 427 MB.
    """
    problem = write_project(tmp_path, 3, 2.5, "target")
    write_many_modes(tmp_path, problem, 100)
    config = (tmp_path / "fit.toml").read_text().replace("[0.0, 0.6]", "[0.0, 0.15]")
    config = config.replace("[search]", '[search]\nmethod = "least-squares"')
    (tmp_path / "fit.toml").write_text(config.replace("restarts = 2", "restarts = 1"))
    problem = load_problem(load_config(tmp_path / "fit.toml"))
    compile_kernels(problem)
    predicted = predict(problem, 1)
    assert_predicted(predicted, peaks(launch(1, folder=tmp_path, code=TELLING)))


@pytest.mark.slow
@pytest.mark.parametrize(("transform", "d_min"), [("density", 2.5), ("direct", 3.5)])
def test_prediction_of_an_expansion(tmp_path, transform, d_min):
    """Of sixty modes: nothing is kept of each, but by the direct sum."""
    problem = write_project(tmp_path, 3, d_min, "target")
    write_many_modes(tmp_path, problem, 60)
    config = (tmp_path / "fit.toml").read_text().replace("[0.0, 0.6]", "0.05")
    config = config.replace("translation_sigma_A = 0.4", "translation_sigma_A = [0.3, 0.5]")
    config = config.replace(
        "[model]", f'[model]\nestimator = "control-variate"\ntransform = "{transform}"'
    )
    (tmp_path / "fit.toml").write_text(config)
    predicted = predict(load_problem(load_config(tmp_path / "fit.toml")), 1)
    assert_predicted(predicted, peaks(launch(1, folder=tmp_path, code=TELLING)))


@pytest.mark.parametrize("grid", ["target", "band-limited"])
def test_sizes_are_those_of_the_model(tmp_path, grid):
    """Voxels and stored values, as the model that is really built has them."""
    problem = write_project(tmp_path, 3, 3.0, grid)
    model, _ = compare(problem, Ranks())
    moments = model.molecule.moments
    (share,) = shares_of_group(measured_sizes(problem), 1)
    # The model takes its resolution from the farthest voxel, not from the shells' edge.
    assert share.stored == pytest.approx(moments.transform.slab.size, rel=0.05)
    assert share.computed == pytest.approx(len(moments.rows), rel=0.02)
    assert share.voxels == len(model.rows)


@pytest.mark.parametrize(
    ("n_modes", "n_frames", "librates", "expected"),
    [
        (0, 0, False, 1),
        (3, 0, False, 1000),
        (0, 0, True, 1000),
        (0, 7, False, 7),
        (0, 7, True, 1001),
        (0, 2000, False, 2000),
    ],
)
def test_only_configurations_that_are_computed_count(n_modes, n_frames, librates, expected):
    """Of 1000 samples: a still molecule is one, frames are as many as they are, or whole rounds.

    Of 240 000 atoms and 1024 samples, 7.1 GB were predicted of a still one, which needs 0.3.
    """
    own = example_modes()
    own = replace(own, vectors=own.vectors[:n_modes], amplitudes_A=own.amplitudes_A[:n_modes])
    if n_frames:
        frames = np.broadcast_to(own.structure.positions, (n_frames, len(own.structure), 3))
        own = replace(own, frames=frames, weights=np.full(n_frames, 1 / n_frames))
    assert n_configurations(own, librates, 1000) == expected
    assert len(ensemble_points(own, librates, "random", 1000, generator(1))) == expected


def test_a_still_molecule_needs_no_samples(project):
    """Whatever their number, 8 or a million, the prediction is the same; not so with modes."""
    _, problem = project
    many = replace(problem.config, model=replace(problem.config.model, final_samples=1_000_000))
    assert predict(replace(problem, config=many), 1).private > predict(problem, 1).private
    modes = replace(problem.modes, vectors=np.empty((0, 1, 3)), amplitudes_A=np.empty(0))
    space = search_space(ParametersConfig(translation_sigma_A=(0.0, 1.0)), np.empty(0))
    still = replace(problem, modes=modes, space=space)
    assert predict(replace(still, config=many), 1) == predict(still, 1)


def test_more_ranks_hold_less_each(project):
    """In one group the model is divided; the shared inputs stay the same."""
    _, problem = project
    few, many = predict(problem, 2), predict(problem, 16)
    assert many.private[-1] < few.private[-1]
    assert many.shared == few.shared


def test_groups_of_one_hold_the_whole_model(project):
    """With a group for each rank, every one is as large as one rank alone, but for the files."""
    _, problem = project
    config = replace(problem.config, run=replace(problem.config.run, groups=4))
    config = replace(config, search=replace(config.search, restarts=4))
    own = predict(replace(problem, config=config), 4)
    assert own.private[3] > predict(problem, 4).private[3]
    assert len(set(own.private[1:])) == 1


def test_small_arrays_stay_for_a_while():
    """Of what an earlier phase needed in small arrays at most `KEPT` is added; large ones go."""
    small, large = 20.0 * MB, 500.0 * MB
    assert peak_MB([[small] * 3, [large]]) == 560
    assert peak_MB([[small] * 30, [large]]) == 600
    assert peak_MB([[large], [large, small]]) == 520


def at(host: str, limit_MB: float, process: Limit | None = None) -> Node:
    """A rank's place."""
    return Node(host, Limit(limit_MB, "SLURM_MEM_PER_NODE"), process)


def test_refused_where_a_node_is_too_small():
    """Ranks of each host are added up; what they share counts once."""
    footprint = Footprint((300.0, 200.0, 200.0), 100.0)
    assert refusal(footprint, [at("a", 600), at("a", 600), at("b", 300)]) is None
    text = refusal(footprint, [at("a", 599), at("a", 599), at("b", 300)])
    assert "2 ranks on a will need about 600 MB" in text
    assert "599 MB (SLURM_MEM_PER_NODE)" in text and "--mem-per-cpu" in text
    assert "\n" not in text
    text = refusal(footprint, [at("a", 600), at("a", 600), at("b", 299)])
    assert "1 rank on b will need about 300 MB" in text


def test_refused_where_a_process_may_not():
    """A limit on a single process is held against what that one will show."""
    footprint = Footprint((300.0, 200.0), 100.0)
    allowed = [at("a", 1e6), at("a", 1e6, Limit(300.0, "ulimit -v"))]
    assert refusal(footprint, allowed) is None
    text = refusal(footprint, [at("a", 1e6, Limit(399.0, "ulimit -v")), at("a", 1e6)])
    assert "rank 0 on a will need about 400 MB, but ulimit -v allows 399 MB" in text


def test_told_in_one_line():
    """What a rank needs, what the node needs, what it may have and who says so."""
    text = memory_text(Footprint((430.0, 330.0), 100.0), [at("a", 4000)] * 2)
    assert text == (
        "about 530 MB a rank, 860 MB for 2 ranks on this node; limit 4000 MB (SLURM_MEM_PER_NODE)"
    )


def test_the_nearest_limit_is_told():
    """530 and 860 MB: of 4000 MB for the node, or 2000 for one rank, that one leaves less."""
    footprint = Footprint((430.0, 330.0), 100.0)
    for limit, told in ((2000.0, "2000 MB (ulimit -v)"), (4000.0, "4000 MB (SLURM_MEM_PER_NODE)")):
        nodes = [at("a", 4000), at("a", 4000, Limit(limit, "ulimit -v"))]
        assert memory_text(footprint, nodes).endswith(f"limit {told}")


def test_required_memory_is_logged_or_refused(project, monkeypatch, capfd):
    """Room enough: one line. Too little: an error with its remedy."""
    _, problem = project
    monkeypatch.setattr(module, "memory_limit_MB", lambda: Limit(1e6, "physical memory"))
    require_memory(problem, Ranks())
    logged = capfd.readouterr().err
    assert re.fullmatch(r"memory: about \d+ MB a rank, .* limit 1000000 MB .*\n", logged)
    monkeypatch.setattr(module, "memory_limit_MB", lambda: Limit(100.0, "the job's limit"))
    with pytest.raises(InputError, match=r"1 rank on .* may have 100 MB \(the job's limit\)"):
        require_memory(problem, Ranks())


def test_refusal_is_everyones_and_told_once(tmp_path):
    """Two ranks: both have the error, known to all."""
    mpirun()
    write_project(tmp_path, 3, 3.0, "auto")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from hpc_diffuser.parallel.communicator import world\n"
        "from hpc_diffuser.fit import footprint\n"
        "from hpc_diffuser.fit.config import load_config\n"
        "from hpc_diffuser.system.errors import InputError\n"
        "from hpc_diffuser.system.memory import Limit\n"
        "from hpc_diffuser.fit.problem import load_problem\n"
        "footprint.memory_limit_MB = lambda: Limit(200.0, 'a test')\n"
        "problem = load_problem(load_config(Path('fit.toml')))\n"
        "try: footprint.require_memory(problem, world())\n"
        "except InputError as exc:\n"
        "    sys.stdout.write(f'{exc.known_to_all} {exc}\\n')\n"
    )
    result = launch(2, folder=tmp_path, code=code)
    lines = result.stdout.splitlines()
    assert len(lines) == 2, result.stderr
    assert all(line.startswith("True not enough memory: 2 ranks on ") for line in lines)
    assert result.stderr.count("memory: about") == 1


def test_a_cache_is_valid_as_numba_takes_it(monkeypatch):
    """Whatever the files' times are, which a checkout changes; not of another source."""
    assert kernels_compiled()
    indices = list(kernel_cache_folder().glob("d*.add_moments-*.nbi"))
    assert len(indices) >= 2
    for index in indices:
        os.utime(index, (0, 0))
    assert kernels_compiled()
    monkeypatch.setattr(direct_sum.add_moments._cache._cache_file, "_source_stamp", "of another")
    assert not kernels_compiled()


def test_an_empty_cache_is_noticed(tmp_path, clean_environment):
    """Without compiled kernels rank 0 will need room for the compiler."""
    code = "from hpc_diffuser.fit.compilation import kernels_compiled; print(kernels_compiled())"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment | {"NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "False"
