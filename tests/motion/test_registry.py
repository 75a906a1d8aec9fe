"""The table of parameters against the physics, the config and the pages that it drives."""

import runpy
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from conftest import UNIT_CELL, tiny_modes

from hpc_diffuser.fit.b_factors import model_b_factors
from hpc_diffuser.fit.config import ParametersConfig
from hpc_diffuser.motion.configurations import configurations
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.lattice.rigid_lattice import rigid_lattice
from hpc_diffuser.motion.parameters import Parameters, parameters_from, values_of
from hpc_diffuser.motion.registry import (
    BY_NAME,
    FRAME_WEIGHT,
    MOTIONS,
    PARAMETERS,
    TERM_ROWS,
    TERMS,
)
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering import moments

TABLES = Path(__file__).resolve().parents[2] / "docs" / "tables.py"
# A model with two correlated modes and every motion, but for halos of two kinds at once.
EVERYTHING = {
    "mode_amplitude_A": [0.2, 0.1],
    "mode_correlation": [0.3],
    "translation_sigma_A": [0.2, 0.3, 0.1],
    "translation_correlation": [0.1, -0.2, 0.3],
    "libration_sigma_deg": 2.0,
    "screw_correlation": 0.0,
    "uncorrelated_sigma_A": 0.15,
    "residual_b_fraction": 0.5,
    "llm_sigma_A": [0.2, 0.3, 0.1],
    "llm_gamma_A": 8.0,
    "llm_correlation": [0.2, -0.3, 0.1],
    "crystal_llm_sigma_A": [0.3, 0.2],
    "crystal_llm_gamma_A": 9.0,
    "crystal_llm_correlation": [0.0, 0.0, 0.0],
    "k_sol_eA3": 0.3,
    "b_sol_A2": 20.0,
    "halo_sigma_A": 0.1,
    "halo_gamma_A": 30.0,
    "halo_alpha": 0.0,
    "lattice_spring_A": 0.0,
    "lattice_shape": [],
}
# What these springs hold: they take the place of the other motions of the molecule as a whole.
IN_LATTICE = {
    "translation_sigma_A": 0.0,
    "translation_correlation": [],
    "libration_sigma_deg": 0.0,
    "halo_sigma_A": 0.0,
    "halo_gamma_A": 0.0,
    "lattice_spring_A": 1.0,
    "lattice_shape": [0.1] * 63,
}


def parameters_of(values) -> Parameters:
    """The same in a crystal of the twelve atoms."""
    structure = tiny_modes().structure
    return parameters_from(values, rigid_lattice(structure, UNIT_CELL, "P 1", contact_A=12.0))


NAMES = [row.name for row in PARAMETERS]


@pytest.fixture(autouse=True)
def everything():
    """Without a value for each row these tests say nothing of it."""
    missing = [name for name in NAMES if name not in EVERYTHING]
    assert not missing, f"give EVERYTHING in {__name__}.py values of these rows: {missing}"


def test_a_row_for_every_value_of_the_model():
    """The physics has each under its name, and the config a range for each, in the rows' order."""
    own = {f.name for f in fields(Parameters)} - {"disorder", "mode_amplitudes_A", "lattice"}
    own -= {FRAME_WEIGHT.name}  # of an ensemble, and no key of the config
    disorder = {f.name for f in fields(Disorder)}
    assert sorted(NAMES) == sorted(own | disorder | {"mode_amplitude_A"})
    assert [f.name for f in fields(ParametersConfig)] == NAMES
    assert {row.motion for row in PARAMETERS} == {"", *MOTIONS}


def test_values_and_names_back_and_forth():
    """What `parameters_from` makes of plain values, `values_of` gives back."""
    found = values_of(parameters_from(EVERYTHING))
    assert list(found) == list(EVERYTHING)
    for name, value in EVERYTHING.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("name", NAMES)
def test_names_in_a_row_are_names_of_rows(name):
    """What a row needs is another row, and its terms are words of models."""
    row = BY_NAME[name]
    assert set(row.needs) <= set(NAMES) - {name}
    assert name in TERMS[row.term]
    assert row.beside in ("", *(term.word for term in TERM_ROWS))
    low, high = row.quantity.limits
    assert row.default_range is None or low <= row.default_range[0] < row.default_range[1] <= high


def scaled(name: str, factor: float) -> Parameters:
    """The model of everything with one parameter larger."""
    values = EVERYTHING | (IN_LATTICE if BY_NAME[name].term == "lat" else {})
    return parameters_of({**values, name: np.multiply(values[name], factor).tolist()})


@pytest.mark.parametrize("row", PARAMETERS, ids=NAMES)
def test_who_moves_atoms(modes, row):
    """A row with a motion that it is the size of changes B-factors; one without does not."""
    # No residual motion beside the others: it takes up what they leave.
    size = 0.0 if row.name != "residual_b_fraction" else 0.5
    with_b = replace(modes, crystal_b_A2=np.full(12, 200.0))
    one, other = (
        model_b_factors(with_b, replace(scaled(row.name, f), residual_b_fraction=f * size))
        for f in (1, 1.5)
    )
    if row.is_amplitude:
        assert np.all(other > one * 1.001)
    elif not row.motion:
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("row", PARAMETERS, ids=NAMES)
def test_what_is_computed_anew(modes, diffuse, monkeypatch, row):
    """Configurations of another value are made where the row is sampled, or atoms scatter by it.

    A screw takes a part of the translation along, and what the other motions leave of the
    B-factors depends on all of them: both are there only where the row is theirs.
    """
    made = []
    monkeypatch.setattr(
        moments, "configurations", lambda *given: made.append(1) or configurations(*given)
    )
    with_b = replace(modes, crystal_b_A2=np.full(12, 200.0))
    indices = diffuse.grid.indices_between(6, 4)
    found = moments.Moments(with_b, diffuse.grid, indices, Ranks(), "direct")
    normals = np.random.default_rng(1).normal(size=(4, 5))
    calm = {"screw_correlation": 0.0, "residual_b_fraction": 0.0}
    base = {**EVERYTHING, **calm, **(IN_LATTICE if row.name == "lattice_shape" else {})}
    one, other = base, {**base, row.name: np.add(base[row.name], 0.1).tolist()}
    counts = []
    for values in (one, one, other):
        found.of(parameters_of(values), normals)
        counts.append(len(made))
    assert counts[0] == counts[1]
    assert (counts[2] > counts[1]) == (row.sampled or row.scatters)
    keys = [parameters_of(values).sampled for values in (one, other)]
    assert (keys[0] != keys[1]) == row.sampled


def test_labels():
    """Of summaries, which are relied on elsewhere, and of the report."""
    expected = {
        "mode_amplitude_A": (2, ["mode 1", "mode 2"], ["mode 1 (Å)", "mode 2 (Å)"]),
        "mode_correlation": (3, ["modes 2-1", "modes 3-1", "modes 3-2"], None),
        "translation_sigma_A": (3, ["translation_sigma_A x", "translation_sigma_A y"], None),
        "translation_correlation": (3, ["translation_correlation yx"], None),
        "crystal_llm_sigma_A": (
            2,
            ["crystal_llm_sigma_A xy", "crystal_llm_sigma_A z"],
            ["crystal llm xy (Å)", "crystal llm z (Å)"],
        ),
        "libration_sigma_deg": (None, ["libration_sigma_deg"], ["libration (°)"]),
        "b_sol_A2": (None, ["b_sol_A2"], ["b sol (Å²)"]),
        "k_sol_eA3": (None, ["k_sol_eA3"], ["k sol (e/Å³)"]),
        "llm_gamma_A": (None, ["llm_gamma_A"], ["llm gamma (Å)"]),
        "residual_b_fraction": (None, ["residual_b_fraction"], ["residual b fraction"]),
    }
    for name, (size, labels, shown) in expected.items():
        row = BY_NAME[name]
        assert row.labels(size)[: len(labels)] == labels
        assert len(row.labels(size)) == len(row.shown_labels(size)) == (size or 1)
        assert shown is None or row.shown_labels(size)[: len(shown)] == shown
    assert BY_NAME["translation_sigma_A"].labels(None) == ["translation_sigma_A"]
    assert BY_NAME["translation_sigma_A"].shown_labels(3)[2] == "translation z (Å)"
    correlations = BY_NAME["translation_correlation"].shown_labels(3)
    assert correlations == [f"translation correlation {pair}" for pair in ("yx", "zx", "zy")]


@pytest.mark.parametrize("row", PARAMETERS, ids=NAMES)
def test_unit_of_a_row(row):
    """The report says it by every number that has one, and by no other."""
    for label in row.shown_labels(3):
        assert label.endswith(f"({row.quantity.unit})") == bool(row.quantity.unit)


def test_pages_hold_the_tables():
    """Written by `python docs/tables.py`; each table stands on some page."""
    tables = runpy.run_path(str(TABLES))
    pages = [page.read_text(encoding="utf-8") for page in tables["PAGES"]]
    for page in pages:
        assert tables["with_tables"](page) == page, "run: python docs/tables.py"
    for table in tables["TABLES"].values():
        assert any(table() in page for page in pages)
