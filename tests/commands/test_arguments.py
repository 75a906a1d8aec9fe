"""Mistakes on the command line: one line, its exit code, and where to read on."""

import pytest

from hpc_diffuser.commands.table import COMMANDS


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_a_mistake_points_at_the_commands_own_help(call, name):
    """An option that no command has."""
    result = call(name, "--nonsense")
    assert result.returncode == 65 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"hpc-diffuser {name}: error: ")
    assert line.endswith(f"; see hpc-diffuser {name} --help")


def test_files_without_their_options(call):
    """As somebody types who has not read that each has one."""
    result = call("init", "model.pdb", "map.h5")
    assert result.returncode == 65
    (line,) = result.stderr.splitlines()
    assert "unrecognized arguments: model.pdb map.h5: expected each file behind its option" in line
    for flag in ("--structure", "--map", "--trajectory", "--topology", "--modes"):
        assert flag in line
    assert line.endswith("; see hpc-diffuser init --help")


def test_one_word_too_many_for_a_command_that_takes_some(call):
    """There is no option to put it behind."""
    result = call("fit", "fit.toml", "other.toml")
    assert result.returncode == 65
    assert result.stderr.splitlines() == [
        "hpc-diffuser fit: error: unrecognized arguments: other.toml; see hpc-diffuser fit --help"
    ]
