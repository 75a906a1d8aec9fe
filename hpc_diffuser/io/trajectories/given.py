"""Where a trajectory is, and what is wanted of it. Loads no arrays: the command line needs it."""

from dataclasses import dataclass
from pathlib import Path

from hpc_diffuser.system.options import REQUIRED, option, switch
from hpc_diffuser.system.storage import sha256


@dataclass(frozen=True)
class TrajectoryFiles:
    """A trajectory and what is needed to put it into the crystal.

    Attributes
    ----------
    trajectory, topology, reference : Path
    selection : str or None
        In mdtraj's language; None: what the reference has of it, but for water and ions.
    conformer : str
        Of the reference, as of `read_structure`.
    hydrogens : bool
        Without a selection: also those bonded to the reference's atoms.
    """

    trajectory: Path = option(
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

    def hashes(self) -> dict[str, str]:
        """SHA-256 of the three files, as attributes for what is made of them."""
        names = ("trajectory", "topology", "reference")
        return {f"sha256 {name}": sha256(getattr(self, name)) for name in names}
