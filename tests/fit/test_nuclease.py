"""A measured map of a crystal that is not P1: staphylococcal nuclease, P 41, one voxel a peak.

Independent figures, from a program of other authors' making on the same map (4/m averages,
10-2.5 Å, shells of 0.01 Å⁻¹, no solvent): rigid-body translation with σ = 0.4 Å, CC 0.48; with
the indices not matched to the model, 0.04.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpc_diffuser.commands.reindexing_search import decided, search
from hpc_diffuser.crystal.lattice import HklGrid
from hpc_diffuser.fit.scoring import Comparison
from hpc_diffuser.io.structures.files import read_structure
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.reindexing import parse_reindexing, reindexed, reindexing_text
from hpc_diffuser.maps.target import Target, TargetOptions, cut_map, make_target
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model
from hpc_diffuser.scattering.molecule import Computation

MASKED = -32768
SHELLS = 30  # of 0.01 Å⁻¹ from 1/10 to 1/2.5
OPTIONS = TargetOptions(10.0, 2.5, halo_radius=0.0, n_shells=SHELLS)


@pytest.fixture(scope="module")
def nuclease(data: Path) -> Modes:
    """The structure, without modes."""
    structure, crystal = read_structure(data / "nuclease" / "1stn.pdb")
    assert crystal[1] == "P 41"
    return Modes(structure, np.empty((0, len(structure), 3)), np.empty(0), *crystal)


def as_filed(data: Path, unit_cell) -> DiffuseMap:
    """The .lat file: sizes, ranges, then values with x fastest."""
    raw = (data / "nuclease" / "snc_diffuse_reference.lat").read_bytes()
    sizes = np.frombuffer(raw, "<u4", 3)
    ranges = np.frombuffer(raw, "<f4", 6, 12).reshape(3, 2)
    values = np.frombuffer(raw, "<f4", offset=36).reshape(sizes[::-1]).T
    steps = (ranges[:, 1] - ranges[:, 0]) / (sizes - 1)
    origin = (-ranges[:, 0] / steps + 0.5).astype(int)
    extent = np.maximum(origin, sizes - 1 - origin)
    whole = np.full(2 * extent + 1, np.nan, np.float32)
    start = extent - origin
    whole[tuple(slice(a, a + n) for a, n in zip(start, sizes, strict=True))] = values
    whole[whole <= MASKED] = np.nan
    grid = HklGrid(unit_cell, (1, 1, 1), tuple(int(e) for e in extent))
    return DiffuseMap(grid, whole, "P 41")


def measured(data: Path, unit_cell, reindexed: bool) -> Target:
    """The target; (h,k,l) → (k,h,−l) if asked."""
    diffuse = as_filed(data, unit_cell)
    if reindexed:
        whole = diffuse.intensity.transpose(1, 0, 2)[:, :, ::-1]
        diffuse = replace(diffuse, intensity=whole)
    return make_target(diffuse, OPTIONS)


def cc(modes: Modes, target: Target, disorder: Disorder) -> float:
    """Pooled over all shells after their means are subtracted, free set included."""
    how = Computation(0.5, liquid_gamma_A=disorder.llm_gamma_A)
    model = forward_model(modes, target.grid, target.indices, Ranks(), how)
    everything = replace(target, free=np.zeros_like(target.free))
    comparison = Comparison(everything, model, "pooled", "none")
    return comparison.score(model.rigid(Parameters(np.empty(0), disorder))).cc_work


def test_rigid_body_has_the_independent_programs_cc(data, nuclease):
    """0.48 there, to the 0.02 that masks and shells' edges may make; 0.04 with wrong indices."""
    target = measured(data, nuclease.unit_cell, reindexed=True)
    assert 4500 < len(target.indices) < 5600  # 5088 reflections there
    found = cc(nuclease, target, Disorder(0.4))
    assert found == pytest.approx(0.48, abs=0.02)
    wrong = measured(data, nuclease.unit_cell, reindexed=False)
    assert cc(nuclease, wrong, Disorder(0.4)) < 0.1


def test_liquid_like_motion_explains_more(data, nuclease):
    """σ = 0.5 Å, γ = 9 Å on one molecule: more than the rigid body.

    The independent program's 0.65 is of the whole crystal's transform, which this model is not.
    """
    target = measured(data, nuclease.unit_cell, reindexed=True)
    rigid = cc(nuclease, target, Disorder(0.4))
    liquid = cc(nuclease, target, Disorder(0.0, llm_sigma_A=0.5, llm_gamma_A=9.0))
    assert liquid > rigid + 0.05


def test_moving_the_map_is_swapping_its_axes(data, nuclease):
    """(h,k,l) → (k,h,−l): the array transposed, and its last axis reversed."""
    moved = reindexed(as_filed(data, nuclease.unit_cell), parse_reindexing("k,h,-l"))
    expected = measured(data, nuclease.unit_cell, reindexed=True)
    found = make_target(moved, OPTIONS)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.intensity, expected.intensity, rtol=1e-6)


def test_search_finds_the_independent_programs_indices(data, nuclease):
    """Of the two that 4/m tells apart, (k,h,−l) with the CC 0.48 there, and 0.04 as it is."""
    diffuse = as_filed(data, (48.521, 48.521, 63.498, 90.0, 90.0, 90.0))
    crystal = nuclease.unit_cell, nuclease.space_group
    found = search(diffuse, nuclease.structure, crystal, OPTIONS)
    assert [reindexing_text(c.reindexing) for c in found] == ["k,h,-l", "h,k,l"]
    assert found[0].cc == pytest.approx(0.48, abs=0.02)
    assert found[1].cc == pytest.approx(0.04, abs=0.02)
    np.testing.assert_array_equal(decided(found), parse_reindexing("k,h,-l"))


@pytest.mark.parametrize(
    ("d_max", "d_min", "shells", "expected"),
    [(10, 4, 15, 0.89), (4, 2.5, 15, 0.93), (2.5, 1.67, 20, 0.69)],
)
def test_friedel_mates_agree_as_the_independent_program_found(
    data, nuclease, d_max, d_min, shells, expected
):
    """0.89, 0.93 and 0.69 there: pooled, after the means of shells of 0.01 Å⁻¹ are subtracted.

    Without that it would be 0.99 everywhere, of the isotropic part.
    """
    diffuse = as_filed(data, nuclease.unit_cell)
    options = TargetOptions(d_max, d_min, halo_radius=0.0, n_shells=shells)
    statistics = cut_map(diffuse, options).statistics
    assert statistics.cc_friedel[-1] == pytest.approx(expected, abs=0.006)
    assert statistics.cc_laue[-1] == pytest.approx(expected, abs=0.06)
