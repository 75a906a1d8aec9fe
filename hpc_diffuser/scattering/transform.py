"""What a transform of configurations offers, which ones there are, and which one pays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from hpc_diffuser.crystal.atom_factors import AtomFactors, atom_factors
from hpc_diffuser.crystal.lattice import HklGrid, fractionalization
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.scattering.boxes import product_flops
from hpc_diffuser.scattering.density import DensityTransform
from hpc_diffuser.scattering.direct import DirectTransform
from hpc_diffuser.scattering.exact_sums import ExactSums
from hpc_diffuser.scattering.shapes import (
    DRAWING_ERROR,
    SOLVENT_ERROR,
    WIDTHS,
    can_be_drawn,
    fit_shapes,
    grid_points_per_cell,
)
from hpc_diffuser.scattering.slab import Slab, plane_costs
from hpc_diffuser.system.arrays import Complexes, Floats
from hpc_diffuser.system.errors import InputError


class Transform(Protocol):
    """Structure factors of one structure's configurations on one slab.

        F(s) = Σ_a o_a f_a(s) exp 2πi s·(r_a − r₀)

    What every entry of `TRANSFORMS` offers; one test, `test_transform.py`, holds all of them
    against sums over atoms in double precision. A method by another route is a class in a module
    of its own and an entry of the table.

    Attributes
    ----------
    slab : Slab
        Where F is computed: V stored values, which `slab.position_of` finds a sample among.
    origin : (3,) float, Å
        r₀, common to all configurations: intensities do not know it.
    mean : two (V,) float32
        Real and imaginary part of F₀, the structure's own.
    drawn : bool
        By way of the density.
    """

    drawn: bool
    slab: Slab
    origin: Floats
    mean: tuple[Floats, Floats]

    def structure_factors(self, positions: Floats) -> tuple[Floats, Floats]:
        """F of one configuration: positions (N, 3) Å → real and imaginary part, (V,) float32."""
        ...

    def sums(self, weight: float) -> ExactSums:
        """Zeros, (3, V), to add moments to of configurations that weigh so much together."""
        ...

    def moments(self, configurations: Floats, weights: Floats | None = None) -> Floats:
        """Weighted sums over configurations about the structure's own F₀.

        Parameters
        ----------
        configurations : (S, N, 3) float, Å
            S may be 0.
        weights : (S,) float or None
            How much each counts; 1 without.

        Returns
        -------
        (3, V) float64
            Σ w Re D, Σ w Im D and Σ w |D|² with D = F − F₀.
        """
        ...

    def add_moments(
        self, configurations: Floats, weights: Floats, sums: ExactSums, own: slice = slice(None)
    ) -> None:
        """Add some configurations' to running sums.

        What all configurations add up to has the same bits whoever adds which of them, and in
        what order, whatever else the slab holds, and however many threads there are.

        Parameters
        ----------
        configurations : (≤ CHUNK, N, 3) float, Å
            Those that are made together, always the same.
        weights : (≤ CHUNK,) float32
        sums : ExactSums
            As of `sums`.
        own : slice
            Which ones are added; it begins at an even number, and ends at one or with the chunk.
        """
        ...

    def forces(
        self,
        configurations: Floats,
        pulls: Floats,
        weights: Floats | None = None,
        dimming: bool = False,
        own: slice = slice(None),
    ) -> Floats:
        """What moving atoms does to an objective that F pulls at: the adjoint of the transform.

        With dO = Σ_s Re Σ_v λ_s* dF_s, λ_s = w_s (κ F_s + c), the forces on the atoms are
        dO/dr_sa = −Im Σ_v λ_s* f_a q e^{iq·r_sa}.

        Parameters
        ----------
        configurations : (S, N, 3) float, Å
        pulls : (3, V) float32
            κ and the real and imaginary part of c; 0 at stored values that are no voxels.
        weights : (S,) float or None
            w; 1 without.
        dimming : bool
            Whether B-factors are asked for.
        own : slice
            Which of the configurations, that are made together, are asked for.

        Returns
        -------
        (B, S, N, 4) float64
            Of each block of planes, to be added in an order that does not depend on which rank
            has which: dO/dr_sa, per Å, and dO/dB_sa of the atom's B-factor, per Å²; 0 if not asked
            for.
        """
        ...

    def dressed(self, covariances: Floats, weights: Floats) -> Complexes:
        """Transforms of the mean structure with every atom blurred by its motion, and weighted.

            T_j(q) = Σ_a w_ja o_a f_a e^{−½ qᵀU_a q} e^{iq·(r_a − r₀)}

        Parameters
        ----------
        covariances : (N, 3, 3) float, Å²
            U_a.
        weights : (K, N) float
            w_j, of any sign.

        Returns
        -------
        (K, V) complex64
        """
        ...

    def dressed_slopes(self, covariances: Floats, weights: Floats, pulls: Complexes) -> Floats:
        """The transpose of what `dressed` changes by with the atoms' covariances.

        With dO = Σ_j Re Σ_v λ_jv* dT_jv,

            dO/dU_a = −½ Σ_j w_ja Re Σ_v λ_jv* o_a f_a e^{−½ qᵀU_a q} e^{iq·(r_a − r₀)} q qᵀ.

        Parameters
        ----------
        covariances, weights
            As of `dressed`.
        pulls : (K, V) complex
            λ; 0 at stored values that are no voxels.

        Returns
        -------
        (B, N, 3, 3) float64, Å⁻²
            Of each block of planes, as of `forces`.
        """
        ...

    def with_factors(self, factors: AtomFactors) -> Transform:
        """The same molecule with other factors, no harder to draw than those it was made for."""
        ...

    def of_atoms(self, structure: Structure, factors: AtomFactors) -> Transform:
        """That of other atoms, on the same slab and about the same origin; only to be `dressed`."""
        ...

    def phonons(self, fields: Floats) -> Phonons:
        """The transform to first order in independent motions.

        Parameters
        ----------
        fields : (M, N, 3) float, Å
            Displacements of all atoms, each field by its standard deviation.
        """
        ...

    @property
    def flops(self) -> float:
        """Operations of the matrix products for one configuration."""
        ...


class Phonons(Protocol):
    """A molecule's transform to first order in its motion, on the transform's slab.

    With U_a the covariance of an atom's motion along independent fields Δ_i,

        m = Σ_a f_a e^{−½ qᵀU_a q} e^{iq·r_a},   H_i = Σ_a f_a (i q·Δ_ia) e^{−½ qᵀU_a q} e^{iq·r_a}.

    For Gaussian motion m = ⟨F⟩ and H_i = ⟨z_i F⟩, with z_i the field's coefficient. So
    F = m + Σ_i z_i H_i + R in three parts that are not correlated, and

        ⟨|F|²⟩ − |⟨F⟩|² = Σ_i |H_i|² + ⟨|R|²⟩,

    where R alone needs sampling.
    """

    @property
    def mean(self) -> tuple[Floats, Floats]:
        """Real and imaginary part of m, (V,) float32 both."""
        ...

    def sums(self) -> ExactSums:
        """Zeros, (1, V), to add squares and remainders to."""
        ...

    def add_squares(self, first: int, last: int, sums: ExactSums) -> None:
        """Add Σ |H_i|² over the fields from `first` up to `last`."""
        ...

    def add_remainders(
        self,
        configurations: Floats,
        normals: Floats,
        weight: float,
        sums: ExactSums,
        own: slice = slice(None),
    ) -> None:
        """Add Σ w |R|² over some configurations; see `Transform.add_moments`.

        Parameters
        ----------
        configurations : (≤ CHUNK, N, 3) float, Å
        normals : (≤ CHUNK, M) float
            z, which they are displaced by.
        weight : float
            w.
        sums : ExactSums
        own : slice
        """
        ...

    def slopes(self, fields: Floats, released: Floats) -> Iterator[Floats]:
        """What more motion along each of some fields does to |m|² and Σ|H_i|², to first order.

        For motion along a field Δ with variance φ beside the other, at φ = 0 or any other,

            ∂Σ|H_i|²/∂φ = |h|²,          h = Σ_a f_a (i q·Δ_a) e^{−½ qᵀU_a q} e^{iq·r_a},
            ∂|m|²/∂φ = Re(m* k),         k = −Σ_a f_a qᵀW_a q e^{−½ qᵀU_a q} e^{iq·r_a},

        where U_a of the second is differentiated, W_a = Δ_aΔ_aᵀ, and that of the first is not.

        Parameters
        ----------
        fields : (M, N, 3) float, Å
            Δ, of unit variance: not those that the atoms move along.
        released : (N,) float
            The share c_a of an atom's |Δ_a|² that it loses in motion alike in all directions:
            W_a = Δ_aΔ_aᵀ − c_a |Δ_a|² 1.

        Yields
        ------
        (2, V) float32
            |h|² and Re(m* k), field by field: only a few are held at once.
        """
        ...


class MakeTransform(Protocol):
    """How a transform is made, and what memory it will take; its classes are this.

    Attributes
    ----------
    kept_values : int
        Numbers, float32, that it keeps at every stored value of its slab.
    slope_values : int
        The same of what exists at once while slopes along modes are computed.
    """

    kept_values: int
    slope_values: int
    drawn: bool

    def __call__(
        self, structure: Structure, slab: Slab, factors: AtomFactors | None = None
    ) -> Transform:
        """A transform of a structure, whose positions are the mean, on a slab."""
        ...

    def working_bytes(
        self, modes: Modes, slab: Slab, farthest: Parameters, factors: AtomFactors | None = None
    ) -> list[float]:
        """Bytes of each of the arrays that moments are computed with, on all threads.

        Parameters
        ----------
        modes : Modes
        slab : Slab
            All planes that are computed, by whichever rank.
        farthest : Parameters
            The largest amplitudes that atoms are moved with.
        factors : AtomFactors or None
            Those that are hardest to draw; plain form factors without.
        """
        ...

    def force_bytes(
        self, modes: Modes, slab: Slab, farthest: Parameters, factors: AtomFactors | None = None
    ) -> tuple[list[float], list[float]]:
        """The same of forces on atoms: what is as large on every rank, and for each block."""
        ...


ATOM_S = 0.56e-6  # of drawing an atom, beside `density_products_s`; see `transform_costs`
# By the name that [model] transform gives them.
TRANSFORMS: dict[str, MakeTransform] = {"direct": DirectTransform, "density": DensityTransform}


def choose_transform(
    structure: Structure,
    grid: HklGrid,
    d_min: float,
    choice: str,
    factors: AtomFactors | None = None,
    many_kinds: bool = False,
) -> MakeTransform:
    """The cheaper way to transform a structure on a grid, or the one asked for.

    Parameters
    ----------
    structure : Structure
    grid : HklGrid
    d_min : float, Å
    choice : {"auto", "direct", "density"}
    factors : AtomFactors or None
        Those that are hardest to draw; plain form factors without.
    many_kinds : bool
        Nearly every atom may be of a kind of its own, with a B-factor of its own: for the direct
        sum, whose products are kind by kind, that is a hundred times the work.

    Raises
    ------
    InputError
        For "density" in a cell that is too skewed for it, where "auto" takes the direct sum.
    """
    drawable = can_be_drawn(grid.unit_cell)
    if choice == "density" and not drawable:
        raise _too_skewed(grid.unit_cell)
    if choice == "auto" and many_kinds and drawable:
        choice = "density"
    if choice == "auto":
        direct, density = transform_costs(structure, grid, d_min)
        pays = drawable and density < direct
        factors = factors or atom_factors(structure)
        tolerance = SOLVENT_ERROR if factors.k_sol_eA3 else DRAWING_ERROR
        exact = pays and fit_shapes(factors, grid.unit_cell, d_min).error <= tolerance
        choice = "density" if exact else "direct"
    return TRANSFORMS[choice]


def _too_skewed(unit_cell: tuple[float, ...]) -> InputError:
    return InputError(
        f"the unit cell {[round(float(x), 3) for x in unit_cell]} is too skewed to draw atoms on a "
        'grid along its axes: set [model] transform = "auto" or "direct", which sum over atoms, or '
        "describe the crystal by a reduced cell"
    )


def transform_costs(structure: Structure, grid: HklGrid, d_min: float) -> tuple[float, float]:
    """Seconds, roughly, of one configuration on a core: by the direct sum, through the density.

    Rates as measured on one machine with a matrix product at 90 GFLOP/s: only their ratios count.
    """
    quarter = float(plane_costs(grid, d_min).sum())
    direct = 16 * len(structure) * quarter / 50e9
    steps = structure.positions @ steps_per_A(grid.unit_cell, d_min)
    box = np.ptp(steps, axis=0) + WIDTHS[2] + 2
    return direct, density_products_s(box, grid, d_min) + ATOM_S * len(structure)


def steps_per_A(unit_cell: tuple[float, ...], d_min: float) -> Floats:
    """(3, 3): a row vector in Å times this is in steps of the grid that atoms are drawn on."""
    steps: Floats = fractionalization(unit_cell).T * grid_points_per_cell(unit_cell, d_min)
    return steps


def density_products_s(box: Floats, grid: HklGrid, d_min: float) -> float:
    """Of the products for a density in a box of points, as of `transform_costs`."""
    quarter = float(plane_costs(grid, d_min).sum())
    planes = grid.extent[0] + 1
    return product_flops(box, planes, planes * grid.extent[1], quarter) / 70e9 + 6e-9 * quarter
