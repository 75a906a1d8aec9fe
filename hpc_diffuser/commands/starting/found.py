"""What a project's files hold; read, and so checked, by what the later commands read them with."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hpc_diffuser.commands.map_source import SEARCH
from hpc_diffuser.commands.measured_map import load_map
from hpc_diffuser.commands.pages.contents import kind_of
from hpc_diffuser.commands.starting.files import ProjectFiles
from hpc_diffuser.crystal.lattice import cell_text, centring, laue_operations, same_unit_cell
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.fit.config import Config, CrystalConfig, StructureConfig
from hpc_diffuser.fit.inputs import load_modes, require_same_crystal, same_symmetry
from hpc_diffuser.fit.ranges import mean_b_factor
from hpc_diffuser.io.maps.native import read_target
from hpc_diffuser.io.modes_file import read_modes
from hpc_diffuser.io.opened import opened
from hpc_diffuser.io.structures.files import Crystal, read_structure
from hpc_diffuser.io.trajectories.given import TrajectoryFiles
from hpc_diffuser.io.trajectories.stream import crystal_stream
from hpc_diffuser.maps.reindexing import compatible_reindexings, distinct_reindexings
from hpc_diffuser.maps.target import one_per_peak
from hpc_diffuser.maps.usable_range import usable_range
from hpc_diffuser.motion.modes import most_modes
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.system.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Molecule:
    """What moves.

    Attributes
    ----------
    crystal : (unit cell, space group)
    has_crystal : bool
        The file that the fit reads names them itself.
    amplitudes_A : (M,) float or None
        Of modes that are made already.
    most_modes : int
        As many as there are, or can be made.
    mean_b_A2 : float or None
        Of the crystal; None where its B-factors are not known.
    """

    crystal: Crystal
    has_crystal: bool = True
    amplitudes_A: np.ndarray | None = None
    most_modes: int
    mean_b_A2: float | None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a fit is compared with.

    Attributes
    ----------
    is_target : bool
        It is cut already.
    d_max_A, d_min_A : float
    why : str
        The rules that gave the range; empty of a target, whose range is given.
    reindexing : str
        "h,k,l" where nothing was done.
    masks_halos : bool
        False where every voxel is one of a Bragg peak.
    searched_ways : int
        Of indexing, among which the structure chose; 1 where there was nothing to choose.
    """

    is_target: bool
    d_max_A: float
    d_min_A: float
    why: str = ""
    reindexing: str = "h,k,l"
    masks_halos: bool = True
    searched_ways: int = 1


@dataclass
class Told:
    """Lines for people.

    Attributes
    ----------
    found, assumed : list of str
        What is so, and what was taken to be so: the config repeats the latter.
    """

    found: list[str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)

    def of(self, path: Path, line: str) -> None:
        """What a reader says about a file."""
        text = " ".join(line.split())
        where, words = (self.found, text)
        if text.startswith("assumed "):
            where, words = self.assumed, text.removeprefix("assumed ")
        where.append(words if words.startswith(str(path)) else f"{path}: {words}")


def look_at(files: ProjectFiles, told: Told) -> tuple[Molecule, Measured | None]:
    """Read everything, as far as it takes to know that it belongs together.

    Raises
    ------
    InputError
        Where a file cannot be read, or is of another crystal or protein than the others.
    """
    structure = crystal = None
    if files.structure is not None:
        structure, crystal = _read_crystal(files.structure, told)
    if files.modes is not None:
        molecule = _of_modes(files.modes, files.structure, crystal, told)
    else:
        assert structure is not None and crystal is not None
        frames = files.trajectory_files
        most = _of_trajectory(frames, structure, told) if frames else 3 * len(structure) - 6
        mean_b = mean_b_factor(structure.b_factors_A2)
        molecule = Molecule(crystal=crystal, most_modes=most, mean_b_A2=mean_b)
    if molecule.most_modes < 1:
        frames = files.trajectory_files
        source = frames.trajectories[0] if frames else files.modes or files.structure
        raise InputError(f"{source}: has no modes of motion: expected one at least")
    if files.map is None:
        return molecule, None
    look = _of_target if _is_target(files.map) else _of_map
    return molecule, look(files, molecule, told)


def _read_crystal(path: Path, told: Told) -> tuple[Structure, Crystal]:
    lines: list[str] = []
    structure, crystal = read_structure(path, tell=lines.append)
    if crystal is None:
        raise InputError(
            f"{path}: no unit cell: expected a crystal structure: give the crystal's own file, or "
            "add a CRYST1 record"
        )
    mean_b = mean_b_factor(structure.b_factors_A2)
    b_factors = "no B-factors" if mean_b is None else f"mean B {mean_b:.1f} Å²"
    told.of(path, f"{len(structure)} atoms, {_crystal_text(crystal)}, {b_factors}")
    for line in lines:
        told.of(path, line)
    return structure, crystal


def _of_modes(path: Path, structure: Path | None, crystal: Crystal | None, told: Told) -> Molecule:
    """Modes as a fit will have them, with the crystal's B-factors of the structure."""
    own = read_modes(path)
    if not own.unit_cell and crystal is None:
        raise InputError(f"{path}: names no unit cell: give --structure, the crystal it is of")
    if own.unit_cell and crystal:
        _require_alike(path, (own.unit_cell, own.space_group), structure, crystal)
    missing = (None, None) if own.unit_cell or crystal is None else crystal
    modes = load_modes(Config(StructureConfig(modes=path), CrystalConfig(structure, *missing)))
    found = modes.unit_cell, modes.space_group
    rms = float(np.sqrt(np.sum(modes.amplitudes_A**2)))
    told.of(
        path,
        f"{len(modes.amplitudes_A)} modes of {len(modes.structure)} atoms, {rms:.2f} Å rms "
        f"together, {_crystal_text(found)}",
    )
    return Molecule(
        crystal=found,
        has_crystal=bool(own.unit_cell),
        amplitudes_A=modes.amplitudes_A,
        most_modes=len(modes.amplitudes_A),
        mean_b_A2=mean_b_factor(modes.crystal_b_A2),
    )


def _require_alike(path: Path, one: Crystal, other_path: Path | None, other: Crystal) -> None:
    """Raise InputError unless two crystals have a cell and a symmetry of the intensities."""
    if same_unit_cell(one[0], other[0]) and same_symmetry(one[1], other[1], one[0]):
        return
    raise InputError(
        f"{path}: {_crystal_text(one)} is not the crystal of {other_path}, "
        f"{_crystal_text(other)}: expected both of one crystal: give the structure that the modes "
        "were made with, or make them again"
    )


def _of_trajectory(files: TrajectoryFiles, structure: Structure, told: Told) -> int:
    """How many modes its frames can have."""
    with crystal_stream(files, Ranks()) as stream:
        n_frames, n_atoms = stream.n_frames, len(stream.structure)
    told.found.append(
        f"{', '.join(map(str, files.trajectories))}: {n_frames} frames; of the {len(structure)} "
        f"atoms of {files.reference} it has {n_atoms}"
    )
    return most_modes(n_frames, n_atoms) if n_frames > 1 else 0


def _of_target(files: ProjectFiles, molecule: Molecule, told: Told) -> Measured:
    assert files.map is not None
    if not files.describes_nothing:
        raise InputError(
            f"{files.map}: a target, cut already: expected --reindex, --cell, --space-group, "
            "--column and --divisions with a map only"
        )
    target = read_target(files.map)
    require_same_crystal(files.map, target, molecule.crystal)
    d_max = float(1 / target.shell_edges[0]) if target.shell_edges[0] else np.inf
    told.of(
        files.map,
        f"target, {len(target.indices)} voxels from {d_max:.4g} to {target.d_min:.4g} Å, "
        f"{_samples_text(target.grid.divisions)}",
    )
    return Measured(is_target=True, d_max_A=d_max, d_min_A=target.d_min)


def _of_map(files: ProjectFiles, molecule: Molecule, told: Told) -> Measured:
    source = files.map_source
    unit_cell, group = molecule.crystal
    known = (molecule.crystal, files.modes) if files.modes else None
    loaded = load_map(source, known=None if files.structure else known)
    _require_symmetry(files, loaded.own[1], molecule)
    ways = 1
    if files.structure and files.reindex is None:
        ways = _ways_to_index(loaded.own[0], (unit_cell, files.given.space_group or group))
    if ways > 1:  # with wrong indices no model fits
        loaded = load_map(replace(source, reindex=SEARCH))
    for line in loaded.said:
        if not line.startswith(str(files.structure)):  # whose lines are told already
            told.of(source.path, line)
    diffuse = loaded.diffuse
    try:
        found = usable_range(diffuse)
    except InputError as exc:
        raise InputError(f"{source.path}: {exc}") from exc
    told.of(
        source.path,
        f"{_samples_text(diffuse.grid.divisions)}, {'' if diffuse.errors is not None else 'no '}"
        f"errors, {'' if diffuse.halves is not None else 'no '}half-maps",
    )
    why = f"from {found.d_max_A:g} Å: {found.low}; to {found.d_min_A:g} Å: {found.high}"
    told.of(source.path, f"to be fitted {why}")
    if ways > 1:
        told.of(
            source.path,
            f"its lattice can be indexed in {ways} ways, of which {loaded.reindexing} fits "
            f"{files.structure} best, by the CCs above (other ones: --reindex)",
        )
    lattice = centring(diffuse.space_group, diffuse.grid.unit_cell)
    masks = not one_per_peak(diffuse.grid, lattice)
    if not masks:
        told.assumed.append(
            f"{source.path}: one voxel per Bragg peak: halos cannot be masked, and are fitted too"
        )
    return Measured(
        is_target=False,
        d_max_A=found.d_max_A,
        d_min_A=found.d_min_A,
        why=why,
        reindexing=loaded.reindexing,
        masks_halos=masks,
        searched_ways=ways,
    )


def _is_target(path: Path) -> bool:
    with opened(path, "diffuse map or target") as file:
        return kind_of(file) == "target"


def _require_symmetry(files: ProjectFiles, named: str, molecule: Molecule) -> None:
    """Raise InputError where a map's file names another symmetry than the structure's.

    P 1 contradicts nothing: it is what files say that do not know.
    """
    unit_cell, expected = molecule.crystal
    if files.given.space_group or len(laue_operations(named, unit_cell)) <= 2:
        return
    if same_symmetry(named, expected, unit_cell):
        return
    raise InputError(
        f"{files.map}: is of space group {named}, {files.structure or files.modes} of {expected}: "
        "expected the same Laue class and centring: say by --space-group which is right"
    )


def _ways_to_index(own_cell: tuple[float, ...], crystal: Crystal) -> int:
    """How many there are that the crystal's symmetry tells apart: its lattice may have more."""
    operations = laue_operations(crystal[1], crystal[0])
    return len(distinct_reindexings(compatible_reindexings(own_cell, crystal[0]), operations))


def _crystal_text(crystal: Crystal) -> str:
    return f"{cell_text(crystal[0])}, {crystal[1]}"


def _samples_text(divisions: tuple[float, ...]) -> str:
    return f"{' x '.join(f'{n:g}' for n in divisions)} samples per reciprocal-lattice unit"
