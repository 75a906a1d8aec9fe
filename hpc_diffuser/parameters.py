"""Which parameters are held and which refined, and what a point of the search means."""

from dataclasses import dataclass

import numpy as np

from hpc_diffuser.config import ParametersConfig, Range
from hpc_diffuser.disorder import Disorder
from hpc_diffuser.errors import InputError


@dataclass(frozen=True)
class Parameters:
    """One set of values of the model.

    Attributes
    ----------
    mode_amplitudes_A : (M,) float, Å
    disorder : Disorder
    """

    mode_amplitudes_A: np.ndarray
    disorder: Disorder

    def by_name(self) -> dict[str, float | list[float]]:
        """Plain values under the config's names."""
        return {
            "mode_amplitude_A": [float(a) for a in self.mode_amplitudes_A],
            "translation_sigma_A": self.disorder.translation_sigma_A,
            "uncorrelated_sigma_A": self.disorder.uncorrelated_sigma_A,
        }


@dataclass(frozen=True)
class SearchSpace:
    """All parameters in one row: M mode amplitudes, translation, uncorrelated motion.

    Attributes
    ----------
    low, high : (M+2,) float, Å
        Equal where the parameter is held.
    """

    low: np.ndarray
    high: np.ndarray

    @property
    def refined(self) -> np.ndarray:
        """Mask of the parameters that are searched: (M+2,) bool."""
        return self.low < self.high

    @property
    def bounds(self) -> np.ndarray:
        """(D, 2) bounds of the refined parameters."""
        return np.stack([self.low, self.high], axis=1)[self.refined]

    @property
    def names(self) -> list[str]:
        """Names of the refined parameters, modes counted from 1."""
        modes = [f"mode {i + 1}" for i in range(len(self.low) - 2)]
        every = [*modes, "translation_sigma_A", "uncorrelated_sigma_A"]
        return [name for name, refined in zip(every, self.refined, strict=True) if refined]

    @property
    def typical_motion_A(self) -> float:
        """Rms displacement per atom along all modes, in the middle of their ranges: Å."""
        return float(np.linalg.norm((self.low[:-2] + self.high[:-2]) / 2))

    def parameters(self, point: np.ndarray) -> Parameters:
        """The model's parameters at a point (D,) of the search."""
        return self._filled(self.low.copy(), point)

    def spread(self, widths: np.ndarray) -> Parameters:
        """Widths (D,) of the refined parameters in the same form; 0 for those held."""
        return self._filled(np.zeros_like(self.low), widths)

    def _filled(self, values: np.ndarray, refined: np.ndarray) -> Parameters:
        values[self.refined] = refined
        return Parameters(values[:-2], Disorder(float(values[-2]), float(values[-1])))


def search_space(config: ParametersConfig, amplitudes_A: np.ndarray) -> SearchSpace:
    """The space that a config spans.

    Parameters
    ----------
    config : ParametersConfig
    amplitudes_A : (M,) float
        The source ensemble's, held where the config says nothing of the modes.
    """
    ranges = [*_mode_ranges(config.mode_amplitude_A, amplitudes_A)]
    ranges += [config.translation_sigma_A, config.uncorrelated_sigma_A]
    low, high = np.array(ranges, dtype=np.float64).reshape(-1, 2).T
    return SearchSpace(low, high)


def held_parameters(config: ParametersConfig, amplitudes_A: np.ndarray) -> Parameters:
    """The parameters of a simulation, where everything must be held.

    Raises
    ------
    InputError
        Naming the first parameter that is a range.
    """
    space = search_space(config, amplitudes_A)
    if space.refined.any():
        raise InputError(
            f"parameters: {space.names[0]} is a range, which only a fit can use: "
            "give one number to simulate"
        )
    return space.parameters(np.empty(0))


def _mode_ranges(
    given: Range | tuple[Range, ...] | None, amplitudes_A: np.ndarray
) -> list[tuple[float, float]]:
    n_modes = len(amplitudes_A)
    if given is None:
        return [(float(a), float(a)) for a in amplitudes_A]
    if not isinstance(given[0], tuple):
        return [given] * n_modes
    if len(given) != n_modes:
        raise InputError(
            f"parameters.mode_amplitude_A has {len(given)} entries for {n_modes} modes: "
            "give one for each, or one range for all"
        )
    return list(given)
