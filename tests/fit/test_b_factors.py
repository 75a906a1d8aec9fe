"""How far the model moves, beside the crystal's B-factors, which modes.h5 keeps."""

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import succeeded
from summaries import outcome

from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.fit.b_factors import compare_b_factors, motion
from hpc_diffuser.fit.cautions import cautions, percent
from hpc_diffuser.fit.config import ModelConfig, ParametersConfig, SearchConfig
from hpc_diffuser.fit.problem import computation
from hpc_diffuser.fit.restarts import summarise
from hpc_diffuser.fit.search.history import new_history
from hpc_diffuser.fit.space import search_space
from hpc_diffuser.fit.summary import BFactors
from hpc_diffuser.io.modes_file import read_modes, write_modes
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.lattice.rigid_lattice import rigid_lattice
from hpc_diffuser.motion.modes import why_no_b_factors, with_frames
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.model import forward_model


def test_b_factors_beside_the_crystals(modes):
    """Translation by σ alone: B = 8π²σ² for all; against B and 2B half the atoms move more.

    At B = 8π²σ²/1.2 they do by a factor of 1.2, above 1.1; at twice that by 0.6.
    """
    b = 8 * np.pi**2 * 0.09
    crystal = np.where(np.arange(12) < 6, b / 1.2, 2 * b / 1.2)
    crystal[0] = np.nan
    found = compare_b_factors(
        replace(modes, crystal_b_A2=crystal), Parameters(np.zeros(2), Disorder(0.3))
    )
    assert found.atoms == 11 and found.cc is None
    assert found.mean_A2 == pytest.approx(b)
    assert found.mean_ratio == pytest.approx(1.2 * 11 / (5 + 2 * 6))
    assert found.moves_more == pytest.approx(5 / 11)
    assert compare_b_factors(modes, Parameters(np.zeros(2))) is None


@pytest.mark.parametrize(("n_more", "warned"), [(0, False), (5, False), (6, True)])
def test_warning_where_more_than_a_twentieth_of_the_atoms_move_more(n_more, warned):
    """Of 100 atoms; with their number."""
    found = BFactors(
        atoms=100,
        cc=0.5,
        mean_ratio=0.8,
        mean_A2=8.0,
        crystal_mean_A2=10.0,
        moves_more=n_more / 100,
        farthest_beyond="A/GLY 2/CA",
    )
    space = search_space(ParametersConfig(translation_sigma_A=(0.4, 0.4)), np.empty(0))
    held = {0: new_history(0).extended(np.empty(0), 0.5, new_history(0).hedge)}
    summary = replace(summarise(space, held, 1, 1), outcome=outcome(b_factors=found))
    text = "\n".join(cautions(summary, SearchConfig(evaluations=1)))
    told = "the model moves more than the crystal: 6 of 100 atoms (6 %), A/GLY 2/CA most, mean B "
    assert (told + "8.0 against 10.0 Å²" in text) is warned


@pytest.mark.parametrize(
    ("part", "shown"), [(998, "> 99"), (1001, "100"), (990, "99"), (1, "0"), (0, "0")]
)
def test_only_all_are_100_per_cent(part, shown):
    """Of 1001 atoms."""
    assert percent(part / 1001) == shown


def test_motion_of_translation_in_b_factors(modes):
    """σ = 0.46 Å along each axis, the paper's: ⟨|u|²⟩ = 3σ², B = 8π²σ² = 16.71 Å²; 0.797 Å rms.

    That is half of the exponent with which the intensity is damped, e^{−q²σ²} = e^{−4π²σ²/d²}:
    a B-factor damps amplitudes by e^{−B/4d²}, intensities by e^{−B/2d²}.
    """
    found = motion(modes, Parameters(np.zeros(2), Disorder(0.46)))
    assert list(found.kinds) == ["translation"]
    assert found.mean_b_A2 == pytest.approx(16.71, abs=0.005)
    assert found.mean_b_A2 / 2 == pytest.approx(4 * np.pi**2 * 0.46**2)
    assert found.rms_A == pytest.approx(0.46 * np.sqrt(3))
    assert found.kinds["translation"].rms_A == pytest.approx(found.rms_A)


def test_motions_add_up(modes):
    """Each alone by its closed form, rms over atoms; squares add up to that of all.

    Modes: Σ|Δ|² = N, so √(0.2² + 0.1²) Å, correlated or not on average of two orthogonal ones;
    liquid-like and uncorrelated: √3 σ; translation: √(σx² + σy² + σz²).
    """
    vectors = np.linalg.qr(modes.vectors.reshape(2, -1).T)[0].T.reshape(2, 12, 3) * np.sqrt(12)
    orthogonal = replace(modes, vectors=vectors)
    parameters = Parameters(
        np.array([0.2, 0.1]),
        Disorder((0.1, 0.2, 0.3), 0.15, (0.3, 0.1, -0.2), 0.2, 5.0, halo_sigma_A=0.1),
        mode_correlation=(0.6,),
        libration_sigma_deg=3.0,
    )
    found = motion(orthogonal, parameters)
    rms = {name: kind.rms_A for name, kind in found.kinds.items()}
    assert rms["modes"] == pytest.approx(np.sqrt(0.05))
    assert rms["translation"] == pytest.approx(np.sqrt(0.14))
    assert rms["liquid-like"] == pytest.approx(0.2 * np.sqrt(3))
    assert rms["uncorrelated"] == pytest.approx(0.15 * np.sqrt(3))
    assert rms["coupled to the lattice"] == pytest.approx(0.1 * np.sqrt(3))
    assert len(rms) == 6 and rms["libration"] > 0
    assert found.rms_A == pytest.approx(np.sqrt(sum(r**2 for r in rms.values())))


def test_motion_of_conformations(modes):
    """Two frames 0.4 Å apart, alike: each 0.2 Å from their mean; no parameter holds that."""
    frames = modes.structure.positions + np.array([[[0.2, 0, 0]], [[-0.2, 0, 0]]])
    ensemble = with_frames(modes, frames)
    found = motion(ensemble, Parameters(np.empty(0), Disorder(0.3)))
    assert found.kinds["conformations"].rms_A == pytest.approx(0.2)
    assert found.kinds["translation"].rms_A == pytest.approx(0.3 * np.sqrt(3))
    assert found.rms_A == pytest.approx(np.sqrt(0.04 + 0.27))


@pytest.mark.parametrize(
    ("crystal", "reason"),
    [(None, "does not hold them"), (np.nan, "none of these atoms"), (0.0, "all 0")],
)
def test_no_b_factors_to_compare_with(modes, crystal, reason):
    """It is said why: an old file, other atoms, a reference whose B are 0."""
    b = None if crystal is None else np.full(12, crystal)
    without = replace(modes, crystal_b_A2=b)
    assert compare_b_factors(without, Parameters(np.zeros(2), Disorder(0.3))) is None
    assert reason in why_no_b_factors(without)
    assert why_no_b_factors(replace(modes, crystal_b_A2=np.full(12, 9.0))) is None


def test_b_factors_of_the_modes_file(call, project):
    """Without [crystal] file every fit is compared with what modes.h5 keeps of its reference.

    The report tells the model's displacement, and that it is larger than the crystal's, of 2 Å².
    """
    modes = replace(read_modes(project / "modes.h5"), crystal_b_A2=np.full(12, 2.0))
    modes.crystal_b_A2[3] = np.nan
    write_modes(project / "modes.h5", modes, {})
    text = succeeded(call("fit", "fit.toml", folder=project))
    summary = json.loads((project / "run" / "summary.json").read_text())
    assert summary["b_factors"]["atoms"] == 11 and summary["b_factors"]["crystal_mean_A2"] == 2
    sigma = summary["answer"]["translation_sigma_A"]
    b = 8 * np.pi**2 * sigma**2
    assert summary["motion"]["kinds"]["translation"]["mean_b_A2"] == pytest.approx(b)
    assert any("the model moves more than the crystal: 11 of 11" in w for w in summary["warnings"])
    assert text.startswith("Warnings") and f"B = 8π²σ², σ = {sigma:.3f} Å along each axis" in text
    assert "B-factors beside the crystal's, 11 atoms" in text


def test_report_without_b_factors(call, finished):
    """A modes file of an earlier version: said so, with what to do."""
    text = succeeded(call("report", "--text", "run", folder=finished))
    assert "No B-factors of the crystal to compare with: the model's file does not" in text
    assert 'give [crystal] file = "crystal.pdb"' in text and "Motion of the model" in text


@pytest.mark.parametrize("b_A2", [20.0, 80.0])
def test_atoms_of_large_b_factors_are_drawn(modes, b_A2):
    """As the direct sum has them: with shapes as wide as residual B-factors make atoms."""
    modes = replace(modes, crystal_b_A2=np.full(12, b_A2))
    ranges = {"translation_sigma_A": (0.2, 0.2), "residual_b_fraction": (0.0, 1.0)}
    space = search_space(ParametersConfig(**ranges), np.zeros(2))
    grid = grid_to_resolution(modes.unit_cell, (2, 2, 2), 1.6)
    indices = grid.indices_between(8.0, 1.6)[::7]
    parameters = Parameters(np.zeros(2), Disorder(0.2), residual_b_fraction=1.0)
    exact, drawn = (
        forward_model(
            modes,
            grid,
            indices,
            Ranks(),
            computation(ModelConfig(grid="target", transform=transform), modes, space),
        ).rigid(parameters)
        for transform in ("direct", "density")
    )
    assert np.linalg.norm(drawn - exact) < 4e-4 * np.linalg.norm(exact)


def test_residual_b_of_a_crystal_without_b_factors(call, project, edit):
    """There is nothing to explain: refused, instead of a parameter that does nothing."""
    edit(project / "fit.toml", "[model]", "residual_b_fraction = [0, 1]\n[model]")
    modes = replace(read_modes(project / "modes.h5"), crystal_b_A2=np.zeros(12))
    write_modes(project / "modes.h5", modes, {})
    result = call("fit", "fit.toml", folder=project)
    assert result.returncode == 65 and result.stderr.count("\n") == 1
    assert "residual_b_fraction: expected [crystal] file" in result.stderr
    assert "all 0" in result.stderr


@pytest.mark.parametrize(("length", "warned"), [(3.0, False), (50.0, True)])
def test_warning_of_turns_that_are_not_small(modes, length, warned):
    """By springs; their size from the draws that a rigid body of that covariance makes."""
    lattice = rigid_lattice(modes.structure, modes.unit_cell, "P 1", contact_A=12)
    moved = Parameters(np.zeros(2), lattice_spring_A=length, lattice=lattice)
    found = motion(replace(modes, lattice=lattice), moved)
    about = lattice.covariance(length)[3:, 3:]
    drawn = np.random.default_rng(1).multivariate_normal(np.zeros(3), about, 100_000)
    rms_deg = np.degrees(np.sqrt(np.mean(drawn**2)))
    assert found.turn_deg == pytest.approx(rms_deg, rel=0.01)
    assert (rms_deg > 10) == warned
    assert motion(modes, Parameters(np.zeros(2), Disorder(0.4))).turn_deg is None
    space = search_space(ParametersConfig(translation_sigma_A=(0.4, 0.4)), np.empty(0))
    held = {0: new_history(0).extended(np.empty(0), 0.5, new_history(0).hedge)}
    summary = replace(summarise(space, held, 1, 1), outcome=outcome(motion=found))
    text = "\n".join(cautions(summary, SearchConfig(evaluations=1)))
    assert (f"molecules turn by {found.turn_deg:.0f}° rms about any axis" in text) is warned
