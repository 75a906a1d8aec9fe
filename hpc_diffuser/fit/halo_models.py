"""Which model explains the halos: the paper's Fig. 1(f) of any target that has them.

Models are fitted to all working voxels, halos too, and scored with the halos and without. Beside
them stands the paper's estimate of the same (Mazumder & Ayyer, bioRxiv 2021.02.11.429988): the
target averaged over all Brillouin zones, less its minimum, to the power α, times the intensity of
the molecule that moves as a whole.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hpc_diffuser.crystal.lattice import Centring, centring
from hpc_diffuser.fit.comparison import model_config
from hpc_diffuser.fit.config import Config
from hpc_diffuser.fit.one_restart import run_of_problem
from hpc_diffuser.fit.problem import Problem, load_problem
from hpc_diffuser.fit.scoring import Score, plain, score_at_voxels
from hpc_diffuser.fit.summary import Values
from hpc_diffuser.maps.statistics import cc_star
from hpc_diffuser.maps.target import Target, outside_halos
from hpc_diffuser.maps.target_options import HALO_RADIUS
from hpc_diffuser.scattering.halos import empirical_halo, zone_profile
from hpc_diffuser.system.arrays import Floats, Mask
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.records import to_plain

RIGID, EMPIRICAL = "rbt", "empirical"
ALPHAS = np.round(np.arange(0.1, 8.05, 0.1), 1)
_FORMAT = "hpc-diffuser/halos"


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """CC with the target, over the shells and in each; None where it is undefined."""

    cc_work: float | None
    cc_free: float | None
    shells_work: tuple[float | None, ...]
    shells_free: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class HaloModel:
    """A model beside the target.

    Attributes
    ----------
    name : str
    refined : dict
        The refined parameters by name, in their units; of the empirical halo `halo_alpha`.
    everywhere, between : Agreement
        At all voxels, and at those that lie in no halo.
    """

    name: str
    refined: Values
    everywhere: Agreement
    between: Agreement


@dataclass(frozen=True, kw_only=True)
class ScanRow:
    """A power of the empirical profile, and the CC_work that it gives."""

    alpha: float
    everywhere: float | None
    between: float | None


@dataclass(frozen=True, kw_only=True)
class HaloShell:
    """A resolution shell: limits in Å, its voxels, those of them between the halos, CC*."""

    d_max: float | None
    d_min: float
    voxels: int
    between: int
    cc_star: float | None


@dataclass(frozen=True, kw_only=True)
class HaloComparison:
    """All models beside each other.

    Attributes
    ----------
    target : str
    halo_radius : float, or three
        Of what counts as halo, in reciprocal-lattice units.
    score : str
    models : tuple of HaloModel
    shells : tuple of HaloShell
    scan : tuple of ScanRow
    """

    target: str
    halo_radius: float | tuple[float, float, float]
    score: str
    models: tuple[HaloModel, ...]
    shells: tuple[HaloShell, ...]
    scan: tuple[ScanRow, ...]


def compare_halos(
    config: Config,
    names: tuple[str, ...],
    halo_radius: float | tuple[float, float, float],
    tell: Callable[[str], None],
) -> HaloComparison:
    """Fit models to a target with halos, on one process, and score them with and without.

    Parameters
    ----------
    config : Config
        Its target, structure, lattice; ranges of parameters where it gives them.
    names : tuple of str
        Models as of `model_config`; the rigid body that translates is always there, and first.
    halo_radius : float, or three
    tell : callable
        Is given a line before each fit.

    Raises
    ------
    InputError
        Where no voxel of the target lies in a halo, or all do; as of `model_config` and a fit.
    """
    problems = {name: _problem(config, name) for name in dict.fromkeys((RIGID, *names))}
    voxels = _voxels(problems[RIGID].target, config, halo_radius)
    models: list[HaloModel] = []
    scan: tuple[ScanRow, ...] = ()
    for name in list(problems):
        tell(f"model {name}")
        problem, history, final = run_of_problem(problems.pop(name), 0)
        answer = problem.space.by_name(history.points[history.best])
        refined = {key: answer[key] for key in problem.space.refined_names}
        models.append(_model(voxels, name, refined, final.calculated))
        if name == RIGID:
            empirical, scan = _empirical(voxels, refined, final.calculated)
            models.append(empirical)
    return HaloComparison(
        target=str(config.target.file and config.target.file.name),
        halo_radius=halo_radius,
        score=config.target.cc_rule,
        models=tuple(models),
        shells=_shells(voxels),
        scan=scan,
    )


def _problem(config: Config, name: str) -> Problem:
    """A model's, all of whose inputs are checked before the first model is fitted."""
    own = model_config(config, name)
    search = replace(own.search, method="least-squares", restarts=1)
    return load_problem(replace(own, search=search))


def halos_data(found: HaloComparison) -> dict[str, Any]:
    """The numbers as plain values, for a JSON file."""
    return {"format": _FORMAT, **to_plain(found)}


@dataclass(frozen=True)
class _Voxels:
    """A target with halos, and the mask (V,) of what lies between them; the rules of its score."""

    target: Target
    between: Mask
    rule: str
    weights: str

    def score(self, values: Floats, between: bool) -> Score:
        """Of a map (V,)."""
        target = self.target
        if between:
            target, values = target.at(self.between), values[self.between]
        # A large offset would cost digits.
        return score_at_voxels(target, values - values.mean(), self.rule, self.weights)


def _voxels(
    target: Target, config: Config, halo_radius: float | tuple[float, float, float]
) -> _Voxels:
    lattice = centring(target.space_group, target.grid.unit_cell)
    between = outside_halos(target.indices, target.grid, halo_radius, lattice)
    if between.all():
        raise InputError(_without_halos(target, config, halo_radius, lattice))
    if not between.any():
        raise InputError(
            f"{config.target.file}: all voxels lie in halos: expected several samples per "
            "reciprocal-lattice unit, or a smaller --halo-radius"
        )
    return _Voxels(target, between, config.target.cc_rule, config.target.weights)


def _without_halos(
    target: Target,
    config: Config,
    halo_radius: float | tuple[float, float, float],
    lattice: Centring,
) -> str:
    """Whether the target or the option is why no voxel lies in a halo."""
    usual = outside_halos(target.indices, target.grid, HALO_RADIUS, lattice)
    if usual.all() or halo_radius == HALO_RADIUS:
        return (
            f"{config.target.file}: no voxel lies in a halo: expected a target that keeps them: "
            "make it with hpc-diffuser target --halo-radius 0.1, which masks the Bragg peaks alone"
        )
    return (
        f"--halo-radius: no voxel of {config.target.file} lies in a halo as small as that: "
        f"expected a larger one (default: 3/7, which has {np.sum(~usual)} voxels)"
    )


def _model(voxels: _Voxels, name: str, refined: Values, values: Floats) -> HaloModel:
    everywhere, between = (_agreement(voxels.score(values, b)) for b in (False, True))
    return HaloModel(name=name, refined=refined, everywhere=everywhere, between=between)


def _agreement(score: Score) -> Agreement:
    return Agreement(
        cc_work=plain(score.cc_work),
        cc_free=plain(score.cc_free),
        shells_work=tuple(plain(cc) for cc in score.shells_work),
        shells_free=tuple(plain(cc) for cc in score.shells_free),
    )


def _empirical(
    voxels: _Voxels, refined: Values, rigid: Floats
) -> tuple[HaloModel, tuple[ScanRow, ...]]:
    """The rigid body's intensity times the profile of the working voxels, at the best power."""
    target, rows = voxels.target, []
    profile = zone_profile(target.at(~target.free))
    for alpha in ALPHAS.tolist():
        values = rigid * empirical_halo(target.indices, profile, alpha)
        whole, between = (voxels.score(values, b).cc_work for b in (False, True))
        rows.append(ScanRow(alpha=alpha, everywhere=plain(whole), between=plain(between)))
    best = max(rows, key=lambda row: -1.0 if row.everywhere is None else row.everywhere).alpha
    values = rigid * empirical_halo(target.indices, profile, best)
    answer = {**refined, "halo_alpha": best}
    return _model(voxels, EMPIRICAL, answer, values), tuple(rows)


def _shells(voxels: _Voxels) -> tuple[HaloShell, ...]:
    target, n = voxels.target, voxels.target.n_shells
    shells = target.shells()
    every = np.bincount(shells, minlength=n).tolist()
    between = np.bincount(shells[voxels.between], minlength=n).tolist()
    halves = target.cc_half()
    stars = [None] * n if halves is None else [plain(float(cc_star(cc))) for cc in halves]
    ends = target.shell_edges
    return tuple(
        HaloShell(
            d_max=float(1 / ends[s]) if ends[s] > 0 else None,
            d_min=float(1 / ends[s + 1]),
            voxels=every[s],
            between=between[s],
            cc_star=stars[s],
        )
        for s in range(n)
    )
