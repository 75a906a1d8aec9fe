"""Structures with the B-factors, or anisotropic displacement parameters, of all motions."""

from dataclasses import replace

import numpy as np

from hpc_diffuser.commands.export import Options
from hpc_diffuser.commands.exports.made import Made
from hpc_diffuser.commands.exports.source import Source
from hpc_diffuser.crystal.structure import atom_label
from hpc_diffuser.fit.b_factors import model_b_factors
from hpc_diffuser.io.structures.files import pdb_bytes
from hpc_diffuser.motion.configurations import displacement_covariances, residual_b_factors
from hpc_diffuser.system.errors import InputError

_MOST_B_A2 = 999.99  # in the format's columns


def b_factors(source: Source, options: Options) -> Made:
    """In the B-factors' column."""
    return _structure(source, options, anisotropic=False)


def anisou(source: Source, options: Options) -> Made:
    """With ANISOU records: U of every atom."""
    return _structure(source, options, anisotropic=True)


def _structure(source: Source, options: Options, anisotropic: bool) -> Made:
    source = source.modes_alone() if options.modes_only else source
    modes = source.modes
    b = model_b_factors(modes, source.parameters)
    if b.max() > _MOST_B_A2:
        worst = atom_label(modes.structure, int(b.argmax()))
        raise InputError(
            f"{source.path}: B-factor {b.max():.0f} Å² of {worst}: expected at most {_MOST_B_A2}, "
            "for which PDB files have room: give smaller --amplitudes"
        )
    structure = replace(modes.structure, b_factors_A2=b)
    u = _covariances(source) if anisotropic else None
    crystal = modes.unit_cell, modes.space_group
    data = pdb_bytes(options.output, structure, crystal, covariances_A2=u)
    said = (
        f"{options.output}: {len(structure)} atoms, {source.motions()}",
        f"B-factors {b.min():.1f} to {b.max():.1f} Å², mean {b.mean():.1f}",
    )
    return Made({options.output: data}, said)


def _covariances(source: Source) -> np.ndarray:
    """With the residual, which is alike in all directions: (N, 3, 3) Å²."""
    found = displacement_covariances(source.modes, source.parameters)
    if source.parameters.residual_b_fraction:
        own = residual_b_factors(source.modes, source.parameters) / (8 * np.pi**2)
        found = found + own[:, None, None] * np.eye(3)
    return found
