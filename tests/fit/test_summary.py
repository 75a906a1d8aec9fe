"""summary.json: the same bytes when it is read and written again, and what is refused."""

import json
from pathlib import Path

import pytest

from hpc_diffuser.commands.pages.report import report_text
from hpc_diffuser.fit.summary_file import read_stage, read_summary, summary_data, write_summary
from hpc_diffuser.system.errors import InputError

# The file's keys, in their order: other programs rely on them.
KEYS = [
    "format",
    "version",
    "restarts",
    "restarts_finished",
    "evaluations",
    "excluded",
    "refined",
    "bounds",
    "best",
    "median",
    "spread",
    "clusters",
    "at_bounds",
    "at_upper_bound",
    "source_mode_amplitude_A",
    "sampling",
    "cost",
    "answer",
    "answer_is",
    "median_scores",
    "best_scores",
    "cc_work",
    "cc_free",
    "translation_alone",
    "score",
    "ceiling",
    "shells",
    "motion",
    "b_factors",
    "b_factors_missing",
    "halos",
    "likelihood",
    "anisotropic_scale",
    "prior",
    "frame_weights",
    "final_map",
    "intervals",
    "standard_errors",
    "last_session",
    "warnings",
    "restarts_ended",
]


@pytest.fixture
def content(finished) -> dict:
    """What the summary of a finished fit holds."""
    return json.loads((finished / "run" / "summary.json").read_text())


def test_keys(content):
    """Those of a fit whose restarts agree or not, the compared points' scores in either order."""
    scores = {"median_scores", "best_scores"}
    assert [k for k in content if k not in scores] == [k for k in KEYS if k not in scores]
    assert scores <= set(content)
    assert list(content["best"])[-2:] == ["cc_work", "restart"]
    assert list(content["best"])[:-2] == list(content["median"])


def test_read_and_written_again(finished, tmp_path):
    """Not a byte is different, and the report says the same."""
    summary = read_summary(finished / "run")
    write_summary(tmp_path, summary)
    old, new = (folder / "summary.json" for folder in (finished / "run", tmp_path))
    assert new.read_bytes() == old.read_bytes()
    assert report_text(read_summary(tmp_path)) == report_text(summary)


def test_scores_keep_their_order(finished, content, tmp_path):
    """Where restarts do not agree, the best one's come before the median's."""
    given = {k: v for k, v in content.items() if not k.endswith("_scores")}
    last = ("best_scores", {"cc_work": 0.5, "cc_free": None}), ("median_scores", content["best"])
    items = list(given.items())
    at = [k for k, _ in items].index("cc_work")
    changed = dict([*items[:at], last[0], (last[1][0], last[0][1]), *items[at:]])
    (tmp_path / "summary.json").write_text(json.dumps(changed))
    assert list(summary_data(read_summary(tmp_path))) == list(changed)


def test_before_the_last_restart(content, tmp_path):
    """Without an outcome, and without a finished restart: read as such."""
    early = dict(list(content.items())[: KEYS.index("answer")])
    early |= {"warnings": [], "restarts_ended": 0}
    begun = {k: v for k, v in early.items() if k not in KEYS[8:14]}
    for given, found, complete in ((early, True, False), (begun, False, False)):
        (tmp_path / "summary.json").write_text(json.dumps(given))
        summary = read_summary(tmp_path)
        assert ((summary.findings is not None), (summary.outcome is not None)) == (found, complete)
        assert summary_data(summary) == given
        with pytest.raises(ValueError, match="finished fit"):
            summary.complete()
        assert read_stage(tmp_path).shells is None


def write(folder: Path, content: dict) -> None:
    """A summary.json with this content."""
    (folder / "summary.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("restarts", None, "restarts: expected a whole number, found None"),
        ("median", {"translation_sigma_A": "x"}, "median.translation_sigma_A: expected a list"),
        ("best", [], "best: expected values by name"),
        ("clusters", [{}], "clusters.0.restarts is lacking"),
        ("shells", {}, "shells: expected a list"),
        ("cost", {"jobs": 1}, "cost.killed is lacking"),
        ("median_scores", 0.5, "scores.median: expected values by name"),
        ("last_session", 3, "last_session: expected values by name"),
    ],
)
def test_damaged(content, tmp_path, key, value, told):
    """One line: file, key, what was expected, what to do."""
    write(tmp_path, content | {key: value})
    with pytest.raises(InputError, match=rf"summary\.json: damaged: {told}.*run hpc-diff") as error:
        read_summary(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["restarts", "refined", "spread", "cc_work", "shells", "motion"])
def test_lacking(content, tmp_path, key):
    """A key that every summary of this version has."""
    del content[key]
    write(tmp_path, content)
    with pytest.raises(InputError, match=rf"damaged: {key} is lacking: run hpc-diffuser fit again"):
        read_summary(tmp_path)


def test_another_version_and_no_summary_at_all(content, tmp_path):
    """Said so; how far the run is can be read nevertheless."""
    write(tmp_path, content | {"version": 1})
    with pytest.raises(InputError, match="of another version of hpc-diffuser"):
        read_summary(tmp_path)
    assert read_stage(tmp_path).restarts_finished == 2
    (tmp_path / "summary.json").write_text("[]")
    with pytest.raises(InputError, match=r"summary\.json: damaged: run hpc-diffuser fit again"):
        read_summary(tmp_path)
    assert read_stage(tmp_path) is None
    (tmp_path / "summary.json").write_text('{"format":')
    with pytest.raises(InputError, match=r"not a readable JSON .*: run hpc-diffuser fit again"):
        read_summary(tmp_path)
