"""What each atom scatters: its form factor, less the solvent that it displaces, dimmed by B."""

from dataclasses import dataclass, replace

import gemmi
import numpy as np

from hpc_diffuser.crystal.solvent import displaced_volumes, solvent_factors
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.system.arrays import Floats, Integers, Names
from hpc_diffuser.system.errors import InputError

B_STEP_A2 = 0.1  # of residual B-factors: at 1.6 Å a step dims by 0.5 % of 2 %


def form_factors(elements: Names, s_squared: Floats) -> Floats:
    """IT92 form factors f(s) in electrons, from gemmi.

    Parameters
    ----------
    elements : (E,) str
    s_squared : (V,) float, Å⁻²
        |s|² = 1/d².

    Returns
    -------
    (V, E) float

    Raises
    ------
    InputError
        For an element without IT92 coefficients.
    """
    names, column = np.unique(elements, return_inverse=True)
    columns = []
    for name in names:
        element = gemmi.Element(str(name))
        if element.atomic_number == 0 or element.it92 is None:
            raise InputError(f'element "{name}" has no IT92 form factor: correct the structure')
        coefficients = element.it92.get_coefs()
        a, b, c = coefficients[:4], coefficients[4:8], coefficients[8]
        terms = np.exp(-np.outer(s_squared, b) / 4)  # gemmi: stol² = s²/4
        columns.append(terms @ np.array(a) + c)
    return np.stack(columns, axis=1)[:, column]


def atomic_numbers(structure: Structure) -> Floats:
    """Electrons of every atom, times its occupancy: (N,) float."""
    elements, kind = np.unique(structure.elements, return_inverse=True)
    numbers = np.array([gemmi.Element(str(name)).atomic_number for name in elements])
    return numbers[kind] * structure.occupancies


@dataclass(frozen=True)
class AtomFactors:
    """What each atom of a structure scatters, as one of a few kinds.

    Attributes
    ----------
    kind : (N,) int
        Of every atom.
    occupancies : (N,) float
    elements : (K,) str
        Of each kind.
    volumes_A3 : (K,) float
        Of the solvent that it displaces.
    b_factors_A2 : (K,) float
        Of motion on its own, that dims it in the sum over all atoms.
    k_sol_eA3, b_sol_A2 : float
        Density and blur of the solvent.
    """

    kind: Integers
    occupancies: Floats
    elements: Names
    volumes_A3: Floats
    b_factors_A2: Floats
    k_sol_eA3: float = 0.0
    b_sol_A2: float = 0.0

    def at(self, s_squared: Floats) -> Floats:
        """The kinds' factors (S, K) at |s|² (S,) in Å⁻², in electrons."""
        return self.still(s_squared) * np.exp(-np.outer(s_squared, self.b_factors_A2) / 4)

    def still(self, s_squared: Floats) -> Floats:
        """The same without the dimming."""
        found = form_factors(self.elements, s_squared)
        if self.k_sol_eA3:
            solvent = (self.k_sol_eA3, self.b_sol_A2)
            found = found - solvent_factors(self.volumes_A3, s_squared, *solvent)
        return found


def copied_factors(
    factors: AtomFactors, atoms: Integers, occupancies: Floats, b_factors_A2: Floats
) -> AtomFactors:
    """The factors of copies of atoms, each dimmed by a B-factor more.

    Parameters
    ----------
    factors : AtomFactors
        Of N atoms.
    atoms : (C,) int
        Which atom each is a copy of.
    occupancies : (C,) float
        Of the copies.
    b_factors_A2 : (N,) float
        Of the atoms, beside those that `factors` has; rounded to `B_STEP_A2`.
    """
    steps = np.rint(b_factors_A2 / B_STEP_A2).astype(np.int64)
    rows = np.stack([factors.kind, steps], axis=1)
    kinds, kind = np.unique(rows, axis=0, return_inverse=True)
    return replace(
        factors,
        kind=kind.reshape(-1)[atoms],
        occupancies=occupancies,
        elements=factors.elements[kinds[:, 0]],
        volumes_A3=factors.volumes_A3[kinds[:, 0]],
        b_factors_A2=factors.b_factors_A2[kinds[:, 0]] + kinds[:, 1] * B_STEP_A2,
    )


def atom_factors(
    structure: Structure,
    k_sol_eA3: float = 0.0,
    b_sol_A2: float = 0.0,
    b_factors_A2: Floats | None = None,
) -> AtomFactors:
    """The factors of a structure's atoms: of each element, volume and B-factor once.

    Parameters
    ----------
    structure : Structure
    k_sol_eA3, b_sol_A2 : float
        See `solvent`.
    b_factors_A2 : (N,) float or None
        Rounded to `B_STEP_A2`; none dims.
    """
    n_atoms = len(structure)
    volumes = displaced_volumes(structure) if k_sol_eA3 else np.zeros(n_atoms)
    b = np.zeros(n_atoms) if b_factors_A2 is None else np.rint(b_factors_A2 / B_STEP_A2)
    elements, element = np.unique(structure.elements, return_inverse=True)
    rows = np.stack([element, volumes, b * B_STEP_A2], axis=1)
    kinds, kind = np.unique(rows, axis=0, return_inverse=True)
    return AtomFactors(
        kind=kind.reshape(-1),
        occupancies=structure.occupancies,
        elements=elements[kinds[:, 0].astype(np.int64)],
        volumes_A3=kinds[:, 1],
        b_factors_A2=kinds[:, 2],
        k_sol_eA3=k_sol_eA3,
        b_sol_A2=b_sol_A2,
    )
