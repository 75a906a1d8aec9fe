"""Every transform against the sum over atoms in double precision: what `Transform` promises."""

import numba
import numpy as np
import pytest
from builders import TRICLINIC, direct_sum, random_structure, s_vectors

from hpc_diffuser.crystal.atom_factors import atom_factors
from hpc_diffuser.crystal.lattice import HklGrid, grid_to_resolution
from hpc_diffuser.scattering.exact_sums import CHUNK
from hpc_diffuser.scattering.shapes import DRAWING_ERROR
from hpc_diffuser.scattering.slab import BLOCK, slab
from hpc_diffuser.scattering.transform import TRANSFORMS

# Rms error of F over its rms. Single precision adds up to less than 1e-6; an element is drawn to
# `DRAWING_ERROR`, and in a molecule of few atoms it may count for more.
ERRORS = {"direct": 3e-6, "density": 2 * DRAWING_ERROR}
D_MIN = 2.2

every_transform = pytest.mark.parametrize("name", TRANSFORMS)


class Case:
    """A molecule, a slab, a transform by its name, and samples to look at."""

    def __init__(self, name, n_atoms=37, divisions=(3, 2.5, 5), planes=None, factors=None):
        elements = ("H", "C", "N", "O", "S")
        self.structure = random_structure(np.random.default_rng(2), n_atoms, elements=elements)
        self.grid: HklGrid = grid_to_resolution(TRICLINIC, divisions, D_MIN)
        planes = np.arange(self.grid.extent[0] + 1) if planes is None else planes
        self.slab = slab(self.grid, D_MIN, planes)
        self.transform = TRANSFORMS[name](self.structure, self.slab, factors)
        self.error = ERRORS[name]
        indices = self.grid.indices_between(np.inf, D_MIN)
        indices = indices[np.isin(indices[:, 0], planes)]
        self.indices = indices[:: max(1, len(indices) // 300)]
        self.s = s_vectors(self.grid, self.indices)

    def wiggled(self, n):
        """n configurations with every coordinate displaced by 0.3 Å: (n, N, 3)."""
        noise = np.random.default_rng(6).normal(0, 0.3, (n, len(self.structure), 3))
        return self.structure.positions + noise

    def at_samples(self, real, imaginary):
        """Stored values at the samples, with the phase of the origin put back: (V,) complex."""
        rows = self.slab.position_of(self.indices)
        phases = np.exp(2j * np.pi * self.s @ self.transform.origin)
        return (real[rows] + 1j * imaginary[rows]) * phases

    def agrees(self, found, expected, scale):
        """Equal within the transform's error of something as large as `scale`."""
        assert np.sqrt(np.mean(np.abs(found - expected) ** 2)) <= self.error * scale


def rms(values):
    """Root of the mean square of complex numbers."""
    return np.sqrt(np.mean(np.abs(values) ** 2))


@every_transform
@pytest.mark.parametrize("n_atoms", [1, 2, 37])
@pytest.mark.parametrize("divisions", [(1, 1, 1), (3, 2.5, 5), (7, 4, 1)], ids=str)
def test_structure_factors_are_sums_over_atoms(name, n_atoms, divisions):
    """Σ o f e^{2πi s·(r − r₀)} of the structure, which is the mean, and of another place."""
    case = Case(name, n_atoms, divisions)
    other = case.wiggled(1)[0]
    for found, positions in (
        (case.transform.mean, case.structure.positions),
        (case.transform.structure_factors(other), other),
    ):
        expected = direct_sum(case.structure, case.s, positions[None])[0]
        case.agrees(case.at_samples(*found), expected, rms(expected))


@every_transform
@pytest.mark.parametrize("n_samples", [0, 1, 3, CHUNK, 2 * CHUNK + 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_moments_are_weighted_sums(name, n_samples, weighted):
    """Σ w D and Σ w |D|², D = F − F₀, term by term; a weight may be 0, or any size.

    D is a difference of two F, and |D|² has twice the relative error of D.
    """
    case = Case(name)
    configurations = case.wiggled(n_samples)
    weights = np.random.default_rng(1).uniform(0, 5, n_samples) if weighted else None
    if weighted:
        weights[1::3] = 0
    found = case.transform.moments(configurations, weights)
    assert (found.shape, found.dtype) == ((3, case.slab.size), np.float64)
    counts = np.ones(n_samples) if weights is None else weights
    still = direct_sum(case.structure, case.s)
    moved = direct_sum(case.structure, case.s, configurations).reshape(n_samples, len(case.s))
    scale = 2 * counts.sum() * rms(still)
    case.agrees(case.at_samples(*found[:2]), counts @ (moved - still), scale)
    squares = found[2, case.slab.position_of(case.indices)]
    case.agrees(squares, counts @ np.abs(moved - still) ** 2, 2 * scale * rms(still))


@every_transform
def test_weights_of_one_change_no_bit(name):
    """An ensemble whose members count alike is that without weights."""
    case = Case(name)
    configurations = case.wiggled(7)
    plain = case.transform.moments(configurations)
    assert case.transform.moments(configurations, np.ones(7)).tobytes() == plain.tobytes()


@every_transform
def test_configurations_add_up_in_any_order(name):
    """Two by two, the last ones first: the bits of all of a chunk at once."""
    case = Case(name)
    configurations = case.wiggled(CHUNK - 1)
    weights = np.arange(1.0, CHUNK, dtype=np.float32)
    sums = case.transform.sums(weights.sum())
    for first in reversed(range(0, CHUNK - 1, 2)):
        own = slice(first, first + 2)
        case.transform.add_moments(configurations, weights, sums, own)
    whole = case.transform.moments(configurations, weights)
    assert sums.values.tobytes() == whole.tobytes()


@every_transform
def test_as_many_weights_as_configurations(name):
    """The kernels would read behind the end of fewer."""
    case = Case(name)
    for n in (2, 4, 6):
        with pytest.raises(ValueError, match="broadcast"):
            case.transform.moments(case.wiggled(5), np.ones(n))


@every_transform
def test_configurations_equal_to_the_mean_have_no_moments(name):
    """D is 0 but for the last digits of F, also where it counts much."""
    case = Case(name)
    still = np.stack([case.structure.positions] * 3)
    moments = case.transform.moments(still, np.array([1.0, 2.0, 3.0]))
    assert np.abs(moments).max() < 1e-5 * rms(direct_sum(case.structure, case.s))


@every_transform
def test_other_factors(name):
    """Atoms in solvent with B-factors of their own: as if made with them, and back again."""
    densest = atom_factors(Case(name).structure, 0.334, 40.0)
    case = Case(name, factors=densest)
    b = np.linspace(0, 40, len(case.structure)).round(1)
    dimmed = case.transform.with_factors(atom_factors(case.structure, b_factors_A2=b))
    damping = np.exp(-np.outer(np.sum(case.s**2, axis=1), b) / 4)
    scale = rms(direct_sum(case.structure, case.s))
    case.agrees(case.at_samples(*dimmed.mean), sum_over_atoms(case, damping), scale)
    again = case.at_samples(*dimmed.with_factors(densest).mean)
    case.agrees(again, case.at_samples(*case.transform.mean), scale)


def sum_over_atoms(case, damping):
    """F with a factor for each atom at each sample (V, N): atom by atom."""
    total = np.zeros(len(case.s), complex)
    for atom in range(len(case.structure)):
        alone = case.structure.select(np.array([atom]))
        total += damping[:, atom] * direct_sum(alone, case.s)
    return total


@every_transform
def test_blocks_have_the_same_bits_in_any_slab(name):
    """What a block of planes holds does not depend on which others a rank computes beside it."""
    whole = Case(name, divisions=(11, 3, 3))
    blocks = whole.slab.h // BLOCK
    assert blocks.max() >= 3
    configurations, weights = whole.wiggled(5), np.arange(1.0, 6.0)
    mean = np.stack(whole.transform.mean)
    moments = whole.transform.moments(configurations, weights)
    for chosen in ([1], [0, 2], [blocks.max()]):
        planes = whole.slab.h[np.isin(blocks, chosen)]
        part = Case(name, divisions=(11, 3, 3), planes=planes).transform
        own = np.concatenate([np.arange(*whole.slab.offsets[p : p + 2]) for p in planes])
        assert np.stack(part.mean).tobytes() == mean[:, own].tobytes()
        assert part.moments(configurations, weights).tobytes() == moments[:, own].tobytes()


@every_transform
@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="needs two threads")
def test_threads_give_the_same_bits(name):
    """Each plane, block and density is made by one thread."""
    case = Case(name)
    configurations, weights = case.wiggled(6), np.arange(6.0)
    two = case.transform.moments(configurations, weights)
    numba.set_num_threads(1)
    try:
        one = case.transform.moments(configurations, weights)
    finally:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    assert one.tobytes() == two.tobytes()


@every_transform
def test_slab_without_planes(name):
    """A rank that has nothing to do holds nothing."""
    case = Case(name, planes=np.empty(0, np.int64))
    assert case.slab.size == 0
    assert case.transform.moments(case.wiggled(3), np.ones(3)).shape == (3, 0)
    assert [part.shape for part in case.transform.mean] == [(0,), (0,)]


@every_transform
def test_operations_add_up_over_slabs(name):
    """What two ranks do between them is what one does alone."""
    whole = Case(name, divisions=(11, 3, 3))
    first = whole.slab.h < 2 * BLOCK
    parts = [Case(name, divisions=(11, 3, 3), planes=whole.slab.h[p]) for p in (first, ~first)]
    flops = [part.transform.flops for part in parts]
    assert min(flops) > 0
    assert sum(flops) == pytest.approx(whole.transform.flops, rel=1e-12)


@every_transform
def test_slopes_by_covariances(name):
    """The transpose of dressed transforms, against differences of sums over atoms.

    Drawn atoms are differentiated with an error of their own.
    """
    case, exact, rng = Case(name), Case("direct"), np.random.default_rng(8)
    roots = rng.normal(0, 0.3, (len(case.structure), 3, 3))
    covariances = roots @ roots.swapaxes(1, 2)
    weights, rows = rng.normal(size=(2, len(roots))), case.slab.position_of(case.indices)
    pulls = np.zeros((2, case.slab.size), np.complex64)
    at_samples = rng.normal(size=(2, len(rows), 2)) @ [1, 1j]
    # λ* dT is the same whatever both have their phase about.
    pulls[:, rows] = at_samples * np.exp(-2j * np.pi * case.s @ case.transform.origin)

    def total(changed):
        found = exact.transform.dressed(changed, weights)[:, rows]
        return float(np.sum(at_samples.conj() * found).real)

    parts = case.transform.dressed_slopes(covariances, weights, pulls)
    assert parts.shape == (len(case.slab.blocks) - 1, len(roots), 3, 3)
    found, allowed = parts.sum(axis=0), 1e-4 if name == "direct" else 3e-3
    np.testing.assert_allclose(found, found.swapaxes(1, 2), atol=1e-5 * np.abs(found).max())
    for a, i, j in ((0, 0, 0), (5, 1, 2), (36, 2, 2)):
        change = np.zeros_like(covariances)
        change[a, i, j] = change[a, j, i] = 0.02
        expected = (total(covariances + change) - total(covariances - change)) / 0.04
        slope = np.sum(found * change) / 0.02
        assert slope == pytest.approx(expected, abs=allowed * np.abs(found).max()), (a, i, j)
