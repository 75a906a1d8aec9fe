"""The objective about an answer as a parabola, and how zones of the data pull at its slope."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import lsq_linear

from hpc_diffuser.fit.errors.zone_sums import ZoneSums

_RANK = 1e-9  # of a matrix of diagonal 1: parameters below pull alike
LEAST_EIGENVALUE = 1e-6  # of a Hessian of diagonal 1: below, a direction is flat


@dataclass(frozen=True)
class Bend:
    """The objective about a point, in D parameters.

    Attributes
    ----------
    gradient : (D,) float
        With the prior's, where there is one.
    hessian : (D, D) float
        Of the data alone.
    pulls : (Z, D) float
        Of each zone, by how much the gradient changes where the zone counts twice as much.
    voxels : int
        That were scored.
    by_voxel : (D, D) float or None
        Sum of the products of what single voxels pull by, as if they were independent.
    sums : ZoneSums or None
        What gradient and Hessian are made of, zone by zone.
    neighbours : (N, 3) int or None
        Along which axis two zones have a face in common, and which: each pair twice.
    unit : float
        Of the objective, where that of `sums` is 1 − CC.
    prior : (D, D) float or None
        Curvature of what is added to the objective whatever the data are.
    stated : (D, D) float or None
        Of the prior that part which says itself how far parameters scatter: see `covariance`.
    stated_unit : float
        What that part of the objective is minus the logarithm of a probability times.
    systematic : (Z, D) float or None
        What of the pulls is a prior's doing, and no noise; see `less_the_prior`.
    """

    gradient: np.ndarray
    hessian: np.ndarray
    pulls: np.ndarray
    voxels: int = 0
    by_voxel: np.ndarray | None = None
    sums: ZoneSums | None = None
    neighbours: np.ndarray | None = None
    unit: float = 1.0
    prior: np.ndarray | None = None
    systematic: np.ndarray | None = None
    stated: np.ndarray | None = None
    stated_unit: float = 0.0

    @property
    def noise(self) -> np.ndarray:
        """(Z, D) pulls, less what a prior does to them."""
        return self.pulls if self.systematic is None else self.pulls - self.systematic

    @property
    def total(self) -> np.ndarray:
        """(D, D) curvature of the data and the prior."""
        return self.hessian if self.prior is None else self.hessian + self.prior

    @property
    def meat(self) -> np.ndarray:
        """(D, D) covariance of the gradient, from one data set to another: Σ g gᵀ of the zones.

        Times what zones with a face in common share, see `across_faces`.
        """
        n_zones, noise = len(self.pulls), self.noise
        meat = noise.T @ noise * n_zones / max(n_zones - 1, 1)
        return meat if self.neighbours is None else meat * self.across_faces()

    def inflations(self) -> np.ndarray | None:
        """(Z,) of each zone, gᵀ M₀⁻¹ g: how often its voxels say the same; see `effective_number`.

        None where single voxels are not known, or nothing pulls.
        """
        if self.by_voxel is None or not len(self.gradient):
            return None
        whitened = self._whitened()
        return None if whitened is None else (whitened**2).sum(axis=1)

    def across_faces(self) -> float:
        """By how much voxels on either side of zones' faces make the gradient vary more; 1 or more.

        With t = Σ_z g_zᵀM₀⁻¹g_z of pairs of voxels inside zones, and c_a the same sum over zones
        and their neighbours along the axis a, Π_a (1 + c_a/t): correlations along the axes that
        are independent of each other have that product, in which edges and corners are too. A
        mean over all parameters, as that of one is hardly known.
        """
        shared = self._shared()
        return 1.0 if shared is None else max(1.0, float(np.prod(_grown(shared.sum(axis=0)))))

    def parts_of_inflation(self) -> np.ndarray | None:
        """(Z,) what each zone counts in the logarithm of t Π_a (1 + c_a/t), relative to all: its
        scatter is that number's. None as of `inflations`, or where nothing pulls.
        """
        inside = self.inflations()
        if inside is None or not inside.any():
            return None
        parts, shared = inside / inside.sum(), self._shared()
        if shared is None:
            return parts
        total = shared.sum(axis=0)
        of_faces: np.ndarray = (shared - parts[:, None] * total) @ (1 / _grown(total))
        return parts + of_faces

    def _shared(self) -> np.ndarray | None:
        """(Z, 3) of c_a/t what each zone counts; None where no faces are known, or nothing pulls.

        Each pair is there twice, once of either zone.
        """
        whitened = self._whitened()
        if whitened is None or self.neighbours is None or not (whitened != 0).any():
            return None
        axis, one, other = self.neighbours.T
        products = (whitened[one] * whitened[other]).sum(axis=1) / (whitened**2).sum()
        shared = np.bincount(3 * one + axis, products, 3 * len(whitened))
        return shared.reshape(-1, 3)

    def _whitened(self) -> np.ndarray | None:
        """The pulls (Z, D) in coordinates in which single voxels' covariance M₀ is 1."""
        if self.by_voxel is None or (np.diag(self.by_voxel) <= 0).any():
            return None
        scale = 1 / np.sqrt(np.diag(self.by_voxel))
        values, vectors = np.linalg.eigh(self.by_voxel * np.outer(scale, scale))
        known = values > _RANK
        whitened: np.ndarray = self.noise * scale @ vectors[:, known] / np.sqrt(values[known])
        return whitened

    @property
    def scatter(self) -> float:
        """The gradient's variance over the curvature, 2 O/N_eff of a right model.

        It turns an objective O into minus the logarithm of a likelihood, O/scatter. tr A⁻¹M over
        tr A⁻¹H, A = H + P: in whatever coordinates, a mean over directions in which each counts
        for as much as data, and not a prior, know of it. Of those in which the data alone bend
        downwards, as where the model is wrong and a prior holds it, they know nothing: these are
        left out. 0 where there are no others.
        """
        scale, values, directions = self._scaled()
        known = values >= LEAST_EIGENVALUE
        ways = scale[:, None] * directions[:, known] / np.sqrt(values[known])
        bent, turned = np.linalg.eigh(ways.T @ self.hessian @ ways)
        ways, upwards = ways @ turned, bent > LEAST_EIGENVALUE
        scattered = np.einsum("ik,ij,jk->k", ways, self.meat, ways)
        return float(scattered[upwards].sum() / bent[upwards].sum()) if upwards.any() else 0.0

    def less_the_prior(self) -> "Bend":
        """The same, with what a prior does to the pulls known.

        Where a prior holds the answer beside the data's own minimum, zones pull back, each as it
        is curved, whatever their noise. Taken for scatter this would be the more, the fewer and
        larger the blocks of zones are.
        """
        if self.prior is None or self.sums is None or not len(self.gradient):
            return self
        return replace(self, systematic=self.unit * self.sums.held_back())

    def newton_step(self) -> np.ndarray:
        """(D,) from here to the minimum, if the objective were quadratic."""
        return -np.linalg.solve(self.total, self.gradient)

    def step_within(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """(D,) to the least within bounds (D,) of the step; Newton's where that is inside."""
        step = self.newton_step()
        if ((step >= low) & (step <= high)).all():
            return step
        root = np.linalg.cholesky(self.total)
        wanted = -np.linalg.solve(root, self.gradient)
        return lsq_linear(root.T, wanted, (low, high), method="bvls").x

    def covariance(self) -> np.ndarray:
        """(D, D) of the minimum, from one set of zones to another: H⁻¹ (Σ g gᵀ) H⁻¹.

        Zones that scatter, each with all its voxels, as independent draws; whether or not the
        model is right (Huber 1967; White 1980, Econometrica 48, 817; by clusters, Liang & Zeger
        1986, Biometrika 73, 13). Of a prior of curvature P, where the parameters scatter by it
        as by data that say as much: A⁻¹ (Σ g gᵀ + s P) A⁻¹, A = H + P, s the `scatter`; where
        the model is right that is s A⁻¹, the curvature of the posterior. Of a prior that states
        its own scatter, −u ln p of curvature Q, parameters scatter by u Q⁻¹, whatever s is: u Q
        in the place of s Q.
        """
        inverse = np.linalg.inv(self.total)
        meat = self.meat
        if self.prior is not None:
            meat = meat + self.scatter * self.prior
        if self.stated is not None:
            meat = meat + (self.stated_unit - self.scatter) * self.stated
        return inverse @ meat @ inverse.T

    def flat_directions(self) -> np.ndarray:
        """In which the objective does not rise: (D, F), in coordinates of curvature ±1 or 0."""
        values, directions = self._scaled()[1:]
        return directions[:, values < LEAST_EIGENVALUE]

    def along_flat(self) -> np.ndarray:
        """The same as steps of the parameters: (D, F)."""
        return self._scaled()[0][:, None] * self.flat_directions()

    def determined(self, some: np.ndarray) -> "Bend":
        """In some parameters (d,), the others where the objective is least, flat directions apart.

        With A⁺, the inverse of the curvature but for flat directions, the ways W = A⁺_·k (A⁺_kk)⁻¹
        go along one of the d parameters each, and the others follow: the covariance is that of the
        d out of all, where no flat direction has a part in them.
        """
        scale, values, directions = self._scaled()
        known = values >= LEAST_EIGENVALUE
        inverse = (directions[:, known] / values[known]) @ directions[:, known].T
        inverse *= np.outer(scale, scale)
        ways = inverse[:, some] @ np.linalg.inv(inverse[np.ix_(some, some)])
        return self.mixed(ways)

    def _scaled(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Units (D,) in which the curvature's diagonal is ±1 or 0; its eigenvalues and -vectors."""
        diagonal = np.abs(np.diag(self.total))
        scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        return scale, *np.linalg.eigh(self.total * np.outer(scale, scale))

    def mixed(self, ways: np.ndarray) -> "Bend":
        """Along ways (D, d) of the parameters."""
        return Bend(
            self.gradient @ ways,
            ways.T @ self.hessian @ ways,
            self.pulls @ ways,
            self.voxels,
            None if self.by_voxel is None else ways.T @ self.by_voxel @ ways,
            None if self.sums is None else self.sums.mixed(ways),
            self.neighbours,
            self.unit,
            None if self.prior is None else ways.T @ self.prior @ ways,
            None if self.systematic is None else self.systematic @ ways,
            None if self.stated is None else ways.T @ self.stated @ ways,
            self.stated_unit,
        )

    def flat_direction(self) -> np.ndarray | None:
        """The direction (D,) in which the objective does not rise; None at a minimum."""
        diagonal = np.diag(self.total)
        if (diagonal <= 0).any():
            return (diagonal <= 0).astype(float)
        scale = 1 / np.sqrt(diagonal)
        values, directions = np.linalg.eigh(self.total * np.outer(scale, scale))
        return directions[:, 0] if values[0] < LEAST_EIGENVALUE else None

    def of(self, some: np.ndarray) -> "Bend":
        """With some of the parameters, by their places (d,), only; the others are held."""
        both = np.ix_(some, some)
        return Bend(
            self.gradient[some],
            self.hessian[both],
            self.pulls[:, some],
            self.voxels,
            None if self.by_voxel is None else self.by_voxel[both],
            None if self.sums is None else self.sums.of(some),
            self.neighbours,
            self.unit,
            None if self.prior is None else self.prior[both],
            None if self.systematic is None else self.systematic[:, some],
            None if self.stated is None else self.stated[both],
            self.stated_unit,
        )


def _grown(shared: np.ndarray) -> np.ndarray:
    """1 + c_a/t of each axis: what faces share by chance is taken as half of all at most."""
    grown: np.ndarray = 1 + np.maximum(shared, -0.5)
    return grown
