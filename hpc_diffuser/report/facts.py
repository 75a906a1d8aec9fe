"""What a publication says of a fit, fact by fact: for tables of one run, or of several."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from hpc_diffuser.fit.run.jobs import cost as cost_so_far
from hpc_diffuser.fit.search.method import METHODS
from hpc_diffuser.fit.summary import (
    Cost,
    Findings,
    Outcome,
    PriorShare,
    Summary,
    Values,
    without_stand_ins,
)
from hpc_diffuser.interface.run import Run
from hpc_diffuser.motion.registry import BY_NAME
from hpc_diffuser.report.section import Cell, Rounded
from hpc_diffuser.system.errors import InputError

MOST_MODES = 12  # whose parameters are facts; all of them are in the tables of parameters
PARAMETERS = "Parameters"  # the part that begins so
_CUT = {
    "halo_radius": ("halos masked to (reciprocal-lattice units)", 3),
    "free_fraction": ("part of the Brillouin zones in the free set", 2),
}


class Fact(NamedTuple):
    """A row of Table 1.

    Attributes
    ----------
    part : str
        What it is about: "Crystal".
    quantity : str
        With its unit.
    value : Cell
    error, low, high : Cell
        Standard error and 95 % interval, from the data; "" of what was not refined.
    scatter : Cell
        Of the restarts; "" of what no search has found.
    """

    part: str
    quantity: str
    value: Cell
    error: Cell = ""
    low: Cell = ""
    high: Cell = ""
    scatter: Cell = ""


def facts(run: Run) -> list[Fact]:
    """All that is known of a run, finished or not; without what its files no longer tell."""
    kinds: tuple[Callable[[Run], Iterator[Fact]], ...] = (
        _crystal,
        _data,
        _molecule,
        _parameters,
        _agreement,
        _search,
        _computation,
        _origin,
    )
    return [fact for kind in kinds for fact in _readable(kind, run)]


def why_not_all(run: Run) -> str:
    """Why crystal and data are not among the facts; "" where they are."""
    try:
        _ = run.files
    except InputError as exc:
        return str(exc)
    return ""


def significant(value: float | None, digits: int) -> Cell:
    """A number with so many digits that count; None where it is not known."""
    if value is None or not math.isfinite(value) or value == 0:
        return value
    return Rounded(value, max(0, digits - 1 - math.floor(math.log10(abs(value)))))


def rounded(value: float | None, digits: int) -> Cell:
    """A number with so many digits after the point; None where it is not known."""
    return None if value is None else Rounded(value, digits)


def numbered(values: Values) -> Iterator[tuple[str, str, float]]:
    """Every number of a set of parameters, by its label in the summary, and by that for people."""
    for name, value in values.items():
        row, size = BY_NAME[name], len(value) if isinstance(value, list) else None
        numbers = value if isinstance(value, list) else [value]
        yield from zip(row.labels(size), row.shown_labels(size), numbers, strict=True)


def best_known(summary: Summary) -> Values | None:
    """The answer; before the last restart is finished, the best restart's point."""
    if summary.outcome:
        return summary.outcome.answer
    return summary.findings.best.values if summary.findings else None


def is_shown(label: str) -> bool:
    """False of what modes beyond the first `MOST_MODES` have, and of frames' weights."""
    words = label.split()
    if words[0] == "frame":
        return False
    numbers = words[1].split("-") if len(words) == 2 and words[0] in ("mode", "modes") else []
    return all(int(number) <= MOST_MODES for number in numbers)


def _readable(kind: Callable[[Run], Iterator[Fact]], run: Run) -> list[Fact]:
    """One kind of facts; none where its files are gone, which is said elsewhere."""
    try:
        return list(kind(run))
    except InputError:
        return []


def _crystal(run: Run) -> Iterator[Fact]:
    target = run.target
    part, cell = "Crystal", target.grid.unit_cell
    yield Fact(part, "space group", target.space_group)
    yield Fact(part, "a, b, c (Å)", ", ".join(f"{x:g}" for x in cell[:3]))
    yield Fact(part, "α, β, γ (°)", ", ".join(f"{x:g}" for x in cell[3:]))


def _data(run: Run) -> Iterator[Fact]:
    target, told = run.target, run.provenance.get("target.file", {})
    part, edges = "Data", target.shell_edges
    d_max = f"{1 / edges[0]:.2f}" if edges[0] > 0 else "∞"
    working, free = (int(n) for n in target.counts().sum(axis=1))
    yield Fact(part, "resolution (Å)", f"{d_max}-{1 / edges[-1]:.2f}")
    yield Fact(part, "resolution shells", target.n_shells)
    yield Fact(
        part, "samples per reciprocal-lattice unit", ", ".join(map(str, target.grid.divisions))
    )
    yield Fact(part, "voxels compared, one of each set of Laue mates", working + free)
    yield Fact(part, "of these in the working set", working)
    yield Fact(part, "of these in the free set", free)
    yield from cut_facts(told)
    if "subtracted" in told:
        yield Fact(part, "subtracted from the data", str(told["subtracted"]))
    yield from _merging(told)
    ceiling = run.summary.outcome.ceiling if run.summary and run.summary.outcome else None
    if ceiling:
        yield Fact(part, "CC½ of the half-maps", rounded(ceiling.cc_half, 4))
        yield Fact(part, "CC*, what a perfect model would reach", rounded(ceiling.cc_star, 4))


def cut_facts(told: dict[str, Any]) -> Iterator[Fact]:
    """What options made of the map, which a target keeps as texts: `False`, `(0.4, 0.4, 0.5)`."""
    for key, (quantity, digits) in _CUT.items():
        if f"target {key}" not in told:
            continue
        sizes = [float(size) for size in str(told[f"target {key}"]).strip("()").split(",")]
        of_halos = key == "halo_radius"
        if of_halos and str(told.get("target halos_only")) == "True":
            quantity = "halos alone, to (reciprocal-lattice units)"
        value: Cell = ", ".join(f"{size:.{digits}f}" for size in sizes)
        if len(sizes) == 1:
            value = "not masked" if of_halos and not sizes[0] else Rounded(sizes[0], digits)
        yield Fact("Data", quantity, value)


def _merging(told: dict[str, Any]) -> Iterator[Fact]:
    """What merging Laue mates has found, where the target says."""
    names = {
        "completeness": ("completeness of the voxels outside halos (%)", 100.0, 2),
        "multiplicity": ("multiplicity", 1.0, 2),
        "CC Laue mates": ("CC of Laue mates", 1.0, 4),
    }
    for key, (quantity, times, digits) in names.items():
        value = told.get(f"merge {key}")
        if isinstance(value, float | int) and math.isfinite(value):
            yield Fact("Data", quantity, Rounded(times * value, digits))


def _molecule(run: Run) -> Iterator[Fact]:
    part, modes, model = "Model", run.modes, run.config.model
    structure = modes.structure
    yield Fact(part, "atoms", len(structure.positions))
    yield Fact(part, "modes", len(modes.amplitudes_A))
    outcome = run.summary.outcome if run.summary else None
    if outcome:
        yield Fact(part, "motions", ", ".join(outcome.motion.kinds))
    yield Fact(part, "seed", model.seed)
    yield Fact(part, "sampler", model.sampler)


def _parameters(run: Run) -> Iterator[Fact]:
    summary = run.summary
    values = best_known(summary) if summary else None
    if summary is None or summary.findings is None or values is None:
        return
    part = PARAMETERS if summary.outcome else f"{PARAMETERS}, the best so far"
    if summary.outcome:
        yield Fact(part, "the answer is", summary.outcome.answer_is)
    scatters, errors = _scatters(summary.findings), errors_of(summary)
    for label, shown, value in numbered(without_stand_ins(values)):
        if not is_shown(label):
            continue
        if label in summary.refined:
            error, low, high = map(_rounded, errors.get(label, ("", "", "")))
            scatter = _rounded(scatters[label])
            yield Fact(part, shown, Rounded(value, 4), error, low, high, scatter)
        else:
            yield Fact(part, shown, Rounded(value, 4), scatter="held")


def _rounded(value: float | str | None) -> Cell:
    """A parameter's number, or none."""
    return value if isinstance(value, str) else rounded(value, 4)


def errors_of(summary: Summary) -> dict[str, tuple[float | None, float | None, float | None]]:
    """Standard error and ends of the 95 % interval, from the data, by label; {} without any."""
    found = summary.outcome.intervals if summary.outcome else None
    if found is None or found.missing:
        return {}
    columns = zip(found.standard_errors, found.low, found.high, strict=True)
    return dict(zip(summary.refined, columns, strict=True))


def _scatters(findings: Findings) -> dict[str, float | None]:
    """By label."""
    found: dict[str, float | None] = {}
    for name, value in findings.median.items():
        size, spread = len(value) if isinstance(value, list) else None, findings.spread.get(name)
        numbers = spread if isinstance(spread, list) else [spread] * (size or 1)
        found |= dict(zip(BY_NAME[name].labels(size), numbers, strict=True))
    return found


def _agreement(run: Run) -> Iterator[Fact]:
    outcome = run.summary.outcome if run.summary else None
    if outcome is None:
        return
    part, alone = "Agreement", outcome.translation_alone
    yield Fact(part, "CC_work and CC_free are", _rule(run))
    yield Fact(part, "CC_work", rounded(outcome.cc_work, 4))
    yield Fact(part, "CC_free", rounded(outcome.cc_free, 4))
    if chi := outcome.likelihood:
        yield Fact(part, "χ² of each working voxel", significant(chi.chi_squared_work, 4))
        yield Fact(part, "χ² of each free voxel", significant(chi.chi_squared_free, 4))
        yield Fact(part, "σ from the map's", chi.sigma_of)
        yield Fact(part, "explained, 1 − χ²/χ₀² of the background", rounded(chi.explained, 4))
    if outcome.anisotropic_scale:
        least, largest = outcome.anisotropic_scale
        yield Fact(part, "scale of the data, by direction", f"{least:.3f} to {largest:.3f}")
    if prior := outcome.prior:
        yield from _prior(part, prior)
    yield Fact(part, "CC_work of translation alone", rounded(alone.cc_work, 4))
    yield Fact(part, "CC_free of translation alone", rounded(alone.cc_free, 4))
    yield from _sizes(part, outcome)


def _prior(part: str, found: PriorShare) -> Iterator[Fact]:
    if found.amplitudes:
        yield Fact(part, "weight of the prior on amplitudes", significant(found.amplitudes, 3))
        yield Fact(part, "its τ", significant(found.tau, 3))
        yield Fact(part, "amplitudes in units of the source's", rounded(found.scale_of_source, 3))
        yield Fact(part, "its part of the objective", significant(found.of_amplitudes, 2))
    if found.b_factors:
        yield Fact(part, "weight of the prior on B-factors", significant(found.b_factors, 3))
        yield Fact(part, "their part of the objective", significant(found.of_b_factors, 2))
    if found.anisou:
        yield Fact(part, "weight of the prior on ANISOU", significant(found.anisou, 3))
        yield Fact(part, "its share of the objective", significant(found.of_anisou, 2))
    if found.weights:
        yield Fact(part, "θ of the entropy of frames' weights", significant(found.weights, 3))
        yield Fact(part, "that of the objective", significant(found.of_weights, 2))
    if found.springs:
        yield Fact(part, "weight of the prior on springs", significant(found.springs, 3))
        yield Fact(part, "τ of springs", significant(found.springs_tau, 3))
        yield Fact(part, "what it adds to the objective", significant(found.of_springs, 2))


def _rule(run: Run) -> str:
    """What a CC is over."""
    options = run.config.target
    weights = ", voxels weighted with 1/σ²" if options.weights == "errors" else ""
    over = {
        "shell-mean": "the mean over the shells of the CC in each, its means subtracted",
        "pooled": "one CC over all voxels, the mean of each shell subtracted",
    }
    return over[options.cc_rule] + weights


def _sizes(part: str, outcome: Outcome) -> Iterator[Fact]:
    found = outcome.b_factors
    yield Fact(part, "rms displacement of the model (Å)", Rounded(outcome.motion.rms_A, 3))
    yield Fact(part, "mean B of the model (Å²)", Rounded(outcome.motion.mean_b_A2, 2))
    if found:
        yield Fact(part, "mean B of the crystal (Å²)", Rounded(found.crystal_mean_A2, 2))
        yield Fact(part, "CC of B-factors with the crystal's", rounded(found.cc, 3))


def _search(run: Run) -> Iterator[Fact]:
    part, search, summary = "Search", run.config.search, run.summary
    yield Fact(part, "method", search.method)
    yield Fact(part, "restarts asked for", search.restarts)
    if summary:
        yield Fact(part, "restarts finished", summary.restarts_finished)
        if METHODS[search.method].steps_after is not None:
            yield Fact(part, "restarts that ended of themselves", summary.restarts_ended)
            yield Fact(part, "restarts that stood still", summary.restarts_stood_still)
        yield Fact(part, "restarts left out as failed", len(summary.excluded))
    yield Fact(part, "evaluations asked for, each restart", search.evaluations)
    if summary:
        yield Fact(part, "evaluations of finished restarts", summary.evaluations)
    sampling = run.convergence
    if sampling:
        yield Fact(part, "estimator of the moments", sampling.estimator)
        if sampling.estimator != "one-phonon":
            yield Fact(part, "samples", sampling.samples)
        yield Fact(part, "error of a map by them, 1 − CC", significant(sampling.map_error, 2))
        yield Fact(part, "error of the objective by them", significant(sampling.objective_error, 2))
    elif run.config.model.samples != "auto":
        yield Fact(part, "samples", run.config.model.samples)
    yield Fact(part, "samples of the final map", run.config.model.final_samples)
    final = summary.outcome.final_map if summary and summary.outcome else None
    if final and final.map_error is not None:
        yield Fact(part, "estimator of the final map", final.estimator)
        yield Fact(part, "error of the final map, 1 − CC", significant(final.map_error, 2))


def _computation(run: Run) -> Iterator[Fact]:
    cost = run.summary.cost if run.summary else cost_so_far(run.directory)
    if cost and cost.jobs:
        yield from _cost(cost)
    versions = run.manifest.get("versions", {})
    for name, version in versions.items():
        yield Fact("Computation", f"version of {name}", str(version))


def _cost(cost: Cost) -> Iterator[Fact]:
    part = "Computation"
    yield Fact(part, "jobs", cost.jobs)
    if cost.killed:
        yield Fact(part, "of these killed, counted up to their last save", cost.killed)
    yield Fact(part, "core-hours of all jobs", significant(cost.core_hours, 3))
    yield Fact(part, "hours of all jobs", significant(cost.wall_hours, 3))
    yield Fact(part, "hosts", ", ".join(cost.hosts))
    yield Fact(part, "processors", ", ".join(cost.processors))


def _origin(run: Run) -> Iterator[Fact]:
    for key, digest in run.manifest["inputs"].items():
        yield Fact("Inputs", f"SHA-256 of {key}", digest)
