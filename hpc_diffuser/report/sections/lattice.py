"""Section: the springs between molecules, how these move by them, and the lattice's phonons."""

import numpy as np

from hpc_diffuser.crystal.chains import chain_letters
from hpc_diffuser.fit.errors.intervals import InterfaceStiffness, Intervals
from hpc_diffuser.interface.run import Run
from hpc_diffuser.motion.lattice.full_springs import along_axes, contact_axes
from hpc_diffuser.motion.lattice.phonons import ROOM_K, dispersion, mass_matrix, sound_velocities
from hpc_diffuser.motion.lattice.rigid_lattice import RigidLattice, turn_deg
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.registry import AXES
from hpc_diffuser.plots.lattice import plot_dispersion
from hpc_diffuser.report.facts import significant
from hpc_diffuser.report.section import Cell, Column, Contents, Figure, Rounded, Table
from hpc_diffuser.system.arrays import Floats

_NAME, _SHAPE = "lattice_spring_A", "lattice_shape"
_WAYS = [f"{what} axis {n}" for what in ("shift along", "turn about") for n in (1, 2, 3)]
_UNITS = ("kT/Å²", "kT/rad²")


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
    springs = (*lengths.tolist(), *shape)
    stiffness, covariance = modes.lattice.stiffness(springs), modes.lattice.covariance(springs)
    return Contents(
        words=(_words(modes.lattice, covariance), *_of_chains(modes), _MASSES),
        figures=(_figure(modes, stiffness),),
        tables=(
            _interfaces(modes.lattice, lengths, told),
            *((_shapes(modes.lattice, stiffness, outcome.intervals),) if shape else ()),
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
        f"molecule translates by {translation:.3g} Å rms along any axis, and turns by "
        f"{libration:.3g}° about any axis through its centre of mass."
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
    return translation, turn_deg(covariance)


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


def _shapes(lattice: RigidLattice, stiffness: Floats, found: Intervals | None) -> Table:
    """Springs of any shape: how stiff they are along and about axes, and who says so."""
    told = found.stiffness if found else ()
    values = along_axes(contact_axes(lattice.springs.units), stiffness)
    rows: list[tuple[Cell, ...]] = []
    for i, label in enumerate(lattice.springs.packing.labels()):
        known = _known(told[i]) if told else [(None, None, "no")] * 6
        for n, (way, k, own) in enumerate(zip(_WAYS, values[i], known, strict=True)):
            error, share, determined = own
            rows.append((label, way, float(k), _UNITS[n // 3], error, share, determined))
    return Table(
        name="lattice_shapes",
        caption="Springs of any shape: how stiff each is at the middle of its contacts, for a "
        "shift along one of their three principal axes alone, and for a turn about it (axis 1 is "
        "the one about which pairs of atoms resist least); its standard error; which share the "
        "prior has in what is known of it. Where that is above a half the data do not determine "
        "it: it is what the prior makes it. 0 where no pair of atoms resists, as a turn about a "
        "single contact.",
        columns=(
            Column(name="interface"),
            Column(name="for"),
            Column(name="stiffness", digits=3),
            Column(name="in"),
            Column(name="its error", digits=3),
            Column(name="the prior's share", digits=2),
            Column(name="determined"),
        ),
        rows=tuple(rows),
    )


def _known(one: InterfaceStiffness) -> list[tuple[float | None, float | None, str]]:
    """Of each axis the error, the prior's share, and whether the data determine the stiffness."""
    errors = one.along_errors + one.about_errors
    shares = one.along_prior_shares + one.about_prior_shares
    unknown = one.along_undetermined + one.about_undetermined
    rows = zip(errors, shares, unknown, strict=True)
    return [(error, share, "no" if none else "yes") for error, share, none in rows]


def _motion(covariance: Floats) -> Table:
    translation, libration = _sizes(covariance)
    degrees = np.degrees(1.0)
    scale = np.array([1.0] * 3 + [degrees] * 3)
    scaled = covariance * np.outer(scale, scale)
    names = [f"{what} {x}" for what in ("translation", "libration") for x in AXES]
    shown = zip(names, _by_block(scaled), strict=True)
    rows: list[tuple[Cell, ...]] = [(name, *row) for name, row in shown]
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


def _by_block(covariance: Floats) -> list[list[Cell]]:
    """T, S and L each to as many digits that three of its largest number count: of stiff crystals.

    At least three after the point.
    """
    found: list[list[Cell]] = [[], [], [], [], [], []]
    for i, row in enumerate(covariance):
        for block in (slice(3), slice(3, 6)):
            of = covariance[slice(3) if i < 3 else slice(3, 6), block]
            largest = significant(float(np.abs(of).max()), 3)
            digits = max(3, largest.digits) if isinstance(largest, Rounded) else 3
            found[i] += [Rounded(float(x), digits) for x in row[block]]
    return found


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
