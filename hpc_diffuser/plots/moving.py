"""A mode as a moving picture of the backbone, and as a still one with arrows."""

from io import BytesIO
from typing import Any

import numpy as np

from hpc_diffuser.plots.canvas import ORANGE, new_axes, new_figure
from hpc_diffuser.system.arrays import Floats, Integers

_FRAMES, _FRAME_MS = 16, 90
_SIZE, _DPI = (4.2, 3.4), 100
_LEVELS = 24  # of the colours in a GIF
_FINE, _MOST_POINTS = 6, 4000  # points from one residue to the next; in all, about
_MOST_VECTOR = 500  # residues whose lines a PDF or SVG has as such
_SEEN_A, _MOST_TIMES = 4.0, 20  # that the largest displacement is drawn as, at least
_GREY, _EDGE = "#c8c8c8", "#303030"
_BAR_A, _SHORTEST_A, _BEHIND_A = 10.0, 1.0, 1.5
_USUAL_A = 60.0  # across a molecule whose lines are drawn full


def view_of(positions: Floats, displacements: Floats) -> Floats:
    """The directions to the right, upwards and to the viewer that show most: (3, 3), rows.

    Those along which the molecule and its motion reach least and most, of both alike; the picture
    is no mirror image.

    Parameters
    ----------
    positions, displacements : (n, 3) float, Å
    """
    away = positions - positions.mean(axis=0)
    shape, motion = away.T @ away, displacements.T @ displacements
    seen = sum(part / max(float(np.trace(part)), 1e-12) for part in (shape, motion))
    _, axes = np.linalg.eigh(seen)
    depth = axes[:, 0]
    flat = np.eye(3) - np.outer(depth, depth)
    right = np.linalg.eigh(flat @ shape @ flat)[1][:, -1]
    right, depth = (axis * np.sign(axis[np.abs(axis).argmax()]) for axis in (right, depth))
    found: Floats = np.stack([right, np.cross(depth, right), depth])
    return found


def times_drawn(displacements: Floats) -> int:
    """How many times as large a motion is drawn, so that it can be seen: a whole number.

    Parameters
    ----------
    displacements : (n, 3) float, Å
    """
    longest = float(np.linalg.norm(displacements, axis=1).max(initial=0.0))
    return min(max(1, int(np.ceil(_SEEN_A / max(longest, 1e-9)))), _MOST_TIMES)


def plot_mode(
    positions: Floats, displacements: Floats, chain: Integers, title: str = "", ax: Any = None
) -> Any:
    """The backbone, coloured by how far it goes, with an arrow for each Cα.

    Arrows are `times_drawn` as long as the displacements.

    Parameters
    ----------
    positions, displacements : (n, 3) float, Å
    chain : (n,) int
        Which residues are bonded to each other.
    title : str
    ax : matplotlib Axes or None

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes(ax, _SIZE)
    drawing = _Drawing(ax, positions, displacements, chain, title)
    drawing.line(0.0, ax).set_rasterized(len(positions) > _MOST_VECTOR)
    tails = drawing.project(positions)[:, :2]
    arrows = drawing.project(positions + drawing.times * displacements)[:, :2] - tails
    seen = np.linalg.norm(arrows, axis=1) > _SHORTEST_A
    ax.quiver(
        *tails[seen].T, *arrows[seen].T, color=ORANGE, edgecolor="white", linewidth=0.3,
        angles="xy", scale_units="xy", scale=1, width=0.007, zorder=5,
    )  # fmt: skip
    return ax


def mode_animation(
    positions: Floats, displacements: Floats, chain: Integers, title: str = ""
) -> bytes:
    """An animated GIF that goes there and back between the displacements and their opposites.

    These are drawn `times_drawn` as large; the colours' legend has them as they are.

    The first picture is one end, beside the mean in grey: it tells something standing still, too.

    Parameters
    ----------
    positions, displacements, chain, title
        As of `plot_mode`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = new_figure(_SIZE)
    figure.set_dpi(_DPI)
    canvas: Any = FigureCanvasAgg(figure)
    ax = figure.subplots()
    drawing = _Drawing(ax, positions, displacements, chain, title)
    drawing.ghost(ax)
    canvas.draw()
    figure.set_layout_engine("none")
    empty = canvas.copy_from_bbox(figure.bbox)
    pictures = []
    for step in np.cos(2 * np.pi * np.arange(_FRAMES) / _FRAMES):
        canvas.restore_region(empty)
        line = drawing.line(float(step), ax)
        ax.draw_artist(line)
        line.remove()
        pictures.append(np.asarray(canvas.renderer.buffer_rgba())[:, :, :3].copy())
    return _gif(pictures)


class _Drawing:
    """A molecule in its view, on axes of its own.

    Attributes
    ----------
    times : int
        As many times the displacements are drawn.
    thickness : float
        Of lines, 1 but for large molecules.
    """

    def __init__(
        self, ax: Any, positions: Floats, displacements: Floats, chain: Integers, title: str
    ) -> None:
        self.view = view_of(positions, displacements)
        self.centre = positions.mean(axis=0)
        self.times = times_drawn(displacements)
        self.most = float(np.linalg.norm(displacements, axis=1).max(initial=0.0)) or 1.0
        self.pieces = [np.flatnonzero(chain == number) for number in np.unique(chain)]
        self.fine = max(1, min(_FINE, _MOST_POINTS // max(len(positions), 1)))
        self.positions, self.displacements = positions, displacements
        self._prepare(ax, title)

    def project(self, positions: Floats) -> Floats:
        """Right, up and towards the viewer: (n, 3) Å."""
        found: Floats = (positions - self.centre) @ self.view.T
        return found

    def ghost(self, ax: Any) -> None:
        """The mean, in grey."""
        from matplotlib.collections import LineCollection

        segments, _, _ = self._segments(0.0)
        ax.add_collection(LineCollection(list(segments), colors=_GREY, linewidths=1.5, zorder=1))

    def line(self, step: float, ax: Any) -> Any:
        """The backbone at so many times the displacements, what is nearer before what is not."""
        from matplotlib import colormaps
        from matplotlib.collections import LineCollection

        segments, depth, lengths = self._segments(step)
        nearness = (depth - depth.min()) / max(float(np.ptp(depth)), 1e-9)
        widths = self.thickness * (2.0 + 2.5 * nearness)
        colours = colormaps["viridis"](np.clip(lengths / self.most, 0, 1))
        edges = np.tile(_rgba(_EDGE), (len(depth), 1))
        # A darker, wider line a little behind the other: so crossings show which is in front.
        order = np.argsort(np.concatenate([depth - _BEHIND_A, depth]), kind="stable")
        found = LineCollection(
            list(np.concatenate([segments, segments])[order]),
            colors=np.concatenate([edges, colours])[order],
            linewidths=np.concatenate([widths + 1.2 * self.thickness, widths])[order],
            capstyle="round",
            zorder=3,
        )
        ax.add_collection(found, autolim=False)
        return found

    def _segments(self, step: float) -> tuple[Floats, Floats, Floats]:
        """Pieces of the smoothed line (k, 2, 2), their depths and displacements (k,) in Å."""
        segments, depths, lengths = [], [], []
        moved = self.project(self.positions + step * self.times * self.displacements)
        how_far = np.linalg.norm(self.displacements, axis=1)
        for rows in self.pieces:
            line, far = _smoothed(moved[rows], self.fine), _smoothed(how_far[rows], self.fine)
            segments.append(np.stack([line[:-1, :2], line[1:, :2]], axis=1))
            depths.append((line[1:, 2] + line[:-1, 2]) / 2)
            lengths.append((far[1:] + far[:-1]) / 2)
        return np.concatenate(segments), np.concatenate(depths), np.concatenate(lengths)

    def _prepare(self, ax: Any, title: str) -> None:
        """Limits for the whole motion, a bar of 10 Å, and the colours' legend."""
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        ends = np.concatenate(
            [
                self.project(self.positions + k * self.displacements)[:, :2]
                for k in (-self.times, self.times)
            ]
        )
        low, high = ends.min(axis=0) - 2, ends.max(axis=0) + 2
        self.thickness = float(np.clip(_USUAL_A / max(high - low), 0.3, 1.0))
        low[1] -= 4
        ax.set_xlim(low[0], max(high[0], low[0] + 1.5 * _BAR_A))
        ax.set_ylim(low[1], high[1])
        ax.set_aspect("equal")
        ax.set_axis_off()
        ax.set_title(title, fontsize=10)
        ax.plot([low[0] + 1, low[0] + 1 + _BAR_A], [low[1] + 1] * 2, color="black", lw=2)
        ax.text(low[0] + 1 + _BAR_A / 2, low[1] + 1.5, "10 Å", ha="center", va="bottom", fontsize=8)
        scale = ScalarMappable(Normalize(0, self.most), "viridis")
        ax.figure.colorbar(scale, ax=ax, label="Cα displacement (Å)", shrink=0.7, pad=0.02)


def _smoothed(values: Floats, fine: int) -> Floats:
    """A line through the points, with so many points from one to the next."""
    from scipy.interpolate import CubicSpline

    if len(values) < 2:
        return np.repeat(values, 2, axis=0)  # a dot
    if len(values) < 3 or fine == 1:
        return values
    places = np.arange(len(values))
    found: Floats = CubicSpline(places, values)(np.linspace(0, places[-1], fine * places[-1] + 1))
    return found


def _rgba(colour: str) -> tuple[float, float, float, float]:
    from matplotlib.colors import to_rgba

    return to_rgba(colour)


def _gif(pictures: list[Any]) -> bytes:
    """RGB pictures (height, width, 3) with one palette for all."""
    from PIL import Image  # which matplotlib needs, too

    palette = Image.new("P", (1, 1))
    palette.putpalette(_palette().ravel().tolist())
    frames = [
        Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE)
        for picture in pictures
    ]
    buffer = BytesIO()
    frames[0].save(
        buffer, "GIF", save_all=True, append_images=frames[1:], duration=_FRAME_MS, loop=0
    )
    return buffer.getvalue()


def _palette() -> Any:
    """The colours of the line, pure and half way to its edge and to white; greys: (c, 3) uint8."""
    from matplotlib import colormaps

    pure = colormaps["viridis"](np.linspace(0, 1, _LEVELS))[:, :3]
    edge = np.array(_rgba(_EDGE)[:3])
    greys = np.repeat(np.linspace(0, 1, 16)[:, None], 3, axis=1)
    colours = np.concatenate([pure, (pure + edge) / 2, (pure + 1) / 2, greys])
    return (255 * colours).round().astype(np.uint8)
