"""Each command's options: one dataclass, which the command line is made from, and Python uses."""

import ast
import dataclasses
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from hpc_diffuser.commands import convert, info, modes, score, status, target
from hpc_diffuser.commands.arguments import build_parser, options_of
from hpc_diffuser.commands.map_source import MapDescription, MapSource
from hpc_diffuser.commands.table import COMMANDS, Command
from hpc_diffuser.io.maps.given import Given
from hpc_diffuser.maps.target_options import TargetOptions
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.options import REQUIRED, CommandOptions, told_fields

each_command = pytest.mark.parametrize("command", COMMANDS, ids=[c.name for c in COMMANDS])


def from_words(*words: str) -> CommandOptions:
    """What the command line makes of words, the command's name first."""
    return options_of(build_parser(words).parse_args(words), "hpc-diffuser " + " ".join(words))


def required(command: Command) -> tuple[list[str], dict[str, object]]:
    """What a command cannot do without: as words, and as the dataclass's values."""
    words, values = [], {}
    for name, field, told in told_fields(command.module.Options):
        if field.default is REQUIRED:
            words += [*told.flags[-1:], name]
            values[name] = (Path(name),) if told.several else Path(name)
    return words, values


@each_command
def test_defaults_are_those_of_the_dataclass(command):
    """Of every option that is left out, in parts too."""
    words, values = required(command)
    expected = command.module.Options(**values)
    found = from_words(command.name, *words)
    if command.name in ("modes", "restraints"):  # they record how they were called
        expected = dataclasses.replace(expected, command=found.command)
    assert found == expected


@each_command
def test_the_example_is_understood(command):
    """The lines that --help shows: their words are the command's."""
    for line in command.example.splitlines():
        before, _, words = line.partition("hpc-diffuser ")
        assert before in ("", "mpirun -n 64 ")
        assert isinstance(from_words(*words.split()), command.module.Options)


@each_command
def test_a_command_is_a_file_and_a_row(command):
    """Frozen options, a `run`, and nothing that is told twice on one command line."""
    options = command.module.Options
    assert issubclass(options, CommandOptions) and options.__dataclass_params__.frozen
    assert callable(command.module.run)
    flags = [flag for _, _, words in told_fields(options) for flag in words.flags]
    assert len(flags) == len(set(flags)) and not {"--help", "-h", "--debug"} & set(flags)


def test_parsers_load_nothing_heavy():
    """All commands' options together: threads must be pinned before numpy is loaded."""
    names = [command.name for command in COMMANDS]
    code = (
        "import sys\nfrom hpc_diffuser.commands.arguments import build_parser\n"
        f"build_parser({names!r})\nprint(sorted(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    loaded = set(ast.literal_eval(result.stdout))
    assert all(f"hpc_diffuser.commands.{name}" in loaded for name in names), result.stderr
    heavy = {"numpy", "numba", "mpi4py", "h5py", "scipy", "gemmi", "mdtraj", "skopt", "tqdm"}
    assert not heavy & loaded


def test_words_fill_the_parts():
    """What belongs to the map, its file and the cut, each in its dataclass."""
    words = ("--cell=1,2,3,90,90,90", "--structure", "a.pdb", "--halo-radius", "0.4,0.4,0.5")
    assert from_words("target", "map.nxs", *words, "--shells", "7") == target.Options(
        Path("map.nxs"),
        MapDescription(structure=Path("a.pdb"), given=Given((1.0, 2.0, 3.0, 90.0, 90.0, 90.0))),
        cut=TargetOptions(halo_radius=(0.4, 0.4, 0.5), n_shells=7),
    )


def test_a_map_is_at_its_path():
    """The description with a path is the source that files are read from."""
    about = MapDescription(reindex="k,h,-l", given=Given(column="I"))
    assert about.of(Path("a.mtz")) == MapSource(
        Path("a.mtz"), reindex="k,h,-l", given=Given(column="I")
    )
    assert MapDescription().is_empty and not about.is_empty


def test_python_may_give_names_and_lists():
    """They become what words become."""
    found = score.Options("a.nxs", "t.h5", about=MapDescription(structure="a.pdb"))
    assert found == from_words("score", "a.nxs", "t.h5", "--structure", "a.pdb")
    cut = target.Options("a.nxs", cut=TargetOptions(halo_radius=[0.3, 0.4, 0.5])).cut
    assert cut.halo_radius == (0.3, 0.4, 0.5)


WRONG = [
    (lambda: modes.Options(reference="a.pdb", n_modes=0), "--n-modes", "0"),
    (lambda: modes.Options(reference="a.pdb", n_modes=2.5), "--n-modes", "2.5"),
    (lambda: target.Options("a", cut=TargetOptions(d_max_A=-1.0)), "--d-max", "-1.0"),
    (lambda: target.Options("a", cut=TargetOptions(free_fraction=1.0)), "--free-fraction", "1.0"),
    (lambda: target.Options("a", cut=TargetOptions(free_block=2)), "--free-block", "2"),
    (
        lambda: info.Options("a", about=MapDescription(given=Given(unit_cell=(1.0, 2.0)))),
        "--cell",
        "1.0,2.0",
    ),
]


@pytest.mark.parametrize(("make", "flag", "value"), WRONG)
def test_python_is_told_as_the_command_line(make, flag, value, capsys):
    """The same words about what was expected and found."""
    with pytest.raises(InputError) as told:
        make()
    command = "modes" if flag == "--n-modes" else "target"
    with pytest.raises(SystemExit) as left:
        from_words(command, "--reference" if command == "modes" else "map", "a", f"{flag}={value}")
    assert left.value.code == InputError.exit_code
    assert f"argument {told.value}; see" in capsys.readouterr().err


def test_a_choice_from_python():
    """One of those that the help names."""
    expected = "--score: expected one of shell-mean, pooled, likelihood, found x"
    with pytest.raises(InputError, match=expected):
        score.Options("a.nxs", "t.h5", score="x")


def both(capfd, call, folder, run, options, *words: str) -> tuple[str, str]:
    """What a command prints, from Python and from the command line, in one folder."""
    capfd.readouterr()
    assert run(options) is None
    printed = capfd.readouterr().out
    result = call(*words, folder=folder)
    assert result.returncode == 0, result.stderr
    return printed, result.stdout


def arrays(path: Path) -> dict[str, bytes]:
    """The data of an HDF5 file."""
    found = {}

    def note(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = np.asarray(item[()]).tobytes()

    with h5py.File(path) as file:
        file.visititems(note)
    return found


def test_target_from_python(call, project, monkeypatch, capfd):
    """The same page, and the same voxels in target.h5."""
    monkeypatch.chdir(project)
    cut = TargetOptions(d_max_A=6.0, d_min_A=2.5, n_shells=4)
    options = target.Options("map.nxs", output="t.h5", cut=cut)
    words = ("map.nxs", "-o", "t.h5", "--d-max", "6", "--d-min", "2.5", "--shells", "4")
    target.run(options)
    before = arrays(project / "t.h5")
    printed, expected = both(capfd, call, project, target.run, options, "target", *words)
    assert printed == expected and before == arrays(project / "t.h5")


def test_modes_from_python(call, project, monkeypatch, capfd):
    """An elastic network of the reference: the same page, and the same modes."""
    monkeypatch.chdir(project)
    options = modes.Options(reference="model.pdb", n_modes=3, output="m.h5")
    modes.run(options)
    before = arrays(project / "m.h5")
    with h5py.File(project / "m.h5") as file:
        assert file.attrs["command"] == "hpc-diffuser modes"
    words = ("modes", "--reference", "model.pdb", "--n-modes", "3", "-o", "m.h5")
    printed, expected = both(capfd, call, project, modes.run, options, *words)
    assert printed == expected and before == arrays(project / "m.h5")
    with h5py.File(project / "m.h5") as file:
        assert file.attrs["command"] == "hpc-diffuser " + " ".join(words)


def test_score_and_status_from_python(call, finished, monkeypatch, capfd):
    """Both only read."""
    monkeypatch.chdir(finished)
    made = score.Options("run/calculated.h5", "target.h5", score="pooled")
    words = ("score", "run/calculated.h5", "target.h5", "--score", "pooled")
    printed, expected = both(capfd, call, finished, score.run, made, *words)
    assert printed == expected and "CC_work" in printed
    printed, expected = both(
        capfd, call, finished, status.run, status.Options("run"), "status", "run"
    )
    assert printed.splitlines()[:2] == expected.splitlines()[:2]


def test_errors_from_python(project, call, monkeypatch):
    """What the command line tells in a line is raised."""
    monkeypatch.chdir(project)
    with pytest.raises(InputError) as told:
        convert.run(convert.Options("map.nxs", "map.nxs"))
    result = call("convert", "map.nxs", "map.nxs", folder=project)
    assert result.stderr == f"hpc-diffuser: error: {told.value}\n"


def test_interrupted_from_python(monkeypatch):
    """As a clean stop; and the process is as it was found."""
    from hpc_diffuser.commands.pages import contents
    from hpc_diffuser.system.errors import StoppedError

    def interrupted(_path):
        raise KeyboardInterrupt

    monkeypatch.setattr(contents, "describe", interrupted)
    with pytest.raises(StoppedError):
        info.run(info.Options("a.h5"))
