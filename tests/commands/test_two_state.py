"""The crystal of molecules with two shapes: simulated, in closed form, and as a user sees it."""

from dataclasses import replace

import numpy as np
import pytest

from hpc_diffuser.commands.examples.two_state import (
    TwoStateCrystal,
    TwoStateMaps,
    closed_forms,
    covariance_spectrum,
    example_crystal,
    random_crystal,
    two_state_example,
)


@pytest.fixture(scope="module")
def crystal() -> TwoStateCrystal:
    return example_crystal()


@pytest.fixture(scope="module")
def maps() -> TwoStateMaps:
    return two_state_example()


def test_simulation_agrees_with_the_closed_form(crystal, maps):
    """To its statistical error, over the whole map, halos and all.

    The amplitude of one crystal, a sum over thousands of molecules, is a complex normal number:
    its intensity is exponentially distributed, with a standard deviation equal to its mean, and
    the mean of m crystals deviates by I/√m. (Where 2hkl is whole the displacements' waves are
    real and vary more: 4 of 144 samples, left out.) m times the squared relative deviation is
    1 on average. Samples at the same place in different zones go together: the 144/2 places,
    each with two components of displacement and the states, are some 200 independent numbers, so
    that the average is 1 ± √(2/200) = 0.1, and the mean deviation 0 ± 1/√(200 m) = 0.007.
    """
    m, n = maps.realisations, crystal.divisions
    i, j = np.rint(maps.h * n).astype(int), np.rint(maps.k * n).astype(int)
    real = (2 * i % n == 0)[:, None] & (2 * j % n == 0)
    deviation = (maps.simulated / np.where(real, 1, maps.crystal) - 1)[~real]
    assert real.mean() < 0.04
    assert abs(m * np.mean(deviation**2) - 1) < 0.2
    assert abs(deviation.mean()) < 0.015


def test_simulation_without_the_halo_term_would_not_agree(maps):
    """The same measure sees what the coupling does: without H it is a thousand times too large."""
    inside = maps.molecule > 0
    deviation = maps.simulated[inside] / maps.molecule[inside] - 1
    assert maps.realisations * np.mean(deviation**2) > 100


def test_displacements_have_the_covariance_asked_for(crystal):
    """⟨t(0) t(R)⟩ = σ² e^{−|R|/γ}, averaged over the lattice and 40 crystals, both components.

    A crystal holds about (48 · 11.5 Å)²/(2πγ²) = 30 independent patches: with 40 crystals and two
    components the standard error is σ² √(2/2400) = 3 %.
    """
    covariance = np.zeros((crystal.cells, crystal.cells))
    origins = np.stack(np.meshgrid(*[np.arange(crystal.cells)] * 2, indexing="ij"), -1)
    for seed in range(40):
        _, places = random_crystal(crystal, np.random.default_rng(seed))
        moved = places.reshape(origins.shape) - origins * np.array(crystal.edges_A)
        power = np.abs(np.fft.fft2(moved, axes=(0, 1))) ** 2
        covariance += np.fft.ifft2(power.mean(axis=-1)).real / (40 * crystal.cells**2)
    for u, v in ((0, 0), (1, 0), (0, 1), (2, 3), (0, 10)):
        r = np.hypot(u * crystal.edges_A[0], v * crystal.edges_A[1])
        expected = crystal.sigma_A**2 * np.exp(-r / crystal.gamma_A)
        assert abs(covariance[u, v] - expected) < 0.1 * crystal.sigma_A**2


def test_states_are_independent(crystal):
    """Half of the molecules in either, and neighbours alike half of the time: ± 4/(2√2304)."""
    states = random_crystal(crystal, np.random.default_rng(1))[0].reshape(crystal.cells, -1)
    assert set(states.ravel()) == {0, 1}
    for share in (states.mean(), np.mean(states == np.roll(states, 1, axis=1))):
        assert abs(share - 0.5) < 2 / crystal.cells


def test_a_crystal_too_small_for_its_correlation(crystal):
    """A periodic covariance with a negative spectrum belongs to no field: refused."""
    assert covariance_spectrum(crystal).min() > 0
    small = replace(crystal, cells=12, gamma_A=1000.0, edges_A=(3.0, 40.0))
    with pytest.raises(ValueError, match="12 cells are too few"):
        covariance_spectrum(small)


def test_between_the_halos_only_the_shapes_are_left(crystal, maps):
    """|F₁ − F₂|²/4, where displaced molecules on their own would add half as much again.

    A displacement that neighbours share over γ = 40 Å moves nearly all of its intensity into the
    halos: between them is left of it the share Λ₁ = 1/(ab) Σ_G 2πγ²/(1+γ²|q−G|²)^{3/2}, a few
    per cent at half a unit from the peaks. The simulation has 10 % noise in each sample.
    """
    inside = maps.between_halos & (maps.inverse_d < 1 / 2.4)
    exact, shapes = maps.crystal[inside], maps.shapes[inside]
    assert maps.correlation(maps.crystal, maps.shapes, inside) > 0.985
    assert maps.correlation(maps.simulated, maps.shapes, inside) > 0.95
    assert maps.correlation(maps.crystal, maps.molecule, inside) < 0.92
    assert 1.0 < exact.sum() / shapes.sum() < 1.1
    assert maps.molecule[inside].sum() / shapes.sum() > 1.25
    assert (exact > shapes - 1e-9).all()


def test_the_halos_hold_the_rest(maps):
    """With them the correlation with the shapes is lost."""
    between, everywhere = maps.agreement()
    assert between > 0.95 and everywhere < 0.5


@pytest.mark.parametrize("centre", [(0.0, 0.0), (0.8, 0.0), (0.5, -0.9)])
def test_averaged_over_the_halos_a_crystal_is_its_molecules(crystal, centre):
    """Under a window wider than a Brillouin zone the crystal's intensity is the molecule's.

    Coupling adds to the Patterson function only at distances between atoms of two molecules,
    5.7 Å and more. A Gaussian window exp(−|q − q₀|² w²/2) of w = 1.6 Å, whose standard deviation
    is 1.2 reciprocal-lattice units, weights them by less than e^{−5.7²/2w²} = 2e-3 against the
    atoms' own distances. A window of one zone would not do: |⟨F⟩|² varies within it, and the
    halos only see its value at the Bragg peak. 48 samples to a unit resolve the halos.
    """
    wide = replace(crystal, divisions=48, extent=(480, 480))
    _, molecule, whole = closed_forms(wide)
    h, k = (2 * np.pi * x / a for x, a in zip(wide.axes(), wide.edges_A, strict=True))
    window = sum(
        np.exp(-((h[:, None] - sign * centre[0]) ** 2 + (k - sign * centre[1]) ** 2) * 1.6**2 / 2)
        for sign in (1, -1)
    )
    window[0] /= 2  # the plane h = 0 holds both mates
    average = np.sum(window * whole) / np.sum(window * molecule)
    assert average == pytest.approx(1, abs=2e-3)


def test_the_example_as_a_user_runs_it(cli, tmp_path):
    """No config, no MPI: a figure, and what it shows in a line."""
    pytest.importorskip("matplotlib")
    result = cli("simulate", "--example", "two-state")
    assert result.returncode == 0 and result.stderr == "", result.stderr
    assert "two-state.png" in result.stdout
    assert "0.97 between the halos, 0.39 with them" in result.stdout
    assert (tmp_path / "two-state.png").read_bytes()[:4] == b"\x89PNG"


MISTAKES = {
    "nothing to simulate": ((), "expected a CONFIG to simulate, or --example two-state"),
    "an example and a config": (("fit.toml", "--example", "two-state"), "takes no CONFIG"),
    "another example": (("--example", "three-state"), "invalid choice: 'three-state'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_on_the_command_line(call, tmp_path, mistake):
    """65, one line, and no file."""
    words, message = MISTAKES[mistake]
    result = call("simulate", *words)
    assert result.returncode == 65
    assert message in result.stderr and len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
