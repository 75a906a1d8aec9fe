"""From a config to checked arrays."""

from dataclasses import replace

import numpy as np
import pytest

from hpc_diffuser.config import Config, CrystalConfig, StructureConfig
from hpc_diffuser.errors import InputError
from hpc_diffuser.example import example_modes
from hpc_diffuser.inputs import load_modes
from hpc_diffuser.io.modes_file import write_modes

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


def test_symmetric_crystals_are_refused(tmp_path):
    """One molecule's intensity is not the crystal's: said so, with the way to ask for it."""
    with pytest.raises(InputError, match=r'P 41.*not .*added yet.*space_group = "P 1"'):
        load_modes(config(tmp_path, "P 41"))
    assert load_modes(config(tmp_path, "P 41", space_group="P 1")).space_group == "P 1"


def test_cell_of_the_config_wins(tmp_path):
    """[crystal] overrides what the structure file says."""
    cell = (41.0, 42.0, 43.0, 90.0, 91.0, 92.0)
    assert load_modes(config(tmp_path, "P 1", unit_cell=cell)).unit_cell == cell
