"""Figures of `bench` beside earlier ones: made up, so that nothing is timed."""

import json
from pathlib import Path

import pytest

from hpc_diffuser.commands import benchmark
from hpc_diffuser.commands.benchmark_figures import comparison_text, read_figures, this_machine
from hpc_diffuser.system.errors import InputError

BEFORE = {
    "transform": "DensityTransform",
    "core_seconds_per_evaluation": 0.5,
    "samples_at_equal_accuracy": None,
    "wall_seconds_by_ranks": {"1": 0.5, "2": 0.25},
    "gone": 3,
    "machine": {"processor": "Abacus", "cores": 2, "versions": {"numpy": "2.0", "h5py": "3.11"}},
}
NOW = BEFORE | {
    "core_seconds_per_evaluation": 0.6,
    "samples_at_equal_accuracy": 64,
    "wall_seconds_by_ranks": {1: 0.6, 2: 0.25, 4: 0.1},  # a dict's keys are text in JSON only
    "machine": {"processor": "Abacus", "cores": 4, "versions": {"numpy": "2.4", "h5py": "3.11"}},
}
del NOW["gone"]
KEPT = Path(__file__).resolve().parent.parent / "benchmarks" / "lysozyme.json"


def test_each_figure_beside_the_earlier_one():
    """Ratios where both are numbers; figures that only one has; where machines differ."""
    lines = [line.split() for line in comparison_text(NOW, BEFORE).splitlines()]
    assert lines[0] == ["now", "before", "ratio"]
    assert ["transform", "DensityTransform", "DensityTransform"] in lines
    assert ["core_seconds_per_evaluation", "0.6", "0.5", "1.200"] in lines
    assert ["samples_at_equal_accuracy", "64", "none"] in lines
    assert ["wall_seconds_by_ranks", "2", "0.25", "0.25", "1.000"] in lines
    assert ["wall_seconds_by_ranks", "4", "0.1", "none"] in lines
    assert ["gone", "none", "3"] in lines
    assert [" ".join(line) for line in lines[-2:]] == [
        "cores: 4, before 2",
        "versions numpy: 2.4, before 2.0",
    ]


def test_nothing_more_of_the_same_machine():
    """Nor anything to divide by."""
    text = comparison_text(BEFORE | {"gone": 0}, BEFORE | {"gone": 0})
    assert text.splitlines()[-1].split() == ["gone", "0", "0"]


def test_earlier_figures_of_an_unknown_machine():
    """As those have that were written before it was kept."""
    before = {name: value for name, value in BEFORE.items() if name != "machine"}
    assert comparison_text(NOW, before).endswith("do not tell their machine")


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"core_seconds_per_evaluation": "much"}'])
def test_other_files(tmp_path, content):
    """Anything but figures is an error that names the file and what was expected."""
    (tmp_path / "other.json").write_text(content)
    with pytest.raises(InputError, match=r"other\.json"):
        read_figures(tmp_path / "other.json")


def test_figures_that_are_kept():
    """Those of lysozyme, which CONTRIBUTING tells of, compared with themselves."""
    figures = read_figures(KEPT)
    assert figures["atoms"] == 1001
    text = comparison_text(figures | {"machine": this_machine()}, figures)
    assert {line.split()[-1] for line in text.splitlines() if line.startswith("core_")} == {"1.000"}


@pytest.fixture
def measured(monkeypatch):
    """`bench` measures nothing, and finds what is above."""
    found = {name: value for name, value in NOW.items() if name != "machine"}
    monkeypatch.setattr(benchmark, "bench", lambda config: found)


def test_as_users_compare(call, tmp_path, measured):
    """The file is read first: nobody waits for minutes to hear that it is another."""
    (tmp_path / "before.json").write_text(json.dumps(BEFORE))
    result = call("bench", "--compare", "before.json", "--json", "now.json")
    assert result.returncode == 0, result.stderr
    assert "core_seconds_per_evaluation" in result.stdout and "1.200" in result.stdout
    assert "processor: " in result.stdout and "before Abacus" in result.stdout
    written = json.loads((tmp_path / "now.json").read_text())
    assert written["machine"]["cores"] >= 1 and "numpy" in written["machine"]["versions"]
    again = call("bench", "--compare", "now.json")
    assert "before" not in again.stdout.splitlines()[-1]
    wrong = call("bench", "--compare", "fit.toml")
    assert wrong.returncode == 65 and "fit.toml" in wrong.stderr
