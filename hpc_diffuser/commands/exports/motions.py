"""Modes, paths along them and ensembles, for viewers."""

import numpy as np

from hpc_diffuser.commands.export import Options
from hpc_diffuser.commands.exports.made import Made
from hpc_diffuser.commands.exports.source import Source
from hpc_diffuser.crystal.structure import atom_label
from hpc_diffuser.fit.frame_weights import MOST, carrying
from hpc_diffuser.io.motions.conformations import conformation_files
from hpc_diffuser.io.motions.nmd import nmd_bytes
from hpc_diffuser.io.structures.files import remarked
from hpc_diffuser.motion.configurations import residual_b_factors
from hpc_diffuser.motion.drawn import drawn_ensemble, mode_path
from hpc_diffuser.motion.ensemble import weights_of
from hpc_diffuser.system.errors import InputError

_PATH, _LEAST_PATH, _ENSEMBLE = 20, 4, 50


def nmd(source: Source, options: Options) -> Made:
    """All modes that move."""
    source.require_modes()
    still = [str(i + 1) for i, a in enumerate(source.modes.amplitudes_A) if not a > 0]
    written = len(source.modes.amplitudes_A) - len(still)
    if not written:
        raise InputError(
            f"{source.path}: all amplitudes are 0: nothing would move: give --amplitudes"
        )
    said = [f"{options.output}: {written} modes of {len(source.modes.structure)} atoms"]
    if still:
        said.append(f"left out, as their amplitude is 0: {', '.join(still)}")
    if source.parameters.mode_correlation:
        said.append("left out, as the format has no place for it: the modes' correlations")
    files = {options.output: nmd_bytes(source.modes, options.output.stem)}
    return Made(files, tuple(said))


def checked_mode(source: Source, number: int) -> int:
    """The row of a mode that moves, by its number from 1.

    Raises
    ------
    InputError
        Where there is no such mode, or its amplitude is 0.
    """
    amplitudes = source.modes.amplitudes_A
    if number > len(amplitudes):
        raise InputError(f"--mode {number}: {source.path} has modes 1 to {len(amplitudes)}")
    if not amplitudes[number - 1] > 0:
        raise InputError(
            f"--mode {number}: its amplitude in {source.path} is 0: nothing would move: "
            "give --amplitudes, or another mode"
        )
    return number - 1


def checked_path(n_models: int | None) -> int:
    """How many models a path has.

    Raises
    ------
    InputError
        Where they are too few to go there and back.
    """
    if n_models is not None and n_models < _LEAST_PATH:
        raise InputError(
            f"--models {n_models}: expected at least {_LEAST_PATH}, to go there and back"
        )
    return n_models or _PATH


def along_mode(source: Source, options: Options) -> Made:
    """Models along one mode."""
    source.require_modes()
    number = options.mode or 1
    row = checked_mode(source, number)
    modes, n_models = source.modes, checked_path(options.models)
    amplitude = float(modes.amplitudes_A[row])
    frames = mode_path(modes, row, options.reach * amplitude, n_models)
    lengths = options.reach * amplitude * np.linalg.norm(modes.vectors[row], axis=1)
    farthest = int(lengths.argmax())
    said = (
        f"{options.output}: {n_models} models along mode {number}, {options.reach:g} "
        f"standard deviations of {amplitude:.3f} Å to either side; farthest "
        f"{atom_label(modes.structure, farthest)}, {lengths[farthest]:.1f} Å"
    )
    return _conformations(source, options, frames, said)


def ensemble(source: Source, options: Options) -> Made:
    """Models drawn from all motions."""
    source = source.modes_alone() if options.modes_only else source
    modes, parameters, n_models = source.modes, source.parameters, options.models or _ENSEMBLE
    residual = residual_b_factors(modes, parameters) if parameters.residual_b_fraction else None
    frames = drawn_ensemble(modes, parameters, n_models, options.seed, residual)
    said = f"{options.output}: {n_models} models, {source.motions()}"
    return _conformations(source, options, frames, said)


def heaviest_frames(source: Source, options: Options) -> Made:
    """The frames that a fit with refined weights has found to matter, the heaviest first."""
    weights = weights_of(source.modes, source.parameters.sampled)
    if source.modes.frames is None or weights is None or not source.parameters.frame_weight:
        raise InputError(
            f"{source.path}: has no refined weights of frames: expected a run with [structure] "
            'weights = "refine"'
        )
    numbers = carrying(weights, MOST)
    if options.models is not None:
        numbers = tuple((np.argsort(-weights, kind="stable")[: options.models] + 1).tolist())
    rows = np.array(numbers) - 1
    said = (
        f"{options.output}: {len(rows)} of {len(weights)} frames, which carry "
        f"{100 * weights[rows].sum():.1f} % of the weight"
    )
    is_pdb = options.output.suffix.lower() == ".pdb"
    if options.models is not None and options.models > len(rows):
        said += f": --models {options.models} is more than there are"
    made = _conformations(source, options, source.modes.frames[rows], said)
    named = [f"frame {number}, weight {weights[number - 1]:.4f}" for number in numbers]
    files = {
        path: remarked(content, named) if path == options.output and is_pdb else content
        for path, content in made.files.items()
    }
    of_models = [f"model {model}: {name}" for model, name in enumerate(named, start=1)]
    return Made(files, (*made.said, *of_models))


def _conformations(source: Source, options: Options, frames: np.ndarray, said: str) -> Made:
    modes = source.modes
    files = conformation_files(
        options.output, modes.structure, frames, (modes.unit_cell, modes.space_group)
    )
    others = [f"its atoms: {path}" for path in files if path != options.output]
    return Made(files, (said, *others))
