"""The springs of an elastic network: within a molecule, and to its neighbours in the crystal.

A spring joins any two atoms nearer than the cutoff. Its constant, in units of the network's one
force constant, is (cutoff/r)²: distance-weighted springs (Yang, Song & Jernigan 2009, PNAS 106,
12347). With n the unit vector along it, its energy is ½ k (n·(u_a − u_b))².
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.spatial import KDTree

from hpc_diffuser.crystal.contacts import Contacts
from hpc_diffuser.system.arrays import Floats, Integers

CLOSEST_A = 2.0  # contacts nearer than this, of a poor model, are as stiff as at this distance


@dataclass(frozen=True)
class Neighbours:
    """The crystal around a molecule, as its network meets it.

    Attributes
    ----------
    contacts : Contacts
        Within the network's cutoff.
    strength : float
        Of springs between molecules, in that of springs inside at the same distance.
    together : bool
        All copies move alike (the phonons of k = 0), instead of neighbours that stand still.
    """

    contacts: Contacts
    strength: float = 1.0
    together: bool = False


def contact_hessian(neighbours: Neighbours, n_atoms: int, cutoff_A: float) -> csr_array:
    """Second derivatives (3N, 3N) of the contacts' energy, for each molecule.

    With neighbours that stand still a contact has ½ k (n·u_a)². Where all copies move alike, the
    image of b moves by W u_b and it has ½ k (n·(u_a − W u_b))², of which either molecule has half.
    """
    contacts = neighbours.contacts
    distance = np.linalg.norm(contacts.steps, axis=1)
    stiffness = neighbours.strength * (cutoff_A / np.maximum(distance, CLOSEST_A)) ** 2
    own = contacts.steps / np.maximum(distance, 1e-300)[:, None]
    if not neighbours.together:
        return _assembled(n_atoms, (contacts.atoms, contacts.atoms, _outer(stiffness, own, own)))
    other = np.einsum("kij,ki->kj", contacts.turns, own)
    half, a, b = stiffness / 2, contacts.atoms, contacts.mates
    return _assembled(
        n_atoms,
        (a, a, _outer(half, own, own)),
        (b, b, _outer(half, other, other)),
        (a, b, -_outer(half, own, other)),
        (b, a, -_outer(half, other, own)),
    )


def sparse_hessian(positions: Floats, cutoff_A: float) -> csr_array:
    """Second derivatives (3N, 3N) of the network of one molecule, as `network_hessian` of all."""
    a, b = KDTree(positions).query_pairs(cutoff_A, output_type="ndarray").T
    steps = positions[b] - positions[a]
    distance = np.linalg.norm(steps, axis=1)
    joined = (distance < cutoff_A) & (distance > 0)
    a, b, steps, distance = a[joined], b[joined], steps[joined], distance[joined]
    blocks = _outer((cutoff_A / distance) ** 2 / distance**2, steps, steps)
    apart = _assembled(len(positions), (a, b, -blocks))
    own = np.zeros((len(positions), 3, 3))
    np.add.at(own, a, blocks)
    np.add.at(own, b, blocks)
    return csr_array(apart + apart.T + ground_hessian(own))


def ground_hessian(blocks: Floats) -> csr_array:
    """Springs that hold atoms in space: (3N, 3N) of a block (N, 3, 3) for each."""
    every = np.arange(len(blocks))
    return _assembled(len(blocks), (every, every, blocks))


def _outer(weight: Floats, left: Floats, right: Floats) -> Floats:
    blocks: Floats = weight[:, None, None] * left[:, :, None] * right[:, None, :]
    return blocks


def _assembled(n_atoms: int, *blocks: tuple[Integers, Integers, Floats]) -> csr_array:
    """3 x 3 blocks at rows and columns of atoms, added where they meet."""
    rows, columns, values = (np.concatenate(part) for part in zip(*blocks, strict=True))
    axis = np.arange(3, dtype=np.int32)
    i = np.broadcast_to(3 * rows.astype(np.int32)[:, None, None] + axis[:, None], values.shape)
    j = np.broadcast_to(3 * columns.astype(np.int32)[:, None, None] + axis, values.shape)
    shape = 3 * n_atoms, 3 * n_atoms
    return csr_array(coo_array((values.ravel(), (i.ravel(), j.ravel())), shape=shape))
