"""A fit as all ranks see it: inputs read and checked, and how many samples they need."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hpc_diffuser.crystal.atom_factors import AtomFactors, atom_factors
from hpc_diffuser.crystal.lattice import laue_operations
from hpc_diffuser.fit.anisotropic_scale import AnisotropicScale
from hpc_diffuser.fit.config import Config, ModelConfig
from hpc_diffuser.fit.convergence import with_fewer
from hpc_diffuser.fit.estimator_choice import Trial, cheapest_estimator, choice_text, named_text
from hpc_diffuser.fit.inputs import load_modes, load_target, tell_contacts
from hpc_diffuser.fit.priors.choice import MIDDLE, MIDDLE_ENTROPY
from hpc_diffuser.fit.priors.prior import AUTO, Prior, prior_of
from hpc_diffuser.fit.run.directory import read_convergence, write_convergence
from hpc_diffuser.fit.sampling_error import Convergence, final_estimator
from hpc_diffuser.fit.scoring import Comparison, require_variation
from hpc_diffuser.fit.search.method import METHODS
from hpc_diffuser.fit.space import SearchSpace, no_farther, refined_frames, search_space
from hpc_diffuser.maps.likelihood import standard_deviations
from hpc_diffuser.maps.target import Target
from hpc_diffuser.motion.configurations import rms_motion_A
from hpc_diffuser.motion.ensemble import Sampler
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.overlap import alike, dependent
from hpc_diffuser.motion.registry import FRAME_WEIGHT
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.crystal_liquid import require_crystal_axes
from hpc_diffuser.scattering.halos import zone_profile
from hpc_diffuser.scattering.model import ForwardModel, forward_model
from hpc_diffuser.scattering.molecule import Computation
from hpc_diffuser.scattering.slab import plane_costs
from hpc_diffuser.system.arrays import Floats
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.progress import log

# What random streams are for: the first number after the seed.
ENSEMBLE, PROPOSAL, FINAL, CONVERGENCE, SHUFFLE, NOISE, INTERVALS = range(7)


@dataclass(frozen=True)
class Problem:
    """Everything a fit needs, read and checked: the same on all ranks.

    `on_path` is the point that CC_free has chosen the prior's weight by, where it has.
    """

    config: Config
    modes: Modes
    target: Target
    space: SearchSpace
    on_path: tuple[float, ...] | None = None

    def normals(self, n_samples: int, *purpose: int) -> np.ndarray:
        """The ensemble's standard normal points for one purpose: (n_samples, M), or more.

        For libration there are three columns more; of frames there may be more than samples.
        """
        return self.sampler.draw(n_samples, *purpose)

    @property
    def prior(self) -> Prior | None:
        """What the objective is told of the answer besides the map; None for nothing."""
        voxels = int((~self.target.free).sum())
        return prior_of(self.config.prior, self.modes, self.space, voxels)

    @property
    def sampler(self) -> Sampler:
        """What draws them."""
        return ensemble_sampler(self.config.model, self.modes, self.space)


def ensemble_sampler(options: ModelConfig, modes: Modes, space: SearchSpace) -> Sampler:
    """What draws the sample points of a model, as its config says."""
    return Sampler(modes, space.librates, options.sampler, options.seed)


def computation(options: ModelConfig, modes: Modes, space: SearchSpace) -> Computation:
    """How a model is computed: on which grid, for how large a molecule, and which atoms."""
    _require_held_frames(space)
    require_crystal_axes(space.anywhere.disorder, modes.space_group, modes.unit_cell)
    return Computation(
        motion_A=rms_motion_A(modes, space.middle.sampled),
        grid=options.grid,
        transform=options.transform,
        liquid_gamma_A=_inside_gamma_A(modes, space),
        crystal_gamma_A=space.at_least("crystal_llm_gamma_A"),
        halos=options.halos if space.at_most("halo_sigma_A") else "molecule",
        factors=_hardest_to_draw(modes, space),
        many_kinds=space.at_most("residual_b_fraction") > 0,
        estimator=_estimator(options, modes, space),
    )


def _hardest_to_draw(modes: Modes, space: SearchSpace) -> AtomFactors | None:
    """The densest solvent, and atoms that move on their own as much as the crystal's B-factors say.

    Wider atoms take wider shapes.
    """
    densest, fraction = space.farthest, space.at_most("residual_b_fraction")
    if not densest.k_sol_eA3 and not fraction:
        return None
    b = None
    if fraction and modes.crystal_b_A2 is not None:
        b = fraction * np.nan_to_num(np.maximum(modes.crystal_b_A2, 0.0))
    return atom_factors(modes.structure, densest.k_sol_eA3, densest.b_sol_A2, b)


def _estimator(options: ModelConfig, modes: Modes, space: SearchSpace) -> str:
    """What a model begins with: samples, too, where the choice is open."""
    is_open = options.estimator == "auto" or not can_expand(modes, space)
    return "sampled" if is_open else options.estimator


def can_expand(modes: Modes, space: SearchSpace) -> bool:
    """Whether a model's motion inside is Gaussian along modes wherever the search goes."""
    return bool(len(modes.vectors)) and why_only_sampled(modes, space) is None


def why_only_sampled(modes: Modes, space: SearchSpace) -> str | None:
    """What the moments of a model have no expansion for, in words; None where they have one."""
    if modes.frames is not None:
        return "an ensemble's own frames"
    return "libration, whose rotations are exact" if space.librates else None


def _inside_gamma_A(modes: Modes, space: SearchSpace) -> float:
    """The shortest correlation length of liquid-like motion of molecules that move besides."""
    moves = modes.frames is not None or bool(len(modes.vectors)) or space.librates
    moves = moves or space.at_most("translation_sigma_A") > 0
    of_crystal = space.at_least("crystal_llm_gamma_A") if moves else 0.0
    return space.at_least("llm_gamma_A") or of_crystal


def _require_held_frames(space: SearchSpace) -> None:
    """Raise InputError where frames are weighed whose slopes are not those of the crystal."""
    if space.at_least("crystal_llm_gamma_A") and space.at_most(FRAME_WEIGHT.name):
        raise InputError(
            "parameters.crystal_llm_sigma_A: weights of frames are not refined beside liquid-like "
            "motion of the whole crystal: hold [structure] weights, or use llm_sigma_A"
        )


def _require_coupled(options: ModelConfig, space: SearchSpace, modes: Modes) -> None:
    """Raise InputError for halos of the whole cell that have no correlation, or refined weights."""
    if options.halos != "cell":
        return
    of_one = len(laue_operations(modes.space_group, modes.unit_cell)) == 2
    if of_one and space.at_most("halo_sigma_A"):
        log(
            'model.halos = "cell" plays no part: all molecules of space group '
            f'"{modes.space_group}" have one orientation'
        )
    if space.at_most("halo_alpha"):
        raise InputError(
            'model.halos = "cell" is of halo_sigma_A and halo_gamma_A: parameters.halo_alpha takes '
            'its halos from the target; give those, or set "molecule"'
        )
    if space.at_most("halo_sigma_A") and space.at_most(FRAME_WEIGHT.name):
        raise InputError(
            'model.halos = "cell": weights of frames are not refined beside halos of the whole '
            'cell: hold [structure] weights, or set "molecule"'
        )


def require_expansion(options: ModelConfig, modes: Modes, space: SearchSpace) -> None:
    """Raise InputError where an estimator is asked for that the model cannot have.

    A rigid molecule needs none, and no samples: that is no error.
    """
    why = why_only_sampled(modes, space)
    if options.estimator not in ("auto", "sampled") and why:
        raise InputError(
            f'model.estimator = "{options.estimator}" is of Gaussian motion along modes, but the '
            f'model has {why}: set "sampled" or "auto"'
        )


def load_problem(config: Config) -> Problem:
    """Read and check all inputs of a fit.

    Raises
    ------
    InputError
        Naming file or key, and what was expected.
    """
    modes = load_modes(config)
    correlated, n_frames = config.structure.correlated_modes, refined_frames(config, modes)
    space = search_space(config.parameters, modes.amplitudes_A, correlated, n_frames, modes.lattice)
    if n_frames:
        _require_frame_steps(config, space)
        if config.prior.weights is None:
            config = replace(config, prior=replace(config.prior, weights=AUTO))
    if not space.refined.any() and config.search.evaluations > 1:
        raise InputError(
            "[parameters]: nothing to refine: give at least one parameter a range [low, high], or "
            "[search] evaluations = 1 to score the model as it is"
        )
    require_expansion(config.model, modes, space)
    _require_coupled(config.model, space, modes)
    _tell_of_no_modes(config, modes)
    _require_distinct(modes, space)
    target = load_target(config, modes)
    if config.target.weights == "errors" and target.errors is None:
        raise InputError(
            f'target.weights = "errors", but {config.target.file} has none: expected a map with '
            'intensity_errors, or weights = "none"'
        )
    require_variation(target, config.target.cc_rule, str(config.target.file))
    if config.target.knots:
        standard_deviations(target, str(config.target.file))
    prior_of(config.prior, modes, space, len(target.indices))  # refuses what it cannot be of
    if config.prior.amplitudes == AUTO and METHODS[config.search.method].steps_after is None:
        raise InputError(
            'prior.amplitudes = "auto" follows a path of least squares, which a search by '
            f'"{config.search.method}" is not: expected [search] method = "least-squares", or a '
            "number"
        )
    if "lattice_shape" in space.refined_names and config.search.method != "least-squares":
        raise InputError(
            f"parameters.lattice_shape has {dict(space.layout)['lattice_shape']} numbers, too many "
            f'for a search by "{config.search.method}": expected [search] method = "least-squares"'
        )
    if config.prior.springs and config.target.knots is None:
        log(
            "prior.springs: beside a CC, which knows no noise, the weight that means what "
            "springs_tau says is about 2(1 - CC), 0.2 of a CC of 0.9; with [target] score = "
            '"likelihood" it is 1'
        )
    tell_contacts(modes)
    return Problem(config, modes, target, space)


def _tell_of_no_modes(config: Config, modes: Modes) -> None:
    """Say where a range of amplitudes is of modes that a file should have, and has not."""
    given, structure = config.parameters.mode_amplitude_A, config.structure
    source = structure.modes or structure.file or structure.ensemble
    if np.any(given) and source and config.structure.n_modes != 0 and not len(modes.vectors):
        log(f"parameters.mode_amplitude_A plays no part: {source} has no modes")


# Of what these do, slopes along weights are not known.
_NOT_BESIDE_WEIGHTS = ("residual_b_fraction", "crystal_llm_sigma_A")


def _require_frame_steps(config: Config, space: SearchSpace) -> None:
    """Raise InputError where weights of frames cannot be refined."""
    method, what = config.search.method, 'structure.weights = "refine"'
    if method != "least-squares":
        raise InputError(
            f'{what} takes steps along the map\'s slopes, which a search by "{method}" cannot '
            'begin: expected [search] method = "least-squares"'
        )
    for name in _NOT_BESIDE_WEIGHTS:
        if space.at_most(name):
            raise InputError(
                f"{what}: what parameters.{name} does changes with every weight, by slopes that "
                "are not known: leave it out, or hold the weights"
            )


def _require_distinct(modes: Modes, space: SearchSpace) -> None:
    """Raise InputError where no search could find the modes' amplitudes, whatever its data."""
    refined = list(space.modes.values())
    vectors = modes.vectors[np.array(refined, np.int64)]
    pair = alike(vectors)
    if pair is not None:
        one, other = (refined[i] + 1 for i in pair)
        raise InputError(
            f"modes {one} and {other} move all atoms alike: no data tell one from the other: "
            "expected different modes; hold one of them at 0 in [parameters] mode_amplitude_A, or "
            "give fewer [structure] n_modes"
        )
    together = [refined[i] + 1 for i in dependent(vectors)]
    if together:
        raise InputError(
            f"modes {', '.join(map(str, together[:-1]))} and {together[-1]} are dependent: with "
            "other amplitudes of the same modes all atoms move alike, so that no data tell these "
            "amplitudes: expected modes that are independent; hold one of them at 0 in "
            "[parameters] mode_amplitude_A, or give fewer [structure] n_modes"
        )


def shrunk_problem(problem: Problem) -> Problem:
    """The same problem, so small that a minute is enough: few samples, few evaluations.

    Of the target, every n-th h-plane is kept, so that all resolution shells still count.
    """
    config, target = problem.config, problem.target
    evaluations = 12 if problem.space.refined.any() else 1
    learning = 8 if METHODS[config.search.method].steps_after is None else 2
    search = replace(config.search, restarts=1, evaluations=evaluations, initial_points=learning)
    model = replace(
        config.model,
        samples=16 if config.model.samples == "auto" else min(16, config.model.samples),
        final_samples=min(32, config.model.final_samples),
    )
    costs = plane_costs(target.grid, target.d_min)
    # 16 flops for each atom, row and column of a quadrant; a core does 2e12 in about a minute.
    flops = 16.0 * len(problem.modes.structure) * costs.sum() * model.samples * search.evaluations
    stride = max(1, math.ceil(flops / 2e12))
    kept = target.at(target.indices[:, 0] % stride == 0)
    if config.target.knots:  # whose σ may be the half-maps'
        kept = replace(kept, half_sums=target.half_sums)
    prior = config.prior
    if prior.amplitudes == AUTO:  # a path would take longer than all else
        prior = replace(prior, amplitudes=MIDDLE)
    if prior.weights == AUTO:
        prior = replace(prior, weights=MIDDLE_ENTROPY)
    config = replace(config, search=search, model=model, prior=prior)
    return replace(problem, config=config, target=kept)


def compare(problem: Problem, group: Ranks) -> tuple[ForwardModel, Comparison]:
    """A group's forward model, and what scores it against the target."""
    target, options = problem.target, problem.config.target
    model = forward_model(
        problem.modes,
        target.grid,
        target.indices,
        group,
        computation(problem.config.model, problem.modes, problem.space),
        zone_profile(target.at(~target.free)) if problem.space.at_most("halo_alpha") else None,
    )
    if options.anisotropic_scale:
        model.scaling = anisotropic_scale(problem, model)
    return model, Comparison(target, model, options.cc_rule, options.weights, options.knots)


def anisotropic_scale(problem: Problem, model: ForwardModel) -> Callable[[Floats], Floats]:
    """What the model's map is multiplied by; a likelihood's voxels count by their errors."""
    target, options = problem.target, problem.config.target
    likely = options.knots is not None and target.errors is not None
    rule = "pooled" if options.knots else options.cc_rule
    weights = "errors" if likely else options.weights
    return AnisotropicScale(target, model.rows, model.group, rule, weights).factors


def with_samples(problem: Problem, world: Ranks) -> Problem:
    """The problem with its estimator and number of samples, as measured, or as stored; told.

    All ranks together evaluate the middle of the parameters' ranges with independent samples.
    """
    options, found = problem.config.model, _stored_or_measured(problem, world)
    if world.is_root:
        if options.estimator == "auto":
            log(choice_text(found))
        log(_convergence_text(found, options.samples == "auto", options.map_error))
    return as_found(problem, found)


def settled(problem: Problem, world: Ranks) -> Problem:
    """The problem with the estimator of its run, also after the search, where it was left open."""
    if problem.config.model.estimator != "auto":
        return problem
    return as_found(problem, _stored_or_measured(problem, world))


def _stored_or_measured(problem: Problem, world: Ranks) -> Convergence:
    directory = problem.config.run.directory
    found = world.from_root(lambda: read_convergence(directory))
    if found is None:
        found = measured_samples(problem, world)
        world.from_root(lambda: write_convergence(directory, found))
    return found


def measured_samples(problem: Problem, world: Ranks, fewer: bool = True) -> Convergence:
    """Estimator and number of samples, and what error they leave, in the middle of the ranges.

    Parameters
    ----------
    problem : Problem
    world : Ranks
        All of them call it.
    fewer : bool
        Also what error fewer samples leave, which takes as long again.
    """
    model, comparison = compare(problem, world)
    middle = problem.space.parameters(likely_point(problem))
    trial = Trial(model, comparison, problem.config.model, problem.sampler, (CONVERGENCE,))
    asked = problem.config.model.estimator
    if not can_expand(problem.modes, problem.space):
        found = trial.of_samples(middle)
    elif asked == "auto":
        found = cheapest_estimator(trial, middle, problem.space.farthest)
    else:
        told = named_text(asked, model, problem.space.farthest, problem.target.d_min)
        if told and world.is_root:
            log(told)
        found = trial.of_named(middle, asked)
    if not fewer or found.estimator == "one-phonon":
        return found
    model.use_estimator(found.estimator)
    return with_fewer(found, model, comparison, middle, trial.draw)


def likely_point(problem: Problem) -> np.ndarray:
    """Where a search is likely to be: the middle of the ranges (D,).

    Least squares begins with modes that in all go no farther than the source, see `random_point`:
    so does this. In the middle of their ranges a hundred modes move atoms by Ångströms, which no
    expansion holds for, and for which no number of samples is enough.
    """
    middle = problem.space.bounds.mean(axis=1)
    if METHODS[problem.config.search.method].learns:
        return middle
    return np.clip(no_farther(problem.space, problem.modes, middle), *problem.space.bounds.T)


def as_found(problem: Problem, found: Convergence) -> Problem:
    """The problem with the estimator and so many samples as were found."""
    model = replace(problem.config.model, samples=found.samples, estimator=found.estimator)
    return replace(problem, config=replace(problem.config, model=model))


def for_final_map(problem: Problem) -> Problem:
    """The problem with the final map's estimator: what the first order leaves is sampled."""
    model = problem.config.model
    model = replace(model, estimator=final_estimator(model.estimator))
    return replace(problem, config=replace(problem.config, model=model))


def _convergence_text(found: Convergence, chosen: bool, asked: float) -> str:
    if found.estimator == "one-phonon":
        return (
            f"samples: none; the first order alone leaves an error 1 - CC of {found.map_error:.1e} "
            f"in a map, and of {found.objective_error:.1e} in the objective; in the final map, "
            "samples of the rest make up for it"
        )
    text = (
        f"samples: {found.samples}; they leave an error 1 - CC of {found.map_error:.1e} in a map, "
        f"and of {found.objective_error:.1e} in the objective"
    )
    if chosen and found.map_error > asked:
        return f"{text}: more than the {asked:.1e} asked for, but samples end there"
    return text
