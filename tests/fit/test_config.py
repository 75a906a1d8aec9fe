"""The config file: defaults, every rule, every message."""

import datetime
import json
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpc_diffuser.fit.config import Config, flat_config, load_config, parse_config
from hpc_diffuser.motion.registry import PARAMETERS as ROWS
from hpc_diffuser.system.errors import InputError

FOLDER = Path("/somewhere")
KEYS = [(s.name, f.name) for s in fields(Config) for f in fields(s.default_factory)]
SECTIONS = [s.name for s in fields(Config)]
NUMBERS = ("parameters.llm_sigma_A", "parameters.llm_gamma_A", "grid.d_min_A")
PARAMETERS = tuple(f"parameters.{k}" for s, k in KEYS if s == "parameters")
CORRELATIONS = tuple(name for name in PARAMETERS if name.endswith("correlation"))
LISTS = tuple(f"parameters.{row.name}" for row in ROWS if row.several)
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


def test_defaults_of_an_empty_file():
    """What the README promises of keys that are not given."""
    config = parse_config("", FOLDER)
    assert config.structure.modes is config.structure.file is config.structure.n_modes is None
    assert (config.structure.conformer, config.structure.hydrogens) == ("A", False)
    assert config.crystal.unit_cell is config.crystal.space_group is None
    assert config.grid.oversampling == (7, 7, 7)
    assert config.grid.d_min_A == 1.6
    assert config.target.file is None
    assert (config.target.score, config.target.weights) == ("shell-mean", "none")
    assert config.parameters.mode_amplitude_A is None
    assert config.parameters.translation_sigma_A == (0.0, 0.0)
    assert config.parameters.uncorrelated_sigma_A == (0.0, 0.0)
    assert (config.model.samples, config.model.final_samples) == (128, 1024)
    assert (config.model.sampler, config.model.seed) == ("sobol", 1)
    assert config.search.method == "bayesian"
    assert (config.search.restarts, config.search.evaluations) == (128, 100)
    assert config.search.initial_points == 10
    assert config.run.directory == FOLDER / "run"
    assert config.run.groups == 0


def test_every_key_of_the_contract_is_read(tmp_path):
    """The example of the contract, with what this version knows of it."""
    path = tmp_path / "c.toml"
    path.write_text(
        '[structure]\nmodes = "modes.h5"\nn_modes = 10\n'
        "[crystal]\nunit_cell = [27.424, 32.134, 34.513, 88.66, 108.46, 111.88]\n"
        'space_group = "P 1"\n'
        "[grid]\noversampling = [7, 6, 5]\nd_min_A = 1.8\n"
        '[target]\nfile = "target.h5"\nscore = "pooled"\nweights = "errors"\n'
        "[parameters]\nmode_amplitude_A = [0.0, 0.5]\ntranslation_sigma_A = 0.46\n"
        "uncorrelated_sigma_A = [0, 1]\n"
        '[model]\nsamples = 64\nsampler = "random"\nseed = 0\nfinal_samples = 512\n'
        '[search]\nmethod = "bayesian"\nrestarts = 12\nevaluations = 34\ninitial_points = 5\n'
        '[run]\ndirectory = "there"\ngroups = 3\n'
    )
    config = load_config(path)
    assert config.structure.modes == tmp_path / "modes.h5"
    assert config.structure.n_modes == 10
    assert config.crystal.unit_cell == (27.424, 32.134, 34.513, 88.66, 108.46, 111.88)
    assert config.crystal.space_group == "P 1"
    assert (config.grid.oversampling, config.grid.d_min_A) == ((7, 6, 5), 1.8)
    assert config.target.file == tmp_path / "target.h5"
    assert (config.target.score, config.target.weights) == ("pooled", "errors")
    assert config.parameters.mode_amplitude_A == (0.0, 0.5)
    assert config.parameters.translation_sigma_A == (0.46, 0.46)
    assert config.parameters.uncorrelated_sigma_A == (0.0, 1.0)
    assert (config.model.samples, config.model.final_samples) == (64, 512)
    assert (config.model.sampler, config.model.seed) == ("random", 0)
    assert (config.search.restarts, config.search.evaluations) == (12, 34)
    assert config.search.initial_points == 5
    assert (config.run.directory, config.run.groups) == (tmp_path / "there", 3)


@pytest.mark.parametrize(
    ("text", "found", "known"),
    [
        ("[model]\nsample = 1", "model.sample", "model.samples"),
        ("[model]\nfinal_sample = 1", "model.final_sample", "model.final_samples"),
        ("[search]\nrestart = 1", "search.restart", "search.restarts"),
        ("[target]\nweight = 1", "target.weight", "target.weights"),
        ("[run]\ndir = 1", "run.dir", "run.directory"),
        ("[grid]\nd_min = 1", "grid.d_min", "grid.d_min_A"),
        ("[crystal]\ncell = 1", "crystal.cell", "crystal.unit_cell"),
        ("[serach]\nrestarts = 1", "serach", "search"),
        ("[parameter]\n", "parameter", "parameters"),
    ],
)
def test_misspelt_key_names_the_nearest_known(text, found, known):
    """A key or section with a slip of the pen is refused, and the right one named."""
    with pytest.raises(InputError) as caught:
        parse_config(text, FOLDER, "fit.toml")
    message = str(caught.value)
    assert message.startswith(f'fit.toml: unknown key "{found}"')
    assert f'"{known}"' in message


@pytest.mark.parametrize(("home", "key"), KEYS)
def test_right_key_in_a_wrong_section(home, key):
    """A known key under another heading is an unknown key whose nearest is itself, at home."""
    homes = [f'"{s}.{k}"' for s, k in KEYS if k == key]
    for section in SECTIONS:
        if (section, key) in KEYS:
            continue
        with pytest.raises(InputError) as caught:
            parse_config(f"[{section}]\n{key} = 1", FOLDER)
        message = str(caught.value)
        assert f'unknown key "{section}.{key}"' in message
        assert any(name in message for name in homes), message


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("translation_sigma", "translation_sigma_A"),
        ("translation_sigma_a", "translation_sigma_A"),
        ("mode_amplitudes_A", "mode_amplitude_A"),
        ("uncorrelated_sigma", "uncorrelated_sigma_A"),
    ],
)
def test_misspelt_parameter_names_the_nearest_known(wrong, right):
    """Also where the slip is in the unit at the end."""
    with pytest.raises(InputError, match=f'"parameters.{right}"'):
        parse_config(f"[parameters]\n{wrong} = 1", FOLDER)


def test_unknown_key_like_nothing():
    """Even of a key that resembles none, some known key is named."""
    with pytest.raises(InputError, match=r'unknown key "zzz": .*"\w+\.\w+"'):
        parse_config("zzz = 1", FOLDER)


@pytest.mark.parametrize("text", ["run = 1", "run = [1]", '[[run]]\ndirectory = "x"'])
def test_section_that_is_no_table(text):
    """A heading used as a key is refused by its name."""
    with pytest.raises(InputError, match=r"\[run\] should be a table"):
        parse_config(text, FOLDER)


@pytest.mark.parametrize("name", PARAMETERS)
def test_held_number_and_range(name):
    """A number is held: low = high; [low, high] is refined; whole numbers are numbers."""
    key = name.split(".")[1]
    assert getattr(with_key(name, "0.25").parameters, key) == (0.25, 0.25)
    assert getattr(with_key(name, "0").parameters, key) == (0.0, 0.0)
    assert getattr(with_key(name, "[0, 0.5]").parameters, key) == (0.0, 0.5)
    assert getattr(with_key(name, "[0.5, 0.5]").parameters, key) == (0.5, 0.5)


@pytest.mark.parametrize("name", PARAMETERS)
def test_bounds_reversed(name):
    """[high, low] is not silently turned round."""
    assert "bounds reversed" in complaint(name, "[0.5, 0.1]")


@pytest.mark.parametrize("name", [name for name in PARAMETERS if name not in CORRELATIONS])
@pytest.mark.parametrize("value", ["-0.1", "[-0.1, 0.5]", "[-0.5, -0.1]"])
def test_negative_length(name, value):
    """All parameters but correlations are amounts: of displacement, mostly."""
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
        ("model.estimator", ("sampled", "one-phonon", "control-variate")),
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


def test_paths_are_relative_to_the_config(tmp_path, monkeypatch):
    """Wherever the program is started; absolute paths stay, `..` works."""
    (tmp_path / "project").mkdir()
    path = tmp_path / "project" / "c.toml"
    path.write_text(
        '[structure]\nmodes = "in/modes.h5"\n[target]\nfile = "/abs/target.h5"\n'
        '[run]\ndirectory = "../run"\n'
    )
    monkeypatch.chdir(tmp_path)
    config = load_config(Path("project/c.toml"))
    assert config.structure.modes == tmp_path / "project/in/modes.h5"
    assert config.target.file == Path("/abs/target.h5")
    assert config.run.directory.resolve() == tmp_path / "run"


def test_default_run_directory_is_beside_the_config(tmp_path):
    """`run` beside the file, not where the program is started."""
    path = tmp_path / "c.toml"
    path.write_text("")
    assert load_config(path).run.directory == tmp_path / "run"


@pytest.mark.parametrize(
    "text",
    [
        "samples 128",
        "[model",
        "a = 1\na = 2",
        "a = ",
        "a = " + "[" * 3000,
        "a = 1" + "0" * 5000,
        "a = 'x\ty\0'",
    ],
    ids=["no-equals", "heading", "twice", "no-value", "nesting", "digits", "control"],
)
def test_not_toml(text):
    """Whatever the parser raises on text that is no TOML is bad input, told with the file."""
    with pytest.raises(InputError, match=r"^fit\.toml: "):
        parse_config(text, FOLDER, "fit.toml")


def test_deep_nesting_of_keys():
    """A table in a table in a table, which the parser accepts but nothing can show."""
    with pytest.raises(InputError, match=r"^fit\.toml: "):
        parse_config(f"structure.file.{'.'.join('a' * 3000)} = 1", FOLDER, "fit.toml")


def test_config_without_end(tmp_path):
    """A trajectory given in place of the config, say: not read whole."""
    (tmp_path / "c.toml").write_bytes(b"#" * (2 << 20))
    with pytest.raises(InputError, match="more than 1048576 bytes"):
        load_config(tmp_path / "c.toml")


def test_deep_nesting_below_the_limit():
    """Nesting that the parser accepts is an unknown key like any other."""
    with pytest.raises(InputError, match="unknown key"):
        parse_config("a = " + "[" * 100 + "]" * 100, FOLDER)


@pytest.mark.parametrize(
    ("kind", "reason"), [("missing", "No such file"), ("folder", "directory"), ("latin", "UTF-8")]
)
def test_unreadable_file(tmp_path, kind, reason):
    """Missing, a folder, or in another encoding: the file is named, and what was expected."""
    path = tmp_path / "c.toml"
    if kind == "folder":
        path.mkdir()
    elif kind == "latin":
        path.write_bytes("# Ångström".encode("latin-1"))
    with pytest.raises(InputError) as caught:
        load_config(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and reason in message and "TOML" in message


def test_flat_config_is_plain_json():
    """Every setting by its dotted name; what JSON gives back equals what went in."""
    config = parse_config(
        "[parameters]\nmode_amplitude_A = [0.1, [0.0, 0.5]]\n[crystal]\n"
        'unit_cell = [10, 11, 12, 90, 91, 92]\n[structure]\nfile = "m.pdb"\n',
        FOLDER,
    )
    flat = flat_config(config)
    assert set(flat) == {f"{s}.{k}" for s, k in KEYS}
    assert json.loads(json.dumps(flat, allow_nan=False)) == flat
    assert flat["parameters.mode_amplitude_A"] == [[0.1, 0.1], [0.0, 0.5]]
    assert flat["crystal.unit_cell"] == [10.0, 11.0, 12.0, 90.0, 91.0, 92.0]
    assert flat["structure.file"] == str(FOLDER / "m.pdb")


def toml(value: object) -> str:
    """A value in TOML's spelling."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return value.isoformat() if isinstance(value, datetime.date) else repr(value)


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
