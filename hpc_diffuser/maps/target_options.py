"""How a map is cut to what a fit is compared with. Loads no arrays: the command line needs it."""

from dataclasses import dataclass

from hpc_diffuser.system.options import finite, fraction, option, positive, switch, whole

HALO_RADIUS = 3 / 7  # of a reciprocal-lattice unit, as in the paper
D_MAX_A = 3.3  # of the paper's range
SUBTRACT_SCALES = ("one", "shells")  # of a calculated map that is subtracted


def halo_radius(text: str) -> float | tuple[float, ...]:
    """The radius of a sphere, or three of an ellipsoid, in reciprocal-lattice units."""
    radii = tuple(fraction(part) for part in text.split(","))
    if len(radii) == 1:
        return radii[0]
    if len(radii) != 3 or not all(radii):
        raise ValueError(f"expected one radius, or three above 0 with commas between, found {text}")
    return radii


def free_block(text: str) -> int:
    """How many Brillouin zones a block is wide; those of two have no inside."""
    size = whole(text)
    if size == 2:
        raise ValueError("blocks of 2 zones have nothing inside: expected 3 or more")
    return size


@dataclass(frozen=True)
class TargetOptions:
    """How a map is cut.

    Attributes
    ----------
    d_max_A, d_min_A : float, Å, or None
        Resolution range; by default to where the map itself ends, see `target.with_range`.
    halo_radius : float, or three
        Radius, in reciprocal-lattice units, of the sphere left out about every lattice point; of
        an ellipsoid along h, k and l.
    n_shells : int
        Resolution shells, equally wide in 1/d, before thin ones are joined.
    free_fraction : float
        Of the Bragg peaks, whose whole Brillouin zones are kept out of the fit.
    free_block : int
        Above 1: instead of single zones, blocks of so many along h, k and l are free, of which the
        inner voxels alone are kept; see `free_set.free_blocks`.
    seed : int
        Of the choice of free zones.
    min_i_over_sigma : float or None
        Merged voxels with less are left out.
    outliers : float or None
        Merged voxels farther than so many standard deviations from the mean of their shell are
        left out.
    remove_isotropic : bool
        Subtract the isotropic background from the merged voxels that are left.
    halos_only : bool
        What would be masked is kept instead, and nothing else.
    """

    d_max_A: float | None = option(
        "--d-max",
        kind=positive,
        help=f"Å (default: {D_MAX_A:g}, if the map reaches well beyond that)",
    )
    d_min_A: float | None = option(
        "--d-min",
        kind=positive,
        help="Å (default: the map's own: that of the last shell which is about as complete as the "
        "others)",
    )
    halo_radius: float | tuple[float, float, float] = option(
        "--halo-radius",
        default=HALO_RADIUS,
        kind=halo_radius,
        help="of the masked sphere about each lattice point, in reciprocal-lattice units; three, "
        "as 0.4,0.4,0.5, of an ellipsoid along h, k, l; 0 masks nothing (default: 3/7)",
    )
    n_shells: int = option(
        "--shells",
        default=20,
        kind=whole,
        help="equally wide in 1/d; empty ones are left out, and thin ones joined with their "
        "neighbours (default: %(default)s)",
    )
    free_fraction: float = option(
        "--free-fraction",
        default=0.1,
        kind=fraction,
        help="of Bragg peaks (default: %(default)s)",
    )
    free_block: int = option(
        "--free-block",
        default=1,
        kind=free_block,
        metavar="N",
        help="free blocks of N x N x N zones, N at least 3, of which the inner voxels alone are "
        "scored: a fit has seen no neighbour of theirs (default: single zones)",
    )
    seed: int = option(
        "--seed", default=1, kind=whole, help="of the free set (default: %(default)s)"
    )
    min_i_over_sigma: float | None = option(
        "--min-i-over-sigma",
        kind=finite,
        metavar="X",
        help="leave out merged voxels with a lower ratio of intensity to error",
    )
    outliers: float | None = option(
        "--outliers",
        kind=positive,
        metavar="N",
        help="leave out merged voxels farther than N standard deviations from their shell's mean",
    )
    remove_isotropic: bool = switch(
        "--remove-isotropic", "subtract the mean intensity as a smooth function of resolution"
    )
    halos_only: bool = switch(
        "--halos-only", "keep the voxels within --halo-radius alone: for springs between molecules"
    )

    def limits(self) -> tuple[float, float]:
        """d_max and d_min in Å; raises ValueError where they are left to the map."""
        if self.d_max_A is None or self.d_min_A is None:
            raise ValueError("the resolution range is that of a map: see `target.with_range`")
        return self.d_max_A, self.d_min_A
