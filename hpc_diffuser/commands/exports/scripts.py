"""Scripts for viewers: a molecule and its modes, with the files that they load."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from hpc_diffuser.commands.export import Options
from hpc_diffuser.commands.exports.made import Made
from hpc_diffuser.commands.exports.motions import checked_mode, checked_path
from hpc_diffuser.commands.exports.source import Source
from hpc_diffuser.crystal.structure import atom_label
from hpc_diffuser.crystal.trace import trace
from hpc_diffuser.fit.b_factors import B_OF_SQUARE, model_b_factors
from hpc_diffuser.io.motions.chimerax import bild, chimerax_script
from hpc_diffuser.io.motions.pymol import pymol_script
from hpc_diffuser.io.motions.scene import ModeScene, Scene, arrows, beside
from hpc_diffuser.io.structures.files import pdb_bytes
from hpc_diffuser.motion.by_residue import prominent_modes
from hpc_diffuser.motion.drawn import mode_path
from hpc_diffuser.system.errors import InputError

_SCALE = 95  # per cent of the residues, which the scale of colours spans


def pymol(source: Source, options: Options) -> Made:
    """A .pml, and the PDB files that it loads."""
    scene, files = _scene(source, options)
    files[options.output] = pymol_script(scene, options.output.name)
    return Made(files, _said(source, options, scene, files))


def chimerax(source: Source, options: Options) -> Made:
    """A .cxc, and the PDB and BILD files that it loads."""
    scene, files = _scene(source, options)
    named = [beside(options.output, f"arrows{mode.number}.bild") for mode in scene.modes]
    files |= {path: bild(mode.arrows) for path, mode in zip(named, scene.modes, strict=True)}
    files[options.output] = chimerax_script(scene, tuple(path.name for path in named))
    return Made(files, _said(source, options, scene, files))


def _scene(source: Source, options: Options) -> tuple[Scene, dict[Path, bytes]]:
    """What is shown, and its PDB files: what a script loads is to be there before it."""
    source.require_modes()
    rows = [checked_mode(source, options.mode)] if options.mode else _prominent(source)
    mean, standing = beside(options.output, "mean.pdb"), _standing(source)
    rms = np.sqrt(model_b_factors(source.modes, source.parameters) / B_OF_SQUARE)
    files = {mean: _pdb(source, mean, rms)}
    modes = []
    for row in rows:
        path = beside(options.output, f"mode{row + 1}.pdb")
        mode, files[path] = _mode(source, options, row, path)
        modes.append(mode)
    least, most = float(rms[standing].min()), _last_colour(rms[standing])
    notes = (
        f"Colours: rms displacement by all motions, {least:.2f} to {most:.2f} Å; of a mode, how "
        f"far its ends are. The most mobile {100 - _SCALE} % of the residues have the last colour.",
        *(
            f"Mode {m.number}: {options.reach:g} standard deviations to either side; arrows "
            f"{m.factor} times as long."
            for m in modes
        ),
    )
    title = f"Motions of {' '.join(str(source.path).split())}, by hpc-diffuser export"
    return Scene(title, mean.name, least, most, tuple(modes), notes), files


def _last_colour(lengths: np.ndarray) -> float:
    """What the last colour stands for: few that move far, as a tail, leave colours to the rest.

    Where nearly none moves, it is the largest.
    """
    high = float(np.percentile(lengths, _SCALE))
    return high if high > lengths.min() else float(lengths.max())


def _standing(source: Source) -> np.ndarray:
    """Rows of the Cα; of all atoms where there are no residues."""
    structure = source.modes.structure
    rows = trace(structure).standing
    return rows if len(rows) else np.arange(len(structure))


def _prominent(source: Source) -> list[int]:
    rows = prominent_modes(source.modes.amplitudes_A)
    if not rows:
        raise InputError(
            f"{source.path}: all amplitudes are 0: nothing would move: give --amplitudes"
        )
    return rows


def _mode(source: Source, options: Options, row: int, path: Path) -> tuple[ModeScene, bytes]:
    modes, n_models = source.modes, checked_path(options.models)
    reach = options.reach * float(modes.amplitudes_A[row])
    field = reach * modes.vectors[row]
    lengths = np.linalg.norm(field, axis=1)
    standing = _standing(source)
    ends, factor = arrows(modes.structure.positions[standing], field[standing])
    frames = mode_path(modes, row, reach, n_models)
    scene = ModeScene(row + 1, path.name, n_models, _last_colour(lengths[standing]), ends, factor)
    return scene, _pdb(source, path, lengths, frames)


def _pdb(
    source: Source, path: Path, lengths_A: np.ndarray, frames: np.ndarray | None = None
) -> bytes:
    """With displacements in the column of B-factors."""
    modes = source.modes
    structure = replace(modes.structure, b_factors_A2=lengths_A)
    return pdb_bytes(path, structure, (modes.unit_cell, modes.space_group), frames=frames)


def _said(
    source: Source, options: Options, scene: Scene, files: dict[Path, bytes]
) -> tuple[str, ...]:
    modes = source.modes
    said = [f"{options.output}: {len(modes.structure)} atoms, {source.motions()}"]
    for mode in scene.modes:
        lengths = np.linalg.norm(modes.vectors[mode.number - 1], axis=1)
        amplitude = float(modes.amplitudes_A[mode.number - 1])
        farthest = int(lengths.argmax())
        said.append(
            f"mode {mode.number}: {options.reach:g} standard deviations of {amplitude:.3f} Å to "
            f"either side, farthest {atom_label(modes.structure, farthest)}, "
            f"{options.reach * amplitude * lengths[farthest]:.1f} Å; arrows {mode.factor} times as "
            "long"
        )
    others = [str(path) for path in files if path != options.output]
    return (*said, f"it loads: {', '.join(others)}")
