"""What a run says: where it stands, and what came out. Reads only."""

import json
import time
from pathlib import Path
from typing import Any

from hpc_diffuser.errors import InputError
from hpc_diffuser.io.checkpoints import checkpoint_path
from hpc_diffuser.io.run_directory import read_histories, read_manifest
from hpc_diffuser.io.storage import read_json


def status_text(directory: Path) -> str:
    """Restarts done and under way, best CC, last change and owner of a run, as text.

    Raises
    ------
    InputError
        Where the folder is not a run directory.
    """
    settings = read_manifest(directory)["settings"]
    n_restarts, n_evaluations = settings["search.restarts"], settings["search.evaluations"]
    histories = read_histories(directory, n_restarts)
    finished = sum(len(h) >= n_evaluations for h in histories.values())
    begun = {r: h for r, h in histories.items() if 0 < len(h) < n_evaluations}
    done = sum(min(len(h), n_evaluations) for h in histories.values())
    total = n_restarts * n_evaluations
    lines = [
        f"{directory}: {'finished' if _complete(directory, n_restarts) else 'not finished'}",
        f"restarts     {finished} of {n_restarts} done, {len(begun)} under way",
        f"evaluations  {done} of {total} ({100 * done / total:.0f} %)",
    ]
    if histories:
        best = min(histories, key=lambda r: histories[r].objectives.min())
        cc = 1 - histories[best].objectives.min()
        newest = max(checkpoint_path(directory, r).stat().st_mtime for r in histories)
        lines.append(f"best CC_work {cc:.4f} (restart {best})")
        lines.append(f"last saved   {_ago(time.time() - newest)} ago")
    return "\n".join([*lines, _owner(directory)])


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
    if "median" not in summary:
        raise InputError(f"{path}: no restart has finished yet")
    return summary


def report_text(summary: dict[str, Any]) -> str:
    """Parameters with spread, scores, and CC by shell, as a table."""
    parts = [_headline(summary), _parameter_table(summary)]
    if "shells" in summary:
        parts += [_score_table(summary), _shell_table(summary["shells"])]
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
    source = summary["source_mode_amplitude_A"]
    lines = ["Parameters (Å)          median   spread     best  ensemble"]
    rows = [
        (f"mode {i + 1}", *(t["mode_amplitude_A"][i] for t in (median, spread, best)), source[i])
        for i in range(len(source))
    ]
    for name, label in (
        ("translation_sigma_A", "translation"),
        ("uncorrelated_sigma_A", "uncorrelated"),
    ):
        rows.append((label, median[name], spread[name], best[name], None))
    refined = set(summary["refined"])
    for label, *values, ensemble in rows:
        held = not ({label, f"{label}_sigma_A"} & refined)
        text = "".join(f"{v:9.4f}" for v in values[:1]) + (
            "     held" if held else f"{values[1]:9.4f}"
        )
        text += f"{values[2]:9.4f}" + ("" if ensemble is None else f"{ensemble:10.4f}")
        lines.append(f"  {label:20s}{text}")
    return "\n".join(lines)


def _score_table(summary: dict[str, Any]) -> str:
    alone = summary["translation_alone"]
    session = summary["last_session"]
    return "\n".join(
        [
            "Scores                 CC_work  CC_free",
            f"  median of the fit   {_cc(summary['cc_work'])}{_cc(summary['cc_free'])}",
            f"  translation alone   {_cc(alone['cc_work'])}{_cc(alone['cc_free'])}"
            f"   (sigma {alone['translation_sigma_A']:.3f} Å)",
            f"Last session: {session['ranks']} ranks, {session['wall_s']:.0f} s, "
            f"{session['peak_memory_MB_per_rank']} MB per rank" + _share(session),
        ]
    )


def _share(session: dict[str, Any]) -> str:
    """What part of the search went into proposing; nothing where nothing was left to search."""
    share = session.get("optimiser_share")
    return "" if share is None else f", {100 * share:.0f} % of the search in proposing"


def _shell_table(shells: list[dict[str, float | None]]) -> str:
    lines = ["Shell d (Å)        CC_work  CC_free   translation alone: work  free"]
    for shell in shells:
        d_max = "∞" if shell["d_max"] is None else f"{shell['d_max']:.2f}"
        lines.append(
            f"  {d_max:>6} - {shell['d_min']:<6.2f}  {_cc(shell['cc'])}{_cc(shell['cc_free'])}"
            f"              {_cc(shell['cc_translation'])}{_cc(shell['cc_free_translation'])}"
        )
    return "\n".join(lines)


def _cc(value: float | None) -> str:
    return "     none" if value is None else f"{value:9.4f}"


def _complete(directory: Path, n_restarts: int) -> bool:
    path = directory / "summary.json"
    if not path.exists():
        return False
    summary = read_json(path)
    return "shells" in summary and summary["restarts_finished"] >= n_restarts


def _owner(directory: Path) -> str:
    try:
        owner = json.loads((directory / "lock").read_text())
        job = f", job {owner['job']}" if owner["job"] else ""
        return f"in use by    process {owner['pid']} on {owner['host']}{job}"
    except FileNotFoundError:
        return "in use by    nobody"
    except (OSError, ValueError, KeyError):
        return "in use by    an unreadable lock file"


def _ago(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
