"""A measured map as its user describes it. Loads no arrays: the command line needs it."""

from dataclasses import dataclass
from pathlib import Path

from hpc_diffuser.io.maps.given import Given
from hpc_diffuser.system.options import option, part
from hpc_diffuser.system.storage import sha256

SEARCH = "search"


@dataclass(frozen=True, kw_only=True)
class MapDescription:
    """What a user knows about a map, whatever its format.

    Attributes
    ----------
    structure : Path or None
        PDB or mmCIF of the crystal: for the cell and space group.
    reindex : str or None
        As "k,h,-l"; "search" finds the one that fits the structure best.
    given : Given
        Cell, space group and column: they come before what the file says.
    """

    structure: Path | None = option(
        "--structure",
        kind=Path,
        help="PDB or mmCIF of the crystal: the map gets its unit cell and space group, if its own "
        "cell agrees to 2 %%",
    )
    reindex: str | None = option(
        "--reindex",
        metavar="WHAT",
        help="the new h,k,l in terms of the old, as k,h,-l (with = where it begins with -: "
        "--reindex=-h,k,l); search: the one that fits --structure best",
    )
    given: Given = part(Given)

    @property
    def is_empty(self) -> bool:
        """Nothing is said about the map."""
        return (self.given, self.structure, self.reindex) == (Given(), None, None)

    def of(self, path: Path) -> "MapSource":
        """The map of this description."""
        return MapSource(path, **vars(self))


@dataclass(frozen=True)
class MapSource(MapDescription):
    """Where a map is, and what the user says about it.

    Attributes
    ----------
    path : Path
    """

    path: Path

    def hashes(self) -> dict[str, str]:
        """SHA-256 of the files, as attributes for what is made of them."""
        found = {"sha256 map": sha256(self.path)}
        return found | ({"sha256 structure": sha256(self.structure)} if self.structure else {})
