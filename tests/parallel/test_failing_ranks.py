"""No rank is left waiting for one that failed, and somebody says what happened.

`failing_ranks.py` has every failure in every place, and Open MPI.
"""

import sys
from pathlib import Path

import pytest
from failing_ranks import fail, told, wrong_with
from launching import mpi_in, write_inputs

CASES = (
    (1, "evaluation", "InputError"),
    (0, "collective", "RuntimeError"),
)
# Of stopped ranks `test_a_silent_rank_is_named` is the quick test.
MORE_CASES = (
    (1, "evaluation", "SIGSTOP"),
    (1, "mpi", "InputError"),
    (1, "evaluation", "RuntimeError"),
    (1, "evaluation", "sys.exit(0)"),
    (1, "evaluation", "sys.exit(3)"),
    (1, "alone", "RuntimeError"),
    (1, "alone", "SIGSTOP"),
    (1, "collective", "RuntimeError"),
    (1, "collective", "sys.exit(0)"),
    (1, "saving", "RuntimeError"),
    (1, "saving", "SIGSTOP"),
)
# Other ends without a word: `test_neighbour.py`.
SILENT_CASES = ((1, "saving", "SIGKILL"),)
MORE_SILENT_CASES = (
    (1, "collective", "os._exit(0)"),
    (1, "evaluation", "os._exit(0)"),
    (1, "evaluation", "SIGKILL"),
    (1, "alone", "os._exit(5)"),
    (1, "alone", "SIGKILL"),
    (0, "saving", "SIGKILL"),
)
ATTEMPTS = 3


def cases(quick: tuple, more: tuple) -> list:
    """Each takes three ranks and ten seconds of processor time: most are slow tests."""
    return [*quick, *(pytest.param(*case, marks=pytest.mark.slow) for case in more)]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """A folder with modes and a target, for the runs of this file."""
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.mark.parametrize(("rank", "place", "how"), cases(CASES, MORE_CASES))
def test_one_failing_rank_ends_all(inputs, rank, place, how):
    """One of three ranks fails: all end, non-zero, and it is said why."""
    ending = fail(inputs, mpi_in(Path(sys.prefix)), place, how, rank)
    assert wrong_with(ending, how) == [], ending.stderr


@pytest.mark.parametrize(("rank", "place", "how"), cases(SILENT_CASES, MORE_SILENT_CASES))
def test_a_neighbour_speaks_for_a_rank_that_cannot(inputs, rank, place, how):
    """A rank that is killed: the same; but the launcher may be faster than the neighbour's word."""
    for attempt in range(ATTEMPTS):
        ending = fail(inputs, mpi_in(Path(sys.prefix)), place, how, rank, attempt)
        if told(ending, how):
            break
        assert [w for w in wrong_with(ending, how) if "first line" not in w] == [], ending.stderr
    assert wrong_with(ending, how) == [], ending.stderr
