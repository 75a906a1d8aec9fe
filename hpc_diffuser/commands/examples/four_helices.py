"""The built-in example: a small protein whose motions are known, to be found again by a fit."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from hpc_diffuser.commands.examples.protein import build_protein
from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.fit.b_factors import model_b_factors
from hpc_diffuser.io.maps.native import write_map, write_target
from hpc_diffuser.io.modes_file import write_modes
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.noise import with_noise
from hpc_diffuser.maps.target import make_target
from hpc_diffuser.maps.target_options import TargetOptions
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.elastic_network import elastic_network_modes
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.random_numbers import generator, normal_samples
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.collecting import whole_map
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation
from hpc_diffuser.system.storage import write_bytes

FOLDER = Path("hpc-diffuser-example")
UNIT_CELL = (29.0, 28.0, 31.0, 87.0, 104.0, 97.0)
TRUE_AMPLITUDES_A = (0.30, 0.25, 0.20)
TRUE_TRANSLATION_A = 0.40
_TRUTH = Parameters(np.array(TRUE_AMPLITUDES_A), Disorder(TRUE_TRANSLATION_A))
NOISE = 0.1  # standard deviation of the noise, as a fraction of the mean intensity of a shell
OPTIONS = TargetOptions(d_max_A=6.0, d_min_A=2.2, n_shells=10)
_SEED = 20210211

CONFIG = """\
# The built-in example of hpc-diffuser: three motions and a translation, to be found again.
[structure]
modes = "modes.h5"
n_modes = 3

[target]
file = "target.h5"

[parameters]
mode_amplitude_A = [0.0, 0.6]
translation_sigma_A = [0.0, 0.8]

[model]
estimator = "auto"
samples = 64
seed = 1
final_samples = 256

[search]
restarts = 4
evaluations = 60

[run]
directory = "run"
"""


def write_example(folder: str | Path) -> Path:
    """Write the built-in example's modes, map, target and config; the config's path.

    The map is simulated with the true parameters, other sample points than the fit's, and
    Gaussian noise.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    Path
        Of hpc-diffuser.toml.

    Raises
    ------
    StorageError
        Where a file cannot be written.

    Examples
    --------
    >>> config = hd.write_example("example")
    >>> restart = hd.fit_restart(config)
    """
    folder = Path(folder)
    modes = example_modes()
    diffuse = example_map(modes)
    provenance = {"command": "hpc-diffuser fit (built-in example)"}
    write_modes(folder / "modes.h5", modes, provenance)
    write_map(folder / "map.nxs", diffuse, provenance)
    write_target(folder / "target.h5", make_target(diffuse, OPTIONS), provenance | _told_truth())
    config = folder / "hpc-diffuser.toml"
    write_bytes(config, CONFIG.encode())
    return config


def _told_truth() -> dict[str, float]:
    """What the report draws beside the answer."""
    modes = {f"true mode {i}": true for i, true in enumerate(TRUE_AMPLITUDES_A, start=1)}
    return modes | {"true translation_sigma_A": TRUE_TRANSLATION_A}


def example_modes() -> Modes:
    """The lowest elastic-network modes of the package's own four-helix bundle.

    Its crystal's B-factors are those of the true motions, as a refinement would find them.
    """
    structure = build_protein()
    vectors, amplitudes = elastic_network_modes(structure, len(TRUE_AMPLITUDES_A))
    modes = Modes(structure, vectors, amplitudes, UNIT_CELL, "P 1")
    return replace(modes, crystal_b_A2=model_b_factors(modes, _TRUTH))


def example_map(modes: Modes) -> DiffuseMap:
    """The diffuse map of the true motions, with noise and its standard deviation."""
    grid = grid_to_resolution(UNIT_CELL, (3, 3, 3), OPTIONS.d_min_A)
    normals = normal_samples("sobol", 512, len(TRUE_AMPLITUDES_A), generator(_SEED))
    indices = grid.indices_between(np.inf, OPTIONS.d_min_A)
    model = forward_model(modes, grid, indices, Ranks(), Computation(grid="target"))
    exact = whole_map(model, modes, grid, indices, model.internal_motion(_TRUTH, normals))
    return with_noise(exact, NOISE, OPTIONS.d_min_A, generator(_SEED, 1))


def comparison_table(answer: dict, scatter: dict) -> str:
    """Refined against true parameters, as text.

    Parameters
    ----------
    answer, scatter : dict
        Of the run's summary, by parameter name; the scatter of the restarts.
    """
    names = [f"mode {i + 1}" for i in range(len(TRUE_AMPLITUDES_A))] + ["translation"]
    true = [*TRUE_AMPLITUDES_A, TRUE_TRANSLATION_A]
    refined = [*answer["mode_amplitude_A"], answer["translation_sigma_A"]]
    widths = [*scatter["mode_amplitude_A"], scatter["translation_sigma_A"]]
    lines = ["Refined against true (Å)", "               refined scatter    true   error"]
    for row in zip(names, refined, widths, true, strict=True):
        name, value, width, truth = row
        error = 100 * (value - truth) / truth
        scattered = f"{'—':>7s}" if width is None else f"{width:7.3f}"
        lines.append(f"  {name:12s} {value:7.3f} {scattered} {truth:7.3f} {error:+6.1f} %")
    return "\n".join(lines)
