"""Many runs beside each other: parameters in one order, settings as a config writes them."""

import sys
from pathlib import Path

import pytest

from hpc_diffuser.fit.config import load_config
from hpc_diffuser.report.sections.several import _as_in_config, _in_order, _text

sys.path.insert(0, str(Path(__file__).parents[1] / "campaigns"))
from fifty_runs import RUNS, config, modes_of, name_of


def test_parameters_are_in_the_registrys_order():
    """Modes by number before the translation, whichever run has them; axes after the one number."""
    every = [
        {"translation_sigma_A": 0.4},
        {"llm_sigma_A": 0.3, "mode_amplitude_A": [0.1, 0.2]},
        {"translation_sigma_A": [0.1, 0.2, 0.3], "mode_amplitude_A": [0.1] * 11},
    ]
    modes = [f"mode {i} (Å)" for i in range(1, 12)]
    axes = ["translation (Å)", *(f"translation {axis} (Å)" for axis in "xyz")]
    assert _in_order(every)[:15] == [*modes, *axes]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([0.4, 0.4], "0.4"),
        ([0.0, 1.0], "[0.0, 1.0]"),
        ([[0.0, 1.0], [0.2, 0.2]], "[[0.0, 1.0], 0.2]"),
        (None, "none"),
        ("auto", "auto"),
        (7, "7"),
    ],
)
def test_settings_are_as_a_config_writes_them(value, text):
    """What is held, by its one number."""
    assert _text(value) == text and _as_in_config("model.seed") == "[model] seed"


def test_fifty_runs_differ(tmp_path):
    """All are configs that can be fitted; no two are alike, nor have one name."""
    texts = {number: config(number) for number in range(1, RUNS + 1)}
    assert len(set(texts.values())) == RUNS == len({name_of(number) for number in texts})
    for number, text in texts.items():
        path = tmp_path / f"{number}.toml"
        path.write_text(text)
        assert load_config(path).search.restarts >= 1
    sizes = {len(modes_of(number).structure.positions) for number in texts}
    assert len(sizes) >= 5 and min(sizes) < 50 and max(sizes) > 300
