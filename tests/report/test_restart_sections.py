"""The sections on restarts: of a finished run, beside its files; of one that is not."""

import json
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from hpc_diffuser.fit.agreement import agreement
from hpc_diffuser.fit.cautions import cautions
from hpc_diffuser.fit.config import SearchConfig
from hpc_diffuser.fit.courses import restarts_of
from hpc_diffuser.fit.run.directory import read_histories
from hpc_diffuser.interface.run import open_run
from hpc_diffuser.report.section import Rounded
from hpc_diffuser.report.sections.restarts import (
    _standings,
    convergence,
    every_restart,
    shown_names,
    truth_of,
)
from hpc_diffuser.report.sections.samples import noise_of_samples
from hpc_diffuser.report.sections.standing import progress
from hpc_diffuser.report.sections.surrogate import learned
from hpc_diffuser.report.sections.warnings import warnings_of

ALL = (every_restart, convergence, learned, noise_of_samples)


@pytest.fixture(scope="module")
def run(finished):
    """The finished run, opened."""
    return open_run(finished / "run")


def test_restarts_are_those_of_the_checkpoints(run, finished):
    """Best CC, and where it was found, of every checkpoint; clusters as in summary.json."""
    found = {row[0]: row for row in every_restart(run).tables[0].rows}
    histories = read_histories(finished / "run", run.n_restarts)
    assert set(found) == set(histories)
    for number, history in histories.items():
        assert found[number][2] == 1 - history.objectives.min()
        assert found[number][3] == np.argmin(history.objectives) + 1
    said = json.loads((finished / "run" / "summary.json").read_text())
    best = said["clusters"][0]["restarts"]
    assert sorted(n for n, row in found.items() if row[4] == "best cluster") == sorted(best)


def test_where_they_ended_is_said_as_everywhere(run):
    """In the words of `report`'s text; before one is finished, only how many have begun."""
    said = agreement(run.summary)
    assert said and every_restart(run).words[0] == f"{said}."
    alone = SimpleNamespace(
        histories={0: run.histories[0]},
        summary=replace(run.summary, findings=None),
        refined=run.refined,
    )
    restarts = restarts_of(alone.histories, alone.summary)
    assert _standings(alone, restarts) == "1 of 1 not finished."


def test_an_unfinished_run_promises_nothing(run, finished, tmp_path):
    """Neither that more evaluations would hardly help, nor that a single restart was wanted."""
    folder = shutil.copytree(finished / "run", tmp_path / "run")
    path = folder / "summary.json"
    said = json.loads(path.read_text()) | {"restarts_finished": 1}
    path.write_text(json.dumps(said))
    stopped = open_run(folder)
    assert stopped.state == "stopped"
    assert warnings_of(stopped)[0] == "not finished: 1 of 2 restarts; run `hpc-diffuser fit` again"
    assert "more" in convergence(run).words[0] or "gain" in convergence(run).words[0]
    assert "told when all have finished" in convergence(stopped).words[0]
    assert "under way" not in progress(stopped)
    search = SearchConfig(restarts=2)
    alone = replace(run.summary, restarts=2, restarts_finished=1)
    first = replace(run.summary.findings.clusters[0], restarts=(0,))
    alone = replace(alone, findings=replace(alone.findings, clusters=(first,)))
    assert not any("one restart only" in text for text in cautions(alone, search))
    assert any("one restart only" in text for text in cautions(replace(alone, restarts=1), search))


def test_points_are_those_of_the_best_restart(run, finished):
    """Of the best restart, the numbers of summary.json, in the order of its parameters."""
    best = json.loads((finished / "run" / "summary.json").read_text())["best"]
    rows = every_restart(run).tables[1].rows
    found = [row[2] for row in rows if row[1] == best["restart"]]
    assert len(found) == len(run.refined)
    assert set(best["mode_amplitude_A"]) <= set(found)


def test_errors_of_samples_are_those_of_the_file(run, finished):
    """sampling.json's, the fit's own number last; in the words as in the table."""
    said = json.loads((finished / "run" / "sampling.json").read_text())
    contents = noise_of_samples(run)
    rows = [tuple(one.values()) for one in said["measured"]]
    own = tuple(said[name] for name in ("samples", "map_error", "objective_error"))
    cells = [
        tuple(cell.value if isinstance(cell, Rounded) else cell for cell in row)
        for row in contents.tables[0].rows
    ]
    assert cells == [*rows, own]
    shown = re.search(r"error 1 − CC of ([\d.]+) in", contents.words[0])[1]
    assert f"{float(shown):.2g}" == f"{said['map_error']:.2g}"
    summary = json.loads((finished / "run" / "summary.json").read_text())
    assert summary["sampling"]["measured"] == said["measured"]


def test_names_have_units(run):
    """As axes have them."""
    assert all(name.endswith("(Å)") for name in shown_names(run) if name.startswith("mode"))


@pytest.mark.parametrize("section", ALL)
def test_every_figure_can_be_drawn(run, section):
    """With something to read in its place."""
    pytest.importorskip("matplotlib")
    contents = section(run)
    for figure in contents.figures if contents else ():
        assert figure.draw().axes and figure.alternative


def test_before_the_first_restart_is_finished(finished, tmp_path):
    """No summary: there is nothing to say."""
    shutil.copytree(finished / "run", tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    assert [section(open_run(tmp_path / "run")) for section in ALL[:3]] == [None, None, None]


def test_a_measured_target_knows_no_truth(run):
    """Only what a simulation says of itself is drawn."""
    assert truth_of(run) == {}


def test_example_knows_its_truth(tmp_path):
    """0.30, 0.25 and 0.20 Å along the modes, and 0.40 Å as a whole: in its target."""
    from hpc_diffuser.commands.examples.four_helices import write_example
    from hpc_diffuser.io.provenance import read_provenance

    write_example(tmp_path)
    said = read_provenance(tmp_path / "target.h5")
    true = {key: value for key, value in said.items() if key.startswith("true ")}
    assert true == {
        "true mode 1": 0.3,
        "true mode 2": 0.25,
        "true mode 3": 0.2,
        "true translation_sigma_A": 0.4,
    }
