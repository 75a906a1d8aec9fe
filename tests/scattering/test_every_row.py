"""Every amplitude of the registry changes the intensity, by as much as the closed form says."""

from dataclasses import replace

import numpy as np
import pytest

from hpc_diffuser.crystal.atom_factors import form_factors
from hpc_diffuser.crystal.lattice import fractionalization
from hpc_diffuser.motion.lattice.rigid_lattice import rigid_lattice
from hpc_diffuser.motion.parameters import parameters_from
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.motion.registry import BY_NAME, PARAMETERS
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation
from hpc_diffuser.scattering.pair_sum import pair_sum_intensity

AMPLITUDES = [row for row in PARAMETERS if row.is_amplitude]
STILL = {"mode_amplitude_A": [0.05, 0.05]}
MOVED = {
    "mode_amplitude_A": [0.3, 0.2],
    "translation_sigma_A": 0.4,
    "libration_sigma_deg": 4.0,
    "uncorrelated_sigma_A": 0.3,
    "residual_b_fraction": 0.8,
    "llm_sigma_A": 0.3,
    "llm_gamma_A": 8.0,
    "crystal_llm_sigma_A": 0.3,
    "crystal_llm_gamma_A": 8.0,
    "halo_sigma_A": 0.3,
    "halo_gamma_A": 30.0,
    "lattice_spring_A": 8.0,
}
LEAST = 0.05  # of the intensity, rms


def changed(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.mean((one - other) ** 2) / np.mean(other**2)))


def values_with(row) -> dict:
    """The still model, and this motion with what it needs."""
    missing = {row.name, *row.needs} - set(MOVED)
    assert not missing, f"give MOVED values that change the intensity: {sorted(missing)}"
    return STILL | {name: MOVED[name] for name in (row.name, *row.needs)}


@pytest.mark.parametrize("row", AMPLITUDES, ids=[row.name for row in AMPLITUDES])
def test_amplitude_changes_the_intensity(modes, diffuse, row):
    """By more than 5 %; the closed form, where there is one, too, and 1024 samples to 3 % of it."""
    modes = replace(modes, crystal_b_A2=np.full(12, 40.0))
    indices = diffuse.grid.indices_between(6, 3)
    lattice = rigid_lattice(modes.structure, modes.unit_cell, "P 1", contact_A=12.0)
    modes = replace(modes, lattice=lattice if row.term == "lat" else None)
    moved, still = (parameters_from(v, lattice) for v in (values_with(row), STILL))
    values = values_with(row)
    crystal = MOVED["crystal_llm_gamma_A"] if "crystal_llm_gamma_A" in values else 0.0
    # The modes move inside the liquid-like crystal: that has a series of the molecule's own.
    liquid = MOVED["llm_gamma_A"] if "llm_gamma_A" in values else crystal
    gammas = {"liquid_gamma_A": liquid, "crystal_gamma_A": crystal}
    how = Computation(0.5, "auto", many_kinds=True, **gammas)
    model = forward_model(modes, diffuse.grid, indices, Ranks(), how)
    normals = normal_samples("sobol", 1024, 5, generator(1))
    found, before = (model.internal_motion(p, normals) for p in (moved, still))
    assert changed(found, before) > LEAST, f"{row.name} has no effect on the intensity"
    if row.pair_sum:
        exact, exact_before = (closed_form(modes, diffuse.grid, indices, p) for p in (moved, still))
        assert changed(exact, exact_before) > LEAST, f"{row.name} is not in the closed form"
        assert changed(found, exact) < 0.03


def closed_form(modes, grid, indices, parameters) -> np.ndarray:
    return pair_sum_intensity(
        modes.structure.positions,
        form_factors(modes.structure.elements, grid.inverse_d_squared(indices)),
        indices / np.array(grid.divisions) @ fractionalization(modes.unit_cell),
        parameters.mode_amplitudes_A[:, None, None] * modes.vectors,
        parameters.disorder,
    )


def test_closed_forms_are_of_amplitudes():
    """What this file compares with the closed form is not nothing."""
    assert sum(BY_NAME[row.name].pair_sum for row in AMPLITUDES) >= 4
