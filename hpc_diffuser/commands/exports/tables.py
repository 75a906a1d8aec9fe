"""Tables about modes: projections of a trajectory, and how alike two bases are."""

import numpy as np

from hpc_diffuser.commands.export import Options
from hpc_diffuser.commands.exports.made import Made
from hpc_diffuser.commands.exports.source import Source, read_source
from hpc_diffuser.fit.config_values import checked_conformer
from hpc_diffuser.io.modes_file import read_analysis
from hpc_diffuser.io.trajectories.given import TrajectoryFiles, files_told
from hpc_diffuser.io.trajectories.projected import projected_frames
from hpc_diffuser.motion.bases import overlap
from hpc_diffuser.system.errors import InputError


def projections(source: Source, options: Options) -> Made:
    """Of every frame, superposed as for the modes: a row of coefficients in Å.

    Frames have their numbers in their files, of several of which the name is told, too.
    """
    source.require_modes()
    assert source.modes_file  # where there are modes
    files, notes = _trajectory(options), list[str]()
    analysis = read_analysis(source.modes_file)
    found = projected_frames(files, source.modes, analysis, notes.append)
    values = found.coefficients
    names = ["frame", *(f"mode_{i + 1}_A" for i in range(values.shape[1]))]
    lines = [f"{i},{_row(row)}" for i, row in zip(found.numbers, values, strict=True)]
    if len(found.runs) > 1:
        of_frame = np.repeat([_field(str(path)) for path in files.trajectories], found.runs)
        names, lines = ["file", *names], [f"{a},{b}" for a, b in zip(of_frame, lines, strict=True)]
    pairs = zip(values.std(axis=0), source.modes.amplitudes_A, strict=True)
    said = (
        *notes,
        f"{options.output}: {len(values)} frames along {values.shape[1]} modes",
        "standard deviations in Å, and the modes' amplitudes: "
        + ", ".join(f"{a:.3f} ({b:.3f})" for a, b in pairs),
    )
    inputs = (*files.trajectories, files.topology, files.reference)
    return Made({options.output: _csv(names, lines)}, said, inputs)


def _trajectory(options: Options) -> TrajectoryFiles:
    checked_conformer("--conformer", options.conformer)
    return files_told(options)


def overlaps(source: Source, options: Options) -> Made:
    """Of the modes of two bases, matched by their atoms."""
    assert options.other is not None  # `needs` of the kind's row
    other = read_source(options.other)
    for basis in (source, other):
        basis.require_modes()
    try:
        found = overlap(source.modes, other.modes)
    except InputError as exc:
        raise InputError(f"{source.path} and {other.path}: {exc}") from exc
    names = ["mode", *(f"other_{j + 1}" for j in range(found.matrix.shape[1]))]
    lines = [f"{i},{_row(row)}" for i, row in enumerate(found.matrix, start=1)]
    sizes = len(source.modes.structure), len(other.modes.structure)
    said = [
        f"{options.output}: cosines of {found.matrix.shape[0]} with {found.matrix.shape[1]} modes",
        f"{found.n_atoms} atoms in common, of {sizes[0]} and {sizes[1]}",
        f"RMSIP of the first {found.n_compared}: {found.rmsip:.3f}",
    ]
    if found.turned_deg > 1:
        said.append(f"{other.path} was turned by {found.turned_deg:.0f}° to fit {source.path}")
    return Made({options.output: _csv(names, lines)}, tuple(said), other.files)


def _row(values: np.ndarray) -> str:
    return ",".join(f"{value:.6f}" for value in values.tolist())


def _field(text: str) -> str:
    """A text as CSV has it: in quotes where it needs them (RFC 4180)."""
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n\r') else text


def _csv(names: list[str], lines: list[str]) -> bytes:
    return "\n".join([",".join(names), *lines, ""]).encode()
