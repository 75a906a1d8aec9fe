"""Fits that are interrupted at random end as if they had been left alone.

`interrupt.py` does more of it, under Open MPI, and on many more ranks.
"""

import sys
from pathlib import Path

import pytest
from interrupt import Campaign
from launching import mpi_in


@pytest.mark.slow
def test_interruptions(tmp_path):
    """Killed or stopped at any moment, resumed on other ranks: nothing is lost or changed."""
    tally = Campaign(tmp_path, [mpi_in(Path(sys.prefix))], seed=1, most_ranks=3).run(20)
    assert tally.complaints == []
    assert tally.hits.total() == 20
