"""Section: the measured map, the calculated one, and what is left, in central sections."""

import numpy as np

from hpc_diffuser.crystal.symmetry import grid_operations
from hpc_diffuser.fit.scoring import plain, voxel_weights
from hpc_diffuser.interface.run import Run
from hpc_diffuser.maps.contrast import Contrast, contrast, full_scale
from hpc_diffuser.maps.sections import central_sections, distinct_sections
from hpc_diffuser.maps.target import Target
from hpc_diffuser.plots.sections import compared_figure
from hpc_diffuser.report.section import Cell, Column, Contents, Figure, Table
from hpc_diffuser.system.arrays import Floats

_NAMES = ("0kl", "h0l", "hk0")
_DIGITS = 5  # that count, of intensities
_TAIL = 1.0  # % of the voxels beyond either end of a scale
_MASKED = (
    "White: masked near Bragg peaks, outside the target's range, or not measured. Rings are of "
    "equal resolution, in Å."
)


def sections_of_maps(run: Run) -> Contents | None:
    """Of a finished run: each central section less the shells' means, and whole."""
    calculated = run.calculated
    if calculated is None:
        return None
    target, options = run.target, run.config.target
    found = contrast(target, calculated, options.cc_rule, voxel_weights(target, options.weights))
    scale, offset = full_scale(found, target.shells(), calculated)
    values = np.stack(
        [
            found.measured,
            found.calculated,
            found.difference,
            target.intensity,
            scale * calculated + offset,
        ]
    )
    operations = grid_operations(target.grid, target.space_group)
    figures: list[Figure] = []
    correlations: list[tuple[Cell, ...]] = []
    for across in distinct_sections(operations):
        planes = central_sections(target.grid, target.indices, values, operations, across)
        if np.isfinite(planes[0]).any():
            figures += _figures(target, planes, across)
            voxels = int(np.isfinite(planes[0]).sum())
            of_both = (plain(_cc(of)) for of in (planes[:2], planes[3:]))
            correlations.append((_NAMES[across], voxels, *of_both, scale, offset))
    return Contents(
        words=_words(target, options.cc_rule, scale, offset, len(figures)),
        figures=tuple(figures),
        tables=(_correlations(tuple(correlations)), _table(target, found)),
    )


def _words(
    target: Target, rule: str, scale: float, offset: float, n_figures: int
) -> tuple[str, ...]:
    how = "one for all shells" if rule == "pooled" else "one for each shell"
    words = [
        "What the score compares: both maps less their means in each resolution shell, the "
        f"calculated one times the scale ({how}, by least squares) that the score is blind to. "
        "Measured, calculated and their difference are on one scale of colours; what is left in "
        "the difference is what the model does not explain.",
        f"Then whole intensities: the calculated map times {scale:.4g}, plus {offset:.1f}, "
        "one scale and one offset for all voxels. An isotropic background, which the model lacks "
        "and the score does not see, makes them differ.",
    ]
    if len(grid_operations(target.grid, target.space_group)) > 2:
        words.append(
            f"Laue mates of {target.space_group} are expanded; of sections that symmetry makes "
            "equal one is shown."
        )
    if not n_figures:
        words.append("No voxel of the target lies in a central section: there is none to show.")
    return tuple(words)


def _figures(target: Target, planes: Floats, across: int) -> tuple[Figure, Figure]:
    """The section less the shells' means, and whole."""
    name = _NAMES[across]
    less, whole = planes[:3], planes[3:]
    edges = target.shell_edges
    between = (1 / edges[0] if edges[0] > 0 else np.inf, target.d_min)

    def figure(what: str, end: str, of: Floats, limits: tuple[float, float], label: str) -> Figure:
        titles = ("measured", "calculated", "measured − calculated")
        shown = dict(zip(titles, of, strict=False))
        return Figure(
            name=f"section_{name}{end}",
            caption=f"Section {name}, {what}: {', '.join(shown)}, in the unit of the measured map, "
            f"on one scale. {_MASKED}",
            alternative=f"{len(shown)} maps of the plane {name}. The measured and the calculated "
            f"one have a correlation of {_cc(of):.2f} in it.",
            draw=lambda: compared_figure(shown, target.grid, across, limits, label, between),
        )

    return (
        figure("less the shells' means", "", less, _symmetric(less[0]), "intensity − shell mean"),
        figure("whole intensities", "_whole", whole, _range(whole), "intensity"),
    )


def _cc(planes: Floats) -> float:
    there = np.isfinite(planes[0]) & np.isfinite(planes[1])
    x, y = planes[0][there], planes[1][there]
    return float(np.corrcoef(x, y)[0, 1]) if len(x) > 1 and x.std() and y.std() else float("nan")


def _symmetric(plane: Floats) -> tuple[float, float]:
    """Limits about 0 that 1 % of a plane's voxels are beyond, at either end."""
    end = float(np.percentile(np.abs(plane[np.isfinite(plane)]), 100 - 2 * _TAIL)) or 1.0
    return -end, end


def _range(planes: Floats) -> tuple[float, float]:
    low, high = np.percentile(planes[np.isfinite(planes)], (_TAIL, 100 - _TAIL))
    return float(low), float(high)


def _correlations(rows: tuple[tuple[Cell, ...], ...]) -> Table:
    return Table(
        name="sections",
        caption="The sections: correlation of the measured and the calculated map over the voxels "
        "in each, and what brings whole calculated maps to the measured one.",
        columns=(
            Column(name="section"),
            Column(name="voxels"),
            Column(name="correlation less the shells' means", digits=2),
            Column(name="correlation of whole intensities", digits=2),
            Column(name="scale of whole maps", digits=4),
            Column(name="offset of whole maps", digits=1),
        ),
        rows=rows,
    )


def _table(target: Target, found: Contrast) -> Table:
    edges, shells, n = target.shell_edges, target.shells(), target.n_shells

    def rms(values: Floats) -> Floats:
        return np.sqrt(np.bincount(shells, values**2, n) / np.bincount(shells, minlength=n))

    columns = (
        ["∞" if low <= 0 else 1 / low for low in edges[:-1]],
        1 / edges[1:],
        np.bincount(shells, minlength=n).tolist(),
        found.measured_mean,
        found.calculated_mean,
        found.scale,
        rms(found.measured),
        rms(found.calculated),
        rms(found.difference),
    )
    names = (
        "mean measured",
        "mean calculated (e²)",
        "scale",
        "rms measured",
        "rms calculated, scaled",
        "rms difference",
    )
    return Table(
        name="section-scales",
        caption="The scales of the sections, by resolution shell: what was subtracted, the scale "
        "of the calculated map, and the rms of what is left of each map over all voxels.",
        columns=(
            Column(name="d_max (Å)", digits=2),
            Column(name="d_min (Å)", digits=2),
            Column(name="voxels"),
            *map(_column, names, columns[3:]),
        ),
        rows=tuple(tuple(_cell(x) for x in row) for row in zip(*columns, strict=True)),
    )


def _column(name: str, values: Floats) -> Column:
    """Of numbers of which so many digits count, whatever their size."""
    largest = float(np.nanmax(np.abs(values), initial=0.0))
    before = int(np.floor(np.log10(largest))) + 1 if largest > 0 else 1
    return Column(name=name, digits=max(0, _DIGITS - before))


def _cell(value: object) -> Cell:
    if isinstance(value, int | str):
        return value
    return float(value)  # type: ignore[arg-type]
