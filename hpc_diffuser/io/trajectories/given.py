"""Where a trajectory is, and what is wanted of it. Loads no arrays: the command line needs it."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.options import REQUIRED, option, switch, whole
from hpc_diffuser.system.storage import sha256


@dataclass(frozen=True)
class TrajectoryFiles:
    """A trajectory and what is needed to put it into the crystal.

    Attributes
    ----------
    trajectory : Path or tuple of Path
        One, or several of one topology, one after the other; see `trajectories`.
    topology, reference : Path
    selection : str or None
        In mdtraj's language; None: what the reference has of it, but for water and ions.
    conformer : str
        Of the reference, as of `read_structure`.
    hydrogens : bool
        Without a selection: also those bonded to the reference's atoms.
    first, last, stride : int
        Which frames of each trajectory: every `stride`-th from `first` on up to `last`, counted
        from 1; None: to its end.
    """

    trajectory: Path | tuple[Path, ...] = option(
        "--trajectory",
        default=REQUIRED,
        kind=Path,
        help="XTC, TRR, DCD, NetCDF, HDF5 of MDTraj, GRO or PDB",
    )
    topology: Path = option(
        "--topology", default=REQUIRED, kind=Path, help="PDB, GRO, PRMTOP or PSF of its atoms"
    )
    reference: Path = option(
        "--reference",
        default=REQUIRED,
        kind=Path,
        help="crystal structure (PDB, mmCIF) to superpose on",
    )
    selection: str | None = option(
        "--select",
        help="atoms, in mdtraj's language (default: those that the reference has, without "
        "water, ions and hydrogens)",
    )
    conformer: str = option(
        "--conformer",
        default="A",
        metavar="LETTER",
        help="of the reference's alternates; or occupancy: in each residue the most occupied "
        "(default: %(default)s)",
    )
    hydrogens: bool = switch(
        "--hydrogens",
        "keep hydrogens: the reference's in an elastic network, of a trajectory those on the "
        "reference's atoms",
    )

    first: int = option(
        "--first",
        default=1,
        kind=whole,
        help="the first frame to take of each trajectory, counted from 1 (default: %(default)s)",
    )
    last: int | None = option("--last", kind=whole, help="the last one (default: all)")
    stride: int = option(
        "--stride", default=1, kind=whole, help="take every so manieth frame (default: %(default)s)"
    )

    @property
    def trajectories(self) -> tuple[Path, ...]:
        """All of them."""
        return (self.trajectory,) if isinstance(self.trajectory, Path) else tuple(self.trajectory)

    def hashes(self) -> dict[str, str]:
        """SHA-256 of the files, as attributes for what is made of them."""
        files = {"trajectory": self.trajectories[0]}
        files |= {f"trajectory {i}": path for i, path in enumerate(self.trajectories[1:], 2)}
        files |= {"topology": self.topology, "reference": self.reference}
        return {f"sha256 {name}": sha256(path) for name, path in files.items()}


def files_told(options: Any) -> TrajectoryFiles:
    """The trajectory that a command's options of the same names tell; what they lack, by default.

    Raises
    ------
    InputError
        Where both a selection and hydrogens are asked for.
    """
    names = [each.name for each in fields(TrajectoryFiles) if hasattr(options, each.name)]
    files = TrajectoryFiles(**{name: getattr(options, name) for name in names})
    if files.hydrogens and files.selection is not None:
        raise InputError("--hydrogens and --select: the selection says what is kept: give one")
    return files


@dataclass(frozen=True)
class Analysis:
    """How modes are made of a trajectory's frames.

    Attributes
    ----------
    superpose : {"crystal", "mean"}
        What frames are superposed on: the crystal structure; their own mean, in passes until it
        settles.
    weighting : {"none", "mass", "electrons"}
        By what the components are weighted.
    """

    superpose: str = option(
        "--superpose",
        default="crystal",
        choices=("crystal", "mean"),
        help="on the reference, or in passes on the frames' own mean, until it stays "
        "(default: %(default)s)",
    )
    weighting: str = option(
        "--weighting",
        default="none",
        choices=("none", "mass", "electrons"),
        help="what atoms count in the components: alike, their masses, their electrons squared "
        "(default: %(default)s)",
    )
