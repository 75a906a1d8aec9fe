"""One set of values of the model's parameters, and what they are called."""

from dataclasses import dataclass, field, fields

import numpy as np

from hpc_diffuser.motion.disorder import Disorder

Value = float | list[float]
_AXES = ("x", "y", "z")
_DISORDER = tuple(f.name for f in fields(Disorder))


@dataclass(frozen=True)
class Parameters:
    """One set of values of the model.

    Attributes
    ----------
    mode_amplitudes_A : (M,) float, Å
    disorder : Disorder
    mode_correlation : k(k−1)/2 floats
        Partial correlations of the first k modes; see `disorder.correlation_factor`.
    libration_sigma_deg : float
        Rms rotation about any axis through the centre of mass.
    screw_correlation : float
        Of the translation along an axis with the rotation about it.
    residual_b_fraction : float
        Of what the other motions leave of the crystal's B-factors, that every atom has on its own.
    k_sol_eA3, b_sol_A2 : float
        Density and blur of the displaced solvent.
    """

    mode_amplitudes_A: np.ndarray
    disorder: Disorder = field(default_factory=Disorder)
    mode_correlation: tuple[float, ...] = ()
    libration_sigma_deg: float = 0.0
    screw_correlation: float = 0.0
    residual_b_fraction: float = 0.0
    k_sol_eA3: float = 0.0
    b_sol_A2: float = 0.0


def parameters_from(values: dict[str, Value]) -> Parameters:
    """Parameters from plain values under the config's names; what is not named is absent."""
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    amplitudes = np.array(values.pop("mode_amplitude_A", ()), dtype=np.float64)
    of_disorder = {name: values.pop(name) for name in _DISORDER if name in values}
    return Parameters(amplitudes, Disorder(**of_disorder), **values)


def parameter_labels(name: str, size: int | None) -> list[str]:
    """What the numbers of a parameter of the config are called; modes are counted from 1."""
    if size is None:
        return [name]
    if name == "mode_amplitude_A":
        return [f"mode {i + 1}" for i in range(size)]
    if name == "translation_sigma_A":
        return [f"{name} {axis}" for axis in _AXES]
    pairs = [(i, j) for i in range(size + 1) for j in range(i)][:size]
    if name == "translation_correlation":
        return [f"{name} {_AXES[i]}{_AXES[j]}" for i, j in pairs]
    return [f"modes {i + 1}-{j + 1}" for i, j in pairs]
