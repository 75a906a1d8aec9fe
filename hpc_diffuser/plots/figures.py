"""Figures that commands write with --png."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from hpc_diffuser.crystal.lattice import HklGrid, reciprocal_metric
from hpc_diffuser.fit.summary import Summary
from hpc_diffuser.io.restraint_files import Restraints, by_residue
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.motion.convergence import FEWEST_FRAMES, PAIRS, Convergence
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.storage import write_bytes

_BLUE, _GREY, _ORANGE = "#1f5fa8", "#8a8a8a", "#d1642b"


def plot_shells(path: Path, summary: Summary) -> None:
    """CC against resolution: the fit, its free set, and translation alone.

    Raises
    ------
    InputError
        Where matplotlib is not installed, or the run is not finished.
    """
    outcome = summary.outcome
    if outcome is None:
        raise InputError("no figure yet: CC by shell comes after the last restart")
    shells = outcome.shells
    low = [1 / s.d_max if s.d_max else 0.0 for s in shells]
    middle = [(a + 1 / s.d_min) / 2 for a, s in zip(low, shells, strict=True)]
    figure, axes = _subplots(1, 1, figsize=(6.4, 4.0))
    curves = (
        ([s.cc for s in shells], "fit, working set", _BLUE, "-", "o"),
        ([s.cc_free for s in shells], "fit, free set", _ORANGE, "-", "s"),
        ([s.cc_translation for s in shells], "translation alone", _GREY, "--", "^"),
    )
    for found, label, colour, line, marker in curves:
        values = [float("nan") if cc is None else cc for cc in found]
        axes.plot(middle, values, line, marker=marker, ms=4, color=colour, label=label)
    axes.set_xlabel("resolution d (Å)")
    axes.set_ylabel("correlation coefficient")
    ticks = axes.get_xticks()
    ticks = [t for t in ticks if middle[0] <= t <= middle[-1]]
    axes.set_xticks(ticks, [f"{1 / t:.2f}" for t in ticks])
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    axes.set_title(
        f"CC_work {_text(outcome.cc_work)}, CC_free {_text(outcome.cc_free)}; "
        f"translation alone {_text(outcome.translation_alone.cc_work)}",
        fontsize=10,
    )
    _save(figure, path)


def plot_sampling_errors(path: Path, measured: dict[str, Any]) -> None:
    """1 − CC against the number of samples, as `bench` measured it, for three ways to sample.

    Raises
    ------
    InputError
        Where matplotlib is not installed.
    """
    figure, axes = _subplots(1, 1, figsize=(6.4, 4.0))
    curves = (
        ("error_by_samples_reference", "plain random, translation sampled", _GREY, "^"),
        ("error_by_samples_plain_random", "plain random, translation exact", _ORANGE, "s"),
        ("error_by_samples", "Sobol, translation exact", _BLUE, "o"),
    )
    for key, label, colour, marker in curves:
        errors = {int(n): error for n, error in measured[key].items()}
        samples = sorted(errors)
        axes.loglog(
            samples, [errors[n] for n in samples], marker=marker, ms=4, color=colour, label=label
        )
    axes.axhline(measured["reference_error"], color=_GREY, lw=0.8, ls=":")
    ticks = sorted(int(n) for n in measured["error_by_samples_reference"])
    axes.set_xticks(ticks, [str(n) for n in ticks])
    axes.minorticks_off()
    axes.set_xlabel("samples")
    axes.set_ylabel("1 − CC with the closed form")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    _save(figure, path)


def plot_sections(path: Path, diffuse: DiffuseMap) -> None:
    """The three central sections of a map, in Å⁻¹ with the angles of the reciprocal axes.

    Raises
    ------
    InputError
        Where matplotlib is not installed, or nothing is measured in the three sections.
    """
    grid, middle = diffuse.grid, diffuse.grid.extent
    planes = [np.take(diffuse.intensity, middle[i], axis=i) for i in range(3)]
    measured = np.concatenate([plane[np.isfinite(plane)] for plane in planes])
    if not len(measured):
        raise InputError("no figure: nothing is measured in the sections h = 0, k = 0 and l = 0")
    low, high = np.percentile(measured, (1, 99))
    figure, panels = _subplots(1, 3, figsize=(12.0, 4.4))
    for panel, i in zip(panels, (2, 1, 0), strict=True):
        image = _section(panel, planes[i], grid, i)
        image.set_clim(low, high)
    figure.colorbar(image, ax=panels, extend="both", label="intensity", pad=0.01)
    _save(figure, path)


def _section(panel, plane: np.ndarray, grid: HklGrid, across: int):
    """One central section: the two axes that lie in it, circles of equal resolution."""
    from matplotlib.patches import Circle
    from matplotlib.transforms import Affine2D

    u, v = (i for i in range(3) if i != across)
    metric = reciprocal_metric(grid.unit_cell)
    cosine = metric[u, v] / np.sqrt(metric[u, u] * metric[v, v])
    oblique = np.array([[1, cosine, 0], [0, np.sqrt(1 - cosine**2), 0], [0, 0, 1]])
    reach = [(grid.extent[i] + 0.5) / grid.divisions[i] * np.sqrt(metric[i, i]) for i in (u, v)]
    image = panel.imshow(plane.T, origin="lower", extent=(-reach[0], reach[0], -reach[1], reach[1]))
    image.set_transform(Affine2D(oblique) + panel.transData)
    width, height = np.abs(oblique[:2, :2]) @ reach
    panel.set(xlim=(-width, width), ylim=(-height, height), facecolor="#d9d9d9")
    for d in (10, 5, 3, 2, 1.5, 1.2):
        if 1 / d < max(width, height):
            panel.add_patch(Circle((0, 0), 1 / d, fill=False, color="white", lw=0.6, ls=":"))
            panel.annotate(f"{d:g} Å", (0, 1 / d), color="white", fontsize=7, ha="center")
    panel.set_title(f"{'hkl'[across]} = 0", fontsize=10)
    panel.set_xlabel(f"along {'hkl'[u]} (1/Å)")
    panel.set_ylabel(f"{'hkl'[v]} upwards (1/Å)")
    return image


def plot_convergence(path: Path, modes: Modes) -> None:
    """Whether the modes' trajectory was long enough: its parts, its modes, its blocks.

    Raises
    ------
    InputError
        Where matplotlib is not installed, or nothing is known of the frames.
    """
    found = modes.convergence
    if found is None:
        raise InputError(
            f"no figure: modes.h5 says nothing of a trajectory's parts: expected modes of a "
            f"trajectory of {FEWEST_FRAMES} frames or more, made by this version"
        )
    figure, panels = _subplots(1, 3, figsize=(12.0, 4.2))
    _parts(panels[0], found)
    _along_modes(panels[1], found)
    _blocks(panels[2], found)
    for panel in panels:
        panel.grid(alpha=0.3)
    _save(figure, path)


def _parts(panel, found: Convergence) -> None:
    """RMSIP and covariance overlap of halves and thirds, beside frames in random order."""
    places = np.arange(len(PAIRS))
    curves = (
        (found.rmsip, found.random_rmsip, "RMSIP", _BLUE, "o"),
        (found.overlap, found.random_overlap, "covariance overlap", _ORANGE, "s"),
    )
    for values, random, label, colour, marker in curves:
        panel.plot(places, values, marker, color=colour, label=label)
        panel.plot(places, random, marker, mfc="none", color=colour, label="in random order")
    panel.set_xticks(places, [f"{parts}\n{i + 1}, {j + 1}" for parts, _, i, j in PAIRS])
    panel.set(xlim=(-0.5, len(PAIRS) - 0.5), ylim=(0, 1))
    panel.set_title(f"parts of {found.n_frames} frames, {found.compared} modes", fontsize=10)
    panel.legend(frameon=False, fontsize=8)


def _along_modes(panel, found: Convergence) -> None:
    """Cosine content, and independent frames, mode by mode."""
    numbers = np.arange(1, found.compared + 1)
    panel.bar(numbers, found.cosine_content, color=_ORANGE, alpha=0.7)
    panel.set(ylim=(0, 1), xlabel="mode")
    panel.set_ylabel("cosine content (bars)", color=_ORANGE)
    panel.set_xticks(numbers)
    beside = panel.twinx()
    beside.plot(numbers, found.independent, "o-", ms=4, color=_BLUE)
    beside.set_ylim(0, 1.1 * float(found.independent.max()))
    beside.set_ylabel("independent frames (points)", color=_BLUE)
    panel.set_title("first modes", fontsize=10)


def _blocks(panel, found: Convergence) -> None:
    """Covariance overlap of blocks with all frames, by their length."""
    lengths = found.block_lengths
    panel.semilogx(lengths, found.block_overlap, "o-", ms=4, color=_BLUE, label="of a block")
    panel.semilogx(
        lengths,
        found.random_block_overlap,
        "o--",
        ms=4,
        mfc="none",
        color=_GREY,
        label="of random frames",
    )
    panel.set_xticks(lengths[::2], [str(length) for length in lengths[::2]])
    panel.minorticks_off()
    panel.set(ylim=(0, 1), xlabel="frames", ylabel="covariance overlap with all frames")
    panel.set_title(f"blocks: worth {found.independent_blocks:.0f} independent frames", fontsize=10)
    panel.legend(frameon=False, fontsize=8)


def plot_two_state(path: Path, maps: Any) -> None:
    """The simulated crystal, one molecule, and the crystal without its halos, side by side.

    Parameters
    ----------
    path : Path
    maps : TwoStateMaps
        Of the example.

    Raises
    ------
    InputError
        Where matplotlib is not installed.
    """
    figure, axes = _subplots(1, 3, figsize=(11.0, 4.4), sharey=True)
    masked = np.where(maps.between_halos, maps.simulated, np.nan)
    panels = (
        ("crystal, Bragg peaks removed", maps.simulated),
        ("one molecule that changes its shape", maps.shapes),
        ("crystal, halos masked", masked),
    )
    pixel = maps.h[1] / 2
    edges = [sign * (axis[-1] + pixel) for axis in (maps.h, maps.k) for sign in (-1, 1)]
    for panel, (title, half) in zip(axes, panels, strict=True):
        # Friedel's half, without h = 0, goes before the half that was computed.
        plane = np.concatenate([half[:0:-1, ::-1], half])
        image = panel.imshow(plane.T, origin="lower", extent=edges, vmin=0, vmax=maps.shapes.max())
        image.cmap.set_bad("#d9d9d9")
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("h")
    axes[0].set_ylabel("k")
    figure.colorbar(image, ax=axes, extend="max", label="diffuse intensity per molecule", pad=0.01)
    between, everywhere = maps.agreement()
    figure.suptitle(
        "Between its halos a crystal scatters like one molecule that changes its shape "
        f"(CC {between:.2f}; with the halos {everywhere:.2f})",
        fontsize=11,
    )
    _save(figure, path)


def plot_restraints(path: Path, restraints: Restraints) -> None:
    """RMSF, B and restraints by residue: the crystal's, the trajectory's, and that before it.

    Raises
    ------
    InputError
        Where matplotlib is not installed.
    """
    labels, found = by_residue(restraints)
    figure, panels = _subplots(3, 1, figsize=(8.0, 7.2), sharex=True)
    curves = (
        ("crystal", "crystal", _BLUE),
        ("before", "trajectory before", _GREY),
        ("trajectory", "trajectory", _ORANGE),
    )
    number = np.arange(len(labels))
    for panel, column in zip(panels, ("RMSF_A", "B_A2"), strict=False):
        for name, label, colour in curves:
            if (values := found.get(f"{name}_{column}")) is not None:
                panel.plot(number, values, color=colour, lw=1.2, label=label)
    panels[2].bar(number, found["k_kJ_mol_nm2"], color=_BLUE, width=0.8)
    names = ("RMSF (Å)", "B (Å²)", "restraint (kJ/mol/nm²)")
    for panel, name in zip(panels, names, strict=True):
        panel.set_ylabel(name)
        panel.grid(alpha=0.3)
    panels[0].legend(frameon=False)
    ticks = number[:: max(1, len(labels) // 8)]
    panels[2].set_xticks(ticks, [labels[i] for i in ticks])
    _save(figure, path)


def _text(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _save(figure: Any, path: Path) -> None:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    write_bytes(path, buffer.getvalue())


def _subplots(
    rows: int, columns: int, figsize: tuple[float, float], **sharing: bool
) -> tuple[Any, Any]:
    """A figure and its axes, without pyplot: in a notebook that one is the caller's."""
    try:
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise InputError(
            "figures need matplotlib: pip install hpc-diffuser[report], or do without the figure"
        ) from exc
    figure = Figure(figsize=figsize, layout="constrained")
    return figure, figure.subplots(rows, columns, **sharing)
