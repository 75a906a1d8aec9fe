"""Section: the springs between molecules, how these move by them, and the lattice's phonons."""

import numpy as np

from hpc_diffuser.crystal.chains import chain_letters
from hpc_diffuser.interface.run import Run
from hpc_diffuser.motion.lattice.full_springs import N_SHAPE
from hpc_diffuser.motion.lattice.phonons import ROOM_K, dispersion, mass_matrix, sound_velocities
from hpc_diffuser.motion.lattice.rigid_lattice import RigidLattice
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.registry import AXES
from hpc_diffuser.plots.lattice import plot_dispersion
from hpc_diffuser.report.section import Cell, Column, Contents, Figure, Table
from hpc_diffuser.system.arrays import Floats

_NAME, _SHAPE = "lattice_spring_A", "lattice_shape"
_KNOWN = 0.5  # of the largest standard error: that of numbers that the prior alone holds
_PER_DEGREE = float(np.radians(1.0) ** 2)


def springs_of_run(run: Run) -> Contents | None:
    """Of a finished run whose molecules are on springs."""
    outcome = run.summary.outcome if run.summary else None
    answer = outcome.answer.get(_NAME) if outcome else None
    if outcome is None or not np.any(answer or 0.0):
        return None
    modes, errors = run.modes, (outcome.standard_errors or {}).get(_NAME)
    if modes.lattice is None:
        return None
    n = modes.lattice.springs.n_interfaces
    lengths = np.broadcast_to(np.asarray(answer, np.float64), n)
    told = errors if isinstance(errors, list) else [errors] * n
    found = outcome.answer.get(_SHAPE)
    shape = tuple(found) if isinstance(found, list) else ()
    of_shape = (outcome.standard_errors or {}).get(_SHAPE)
    springs = (*lengths.tolist(), *shape)
    stiffness, covariance = modes.lattice.stiffness(springs), modes.lattice.covariance(springs)
    return Contents(
        words=(_words(modes.lattice, covariance), *_of_chains(modes), _MASSES),
        figures=(_figure(modes, stiffness),),
        tables=(
            _interfaces(modes.lattice, lengths, told),
            *((_shapes(modes.lattice, stiffness, of_shape),) if shape else ()),
            _motion(covariance),
            _sound(modes, stiffness),
        ),
    )


_MASSES = (
    "Frequencies and velocities are those of molecules that weigh what the model's atoms do, at "
    "room temperature (298 K); what solvent they carry makes them slower."
)


def _words(lattice: RigidLattice, covariance: Floats) -> str:
    translation, libration = _sizes(covariance)
    return (
        f"{lattice.springs.n_interfaces} interfaces hold the molecules. By their springs alone a "
        f"molecule translates by {translation:.2f} Å rms along any axis, and turns by "
        f"{libration:.2f}° about any axis through its centre of mass."
    )


def _of_chains(modes: Modes) -> tuple[str, ...]:
    """That several chains are one body."""
    chains = chain_letters(modes.structure)
    if len(chains) < 2:
        return ()
    return (
        f"Chains {', '.join(chains)} move as one body, as they lie in the model; springs between "
        "them there are none.",
    )


def _sizes(covariance: Floats) -> tuple[float, float]:
    """Rms translation, Å, and libration, degrees, along and about any axis."""
    translation = float(np.sqrt(np.trace(covariance[:3, :3]) / 3))
    return translation, float(np.degrees(np.sqrt(np.trace(covariance[3:, 3:]) / 3)))


def _interfaces(lattice: RigidLattice, lengths: Floats, errors: list[float | None]) -> Table:
    packing = lattice.springs.packing
    images, rows = packing.images(), list[tuple[Cell, ...]]()
    for i, (label, first) in enumerate(zip(packing.labels(), packing.firsts(), strict=True)):
        length, error, pairs = float(lengths[i]), errors[i], len(first.atoms)
        kappa = 1 / length**2 if length else None
        # κ = ℓ⁻²: to first order its error is 2κ dℓ/ℓ.
        of_kappa = 2 * kappa * error / length if kappa and error is not None else None
        whole = pairs * kappa if kappa else None
        rows.append((label, images[i], pairs, length, error, kappa, of_kappa, whole))
    return Table(
        name="lattice_springs",
        caption="Interfaces between molecules, each by where its neighbour is: the operator's "
        "number, if there are several, and the lattice translation; the same as the image of "
        "x, y, z (fractions of the cell's axes); pairs of atoms that touch; "
        "length ℓ of their springs and its standard error; stiffness κ = 1/ℓ² of one pair, and "
        "its standard error; of all pairs together.",
        columns=(
            Column(name="interface"),
            Column(name="neighbour"),
            Column(name="pairs"),
            Column(name="length (Å)", digits=3),
            Column(name="its error (Å)", digits=3),
            Column(name="stiffness (kT/Å²)", digits=4),
            Column(name="its error (kT/Å²)", digits=4),
            Column(name="of all pairs (kT/Å²)", digits=2),
        ),
        rows=tuple(rows),
    )


def _shapes(lattice: RigidLattice, stiffness: Floats, errors: object) -> Table:
    """Springs of any shape: how stiff they are along and about axes, and what is known of them."""
    told = errors if isinstance(errors, list) else [None] * (N_SHAPE * len(stiffness))
    least = _KNOWN * max((error for error in told if error is not None), default=0.0)
    rows: list[tuple[Cell, ...]] = []
    for i, (label, k) in enumerate(zip(lattice.springs.packing.labels(), stiffness, strict=True)):
        own = told[N_SHAPE * i : N_SHAPE * (i + 1)]
        along, about = np.linalg.eigvalsh(k[:3, :3]), np.linalg.eigvalsh(k[3:, 3:])
        known = sum(error is not None and error < least for error in own)
        rows.append((label, *map(float, along), *map(float, about * _PER_DEGREE), known))
    stiff = [f"{what} {n}" for what in ("along", "about") for n in (1, 2, 3)]
    return Table(
        name="lattice_shapes",
        caption="Springs of any shape: stiffness along the three axes of each at the middle of its "
        "contacts (kT/Å²), and about three (kT/degree²), ascending; how many of its 21 numbers "
        f"have a standard error below {_KNOWN:g} of the largest. The others are not determined by "
        "the data: they are what the prior makes them. The prior draws all of them to 0, by more "
        "than their standard errors where its weight is large.",
        columns=(
            Column(name="interface"),
            *(Column(name=name, digits=3) for name in stiff),
            Column(name="determined of 21"),
        ),
        rows=tuple(rows),
    )


def _motion(covariance: Floats) -> Table:
    translation, libration = _sizes(covariance)
    degrees = np.degrees(1.0)
    scale = np.array([1.0] * 3 + [degrees] * 3)
    scaled = covariance * np.outer(scale, scale)
    rows: list[tuple[Cell, ...]] = [
        (f"translation {x}", *map(float, row)) for x, row in zip(AXES, scaled[:3], strict=True)
    ]
    rows += [(f"libration {x}", *map(float, row)) for x, row in zip(AXES, scaled[3:], strict=True)]
    rows += [("rms translation, rms libration", translation, libration, None, None, None, None)]
    columns = [f"t {x}" for x in AXES] + [f"ω {x}" for x in AXES]
    return Table(
        name="lattice_motion",
        caption="Covariance of a molecule's rigid motion in the crystal's Cartesian frame: T (Å²), "
        "L (degrees²) and, between them, S (Å degrees); about the centre of mass. Below, rms along "
        "and about any axis (Å, degrees).",
        columns=(Column(name="of"), *(Column(name=c, digits=3) for c in columns)),
        rows=tuple(rows),
    )


def _sound(modes: Modes, stiffness: Floats) -> Table:
    lattice = modes.lattice
    assert lattice is not None
    masses = mass_matrix(modes.structure, lattice.springs.centre)
    found = sound_velocities(lattice.springs, stiffness, masses, modes.unit_cell, ROOM_K)
    return Table(
        name="sound",
        caption="Velocities of the three acoustic waves along each reciprocal axis, m/s.",
        columns=(
            Column(name="along"),
            Column(name="slowest", digits=0),
            Column(name="middle", digits=0),
            Column(name="fastest", digits=0),
        ),
        rows=tuple(
            (name, *map(float, row)) for name, row in zip(("a*", "b*", "c*"), found, strict=True)
        ),
    )


def _figure(modes: Modes, stiffness: Floats) -> Figure:
    lattice = modes.lattice
    assert lattice is not None
    masses = mass_matrix(modes.structure, lattice.springs.centre)

    def drawn() -> object:
        return plot_dispersion(*dispersion(lattice.springs, stiffness, masses, ROOM_K))

    return Figure(
        name="dispersion",
        caption="Frequencies of the lattice's phonons along the reciprocal axes, from the "
        "Brillouin zone's centre to its edge; blue: the three that begin at 0, sound.",
        alternative="Three panels of curves; the lowest three begin as the table sound says.",
        draw=drawn,
    )
