"""A closed loop: a small protein's map of known motions, with noise, and searches for them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from hpc_diffuser.commands.examples.four_helices import UNIT_CELL, example_modes
from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.fit.config import parse_config
from hpc_diffuser.fit.problem import Problem, load_problem
from hpc_diffuser.fit.refinement import RestartSearch
from hpc_diffuser.fit.search.history import History
from hpc_diffuser.io.maps.native import write_target
from hpc_diffuser.io.modes_file import write_modes
from hpc_diffuser.maps.noise import with_noise
from hpc_diffuser.maps.target import make_target
from hpc_diffuser.maps.target_options import TargetOptions
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.collecting import whole_map
from hpc_diffuser.scattering.model import forward_model

TRUE_A, TRUE_TRANSLATION_A = np.array([0.25, 0.2, 0.15]), 0.4
CONFIG = """
[structure]
modes = "modes.h5"
[target]
file = "target.h5"
[parameters]
mode_amplitude_A = [0.0, 0.6]
translation_sigma_A = [0.1, 0.8]
[model]
samples = 32
[search]
method = "least-squares"
"""


def write_closed_loop(folder: Path) -> Path:
    """Modes and a target with 10 % noise, made with more and other points than any fit's."""
    modes, d_min = example_modes(), 3.5
    grid = grid_to_resolution(UNIT_CELL, (2, 2, 2), d_min)
    indices = grid.indices_between(np.inf, d_min)
    model = forward_model(modes, grid, indices, Ranks())
    truth = Parameters(TRUE_A, Disorder(TRUE_TRANSLATION_A))
    values = model.internal_motion(truth, normal_samples("sobol", 2048, 3, generator(9)))
    exact = whole_map(model, modes, grid, indices, values)
    noisy = with_noise(exact, 0.1, d_min, generator(9, 1))
    write_modes(folder / "modes.h5", modes, {})
    options = TargetOptions(d_max_A=12.0, d_min_A=d_min, n_shells=4)
    write_target(folder / "target.h5", make_target(noisy, options), {})
    return folder


def problem_of(folder: Path, text: str = CONFIG) -> Problem:
    return load_problem(parse_config(text, folder))


class Alone:
    """What a group's root asks, of which a test tells when it says stop: True at such a call."""

    def __init__(self, stops: Callable[[int], bool] = lambda call: False):
        self._stops, self.calls = stops, 0

    def told_to_stop(self) -> bool:
        self.calls += 1
        return self._stops(self.calls)

    def report(self, report) -> None:
        """Nobody asks."""


def searched(problem: Problem, restart: int, start: History | None = None) -> History:
    """A restart to its end."""
    kept = {}
    RestartSearch(problem, Ranks(), Alone(), kept.__setitem__).run(restart, start)
    return kept[restart]
