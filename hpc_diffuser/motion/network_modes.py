"""Modes of an elastic network in its crystal, with the amplitudes that B-factors leave to them."""

import numpy as np

from hpc_diffuser.crystal.contacts import crystal_contacts
from hpc_diffuser.crystal.structure import Structure, atom_label, centre_of_mass
from hpc_diffuser.motion.b_shares import B_OF_SQUARE, BShares, correlation, fit_shares
from hpc_diffuser.motion.elastic_network import (
    CUTOFF_A,
    InternalMotion,
    amplitudes_of_mean_b,
    internal_motion,
    require_one_piece,
)
from hpc_diffuser.motion.network_options import Network
from hpc_diffuser.motion.springs import Neighbours
from hpc_diffuser.system.arrays import Floats

_LEAST_SHARE = 1e-6  # of internal motion: less is what rounding leaves
_NAMED = 3  # atoms without a B-factor that a message names


def network_modes(
    structure: Structure,
    crystal: tuple[tuple[float, ...], str],
    n_modes: int,
    network: Network,
) -> tuple[Floats, Floats, list[str]]:
    """The softest internal modes of a molecule's network, and how strongly it moves along them.

    Parameters
    ----------
    structure : Structure
    crystal : (unit cell, space group)
    n_modes : int
    network : Network

    Returns
    -------
    vectors : (M, N, 3) float, Σ_a |Δ_a|² = N
    amplitudes : (M,) float, Å
        √(kT/κλ) per atom, by the force constant κ that the B-factors have been fitted with.
    notes : list of str
        What was found and fitted, for people.

    Raises
    ------
    InputError
        As of `internal_motion` and `crystal_contacts`.
    """
    notes: list[str] = []
    around = _neighbours(structure, crystal, network, notes)
    motion = internal_motion(structure.positions, n_modes, around)
    amplitudes = _amplitudes(structure, motion, network, notes)
    known = structure.b_factors_A2 > 0
    if known.any():
        kept = np.einsum("m,mnx->n", amplitudes**2, motion.vectors**2)
        mean = B_OF_SQUARE * float(kept.mean())
        cc = correlation(kept[known], structure.b_factors_A2[known])
        notes.append(
            f"modes kept   {len(amplitudes)}, mean B {mean:.2f} Å², correlation of it with the "
            f"crystal's {_cc_text(cc)}"
        )
    return motion.vectors, amplitudes, notes


def _neighbours(
    structure: Structure,
    crystal: tuple[tuple[float, ...], str],
    network: Network,
    notes: list[str],
) -> Neighbours | None:
    if network.neighbours == "none":
        notes.append("network      of a molecule alone, without the crystal's neighbours")
        return None
    # Neighbours would hold pieces together that are not one molecule.
    require_one_piece(structure.positions)
    contacts = crystal_contacts(structure.positions, *crystal, CUTOFF_A)
    if not len(contacts):
        notes.append(f"network      no neighbour within {CUTOFF_A:g} Å: of a molecule alone")
        return None
    together = network.neighbours == "together"
    how = "that move as it does" if together else "that stand still"
    touched = len(np.unique(contacts.atoms))
    notes.append(
        f"network      with neighbours {how}, in contact with {touched} of {len(structure)} "
        f"atoms, by springs of {network.strength:g} times the strength of those inside"
    )
    return Neighbours(contacts, network.strength, together)


def _amplitudes(
    structure: Structure, motion: InternalMotion, network: Network, notes: list[str]
) -> Floats:
    """(M,) Å."""
    b, n_atoms = structure.b_factors_A2, len(structure)
    _tell_unknown(structure, notes)
    fitted = None
    if network.b_factors == "shares" and (b > 0).any():
        fitted = fit_shares(b, motion.squares, structure.positions, centre_of_mass(structure))
        alone = correlation(motion.squares[b > 0], b[b > 0])
        notes += _fit_lines(fitted, alone)
    if fitted and fitted.internal > _LEAST_SHARE:
        amplitudes: Floats = np.sqrt(fitted.square_A2 / motion.stiffness / n_atoms)
        return amplitudes
    if fitted:
        notes.append(
            "amplitudes   the B-factors show nothing of the network's motion: instead the modes "
            "make up all of the mean B-factor"
        )
    # Of the B-factors that there are: what is not known is no B of 0.
    return amplitudes_of_mean_b(motion.stiffness, b[b > 0] if (b > 0).any() else b)


def _tell_unknown(structure: Structure, notes: list[str]) -> None:
    unknown = np.flatnonzero(~(structure.b_factors_A2 > 0))
    if len(unknown) == len(structure):
        notes.append("B-factors    none above 0: the modes are 0.3 Å rms in all")
    elif len(unknown):
        named = ", ".join(atom_label(structure, int(i)) for i in unknown[:_NAMED])
        more = " ..." if len(unknown) > _NAMED else ""
        notes.append(
            f"B-factors    {len(unknown)} atoms have none above 0, and are left out of the fit: "
            f"{named}{more}"
        )


def _fit_lines(fitted: BShares, alone: float) -> list[str]:
    return [
        f"B-factors    of {fitted.atoms} atoms, fitted with a correlation of {_cc_text(fitted.cc)}",
        f"  translation  {100 * fitted.translation:3.0f} %   {fitted.translation_sigma_A:.3f} Å",
        f"  libration    {100 * fitted.libration:3.0f} %   {fitted.libration_sigma_deg:.2f}°",
        f"  internal     {100 * fitted.internal:3.0f} %   all of the network's modes, of which "
        f"the correlation is {_cc_text(alone)}",
    ]


def _cc_text(cc: float) -> str:
    return "none" if np.isnan(cc) else f"{cc:.3f}"
