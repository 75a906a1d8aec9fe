"""A search whose steps lead nowhere: kept as such, counted as such, warned of."""

from dataclasses import replace

import numpy as np
import pytest

from hpc_diffuser.fit.refinement import ended_text
from hpc_diffuser.fit.restarts import summarise
from hpc_diffuser.fit.run.checkpoints import read_checkpoint, write_checkpoint
from hpc_diffuser.fit.search.history import History, new_history
from hpc_diffuser.fit.space import SearchSpace
from hpc_diffuser.fit.summary_file import summary_data, summary_from


def ended(stands_still: bool) -> History:
    """Of two evaluations, with the second of which it ends."""
    history = new_history(1)
    first = history.extended(np.array([0.3]), 0.5, history.hedge)
    return first.extended(np.array([0.2]), 0.4, history.hedge, 0.0, False, True, stands_still)


@pytest.mark.parametrize("stands_still", [False, True])
def test_a_checkpoint_keeps_it(tmp_path, stands_still):
    """Beside that it has ended, which is all that older checkpoints say."""
    write_checkpoint(tmp_path / "c.h5", ended(stands_still))
    found = read_checkpoint(tmp_path / "c.h5")
    assert found.ended and found.stands_still == stands_still


def test_the_summary_counts_it():
    """Of three that ended one stood still; where none did, the key is not there."""
    space = SearchSpace((("translation_sigma_A", None),), np.zeros(1), np.ones(1))
    histories = {0: ended(True), 1: ended(False), 2: ended(False)}
    found = summarise(space, histories, 3, 20)
    assert (found.restarts_ended, found.restarts_stood_still) == (3, 1)
    data = summary_data(found)
    assert data["restarts_stood_still"] == 1 and summary_from(data) == found
    none = replace(found, restarts_stood_still=0)
    assert "restarts_stood_still" not in summary_data(none)
    assert summary_from(summary_data(none)) == none


def test_the_log_does_not_call_it_converged():
    assert "has not converged" in ended_text(7, stands_still=True)
    assert ended_text(7, stands_still=False).startswith("converged after 7")
