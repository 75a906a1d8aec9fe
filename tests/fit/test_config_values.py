"""What may stand at a key of the config: numbers, ranges, words, paths; any key and value."""

import json

import pytest
from config_text import FOLDER, KEYS, toml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpc_diffuser.fit.config import Config, flat_config, parse_config
from hpc_diffuser.motion.registry import PARAMETERS as ROWS
from hpc_diffuser.system.errors import InputError

NUMBERS = ("parameters.halo_sigma_A", "parameters.llm_gamma_A", "grid.d_min_A")
PARAMETERS = tuple(f"parameters.{k}" for s, k in KEYS if s == "parameters")
CORRELATIONS = tuple(name for name in PARAMETERS if name.endswith("correlation"))
LISTS = tuple(f"parameters.{row.name}" for row in ROWS if row.several)
SIGNED = (*CORRELATIONS, "parameters.lattice_shape")


COUNTS = {
    "structure.n_modes": 0,
    "model.samples": 1,
    "model.seed": 0,
    "model.final_samples": 1,
    "search.restarts": 1,
    "search.evaluations": 1,
    "search.initial_points": 1,
    "run.groups": 0,
}


def with_key(name: str, value: str) -> Config:
    """The config of one key with a value in TOML's spelling."""
    section, key = name.split(".")
    return parse_config(f"[{section}]\n{key} = {value}\n", FOLDER)


def complaint(name: str, value: str) -> str:
    """What is said of a bad value: one line that names the key."""
    with pytest.raises(InputError) as caught:
        with_key(name, value)
    text = str(caught.value)
    assert name in text and "\n" not in text
    return text


@pytest.mark.parametrize("name", PARAMETERS)
def test_held_number_and_range(name):
    """A number is held: low = high; [low, high] is refined; whole numbers are numbers."""
    key = name.split(".")[1]
    assert getattr(with_key(name, "0.25").parameters, key) == (0.25, 0.25)
    assert getattr(with_key(name, "0").parameters, key) == (0.0, 0.0)
    assert getattr(with_key(name, "[0, 0.5]").parameters, key) == (0.0, 0.5)
    assert getattr(with_key(name, "[0.5, 0.5]").parameters, key) == (0.5, 0.5)


def test_contacts_are_of_neighbours():
    """Up to 12 Å."""
    assert with_key("lattice.contact_A", "12").lattice.contact_A == 12
    assert "at most 12 Å" in complaint("lattice.contact_A", "12.5")
    assert "above 0" in complaint("lattice.contact_A", "0")


@pytest.mark.parametrize("name", PARAMETERS)
def test_bounds_reversed(name):
    """[high, low] is not silently turned round."""
    assert "bounds reversed" in complaint(name, "[0.5, 0.1]")


@pytest.mark.parametrize("name", [name for name in PARAMETERS if name not in SIGNED])
@pytest.mark.parametrize("value", ["-0.1", "[-0.1, 0.5]", "[-0.5, -0.1]"])
def test_negative_length(name, value):
    """All parameters but correlations and logarithms are amounts: of displacement, mostly."""
    assert "negative" in complaint(name, value)


@pytest.mark.parametrize("name", CORRELATIONS)
def test_correlations(name):
    """Between −1 and 1, either sign."""
    key = name.split(".")[1]
    assert getattr(with_key(name, "[-0.5, 1]").parameters, key) == (-0.5, 1.0)
    for value in ("1.1", "[-1.5, 0.5]"):
        assert "expected -1 to 1" in complaint(name, value)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "value",
    ["nan", "inf", "-inf", "1e400", "1" + "0" * 400],
    ids=["nan", "inf", "-inf", "1e400", "digits"],
)
def test_number_that_is_not_finite(name, value):
    """TOML knows nan and inf, and numbers that no float holds."""
    complaint(name, value)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "value", ['"0.5"', "true", "{ low = 0 }", "2021-02-11", "[true, 1]", "[0.1]", "[0, 1, 2]"]
)
def test_number_of_a_wrong_type(name, value):
    """Text, truth values, tables, dates and lists of other lengths are no numbers."""
    complaint(name, value)


@pytest.mark.parametrize(("name", "least"), COUNTS.items())
def test_counts(name, least):
    """Whole numbers from their least value on; a bool is not the number 1."""
    section, key = name.split(".")
    assert getattr(getattr(with_key(name, str(least)), section), key) == least
    for value in (str(least - 1), "1.0", "true", '"1"', "[1]", "9" * 30):
        assert f"at least {least}" in complaint(name, value)


BEYOND = {
    "grid.d_min_A": "1e-9",
    "grid.oversampling": "[7, 7, 101]",
    "crystal.unit_cell": "[1e300, 10, 10, 90, 90, 90]",
    "parameters.translation_sigma_A": "1e200",
    "model.samples": "2000000",
    "model.final_samples": "2000000",
    "search.initial_points": "2000000",
    "run.groups": "2000000",
    "run.directory": f'"{"x" * 300}"',
    "structure.file": '"a\\u001bb"',
    "crystal.space_group": '"P\\u00001"',
}


@pytest.mark.parametrize("name", BEYOND)
def test_values_beyond_any_use(name):
    """What would fill the memory or the screen is refused while it is only text."""
    complaint(name, BEYOND[name])


def test_unknown_space_group():
    """Refused with the config, before anything is read or written."""
    found = complaint("crystal.space_group", '"P 99"')
    assert 'space group "P 99" is unknown: write it like' in found


@pytest.mark.parametrize("value", ["0", "-1.6", "0.0"])
def test_resolution_is_positive(value):
    """A resolution of 0 Å or below has no grid."""
    assert "above 0" in complaint("grid.d_min_A", value)


@pytest.mark.parametrize("value", ["7", "[7, 7]", "[7, 7, 0]", "[7, 7, 7.5]", "[true, 7, 7]"])
def test_oversampling(value):
    """Three whole numbers of at least 1."""
    complaint("grid.oversampling", value)


@pytest.mark.parametrize(
    "value",
    ["1", "[1, 2, 3]", "[1, 2, 3, 90, 90, 0]", "[1, 2, -3, 90, 90, 90]", "[1, 2, nan, 90, 90, 90]"],
)
def test_unit_cell(value):
    """Six positive numbers."""
    complaint("crystal.unit_cell", value)


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("target.score", ("shell-mean", "pooled")),
        ("target.weights", ("none", "errors")),
        ("model.estimator", ("auto", "sampled", "one-phonon", "control-variate")),
        ("model.sampler", ("sobol", "random")),
        ("search.method", ("bayesian",)),
    ],
)
def test_choices(name, choices):
    """One of the words; the message lists them."""
    section, key = name.split(".")
    for choice in choices:
        assert getattr(getattr(with_key(name, f'"{choice}"'), section), key) == choice
    for value in ('"other"', "1", '["sobol"]', '""', "{ a = 1 }"):
        message = complaint(name, value)
        assert all(f'"{choice}"' in message for choice in choices)


@pytest.mark.parametrize("letter", ["A", "b", "1", "occupancy"])
def test_conformer(letter):
    """A letter or digit, as files have them, or the word."""
    assert with_key("structure.conformer", f'"{letter}"').structure.conformer == letter


@pytest.mark.parametrize("value", ['"AB"', '""', '" "', '"."', '"Occupancy"', '"ä"', "1", "true"])
def test_conformer_that_is_none(value):
    """What no file has, or a slip of the word."""
    assert '"A", or "occupancy"' in complaint("structure.conformer", value)


def test_hydrogens():
    """Yes or no, in TOML's words."""
    assert with_key("structure.hydrogens", "true").structure.hydrogens is True
    for value in ("1", '"yes"', "[true]"):
        assert "true or false" in complaint("structure.hydrogens", value)


@pytest.mark.parametrize(
    "name", ["structure.modes", "structure.file", "target.file", "run.directory"]
)
@pytest.mark.parametrize("value", ["1", '""', "true", '["a"]', "2021-02-11"])
def test_path_of_a_wrong_type(name, value):
    """A path is text, and not empty: an empty one would be the config's own folder."""
    complaint(name, value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0.3", (0.3, 0.3)),
        ("[0.0, 0.5]", (0.0, 0.5)),
        ("[0.1, 0.2, 0.3]", ((0.1, 0.1), (0.2, 0.2), (0.3, 0.3))),
        ("[[0.0, 0.5], 0.2]", ((0.0, 0.5), (0.2, 0.2))),
        ("[0.2, [0.0, 0.5]]", ((0.2, 0.2), (0.0, 0.5))),
        ("[[0.1, 0.1], [0.2, 0.2]]", ((0.1, 0.1), (0.2, 0.2))),
        ("[0.1]", ((0.1, 0.1),)),
    ],
)
def test_forms_of_mode_amplitudes(value, expected):
    """One number or range for all modes, or a list of those, one for each.

    Two plain numbers are a range; two modes held are written as two pairs.
    """
    name = "parameters.mode_amplitude_A"
    assert with_key(name, value).parameters.mode_amplitude_A == expected


@pytest.mark.parametrize(
    "value",
    [
        "[]",
        "[[]]",
        "[[0.1, 0.2, 0.3], 0.1]",
        "[[0.2, 0.1], 0.1]",
        "[0.1, -0.2, 0.3]",
        '[0.1, "a", 0.2]',
        "[[[0.1, 0.2]]]",
    ],
)
def test_bad_lists_of_mode_amplitudes(value):
    """Every entry is checked as a number or range of its own; an empty list says nothing."""
    complaint("parameters.mode_amplitude_A", value)


@pytest.mark.parametrize(
    "name", [name for name in PARAMETERS if name not in LISTS] + ["parameters.translation_sigma_A"]
)
@pytest.mark.parametrize("value", ["[]", "[[0.1, 0.2]]", "[0.1, [0.2, 0.3]]"])
def test_single_parameters_take_no_list(name, value):
    """There is one translation: no list of ranges."""
    complaint(name, value)


SCALARS = st.one_of(
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, -(10**400), 2**31, 2**63]),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.dates(),
)


VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=6), max_leaves=6)


@settings(max_examples=300, deadline=None)
@example(key=("parameters", "mode_amplitude_A"), value=[10**400, 1.0])
@example(key=("parameters", "mode_amplitude_A"), value=[])
@example(key=("run", "directory"), value="\0")
@given(key=st.sampled_from(KEYS), value=VALUES)
def test_any_value_gives_a_config_or_an_input_error(key, value):
    """Whatever stands at a known key is read or refused; nothing else is ever raised."""
    section, name = key
    try:
        config = parse_config(f"[{section}]\n{name} = {toml(value)}\n", FOLDER)
    except InputError as exc:
        assert f"{section}.{name}" in str(exc)
    else:
        json.dumps(flat_config(config), allow_nan=False)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=10), SCALARS, max_size=3
    )
)
def test_any_key_gives_a_config_or_an_input_error(table):
    """Keys of any text too."""
    text = "".join(f"{toml(key)} = {toml(value)}\n" for key, value in table.items())
    if not table:
        parse_config(text, FOLDER)
        return
    with pytest.raises(InputError):
        parse_config(text, FOLDER)
