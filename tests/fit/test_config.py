"""The config file: defaults, its keys and their names, files that are none."""

import json
from dataclasses import fields
from pathlib import Path

import pytest
from config_text import FOLDER, KEYS

from hpc_diffuser.fit.config import Config, flat_config, load_config, parse_config
from hpc_diffuser.system.errors import InputError

SECTIONS = [s.name for s in fields(Config)]


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
