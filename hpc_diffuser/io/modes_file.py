"""modes.h5: a mean structure and its modes."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hpc_diffuser.crystal.structure import Structure, require_occupied
from hpc_diffuser.io.hdf5 import Arrays, read_arrays, require_format, write_hdf5
from hpc_diffuser.io.opened import Opened
from hpc_diffuser.io.plausible import check_crystal, check_names, check_numbers
from hpc_diffuser.io.trajectories.given import Analysis
from hpc_diffuser.motion.convergence import PAIRS, Convergence
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.options import words_of

if TYPE_CHECKING:
    import h5py

_TEXT = ("elements", "atom_names", "residue_names", "chain_ids")
_NUMBERS = ("mean_positions", "vectors", "amplitudes", "residue_numbers")
_CRYSTAL_B = "crystal_b_factors_A2"  # of the reference; NaN for atoms that it lacks
_OPTIONAL = (
    *("insertion_codes", "occupancies", "b_factors_A2", _CRYSTAL_B),
    *("@unit_cell", "@space_group"),
)
_MOST_FRAMES = 1e12
_CONVERGENCE = {field.name: f"convergence/{field.name}" for field in fields(Convergence)}


def write_modes(path: Path, modes: Modes, provenance: dict[str, str]) -> None:
    """Write modes.h5; `provenance` becomes attributes (command, hashes of the inputs)."""

    def fill(file: h5py.File) -> None:
        file.attrs.update(provenance)
        file.attrs.update(format="hpc-diffuser/modes", version=1)
        file.attrs.update(unit_cell=modes.unit_cell, space_group=modes.space_group)
        file["mean_positions"] = modes.structure.positions
        file["vectors"] = modes.vectors
        file["amplitudes"] = modes.amplitudes_A
        file["residue_numbers"] = modes.structure.residue_numbers
        file["occupancies"] = modes.structure.occupancies
        file["b_factors_A2"] = modes.structure.b_factors_A2
        if modes.crystal_b_A2 is not None:
            file[_CRYSTAL_B] = modes.crystal_b_A2
        if modes.convergence is not None:
            for name, place in _CONVERGENCE.items():
                file[place] = getattr(modes.convergence, name)
        for name in (*_TEXT, "insertion_codes"):
            file[name] = np.char.encode(getattr(modes.structure, name), "ascii")

    write_hdf5(path, fill)


def read_modes(source: Path | Opened) -> Modes:
    """Read and check modes.h5.

    Raises
    ------
    InputError
        For another format, shapes that disagree, numbers that are not finite, or vectors that
        are not normalised to Σ|Δ|² = N.
    """
    names = ("@format", "@version", *_NUMBERS, *_TEXT, *_OPTIONAL, *_CONVERGENCE.values())
    return read_arrays(source, "modes file", names, _build)


def read_analysis(path: Path) -> Analysis:
    """How a file's modes were made of a trajectory; as by default where it does not say."""
    names = [f"@{field.name}" for field in fields(Analysis)]
    return read_arrays(path, "modes file", names, _analysis)


def _analysis(arrays: Arrays) -> Analysis:
    found = {name.removeprefix("@"): str(value) for name, value in arrays.items()}
    for field in fields(Analysis):
        words = words_of(field)
        value = found.get(field.name, field.default)
        if words and words.choices and value not in words.choices:
            raise InputError(
                f'attribute "{field.name}": expected one of {", ".join(words.choices)}, found '
                f"{value!r:.40}"
            )
    return Analysis(**found)


def _build(arrays: Arrays) -> Modes:
    require_format(arrays, "modes")
    n = len(arrays["mean_positions"])
    structure = Structure(
        positions=arrays["mean_positions"],
        residue_numbers=arrays["residue_numbers"],
        # Files of other programs may lack these: every atom is there, and B is unknown.
        insertion_codes=arrays.get("insertion_codes", np.empty(0, str)),
        occupancies=arrays.get("occupancies", np.ones(n)),
        b_factors_A2=arrays.get("b_factors_A2", np.zeros(n)),
        **{name: arrays[name] for name in _TEXT},
    )
    modes = Modes(
        structure=structure,
        vectors=arrays["vectors"],
        amplitudes_A=arrays["amplitudes"],
        unit_cell=tuple(float(x) for x in arrays.get("@unit_cell", ())),
        space_group=str(arrays.get("@space_group", "P 1")),
        crystal_b_A2=arrays.get(_CRYSTAL_B),
        convergence=_convergence(arrays),
    )
    _check(modes)
    _check_crystal_b(modes.crystal_b_A2, n)
    return modes


def _convergence(arrays: Arrays) -> Convergence | None:
    """Of a trajectory, if the program that wrote the file looked at that."""
    if _CONVERGENCE["n_frames"] not in arrays:
        return None
    found = {name: arrays[place] for name, place in _CONVERGENCE.items()}
    for name, place in _CONVERGENCE.items():
        check_numbers(found[name], f'dataset "{place}"', _MOST_FRAMES)
    _require_shapes(found, ("n_frames", "compared", "share", "independent_blocks"), ())
    _require_shapes(found, ("rmsip", "overlap", "random_rmsip", "random_overlap"), (len(PAIRS),))
    _require_shapes(found, ("cosine_content", "independent"), (int(found["compared"]),))
    of_blocks = (found["block_lengths"].size,)
    _require_shapes(found, ("block_lengths", "block_overlap", "random_block_overlap"), of_blocks)
    for name in ("n_frames", "compared", "independent", "independent_blocks", "block_lengths"):
        if not found[name].size or found[name].min() < 1:
            raise InputError(f'dataset "{_CONVERGENCE[name]}" should hold numbers from 1 up')
    kinds = {"n_frames": int, "compared": int, "share": float, "independent_blocks": float}
    found["block_lengths"] = found["block_lengths"].astype(int)
    return Convergence(**found | {name: kind(found[name]) for name, kind in kinds.items()})


def _require_shapes(found: Arrays, names: tuple[str, ...], shape: tuple[int, ...]) -> None:
    for name in names:
        if found[name].shape != shape:
            raise InputError(
                f'dataset "{_CONVERGENCE[name]}" is of shape {found[name].shape}: expected {shape}'
            )


def _check(modes: Modes) -> None:
    """Raise InputError unless shapes agree, numbers are plausible and vectors normalised."""
    n, m = len(modes.structure), len(modes.amplitudes_A)
    if modes.amplitudes_A.shape != (m,):
        raise InputError('dataset "amplitudes" should hold one number for each mode')
    if not n or modes.vectors.shape != (m, n, 3) or modes.structure.positions.shape != (n, 3):
        raise InputError(
            f"modes do not fit the structure: {n} atoms and {m} amplitudes, "
            f"but vectors of shape {modes.vectors.shape}; expected ({m}, {n}, 3)"
        )
    for name in (*_TEXT, "insertion_codes", "residue_numbers", "occupancies", "b_factors_A2"):
        if getattr(modes.structure, name).shape != (n,):
            raise InputError(f'dataset "{name}" should hold one entry for each of {n} atoms')
    for name, array in (
        ("mean_positions", modes.structure.positions),
        ("vectors", modes.vectors),
        ("amplitudes", modes.amplitudes_A),
        ("residue_numbers", modes.structure.residue_numbers),
        ("occupancies", modes.structure.occupancies),
        ("b_factors_A2", modes.structure.b_factors_A2),
    ):
        check_numbers(array, f'dataset "{name}"')
    require_occupied(modes.structure, 'dataset "occupancies"')
    if (modes.amplitudes_A < 0).any():
        raise InputError('dataset "amplitudes" holds negative numbers')
    for name in (*_TEXT, "insertion_codes"):
        check_names(getattr(modes.structure, name), f'dataset "{name}"')
    if modes.unit_cell:
        check_crystal(modes.unit_cell, modes.space_group, "attribute unit_cell")
    squared = np.sum(modes.vectors**2, axis=(1, 2))
    if not np.allclose(squared, n, rtol=1e-3):
        worst = int(np.abs(squared - n).argmax())
        raise InputError(
            f"mode {worst + 1} has Σ|Δ|² = {squared[worst]:.4g}, expected the number of atoms, {n}"
        )


def _check_crystal_b(b_factors: np.ndarray | None, n_atoms: int) -> None:
    if b_factors is None:
        return
    what = f'dataset "{_CRYSTAL_B}"'
    if b_factors.shape != (n_atoms,):
        raise InputError(f"{what} should hold one entry for each of {n_atoms} atoms")
    known = ~np.isnan(b_factors) if b_factors.dtype.kind == "f" else slice(None)
    check_numbers(b_factors[known], what)
