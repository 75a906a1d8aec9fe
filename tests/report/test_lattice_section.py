"""The section on springs between molecules, of a made-up run."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import tiny_modes

from hpc_diffuser.fit.errors.stiffness import told
from hpc_diffuser.motion.lattice.rigid_lattice import rigid_lattice
from hpc_diffuser.motion.parameters import parameters_from
from hpc_diffuser.report.sections.lattice import springs_of_run


def run_of(answer, errors):
    """What the section asks of a run."""
    modes = tiny_modes()
    lattice = rigid_lattice(modes.structure, modes.unit_cell, "P 1", contact_A=12.0)
    outcome = SimpleNamespace(
        answer={"lattice_spring_A": answer},
        standard_errors={"lattice_spring_A": errors},
        intervals=SimpleNamespace(stiffness=()),
    )
    summary = SimpleNamespace(outcome=outcome)
    return SimpleNamespace(summary=summary, modes=replace(modes, lattice=lattice))


@pytest.mark.parametrize(
    ("answer", "errors"), [([2.0, 4.0, 5.0], [0.1, None, 0.2]), (3.0, 0.1), ([2.0, 3.0, 4.0], None)]
)
def test_springs_of_a_run(answer, errors):
    """Stiffness and its error follow from the length's; numbers in words are in the tables."""
    run = run_of(answer, errors)
    found = springs_of_run(run)
    table, motion, sound = found.tables
    lengths = np.broadcast_to(answer, 3)
    assert [row[0] for row in table.rows] == ["-1 0 0", "0 -1 0", "0 0 -1"]
    assert [row[1] for row in table.rows] == ["x-1,y,z", "x,y-1,z", "x,y,z-1"]
    for row, length in zip(table.rows, lengths, strict=True):
        assert row[5] == pytest.approx(1 / length**2)
        assert (row[6] is None) == (row[4] is None)
        if row[4] is not None:
            assert row[6] == pytest.approx(2 * row[4] / length**3)
    covariance = run.modes.lattice.covariance(tuple(lengths.tolist()))
    assert motion.rows[0][1].value == pytest.approx(covariance[0, 0])
    assert motion.rows[3][4].value == pytest.approx(np.degrees(np.degrees(covariance[3, 3])))
    assert len(sound.rows) == 3
    cells = [x for t in found.tables for row in t.rows for x in row if type(x) is float]
    for number in re.findall(r"\d+\.\d+", " ".join(found.words)):
        digits = len(number.partition(".")[2])
        assert number in {f"{cell:.{digits}f}" for cell in cells}
    drawn = found.figures[0].draw()
    assert [ax.get_xlabel() for ax in drawn.axes] == ["h", "k", "l"]


@pytest.mark.parametrize(("length", "digits"), [(3.0, 3), (0.03, 7)])
def test_small_motions_are_shown_to_digits_that_count(length, digits):
    """Three of the largest number of T; a covariance goes with the square of the length."""
    motion = springs_of_run(run_of(length, None)).tables[1]
    block = [cell for row in motion.rows[:3] for cell in row[1:4]]
    assert {cell.digits for cell in block} == {digits}
    assert 100 <= max(cell.value for cell in block) * 10**digits < 1000


def test_springs_of_any_shape():
    """Stiffness along and about axes, of K itself; what is known of it."""
    run = run_of([2.0, 4.0, 5.0], None)
    run.summary.outcome.answer["lattice_shape"] = [0.0] * 63
    table = springs_of_run(run).tables[1]
    stiffness = run.modes.lattice.stiffness((2.0, 4.0, 5.0))
    for i, k in enumerate(stiffness):
        along, about = ([row[2] for row in table.rows[6 * i + n : 6 * i + n + 3]] for n in (0, 3))
        np.testing.assert_allclose(along, np.linalg.eigvalsh(k[:3, :3]), rtol=1e-9)
        np.testing.assert_allclose(about, np.linalg.eigvalsh(k[3:, 3:]), rtol=1e-9)
    assert {row[4:] for row in table.rows} == {(None, None, "no")}
    springs = run_of([2.0, 4.0, 5.0], None).modes.lattice, [0.1] * 17 + [None], [0.2] * 17 + [0.7]
    parameters = parameters_from({"lattice_spring_A": [2.0, 4.0, 5.0]}, springs[0])
    run.summary.outcome.intervals.stiffness = told(parameters, *springs[1:])
    rows = springs_of_run(run).tables[1].rows
    assert [row[-1] for row in rows] == ["yes"] * 17 + ["no"]
    for row in rows[:17]:
        assert row[4] == pytest.approx(0.1 * row[2]) and row[5] == 0.2


def test_nothing_without_springs():
    """Of another model, and of a run that is not finished."""
    run = run_of([2.0, 2.0, 2.0], None)
    run.summary.outcome.answer.clear()
    assert springs_of_run(run) is None
    assert springs_of_run(SimpleNamespace(summary=None)) is None
