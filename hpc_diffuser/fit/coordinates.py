"""Refined parameters at an answer, and φ, what the objective is taken to be quadratic in."""

from dataclasses import dataclass

import numpy as np

from hpc_diffuser.fit.space import SearchSpace
from hpc_diffuser.fit.summary import Values
from hpc_diffuser.motion.registry import BY_NAME

STEP = 0.03  # of a range: how far to the side maps are calculated, at most
LEAST_STEP = 0.01  # of it, at least: what maps are rounded by counts the more, the nearer they are
PART = 0.1  # of an amplitude: between the two, so far
AT_END = 1e-3  # of a range: nearer to its end, a parameter is held by it


@dataclass(frozen=True)
class Coordinate:
    """A refined parameter, and φ, what the objective is taken to be quadratic in.

    Attributes
    ----------
    label : str
    value, low, high : float
        The answer's, and the range of the search.
    limits : (float, float)
        That it can ever have.
    squared : bool
        φ is its square, as of all amplitudes; otherwise the parameter itself.
    part : int
        Of so many frames' weights, which add up to 1, it is one; 0 of others.
    """

    label: str
    value: float
    low: float
    high: float
    limits: tuple[float, float]
    squared: bool
    part: int = 0

    def phi(self, value: float) -> float:
        """φ of a value."""
        return value**2 if self.squared else value

    def back(self, phi: float) -> float:
        """The value of φ, within the limits."""
        value = np.sqrt(max(phi, 0.0)) if self.squared else phi
        return float(np.clip(value, *self.limits))

    def ends(self, width: float) -> tuple[float, float]:
        """What lies so far to either side in φ, within the limits: of an amplitude not below 0."""
        phi = self.phi(self.value)
        return self.back(phi - width), self.back(phi + width)

    @property
    def room(self) -> tuple[float, float]:
        """From the answer to either end of the range, in φ."""
        phi = self.phi(self.value)
        return min(self.phi(self.low) - phi, 0.0), max(self.phi(self.high) - phi, 0.0)

    @property
    def breadth(self) -> float:
        """Of the range, in φ."""
        return self.phi(self.high) - self.phi(self.low)

    @property
    def sides(self) -> tuple[float, float]:
        """Values to the left and to the right; one of them is the answer's own at an end."""
        step = self._step
        left, right = max(self.value - step, self.low), min(self.value + step, self.high)
        if self.value - left < step / 2:
            return self.value, right
        return (left, self.value) if right - self.value < step / 2 else (left, right)

    @property
    def _step(self) -> float:
        """Small beside the range and, but near 0, beside an amplitude.

        A wide range is no reason for wide steps: between a half and one and a half of a spring's
        length a map is not linear in its square, and such slopes made errors a third of themselves.
        """
        size, width = abs(self.value), self.high - self.low
        least, most = LEAST_STEP * width, STEP * width
        if not self.squared or size <= least:
            return most
        return min(most, max(PART * size, least))

    @property
    def held(self) -> bool:
        """True at an end of the range that is not the end of what can be, as an amplitude's 0."""
        margin = AT_END * (self.high - self.low)
        if self.part:  # many alike are small, and not at 0
            margin = min(margin, 0.1 / self.part)
        natural = self.squared and self.low == 0
        at_low = self.value < self.low + margin and not natural
        return at_low or self.value > self.high - margin


def coordinates(space: SearchSpace, answer: Values) -> list[Coordinate]:
    """Of each refined parameter, in the order of `space.names`.

    Parameters
    ----------
    space : SearchSpace
    answer : dict
        By parameter name.
    """
    rows = [BY_NAME[name] for name, _ in space.numbers]
    squared = space.squared
    values = np.concatenate([np.atleast_1d(answer[name]).ravel() for name, _ in space.layout])
    found = []
    places = np.flatnonzero(space.refined)
    parts = space.of_frames * int(space.of_frames.sum())
    named = zip(space.names, places, space.bounds, squared, parts, strict=True)
    for label, place, (low, high), is_square, part in named:
        value = float(np.clip(values[place], low, high))
        limits = rows[place].quantity.limits
        kind = bool(is_square), int(part)
        found.append(Coordinate(label, value, float(low), float(high), limits, *kind))
    return found
