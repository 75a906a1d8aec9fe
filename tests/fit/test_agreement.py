"""What is said of restarts that ended at the same place, or not: made-up clusters, by hand."""

import numpy as np
import pytest

from hpc_diffuser.fit.agreement import agreement, places
from hpc_diffuser.fit.config import ParametersConfig
from hpc_diffuser.fit.restarts import summarise
from hpc_diffuser.fit.search.history import new_history
from hpc_diffuser.fit.space import search_space
from hpc_diffuser.fit.summary import Summary


def summary_of(*ends: tuple[float, float]) -> Summary:
    """Of restarts that ended at these values of a parameter from 0 to 1, with these CC."""
    space, start = (
        search_space(ParametersConfig(translation_sigma_A=(0.0, 1.0)), np.empty(0)),
        new_history(1),
    )
    histories = {
        r: start.extended(np.array([x]), 1 - cc, start.hedge) for r, (x, cc) in enumerate(ends)
    }
    return summarise(space, histories, len(ends), 1)


SAME, OTHER, FAILED = (0.2, 0.6), (0.8, 0.599), (0.5, 0.1)
TWO = "The 4 restarts ended at 2 different places (clusters): 3 at the best one, "


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        ([SAME], ""),
        ([SAME] * 3, "All 3 restarts ended at the same place"),
        ([SAME, SAME, OTHER, SAME], f"{TWO}restart 2 elsewhere"),
        (
            [OTHER, SAME, (0.5, 0.599), OTHER, SAME],
            "The 5 restarts ended at 3 different places (clusters): 2 at the best one, "
            "restarts 0, 2 and 3 elsewhere",
        ),
        ([*[SAME] * 4, FAILED], "All 4 restarts that did not fail ended at the same place"),
        (
            [*[SAME] * 11, *[OTHER] * 10],
            "The 21 restarts ended at 2 different places (clusters): 11 at the best one, "
            "restarts 11, 12, 13, 14, 15, 16, 17, 18 and 2 more elsewhere",
        ),
    ],
    ids=["one", "all", "one-deviates", "several", "failed", "many"],
)
def test_where_restarts_ended(ends, told):
    """How many, at how many places, and which are elsewhere."""
    assert agreement(summary_of(*ends)) == told


def test_without_a_finished_restart():
    """Nothing to say."""
    assert agreement(summary_of()) == places(()) == ""
