"""Neighbours' correlation to second order: ½ (g_aᵀ C(R) g_b)² of any two atoms.

With u = g·ξ, g = (q, (r − c) × q), what two atoms of different molecules have in common is
e^{x} − 1, x = g_aᵀ C(R) g_b. Its second term is bilinear in the symmetric g gᵀ of either atom, of
21 numbers. A few combinations of them hold nearly all: with 6 x 6 matrices T_s and Y_s that are
dual to each other, g gᵀ ≈ Σ_s T_s (gᵀY_s g), and

    ½ x² ≈ Σ_st (g_aᵀY_s g_a) B_st(R) (g_bᵀY_t g_b),    B_st = ½ tr T_s C T_t Cᵀ.

Which they are springs that are all alike say: what matters most between the molecule's own atoms,
q in all directions. So they depend neither on the point that the molecule turns about nor on the
springs' lengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from hpc_diffuser.crystal.atom_factors import atomic_numbers
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.motion.lattice.correlations import Correlations
from hpc_diffuser.motion.lattice.rigid import displacements
from hpc_diffuser.system.arrays import Complexes, Floats, Integers

KEPT = 8  # combinations of the 21 numbers
_SMALL = 1e-12  # of the largest combination's square: q · (r × q) is always 0
_ROUNDING = 1e-9  # of a grid's step
_ROWS, _COLUMNS = np.triu_indices(6)


@dataclass(frozen=True)
class PairBasis:
    """The combinations of g gᵀ that the second order is made of.

    Attributes
    ----------
    forms : (r, 6, 6) float
        T, symmetric,
    duals : (r, 6, 6) float
        and Y.
    """

    forms: Floats
    duals: Floats

    @property
    def packed_duals(self) -> Floats:
        """Y as (21, r): what each of g_i g_j, i ≤ j, counts."""
        counts = np.where(_ROWS == _COLUMNS, 1.0, 2.0)
        packed = (self.duals[:, _ROWS, _COLUMNS] * counts).T
        return np.ascontiguousarray(packed, np.float32)


def pair_basis(
    structure: Structure, centre: Floats, correlations: Correlations, kept: int = KEPT
) -> PairBasis:
    """Those that matter most between the molecules of a lattice.

    Parameters
    ----------
    structure : Structure
    centre : (3,) float, Å
        That the molecule turns about.
    correlations : Correlations
        Of springs that are all alike.
    kept : int
    """
    levels, axes = np.linalg.eigh(_squares(structure, centre))
    there = levels > _SMALL * levels[-1]
    root, inverse = axes[:, there] * np.sqrt(levels[there]), axes[:, there] / np.sqrt(levels[there])
    # All molecules have the same neighbours in their own frames.
    blocks = _blocks(correlations)[:, :, :, 0].reshape(-1, 6, 6)
    between = np.einsum("bik,bjl->bijkl", blocks, blocks).reshape(-1, 36, 36)
    seen = _expanded(root).T @ between @ _expanded(root)
    weights = np.einsum("bij,bkj->ik", seen, seen)
    most = np.linalg.eigh(weights)[1][:, ::-1][:, :kept]
    counts = np.where(_ROWS == _COLUMNS, 1.0, 0.5)[:, None]
    forms, duals = _expanded(root @ most), _expanded(counts * (inverse @ most))
    return PairBasis(forms.T.reshape(-1, 6, 6), duals.T.reshape(-1, 6, 6))


def pair_table(forms: Floats, correlations: Correlations, hkl: Floats) -> Complexes:
    """W(k) = Σ_R B(R) e^{−ik·R}, without each molecule's own: (K, rZ, rZ).

    Parameters
    ----------
    forms : (r, 6, 6) float
        T.
    correlations : Correlations
    hkl : (K, 3) float
        Points on its grid, or between them: linear in each direction, but for the phases of the
        molecules' places.
    """
    blocks, r = _blocks(correlations), len(forms)
    z, corners = blocks.shape[3], _corners(hkl, correlations)
    found = np.empty((len(hkl), z, r, z, r), complex)
    for m, n in zip(*np.triu_indices(z), strict=True):
        waves = np.fft.fftn(_matrices(forms, blocks[:, :, :, m, n]), axes=(0, 1, 2))
        own = sum(w[m, n, :, None, None] * waves[place] for w, place in corners)
        # W is Hermitian, as C of R and of −R are each other's transposes.
        found[:, n, :, m] = np.conj(own).swapaxes(1, 2)
        found[:, m, :, n] = own
    return found.reshape(len(hkl), z * r, z * r)


def pair_slopes(
    forms: Floats, correlations: Correlations, hkl: Floats, by_table: Complexes
) -> Floats:
    """The transpose: an objective's derivatives by C(R), from those by W.

    Parameters
    ----------
    forms, correlations, hkl
        As of `pair_table`.
    by_table : (K, rZ, rZ) complex
        X of dO = Σ_k Re tr(X dW).
    """
    blocks, r = _blocks(correlations), len(forms)
    z, corners = blocks.shape[3], _corners(hkl, correlations)
    pulled = by_table.reshape(len(hkl), z, r, z, r)
    found = np.zeros_like(blocks)
    for m, n in np.ndindex(z, z):
        waves = np.zeros((*correlations.divisions, r, r), complex)
        for w, place in corners:
            np.add.at(waves, place, w[m, n, :, None, None] * pulled[:, n, :, m].swapaxes(1, 2))
        by = np.fft.fftn(waves, axes=(0, 1, 2)).real
        # B_st = ½ tr T_s C T_t Cᵀ: both C's count alike.
        for t, form in enumerate(forms):
            left = np.einsum("...s,sij->...ij", by[..., t], forms)
            found[:, :, :, m, n] += left @ blocks[:, :, :, m, n] @ form
    _clear_own(found)
    slopes: Floats = found.swapaxes(4, 5).reshape(correlations.values.shape)
    return slopes


def _matrices(forms: Floats, blocks: Floats) -> Floats:
    """B of some C (..., 6, 6): (..., r, r)."""
    moved = np.stack([blocks @ form @ blocks.swapaxes(-1, -2) for form in forms], axis=-3)
    flat, r = moved.reshape(*moved.shape[:-2], 36), len(forms)
    found: Floats = 0.5 * (forms.reshape(r, 36) @ flat.swapaxes(-1, -2))
    return found


def _corners(
    hkl: Floats, correlations: Correlations
) -> list[tuple[Complexes, tuple[Integers, ...]]]:
    """Points of a grid around some k, and what each counts in W of two molecules: (Z, Z, K).

    That goes as e^{ik·(r_m − r_n)} with their places, and slowly besides.
    """
    divisions, at = correlations.divisions, correlations.places
    between = at[:, None] - at
    places = hkl * np.array(divisions)
    low = np.floor(places + _ROUNDING).astype(int)
    far = np.maximum(places - low, 0.0)
    found = []
    for step in product((0, 1), repeat=3):
        weights = np.prod(np.where(step, far, 1 - far), axis=1)
        if weights.any():
            away = (places - low - step) / divisions
            waves = weights * np.exp(2j * np.pi * (between @ away.T))
            found.append((waves, tuple(((low + step) % divisions).T)))
    return found


def _squares(structure: Structure, centre: Floats) -> Floats:
    """⟨h hᵀ⟩ of the 21 numbers of g gᵀ over all directions of q and all atoms, as they scatter."""
    p = displacements(structure.positions, centre)
    own = np.einsum("aki,akj->aij", p, p)
    counts = atomic_numbers(structure) ** 2
    pairs = np.einsum("a,aij,akl->ijkl", counts, own, own)
    every = pairs + pairs.transpose(0, 2, 1, 3) + pairs.transpose(0, 3, 2, 1)
    squares: Floats = every[_ROWS, _COLUMNS][:, _ROWS, _COLUMNS]
    return squares


def _expanded(packed: Floats) -> Floats:
    """Symmetric matrices from columns (21, n) of their upper triangles: (36, n)."""
    whole = np.zeros((6, 6, packed.shape[1]))
    whole[_ROWS, _COLUMNS] = whole[_COLUMNS, _ROWS] = packed
    return whole.reshape(36, -1)


def _blocks(correlations: Correlations) -> Floats:
    """C(R) as (n_a, n_b, n_c, Z, Z, 6, 6), with 0 for each molecule with itself."""
    z = correlations.values.shape[-1] // 6
    blocks = correlations.values.reshape(*correlations.divisions, z, 6, z, 6)
    blocks = np.ascontiguousarray(blocks.swapaxes(4, 5))
    _clear_own(blocks)
    return blocks


def _clear_own(blocks: Floats) -> None:
    every = np.arange(blocks.shape[3])
    blocks[0, 0, 0, every, every] = 0
