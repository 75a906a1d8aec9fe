"""The files that a project begins with. Loads no arrays: the command line needs it."""

from dataclasses import dataclass
from pathlib import Path

from hpc_diffuser.commands.map_source import MapDescription, MapSource
from hpc_diffuser.io.maps.given import Given
from hpc_diffuser.io.trajectories.given import TrajectoryFiles
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.options import option, option_of, part


@dataclass(frozen=True, kw_only=True)
class ProjectFiles:
    """What there is, any of it.

    Attributes
    ----------
    map : Path or None
        A diffuse map of any format, or target.h5.
    structure : Path or None
    trajectory : Path, tuple of Path, or None
    topology : Path or None
    modes : Path or None
    reindex : str or None
        As of `MapDescription`.
    given : Given
        What the map's file lacks, or has wrong.
    """

    map: Path | None = option(
        "--map", kind=Path, help="diffuse map of any format that target reads, or target.h5"
    )
    structure: Path | None = option(
        "--structure", kind=Path, help="PDB or mmCIF of the crystal, for all that is known of it"
    )
    trajectory: Path | tuple[Path, ...] | None = option(
        "--trajectory",
        kind=Path,
        several=True,
        help="of the same protein, to make modes of; without one they are an elastic network's",
    )
    topology: Path | None = option_of(TrajectoryFiles, "topology", default=None)
    modes: Path | None = option("--modes", kind=Path, help="modes.h5, where it is made already")
    reindex: str | None = option_of(MapDescription, "reindex")
    given: Given = part(Given)

    def checked(self) -> "ProjectFiles":
        """Itself.

        Raises
        ------
        InputError
            Where nothing says what moves, or files lack others that they need.
        """
        if self.structure is None and self.modes is None:
            raise InputError(
                "nothing says what moves: give --structure model.pdb, or --modes; for a fit, --map "
                "besides"
            )
        if (self.trajectory is None) != (self.topology is None):
            raise InputError("--trajectory and --topology go together: give both, or neither")
        if self.trajectory is not None and self.structure is None:
            raise InputError(
                "--trajectory: its frames are superposed on the crystal: give --structure"
            )
        if self.trajectory is not None and self.modes is not None:
            raise InputError(
                "--trajectory and --modes: the modes are either made, or made already: give one"
            )
        if self.map is None and not self.describes_nothing:
            raise InputError(
                "--reindex, --cell, --space-group, --column and --divisions are of a map: give "
                "--map, or leave them out"
            )
        if self.reindex is not None and self.structure is None:
            raise InputError("--reindex: expected it with the crystal's --structure")
        return self

    @property
    def describes_nothing(self) -> bool:
        """Nothing is said about the map."""
        return (self.reindex, self.given) == (None, Given())

    @property
    def trajectory_files(self) -> TrajectoryFiles | None:
        """The trajectory in its crystal; None without one."""
        if self.trajectory is None or self.topology is None or self.structure is None:
            return None
        return TrajectoryFiles(self.trajectory, self.topology, self.structure)

    @property
    def map_source(self) -> MapSource:
        """The map, which must be there, as its user describes it."""
        assert self.map is not None
        return MapSource(self.map, structure=self.structure, reindex=self.reindex, given=self.given)
