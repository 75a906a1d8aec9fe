"""What came out of a run. Reads only."""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from hpc_diffuser.fit.clusters import NEIGHBOURS
from hpc_diffuser.fit.run.directory import read_manifest
from hpc_diffuser.fit.summary import TRANSLATIONS_A, VERSION
from hpc_diffuser.motion.registry import BY_NAME
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.progress import duration
from hpc_diffuser.system.storage import read_json

WIDTH = 100  # of a line of text
MOST_CLUSTERS = 6  # that are shown side by side
MOST_NAMES = 4  # of hosts, of processors
_HEADINGS = {"spread": "scatter"}
_SCATTER = (
    "scatter: half the width of the central 68 % of the restarts' answers. It tells how well the "
    "search finds the same place again, not how well the map determines a parameter: it is no "
    "standard error."
)
_SOURCE = "source: a mode's amplitude in the ensemble, or the elastic network, that it comes from."
_CLUSTERS = (
    "Medians of each cluster, in which every restart has a neighbour whose parameters differ by at "
    f"most {NEIGHBOURS:g} of their ranges, rms. CC_search is CC_work as the search saw it, with "
    "its own samples."
)


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
    if summary.get("version") != VERSION:
        raise InputError(
            f"{path}: of another version of hpc-diffuser: run hpc-diffuser fit again, which writes "
            "it anew (where that refuses, once with --accept-versions)"
        )
    if "median" not in summary:
        raise InputError(f"{path}: no restart has finished yet")
    return summary


def report_text(summary: dict[str, Any]) -> str:
    """Warnings, the answer, its parameters and scores, CC by shell, B-factors, cost: as text."""
    parts = [warnings_text(summary["warnings"]), _headline(summary), _parameter_table(summary)]
    parts.append(_cluster_table(summary) if len(summary["clusters"]) > 1 else "")
    if "shells" in summary:
        parts += [_score_table(summary), shell_table(summary["shells"])]
        parts.append(_motion_table(summary))
        parts += [_halo_text(summary["halos"])] if summary.get("halos") else []
        parts.append(_cost_text(summary))
    else:
        parts.append("Scores, and what the answer is: after the last restart.")
    return "\n\n".join(part for part in parts if part)


def warnings_text(warnings: list[str]) -> str:
    """One paragraph for each, numbered; empty without any."""
    if not warnings:
        return ""
    numbered = enumerate(warnings, start=1)
    return "\n".join(["Warnings", *(wrapped(f"{n}. {text}", 2) for n, text in numbered)])


def wrapped(text: str, indent: int = 0) -> str:
    """A paragraph in lines that fit on a page; of an indented one, the others farther in."""
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 3 * (indent > 0)),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _headline(summary: dict[str, Any]) -> str:
    lines = [
        f"{summary['restarts_finished']} of {summary['restarts']} restarts finished, "
        f"{summary['evaluations']} evaluations"
    ]
    lines += [f"restart {e['restart']} excluded: {e['reason']}" for e in summary["excluded"]]
    if "answer" in summary:
        lines.append(f"The answer is {summary['answer_is']}{_agreement(summary['clusters'])}")
    return "\n".join(lines)


def _agreement(found: list[dict[str, Any]]) -> str:
    if sum(len(cluster["restarts"]) for cluster in found) == 1:
        return ""
    return ": they agree" if len(found) == 1 else "; the restarts do not agree"


def _parameter_table(summary: dict[str, Any]) -> str:
    """The answer, if it is known yet; median and best restart beside it where they are others."""
    columns = {key: summary[key] for key in ("answer", "median", "best") if key in summary}
    if columns.get("answer") == columns["median"]:
        del columns["median"]
    first, *others = columns
    order = [first, "spread", *others]
    source, refined = summary["source_mode_amplitude_A"], set(summary["refined"])
    heading = "".join(f"{_HEADINGS.get(name, name):>9s}" for name in order)
    lines = [f"Parameters (Å)        {heading}" + "   source" * bool(source)]
    for name, value in summary["median"].items():
        values = [np.atleast_1d(summary[key][name]) for key in order]
        for row, (label, shown) in enumerate(_labels(name, value)):
            numbers = [column[row] for column in values]
            if label not in refined:
                numbers[1] = "held"
            ensemble = [source[row]] if name == "mode_amplitude_A" else []
            lines.append(f"  {shown:20s}" + "".join(map(_column, numbers + ensemble)))
    notes = [_SCATTER] * bool(refined) + [_SOURCE] * bool(source)
    return "\n".join([*lines, *map(wrapped, notes)])


def _column(value: float | str | None) -> str:
    if value is None:
        return f"{'—':>9s}"
    return f"{value:>9s}" if isinstance(value, str) else f"{value:9.4f}"


def _cluster_table(summary: dict[str, Any]) -> str:
    """Clusters side by side, the best one first: how many restarts, best CC, medians."""
    found = summary["clusters"]
    shown = found[:MOST_CLUSTERS]
    rows = {
        "restarts": [str(len(cluster["restarts"])) for cluster in shown],
        "best CC_search": [cluster["cc_search"] for cluster in shown],
    }
    for name, value in summary["median"].items():
        values = [np.atleast_1d(cluster["median"][name]) for cluster in shown]
        for row, (label, for_people) in enumerate(_labels(name, value)):
            if label in summary["refined"]:
                rows[for_people] = [column[row] for column in values]
    heading = "".join(f"{number:9d}" for number in range(1, len(shown) + 1))
    more = len(found) - len(shown)
    lines = [f"Clusters of restarts  {heading}" + (f"   and {more} more" if more else "")]
    lines += [f"  {label:20s}" + "".join(map(_column, row)) for label, row in rows.items()]
    return "\n".join([*lines, wrapped(_CLUSTERS)])


def _labels(name: str, value: float | list[float]) -> list[tuple[str, str]]:
    """What the numbers of a parameter are called in the summary, and in the report's tables."""
    row, size = BY_NAME[name], len(value) if isinstance(value, list) else None
    return list(zip(row.labels(size), row.shown_labels(size), strict=True))


def _score_table(summary: dict[str, Any]) -> str:
    alone = summary["translation_alone"]
    return "\n".join(
        [
            "Scores of the final map  CC_work  CC_free",
            f"  the answer            {_cc(summary['cc_work'])}{_cc(summary['cc_free'])}"
            + (f"   ({score_rule(**summary['score'])})" if "score" in summary else ""),
            *_other_scores(summary),
            f"  translation alone     {_cc(alone['cc_work'])}{_cc(alone['cc_free'])}"
            f"   ({_of_translation(alone)})",
            *ceiling_lines(summary.get("ceiling")),
        ]
    )


def score_rule(rule: str, weights: str) -> str:
    """What a CC is over, by the config's [target] score and weights."""
    over = {
        "shell-mean": "mean over the shells",
        "pooled": "one CC over all shells, each less its mean",
    }
    return over[rule] + (", voxels count 1/sigma^2" if weights == "errors" else "")


def _cost_text(summary: dict[str, Any]) -> str:
    """Of all jobs together, and the last one's memory and where its time went."""
    found, session = summary["cost"], summary["last_session"]
    jobs = "one job" if found["jobs"] == 1 else f"{found['jobs']} jobs"
    killed = f" ({found['killed']} killed, counted up to its last save)" if found["killed"] else ""
    return "\n".join(
        [
            f"Cost, {jobs}{killed}: {_hours(found['core_hours'])} core-hours, "
            f"{duration(3600 * found['wall_hours'])}; on {_few(found['hosts'])} "
            f"({_few(found['processors'])})",
            f"Last job: {session['ranks']} ranks, {session['wall_s']:.0f} s, "
            f"{session['peak_memory_MB_per_rank']} MB per rank" + _share(session),
        ]
    )


def _hours(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _few(names: list[str]) -> str:
    """The first names of many."""
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _of_translation(alone: dict[str, float | None]) -> str:
    """Where the baseline is, an end of its range too, and what it has of the answer."""
    solvent = ", the answer's solvent" if alone.get("k_sol_eA3") else ""
    sigma, (low, high) = alone["translation_sigma_A"], TRANSLATIONS_A
    if sigma < low:
        return f"its own best sigma, below {low:g} Å: as small as can be{solvent}"
    if sigma > 0.99 * high:
        return f"its own best sigma, {high:g} Å: the end of the range{solvent}"
    return f"its own best sigma, {sigma:.3f} Å{solvent}"


def ceiling_lines(ceiling: dict[str, float | None] | None) -> list[str]:
    """What the data's half-maps say that a CC could be; nothing without them."""
    if ceiling is None:
        return []
    cc_half = _cc(ceiling["cc_half"]).strip()
    space = " " * 12
    return [f"  the data's CC*        {_cc(ceiling['cc_star'])}{space}(CC½ of half-maps {cc_half})"]


def _other_scores(summary: dict[str, Any]) -> list[str]:
    """Of the points that the answer was chosen from, as far as they are others."""
    names = {"median": "median of all", "cluster": "best cluster's median", "best": "best restart"}
    found = {name: summary.get(f"{key}_scores") for key, name in names.items()}
    own = {key: summary[key] for key in ("cc_work", "cc_free")}
    return [
        f"  {name:22s}{_cc(scores['cc_work'])}{_cc(scores['cc_free'])}"
        for name, scores in found.items()
        if scores and scores != own
    ]


def _share(session: dict[str, Any]) -> str:
    """What part of the search went into proposing; nothing where nothing was left to search."""
    share = session.get("optimiser_share")
    return "" if share is None else f", {100 * share:.0f} % of the search in proposing"


def shell_table(shells: list[dict[str, Any]]) -> str:
    """CC by shell with its voxels, translation's beside it, and the data's ceiling if known."""
    ceiling = any(shell.get("cc_half") is not None for shell in shells)
    baseline = "cc_translation" in shells[0]
    lines = [
        "Shell d (Å)        voxels: work    free  CC_work  CC_free"
        + ("  translation: work     free" if baseline else "")
        + ("      CC½      CC*" if ceiling else "")
    ]
    for shell in shells:
        d_max = "∞" if shell["d_max"] is None else f"{shell['d_max']:.2f}"
        voxels = "".join(f"{_count(shell.get(f'voxels_{kind}')):>8}" for kind in ("work", "free"))
        columns = "".join(_cc(shell[key]) for key in ("cc", "cc_free"))
        if baseline:
            columns += "        " + "".join(
                _cc(shell[key]) for key in ("cc_translation", "cc_free_translation")
            )
        limits = "".join(_cc(shell[key]) for key in ("cc_half", "cc_star")) if ceiling else ""
        lines.append(f"  {d_max:>6} - {shell['d_min']:<6.2f}      {voxels}{columns}{limits}")
    return "\n".join(lines)


def _count(value: int | None) -> str:
    """Of a summary that is older than the counts, nothing."""
    return "" if value is None else str(value)


def _motion_table(summary: dict[str, Any]) -> str:
    """Rms displacement and mean B of each motion and of all; the crystal's B-factors beside."""
    found = summary["motion"]
    lines = ["Motion of the model        rms (Å)  mean B (Å²)"]
    for name, of_one in found["kinds"].items():
        note = _sigma_text(summary["answer"]) if name == "translation" else ""
        lines.append(_motion_row(name, of_one, note))
    lines.append(_motion_row("in all", found))
    if summary["b_factors"]:
        return "\n".join([*lines, _b_factor_text(summary["b_factors"])])
    return "\n".join([*lines, *_no_b_factors(summary["b_factors_missing"])])


def _motion_row(name: str, of_one: dict[str, float], note: str = "") -> str:
    return f"  {name:24s}{of_one['rms_A']:8.3f}{of_one['mean_b_A2']:13.1f}{note}"


def _sigma_text(answer: dict[str, Any]) -> str:
    """How the translation's parameter, which is along one axis, makes its B-factor."""
    sigmas = np.atleast_1d(answer["translation_sigma_A"])
    if len(sigmas) > 1:
        return "   B = 8π²(σx² + σy² + σz²)/3"
    return f"   B = 8π²σ², σ = {sigmas[0]:.3f} Å along each axis"


def _no_b_factors(reason: str) -> list[str]:
    return [
        f"No B-factors of the crystal to compare with: {reason};",
        'give [crystal] file = "crystal.pdb", the refined structure, and fit in a new directory',
    ]


def _b_factor_text(found: dict[str, Any]) -> str:
    cc = "none (one does not vary)" if found["cc"] is None else f"{found['cc']:.3f}"
    return wrapped(
        f"B-factors beside the crystal's, {found['atoms']} atoms: CC {cc}; mean "
        f"{found['mean_A2']:.1f} against {found['crystal_mean_A2']:.1f} Å², "
        f"ratio {found['mean_ratio']:.2f}"
    )


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
