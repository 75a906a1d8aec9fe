"""Pictures of results; the only module that imports matplotlib."""

from io import BytesIO
from pathlib import Path
from typing import Any

from hpc_diffuser.errors import InputError
from hpc_diffuser.io.storage import write_bytes

_BLUE, _GREY, _ORANGE = "#1f5fa8", "#8a8a8a", "#d1642b"


def plot_shells(path: Path, summary: dict[str, Any]) -> None:
    """CC against resolution: the fit, its free set, and translation alone.

    Raises
    ------
    InputError
        Where matplotlib is not installed, or the run is not finished.
    """
    if "shells" not in summary:
        raise InputError("no figure yet: CC by shell comes after the last restart")
    plt = _pyplot()
    shells = summary["shells"]
    low = [1 / s["d_max"] if s["d_max"] else 0.0 for s in shells]
    middle = [(a + 1 / s["d_min"]) / 2 for a, s in zip(low, shells, strict=True)]
    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    curves = (
        ("cc", "fit, working set", _BLUE, "-", "o"),
        ("cc_free", "fit, free set", _ORANGE, "-", "s"),
        ("cc_translation", "translation alone", _GREY, "--", "^"),
    )
    for key, label, colour, line, marker in curves:
        values = [float("nan") if s[key] is None else s[key] for s in shells]
        axes.plot(middle, values, line, marker=marker, ms=4, color=colour, label=label)
    axes.set_xlabel("resolution d (Å)")
    axes.set_ylabel("correlation coefficient")
    ticks = axes.get_xticks()
    ticks = [t for t in ticks if middle[0] <= t <= middle[-1]]
    axes.set_xticks(ticks, [f"{1 / t:.2f}" for t in ticks])
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    axes.set_title(
        f"CC_work {_text(summary['cc_work'])}, CC_free {_text(summary['cc_free'])}; "
        f"translation alone {_text(summary['translation_alone']['cc_work'])}",
        fontsize=10,
    )
    _save(figure, path)
    plt.close(figure)


def plot_sampling_errors(path: Path, measured: dict[str, Any]) -> None:
    """1 − CC against the number of samples, as `bench` measured it, for three ways to sample.

    Raises
    ------
    InputError
        Where matplotlib is not installed.
    """
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
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
    plt.close(figure)


def _text(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _save(figure: Any, path: Path) -> None:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    write_bytes(path, buffer.getvalue())


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError as exc:
        raise InputError(
            "figures need matplotlib: pip install hpc-diffuser[report], or leave out --png"
        ) from exc
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt
