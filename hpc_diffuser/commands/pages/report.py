"""What came out of a run. Reads only."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpc_diffuser.fit.agreement import agreement
from hpc_diffuser.fit.cc_text import cc_column
from hpc_diffuser.fit.clusters import NEIGHBOURS
from hpc_diffuser.fit.frame_weights import FrameWeights
from hpc_diffuser.fit.run.directory import read_manifest
from hpc_diffuser.fit.summary import (
    TRANSLATIONS_A,
    BFactors,
    Ceiling,
    Cost,
    Findings,
    FitShellRow,
    HaloScores,
    LastSession,
    Likelihood,
    MotionSize,
    Outcome,
    PriorShare,
    ScannedHaloScores,
    Scores,
    ShellRow,
    Spread,
    Summary,
    TranslationAlone,
    Values,
    by_label,
    without_stand_ins,
)
from hpc_diffuser.fit.summary_file import NAME, read_summary
from hpc_diffuser.motion.registry import BY_NAME, FRAME_WEIGHT
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.progress import duration

WIDTH = 100  # of a line of text
MOST_CLUSTERS = 6  # that are shown side by side
MOST_FRAMES = 12  # that are named
MOST_NAMES = 4  # of hosts, of processors
_HEADINGS = {"spread": "scatter", "standard_errors": "error"}
_ERROR = (
    "error: the answer's standard error, by what the map's zones say: with 68 % the parameter is "
    "within it, if model and search are right."
)
_SCATTER = (
    "scatter: half the width of the central 68 % of the restarts' answers. It tells how well the "
    "search finds the same place again, not how well the map determines a parameter: it is no "
    "standard error."
)
_SOURCE = "source: a mode's amplitude in the ensemble, or the elastic network, that it comes from."
_CLUSTERS = (
    "Medians of each cluster: restarts whose parameters differ by at most "
    f"{NEIGHBOURS:g} of their ranges, rms, or between which CC is the same and does not fall. "
    "CC_search is CC_work as the search saw it, with its own samples."
)


def finished_summary(directory: Path) -> Summary:
    """The summary of a run that has finished at least one restart.

    Raises
    ------
    InputError
        Where there is none yet, or none that can be read.
    """
    read_manifest(directory)
    path = directory / NAME
    if not path.exists():
        raise InputError(
            f"{directory}: no restart has finished yet; see hpc-diffuser status {directory}"
        )
    summary = read_summary(directory)
    if summary.findings is None:
        raise InputError(f"{path}: no restart has finished yet")
    return summary


def report_text(summary: Summary) -> str:
    """Warnings, the answer, its parameters and scores, CC by shell, B-factors, cost: as text.

    Parameters
    ----------
    summary : Summary
        Of a run that has finished at least one restart.
    """
    findings, outcome = summary.findings, summary.outcome
    parts = [warnings_text(summary.warnings), _headline(summary)]
    if findings:
        parts.append(_parameter_table(summary, findings))
        parts.append(_cluster_table(summary, findings) if len(findings.clusters) > 1 else "")
    if outcome:
        parts.append(_frames_text(outcome.frame_weights))
        parts += [_score_table(outcome), shell_table(outcome.shells), _motion_table(outcome)]
        parts += [_halo_text(outcome.halos)] if outcome.halos else []
        parts.append(_cost_text(summary.cost, outcome.last_session))
    else:
        parts.append("Scores, and what the answer is: after the last restart.")
    return "\n\n".join(part for part in parts if part)


def warnings_text(warnings: Sequence[str]) -> str:
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


def _headline(summary: Summary) -> str:
    lines = [
        f"{summary.restarts_finished} of {summary.restarts} restarts finished, "
        f"{summary.evaluations} evaluations"
        + f"; {summary.restarts_ended} ended of themselves" * bool(summary.restarts_ended)
        + f", {summary.restarts_stood_still} of them stood still"
        * bool(summary.restarts_stood_still)
    ]
    lines += [f"restart {e.restart} excluded: {e.reason}" for e in summary.excluded]
    lines.append(agreement(summary))
    if summary.outcome:
        lines.append(f"The answer is {summary.outcome.answer_is}")
    return "\n".join(wrapped(line) for line in lines if line)


def _parameter_table(summary: Summary, findings: Findings) -> str:
    """The answer, if it is known yet; median and best restart beside it where they are others."""
    columns: dict[str, Values | Spread] = {
        **({"answer": summary.outcome.answer} if summary.outcome else {}),
        "median": findings.median,
        "best": findings.best.values,
    }
    if columns.get("answer") == columns["median"]:
        del columns["median"]
    first, *others = columns
    columns["spread"], order = findings.spread, [first, "spread", *others]
    errors = summary.outcome.standard_errors if summary.outcome else None
    if errors and any(error is not None for error in by_label(errors).values()):
        columns["standard_errors"] = errors
        order.insert(1, "standard_errors")
    source, refined = summary.source_mode_amplitude_A, set(summary.refined)
    heading = "".join(f"{_HEADINGS.get(name, name):>9s}" for name in order)
    lines = [f"{'Parameters':22s}{heading}" + "   source" * bool(source)]
    for name, value in without_stand_ins(findings.median).items():
        if name == FRAME_WEIGHT.name:
            continue  # so many have lines of their own
        values = [_as_list(columns[key][name]) for key in order]
        for row, (label, shown) in enumerate(_labels(name, value)):
            numbers = [column[row] for column in values]
            if label not in refined:
                numbers[order.index("spread")] = "held"
            ensemble = [source[row]] if name == "mode_amplitude_A" else []
            lines.append(f"  {shown:20s}" + "".join(map(_column, numbers + ensemble)))
    notes = [_ERROR] * ("standard_errors" in order) + [_SCATTER] * bool(refined)
    notes += [_SOURCE] * bool(source)
    return "\n".join([*lines, *map(wrapped, notes)])


def _as_list(value: float | list[Any] | None) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _column(value: float | str | None) -> str:
    if value is None:
        return f"{'—':>9s}"
    return f"{value:>9s}" if isinstance(value, str) else f"{value:9.4f}"


def _cluster_table(summary: Summary, findings: Findings) -> str:
    """Clusters side by side, the best one first: how many restarts, best CC, medians."""
    found = findings.clusters
    shown = found[:MOST_CLUSTERS]
    rows: dict[str, list[Any]] = {
        "restarts": [str(len(cluster.restarts)) for cluster in shown],
        "best CC_search": [cluster.cc_search for cluster in shown],
    }
    for name, value in findings.median.items():
        if name == FRAME_WEIGHT.name:
            continue
        values = [_as_list(cluster.median[name]) for cluster in shown]
        for row, (label, for_people) in enumerate(_labels(name, value)):
            if label in summary.refined:
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


def _score_table(outcome: Outcome) -> str:
    alone, rule = outcome.translation_alone, outcome.score
    return "\n".join(
        [
            "Scores of the final map  CC_work  CC_free",
            f"  the answer            {cc_column(outcome.cc_work)}{cc_column(outcome.cc_free)}"
            + (f"   ({score_rule(rule.rule, rule.weights)})" if rule else ""),
            *_other_scores(outcome),
            *_given_weights(outcome.frame_weights),
            f"  translation alone     {cc_column(alone.cc_work)}{cc_column(alone.cc_free)}"
            f"   ({_of_translation(alone)})",
            *ceiling_lines(outcome.ceiling),
            *likelihood_lines(outcome.likelihood),
            *_scale_lines(outcome.anisotropic_scale),
            *_prior_lines(outcome.prior),
        ]
    )


def _frames_text(found: FrameWeights | None) -> str:
    """Which of an ensemble's frames count; empty where their weights are not refined."""
    if found is None:
        return ""
    heaviest = [f"{n} ({found.weights[n - 1]:.3f})" for n in found.carry_most[:MOST_FRAMES]]
    more = len(found.carry_most) - MOST_FRAMES
    lines = [
        f"Weights of {len(found.weights)} frames: as many as {found.effective:.2f} of one weight, "
        f"of the given ones {found.effective_given:.2f}; theta {found.theta:.3g}, relative entropy "
        f"{found.relative_entropy:.3f}",
        f"Nine tenths are on {len(found.carry_most)} frames, half on {len(found.carry_half)}: "
        + ", ".join(heaviest)
        + (f" and {more} more" if more > 0 else ""),
        "Written by hpc-diffuser export RUN frames.pdb --write frames",
    ]
    return "\n".join(wrapped(line) for line in lines)


def _prior_lines(found: PriorShare | None) -> list[str]:
    """What the prior adds to the objective; nothing without one."""
    if found is None:
        return []
    lines = []
    if found.amplitudes:
        lines.append(
            f"  prior on amplitudes   {found.of_amplitudes:9.2e}            (of the objective; "
            f"weight {found.amplitudes:g}, tau {found.tau:g}; {found.scale_of_source:.3f} times "
            "the source's)"
        )
    if found.b_factors:
        lines.append(
            f"  prior on B-factors    {found.of_b_factors:9.2e}            (of the objective; "
            f"weight {found.b_factors:g}; of those beyond the crystal's)"
        )
    if found.anisou:
        lines.append(
            f"  prior on ANISOU       {found.of_anisou:9.2e}            (of the objective; "
            f"weight {found.anisou:g}; of motion beyond the crystal's in some direction)"
        )
    if found.weights:
        lines.append(
            f"  prior on weights      {found.of_weights:9.2e}            (of the objective; "
            f"theta {found.weights:.3g} times their relative entropy to the given ones)"
        )
    return lines


def _given_weights(found: FrameWeights | None) -> list[str]:
    """Scores of an ensemble as it was given, where its weights are refined."""
    if found is None:
        return []
    scores = cc_column(found.cc_work_given) + cc_column(found.cc_free_given)
    return [f"  given weights         {scores}   (all else as at the answer)"]


def likelihood_lines(found: Likelihood | None) -> list[str]:
    """χ² for each voxel, and what the model explains of it; nothing where the score is a CC."""
    if found is None:
        return []
    sigma = "the map's errors" if found.sigma_of == "errors" else "the half-maps"
    free = "none" if found.chi_squared_free is None else f"{found.chi_squared_free:.4g}"
    return [
        f"  chi^2 of each voxel   {found.chi_squared_work:9.4g} {free:>9}  (sigma of {sigma}; "
        f"background of {len(found.knots)} knots)",
        f"  explained             {found.explained:9.4f}            (1 - chi^2/chi0^2, chi0^2 of "
        "the background alone)",
    ]


def _scale_lines(found: tuple[float, float] | None) -> list[str]:
    """How much the data's scale varies with direction; nothing where it is one number."""
    if found is None:
        return []
    least, largest = found
    return [f"  scale of the data     {least:.3f} to {largest:.3f}, by direction ([target])"]


def score_rule(rule: str, weights: str) -> str:
    """What a CC is over, by the config's [target] score and weights."""
    over = {
        "shell-mean": "mean over the shells",
        "pooled": "one CC over all shells, each less its mean",
    }
    return over[rule] + (", voxels count 1/sigma^2" if weights == "errors" else "")


def _cost_text(cost: Cost | None, session: LastSession) -> str:
    """Of all jobs together, and the last one's memory and where its time went."""
    lines = [] if cost is None else [_jobs_text(cost)]
    lines.append(
        f"Last job: {session.ranks} ranks, {session.wall_s:.0f} s, "
        f"{session.peak_memory_MB_per_rank} MB per rank" + _share(session)
    )
    return "\n".join(lines)


def _jobs_text(cost: Cost) -> str:
    jobs = "one job" if cost.jobs == 1 else f"{cost.jobs} jobs"
    killed = f" ({cost.killed} killed, counted up to its last save)" if cost.killed else ""
    return (
        f"Cost, {jobs}{killed}: {_hours(cost.core_hours)} core-hours, "
        f"{duration(3600 * cost.wall_hours)}; on {_few(cost.hosts)} "
        f"({_few(cost.processors)})"
    )


def _hours(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _few(names: Sequence[str]) -> str:
    """The first names of many."""
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _of_translation(alone: TranslationAlone) -> str:
    """Where the baseline is, an end of its range too, and what it has of the answer."""
    solvent = ", the answer's solvent" if alone.k_sol_eA3 else ""
    sigma, (low, high) = alone.translation_sigma_A, TRANSLATIONS_A
    if sigma < low:
        return f"its own best sigma, below {low:g} Å: as small as can be{solvent}"
    if sigma > 0.99 * high:
        return f"its own best sigma, {high:g} Å: the end of the range{solvent}"
    return f"its own best sigma, {sigma:.3f} Å{solvent}"


def ceiling_lines(ceiling: Ceiling | None) -> list[str]:
    """What the data's half-maps say that a CC could be; nothing without them."""
    if ceiling is None:
        return []
    cc_half = cc_column(ceiling.cc_half).strip()
    space = " " * 12
    cc_star = cc_column(ceiling.cc_star)
    return [f"  the data's CC*        {cc_star}{space}(CC½ of half-maps {cc_half})"]


def _other_scores(outcome: Outcome) -> list[str]:
    """Of the points that the answer was chosen from, as far as they are others."""
    names = {"median": "median of all", "cluster": "best cluster's median", "best": "best restart"}
    own = Scores(cc_work=outcome.cc_work, cc_free=outcome.cc_free)
    found = {name: outcome.scores.get(kind, own) for kind, name in names.items()}
    return [
        f"  {name:22s}{cc_column(scores.cc_work)}{cc_column(scores.cc_free)}"
        for name, scores in found.items()
        if scores != own
    ]


def _share(session: LastSession) -> str:
    """What part of the search went into proposing; nothing where nothing was left to search."""
    share = session.optimiser_share
    return "" if share is None else f", {100 * share:.0f} % of the search in proposing"


def shell_table(shells: Sequence[ShellRow]) -> str:
    """CC by shell with its voxels, translation's beside it, and the data's ceiling if known."""
    ceiling = any(shell.cc_half is not None for shell in shells)
    lines = [
        "Shell d (Å)        voxels: work    free  CC_work  CC_free"
        + ("  translation: work     free" if isinstance(shells[0], FitShellRow) else "")
        + ("      CC½      CC*" if ceiling else "")
    ]
    for shell in shells:
        d_max = "∞" if shell.d_max is None else f"{shell.d_max:.2f}"
        columns = f"{shell.voxels_work:>8}{shell.voxels_free:>8}"
        columns += cc_column(shell.cc) + cc_column(shell.cc_free)
        if isinstance(shell, FitShellRow):
            columns += " " * 8 + cc_column(shell.cc_translation)
            columns += cc_column(shell.cc_free_translation)
        limits = cc_column(shell.cc_half) + cc_column(shell.cc_star) if ceiling else ""
        lines.append(f"  {d_max:>6} - {shell.d_min:<6.2f}      {columns}{limits}")
    return "\n".join(lines)


def _motion_table(outcome: Outcome) -> str:
    """Rms displacement and mean B of each motion and of all; the crystal's B-factors beside."""
    lines = ["Motion of the model        rms (Å)  mean B (Å²)"]
    for name, of_one in outcome.motion.kinds.items():
        note = _sigma_text(outcome.answer) if name == "translation" else ""
        lines.append(_motion_row(name, of_one, note))
    lines.append(_motion_row("in all", outcome.motion))
    if outcome.b_factors:
        given = BY_NAME["residual_b_fraction"].motion in outcome.motion.kinds
        return "\n".join([*lines, _b_factor_text(outcome.b_factors, given)])
    return "\n".join([*lines, *_no_b_factors(outcome.b_factors_missing)])


def _motion_row(name: str, of_one: MotionSize, note: str = "") -> str:
    return f"  {name:24s}{of_one.rms_A:8.3f}{of_one.mean_b_A2:13.1f}{note}"


def _sigma_text(answer: Values) -> str:
    """How the translation's parameter, which is along one axis, makes its B-factor."""
    sigmas = np.atleast_1d(answer["translation_sigma_A"])
    if len(sigmas) > 1:
        return "   B = 8π²(σx² + σy² + σz²)/3"
    return f"   B = 8π²σ², σ = {sigmas[0]:.3f} Å along each axis"


def _no_b_factors(reason: str | None) -> list[str]:
    return [
        f"No B-factors of the crystal to compare with: {reason};",
        'give [crystal] file = "crystal.pdb", the refined structure, and fit in a new directory',
    ]


def _b_factor_text(found: BFactors, given: bool) -> str:
    cc = "none (one does not vary)" if found.cc is None else f"{found.cc:.3f}"
    return wrapped(
        f"B-factors beside the crystal's, {found.atoms} atoms: CC {cc}; mean "
        f"{found.mean_A2:.1f} against {found.crystal_mean_A2:.1f} Å², "
        f"ratio {found.mean_ratio:.2f}"
        + "; residual B is what is left of the crystal's, and makes them alike"
        * given
    )


def _halo_text(found: HaloScores) -> str:
    lines = [
        "CC, work and free together: "
        f"with halos{cc_column(found.cc_with_halos)}, masked{cc_column(found.cc_without_halos)}"
    ]
    if isinstance(found, ScannedHaloScores):
        lines.append("Rigid molecule times the halo profile to the power alpha")
        lines.append("  alpha  with halos   masked")
        lines += [
            f"  {row.alpha:5.1f}  {cc_column(row.cc_with_halos)}{cc_column(row.cc_without_halos)}"
            for row in found.alpha_scan
        ]
    return "\n".join(lines)
