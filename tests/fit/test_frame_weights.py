"""Weights of an ensemble's frames, found again in a map that was made of three of them."""

from pathlib import Path

import numpy as np
import pytest
from closed_loop import problem_of, searched
from frames_loop import CONFIG, TRUE_TRANSLATION_A, TRUE_WEIGHTS, write_frames_loop


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """An ensemble and a target."""
    return write_frames_loop(tmp_path_factory.mktemp("inputs"))


@pytest.mark.parametrize("restart", [0, 1, 2])
def test_weights_are_found_from_anywhere(folder, restart):
    """From the given ones and from random ones."""
    history = searched(problem_of(folder, CONFIG), restart)
    found = history.points[history.best]
    assert history.ended and len(history) <= 20
    np.testing.assert_allclose(found[1:], TRUE_WEIGHTS, atol=0.02)
    np.testing.assert_allclose(found[0], TRUE_TRANSLATION_A, rtol=0.02)
