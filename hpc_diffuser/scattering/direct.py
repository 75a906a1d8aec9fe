"""The molecular transform of many configurations on a slab, as the sum over atoms: the oracle."""

from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise

import numpy as np

from hpc_diffuser.crystal.atom_factors import AtomFactors, atom_factors
from hpc_diffuser.crystal.lattice import fractionalization
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.kernels import direct_sum
from hpc_diffuser.kernels.rounding import TOGETHER, rounded
from hpc_diffuser.kernels.threads import n_threads
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.scattering.dressing import field_covariances
from hpc_diffuser.scattering.exact_sums import CHUNK, ExactSums, expansion_bound, moment_bounds
from hpc_diffuser.scattering.slab import Slab
from hpc_diffuser.system.arrays import Complexes, Floats, Integers

SAMPLES_AT_ONCE = 4  # their phase tables, 1-2 MB each for 1000 atoms, stay in a shared cache
_TABLE_STEPS = 8192
_VOXELS_AT_ONCE = 256  # of phonons: (v, N) complex waves
_FIELDS_AT_ONCE = 8  # whose slopes are held, 8 bytes a stored value each

# Turns, tables of k and l, their rows, atoms, planes, form factors: see `kernels.direct_sum`.
_Inputs = tuple[
    Floats,
    Floats,
    Floats,
    int,
    int,
    direct_sum.Atoms,
    direct_sum.Planes,
    direct_sum.FormFactors,
]


class DirectTransform:
    """Structure factors and ensemble moments of one structure on one slab: the sum over atoms.

    A `transform.Transform`, exact but for single precision.

    Parameters
    ----------
    structure : Structure
        Its positions are the mean, F₀, that moments are taken about.
    slab : Slab
    factors : AtomFactors or None
        Of the structure's atoms; plain form factors without.
    """

    def __init__(self, structure: Structure, slab: Slab, factors: AtomFactors | None = None):
        self.slab = slab
        self.origin: Floats = np.zeros(3)
        factors = factors or atom_factors(structure)
        self.structure = structure
        self._order = np.argsort(factors.kind, kind="stable")
        counts = np.bincount(factors.kind, minlength=len(factors.elements))
        self._offsets = np.concatenate([[0], np.cumsum(counts)])
        self._occupancies = factors.occupancies[self._order].astype(np.float32)
        self._to_turns = fractionalization(slab.grid.unit_cell).T / np.array(slab.grid.divisions)
        self.factors = factors
        self._form_factors = _form_factor_table(factors, slab)
        self.mean = self.structure_factors(structure.positions)

    def with_factors(self, factors: AtomFactors) -> "DirectTransform":
        """The same molecule with other factors."""
        return DirectTransform(self.structure, self.slab, factors)

    def of_atoms(self, structure: Structure, factors: AtomFactors) -> "DirectTransform":
        """That of other atoms, only to be `dressed`; see `transform.Transform`."""
        return DirectTransform(structure, self.slab, factors)

    def structure_factors(self, positions: Floats) -> tuple[Floats, Floats]:
        """F of one configuration: positions (N, 3) Å → real and imaginary part, (V,) float32."""
        real, imaginary = np.zeros((2, self.slab.size), np.float32)
        if self.slab.size:
            inputs = self._inputs(positions[None])
            direct_sum.structure_factors(*inputs, real, imaginary)
        return real, imaginary

    def sums(self, weight: float) -> ExactSums:
        """Zeros, to add moments to of configurations that weigh so much together."""
        return ExactSums.of(moment_bounds(self.factors, weight), self.slab.size)

    def moments(self, configurations: Floats, weights: Floats | None = None) -> Floats:
        """Weighted sums over all configurations about the mean; see `add_moments`."""
        weights = sample_weights(weights, len(configurations))
        sums = self.sums(float(np.abs(weights).sum()))
        for first in range(0, len(configurations), CHUNK):
            some = slice(first, first + CHUNK)
            self.add_moments(configurations[some], weights[some], sums)
        return sums.values

    def add_moments(
        self, configurations: Floats, weights: Floats, sums: ExactSums, own: slice = slice(None)
    ) -> None:
        """Add some of a chunk's configurations; see `transform.Transform`."""
        configurations, weights = configurations[own], weights[own]
        exact = (TOGETHER, sums.large, sums.values)
        for first in range(0, len(configurations), SAMPLES_AT_ONCE) if self.slab.size else ():
            some = slice(first, first + SAMPLES_AT_ONCE)
            inputs = self._inputs(configurations[some])
            direct_sum.add_moments(weights[some], *inputs, *self.mean, exact)

    def forces(
        self,
        configurations: Floats,
        pulls: Floats,
        weights: Floats | None = None,
        dimming: bool = False,
        own: slice = slice(None),
    ) -> Floats:
        """What moving atoms does to an objective that F pulls at; see `transform.Transform`."""
        blocks, weights = self.slab.blocks, sample_weights(weights, len(configurations))[own]
        configurations = configurations[own]
        forces = np.zeros((len(blocks) - 1, *configurations.shape[:2], 4))
        for s, moved in enumerate(configurations):
            real, imaginary = self.structure_factors(moved)
            pull = weights[s] * (pulls[0] * (real - 1j * imaginary) + pulls[1] - 1j * pulls[2])
            for b, (first, last) in enumerate(pairwise(blocks.tolist())):
                for plane in range(first, last):
                    forces[b, s] += self._plane_forces(plane, moved, pull, dimming)
        return forces

    def _plane_forces(self, plane: int, moved: Floats, pull: Floats, dimming: bool) -> Floats:
        """One plane's part: (N, 4). Of λ* (V,) the waves along l are added, then those along k.

        dO = Re Σ λ* dF, and dF/dr_a = iq f_a e^{iq·r_a}.
        """
        indices, values = _whole_plane(self.slab, plane, pull)
        k, l = indices  # noqa: E741
        turns = moved @ self._to_turns
        along_k = np.exp(2j * np.pi * np.outer(k, turns[:, 1]))
        along_l = np.exp(2j * np.pi * np.outer(l, turns[:, 2])).astype(np.complex64)
        h = int(self.slab.h[plane])
        common = self.factors.occupancies * np.exp(2j * np.pi * h * turns[:, 0])
        samples = np.stack(np.broadcast_arrays(h, k[:, None], l), axis=-1)
        s_squared = np.einsum("kli,ij,klj->kl", samples, self.slab.grid.metric(), samples)
        of_kinds = self.factors.at(s_squared.ravel()).reshape(*s_squared.shape, -1)
        forces = np.zeros((len(moved), 4))
        for kind in range(of_kinds.shape[-1]):
            own = self.factors.kind == kind
            pulls = values * of_kinds[..., kind]
            stack = [pulls, pulls * l, pulls * (-s_squared / 4)][: 2 + dimming]
            rows = np.stack(stack).astype(np.complex64) @ along_l[:, own]
            waves = common[own] * along_k[:, own]
            sums = [np.sum(waves * row, axis=0) for row in rows]
            turned = np.sum(k[:, None] * waves * rows[0], axis=0)
            by_turns = -2 * np.pi * np.stack([h * sums[0].imag, turned.imag, sums[1].imag], axis=1)
            forces[own, :3] = by_turns @ self._to_turns.T
            if dimming:
                forces[own, 3] = sums[2].real
        return forces

    def phonons(self, fields: Floats) -> "DirectPhonons":
        """The transform to first order in motion along fields (M, N, 3) in Å."""
        return DirectPhonons(self, fields)

    def waves(self, plane: int, covariances: Floats) -> Iterator[tuple[Floats, Complexes]]:
        """f_a e^{−½ qᵀU_a q} e^{iq·r_a} at the values of one plane, some at a time.

        Parameters
        ----------
        plane : int
        covariances : (N, 3, 3) float, Å²
            U_a.

        Yields
        ------
        q : (v, 3) float, Å⁻¹
        waves : (v, N) complex
        """
        cell, divisions = self.slab.grid.unit_cell, np.array(self.slab.grid.divisions)
        to_q = 2 * np.pi * fractionalization(cell) / divisions[:, None]
        indices = self.slab.indices_of(plane)
        for first in range(0, len(indices), _VOXELS_AT_ONCE):
            q = indices[first : first + _VOXELS_AT_ONCE] @ to_q
            s_squared = np.sum(q**2, axis=1) / (4 * np.pi**2)
            factors = self.factors
            amplitudes = factors.at(s_squared)[:, factors.kind] * factors.occupancies
            blurred = np.einsum("vi,nij,vj->vn", q, covariances, q, optimize=True)
            yield q, amplitudes * np.exp(1j * (q @ self.structure.positions.T) - 0.5 * blurred)

    def dressed(self, covariances: Floats, weights: Floats) -> Complexes:
        """Of atoms blurred by their motion, and weighted; see `transform.Transform`."""
        found = np.empty((len(weights), self.slab.size), np.complex64)
        for plane in range(len(self.slab.h)):
            start = self.slab.offsets[plane]
            for q, waves in self.waves(plane, covariances):
                found[:, start : start + len(q)] = (waves @ weights.T).T
                start += len(q)
        return found

    def dressed_slopes(self, covariances: Floats, weights: Floats, pulls: Complexes) -> Floats:
        """By the atoms' covariances; see `transform.Transform`."""
        blocks = self.slab.blocks.tolist()
        found = np.zeros((len(blocks) - 1, len(covariances), 3, 3))
        for of_block, (first, last) in zip(found, pairwise(blocks), strict=True):
            for plane in range(first, last):
                start = self.slab.offsets[plane]
                for q, waves in self.waves(plane, covariances):
                    own = pulls[:, start : start + len(q)].conj()
                    pulled = np.einsum("jv,ja,va->va", own, weights, waves, optimize=True).real
                    of_block -= 0.5 * np.einsum("va,vi,vj->aij", pulled, q, q, optimize=True)
                    start += len(q)
        return found

    drawn = False
    kept_values = 2  # at every stored value, float32: F₀

    @staticmethod
    def working_bytes(
        modes: Modes, slab: Slab, farthest: Parameters, factors: AtomFactors | None = None
    ) -> list[float]:
        """Bytes of each of the arrays that the kernels work with; see `transform.MakeTransform`."""
        n_atoms, n_elements = len(modes.structure), len(np.unique(modes.structure.elements))
        k, l = (extent + 1 for extent in slab.table_extent)  # noqa: E741
        tables = 4 * SAMPLES_AT_ONCE * 2 * n_atoms
        # Of a plane, form factors, F and sums.
        plane = 4 * 4 * k * l * (n_elements + 2 + 3)
        return [tables * k, tables * l, *[plane] * n_threads()]

    slope_values = 2 * _FIELDS_AT_ONCE

    @staticmethod
    def slope_bytes(
        modes: Modes, slab: Slab, farthest: Parameters, factors: AtomFactors | None = None
    ) -> list[float]:
        """Of some voxels' waves; see `transform.MakeTransform`."""
        return [16 * _VOXELS_AT_ONCE * len(modes.structure)] * 3

    @staticmethod
    def force_bytes(
        modes: Modes, slab: Slab, farthest: Parameters, factors: AtomFactors | None = None
    ) -> tuple[list[float], list[float]]:
        """Of a plane's waves, and of each block's forces; see `transform.MakeTransform`."""
        k, l = (2 * extent + 1 for extent in slab.table_extent)  # noqa: E741
        n_atoms = len(modes.structure)
        waves = [16.0 * k * n_atoms] * 3 + [8.0 * l * n_atoms] * 3
        return waves, [32.0 * CHUNK * n_atoms]

    @property
    def flops(self) -> float:
        """Operations of the matrix products for one configuration."""
        return 16.0 * len(self._order) * float((self.slab.row_halves + 1).sum())

    def _inputs(self, configurations: Floats) -> _Inputs:
        """The kernels' common arguments."""
        turns = configurations[:, self._order] @ self._to_turns
        k_extent, l_extent = self.slab.table_extent
        offsets = self._offsets
        s = self.slab
        return (
            turns,
            direct_sum.phase_tables(turns, 1, k_extent, offsets),
            direct_sum.phase_tables(turns, 2, l_extent, offsets),
            k_extent + 1,
            l_extent + 1,
            (offsets, self._occupancies),
            (s.h, s.centres, s.halves, s.offsets, s.row_halves, s.row_offsets),
            self._form_factors,
        )


class DirectPhonons:
    """The molecule's transform to first order in its motion: a `transform.Phonons`.

    Sums over atoms in double precision, exact also in the atoms' motion.

    Parameters
    ----------
    transform : DirectTransform
    fields : (M, N, 3) float, Å
        Independent motions of the transform's atoms, each by its standard deviation.
    """

    def __init__(self, transform: DirectTransform, fields: Floats):
        self._still = transform
        self._fields = fields
        self._covariances = field_covariances(fields)

    @cached_property
    def mean(self) -> tuple[Floats, Floats]:
        """Real and imaginary part of m."""
        return self._first_order[0].real, self._first_order[0].imag

    @cached_property
    def _first_order(self) -> Complexes:
        """m and all H_i, which slopes need none of: (1 + M, V) complex64."""
        slab = self._still.slab
        first_order = np.empty((1 + len(self._fields), slab.size), np.complex64)
        for plane in range(len(slab.h)):
            first_order[:, slice(*slab.offsets[plane : plane + 2])] = self._of_plane(plane)
        return first_order

    def sums(self) -> ExactSums:
        """Zeros, to add squares and remainders to."""
        factors, slab = self._still.factors, self._still.slab
        return ExactSums.of([expansion_bound(factors, self._fields, slab.d_min)], slab.size)

    def add_squares(self, first: int, last: int, sums: ExactSums) -> None:
        """Add Σ |H_i|² over the fields from `first` up to `last`."""
        for own in self._first_order[1 + first : 1 + last]:
            squares = (own.real**2 + own.imag**2).astype(np.float64)
            sums.values[0] += rounded(squares, sums.large[0])

    def add_remainders(
        self,
        configurations: Floats,
        normals: Floats,
        weight: float,
        sums: ExactSums,
        own: slice = slice(None),
    ) -> None:
        """Add Σ w |F_s − m − Σ_i z_si H_i|² over some of a chunk's configurations."""
        for moved, coefficients in zip(configurations[own], normals[own], strict=True):
            real, imaginary = self._still.structure_factors(moved)
            expected = np.append(1, coefficients).astype(np.float32) @ self._first_order
            squares = (real - expected.real) ** 2 + (imaginary - expected.imag) ** 2
            sums.values[0] += rounded(weight * squares.astype(np.float64), sums.large[0])

    def slopes(self, fields: Floats, released: Floats) -> Iterator[Floats]:
        """|h|² and Re(m* k) for each of some fields: (2, V) float32, one after the other."""
        for first in range(0, len(fields), _FIELDS_AT_ONCE):
            yield from self._slopes(fields[first : first + _FIELDS_AT_ONCE], released)

    def _slopes(self, fields: Floats, released: Floats) -> Floats:
        """The same of a few fields, which the waves are computed once for: (M, 2, V) float32."""
        found = np.empty((len(fields), 2, self._still.slab.size), np.float32)
        spreads = np.einsum("mni,mnj->mnij", fields, fields)
        alike = released * np.sum(fields**2, axis=2)
        spreads -= alike[..., None, None] * np.eye(3)
        columns = np.concatenate([fields, spreads.reshape(*fields.shape[:2], 9)], axis=2)
        for plane in range(len(self._still.slab.h)):
            start = self._still.slab.offsets[plane]
            for q, waves in self._still.waves(plane, self._covariances):
                end = start + len(q)
                mean = waves.sum(axis=1)
                for of, own in zip(columns, found, strict=True):
                    along = waves @ of
                    h = np.sum(along[:, :3] * q, axis=1)
                    k = -np.einsum("vij,vi,vj->v", along[:, 3:].reshape(-1, 3, 3), q, q)
                    own[:, start:end] = np.abs(h) ** 2, (mean.conj() * k).real
                start = end
        return found

    def _of_plane(self, plane: int) -> Floats:
        """m and H_i at the values of one plane: (1 + M, v) complex."""
        found = []
        for q, waves in self._still.waves(plane, self._covariances):
            x, y, z = (q[:, [c]] * (waves @ self._fields[:, :, c].T) for c in range(3))
            found.append(np.concatenate([waves.sum(axis=1)[None], 1j * (x + y + z).T]))
        return np.concatenate(found, axis=1)


def _whole_plane(
    slab: Slab, plane: int, values: Floats
) -> tuple[tuple[Integers, Integers], Floats]:
    """A plane's quadrants (·,) as one table: its k (K,) and l (L,), and the sums there (K, L)."""
    (k_c, l_c), (rows, columns) = slab.centres[plane], slab.halves[plane]
    own = values[slice(*slab.offsets[plane : plane + 2])].reshape(2, 2, rows + 1, columns + 1)
    table = np.zeros((2 * rows + 1, 2 * columns + 1), own.dtype)
    # On the lines between quadrants a value is stored twice: one of them counts.
    for k_sign, l_sign in np.ndindex(2, 2):
        k_side = slice(rows, None) if k_sign == 0 else slice(rows, None, -1)
        l_side = slice(columns, None) if l_sign == 0 else slice(columns, None, -1)
        table[k_side, l_side] += own[k_sign, l_sign]
    k, l = k_c + np.arange(-rows, rows + 1), l_c + np.arange(-columns, columns + 1)  # noqa: E741
    return (k, l), table


def sample_weights(weights: Floats | None, n: int) -> Floats:
    """What n configurations count, as the kernels take it: (n,) float32; 1 without weights."""
    return np.broadcast_to(1.0 if weights is None else weights, n).astype(np.float32, order="C")


def variance_and_mean_squared(
    sums: Floats, mean: tuple[Floats, Floats], n_samples: int
) -> tuple[Floats, Floats]:
    """⟨|F|²⟩ − |⟨F⟩|² and |⟨F⟩|², both (V,) float64, from sums about the mean structure.

    Var F = ⟨|D|²⟩ − |⟨D⟩|² for any constant F₀ = F − D: small numbers from small numbers.
    """
    d_re, d_im, d_sq = sums / n_samples
    variance = d_sq - d_re**2 - d_im**2
    return variance, (mean[0] + d_re) ** 2 + (mean[1] + d_im) ** 2


def _form_factor_table(factors: AtomFactors, slab: Slab) -> direct_sum.FormFactors:
    """f of each kind on equidistant |s|²: linear interpolation of 8192 steps is good to 1e-7."""
    s2_max = 1 / slab.d_min**2 * 1.01
    per_s2 = _TABLE_STEPS / s2_max
    table = factors.at(np.arange(_TABLE_STEPS + 1) / per_s2)
    return table.astype(np.float32), per_s2, slab.grid.metric()
