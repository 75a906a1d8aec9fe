"""What a model is by its name, and the bases that models are fitted with."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import with_little_to_do

from hpc_diffuser.fit.comparison import model_config, with_models
from hpc_diffuser.fit.config import (
    Config,
    ModelsConfig,
    ParametersConfig,
    PriorConfig,
    RunConfig,
    StructureConfig,
    load_config,
    parse_config,
)
from hpc_diffuser.fit.inputs import load_modes
from hpc_diffuser.fit.space import search_space
from hpc_diffuser.io.structures.files import write_pdb
from hpc_diffuser.motion.registry import TERMS
from hpc_diffuser.system.errors import InputError

EVERY_MODEL = ("rbt", "llm", "rbt+int", "rbt+llm", "rbt+llm+int", "lib", "unc+res", "rbt+sol+lib")


# [parameters] of a model with everything that can be together.
EVERYTHING = ParametersConfig(
    mode_amplitude_A=(0.0, 0.5),
    mode_correlation=(-0.9, 0.9),
    translation_sigma_A=((0.0, 0.4), (0.0, 0.5), (0.0, 0.6)),
    translation_correlation=(-0.5, 0.5),
    libration_sigma_deg=(0.0, 3.0),
    screw_correlation=(0.0, 1.0),
    uncorrelated_sigma_A=(0.25, 0.25),
    residual_b_fraction=(0.0, 0.9),
    llm_sigma_A=(0.1, 0.2),
    llm_gamma_A=(3.0, 30.0),
    k_sol_eA3=(0.3, 0.4),
    b_sol_A2=(10.0, 20.0),
    halo_sigma_A=(0.0, 0.3),
    halo_gamma_A=(20.0, 90.0),
)


def config(**parameters) -> Config:
    """Of modes.h5 with two correlated modes, and these parameters."""
    return Config(
        structure=StructureConfig(modes=Path("modes.h5"), n_modes=4, correlated_modes=2),
        parameters=ParametersConfig(**parameters),
        models=ModelsConfig(EVERY_MODEL),
        run=RunConfig(directory=Path("run")),
    )


@pytest.fixture(scope="module")
def inputs(inputs, tmp_path_factory) -> Path:
    """The project with little to do."""
    return with_little_to_do(inputs, tmp_path_factory.mktemp("short") / "project")


@pytest.mark.parametrize("name", [*EVERY_MODEL, "halo", "rbt+halo"])
def test_a_model_has_the_terms_of_its_name(name):
    """Their parameters are those of the config; all others are absent.

    But the screw, which is libration together with a translation. Without int no mode is left.
    """
    whole = replace(config(), parameters=EVERYTHING)
    own = model_config(whole, name)
    terms = name.split("+")
    for term, keys in TERMS.items():
        for key in keys:
            expected = EVERYTHING if term in terms else ParametersConfig()
            if key == "screw_correlation" and "rbt" not in terms:
                expected = ParametersConfig()
            assert getattr(own.parameters, key) == getattr(expected, key), key
    n_modes = 4 if "int" in terms else 0
    assert own.structure.n_modes == n_modes
    assert own.structure.correlated_modes == (2 if "int" in terms else 0)
    assert own.run.directory == Path("run") / name
    assert own.models == ModelsConfig()
    space = search_space(own.parameters, np.full(n_modes, 0.3), own.structure.correlated_modes)
    assert space.at_most("mode_amplitude_A") == (0.5 if n_modes else 0)


def test_terms_name_every_parameter():
    """A parameter that is in no term would be absent from all models."""
    keys = [key for term in TERMS.values() for key in term]
    assert sorted(keys) == sorted(ParametersConfig.__dataclass_fields__)


@pytest.mark.parametrize(
    ("name", "refined"),
    [
        ("rbt", {"translation_sigma_A": (0, 1)}),
        ("llm", {"llm_sigma_A": (0, 1), "llm_gamma_A": (5, 50)}),
        ("lib", {"libration_sigma_deg": (0, 5)}),
        ("unc", {"uncorrelated_sigma_A": (0, 1)}),
        ("res", {"residual_b_fraction": (0, 1)}),
        (
            "rbt+sol",
            {"translation_sigma_A": (0, 1), "k_sol_eA3": (0, 0.5), "b_sol_A2": (0, 100)},
        ),
    ],
)
def test_ranges_of_terms_that_the_config_does_not_know(name, refined):
    """As documented."""
    space = search_space(model_config(config(), name).parameters, np.empty(0))
    assert dict(zip(space.names, map(tuple, space.bounds), strict=True)) == refined


def test_given_halves_of_a_term_are_kept():
    """Of liquid-like motion with a given length only the amplitude is missing."""
    own = model_config(config(llm_gamma_A=(5.0, 5.0)), "llm").parameters
    assert own.llm_gamma_A == (5.0, 5.0)
    assert own.llm_sigma_A == (0.0, 1.0)


def test_range_of_modes_that_the_config_does_not_know(inputs):
    """Twice the larger stored amplitude of 0.4 and 0.2 Å."""
    own = load_config(inputs / "fit.toml")
    own = replace(own, parameters=ParametersConfig())
    assert model_config(own, "int").parameters.mode_amplitude_A == (0.0, 0.8)


def test_an_ensemble_without_int_is_its_mean(tmp_path, modes):
    """With it, its frames: two models weighted 1 to 3, of which one lies 0.4 Å along x."""
    text = ""
    for number, shift in enumerate((0.0, 0.4), start=1):
        moved = replace(
            modes.structure, positions=modes.structure.positions + np.array([shift, 0, 0])
        )
        write_pdb(tmp_path / "one.pdb", moved, (modes.unit_cell, modes.space_group))
        lines = (tmp_path / "one.pdb").read_text().splitlines()
        atoms = [line for line in lines if line.startswith(("ATOM", "HETATM"))]
        text += "\n".join([f"MODEL     {number:4d}", *atoms, "ENDMDL\n"])
        head = "\n".join(line for line in lines if line.startswith("CRYST1"))
    (tmp_path / "two.pdb").write_text(f"{head}\n{text}END\n")
    structure = StructureConfig(ensemble=tmp_path / "two.pdb", weights=(1.0, 3.0))
    own = Config(structure=structure)
    assert load_modes(model_config(own, "rbt+int")).frames.shape == (2, 12, 3)
    refined = replace(structure, weights="refine", given_weights=(0.25, 0.75))
    refining = Config(structure=refined, prior=PriorConfig(weights=0.1))
    whole = model_config(refining, "int")
    assert whole.structure.weights == "refine" and whole.prior.weights == 0.1
    assert whole.search == refining.search  # there is something to search for
    assert model_config(refining, "rbt").prior.weights is None
    for config in (own, refining):
        mean = load_modes(model_config(config, "rbt"))
        assert mean.frames is None and mean.weights is None
        expected = modes.structure.positions + np.array([0.75 * 0.4, 0, 0])
        np.testing.assert_allclose(mean.structure.positions, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ('["rbt", "md"]', "'md'"),
        ('["rbt+"]', r"'rbt\+'"),
        ('["RBT"]', "'RBT'"),
        ('["../rbt"]', "'../rbt'"),
        ('["rbt+rbt"]', r"'rbt\+rbt'"),
        ("[1]", "found 1"),
        ("[[]]", r"found \[\]"),
    ],
)
def test_bad_names(value, found):
    """Told with the terms that there are."""
    with pytest.raises(InputError, match=f"models.compare.* {', '.join(TERMS)}.*{found}"):
        parse_config(f"[models]\ncompare = {value}", Path())


@pytest.mark.parametrize("value", ["[]", '"rbt"', "1"])
def test_no_list_of_names(value):
    """Told what was expected."""
    with pytest.raises(InputError, match=r"models\.compare should be a list of models"):
        parse_config(f"[models]\ncompare = {value}", Path())


def test_a_model_named_twice():
    """In another order of its terms it would have another folder."""
    with pytest.raises(InputError, match=r"rbt\+int and int\+rbt are the same model"):
        parse_config('[models]\ncompare = ["rbt+int", "llm", "int+rbt"]', Path())


def test_the_command_line_overrides_the_config():
    """And is checked like it."""
    given = parse_config('[models]\ncompare = ["rbt", "llm"]', Path())
    assert with_models(given, None).models.compare == ("rbt", "llm")
    assert with_models(given, "rbt, rbt+int").models.compare == ("rbt", "rbt+int")
    with pytest.raises(InputError, match=r"--models: .*'md'"):
        with_models(given, "rbt,md")


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ('"enm.h5"', "models.bases should name modes files"),
        ("{}", "models.bases should name modes files"),
        ('{ "a b" = "enm.h5" }', "expected names of letters, digits, - and _, found 'a b'"),
        ("{ enm = 1 }", "models.bases.enm should be text, found 1"),
    ],
)
def test_bad_bases(value, complaint):
    """Told with what was expected."""
    with pytest.raises(InputError, match=complaint):
        parse_config(f"[models]\nbases = {value}", Path())


def test_models_on_other_bases():
    """A model with modes is fitted on every basis, unless it names one; others once."""
    text = '[models]\ncompare = ["rbt", "rbt+int"]\nbases = {enm = "e.h5", free = "f.h5"}'
    given = parse_config(text, Path("/here"))
    names = ("rbt", "rbt+int", "rbt+int@enm", "rbt+int@free")
    assert with_models(given, None).models.compare == names
    assert with_models(given, "int@free,int").models.compare == ("int@free", "int", "int@enm")
    with pytest.raises(InputError, match='unknown basis "fre": did you mean "free"'):
        with_models(given, "int@fre")
    with pytest.raises(InputError, match="rbt@enm: expected a basis of a model with int only"):
        with_models(given, "rbt@enm")
    with pytest.raises(InputError, match=r"int\+rbt@enm and rbt\+int@enm are the same model"):
        with_models(given, "int+rbt@enm,rbt+int@enm")
    with pytest.raises(InputError, match=r"no basis of this name.*bases = \{ enm"):
        with_models(parse_config("", Path()), "int@enm")
    given = replace(given, structure=StructureConfig(modes=Path("m.h5"), n_modes=3))
    own = model_config(replace(given, parameters=EVERYTHING), "rbt+int@free")
    assert own.structure == StructureConfig(modes=Path("/here/f.h5"), n_modes=3)
    assert own.run.directory == Path("/here/run/rbt+int@free")
