"""A crystal in the plane whose molecules have two shapes and sit loosely on their lattice.

Every molecule is in one of two conformations, by chance and independently of the others, and is
displaced as a whole; displacements of neighbours are alike, correlated as e^{−|R|/γ}. So does
the paper introduce diffuse scattering (Mazumder & Ayyer, bioRxiv 2021.02.11.429988, Fig. 1): the
loose lattice scatters into halos around the Bragg peaks, and what is left between them is the
Fourier transform of what differs between the two shapes.

The crystal is simulated, molecule by molecule, and is also known in closed form.
"""

from dataclasses import dataclass

import numpy as np

from hpc_diffuser.crystal.lattice import distance_to_bragg
from hpc_diffuser.maps.statistics import correlation_sums, shell_edges, shell_index, shell_mean_cc
from hpc_diffuser.maps.target_options import HALO_RADIUS
from hpc_diffuser.motion.random_numbers import generator
from hpc_diffuser.scattering.halos import halo_factor

_SEED = 20210211
_D_MIN_A, _SHELLS = 2.4, 10  # a circle that the example's map holds
_ELSEWHERE_A = 1e4  # where the next plane of the three-dimensional lattice would be


@dataclass(frozen=True)
class TwoStateCrystal:
    """A plane crystal of N x N cells, repeated periodically.

    Attributes
    ----------
    edges_A : 2 floats, Å
        Of the rectangular unit cell.
    conformations : (2, A, 2) float, Å
        Positions of the molecule's A atoms in either state.
    atom_width_A : float, Å
        Atoms are Gaussians: f = exp(−q² width²/2).
    sigma_A, gamma_A : float, Å
        Rms displacement of a molecule along either axis, and its correlation length.
    cells : int
        N.
    divisions : int
        Samples per reciprocal-lattice unit. It divides N: the samples are reciprocal-lattice
        points of the whole.
    extent : 2 ints
        Largest index of a sample along h and k.
    """

    edges_A: tuple[float, float]
    conformations: np.ndarray
    atom_width_A: float
    sigma_A: float
    gamma_A: float
    cells: int
    divisions: int
    extent: tuple[int, int]

    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Fractional Miller indices of the samples: h ≥ 0, and k.

        The other half of the plane is Friedel's.
        """
        h, k = self.extent
        return np.arange(h + 1) / self.divisions, np.arange(-k, k + 1) / self.divisions

    def q_squared(self) -> np.ndarray:
        """|q|² at the samples, Å⁻²: (H, K)."""
        h, k = (2 * np.pi * x / a for x, a in zip(self.axes(), self.edges_A, strict=True))
        return h[:, None] ** 2 + k**2

    def transforms(self) -> np.ndarray:
        """F of either state at the samples: (2, H, K) complex."""
        factor = np.exp(-self.q_squared() * self.atom_width_A**2 / 2)
        return factor * np.array([self.waves(atoms) for atoms in self.conformations])

    def waves(self, positions: np.ndarray) -> np.ndarray:
        """Σ e^{iq·r} over positions (P, 2) Å at the samples: (H, K) complex.

        The wave is a product of one along h and one along k: a product of matrices.
        """
        h, k = (
            np.exp(2j * np.pi * np.outer(x / a, r))
            for x, a, r in zip(self.axes(), self.edges_A, positions.T, strict=True)
        )
        return h @ k.T


@dataclass(frozen=True)
class TwoStateMaps:
    """Diffuse intensities per molecule at the samples (H, K), of the half plane h ≥ 0.

    Attributes
    ----------
    h, k : (H,) and (K,) float
        Fractional Miller indices.
    inverse_d : (H, K) float, Å⁻¹
    simulated : (H, K) float
        Of the crystal, the mean over `realisations`, without its Bragg peaks.
    crystal : (H, K) float
        The same in closed form.
    molecule : (H, K) float
        Of a molecule on its own: both shapes, and displaced.
    shapes : (H, K) float
        Of a molecule on its own that only changes its shape: |F₁ − F₂|²/4.
    between_halos : (H, K) bool
        Farther than 3/7 of a reciprocal-lattice unit from every Bragg peak.
    realisations : int
    """

    h: np.ndarray
    k: np.ndarray
    inverse_d: np.ndarray
    simulated: np.ndarray
    crystal: np.ndarray
    molecule: np.ndarray
    shapes: np.ndarray
    between_halos: np.ndarray
    realisations: int

    def agreement(self) -> tuple[float, float]:
        """CC of the simulated crystal with `shapes`: between the halos, and everywhere."""
        inside = self.inverse_d <= 1 / _D_MIN_A
        return tuple(
            self.correlation(self.simulated, self.shapes, where)
            for where in (inside & self.between_halos, inside)
        )

    def correlation(self, x: np.ndarray, y: np.ndarray, where: np.ndarray) -> float:
        """Mean over resolution shells of the CC of two maps, as in a fit, in a part (H, K)."""
        shells = shell_index(self.inverse_d[where], shell_edges(np.inf, _D_MIN_A, _SHELLS))
        return shell_mean_cc(correlation_sums(x[where], y[where], None, shells, _SHELLS))


def two_state_example(realisations: int = 100) -> TwoStateMaps:
    """The maps of `example_crystal`, of which so many are simulated."""
    crystal = example_crystal()
    h, k = crystal.axes()
    shapes, molecule, whole = closed_forms(crystal)
    distances = distance_to_bragg(_samples(crystal), (crystal.divisions,) * 3)
    return TwoStateMaps(
        h=h,
        k=k,
        inverse_d=np.sqrt(crystal.q_squared()) / (2 * np.pi),
        simulated=simulate_crystals(crystal, realisations, _SEED),
        crystal=whole,
        molecule=molecule,
        shapes=shapes,
        between_halos=distances > HALO_RADIUS + 1e-9,
        realisations=realisations,
    )


def example_crystal() -> TwoStateCrystal:
    """Ten atoms, of which three have two places; cells of 12 Å x 11 Å, twelve samples a unit."""
    ring = [[0, 0], [1, 0], [1.5, 0.87], [1, 1.73], [0, 1.73], [-0.5, 0.87], [2, 0]]
    arms = [[-1, 0], [-1.5, -0.87], [-1, -1.73]], [[-1, 1.73], [-2, 1.73], [-2.5, 0.87]]
    return TwoStateCrystal(
        edges_A=(12.0, 11.0),
        conformations=1.4 * np.array([ring + arm for arm in arms]),
        atom_width_A=0.35,
        sigma_A=0.25,
        gamma_A=40.0,
        cells=48,
        divisions=12,
        extent=(60, 60),
    )


def closed_forms(crystal: TwoStateCrystal) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Diffuse intensity of the shapes alone, of one molecule, and of the crystal: (H, K) each.

    With the mean ⟨F⟩ = (F₁ + F₂)/2 and ⟨|F|²⟩ − |⟨F⟩|² = |F₁ − F₂|²/4,

        I_molecule = |F₁ − F₂|²/4 + |⟨F⟩|² (1 − e^{−q²σ²}),
        I_crystal = I_molecule + |⟨F⟩|² e^{−q²σ²} H(q)      (`halos`).

    The lattice is endless here; the periodic one differs by e^{−N a/2γ}.
    """
    f1, f2 = crystal.transforms()
    mean_squared = np.abs(f1 + f2) ** 2 / 4
    shapes = np.abs(f1 - f2) ** 2 / 4
    q2 = crystal.q_squared()
    x = q2 * crystal.sigma_A**2
    molecule = shapes - np.expm1(-x) * mean_squared
    halo = halo_factor(
        _samples(crystal).reshape(-1, 3),
        (crystal.divisions, crystal.divisions, 1),
        (*crystal.edges_A, _ELSEWHERE_A, 90.0, 90.0, 90.0),
        q2.ravel(),
        crystal.sigma_A,
        crystal.gamma_A,
    )
    return shapes, molecule, molecule + mean_squared * np.exp(-x) * halo.reshape(q2.shape)


def simulate_crystals(crystal: TwoStateCrystal, realisations: int, seed: int) -> np.ndarray:
    """Mean diffuse intensity per molecule of so many crystals: (H, K) float.

    |Σ_R F_R e^{iq·(R+t_R)} − its mean|², where the mean over all crystals is N² ⟨F⟩ e^{−q²σ²/2}
    at the Bragg peaks, and zero elsewhere. So the Bragg peaks are left out without an error.
    """
    transforms = crystal.transforms()
    bragg = distance_to_bragg(_samples(crystal), (crystal.divisions,) * 3) < 1e-9
    damping = np.exp(-crystal.q_squared() * crystal.sigma_A**2 / 2)
    mean = bragg * crystal.cells**2 * damping * transforms.mean(axis=0)
    total = np.zeros(mean.shape)
    for i in range(realisations):
        states, places = random_crystal(crystal, generator(seed, i))
        waves = [crystal.waves(places[states == state]) for state in (0, 1)]
        amplitude = transforms[0] * waves[0] + transforms[1] * waves[1]
        total += np.abs(amplitude - mean) ** 2
    return total / (realisations * crystal.cells**2)


def random_crystal(
    crystal: TwoStateCrystal, stream: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """State (M,) and origin (M, 2) Å of each of the crystal's M = N² molecules.

    The displacements have exactly the covariance σ² e^{−|R|/γ}, R to the nearest periodic image:
    white noise times the square root of the covariance's spectrum, which must not be negative.
    """
    n = crystal.cells
    states = stream.integers(0, 2, n * n)
    root = np.sqrt(covariance_spectrum(crystal))
    noise = np.fft.fft2(stream.standard_normal((2, n, n)))
    displacements = np.fft.ifft2(root * noise).real.reshape(2, -1).T
    cells = np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), -1).reshape(-1, 2)
    return states, cells * np.array(crystal.edges_A) + displacements


def covariance_spectrum(crystal: TwoStateCrystal) -> np.ndarray:
    """Fourier transform of the displacements' periodic covariance: (N, N) float, Å².

    Raises
    ------
    ValueError
        Where it is negative: no field has such a covariance, because the crystal is too small.
    """
    steps = np.fft.fftfreq(crystal.cells, 1 / crystal.cells)
    a, b = crystal.edges_A
    distances = np.hypot(a * steps[:, None], b * steps)
    covariance = crystal.sigma_A**2 * np.exp(-distances / crystal.gamma_A)
    spectrum = np.fft.fft2(covariance).real
    if spectrum.min() < 0:
        raise ValueError(
            f"{crystal.cells} cells are too few for displacements correlated over "
            f"{crystal.gamma_A:g} Å"
        )
    return spectrum


def _samples(crystal: TwoStateCrystal) -> np.ndarray:
    """Indices of the samples in three dimensions, l = 0: (H, K, 3) int."""
    h, k = crystal.extent
    grid = np.meshgrid(np.arange(h + 1), np.arange(-k, k + 1), [0], indexing="ij")
    return np.concatenate(grid, axis=-1)
