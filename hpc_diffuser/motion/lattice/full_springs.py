"""Springs of any shape: K of an interface as the geometric spring K⁰ and what it is changed by.

    K = K⁰^½ e^S K⁰^½,   S symmetric: 21 numbers,

positive semidefinite whatever they are, and K⁰ where all are 0. In a basis of symmetric matrices
that is orthonormal the sum of their squares is ‖log K⁰^{−½} K K⁰^{−½}‖²: the distance of K from K⁰
that depends neither on units nor on the frame that motions are told in (affine-invariant).
"""

import numpy as np

from hpc_diffuser.system.arrays import Floats

N_SHAPE = 21  # numbers of one interface
_ROWS, _COLUMNS = np.triu_indices(6)
_SAME = 1e-6  # eigenvalues of S nearer than this


def shape_basis() -> Floats:
    """An orthonormal basis of symmetric matrices: (21, 6, 6)."""
    found = np.zeros((N_SHAPE, 6, 6))
    size = np.where(_ROWS == _COLUMNS, 1.0, np.sqrt(0.5))
    found[np.arange(N_SHAPE), _ROWS, _COLUMNS] = size
    found[np.arange(N_SHAPE), _COLUMNS, _ROWS] = size
    return found


def roots(stiffness: Floats) -> Floats:
    """K^½ of positive semidefinite K (I, 6, 6), symmetric."""
    levels, axes = np.linalg.eigh(stiffness)
    found: Floats = (axes * np.sqrt(np.maximum(levels, 0.0))[:, None]) @ axes.swapaxes(1, 2)
    return found


def changed_stiffness(geometric: Floats, shape: Floats) -> Floats:
    """K of each interface (I, 6, 6).

    Parameters
    ----------
    geometric : (I, 6, 6) float
        K⁰.
    shape : (I, 21) float
        S in `shape_basis`.
    """
    root = roots(geometric)
    levels, axes = np.linalg.eigh(np.tensordot(shape, shape_basis(), 1))
    found: Floats = root @ (axes * np.exp(levels)[:, None]) @ axes.swapaxes(1, 2) @ root
    return found


def changed_stiffness_slopes(geometric: Floats, shape: Floats) -> Floats:
    """Its derivatives by each number of S: (I, 21, 6, 6).

    With S = V diag(λ) Vᵀ that of e^S along E is V [(e^{λ_i} − e^{λ_j})/(λ_i − λ_j) ∘ VᵀEV] Vᵀ
    (Daleckii & Krein).
    """
    root, basis = roots(geometric)[:, None], shape_basis()
    levels, axes = np.linalg.eigh(np.tensordot(shape, basis, 1))
    away = levels[:, :, None] - levels[:, None]
    middle = np.exp((levels[:, :, None] + levels[:, None]) / 2)
    half = np.where(np.abs(away) < _SAME, 1.0, away) / 2
    divided = middle * np.where(np.abs(away) < _SAME, 1.0, np.sinh(half) / half)
    v = axes[:, None]
    inside = divided[:, None] * (v.swapaxes(2, 3) @ basis @ v)
    slopes: Floats = root @ v @ inside @ v.swapaxes(2, 3) @ root
    return slopes


def contact_axes(units: Floats) -> Floats:
    """Of each interface the principal axes of its contacts, columns: (I, 3, 3).

    Those of the torques that resist rotations about the middle, the least first.

    Parameters
    ----------
    units : (I, 6, 6) float
        See `Springs.units`.
    """
    axes: Floats = np.linalg.eigh(units[:, 3:, 3:])[1]
    return axes


def along_axes(axes: Floats, stiffness: Floats) -> Floats:
    """How stiff springs are along axes and about them, or what that changes by: (..., I, 6).

    A force for a shift along one axis alone, kT/Å², and a torque for a turn about it, kT/rad².

    Parameters
    ----------
    axes : (I, 3, 3) float
        Columns.
    stiffness : (..., I, 6, 6) float
        K, or dK.
    """
    along = np.einsum("pja,...pjk,pka->...pa", axes, stiffness[..., :3, :3], axes)
    about = np.einsum("pja,...pjk,pka->...pa", axes, stiffness[..., 3:, 3:], axes)
    return np.concatenate([along, about], axis=-1)
