"""Moving pictures: the view, what is drawn, and how large the files are."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from hpc_diffuser.plots.moving import mode_animation, plot_mode, times_drawn, view_of


@pytest.fixture
def chain():
    """A walk of 120 residues, 3.8 Å from one to the next, and where they go."""
    rng = np.random.default_rng(5)
    steps = rng.normal(size=(120, 3))
    positions = np.cumsum(3.8 * steps / np.linalg.norm(steps, axis=1)[:, None], axis=0)
    return positions, rng.normal(size=(120, 3)), np.repeat([0, 1], 60)


def test_the_view_shows_shape_and_motion(chain):
    """A flat molecule is looked at from above; unless it moves that way. Never its mirror image."""
    positions, displacements, _ = chain
    view = view_of(positions, displacements)
    np.testing.assert_allclose(view @ view.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(view) == pytest.approx(1)
    flat = positions * [1.0, 0.6, 0.01]
    along = displacements * [0.0, 1.0, 0.01]
    assert abs(view_of(flat, along)[2, 2]) > 0.99  # to the viewer
    assert abs(view_of(flat, along)[0, 0]) > 0.9  # the longest to the right
    assert abs(view_of(flat, displacements * [0.0, 0.0, 1.0])[2, 2]) < 0.3


def test_small_motions_are_drawn_larger():
    """By whole numbers, within limits."""
    one = np.array([[0.0, 0.0, 1.0]])
    assert [times_drawn(a * one) for a in (5.0, 4.0, 1.5, 0.01, 0.0)] == [1, 1, 3, 20, 20]


def test_arrows_go_where_atoms_go(chain):
    """From the mean, in the view, as many times as long; the colours' legend has true lengths."""
    positions, displacements, number = chain
    ax = plot_mode(positions, displacements, number, "mode 1")
    (arrows,) = [c for c in ax.collections if type(c).__name__ == "Quiver"]
    times, view = times_drawn(displacements), view_of(positions, displacements)
    expected = times * displacements @ view[:2].T
    expected = expected[np.linalg.norm(expected, axis=1) > 1]
    np.testing.assert_allclose(np.stack([arrows.U, arrows.V], axis=1), expected, atol=1e-9)
    legend = ax.figure.axes[1]
    assert legend.get_ylabel() == "Cα displacement (Å)"
    assert legend.get_ylim()[1] == pytest.approx(np.linalg.norm(displacements, axis=1).max())
    assert ax.get_title() == "mode 1"


def test_animation(chain):
    """There and back without end, the same bytes each time, below 300 kB."""
    data = mode_animation(*chain, "mode 1")
    assert data == mode_animation(*chain, "mode 1") and len(data) < 300_000
    found = Image.open(BytesIO(data))
    assert found.is_animated and found.info["loop"] == 0 and found.n_frames == 16
    pictures = []
    for number in range(16):
        found.seek(number)
        pictures.append(np.array(found.convert("L"), dtype=float))
    # A cosine: each picture but the first and the middle one comes twice.
    for number in range(1, 8):
        np.testing.assert_array_equal(pictures[number], pictures[16 - number])
    assert np.abs(pictures[0] - pictures[8]).max() > 100


def test_of_2000_residues_it_stays_small():
    """As GIF, and as SVG with its line as an image."""
    rng = np.random.default_rng(6)
    steps = rng.normal(size=(2000, 3))
    positions = np.cumsum(3.8 * steps / np.linalg.norm(steps, axis=1)[:, None], axis=0)
    displacements, chain = rng.normal(size=(2000, 3)), np.repeat(np.arange(4), 500)
    assert len(mode_animation(positions, displacements, chain)) < 300_000
    buffer = BytesIO()
    plot_mode(positions, displacements, chain).figure.savefig(buffer, format="svg")
    assert len(buffer.getvalue()) < 1_000_000
