"""`init`: files checked against each other, a config that a fit reads, commands that run."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import environment

from hpc_diffuser.commands.arguments import build_parser
from hpc_diffuser.commands.examples import four_helices
from hpc_diffuser.commands.examples.protein import build_protein
from hpc_diffuser.commands.reindexing_search import rigid_body
from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.fit.config import Config, load_config
from hpc_diffuser.fit.problem import load_problem
from hpc_diffuser.io.maps.files import write_any_map
from hpc_diffuser.io.structures.files import pdb_bytes, write_pdb
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.reindexing import parse_reindexing, reindexed
from hpc_diffuser.maps.statistics import inverse_d_planes
from hpc_diffuser.maps.target import map_from_voxels
from hpc_diffuser.maps.target_options import TargetOptions

CELL = four_helices.UNIT_CELL
OF_MAP = "--structure model.pdb --map map.nxs"


def made_up_map(unit_cell, space_group="P 1", divisions=(3, 3, 3), d_min_A=2.2) -> DiffuseMap:
    """Noise: nothing is fitted to it here."""
    grid = grid_to_resolution(unit_cell, divisions, d_min_A)
    values = np.random.default_rng(1).uniform(1, 2, grid.shape).astype(np.float32)
    values[np.stack([*inverse_d_planes(grid)]) > 1 / d_min_A] = np.nan
    return DiffuseMap(grid, values, space_group)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory) -> Path:
    """A folder with a bundle of four helices, a map of its crystal and twelve frames of it."""
    folder = tmp_path_factory.mktemp("bundle")
    protein = build_protein()
    protein = replace(protein, b_factors_A2=np.full(len(protein), 20.0))
    write_pdb(folder / "model.pdb", protein, (CELL, "P 1"))
    write_pdb(folder / "topology.pdb", protein, (CELL, "P 1"))
    shaken = np.random.default_rng(2).normal(scale=0.1, size=(12, len(protein), 3))
    frames = pdb_bytes(folder / "md.pdb", protein, (CELL, "P 1"), protein.positions + shaken)
    (folder / "md.pdb").write_bytes(frames)
    write_any_map(folder / "map.nxs", made_up_map(CELL))
    return folder


@pytest.fixture
def files(bundle, tmp_path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(bundle, tmp_path / "files"))


def written(folder: Path, name: str = "hpc-diffuser.toml") -> Config:
    """The config by the fit's own reader; of a page it takes a minute to read."""
    text = (folder / name).read_text()
    assert len(text.splitlines()) <= 40 and max(map(len, text.splitlines())) <= 100
    return load_config(folder / name)


def next_commands(page: str) -> list[str]:
    """The lines that are named."""
    return [
        line.strip() for line in page.split("Next, in this order:")[1].splitlines() if "  " in line
    ]


def run(name: str) -> str:
    """How a command is started on this machine's processors."""
    cores = len(os.sched_getaffinity(0))
    return f"mpirun -n {cores} hpc-diffuser {name}" if cores > 1 else f"hpc-diffuser {name}"


@pytest.fixture(autouse=True)
def mpi_is_there(monkeypatch):
    """Whatever is installed here."""
    monkeypatch.setattr(shutil, "which", lambda name, *_, **__: f"/usr/bin/{name}")
    monkeypatch.setattr("hpc_diffuser.commands.starting.plan.find_spec", lambda name: name)


def test_structure_and_map(files, call):
    """An elastic network's modes, ranges by the B-factors, the map's end; everything runnable."""
    done = call("init", *OF_MAP.split(), folder=files)
    assert done.returncode == 0, done.stderr
    assert next_commands(done.stdout) == [
        "hpc-diffuser target map.nxs --structure model.pdb --d-max 10 --d-min 2.2 -o target.h5",
        "hpc-diffuser modes --reference model.pdb --n-modes 10 -o modes.h5",
        "hpc-diffuser fit --test",
        run("fit"),
        "hpc-diffuser report run",
    ]
    config = written(files)
    assert config.structure.modes == files / "modes.h5" and config.structure.n_modes == 10
    assert config.target.file == files / "target.h5" and config.run.directory == files / "run"
    assert config.parameters.mode_amplitude_A == (0.0, 0.56)  # 2/√10 of √(3·20/8π²) = 0.551
    assert config.parameters.translation_sigma_A == (0.0, 1.0)
    assert config.model.samples == "auto"
    assert (config.search.restarts, config.search.evaluations) == (128, 100)
    assert "model.pdb: 314 atoms, 29 28 31 87 104 97, P 1, mean B 20.0 Å²\n" in done.stdout
    assert "map.nxs: 3 x 3 x 3 samples per reciprocal-lattice unit, no errors" in done.stdout
    text = (files / "hpc-diffuser.toml").read_text()
    assert text in done.stdout
    why = "from 10 Å: the map reaches 10 Å; to 2.2 Å: the map's end, though mates"
    assert (
        why in " ".join(text.replace("# ", "").split())
        and f"map.nxs: to be fitted {why}" in done.stdout
    )


def test_trajectory(files, call):
    """Its modes are named; no more than its frames have."""
    words = "--trajectory md.pdb --topology topology.pdb --structure model.pdb --map map.nxs"
    done = call("init", *words.split(), folder=files)
    assert done.returncode == 0, done.stderr
    assert next_commands(done.stdout)[1] == (
        "hpc-diffuser modes --trajectory md.pdb --topology topology.pdb --reference model.pdb "
        "--n-modes 10 -o modes.h5"
    )
    assert "md.pdb: 12 frames; of the 314 atoms of model.pdb it has 314\n" in done.stdout
    assert "n_modes = 10                    # of 11 at most" in done.stdout


def test_modes_and_target(project, call):
    """What is made already is not made again; the fit takes the config as it is.

    The largest amplitude of the two modes is 0.4 Å; the twelve atoms' own mean B is not in the
    file, so that nothing says less than twice that.
    """
    done = call("init", "--modes", "modes.h5", "--map", "target.h5", folder=project)
    assert done.returncode == 0, done.stderr
    expected = ["hpc-diffuser fit --test", run("fit"), "hpc-diffuser report run"]
    assert next_commands(done.stdout) == expected
    problem = load_problem(written(project))
    np.testing.assert_allclose(problem.space.bounds, [(0, 0.8), (0, 0.8), (0, 1)])
    assert "assumed: B-factors are not known" in done.stdout


def test_modes_and_map(project, call):
    """Without a structure, the map gets the crystal of the modes."""
    done = call("init", "--modes", "modes.h5", "--map", "map.nxs", folder=project)
    command = next_commands(done.stdout)[0]
    assert "--cell 14,15,16,88,105,98 --space-group" in command and "'P 1'" in command
    assert call(*shlex.split(command)[1:], folder=project).returncode == 0
    load_problem(written(project))


def test_modes_and_structure(project, call):
    """The structure's B-factors, of which the config says where they are."""
    words = "--modes modes.h5 --structure model.pdb --map target.h5"
    done = call("init", *words.split(), folder=project)
    assert done.returncode == 0, done.stderr
    problem = load_problem(written(project))
    assert problem.config.crystal.file == project / "model.pdb"
    assert problem.modes.crystal_b_A2 is not None and "mean B" in done.stdout
    assert problem.space.bounds[0][1] < 0.8  # by the B-factors, of 12 Å² in the mean


@pytest.mark.parametrize("words", ["--structure model.pdb", "--modes modes.h5"])
def test_without_a_map(project, call, words):
    """Nothing is fitted: a config for `simulate`, which takes it; and it says what is missing."""
    done = call("init", *words.split(), folder=project)
    assert done.returncode == 0, done.stderr
    assert next_commands(done.stdout)[-1] == run("simulate hpc-diffuser.toml -o map.nxs")
    assert "for a fit, init again with --map" in done.stdout
    assert written(project).target.file is None
    if "modes" in words:
        simulated = ("simulate", "hpc-diffuser.toml", "-o", "again.nxs")
        assert call(*simulated, folder=project).returncode == 0


def test_one_voxel_per_peak(files, call):
    """Halos cannot be masked: said, and told to `target`, which then takes the map."""
    write_any_map(files / "map.nxs", made_up_map(CELL, divisions=(1, 1, 1)))
    done = call("init", *OF_MAP.split(), folder=files)
    command = next_commands(done.stdout)[0]
    assert "--halo-radius 0 " in command
    said = "map.nxs: one voxel per Bragg peak: halos cannot be masked, and are fitted too"
    assert f"assumed: {said}" in done.stdout
    assert f"# Assumed: {said}" in (files / "hpc-diffuser.toml").read_text()
    assert call(*shlex.split(command)[1:], folder=files).returncode == 0


def test_a_lattice_of_more_symmetry(files, call):
    """Tetragonal, of a crystal of class 4/m: the structure chooses among the two ways to index.

    The map is that of its rigid body, in the other indices.
    """
    crystal = (29.0, 29.0, 31.0, 90.0, 90.0, 90.0), "P 41"
    protein = build_protein()
    write_pdb(files / "model.pdb", protein, crystal)
    grid = grid_to_resolution(crystal[0], (2, 2, 2), 2.5)
    whole = TargetOptions(40.0, 2.5, halo_radius=0.0)
    indices, intensity, _ = rigid_body(protein, crystal, grid, whole)
    there = map_from_voxels(grid, indices, intensity, "P 41")
    write_any_map(files / "map.nxs", reindexed(there, parse_reindexing("k,h,-l")))
    done = call("init", *OF_MAP.split(), folder=files)
    assert done.returncode == 0, done.stderr
    assert "--reindex=k,h,-l" in next_commands(done.stdout)[0]
    assert re.search(r"map.nxs: k,h,-l (1.0|0.9)", done.stdout)  # the CC that chose it
    assert "in 2 ways, of which k,h,-l fits model.pdb best" in done.stdout
    assert "h,k,l are k,h,-l of the map's own" in (files / "hpc-diffuser.toml").read_text()
    done = call("init", *OF_MAP.split(), "--reindex", "h,k,l", "-o", "b.toml", folder=files)
    assert "--reindex" not in next_commands(done.stdout)[0] and "ways" not in done.stdout


def test_indices_that_nothing_decides(files, call):
    """Noise fits in neither way: nothing is written until one is chosen."""
    cell = (29.0, 29.0, 31.0, 90.0, 90.0, 90.0)
    write_pdb(files / "model.pdb", build_protein(), (cell, "P 41"))
    write_any_map(files / "map.nxs", made_up_map(cell, "P 41"))
    done = call("init", *OF_MAP.split(), folder=files)
    assert done.returncode == 65 and "choose by --reindex" in done.stderr
    assert not (files / "hpc-diffuser.toml").exists()
    done = call("init", *OF_MAP.split(), "--reindex", "k,h,-l", folder=files)
    assert "--reindex=k,h,-l" in next_commands(done.stdout)[0]


def test_space_group_as_it_was_given(files, call):
    """Where file and structure disagree, the config says what the fit is to take."""
    cell = (29.0, 29.0, 31.0, 90.0, 90.0, 90.0)
    write_pdb(files / "model.pdb", build_protein(), (cell, "P 41"))
    write_any_map(files / "map.nxs", made_up_map(cell, "P 41 21 2"))
    refused = call("init", *OF_MAP.split(), folder=files)
    assert refused.returncode == 65 and "say by --space-group which is right" in refused.stderr
    done = call("init", *OF_MAP.split(), "--space-group", "P 41 21 2", folder=files)
    assert done.returncode == 0, done.stderr
    assert written(files).crystal.space_group == "P 41 21 2"
    assert "--space-group 'P 41 21 2'" in next_commands(done.stdout)[0]
    assert "ways" not in done.stdout  # of this class there is one


def test_other_folders(files, call, tmp_path):
    """Names with blanks are quoted; what the config names is found from its own folder."""
    there = tmp_path / "a fit"
    there.mkdir()
    shutil.copytree(files, tmp_path / "my data")
    words = ["--structure", "my data/model.pdb", "--map", "my data/map.nxs", "-o", "a fit/c.toml"]
    done = call("init", *words)
    assert done.returncode == 0, done.stderr
    lines = next_commands(done.stdout)
    assert "'a fit/target.h5'" in lines[0] and "'my data/map.nxs'" in lines[0]
    assert lines[2:] == [
        "hpc-diffuser fit 'a fit/c.toml' --test",
        run("fit 'a fit/c.toml'"),
        "hpc-diffuser report 'a fit/run'",
    ]
    config = written(there, "c.toml")
    assert config.target.file.resolve() == there / "target.h5"
    assert config.run.directory.resolve() == there / "run"
    for line in lines:
        words = shlex.split(line.partition("hpc-diffuser ")[2])
        build_parser(words).parse_args(words)


def test_what_is_there_already(files, call):
    """A config is never replaced; files that commands replace are named; a run begins anew."""
    for name in ("modes.h5", "target.h5"):
        (files / name).write_text("")
    (files / "run").mkdir()
    done = call("init", *OF_MAP.split(), folder=files)
    assert "\nmodes.h5 is there already: its command replaces it\n" in done.stdout
    assert "\ntarget.h5 is there already: its command replaces it\n" in done.stdout
    assert written(files).run.directory == files / "run-2"
    before = (files / "hpc-diffuser.toml").read_bytes()
    again = call("init", *OF_MAP.split(), folder=files)
    assert again.returncode == 65 and "hpc-diffuser.toml: is there already" in again.stderr
    assert "with all files anew: -o hpc-diffuser-2.toml" in again.stderr
    again = call("init", *OF_MAP.split(), "-o", "hpc-diffuser-2.toml", folder=files)
    assert again.returncode == 0, again.stderr
    assert (files / "hpc-diffuser.toml").read_bytes() == before


def other_cell(files: Path) -> None:
    write_any_map(files / "map.nxs", made_up_map((31.0, 28.0, 31.0, 87.0, 104.0, 97.0)))


def no_cell(files: Path) -> None:
    lines = (files / "model.pdb").read_text().splitlines(keepends=True)
    (files / "model.pdb").write_text("".join(x for x in lines if not x.startswith("CRYST1")))


def other_protein(files: Path) -> None:
    protein = build_protein()
    renamed = replace(protein, residue_names=np.full(len(protein), "TRP"))
    write_pdb(files / "topology.pdb", renamed, (CELL, "P 1"))
    (files / "md.pdb").write_bytes(
        pdb_bytes(files / "md.pdb", renamed, (CELL, "P 1"), np.stack([renamed.positions] * 3))
    )


def one_frame(files: Path) -> None:
    shutil.copy(files / "topology.pdb", files / "md.pdb")


def nothing(files: Path) -> None:
    """All files as they are."""


OF_FRAMES = "--structure model.pdb --trajectory md.pdb --topology topology.pdb"
MISTAKES = {
    "another cell": (other_cell, OF_MAP, "map.nxs: unit cell 31 28 .* try --reindex search"),
    "no cell": (no_cell, OF_MAP, "model.pdb: no unit cell: .* CRYST1"),
    "another protein": (other_protein, OF_FRAMES, "give the structure of the same molecule"),
    "one frame": (one_frame, OF_FRAMES, "md.pdb: has no modes of motion"),
    "nothing moves": (nothing, "--map map.nxs", "give --structure model.pdb, or --modes"),
    "no topology": (nothing, "--structure model.pdb --trajectory md.pdb", "go together"),
    "no structure": (nothing, "--modes m.h5 --trajectory md.pdb --topology t.pdb", "--structure"),
    "two sources": (nothing, f"{OF_FRAMES} --modes m.h5", "give one"),
    "no map": (nothing, "--structure model.pdb --cell 1,1,1,90,90,90", "--map, or leave them"),
    "missing": (nothing, "--structure none.pdb", "none.pdb: no such file"),
    "no map at all": (nothing, "--structure model.pdb --map md.pdb", "md.pdb: no diffuse map"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_line_with_the_remedy(files, call, mistake):
    """Code 65; no config is left behind."""
    break_it, words, expected = MISTAKES[mistake]
    break_it(files)
    done = call("init", *words.split(), folder=files)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 65 and last.startswith("hpc-diffuser: error: ")
    assert re.search(expected, last), last
    assert not (files / "hpc-diffuser.toml").exists()


def test_modes_of_another_crystal(project, bundle, call):
    """Of modes and structure, and of modes and target."""
    shutil.copy(bundle / "model.pdb", project / "other.pdb")
    done = call("init", "--modes", "modes.h5", "--structure", "other.pdb", folder=project)
    assert done.returncode == 65 and "is not the crystal of other.pdb" in done.stderr
    done = call("init", "--structure", "other.pdb", "--map", "target.h5", folder=project)
    assert done.returncode == 65 and "target.h5: unit cell" in done.stderr
    words = ("--modes", "modes.h5", "--map", "target.h5", "--column", "I")
    done = call("init", *words, folder=project)
    assert done.returncode == 65 and "a target, cut already" in done.stderr


def test_without_mpi(files, call, monkeypatch):
    """The commands are those of one process."""
    monkeypatch.setattr(shutil, "which", lambda name, *_, **__: None)
    done = call("init", *OF_MAP.split(), folder=files)
    assert next_commands(done.stdout)[3] == "hpc-diffuser fit"


@pytest.mark.parametrize("odd", ['my "best" \\modes.h5', "Ångström's.h5"])
def test_odd_names(project, call, odd):
    """Quotes and backslashes are written so that they are read again."""
    shutil.copy(project / "modes.h5", project / odd)
    done = call("init", "--modes", odd, "--map", "target.h5", folder=project)
    assert done.returncode == 0, done.stderr
    load_problem(written(project))


def test_a_name_that_is_no_text(project, call):
    """A config, which is UTF-8, cannot hold it."""
    shutil.copy(project / "modes.h5", project / "modes\udcff.h5")
    done = call("init", "--modes", "modes\udcff.h5", "--map", "target.h5", folder=project)
    assert done.returncode == 65 and "rename the file" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("of", ["network", "trajectory"])
def test_every_command_in_its_order(tmp_path, monkeypatch, of):
    """From structure, map, and perhaps trajectory to a report, by what is printed alone.

    Restarts and evaluations are fewer, as the config invites to.
    """
    monkeypatch.undo()
    modes = four_helices.example_modes()
    crystal = modes.unit_cell, modes.space_group
    structure = replace(modes.structure, b_factors_A2=modes.crystal_b_A2)
    write_pdb(tmp_path / "model.pdb", structure, crystal)
    write_any_map(tmp_path / "map.nxs", four_helices.example_map(modes))
    weights = np.random.default_rng(3).normal(size=(40, 3)) * four_helices.TRUE_AMPLITUDES_A
    frames = structure.positions + np.einsum("fm,mnx->fnx", weights, modes.vectors)
    (tmp_path / "md.pdb").write_bytes(pdb_bytes(tmp_path / "md.pdb", structure, crystal, frames))
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "hpc-diffuser"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m hpc_diffuser "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"

    def shell(line: str) -> str:
        done = subprocess.run(
            line,
            shell=True,
            cwd=tmp_path,
            env=environment(PATH=path),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        return done.stdout

    more = "" if of == "network" else "--trajectory md.pdb --topology model.pdb"
    page = shell(f"hpc-diffuser init {OF_MAP} {more}")
    config = tmp_path / "hpc-diffuser.toml"
    text = config.read_text().replace("restarts = 128", "restarts = 1")
    config.write_text(text.replace("evaluations = 100", "evaluations = 6"))
    for line in next_commands(page):
        out = shell(line)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert "CC_free" in out and (tmp_path / "run" / "calculated.h5").is_file()
    assert summary["restarts_finished"] == 1 and summary["cc_free"] > 0.8
