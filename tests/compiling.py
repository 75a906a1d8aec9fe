"""Kernels that most tests need, compiled before the first of them by two workers, half each.

In a fresh environment both would compile the same ones at the same time: a minute of either.
"""

import time
from pathlib import Path

import numpy as np
from builders import TRICLINIC, random_structure
from warm import HANG_S

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.fit.compilation import kernels_compiled
from hpc_diffuser.motion.lattice.rigid_lattice import rigid_lattice
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters, parameters_from
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import ForwardModel, forward_model
from hpc_diffuser.scattering.molecule import Computation

_VALUES = {"mode_amplitude_A": [0.1], "translation_sigma_A": 0.1}


def share_compilation(worker: str, folder: Path) -> None:
    """Compile this worker's half, and wait for the other's.

    Parameters
    ----------
    worker : {"gw0", "gw1"}
    folder : Path
        Of both.
    """
    if not kernels_compiled():
        (_density if worker == "gw0" else _others)()
    (folder / f"compiled-{worker}").touch()
    other = folder / f"compiled-{'gw1' if worker == 'gw0' else 'gw0'}"
    end = time.monotonic() + HANG_S
    while not other.exists() and time.monotonic() < end:
        time.sleep(0.1)


def _density() -> None:
    model, of = _example("target", "density")
    model.internal_motion(*of)
    model.gradient(*of, np.ones(len(model.rows)), tuple(_VALUES))


def _others() -> None:
    """The direct sum, interpolation, springs, and densities to first order."""
    for grid, springs in (("band-limited", {}), ("target", {"lattice_spring_A": 1.0})):
        model, of = _example(grid, "direct", springs)
        model.internal_motion(*of)
        model.gradient(*of, np.ones(len(model.rows)), tuple(_VALUES | springs))
    model, of = _example("target", "density")
    model.use_estimator("one-phonon")
    model.internal_motion(*of)
    list(model.mode_slopes(*of, [0]))


def _example(
    grid: str, transform: str, springs: dict[str, float] | None = None
) -> tuple[ForwardModel, tuple[Parameters, np.ndarray]]:
    """A model of a few atoms, with parameters and points."""
    structure = random_structure(np.random.default_rng(1), 12)
    crystal = TRICLINIC, "P 1"
    lattice = rigid_lattice(structure, *crystal, contact_A=9.0) if springs else None
    modes = Modes(structure, np.ones((1, 12, 3)) / 3**0.5, np.ones(1), *crystal, lattice=lattice)
    parameters = parameters_from(_VALUES | (springs or {}), lattice)
    target = grid_to_resolution(TRICLINIC, (3, 3, 3), 4.0)
    indices = target.indices_between(20.0, 4.0)
    model = forward_model(modes, target, indices, Ranks(), Computation(0.2, grid, transform))
    return model, (parameters, np.ones((4, 4 if springs else 1)))
