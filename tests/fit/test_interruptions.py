"""Fits that are interrupted at random end as if they had been left alone.

`interrupt.py` does more of it, under Open MPI, and on many more ranks.
"""

import sys
from pathlib import Path

import pytest
from interrupt import Campaign
from launching import mpi_in


@pytest.mark.slow
@pytest.mark.parametrize("method", ["bayesian", "least-squares"])
def test_interruptions(tmp_path, method):
    """Killed or stopped at any moment, resumed on other ranks: nothing is lost or changed."""
    mpis = [mpi_in(Path(sys.prefix))]
    tally = Campaign(tmp_path, mpis, seed=1, most_ranks=3, method=method).run(20)
    assert tally.complaints == []
    assert tally.hits.total() == 20
