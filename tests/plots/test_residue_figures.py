"""Curves and matrices along residues: what they show, and that large ones stay small."""

from io import BytesIO

import numpy as np

from hpc_diffuser.plots.motion import plot_shares
from hpc_diffuser.plots.residues import (
    Curve,
    block_means,
    plot_along_residues,
    plot_residue_matrix,
)

LABELS = [f"{letter}/ALA {i}" for letter in "AB" for i in range(1, 41)]
CHAIN = np.repeat([0, 1], 40)


def test_curves_are_broken_between_chains_and_named():
    """A gap, a line at the border, round numbers with the chain's letter."""
    values = np.arange(80.0)
    kinds = np.array(["helix"] * 5 + [""] * 70 + ["strand"] * 5)
    ax = plot_along_residues(
        (Curve("one", values), Curve("two", 2 * values)), LABELS, CHAIN, "length (Å)", kinds
    )
    lines = [line for line in ax.lines if line.get_label() in ("one", "two")]
    assert np.isnan(lines[0].get_ydata()[40]) and len(lines[0].get_ydata()) == 81
    assert [text.get_text() for text in ax.get_xticklabels()] == [
        f"{letter} {i}" for letter in "AB" for i in (10, 20, 30, 40)
    ]
    assert ax.get_ylabel() == "length (Å)" and ax.get_ylim()[0] == 0
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["one", "two"]
    boxes = [(patch.get_x(), patch.get_width(), bool(patch.get_hatch())) for patch in ax.patches]
    assert boxes == [(-0.5, 5, False), (74.5, 5, True)]


def test_block_means():
    """Of every block the mean of what is known."""
    matrix = np.arange(25.0).reshape(5, 5)
    matrix[0, 0] = np.nan
    found = block_means(matrix, 3)
    assert found.shape == (3, 3)
    assert found[0, 0] == np.mean([1, 5, 6]) and found[1, 0] == np.mean([10, 11, 15, 16])
    assert found[2, 2] == 24 and found[0, 2] == np.mean([4, 9])
    assert block_means(matrix, 5) is matrix
    assert np.isnan(block_means(np.full((4, 4), np.nan), 2)).all()


def test_a_matrix_of_2000_residues_stays_small():
    """As SVG some 100 kB, whatever is in it; its scale leaves a few values out, and says so."""
    matrix = np.random.default_rng(1).normal(size=(2000, 2000))
    ax = plot_residue_matrix(matrix, [f"ALA {i}" for i in range(2000)], np.zeros(2000), "Å")
    buffer = BytesIO()
    ax.figure.savefig(buffer, format="svg")
    assert len(buffer.getvalue()) < 400_000
    bar = ax.figure.axes[1]
    assert bar.get_ylabel() == "Å"
    assert ax.images[0].get_clim()[0] < 0 < ax.images[0].get_clim()[1]


def test_shares():
    """A bar for each, with its number."""
    ax = plot_shares({"modes": 0.25, "translation": 0.75})
    assert [bar.get_width() for bar in ax.patches] == [25, 75]
    assert {text.get_text() for text in ax.texts} == {"25.0 %", "75.0 %"}
