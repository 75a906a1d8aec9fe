"""What is expected of an answer before the map is seen: penalties that a fit's objective carries.

The log-normal prior on the modes' amplitudes, with c free and σ⁰ those of the source,

    P = ½ Σ_i (ln σ_i − ln c σ_i⁰)² / τ²,   ln c = mean of ln σ_i/σ_i⁰,

and the crystal's B-factors as data that the model's, B_a = 8π²⟨|u_a|²⟩/3, must not exceed:

    P = ½ Σ_a r_a²,   r_a = max(0, B_a/B_a⁰ − 1) / `TOLERANCE`,

or its ANISOU records, beyond which it must not move in any direction: `fit.priors.directions`.

All are sums of squares like χ²/2, with gradients and Gauss-Newton matrices in φ: the variance of
an amplitude, else the parameter itself. A logarithm is softened, ½ ln(φ + ε²σ⁰²), so that it ends
at φ = 0, and an amplitude can come back from there.

Each is multiplied by its weight and the objective's unit. Of a likelihood that is 2/χ₀², so that
a weight of 1 is Bayes' theorem for voxels with independent errors: χ²/2 + P. Of a CC it is 1/N
with N working voxels, which 1 − CC is the mean of. Neighbouring voxels are correlated: a weight of
as many as there are to an independent one gives a prior what it is worth.

The weights of an ensemble's frames have the relative entropy of `entropy` for a prior, which is
multiplied by its weight θ alone.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpc_diffuser.fit.b_factors import B_OF_SQUARE
from hpc_diffuser.fit.config import PriorConfig
from hpc_diffuser.fit.priors.directions import beyond, crystal_covariances, require_records
from hpc_diffuser.fit.priors.entropy import entropy_penalty, sum_penalty
from hpc_diffuser.fit.priors.penalty import TOLERANCE, Penalty
from hpc_diffuser.fit.scoring import Score
from hpc_diffuser.fit.search.linearised import phi_of, values_of
from hpc_diffuser.fit.space import SearchSpace
from hpc_diffuser.fit.summary import PriorShare
from hpc_diffuser.motion.configurations import (
    displacement_covariances,
    inside_covariances,
    mean_square_displacements,
)
from hpc_diffuser.motion.ensemble import weights_of
from hpc_diffuser.motion.modes import Modes, why_no_b_factors
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.motion.registry import BY_NAME, FRAME_WEIGHT
from hpc_diffuser.system.errors import InputError

AUTO = "auto"  # a weight that CC_free chooses: see `prior_path`
FLOOR = 0.01  # ε: of the source's amplitude; smaller ones are as improbable as this
STEP = 1e-4  # of a range in φ, for the slopes of B-factors
_MODES, _RESIDUAL, _SHAPE = "mode_amplitude_A", "residual_b_fraction", "lattice_shape"


def log_normal(variances: np.ndarray, source: np.ndarray, tau: float) -> tuple[Penalty, float]:
    """The prior on amplitudes, and the scale c that it leaves free.

    Parameters
    ----------
    variances, source : (n,) float
        σ² in Å², and the source's σ in Å.
    tau : float
        Standard deviation of ln σ.
    """
    softened = _softened(variances, source)
    logs = np.log(softened) / 2 - np.log(source)
    residuals = (logs - logs.mean()) / tau
    slopes = 1 / (2 * softened)
    centred = np.eye(len(logs)) - 1 / len(logs)
    # The residuals add up to 0, so that the mean's own slope drops out of the gradient.
    gradient = residuals * slopes / tau
    matrix = centred * np.outer(slopes, slopes) / tau**2
    value = float((residuals**2).sum() / 2)
    return Penalty(value, gradient, matrix), float(np.exp(logs.mean()))


def _softened(variances: np.ndarray, source: np.ndarray) -> np.ndarray:
    softened: np.ndarray = variances + (FLOOR * source) ** 2
    return softened


def excess(b_factors: np.ndarray, crystal: np.ndarray, slopes: np.ndarray) -> Penalty:
    """The penalty on B-factors beyond the crystal's.

    Parameters
    ----------
    b_factors, crystal : (N,) float, Å²
        The model's, and the crystal's, above 0.
    slopes : (N, D) float
        Of the model's in φ.
    """
    residuals = np.maximum(b_factors / crystal - 1, 0) / TOLERANCE
    beyond = residuals > 0
    of_residuals = slopes[beyond] / (TOLERANCE * crystal[beyond, None])
    gradient = (residuals[beyond, None] * of_residuals).sum(axis=0)
    matrix = np.einsum("ai,aj->ij", of_residuals, of_residuals)
    return Penalty(float((residuals**2).sum() / 2), gradient, matrix)


@dataclass(frozen=True)
class Prior:
    """What a fit's config expects; see `prior_of`.

    Attributes
    ----------
    config : PriorConfig
        With weights that are numbers.
    modes : Modes
    space : SearchSpace
    voxels : int
        Working ones.
    """

    config: PriorConfig
    modes: Modes
    space: SearchSpace
    voxels: int

    def unit(self, background_alone: float | None) -> float:
        """What penalties are multiplied with, from χ₀² of a likelihood; None of a CC."""
        return 1 / self.voxels if background_alone is None else 2 / background_alone

    def value(self, point: np.ndarray) -> float:
        """Of a point (D,) of the search, all penalties with their weights; without the unit."""
        return sum(self.shares(point)) + self.config.springs * self._of_springs(point).value

    def shares(self, point: np.ndarray) -> tuple[float, float, float]:
        """The same, of amplitudes, of B-factors and of ANISOU records apart."""
        of_amplitudes = of_b = of_u = 0.0
        if weight := _number(self.config.amplitudes):
            of_amplitudes = weight * self._log_normal(point)[0].value
        if weight := self.config.b_factors:
            known, parameters = self._known(), self.space.parameters(point)
            b, crystal = self._b_factors(parameters)[known], self._crystal()[known]
            of_b = weight * excess(b, crystal, np.zeros((len(b), 0))).value
        if weight := self.config.anisou:
            of_u = weight * self._directions(self.space.parameters(point)).value
        return of_amplitudes, of_b, of_u

    def about(self, point: np.ndarray) -> Penalty:
        """All penalties with their weights about a point (D,); without the unit."""
        n = len(point)
        found = Penalty(0.0, np.zeros(n), np.zeros((n, n)))
        if weight := _number(self.config.amplitudes):
            of_modes, _ = self._log_normal(point)
            rows = refined_modes(self.space)
            gradient, matrix = np.zeros(n), np.zeros((n, n))
            gradient[rows], matrix[np.ix_(rows, rows)] = of_modes.gradient, of_modes.matrix
            found = found.plus(Penalty(of_modes.value, gradient, matrix).times(weight))
        if weight := self.config.b_factors:
            known, parameters = self._known(), self.space.parameters(point)
            b, crystal = self._b_factors(parameters)[known], self._crystal()[known]
            found = found.plus(excess(b, crystal, self.b_slopes(point)[known]).times(weight))
        if weight := self.config.springs:
            found = found.plus(self._of_springs(point).times(weight))
        if weight := self.config.anisou:
            penalty = self._directions(self.space.parameters(point), self.u_slopes(point))
            found = found.plus(penalty.times(weight))
        return found

    def _of_springs(self, point: np.ndarray) -> Penalty:
        """½‖log K⁰^{−½} K K⁰^{−½}‖²/τ² of all interfaces: the numbers' own sum of squares."""
        shape = np.array([name == _SHAPE for name, _ in self._refined()], float)
        slopes = shape / self.config.springs_tau**2
        return Penalty(float(slopes @ point**2 / 2), slopes * point, np.diag(slopes))

    def stated(self, background_alone: float | None) -> tuple[np.ndarray, float] | None:
        """Of what is added to the objective the curvature (D, D) of springs' prior, and its unit.

        In units of the latter it is minus the logarithm of a probability: `springs_tau` says by
        how much numbers scatter. None without one.
        """
        if not self.config.springs:
            return None
        unit = self.config.springs * self.unit(background_alone)
        return unit * self._of_springs(np.zeros(int(self.space.refined.sum()))).matrix, unit

    def of_weights(self, point: np.ndarray) -> Penalty:
        """About the frames' weights at a point (D,), in the objective's own unit.

        θ times their relative entropy to the given ones; and what holds their sum.
        """
        n, frames = len(point), self.space.of_frames
        gradient, matrix = np.zeros(n), np.zeros((n, n))
        if not frames.any():
            return Penalty(0.0, gradient, matrix)
        weights, theta = point[frames], _number(self.config.weights)
        own = sum_penalty(weights).plus(entropy_penalty(weights, self.given_weights).times(theta))
        gradient[frames], matrix[np.ix_(frames, frames)] = own.gradient, own.matrix
        return Penalty(own.value, gradient, matrix)

    def added(self, point: np.ndarray, background_alone: float | None) -> float:
        """To the objective at a point (D,), all in all."""
        return self.unit(background_alone) * self.value(point) + self.of_weights(point).value

    def added_about(self, point: np.ndarray, background_alone: float | None) -> Penalty:
        """The same about a point."""
        return self.about(point).times(self.unit(background_alone)).plus(self.of_weights(point))

    @property
    def given_weights(self) -> np.ndarray:
        """Of an ensemble's frames, w⁰: (F,)."""
        return np.asarray(self.modes.weights)

    def share(self, point: np.ndarray, background_alone: float | None) -> PriorShare:
        """What it adds to the objective at a point, to be kept."""
        amplitudes, b_factors, anisou = self.shares(point)
        unit, weight = self.unit(background_alone), _number(self.config.amplitudes)
        return PriorShare(
            amplitudes=weight,
            tau=self.config.tau,
            scale_of_source=self._log_normal(point)[1] if weight else None,
            b_factors=self.config.b_factors,
            of_amplitudes=unit * amplitudes,
            of_b_factors=unit * b_factors,
            anisou=self.config.anisou,
            of_anisou=unit * anisou,
            weights=_number(self.config.weights),
            of_weights=self.of_weights(point).value,
            springs=self.config.springs,
            springs_tau=self.config.springs_tau,
            of_springs=unit * self.config.springs * self._of_springs(point).value,
        )

    def b_slopes(self, point: np.ndarray) -> np.ndarray:
        """Of each atom's B in φ of each parameter: (N, D).

        ⟨|u|²⟩ is linear in the variance of a mode that is not correlated with others; else a
        central difference, exact where it is linear too.
        """
        parameters = self.space.parameters(point)
        own = B_OF_SQUARE * np.sum(self.modes.vectors**2, axis=2)
        columns = np.zeros((len(self.modes.structure), len(point)))
        left, of_frame = self._left(parameters), self._of_frame(parameters)
        for i, (name, place) in enumerate(self._refined()):
            if name == _RESIDUAL:
                columns[:, i] = left
            elif name == _MODES and self._alone[place]:
                columns[:, i] = own[place]
            elif name == FRAME_WEIGHT.name:
                columns[:, i] = B_OF_SQUARE * np.trace(of_frame(place), axis1=1, axis2=2)
            elif _moves(name):
                columns[:, i] = self._difference(self._moved, point, i)
            if name != _RESIDUAL:
                columns[left > 0, i] *= 1 - parameters.residual_b_fraction
        return columns

    def u_slopes(self, point: np.ndarray) -> Iterator[np.ndarray]:
        """Of each atom's ⟨u uᵀ⟩ in φ of each parameter in turn: (N, 3, 3).

        The residual's part is alike in all directions, and less where other motions are more.
        """
        parameters = self.space.parameters(point)
        left, of_frame = self._left(parameters), self._of_frame(parameters)
        for i, (name, place) in enumerate(self._refined()):
            columns = np.zeros((len(left), 3, 3))
            if name == _MODES and self._alone[place]:
                field = self.modes.vectors[place]
                columns = field[:, :, None] * field[:, None]
            elif name == FRAME_WEIGHT.name:
                columns = of_frame(place)
            elif name != _RESIDUAL and _moves(name):
                columns = self._difference(self._covariances, point, i)
            explained = B_OF_SQUARE * np.trace(columns, axis1=1, axis2=2)
            of_left = np.where(left > 0, -parameters.residual_b_fraction * explained, 0.0)
            own = left if name == _RESIDUAL else of_left
            yield columns + own[:, None, None] / (3 * B_OF_SQUARE) * np.eye(3)

    def _of_frame(self, parameters: Parameters) -> Callable[[int], np.ndarray]:
        """Of a frame, by how much ⟨u uᵀ⟩ grows with its weight: (N, 3, 3) Å².

        Of weights that are divided by their sum: (x_f − x̄)(x_f − x̄)ᵀ less its mean.
        """
        frames, weights = self.modes.frames, weights_of(self.modes, parameters.sampled)
        if frames is None or weights is None:
            return lambda frame: np.zeros((len(self.modes.structure), 3, 3))
        total = sum(parameters.frame_weight)
        mean = np.average(frames, axis=0, weights=weights)
        inside = inside_covariances(self.modes, parameters.sampled)

        def grown(frame: int) -> np.ndarray:
            away = frames[frame] - mean
            found: np.ndarray = (away[:, :, None] * away[:, None] - inside) / total
            return found

        return grown

    def _left(self, parameters: Parameters) -> np.ndarray:
        """Of the crystal's B by the others, which the residual takes a part of: (N,) Å²."""
        if not parameters.residual_b_fraction:
            return np.zeros(len(self.modes.structure))
        return np.nan_to_num(np.maximum(self._crystal() - self._moved(parameters), 0.0))

    def _difference(self, of: Callable[[Parameters], np.ndarray], point: np.ndarray, i: int) -> Any:
        """The slope in φ of parameter i of what the motions but the residual one make."""
        squared = self.space.squared
        low, high = phi_of(self.space.bounds.T, squared)[:, i]
        phi, step = phi_of(point, squared), STEP * (high - low)
        ends = max(phi[i] - step, low), min(phi[i] + step, high)
        moved = []
        for end in ends:
            other = point.copy()
            other[i] = values_of(np.where(np.arange(len(phi)) == i, end, phi), squared)[i]
            moved.append(of(self.space.parameters(other)))
        return np.asarray((moved[1] - moved[0]) / (ends[1] - ends[0]))

    def _directions(self, parameters: Parameters, slopes: Iterable[np.ndarray] = ()) -> Penalty:
        """Of motion beyond the crystal's ANISOU records."""
        crystal, known = crystal_covariances(self.modes)
        u = self._covariances(parameters)
        left = parameters.residual_b_fraction * self._left(parameters)
        u = u + left[:, None, None] / (3 * B_OF_SQUARE) * np.eye(3)
        return beyond(u[known], crystal[known], (one[known] for one in slopes))

    def _covariances(self, parameters: Parameters) -> np.ndarray:
        return np.asarray(displacement_covariances(self.modes, parameters))

    @property
    def _alone(self) -> np.ndarray:
        return _uncorrelated_modes(self.space)

    def _refined(self) -> list[tuple[str, int]]:
        """Of each refined parameter its name, and which of that name's numbers it is."""
        numbers = zip(self.space.numbers, self.space.refined, strict=True)
        return [one for one, yes in numbers if yes]

    def _log_normal(self, point: np.ndarray) -> tuple[Penalty, float]:
        return log_normal(*self.mode_variances(point), self.config.tau)

    def mode_variances(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """σ² (n,) of the refined modes at a point, and σ⁰ of their source."""
        places = [place for name, place in self._refined() if name == _MODES]
        return point[refined_modes(self.space)] ** 2, self.modes.amplitudes_A[places]

    def _crystal(self) -> np.ndarray:
        return np.asarray(self.modes.crystal_b_A2)

    def _known(self) -> np.ndarray:
        return np.nan_to_num(self._crystal()) > 0

    def _moved(self, parameters: Parameters) -> np.ndarray:
        return B_OF_SQUARE * mean_square_displacements(self.modes, parameters)

    def _b_factors(self, parameters: Parameters) -> np.ndarray:
        moved = self._moved(parameters)
        return moved + parameters.residual_b_fraction * self._left(parameters)


def log_ratios(prior: Prior, point: np.ndarray) -> np.ndarray:
    """ln σ/σ⁰ (n,) of the refined modes at a point, as the prior softens it."""
    variances, source = prior.mode_variances(point)
    return np.log(_softened(variances, source)) / 2 - np.log(source)


def penalty_of(prior: Prior | None, point: np.ndarray, score: Score) -> float:
    """What a prior adds to the objective at a point (D,); nothing without one."""
    return 0.0 if prior is None else prior.added(point, background_alone(score))


def background_alone(score: Score) -> float | None:
    """χ₀² of a likelihood; None of a CC."""
    return None if score.likelihood is None else score.likelihood.background_alone


def prior_of(config: PriorConfig, modes: Modes, space: SearchSpace, voxels: int) -> Prior | None:
    """The prior of a config; None where it has none.

    Raises
    ------
    InputError
        Where it is of parameters that are held, of modes without amplitudes, or of B-factors
        that are not known.
    """
    weighs = bool(space.of_frames.any())
    if config.weights and not weighs:
        raise InputError(
            "prior.weights: no weights of frames are refined, so that it says nothing: expected "
            '[structure] weights = "refine" with an ensemble, or leave it out'
        )
    if config.springs and "lattice_shape" not in space.refined_names:
        raise InputError(
            "prior.springs: no shapes of springs are refined, so that it says nothing: expected "
            "[parameters] lattice_shape = [low, high], or leave it out"
        )
    if not (config.amplitudes or config.b_factors or config.anisou or config.springs or weighs):
        return None
    if config.amplitudes:
        _require_amplitudes(modes, space)
    if config.b_factors:
        missing = why_no_b_factors(modes)
        if missing:
            raise InputError(
                'prior.b_factors: expected [crystal] file = "crystal.pdb", whose B-factors the '
                f"model's must not exceed: {missing}"
            )
        _require_motion("b_factors", space)
    if config.anisou:
        require_records(modes)
        _require_motion("anisou", space)
    return Prior(config, modes, space, voxels)


def _require_motion(name: str, space: SearchSpace) -> None:
    rows = [BY_NAME[name] for name, _ in space.numbers]
    if not any(r.motion for r, yes in zip(rows, space.refined, strict=True) if yes):
        raise InputError(
            f"prior.{name}: every motion is held, so that nothing depends on it: give one a range "
            "[low, high], or leave the prior out"
        )


def _moves(name: str) -> bool:
    """Whether atoms move more, or less, by a parameter."""
    return bool(BY_NAME[name].motion) or name == "screw_correlation"


def _require_amplitudes(modes: Modes, space: SearchSpace) -> None:
    if not len(modes.amplitudes_A):
        raise InputError(
            "prior.amplitudes: the model has no modes: expected [structure] modes, or leave it out"
        )
    refined = space.refined[: len(modes.amplitudes_A)]
    if refined.sum() < 2:
        held = "are held" if not refined.any() else "but one are held, and their scale is free"
        raise InputError(
            f"prior.amplitudes: the modes' amplitudes {held}, so that it says nothing: expected "
            "[parameters] mode_amplitude_A = [low, high], or leave it out"
        )
    without = np.flatnonzero(refined & ~(modes.amplitudes_A > 0))
    if len(without):
        raise InputError(
            f"prior.amplitudes: mode {without[0] + 1} has no amplitude in its source "
            f"({len(without)} of {refined.sum()} have none): expected modes with amplitudes, or "
            "leave it out"
        )


def refined_modes(space: SearchSpace) -> np.ndarray:
    """Which refined parameters are modes' amplitudes: their places (n,)."""
    names = [name for name, _ in space.numbers]
    return np.flatnonzero(np.array(names)[space.refined] == _MODES)


def _uncorrelated_modes(space: SearchSpace) -> np.ndarray:
    """Mask (M,) of the modes that are correlated with no other."""
    sizes = dict(space.layout)
    pairs = sizes.get("mode_correlation") or 0
    n_correlated = round((1 + np.sqrt(1 + 8 * pairs)) / 2) if pairs else 0
    return np.arange(sizes.get(_MODES) or 0) >= n_correlated


def _number(weight: float | str | None) -> float:
    """A weight that is chosen later counts for nothing until then."""
    return 0.0 if isinstance(weight, str) else weight or 0.0
