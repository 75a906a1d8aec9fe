"""A phonon of the crystal as a movie: a molecule and those around it, or whole cells."""

import string
from dataclasses import replace

import numpy as np

from hpc_diffuser.commands.export import Options
from hpc_diffuser.commands.exports.made import Made
from hpc_diffuser.commands.exports.motions import checked_path
from hpc_diffuser.commands.exports.source import Source
from hpc_diffuser.crystal.packing import Packing, Place
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.io.motions.conformations import conformation_files
from hpc_diffuser.motion.lattice.phonons import ROOM_K, mass_matrix
from hpc_diffuser.motion.lattice.rigid_lattice import RigidLattice
from hpc_diffuser.motion.lattice.waves import Wave, around, in_cells, phonon, wave_frames
from hpc_diffuser.system.errors import InputError

_LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits


def along_phonon(source: Source, options: Options) -> Made:
    """Models through one period of a phonon."""
    lattice, wave = _wave(source, options)
    modes, packing = source.modes, lattice.springs.packing
    places = in_cells(packing, options.cells) if options.cells else around(packing)
    n_models = checked_path(options.models)
    mean, frames = wave_frames(
        modes.structure.positions,
        lattice.springs,
        modes.unit_cell,
        wave,
        places,
        options.reach,
        n_models,
    )
    structure = _copies(modes.structure, len(places), mean)
    # In P 1: what symmetry makes is there already, and moves otherwise.
    files = conformation_files(options.output, structure, frames, (modes.unit_cell, "P 1"))
    rms = np.sqrt(np.mean(np.sum((frames - mean) ** 2, axis=2)))
    said = [
        f"{options.output}: {n_models} models of {len(places)} molecules, {_told(wave)}, "
        f"{options.reach:g} standard deviations; rms {rms:.2f} Å per atom",
        *_chains(modes.structure, structure, packing, places),
        *(f"its atoms: {path}" for path in files if path != options.output),
    ]
    return Made(files, tuple(said))


def _wave(source: Source, options: Options) -> tuple[RigidLattice, Wave]:
    """The lattice of a run's answer, and the phonon that is asked for."""
    lattice, lengths = source.modes.lattice, source.parameters.springs
    if lattice is None or not np.any(lengths):
        raise InputError(
            f"{source.path}: has no springs between molecules: expected a run with [parameters] "
            "lattice_spring_A"
        )
    assert options.wave is not None
    masses = mass_matrix(source.modes.structure, lattice.springs.centre)
    stiffness = lattice.stiffness(lengths)
    of = lattice.springs, stiffness, masses
    return lattice, phonon(*of, options.wave, options.mode or 1, ROOM_K)


def _told(wave: Wave) -> str:
    return (
        f"branch {wave.branch} of the wave {' '.join(f'{x:g}' for x in wave.hkl)}, "
        f"{wave.frequency_THz:.3g} THz"
    )


def _copies(structure: Structure, n: int, positions: np.ndarray) -> Structure:
    """So many of a molecule at given places (n·N, 3), each with chains of its own."""
    chains = list(dict.fromkeys(structure.chain_ids.tolist()))
    if n * len(chains) > len(_LETTERS):
        raise InputError(
            f"{n} molecules of {len(chains)} chains: expected at most {len(_LETTERS)} chains, for "
            "which PDB files have names: give smaller --cells, or none"
        )
    numbers = np.array([chains.index(name) for name in structure.chain_ids.tolist()])
    letters = np.array(list(_LETTERS))
    names = np.concatenate([letters[i * len(chains) + numbers] for i in range(n)])
    every = structure.select(np.tile(np.arange(len(structure)), n))
    return replace(every, positions=positions, chain_ids=names)


def _chains(one: Structure, whole: Structure, packing: Packing, places: list[Place]) -> list[str]:
    """Which chains are which molecule."""
    own = whole.chain_ids.reshape(len(places), len(one))
    lines = []
    for (operator, cell), names in zip(places, own, strict=True):
        where = f"operator {operator + 1}, cell {' '.join(map(str, cell))}"
        chains = ", ".join(dict.fromkeys(names.tolist()))
        lines.append(f"chain {chains}: {where}, {packing.image((operator, cell))}")
    return lines
