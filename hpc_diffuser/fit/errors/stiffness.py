"""How stiff springs of any shape are along and about axes, and how well data determine that.

Of the numbers x of all springs with the covariance C, the logarithm of a stiffness k, with the
gradient g by them, has the standard error √(gᵀCg), and k, to first order, k times that. Without
data the prior alone would leave it gᵀP⁻¹g, in units in which what data and prior leave is
gᵀ(H + P)⁻¹g: the second of the first is the prior's share of what is known of it. Beyond a half
the prior says more of it than the data do: it is not determined.
"""

from collections.abc import Sequence

import numpy as np

from hpc_diffuser.fit.errors.intervals import InterfaceStiffness
from hpc_diffuser.fit.space import SearchSpace
from hpc_diffuser.motion.lattice.full_springs import along_axes, contact_axes
from hpc_diffuser.motion.parameters import Parameters

_NO_PART = 1e-9  # of an interface's largest stiffness: none at all
LARGEST_SHARE = 0.5  # of the prior, in what is known of a stiffness that counts as determined


def stiffness_slopes(space: SearchSpace, parameters: Parameters) -> np.ndarray:
    """Of the logarithms of all stiffnesses by the refined parameters: (6 I, D).

    Parameters
    ----------
    space : SearchSpace
        With shapes of springs, whose lengths are held.
    parameters : Parameters
    """
    lattice = parameters.lattice
    assert lattice is not None
    axes = contact_axes(lattice.springs.units)
    values = along_axes(axes, lattice.stiffness(parameters.springs))
    slopes = along_axes(axes, lattice.stiffness_slopes(parameters.springs))
    slopes = np.where(_resists(values), slopes, 0.0) / np.where(_resists(values), values, 1.0)
    found = np.zeros((values.size, len(space.names)))
    for place, number in space.springs.items():
        found[:, place] = slopes[number].ravel()
    return found


def _resists(values: np.ndarray) -> np.ndarray:
    """Of stiffnesses (I, 6) which there are: a single contact resists no turn, whatever S is."""
    found: np.ndarray = values > _NO_PART * values.max(axis=1, keepdims=True)
    return found


def shares_of_prior(slopes: np.ndarray, total: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """gᵀA⁻¹g / gᵀP⁻¹g of each slope (F, D), A the curvature with the prior's P: (F,).

    P is diagonal; of what it says nothing of, the share is 0.
    """
    known = np.einsum("fi,ij,fj->f", slopes, np.linalg.inv(total), slopes)
    says = np.diag(prior)
    alone = slopes**2 @ (1 / np.where(says > 0, says, np.inf))
    unsaid = (slopes != 0) @ (says <= 0)
    share: np.ndarray = np.where(unsaid > 0, 0.0, known / np.where(alone > 0, alone, 1.0))
    return share


def told(
    parameters: Parameters, errors: Sequence[float | None], shares: Sequence[float | None]
) -> tuple[InterfaceStiffness, ...]:
    """Of each interface, from errors of logarithms and the prior's shares, (6 I,) each."""
    lattice = parameters.lattice
    assert lattice is not None
    axes = contact_axes(lattice.springs.units)
    values = along_axes(axes, lattice.stiffness(parameters.springs))
    found = []
    for i, label in enumerate(lattice.springs.packing.labels()):
        own = slice(6 * i, 6 * i + 6)
        k, of_k, of_prior = values[i].tolist(), list(errors[own]), list(shares[own])
        absolute = [None if e is None else a * e for a, e in zip(k, of_k, strict=True)]
        both = zip(_resists(values)[i], of_k, of_prior, strict=True)
        unknown = [bool(k) and (e is None or (p or 0.0) > LARGEST_SHARE) for k, e, p in both]
        found.append(
            InterfaceStiffness(
                interface=label,
                axes=tuple(tuple(axis) for axis in axes[i].T.tolist()),
                along_kT_A2=tuple(k[:3]),
                along_errors=tuple(absolute[:3]),
                along_prior_shares=tuple(of_prior[:3]),
                along_undetermined=tuple(unknown[:3]),
                about_kT_rad2=tuple(k[3:]),
                about_errors=tuple(absolute[3:]),
                about_prior_shares=tuple(of_prior[3:]),
                about_undetermined=tuple(unknown[3:]),
            )
        )
    return tuple(found)
