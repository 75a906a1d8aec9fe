"""Motion modes from files: of a trajectory on all ranks, or of a structure's elastic network."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hpc_diffuser.io.modes_file import write_modes
from hpc_diffuser.io.structures.files import read_structure, write_pdb
from hpc_diffuser.io.trajectories.essential_dynamics import essential_dynamics, frame_projections
from hpc_diffuser.io.trajectories.given import Analysis, TrajectoryFiles
from hpc_diffuser.io.trajectories.stream import crystal_stream
from hpc_diffuser.motion.convergence import FEWEST_FRAMES, SPACE, convergence
from hpc_diffuser.motion.modes import Modes, most_modes
from hpc_diffuser.motion.network_modes import network_modes
from hpc_diffuser.motion.network_options import Network
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.progress import log

_N_MODES = 20  # where nobody says how many


def modes_from_trajectory(
    files: TrajectoryFiles, n_modes: int, tell: Callable[[str], None] = log
) -> Modes:
    """Principal components of a trajectory by this process alone; see `modes_on_ranks`."""
    found = modes_on_ranks(files, n_modes, Analysis(), Ranks(), tell)
    assert found is not None
    return found[0]


def modes_on_ranks(
    files: TrajectoryFiles,
    n_modes: int | None,
    analysis: Analysis,
    ranks: Ranks,
    tell: Callable[[str], None],
) -> tuple[Modes, dict[str, str]] | None:
    """Principal components of a trajectory in the crystal frame, about its mean structure.

    Parameters
    ----------
    files : TrajectoryFiles
    n_modes : int or None
        None: 20, or as many as there are.
    analysis : Analysis
    ranks : Ranks
        Who reads and computes, together.
    tell : callable
        Given on rank 0, line by line, what was left out, mended and assumed.

    Returns
    -------
    modes : Modes
        On rank 0; elsewhere None is all.
    provenance : dict of str → str
        Which frames were used, and how.

    Raises
    ------
    InputError
        Where there are fewer frames, or atoms, than so many modes need; as of `crystal_stream`.
    """
    with crystal_stream(files, ranks) as stream:
        ranks.from_root(lambda: _require_frames(stream.n_frames, len(stream.structure), n_modes))
        kept = _N_MODES if n_modes is None else n_modes
        mean = analysis.superpose == "mean"
        how = stream.settle() if mean else "superposed on the crystal structure's backbone"
        found = essential_dynamics(stream, max(kept, SPACE), analysis.weighting, ranks)
        coefficients = None
        if stream.n_frames >= FEWEST_FRAMES:
            first = ranks.broadcast(found and found.first(SPACE))
            coefficients = frame_projections(stream, first, analysis.weighting, ranks)
        notes = [*stream.notes(), *([how] if mean else [])]
    if found is None:
        return None
    for note in notes:
        tell(note)
    structure = replace(stream.structure, positions=found.mean, b_factors_A2=found.b_factors_A2)
    used = {
        "frames": "; ".join(stream.used),
        "superposition": how,
        "superpose": analysis.superpose,
        "weighting": analysis.weighting,
    }
    enough = None
    if coefficients is None:
        tell(
            f"{stream.n_frames} frames: too few to tell whether the trajectory is long enough "
            f"({FEWEST_FRAMES} at least)"
        )
    else:
        enough = convergence(coefficients, found.share_of(coefficients), stream.runs)
    given = structure, found.vectors[:kept], found.amplitudes_A[:kept], *stream.crystal
    return Modes(*given, crystal_b_A2=stream.crystal_b_A2, convergence=enough), used


def _require_frames(n_frames: int, n_atoms: int, n_modes: int | None) -> None:
    """Raise InputError unless there can be so many modes."""
    if n_frames < 2:
        raise InputError("one frame has no motion: modes need at least two")
    most = most_modes(n_frames, n_atoms)
    if n_modes is not None and n_modes > most:
        raise InputError(
            f"--n-modes {n_modes}: {n_frames} frames of {n_atoms} atoms have at most {most} modes: "
            "ask for no more, or give more frames or atoms"
        )


def modes_from_network(
    reference: Path,
    n_modes: int,
    conformer: str = "A",
    hydrogens: bool = False,
    network: Network | None = None,
    tell: Callable[[str], None] = log,
) -> Modes:
    """Elastic-network modes of a crystal structure, as large as its B-factors say.

    Parameters
    ----------
    reference : Path
    n_modes : int
    conformer, hydrogens
        As of `read_structure`.
    network : Network or None
        None: as by default.
    tell : callable
        Given, line by line, what was found and fitted; by default to standard error.

    Raises
    ------
    InputError
        Without a unit cell, and as of `network_modes`.
    """
    structure, crystal = read_structure(reference, conformer, hydrogens)
    if crystal is None:
        raise InputError(
            f"{reference}: no unit cell: expected a crystal structure; its neighbours, and the "
            "diffuse map, need one: add a CRYST1 record"
        )
    try:
        vectors, amplitudes, notes = network_modes(
            structure, crystal, n_modes, network or Network()
        )
    except InputError as exc:
        raise InputError(f"{reference}: {exc}") from exc
    for note in notes:
        tell(note)
    return Modes(structure, vectors, amplitudes, *crystal, crystal_b_A2=structure.b_factors_A2)


def save_modes(path: Path, modes: Modes, inputs: list[Path], provenance: dict[str, str]) -> Path:
    """Write modes.h5 and, beside it, the mean structure as PDB; the PDB's path.

    Raises
    ------
    InputError
        Where that would replace one of the `inputs`.
    """
    pdb = path.with_name(f"{path.stem}-mean.pdb")
    for output in (path, pdb):
        if output.resolve() in {source.resolve() for source in inputs}:
            raise InputError(f"{output} is an input, and would be replaced: give another --output")
    write_modes(path, modes, provenance)
    write_pdb(pdb, modes.structure, (modes.unit_cell, modes.space_group))
    return pdb
