"""Anybody's calculated map against a target, by the rules of a fit."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hpc_diffuser.crystal.symmetry import grid_operations
from hpc_diffuser.fit.config import TargetConfig
from hpc_diffuser.fit.scoring import ceiling, likelihood_of, plain, score_at_voxels, shell_rows
from hpc_diffuser.fit.summary import Ceiling, Likelihood, ShellRow
from hpc_diffuser.maps.diffuse_map import DiffuseMap, samples_in
from hpc_diffuser.maps.merging import Merged, merge_mates
from hpc_diffuser.maps.target import Target
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.records import to_plain

_MOST_MISSING, _MOST_OF_A_SHELL = 0.1, 0.5  # of the target's voxels


@dataclass(frozen=True, kw_only=True)
class MapScore:
    """What `score` finds.

    Attributes
    ----------
    map, target : str
        The files.
    score, weights : str
        As of the config's [target].
    cc_work, cc_free, ceiling, shells, likelihood
        As of a fit's `Outcome`.
    voxels, missing : int
        Of the target; those that are not in the map.
    mates_per_voxel, cc_mates : float or None
        Of the averaging of Laue mates.
    said : tuple of str
        About the map.
    """

    map: str
    target: str
    score: str
    weights: str
    cc_work: float | None
    cc_free: float | None
    ceiling: Ceiling | None
    voxels: int
    missing: int
    mates_per_voxel: float | None
    cc_mates: float | None
    shells: tuple[ShellRow, ...]
    said: tuple[str, ...]
    likelihood: Likelihood | None = None


def score_map(
    diffuse: DiffuseMap,
    target: Target,
    score: str,
    weights: str,
    files: tuple[str, str] = ("", ""),
    said: tuple[str, ...] = (),
) -> MapScore:
    """The scores of a map at a target's voxels, Laue mates averaged as a model's are.

    Parameters
    ----------
    diffuse : DiffuseMap
        In the target's crystal.
    target : Target
    score, weights : str
        As of the config's [target].
    files : (str, str)
        Names of the map's and the target's, to be told.
    said : tuple of str
        About the map, to be told.

    Raises
    ------
    InputError
        Where samples do not fit, too many of the target's voxels are not in the map, or the map
        does not vary.
    """
    merged = _at_voxels(diffuse, target)
    there = np.isfinite(merged.intensity)
    _refuse_missing(target, there)
    compared = replace(target.at(there), half_sums=target.half_sums)
    values = merged.intensity[there]
    # A large offset would cost digits.
    rule = TargetConfig(score=score)
    found = score_at_voxels(compared, values - values.mean(), rule.cc_rule, weights, rule.knots)
    rows = shell_rows(compared, found)
    _refuse_constant(rows)
    return MapScore(
        map=files[0],
        target=files[1],
        score=score,
        weights=weights,
        cc_work=plain(found.cc_work),
        cc_free=plain(found.cc_free),
        ceiling=ceiling(target, rule.cc_rule),
        voxels=len(there),
        missing=int((~there).sum()),
        mates_per_voxel=plain(merged.statistics.multiplicity[-1]),
        cc_mates=plain(merged.statistics.cc_laue[-1]),
        shells=tuple(rows),
        said=said,
        likelihood=likelihood_of(compared, found),
    )


def score_data(found: MapScore) -> dict[str, Any]:
    """The scores as plain values, for a JSON file."""
    return {"format": "hpc-diffuser/score", **to_plain(found)}


def _at_voxels(diffuse: DiffuseMap, target: Target) -> Merged:
    """A map at the target's voxels; NaN where it has none."""
    indices = samples_in(diffuse, target.grid, target.indices)
    operations = grid_operations(target.grid, target.space_group)
    intensity = np.where(np.isfinite(diffuse.intensity), diffuse.intensity, np.nan)
    plain_map = DiffuseMap(diffuse.grid, intensity, target.space_group)
    return merge_mates(plain_map, indices, operations, target.shells(), target.n_shells)


def _refuse_missing(target: Target, there: np.ndarray) -> None:
    """Raise InputError where a score would be of another range than the target's."""
    shells = target.shells()
    count = np.maximum(np.bincount(shells, minlength=target.n_shells), 1)
    missing = np.bincount(shells, ~there, target.n_shells) / count
    if (~there).mean() <= _MOST_MISSING and missing.max() <= _MOST_OF_A_SHELL:
        return
    worst = int(missing.argmax())
    d_max, d_min = (1 / max(s, 1e-9) for s in target.shell_edges[worst : worst + 2])
    raise InputError(
        f"lacks {(~there).sum()} of the target's {len(there)} voxels, "
        f"{100 * missing[worst]:.0f} % of those of {d_max:.2f}-{d_min:.2f} Å: expected at most "
        f"{100 * _MOST_MISSING:.0f} %, and {100 * _MOST_OF_A_SHELL:.0f} % of any shell; calculate "
        "the whole range, or make a target of the range that the map has"
    )


def _refuse_constant(rows: list[ShellRow]) -> None:
    for row in rows:
        for voxels, cc in ((row.voxels_work, row.cc), (row.voxels_free, row.cc_free)):
            if cc is None and voxels > 1:
                d_max = "∞" if row.d_max is None else f"{row.d_max:.2f}"
                raise InputError(
                    f"does not vary between {d_max} and {row.d_min:.2f} Å, where the CC has no "
                    "meaning: expected a map of diffuse intensity"
                )
