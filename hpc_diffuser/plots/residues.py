"""Curves and matrices along a protein's residues."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpc_diffuser.crystal.secondary_structure import HELIX, STRAND
from hpc_diffuser.interface.checked import numbers_of, texts_of
from hpc_diffuser.plots.canvas import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    new_axes,
)
from hpc_diffuser.system.arrays import Floats, Integers, Names

STYLES = (
    (BLUE, "-", "o"),
    (ORANGE, "--", "s"),
    (GREEN, "-.", "^"),
    ("#8a4fa3", ":", "D"),
    ("#4d4d4d", (0, (5, 1, 1, 1, 1, 1)), "v"),
)
_TICKS, _TICKS_OF_MATRIX, _MARKERS = 14, 8, 12
_BEYOND = 0.5  # percent of a matrix's values beyond either end of its colours
MOST_BLOCKS = 300  # residues whose pairs are shown one by one; of more, the means of blocks


@dataclass(frozen=True)
class Curve:
    """A value for every residue.

    Attributes
    ----------
    label : str
        For the legend.
    values : (n,) float
        NaN where there is none.
    """

    label: str
    values: Floats


def plot_along_residues(
    curves: Sequence[Curve],
    labels: Sequence[str],
    chain: Integers,
    quantity: str,
    secondary: Names | None = None,
    ax: Any = None,
) -> Any:
    """Curves along the residues, with helices and strands above.

    Parameters
    ----------
    curves : sequence of Curve
    labels : n str
        Of the residues, as `A/LYS 1`.
    chain : (n,) int
        At whose changes a curve is broken.
    quantity : str
        Of all of them, with its unit.
    secondary : (n,) str or None
        As of `secondary_structure`.
    ax : matplotlib Axes or None

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(ax)
    n_residues = len(labels)
    places = np.arange(n_residues)
    for number, curve in enumerate(curves):
        colour, line, marker = STYLES[number % len(STYLES)]
        x, y = _broken(places, np.asarray(curve.values, float), chain)
        every = (number * n_residues // (_MARKERS * len(curves)), max(1, n_residues // _MARKERS))
        ax.plot(
            x,
            y,
            ls=line,
            marker=marker,
            markevery=every,
            ms=4,
            lw=1.2,
            color=colour,
            label=curve.label,
        )
    top = np.nanmax([np.nanmax(curve.values, initial=0.0) for curve in curves])
    ax.set_ylim(0, 1.25 * top if top > 0 else 1.0)
    ax.set_ylabel(quantity)
    if secondary is not None:
        plot_secondary(secondary, ax)
    mark_residues(ax, labels, chain)
    ax.grid(alpha=0.3)
    if len(curves) > 1:
        ax.legend(frameon=False, fontsize=8, ncols=3, loc="upper left", bbox_to_anchor=(0, 0.93))
    return ax


def plot_secondary(secondary: Names, ax: Any) -> Any:
    """Helices as boxes, strands as hatched ones, along the upper edge of axes.

    Parameters
    ----------
    secondary : (n,) str
        Of each residue: `HELIX`, `STRAND` or another.
    ax : matplotlib Axes

    Returns
    -------
    matplotlib Axes
    """
    from matplotlib.patches import Rectangle

    across = ax.get_xaxis_transform()
    styles = {HELIX: ("#404040", ""), STRAND: ("white", "////")}
    for kind, (colour, hatch) in styles.items():
        for start, end in _runs(secondary == kind):
            ax.add_patch(
                Rectangle(
                    (start - 0.5, 0.94),
                    end - start,
                    0.04,
                    transform=across,
                    lw=0.6,
                    edgecolor="#404040",
                    facecolor=colour,
                    hatch=hatch,
                )
            )
    return ax


def mark_residues(ax: Any, labels: Sequence[str], chain: Integers, both: bool = False) -> None:
    """Numbers of residues at the axis, and lines where chains begin.

    Parameters
    ----------
    ax : matplotlib Axes
    labels : n str
        As `A/LYS 1`.
    chain : (n,) int
        The number of each residue's chain.
    both : bool
        At either axis.
    """
    lettered = len({label.rpartition("/")[0] for label in labels}) > 1
    most = _TICKS_OF_MATRIX if both else _TICKS
    ticks = _ticks(labels, most * 3 // 4 if lettered else most)
    words = [_short(labels[i], lettered) for i in ticks]
    borders = np.flatnonzero(np.diff(chain)) + 0.5
    ax.set_xticks(ticks, words)
    ax.set_xlim(-0.5, len(labels) - 0.5)
    ax.set_xlabel("residue")
    for border in borders:
        ax.axvline(border, color=GREY, lw=0.6)
    if both:
        ax.set_yticks(ticks, words)
        ax.set_ylabel("residue")
        for border in borders:
            ax.axhline(border, color=GREY, lw=0.6)


def _ticks(labels: Sequence[str], most: int) -> list[int]:
    """Places of residues with round numbers, evenly where there are none such."""
    numbers = [_short(label, False) for label in labels]
    for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000):
        found = [i for i, text in enumerate(numbers) if text.isdigit() and not int(text) % step]
        if len(found) <= most:
            break
    if len(found) > 1:
        return found
    even = np.linspace(0, len(labels) - 1, min(most, len(labels))).round().astype(int)
    return sorted(set(even.tolist()))


def plot_residue_matrix(
    matrix: Floats,
    labels: Sequence[str],
    chain: Integers,
    quantity: str,
    ax: Any = None,
) -> Any:
    """A value for each pair of residues as an image, of many residues the means of blocks.

    Parameters
    ----------
    matrix : (n, n) float
        NaN where there is none.
    labels : n str
        Of the residues, as `A/LYS 1`.
    chain : (n,) int
        The number of each residue's chain.
    quantity : str
        With its unit, for the scale; a few values beyond it have the colours of its ends.
    ax : matplotlib Axes, optional
        By default those of a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InputError
        Where matplotlib is not installed.

    Examples
    --------
    >>> labels, chain = [f"A/ALA {n}" for n in range(1, 51)], np.zeros(50, int)
    >>> ax = hd.plot_residue_matrix(np.eye(50), labels, chain, "correlation")
    """
    n_residues = len(texts_of(labels, "labels"))
    matrix = numbers_of(matrix, "matrix", n_residues, n_residues)
    chain = numbers_of(chain, "chain", n_residues).astype(int)
    ax = new_axes(ax, (4.6, 3.8))
    shown = block_means(matrix, MOST_BLOCKS)
    low, high, extend = _scale(shown)
    edges = (-0.5, n_residues - 0.5)
    image = ax.imshow(
        shown, origin="lower", extent=(*edges, *edges), interpolation="nearest", cmap="cividis",
        vmin=low, vmax=high,
    )  # fmt: skip
    mark_residues(ax, labels, chain, both=True)
    ax.figure.colorbar(image, ax=ax, label=quantity, shrink=0.85, extend=extend)
    return ax


def _scale(values: Floats) -> tuple[float, float, str]:
    """Limits of the colours, from 0 or below, and at which ends a few values lie beyond them."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0, "neither"
    low, high = (float(limit) for limit in np.percentile(finite, (_BEYOND, 100 - _BEYOND)))
    low, high = min(low, 0.0), high if high > 0 else 1.0
    beyond = bool(finite.min() < low), bool(finite.max() > high)
    extend = {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[beyond]
    return low, high, extend


def block_means(matrix: Floats, most: int) -> Floats:
    """Means of square blocks, so that there are at most so many along either side.

    Blocks are of one size, the last ones smaller; what is NaN does not count.

    Parameters
    ----------
    matrix : (n, n) float
    most : int

    Returns
    -------
    (m, m) float, m ≤ most
    """
    size = -(-len(matrix) // most)
    if size == 1:
        return matrix
    starts = np.arange(0, len(matrix), size)

    def sums(values: Floats) -> Floats:
        found: Floats = np.add.reduceat(np.add.reduceat(values, starts, axis=0), starts, axis=1)
        return found

    count = sums(np.isfinite(matrix).astype(float))
    with np.errstate(invalid="ignore"):
        means: Floats = np.where(count > 0, sums(np.nan_to_num(matrix)) / count, np.nan)
    return means


def _broken(x: Integers, y: Floats, chain: Integers) -> tuple[Floats, Floats]:
    """With a gap where one chain ends and the next begins."""
    borders = np.flatnonzero(np.diff(chain)) + 1
    return np.insert(x.astype(float), borders, np.nan), np.insert(y, borders, np.nan)


def _runs(mask: Any) -> list[tuple[int, int]]:
    """Where it is true: first, and one after the last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _short(label: str, lettered: bool) -> str:
    """`A/LYS 1` as `A 1`, or as `1`."""
    letter, _, rest = label.rpartition("/")
    number = rest.split()[-1]
    return f"{letter} {number}".strip() if lettered else number
