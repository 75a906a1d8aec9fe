"""What a run leaves behind: the summary, and the map at the answer with its scores."""

import math
import time
from dataclasses import replace

import numpy as np
from scipy.optimize import minimize_scalar

from hpc_diffuser.crystal.lattice import centring
from hpc_diffuser.fit.answer import Answer, Candidate, choose_answer, with_answer
from hpc_diffuser.fit.b_factors import compare_b_factors, motion
from hpc_diffuser.fit.cautions import cautions
from hpc_diffuser.fit.config import Config
from hpc_diffuser.fit.errors.intervals import Intervals
from hpc_diffuser.fit.errors.uncertainty import parameter_intervals, standard_errors
from hpc_diffuser.fit.frame_weights import FrameWeights, frame_weights
from hpc_diffuser.fit.priors.prior import background_alone
from hpc_diffuser.fit.problem import FINAL, Problem, compare, for_final_map
from hpc_diffuser.fit.restarts import summarise
from hpc_diffuser.fit.run.directory import input_hashes, read_convergence, read_histories
from hpc_diffuser.fit.run.jobs import cost, note_job
from hpc_diffuser.fit.scoring import (
    Comparison,
    Score,
    ceiling,
    likelihood_of,
    plain,
    shell_rows,
)
from hpc_diffuser.fit.search.least_squares import MOST_TIMES
from hpc_diffuser.fit.search.method import METHODS
from hpc_diffuser.fit.summary import (
    TRANSLATIONS_A,
    AlphaRow,
    FinalMap,
    FitShellRow,
    HaloScores,
    LastSession,
    Outcome,
    PriorShare,
    ScannedHaloScores,
    ScoreRule,
    Summary,
    TranslationAlone,
)
from hpc_diffuser.fit.summary_file import write_summary
from hpc_diffuser.io.maps.native import write_map
from hpc_diffuser.maps.target import Target, map_from_voxels, outside_halos
from hpc_diffuser.maps.target_options import HALO_RADIUS
from hpc_diffuser.motion.disorder import Disorder
from hpc_diffuser.motion.modes import why_no_b_factors
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.collecting import collect
from hpc_diffuser.scattering.model import ForwardModel
from hpc_diffuser.scattering.models import Model
from hpc_diffuser.system.memory import give_back, peak_memory_MB

ALPHAS = np.arange(0, 8.1, 0.4)  # powers of the empirical halo profile that are tried
SIGMAS_A = np.geomspace(*TRANSLATIONS_A, 9)  # between which the best one is looked for


def objective(score: Score) -> float:
    """1 − CC_work, or χ²/χ₀² of a likelihood; of a map without any variation 1."""
    if score.likelihood is not None:
        return score.likelihood.objective
    return 1.0 - cc_or_zero(score)


def cc_or_zero(score: Score) -> float:
    """CC_work; of a map without any variation, whose CC is undefined, 0."""
    return score.cc_work if math.isfinite(score.cc_work) else 0.0


def sum_up(
    problem: Problem, outcome: Outcome | None = None, chosen: Candidate | None = None
) -> Summary:
    """Write summary.json from the checkpoints, with what the final map says where there is one.

    Parameters
    ----------
    problem : Problem
    outcome : Outcome or None
    chosen : Candidate or None
        The point that the outcome is of.
    """
    config, directory = problem.config, problem.config.run.directory
    histories = read_histories(directory, config.search.restarts)
    sampling, search = read_convergence(directory), config.search
    summary = summarise(
        problem.space,
        histories,
        search.restarts,
        search.evaluations,
        sampling.objective_error if sampling else 0.0,
    )
    if summary.findings and chosen:
        summary = replace(summary, findings=with_answer(summary.findings, chosen))
    summary = replace(
        summary,
        source_mode_amplitude_A=tuple(float(a) for a in problem.modes.amplitudes_A),
        sampling=sampling,
        cost=cost(directory),
        outcome=outcome,
    )
    summary = replace(summary, warnings=tuple(cautions(summary, search)))
    write_summary(directory, summary)
    return summary


def finish(problem: Problem, world: Ranks, started: float, share: float | None) -> Summary:
    """The final map at the answer, by all ranks together; the complete summary."""
    findings = world.from_root(lambda: sum_up(problem)).findings
    give_back()  # what the search has left of the heap
    model, comparison = compare(for_final_map(problem), world)
    answer = choose_answer(problem, model, comparison, findings)
    parameters, intensity = answer.parameters, answer.intensity
    final_map = _final_map(problem, model, comparison, parameters, intensity)
    baseline = _translation_alone(model, comparison, parameters)
    masked = world.from_root(lambda: _in_halos(problem.target))
    halos = None if masked is None else _halos(problem, masked, model, parameters, intensity)
    weights = _frame_weights(problem, model, comparison, parameters)
    samples, n_voxels = _samples(problem, world), len(problem.target.indices)
    final = collect(model, intensity, n_voxels)
    scale = _scale_range(problem, model, parameters)
    give_back()
    intervals = parameter_intervals(problem, model, answer.chosen.values, samples, final)
    del final  # what derivatives have left of the heap comes first
    give_back()
    values = collect(model, intensity, n_voxels)
    peak_memory = world.gather(peak_memory_MB())

    def save() -> Summary:
        _write_calculated(problem, values, answer.chosen.text)
        peak_memory.append(peak_memory_MB())  # rank 0 needs most for writing
        note_job(problem.config.run.directory, "finished")
        session = LastSession(
            ranks=world.size,
            wall_s=round(time.monotonic() - started, 1),
            optimiser_share=None if share is None else round(share, 4),
            peak_memory_MB_per_rank=round(max(peak_memory)),
        )
        outcome = _outcome(problem, answer, baseline, halos, intervals, session)
        outcome = replace(
            outcome, final_map=final_map, frame_weights=weights, anisotropic_scale=scale
        )
        return sum_up(problem, outcome, answer.chosen)

    return world.from_root(save)


def _scale_range(
    problem: Problem, model: ForwardModel, parameters: Parameters
) -> tuple[float, float] | None:
    """The least and the largest factor of the final map, on the root; None where it has none."""
    if model.scaling is None:
        return None
    normals = problem.normals(problem.config.model.final_samples, FINAL)
    factors = collect(model, model.scale_factors(parameters, normals), len(problem.target.indices))
    return None if factors is None else (float(factors.min()), float(factors.max()))


def _final_map(
    problem: Problem,
    model: ForwardModel,
    comparison: Comparison,
    parameters: Parameters,
    intensity: np.ndarray,
) -> FinalMap:
    """What the final map leaves, by maps beside it; on every rank, and the model as it was."""
    options = problem.config.model
    used = problem.normals(options.final_samples, FINAL)
    other = problem.normals(options.final_samples, FINAL, 1)
    is_random = not np.array_equal(used, other)

    def off(normals: np.ndarray) -> float:
        beside = model.internal_motion(parameters, normals)
        return max(1 - comparison.agreement(intensity, beside), 0.0)

    estimator, first_order = model.estimator_at(parameters), None
    error = off(other) / 2 if is_random else None
    if options.estimator == "one-phonon" and estimator == "control-variate":
        model.use_estimator("one-phonon")
        first_order = off(used)
        model.use_estimator(estimator)
    return FinalMap(
        estimator=estimator,
        samples=len(used),
        map_error=error,
        first_order_error=first_order,
    )


def _samples(problem: Problem, world: Ranks) -> int:
    """As many as an evaluation of the search took, also where an earlier job has searched.

    Of least squares in its last stage, but no more than the final map has: a minimum that was
    found with so many may be none of the first stage's map.
    """
    found = world.from_root(lambda: read_convergence(problem.config.run.directory))
    final = problem.config.model.final_samples
    if found is None:
        return final
    if METHODS[problem.config.search.method].steps_after is None:
        return found.samples
    return max(found.samples, min(found.samples * MOST_TIMES, final))


def _outcome(
    problem: Problem,
    answer: Answer,
    baseline: tuple[float, Score],
    halos: HaloScores | None,
    intervals: Intervals | None,
    session: LastSession,
) -> Outcome:
    options, modes = problem.config.target, problem.modes
    sigma_A, alone = baseline
    return Outcome(
        answer=answer.chosen.values,
        answer_is=answer.chosen.text,
        scores=answer.scores,
        cc_work=plain(answer.score.cc_work),
        cc_free=plain(answer.score.cc_free),
        translation_alone=TranslationAlone(
            translation_sigma_A=sigma_A,
            k_sol_eA3=answer.parameters.k_sol_eA3,
            b_sol_A2=answer.parameters.b_sol_A2,
            cc_work=plain(alone.cc_work),
            cc_free=plain(alone.cc_free),
        ),
        score=ScoreRule(rule=options.cc_rule, weights=options.weights),
        ceiling=ceiling(problem.target, options.cc_rule),
        shells=_shells(problem.target, answer.score, alone),
        likelihood=likelihood_of(problem.target, answer.score),
        prior=_prior(problem, answer),
        motion=motion(modes, answer.parameters),
        b_factors=compare_b_factors(modes, answer.parameters),
        b_factors_missing=why_no_b_factors(modes),
        halos=halos,
        intervals=intervals,
        standard_errors=standard_errors(problem.space, intervals),
        last_session=session,
    )


def _prior(problem: Problem, answer: Answer) -> PriorShare | None:
    if problem.prior is None:
        return None
    point = problem.space.point(answer.chosen.values)
    return problem.prior.share(point, background_alone(answer.score))


def _frame_weights(
    problem: Problem, model: ForwardModel, comparison: Comparison, answer: Parameters
) -> FrameWeights | None:
    """Where they are refined, with the scores of the given ones; on every rank."""
    given, theta = problem.modes.weights, problem.config.prior.weights
    if not len(answer.frame_weight) or given is None:
        return None
    normals = problem.normals(problem.config.model.final_samples, FINAL)
    at_given = replace(answer, frame_weight=tuple(given.tolist()))
    score = comparison.score(model.internal_motion(at_given, normals))
    scores = plain(score.cc_work), plain(score.cc_free)
    return frame_weights(answer.frame_weight, given.tolist(), float(theta or 0.0), scores)


def _translation_alone(
    model: Model, comparison: Comparison, answer: Parameters
) -> tuple[float, Score]:
    """Rigid-body translation without modes, at its own best sigma: the baseline.

    Whatever range the fit had, and with the answer's solvent, so that what is gained over it is
    gained by the other motions. First on a coarse scale, as CC need not have one maximum. Every
    rank runs the same search in step, on scores that all of them have.
    """

    def score(sigma_A: float) -> Score:
        rigid = Parameters(
            np.empty(0),
            Disorder(translation_sigma_A=float(sigma_A)),
            k_sol_eA3=answer.k_sol_eA3,
            b_sol_A2=answer.b_sol_A2,
        )
        return comparison.score(model.rigid(rigid))

    coarse = [0.0, *SIGMAS_A]
    best = 1 + int(np.argmin([objective(score(sigma)) for sigma in SIGMAS_A]))
    found = minimize_scalar(
        lambda sigma: objective(score(sigma)),
        bounds=(coarse[best - 1], coarse[min(best + 1, len(SIGMAS_A))]),
        method="bounded",
        options={"xatol": 1e-3},
    )
    return float(found.x), score(found.x)


def _in_halos(target: Target) -> np.ndarray | None:
    """Mask of the voxels (V,) that a target with masked halos would lack; None without any."""
    lattice = centring(target.space_group, target.grid.unit_cell)
    masked = ~outside_halos(target.indices, target.grid, HALO_RADIUS, lattice)
    return masked if masked.any() and not masked.all() else None


def _halos(
    problem: Problem,
    masked: np.ndarray,
    model: Model,
    parameters: Parameters,
    intensity: np.ndarray,
) -> HaloScores:
    """Pooled over work and free set: CC with the halos, and with them masked.

    With an empirical profile, the same of the rigid molecule for a scan of its power.
    """
    target = problem.target
    alphas = ALPHAS if parameters.disorder.halo_alpha else ALPHAS[:0]

    def scores(left_out: np.ndarray) -> list[float | None]:
        # What a comparison calls its free set is here what lies inside the halos, or nothing.
        given = replace(target, free=left_out)
        return _scores(problem, given, model, parameters, intensity, alphas)

    with_halos, *scan_with = scores(np.zeros_like(masked))
    without, *scan_without = scores(masked)
    if not len(alphas):
        return HaloScores(cc_with_halos=with_halos, cc_without_halos=without)
    scan = zip(alphas, scan_with, scan_without, strict=True)
    return ScannedHaloScores(
        cc_with_halos=with_halos,
        cc_without_halos=without,
        alpha_scan=tuple(
            AlphaRow(alpha=float(alpha), cc_with_halos=one, cc_without_halos=other)
            for alpha, one, other in scan
        ),
    )


def _scores(
    problem: Problem,
    target: Target,
    model: Model,
    parameters: Parameters,
    intensity: np.ndarray,
    alphas: np.ndarray,
) -> list[float | None]:
    """CC of a map over a target's working set, then of the rigid molecule for each power."""
    options = problem.config.target
    comparison = Comparison(target, model, options.cc_rule, options.weights)
    found = [comparison.score(intensity).cc_work]
    for alpha in alphas:
        sigma = parameters.disorder.translation_sigma_A
        rigid = Disorder(translation_sigma_A=sigma, halo_alpha=float(alpha))
        values = model.rigid(Parameters(np.empty(0), rigid))
        found.append(comparison.score(values).cc_work)
    return [plain(cc) for cc in found]


def _write_calculated(problem: Problem, values: np.ndarray, answer_is: str) -> None:
    config = problem.config
    provenance = {"command": "hpc-diffuser fit", "config": _config_text(config)}
    provenance |= {f"sha256 {key}": digest for key, digest in input_hashes(config).items()}
    provenance["answer"] = answer_is
    path = config.run.directory / "calculated.h5"
    target = problem.target
    diffuse = map_from_voxels(target.grid, target.indices, values, target.space_group)
    write_map(path, diffuse, provenance)


def _config_text(config: Config) -> str:
    return (config.run.directory / "config.toml").read_text(encoding="utf-8")


def _shells(target: Target, score: Score, baseline: Score) -> tuple[FitShellRow, ...]:
    rows = zip(shell_rows(target, score), baseline.shells_work, baseline.shells_free, strict=True)
    return tuple(
        FitShellRow(**vars(row), cc_translation=plain(work), cc_free_translation=plain(free))
        for row, work, free in rows
    )
