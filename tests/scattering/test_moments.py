"""What the cache of moments is keyed on: all that they depend on, and no more."""

from dataclasses import replace

import numpy as np
import pytest
from builders import TRICLINIC, random_structure

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.motion.lattice.rigid_lattice import rigid_lattice
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import parameters_from
from hpc_diffuser.motion.registry import PARAMETERS
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.moments import Moments

N_ATOMS = 12
GRID = grid_to_resolution(TRICLINIC, (1, 1, 1), 3.0)
INDICES = GRID.indices_between(np.inf, 3.0)
NORMALS = np.random.default_rng(1).normal(size=(4, 5))
STILL = {
    "mode_amplitude_A": [0.3, 0.2],
    "mode_correlation": [0.3],
    "translation_sigma_A": [0.3, 0.4, 0.5],
    "translation_correlation": [0.1, 0.2, 0.3],
    "libration_sigma_deg": 2.0,
    "k_sol_eA3": 0.2,
    "b_sol_A2": 50.0,
}


def moments_of_molecule() -> Moments:
    """Of twelve atoms with two modes, and B-factors far above what these explain."""
    vectors = np.random.default_rng(3).normal(size=(2, N_ATOMS, 3))
    structure = random_structure(np.random.default_rng(2), N_ATOMS)
    modes = Modes(structure, vectors, np.ones(2), TRICLINIC, "P 1")
    modes = replace(modes, crystal_b_A2=np.linspace(300, 600, N_ATOMS))
    lattice = rigid_lattice(structure, TRICLINIC, "P 1", contact_A=12.0)
    return Moments(replace(modes, lattice=lattice), GRID, INDICES, Ranks(), "direct")


def with_more(values, name):
    """The values with one parameter's first number 0.05 larger."""
    found = values.get(name, 0.0)
    return values | {
        name: [found[0] + 0.05, *found[1:]] if isinstance(found, list) else 0.05 + found
    }


def computed_for(moments, *of_values):
    """How many ensembles were computed for sets of values one after the other."""
    computed = []
    compute = moments._computed
    moments._computed = lambda *given: computed.append(given) or compute(*given)
    for values in of_values:
        moments.of(parameters_from(values, moments.modes.lattice), NORMALS)
    return len(computed)


def beside(name, n_interfaces):
    """What a parameter does nothing without."""
    if name == "lattice_shape":
        return {"lattice_spring_A": 0.3, "lattice_shape": [0.1] * (21 * n_interfaces)}
    return {"screw_correlation": 0.2} if name == "screw_correlation" else {}


@pytest.mark.parametrize("row", PARAMETERS, ids=lambda row: row.name)
def test_moments_are_computed_anew_where_a_parameter_is_sampled(row):
    """As the registry says of every parameter: only then are there other configurations.

    What atoms scatter is in the sums that are kept, too.
    """
    moments = moments_of_molecule()
    values = STILL | beside(row.name, moments.modes.lattice.springs.n_interfaces)
    anew = row.sampled or row.scatters
    assert computed_for(moments, values, with_more(values, row.name)) == 1 + anew


@pytest.mark.parametrize("name", ["translation_sigma_A", "translation_correlation"])
def test_a_screw_has_the_translation_sampled(name):
    """What goes along with a rotation is not averaged in closed form."""
    values = STILL | {"screw_correlation": 0.2}
    assert computed_for(moments_of_molecule(), values, with_more(values, name)) == 2


def test_moments_are_those_of_the_parameters_asked_for():
    """From the cache or not: the same bits as of an object that has computed nothing else."""
    moments, other = moments_of_molecule(), with_more(STILL, "mode_amplitude_A")
    wide = with_more(STILL, "translation_sigma_A")
    for values in (STILL, wide, other, STILL, STILL):
        found = moments.of(parameters_from(values), NORMALS)
        fresh = moments_of_molecule().of(parameters_from(values), NORMALS)
        assert [a.tobytes() for a in found[:2]] == [a.tobytes() for a in fresh[:2]]


def test_other_points_are_another_ensemble():
    """The same parameters with other random numbers."""
    moments, parameters = moments_of_molecule(), parameters_from(STILL)
    first = moments.of(parameters, NORMALS)[0]
    assert not np.array_equal(moments.of(parameters, NORMALS[::-1] * 0.5)[0], first)
