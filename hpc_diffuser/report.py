"""What came out of a run. Reads only."""

from pathlib import Path
from typing import Any

import numpy as np

from hpc_diffuser.errors import InputError
from hpc_diffuser.io.run_directory import read_manifest
from hpc_diffuser.io.storage import read_json
from hpc_diffuser.parameters import parameter_labels

MOVE_MORE = 0.05  # of the atoms: fewer are told without a warning


def read_summary(directory: Path) -> dict[str, Any]:
    """The summary of a run that has finished at least one restart.

    Raises
    ------
    InputError
        Where there is none yet.
    """
    read_manifest(directory)
    path = directory / "summary.json"
    if not path.exists():
        raise InputError(
            f"{directory}: no restart has finished yet; see hpc-diffuser status {directory}"
        )
    summary = read_json(path)
    if not isinstance(summary, dict):
        raise InputError(f"{path}: damaged: run hpc-diffuser fit again, which writes it anew")
    if "median" not in summary:
        raise InputError(f"{path}: no restart has finished yet")
    return summary


def report_text(summary: dict[str, Any]) -> str:
    """Parameters with spread, scores, and CC by shell, as a table."""
    parts = [_headline(summary), _parameter_table(summary)]
    if "shells" in summary:
        parts += [_score_table(summary), _shell_table(summary["shells"])]
        parts += [_b_factor_text(summary["b_factors"])] if summary.get("b_factors") else []
        parts += [_halo_text(summary["halos"])] if summary.get("halos") else []
    else:
        parts.append("Scores of the median: after the last restart.")
    return "\n\n".join(parts)


def _headline(summary: dict[str, Any]) -> str:
    lines = [
        f"{summary['restarts_finished']} of {summary['restarts']} restarts finished, "
        f"{summary['evaluations']} evaluations"
    ]
    lines += [f"restart {e['restart']} excluded: {e['reason']}" for e in summary["excluded"]]
    lines += [
        f"{name} is at the upper bound of its range: widen it, and fit again"
        for name in summary["at_upper_bound"]
    ]
    return "\n".join(lines)


def _parameter_table(summary: dict[str, Any]) -> str:
    median, spread, best = summary["median"], summary["spread"], summary["best"]
    source, refined = summary["source_mode_amplitude_A"], set(summary["refined"])
    lines = ["Parameters (Å)          median   spread     best  ensemble"]
    for name, value in median.items():
        labels = parameter_labels(name, len(value) if isinstance(value, list) else None)
        columns = [np.atleast_1d(table[name]) for table in (median, spread, best)]
        for row, label in enumerate(labels):
            ensemble = source[row] if name == "mode_amplitude_A" else None
            values = [float(column[row]) for column in columns]
            lines.append(_parameter_row(label, values, label in refined, ensemble))
    return "\n".join(lines)


def _parameter_row(label: str, values: list[float], refined: bool, ensemble: float | None) -> str:
    median, spread, best = values
    width = f"{spread:9.4f}" if refined else "     held"
    source = "" if ensemble is None else f"{ensemble:10.4f}"
    return f"  {_shown(label):20s}{median:9.4f}{width}{best:9.4f}{source}"


def _shown(label: str) -> str:
    """A parameter's name without what the table's heading says; other units than Å stay."""
    for ending, unit in (("_sigma_A", ""), ("_A2", " (Å²)"), ("_eA3", " (e/Å³)"), ("_A", "")):
        label = label.replace(ending, unit)
    return label.replace("_sigma_deg", " (deg)").replace("_", " ")


def _score_table(summary: dict[str, Any]) -> str:
    alone = summary["translation_alone"]
    session = summary["last_session"]
    return "\n".join(
        [
            "Scores                 CC_work  CC_free",
            f"  median of the fit   {_cc(summary['cc_work'])}{_cc(summary['cc_free'])}",
            f"  translation alone   {_cc(alone['cc_work'])}{_cc(alone['cc_free'])}"
            f"   (sigma {alone['translation_sigma_A']:.3f} Å)",
            *_ceiling_lines(summary.get("ceiling")),
            f"Last session: {session['ranks']} ranks, {session['wall_s']:.0f} s, "
            f"{session['peak_memory_MB_per_rank']} MB per rank" + _share(session),
        ]
    )


def _ceiling_lines(ceiling: dict[str, float | None] | None) -> list[str]:
    if ceiling is None:
        return []
    cc_half = _cc(ceiling["cc_half"]).strip()
    space = " " * 12
    return [f"  the data's CC*      {_cc(ceiling['cc_star'])}{space}(CC½ of half-maps {cc_half})"]


def _share(session: dict[str, Any]) -> str:
    """What part of the search went into proposing; nothing where nothing was left to search."""
    share = session.get("optimiser_share")
    return "" if share is None else f", {100 * share:.0f} % of the search in proposing"


def _shell_table(shells: list[dict[str, Any]]) -> str:
    """CC by shell with its voxels, translation's beside it, and the data's ceiling if known."""
    ceiling = any(shell.get("cc_half") is not None for shell in shells)
    heading = (
        "Shell d (Å)        voxels: work    free  CC_work  CC_free  translation: work     free"
    )
    lines = [heading + ("      CC½      CC*" if ceiling else "")]
    for shell in shells:
        d_max = "∞" if shell["d_max"] is None else f"{shell['d_max']:.2f}"
        voxels = "".join(f"{_count(shell.get(f'voxels_{kind}')):>8}" for kind in ("work", "free"))
        limits = "".join(_cc(shell[key]) for key in ("cc_half", "cc_star")) if ceiling else ""
        lines.append(
            f"  {d_max:>6} - {shell['d_min']:<6.2f}      {voxels}"
            f"{_cc(shell['cc'])}{_cc(shell['cc_free'])}"
            f"        {_cc(shell['cc_translation'])}{_cc(shell['cc_free_translation'])}{limits}"
        )
    return "\n".join(lines)


def _count(value: int | None) -> str:
    """Of a summary that is older than the counts, nothing."""
    return "" if value is None else str(value)


def _b_factor_text(found: dict[str, Any]) -> str:
    cc = "none (one does not vary)" if found["cc"] is None else f"{found['cc']:.3f}"
    lines = [
        f"B-factors beside the crystal's, {found['atoms']} atoms: CC {cc}; mean "
        f"{found['mean_A2']:.1f} against {found['crystal_mean_A2']:.1f} Å², "
        f"ratio {found['mean_ratio']:.2f}"
    ]
    if found["moves_more"] > MOVE_MORE:
        n_atoms = round(found["moves_more"] * found["atoms"])
        lines.append(
            f"  warning: {n_atoms} atoms ({100 * found['moves_more']:.0f} %) move more than the "
            f"crystal says, {found['farthest_beyond']} most: the model's motion is too large there"
        )
    return "\n".join(lines)


def _halo_text(found: dict[str, Any]) -> str:
    lines = [
        "CC, work and free together: "
        f"with halos{_cc(found['cc_with_halos'])}, masked{_cc(found['cc_without_halos'])}"
    ]
    if "alpha_scan" in found:
        lines.append("Rigid molecule times the halo profile to the power alpha")
        lines.append("  alpha  with halos   masked")
        lines += [
            f"  {row['alpha']:5.1f}  {_cc(row['cc_with_halos'])}{_cc(row['cc_without_halos'])}"
            for row in found["alpha_scan"]
        ]
    return "\n".join(lines)


def _cc(value: float | None) -> str:
    return "     none" if value is None else f"{value:9.4f}"
