"""What a setting of the config needs to have an effect: told, or refused, where it has none.

Of every key that has a need there is a row in `NEEDS`, or in `ELSEWHERE` where another module
refuses it; a test holds the config's keys to that. A setting counts as given where it is not the
default. Of several models that are compared it has an effect where one of them takes it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from hpc_diffuser.fit.config import LIKELIHOOD, REFINE, Config, flat_config
from hpc_diffuser.fit.search.method import METHODS
from hpc_diffuser.motion.registry import PARAMETERS
from hpc_diffuser.system.errors import InputError


@dataclass(frozen=True)
class Need:
    """What gives a setting its effect.

    Attributes
    ----------
    met : callable
        Config of one model → whether it is there.
    without : str
        What it plays no part without, for a message.
    refused : bool
        Whether it can only be a mistake; else it is told.
    of_model : bool
        Whether the terms of a model decide: then another model may take it, at another time.
    """

    met: Callable[[Config], bool]
    without: str
    refused: bool = False
    of_model: bool = False


def _given(config: Config, name: str) -> bool:
    """Whether a model has a parameter."""
    return bool(np.any(getattr(config.parameters, name) or 0.0))


def _moves_along_modes(config: Config) -> bool:
    return config.structure.modes is not None and config.structure.n_modes != 0


def _draws(config: Config) -> bool:
    """Whether configurations are drawn: along modes, or of molecules that turn."""
    turns = _given(config, "libration_sigma_deg") or _given(config, "lattice_spring_A")
    return turns or _moves_along_modes(config)


def _reads_structure(config: Config) -> bool:
    """Whether a PDB or mmCIF file is read, or a trajectory put on one."""
    own, crystal = config.structure, config.crystal.file
    named = own.file, own.ensemble, own.reference, crystal, own.positions
    return any(path is not None and path.suffix != ".h5" for path in named)


_DRAWN = Need(_draws, "motion along modes or rotation, which alone is sampled", of_model=True)
_SPRINGS = Need(
    lambda own: _given(own, "lattice_spring_A") or _given(own, "lattice_shape"),
    "[parameters] lattice_spring_A, the springs between molecules",
    refused=True,
    of_model=True,
)
_STRUCTURE = Need(_reads_structure, "a PDB or mmCIF file in [structure] or [crystal]")
_SIMULATED = Need(
    lambda own: False, "simulate, which alone takes it: a fit computes at its target's voxels"
)

NEEDS = {
    "structure.conformer": _STRUCTURE,
    "structure.hydrogens": _STRUCTURE,
    "structure.weights": Need(
        lambda own: own.structure.weights != REFINE or own.structure.n_modes != 0,
        "frames that move: [structure] n_modes = 0 takes their mean",
        refused=True,
        of_model=True,
    ),
    "structure.n_modes": Need(
        lambda own: own.structure.file is None, "modes or an ensemble", of_model=True
    ),
    "structure.correlated_modes": Need(
        lambda own: _given(own, "mode_correlation"),
        "[parameters] mode_correlation",
        refused=True,
        of_model=True,
    ),
    "grid.oversampling": _SIMULATED,
    "grid.d_min_A": _SIMULATED,
    "target.background_knots": Need(
        lambda own: own.target.score == LIKELIHOOD, '[target] score = "likelihood"', refused=True
    ),
    "parameters.mode_amplitude_A": Need(
        lambda own: own.structure.n_modes != 0,
        "modes: n_modes is 0, or no model that is compared has int",
        of_model=True,
    ),
    "prior.tau": Need(
        lambda own: bool(own.prior.amplitudes),
        "[prior] amplitudes, whose logarithms scatter by it",
        refused=True,
    ),
    "prior.springs_tau": Need(
        lambda own: bool(own.prior.springs),
        "[prior] springs, whose logarithms scatter by it",
        refused=True,
    ),
    "lattice.file": _SPRINGS,
    "lattice.contact_A": _SPRINGS,
    "models.bases": Need(
        lambda own: any("@" in name for name in own.models.compare),
        "a model that has int among those that are fitted",
    ),
    "models.positions": Need(
        lambda own: bool(own.models.bases), "[models] bases, whose modes it is of", refused=True
    ),
    "model.estimator": _DRAWN,
    "model.samples": _DRAWN,
    "model.final_samples": _DRAWN,
    "model.sampler": _DRAWN,
    "model.map_error": Need(
        lambda own: _draws(own) and "auto" in (own.model.samples, own.model.estimator),
        '[model] samples = "auto" or estimator = "auto", of motion that is sampled',
        of_model=True,
    ),
    "model.halos": Need(
        lambda own: _given(own, "halo_sigma_A"),
        "[parameters] halo_sigma_A and halo_gamma_A",
        refused=True,
        of_model=True,
    ),
    "search.initial_points": Need(
        lambda own: METHODS[own.search.method].learns, "a search that begins as Bayesian"
    ),
}
_NO_MODEL = "a model among those compared that takes it"
# Refused, or told, as inputs are read: by `inputs`, `space` from the rows of `motion.registry`, and
# `priors.prior`. Parameters are looked at here where several models are compared.
ELSEWHERE = (
    "structure.positions",
    "structure.topology",
    "structure.reference",
    "structure.given_weights",
    *(f"parameters.{row.name}" for row in PARAMETERS if row.name != "mode_amplitude_A"),
    "prior.b_factors",
    "prior.anisou",
    "prior.amplitudes",
    "prior.weights",
    "prior.springs",
)
_OF_SIMULATION = ("structure", "crystal", "parameters", "lattice", "model")


def without_effect(config: Config, models: Sequence[Config]) -> dict[str, Need]:
    """The settings that are given and play no part, by key, with what they lack.

    Parameters
    ----------
    config : Config
        As it was read.
    models : sequence of Config
        Of each model that is compared, as of `model_config`; none of a single fit.
    """
    defaults, found = flat_config(Config()), {}
    for key, value in flat_config(config).items():
        need = NEEDS.get(key)
        if need is None and key in ELSEWHERE and models:
            need = Need(partial(_is_taken, key), _NO_MODEL, of_model=True)
        if need is None or value == defaults[key]:
            continue
        of_all = models if models and need.of_model else [config]
        if not any(need.met(own) for own in of_all):
            found[key] = need
    return found


def _is_taken(key: str, own: Config) -> bool:
    """Whether one of `ELSEWHERE` is left in the config of a model."""
    section, _, name = key.partition(".")
    if section == "structure":
        return True
    return bool(np.any(getattr(getattr(own, section), name) or 0.0))


def require_effect(config: Config, models: Sequence[Config] = (), begun: bool = False) -> list[str]:
    """Refuse settings that can only be a mistake; what else plays no part, in lines to be told.

    Parameters
    ----------
    config, models
        As of `without_effect`.
    begun : bool
        Whether a run was begun with them, by a version that took them: then none is refused.

    Returns
    -------
    list of str
        To be told once the inputs are read, as mistakes are one line.

    Raises
    ------
    InputError
    """
    found = without_effect(config, models)
    mistaken = [k for k, n in found.items() if n.refused and not (n.of_model and models)]
    if mistaken and not begun:
        raise InputError(_refusal(mistaken[0], found[mistaken[0]]))
    return _lines(found)


def require_effect_in_simulation(config: Config, trajectory: bool = False) -> list[str]:
    """The same of what `simulate` reads: no setting of a search or a target.

    Parameters
    ----------
    config : Config
    trajectory : bool
        Whether its frames are taken, which are put on a structure.
    """
    found = {k: n for k, n in without_effect(config, ()).items() if _is_simulated(k, trajectory)}
    for key, need in found.items():
        if need.refused:
            raise InputError(_refusal(key, need))
    return _lines(found)


def _is_simulated(key: str, trajectory: bool) -> bool:
    if NEEDS[key] is _STRUCTURE:
        return not trajectory
    return key.partition(".")[0] in _OF_SIMULATION and key != "model.final_samples"


def _refusal(key: str, need: Need) -> str:
    return f"{key} plays no part without {need.without}: give that, or leave {key} out"


def _lines(found: dict[str, Need]) -> list[str]:
    """One for each thing that is lacking."""
    lines = []
    for lacking in dict.fromkeys(need.without for need in found.values()):
        keys = [key for key, need in found.items() if need.without == lacking]
        verb = "plays" if len(keys) == 1 else "play"
        lines.append(f"{', '.join(keys)} {verb} no part without {lacking}")
    return lines


def is_begun(directory: Path) -> bool:
    """Whether a run directory, of one fit or of several models, holds a run already."""
    return any(directory.glob("manifest.json")) or any(directory.glob("*/manifest.json"))
