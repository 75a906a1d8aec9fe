"""The error of a calculated map against the number of samples."""

from typing import Any

from hpc_diffuser.plots.canvas import BLUE, GREY, ORANGE, finish, label_counts, new_axes


def plot_sampling_errors(measured: dict[str, Any], ax: Any = None) -> Any:
    """1 − CC against the number of samples, as `bench` measured it, for three ways to sample.

    Parameters
    ----------
    measured : dict
        What `hpc-diffuser bench --json` writes.
    ax : matplotlib Axes, optional
        By default those of a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InputError
        Where matplotlib is not installed.
    """
    ax = new_axes(ax, (6.4, 4.0))
    curves = (
        ("error_by_samples_reference", "plain random, translation sampled", GREY, "^"),
        ("error_by_samples_plain_random", "plain random, translation exact", ORANGE, "s"),
        ("error_by_samples", "Sobol, translation exact", BLUE, "o"),
    )
    for key, label, colour, marker in curves:
        errors = {int(n): error for n, error in measured[key].items()}
        samples = sorted(errors)
        ax.loglog(
            samples, [errors[n] for n in samples], marker=marker, ms=4, color=colour, label=label
        )
    ax.axhline(measured["reference_error"], color=GREY, lw=0.8, ls=":")
    label_counts(ax, sorted(int(n) for n in measured["error_by_samples_reference"]))
    ax.set_xlabel("samples")
    ax.set_ylabel("1 − CC with the closed form")
    finish(ax, fontsize=10)
    return ax
