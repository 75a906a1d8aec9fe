"""From a config to checked arrays."""

import re
from dataclasses import replace

import numpy as np
import pytest
from builders import atom

from hpc_diffuser.commands.examples.four_helices import example_modes
from hpc_diffuser.fit.config import Config, CrystalConfig, GridConfig, StructureConfig, load_config
from hpc_diffuser.fit.inputs import load_modes
from hpc_diffuser.fit.problem import load_problem
from hpc_diffuser.fit.simulation import simulate
from hpc_diffuser.io.modes_file import read_modes, write_modes
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.system.errors import InputError

TETRAGONAL = (40.0, 40.0, 50.0, 90.0, 90.0, 90.0)


def config(folder, in_file: str, **crystal) -> Config:
    """A config for the built-in protein in another crystal; its modes name this space group."""
    modes = replace(example_modes(), unit_cell=TETRAGONAL, space_group=in_file)
    write_modes(folder / "modes.h5", modes, {})
    return Config(
        structure=StructureConfig(modes=folder / "modes.h5", n_modes=2),
        crystal=CrystalConfig(**crystal),
    )


def test_modes_are_cut_to_the_number_asked_for(tmp_path):
    """The first n_modes, vectors and amplitudes alike."""
    modes = load_modes(config(tmp_path, "P 1"))
    assert modes.vectors.shape == (2, len(modes.structure), 3)
    np.testing.assert_array_equal(modes.amplitudes_A, example_modes().amplitudes_A[:2])


CRYST1 = "CRYST1   40.000   40.000   50.000  90.00  90.00  90.00 P 1           1\n"
ALTERNATES = (
    atom(1, "CA", (1, 2, 3))
    + atom(2, "CB", (2, 2, 3), alternate="A", occupancy=0.4)
    + atom(3, "CB", (9, 2, 3), alternate="B", occupancy=0.6)
    + atom(4, "HA", (1, 2, 4), "H")
)


@pytest.mark.parametrize(
    ("options", "elements", "x"),
    [
        ({}, "CC", 2),
        ({"conformer": "occupancy", "hydrogens": True}, "CCH", 9),
    ],
)
def test_conformer_and_hydrogens_of_the_config(tmp_path, options, elements, x):
    """Of [structure] file and ensemble, and of [crystal] file: one B-factor for each atom of them.

    B is 10 Å² of all atoms in the crystal's file but CB of B, 30 Å².
    """
    path, ensemble, crystal = (tmp_path / name for name in ("m.pdb", "e.pdb", "c.pdb"))
    path.write_text(CRYST1 + ALTERNATES)
    ensemble.write_text(CRYST1 + "".join(f"MODEL {i:8d}\n{ALTERNATES}ENDMDL\n" for i in (1, 2)))
    lines = ALTERNATES.splitlines(keepends=True)
    crystal.write_text(
        "".join(x.replace("10.00  ", "30.00  ") if "BALA" in x else x for x in lines)
    )
    for given in ({"file": path}, {"ensemble": ensemble}):
        found = Config(StructureConfig(**given, **options), CrystalConfig(file=crystal))
        modes = load_modes(found)
        assert "".join(modes.structure.elements) == elements
        assert modes.structure.positions[1, 0] == x
        assert modes.crystal_b_A2.tolist() == [10, 10 if x == 2 else 30, 10][: len(elements)]


def test_space_group_of_the_config_wins(tmp_path):
    """[crystal] overrides what the modes' file says."""
    assert load_modes(config(tmp_path, "P 41")).space_group == "P 41"
    assert load_modes(config(tmp_path, "P 41", space_group="P 1")).space_group == "P 1"


def test_cell_of_the_config_wins(tmp_path):
    """[crystal] overrides what the structure file says."""
    cell = (41.0, 42.0, 43.0, 90.0, 91.0, 92.0)
    assert load_modes(config(tmp_path, "P 1", unit_cell=cell)).unit_cell == cell


def test_impossible_cell_of_the_config(tmp_path):
    """Named as the config's; so is one whose edges no crystal has."""
    for a in (-41.0, 1e9):
        with pytest.raises(InputError, match=r"crystal\.unit_cell"):
            load_modes(config(tmp_path, "P 1", unit_cell=(a, 42.0, 43.0, 90.0, 91.0, 92.0)))


def test_grid_beyond_memory(tmp_path):
    """Each number allowed, together 6e14 points: refused before there is an array."""
    settings = replace(config(tmp_path, "P 1"), grid=GridConfig((100, 100, 100), 0.1))
    with pytest.raises(InputError, match=r"make a grid of 6\.4e\+14 points") as caught:
        simulate(settings, "", tmp_path / "map.nxs", None, Ranks())
    assert "grid.d_min_A" in str(caught.value) and "grid.oversampling" in str(caught.value)


def test_modes_that_a_file_has_not(project, capsys):
    """A range of amplitudes then plays no part, which is told."""
    modes = read_modes(project / "modes.h5")
    none = replace(modes, vectors=modes.vectors[:0], amplitudes_A=modes.amplitudes_A[:0])
    write_modes(project / "modes.h5", none, {})
    text = (project / "fit.toml").read_text()
    (project / "fit.toml").write_text(re.sub("n_modes.*\n", "", text))
    load_problem(load_config(project / "fit.toml"))
    told = capsys.readouterr().err
    assert "parameters.mode_amplitude_A plays no part" in told and "has no modes" in told
