"""The space that a search moves in: which parameters are held and which refined."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hpc_diffuser.fit.config import REFINE, Config, ParametersConfig
from hpc_diffuser.motion.lattice.full_springs import N_SHAPE
from hpc_diffuser.motion.lattice.rigid_lattice import RigidLattice
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters, Value, parameters_from
from hpc_diffuser.motion.registry import (
    ANGLE,
    BY_NAME,
    FRAME_WEIGHT,
    LENGTH,
    PARAMETERS,
    Parameter,
    Range,
    parameter_labels,
)
from hpc_diffuser.system.errors import InputError


@dataclass(frozen=True)
class SearchSpace:
    """All parameters that the model has, in one row.

    Attributes
    ----------
    layout : tuple of (str, int or None)
        The config's name of each parameter in order, and how many numbers it is; None for one
        alone.
    low, high : (P,) float
        Equal where the parameter is held.
    lattice : RigidLattice or None
        What springs between molecules hold.
    """

    layout: tuple[tuple[str, int | None], ...]
    low: np.ndarray
    high: np.ndarray
    lattice: RigidLattice | None = None

    @property
    def refined(self) -> np.ndarray:
        """Mask of the parameters that are searched: (P,) bool."""
        return self.low < self.high

    @property
    def bounds(self) -> np.ndarray:
        """(D, 2) bounds of the refined parameters."""
        return np.stack([self.low, self.high], axis=1)[self.refined]

    @property
    def numbers(self) -> list[tuple[str, int]]:
        """Of each of the P numbers its parameter, and which of that parameter's it is, from 0."""
        return [(name, i) for name, n in self.layout for i in range(1 if n is None else n)]

    @property
    def squared(self) -> np.ndarray:
        """Of which refined parameters φ is the square: amplitudes, (D,) bool.

        Intensities are nearly linear in φ.
        """
        rows = [BY_NAME[name] for name, _ in self.numbers]
        every = [row.is_amplitude and row.quantity in (LENGTH, ANGLE) for row in rows]
        return np.array(every, bool)[self.refined]

    @property
    def names(self) -> list[str]:
        """Names of the refined parameters, modes counted from 1."""
        every = [label for name, n in self.layout for label in parameter_labels(name, n)]
        return [name for name, refined in zip(every, self.refined, strict=True) if refined]

    @property
    def refined_names(self) -> tuple[str, ...]:
        """The config's names of the parameters that have a number that is searched."""
        return tuple(name for name, part in self._parts(self.refined) if part.any())

    @property
    def of_frames(self) -> np.ndarray:
        """Which refined parameters are weights of frames, which add up to 1: (D,) bool."""
        every = [name == FRAME_WEIGHT.name for name, _ in self.numbers]
        return np.array(every, bool)[self.refined]

    def normed(self, point: np.ndarray) -> np.ndarray:
        """The same point (D,), with weights of frames divided by their sum."""
        frames = self.of_frames
        if not frames.any():
            return point
        total = point[frames].sum()
        weights = point[frames] / total if total > 0 else 1 / frames.sum()
        normed = point.copy()
        normed[frames] = weights
        return normed

    @property
    def modes(self) -> dict[int, int]:
        """Of each refined mode's place in a point its number, from 0."""
        named = enumerate(name.split() for name in self.names)
        return {place: int(words[1]) - 1 for place, words in named if words[0] == "mode"}

    @property
    def springs(self) -> dict[int, int]:
        """The same of each refined number of springs; 0 of one length that is for all."""
        named = [name.split() for name in self.names]
        lengths = [(i, words) for i, words in enumerate(named) if words[0] == "lattice_spring_A"]
        found = {place: int(words[-1]) - 1 if words[1:] else 0 for place, words in lengths}
        shapes = [(i, words) for i, words in enumerate(named) if words[0] == "lattice_shape"]
        first = self.lattice.springs.n_interfaces if self.lattice is not None else 0
        return found | {place: first + int(words[-1]) - 1 for place, words in shapes}

    def at_most(self, name: str) -> float:
        """The largest value that a parameter may take; 0 where the model lacks it."""
        found = [high.max(initial=0.0) for key, high in self._parts(self.high) if key == name]
        return float(found[0]) if found else 0.0

    def at_least(self, name: str) -> float:
        """The smallest value that a parameter may take; 0 where the model lacks it."""
        found = [low.min(initial=np.inf) for key, low in self._parts(self.low) if key == name]
        return float(found[0]) if found else 0.0

    @property
    def librates(self) -> bool:
        """True where molecules turn, which takes sample points of its own."""
        return max(self.at_most("libration_sigma_deg"), self.at_most("lattice_spring_A")) > 0

    @property
    def middle(self) -> Parameters:
        """The parameters in the middle of their ranges."""
        return parameters_from(self._by_name((self.low + self.high) / 2), self.lattice)

    @property
    def anywhere(self) -> Parameters:
        """Parameters within their ranges, of which no two refined ones are alike by chance."""
        parts = np.modf(0.618 * np.arange(1, len(self.low) + 1))[0]
        at = self._by_name(self.low + parts * (self.high - self.low))
        return parameters_from(at, self.lattice)

    @property
    def farthest(self) -> Parameters:
        """All parameters at the upper ends of their ranges."""
        return parameters_from(self._by_name(self.high), self.lattice)

    def parameters(self, point: np.ndarray) -> Parameters:
        """The model's parameters at a point (D,) of the search."""
        return parameters_from(self.by_name(point), self.lattice)

    def by_name(self, point: np.ndarray) -> dict[str, Value]:
        """The same as plain values under the config's names."""
        return self._by_name(self._filled(self.low, point))

    def point(self, values: dict[str, Value]) -> np.ndarray:
        """The refined of such values: (D,)."""
        every = [np.atleast_1d(values[name]) for name, _ in self.layout]
        return np.concatenate(every).astype(np.float64)[self.refined]

    def spread(self, widths: np.ndarray) -> dict[str, Value]:
        """Widths (D,) of the refined parameters in the same form; 0 for those held."""
        return self._by_name(self._filled(np.zeros_like(self.low), widths))

    def where_known(self, values: np.ndarray) -> dict[str, float | list[float | None] | None]:
        """Values (D,) in the same form; None where they are NaN, and of parameters held."""
        every = self._filled(np.full_like(self.low, np.nan), values)
        return {name: none_for_nan(value) for name, value in self._by_name(every).items()}

    def _filled(self, values: np.ndarray, refined: np.ndarray) -> np.ndarray:
        values = values.copy()
        values[self.refined] = refined
        return values

    def _by_name(self, values: np.ndarray) -> dict[str, Value]:
        sizes = dict(self.layout)
        return {
            name: float(part[0]) if sizes[name] is None else [float(v) for v in part]
            for name, part in self._parts(values)
        }

    def _parts(self, values: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        first = 0
        for name, n in self.layout:
            size = 1 if n is None else n
            yield name, values[first : first + size]
            first += size


def source_point(space: SearchSpace, modes: Modes) -> np.ndarray:
    """The source's amplitudes, as far as ranges go, or weights; all else in the middle: (D,)."""
    first, values = 0, (space.low + space.high) / 2
    for name, n in space.layout:
        own = slice(first, first + (1 if n is None else n))
        if name == "mode_amplitude_A":
            values[own] = np.clip(modes.amplitudes_A, space.low[own], space.high[own])
        if name == FRAME_WEIGHT.name and modes.weights is not None:
            values[own] = modes.weights
        first = own.stop
    return values[space.refined]


def no_farther(space: SearchSpace, modes: Modes, point: np.ndarray) -> np.ndarray:
    """The point (D,), with modes scaled down together where in all they go beyond the source."""
    point, places = point.copy(), list(space.modes)
    source = np.linalg.norm(source_point(space, modes)[places])
    total = np.linalg.norm(point[places])
    if total > source:
        point[places] *= source / total
    return point


def none_for_nan(value: Value) -> float | list[float | None] | None:
    """A parameter's number, or numbers, as JSON knows them."""
    if isinstance(value, list):
        return [None if np.isnan(v) else v for v in value]
    return None if np.isnan(value) else value


def search_space(
    config: ParametersConfig,
    amplitudes_A: np.ndarray,
    n_correlated: int = 0,
    n_frames: int = 0,
    lattice: RigidLattice | None = None,
) -> SearchSpace:
    """The space that a config spans.

    Parameters
    ----------
    config : ParametersConfig
    amplitudes_A : (M,) float
        The source ensemble's, held where the config says nothing of the modes.
    n_correlated : int
        How many of the first modes may be correlated.
    n_frames : int
        Of an ensemble whose weights are refined.
    lattice : RigidLattice or None
        Needed where springs hold molecules.

    Raises
    ------
    InputError
        Where a parameter has another number of entries than the model, or lacks one that it needs.
    """
    _refuse_incomplete(config, n_correlated)
    layout, ranges = [], []
    for row in PARAMETERS:
        given = getattr(config, row.name)
        size = _size(row, given, len(amplitudes_A), n_correlated, lattice)
        if given is None:
            given = tuple((float(a), float(a)) for a in amplitudes_A)
        if not row.always and not np.any(given):
            continue
        layout.append((row.name, size))
        ranges += _expanded(row.name, given, size)
    if n_frames:
        layout.append((FRAME_WEIGHT.name, n_frames))
        ranges += [FRAME_WEIGHT.quantity.limits] * n_frames
    low, high = np.array(ranges, dtype=np.float64).reshape(-1, 2).T
    return SearchSpace(tuple(layout), low, high, lattice)


def refined_frames(config: Config, modes: Modes) -> int:
    """How many frames have weights that are refined."""
    refines = config.structure.weights == REFINE and modes.frames is not None
    return len(modes.frames) if refines and modes.frames is not None else 0


def held_space(
    config: ParametersConfig,
    amplitudes_A: np.ndarray,
    n_correlated: int = 0,
    lattice: RigidLattice | None = None,
) -> SearchSpace:
    """The parameters of a simulation, where everything must be held: a space of one point.

    Raises
    ------
    InputError
        Naming the first parameter that is a range.
    """
    space = search_space(config, amplitudes_A, n_correlated, lattice=lattice)
    if space.refined.any():
        raise InputError(
            f"parameters: {space.names[0]} is a range, which only a fit can use: "
            "give one number to simulate, or [[a, a], [b, b]] of two such as springs"
        )
    return space


def _size(
    row: Parameter,
    given: Range | tuple[Range, ...] | None,
    n_modes: int,
    n_correlated: int,
    lattice: RigidLattice | None,
) -> int | None:
    """How many numbers a parameter is; None for one that is no list."""
    sizes = {
        "modes": n_modes,
        "mode pairs": n_correlated * (n_correlated - 1) // 2,
        "axis pairs": 3,
        "axes": 3 if np.ndim(given) == 2 else None,
        "crystal axes": len(given) if given is not None and np.ndim(given) == 2 else None,
        "interfaces": len(given) if given is not None and np.ndim(given) == 2 else None,
        "interface springs": N_SHAPE * lattice.springs.n_interfaces if lattice else None,
    }
    return sizes.get(row.several)


def _expanded(
    name: str, given: Range | tuple[Range, ...], size: int | None
) -> list[tuple[float, float]]:
    """One range for each number of a parameter."""
    if not given or not isinstance(given[0], tuple):
        return [given] * (1 if size is None else size) if given else []
    if len(given) != size:
        raise InputError(_wrong_number(name, len(given), size))
    return list(given)


def _wrong_number(name: str, found: int, expected: int | None) -> str:
    if BY_NAME[name].several == "modes":
        return (
            f"parameters.{name} has {found} entries for {expected} modes: "
            "give one for each, or one range for all"
        )
    return f"parameters.{name} has {found} entries: expected {expected}, or one range for all"


def _refuse_incomplete(config: ParametersConfig, n_correlated: int) -> None:
    """Raise InputError for a parameter that means nothing without another one."""
    present = [row for row in PARAMETERS if np.any(getattr(config, row.name) or 0)]
    names = {row.name for row in present}
    for row in present:
        for needed in row.needs:
            if needed not in names:
                raise InputError(f"parameters.{row.name} means nothing without {needed}: give both")
    if {"halo_alpha", "halo_sigma_A"} <= names:
        raise InputError(
            "parameters.halo_alpha and halo_sigma_A are two models of the same halos: give one"
        )
    _refuse_beside_lattice(names)
    _refuse_two_scales(config, names)
    _refuse_too_short(config, names)
    _refuse_beside_crystal(names)
    for motion in ("translation", "llm", "crystal_llm"):
        along = getattr(config, f"{motion}_sigma_A")
        if f"{motion}_correlation" in names and np.shape(along) != (3, 2):
            raise InputError(
                f"parameters.{motion}_correlation: expected {motion}_sigma_A = [x, y, z]"
            )
    if "mode_correlation" in names and n_correlated < 2:
        raise InputError(
            "parameters.mode_correlation: expected [structure] correlated_modes = 2 or more"
        )


def _refuse_beside_lattice(present: set[str]) -> None:
    """Raise InputError for another motion of the molecule as a whole than the lattice's."""
    others = [row.name for row in PARAMETERS if row.term in ("rbt", "lib", "halo")]
    beside = [name for name in others if name in present]
    if "lattice_spring_A" in present and beside:
        raise InputError(
            f"parameters.{beside[0]}: the springs of the lattice say how the molecule moves as a "
            "whole, lattice_spring_A: give one of both"
        )


def _refuse_two_scales(config: ParametersConfig, present: set[str]) -> None:
    """Raise InputError where both lengths and shapes say how stiff a spring is."""
    lengths = np.atleast_2d(config.lattice_spring_A)
    if "lattice_shape" in present and np.any(lengths[:, 0] < lengths[:, 1]):
        raise InputError(
            "parameters.lattice_shape changes how stiff springs are in all, as lattice_spring_A "
            "does: hold lattice_spring_A at numbers, as a fit of lengths found them"
        )


def _refuse_too_short(config: ParametersConfig, present: set[str]) -> None:
    """Raise InputError for a correlation length that is none."""
    if "halo_gamma_A" in present and np.min(config.halo_gamma_A) <= 0:
        raise InputError("parameters.halo_gamma_A should be above 0, found 0")
    for name in ("llm_gamma_A", "crystal_llm_gamma_A"):
        least, found = BY_NAME[name].least, np.min(getattr(config, name))
        if name in present and found < least:
            raise InputError(
                f"parameters.{name} should be at least {least}, the length of a bond, "
                f"found {found:g}: use uncorrelated_sigma_A"
            )


def _refuse_beside_crystal(present: set[str]) -> None:
    """Raise InputError for motion that liquid-like motion of the whole crystal is already."""
    others = ("llm_sigma_A", "halo_sigma_A", "halo_alpha")
    beside = next((name for name in others if name in present), None)
    if "crystal_llm_sigma_A" in present and beside:
        raise InputError(
            f"parameters.{beside}: how atoms move with those near to them, and with neighbours, "
            "crystal_llm_sigma_A says already: give one of them"
        )
