"""A run directory, opened: settings, inputs, restarts, what came out. Read only, when asked for.

What is asked for a second time is what was read the first time: open a run again to see how far
it has come since.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_diffuser.fit.comparison_table import NAME as MODELS
from hpc_diffuser.fit.comparison_table import ModelComparison, read_comparison
from hpc_diffuser.fit.priors.choice import PriorPath
from hpc_diffuser.fit.run.begun import TARGET, begun_config, find_inputs, molecule_keys
from hpc_diffuser.fit.run.directory import (
    read_convergence,
    read_histories,
    read_manifest,
    read_prior_path,
    read_session,
    runs_inside,
)
from hpc_diffuser.fit.run.jobs import read_jobs
from hpc_diffuser.fit.run.lock import owner_lives, read_owner
from hpc_diffuser.fit.summary_file import NAME, read_summary
from hpc_diffuser.interface.checked import path_of
from hpc_diffuser.system.arrays import Floats
from hpc_diffuser.system.errors import InputError

if TYPE_CHECKING:
    from hpc_diffuser.fit.config import Config
    from hpc_diffuser.fit.errors.cc_errors import CCErrors
    from hpc_diffuser.fit.run.directory import Session
    from hpc_diffuser.fit.run.jobs import Job
    from hpc_diffuser.fit.sampling_error import Convergence
    from hpc_diffuser.fit.search.history import History
    from hpc_diffuser.fit.space import SearchSpace
    from hpc_diffuser.fit.summary import Outcome, Spread, Summary
    from hpc_diffuser.io.provenance import Provenance
    from hpc_diffuser.maps.diffuse_map import DiffuseMap
    from hpc_diffuser.maps.target import Target
    from hpc_diffuser.maps.zones import Zones
    from hpc_diffuser.motion.modes import Modes

CALCULATED = "calculated.h5"
_PATIENCE_S = 2.0  # with SLURM: who looks does not want to wait


@dataclass(frozen=True)
class Run:
    """A fit's run directory: finished, running or stopped.

    Attributes
    ----------
    directory : Path
    config_path : Path or None
        The run's config, where its inputs are not found otherwise.
    """

    directory: Path
    config_path: Path | None = None

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Settings, hashes of the inputs, versions, processor: what it was begun with.

        Raises
        ------
        InputError
            Where the folder is no run directory.
        """
        return read_manifest(self.directory)

    @cached_property
    def config(self) -> Config:
        """All settings; inputs as they lay when it was begun, see `files`."""
        return begun_config(self.directory, self.manifest)

    @property
    def n_restarts(self) -> int:
        """Restarts that are asked for."""
        return self.config.search.restarts

    @property
    def n_evaluations(self) -> int:
        """Evaluations of each restart that are asked for."""
        return self.config.search.evaluations

    @cached_property
    def histories(self) -> dict[int, History]:
        """By restart that has begun, its points (E, D) and their objectives (E,): 1 − CC_work.

        The columns of the points are the `refined` parameters. With a likelihood or a prior the
        objective is another number, and `cc_work` (E,) is beside it.
        """
        return read_histories(self.directory, self.n_restarts)

    @cached_property
    def summary(self) -> Summary | None:
        """What it has found; None until the first restart is finished.

        Raises
        ------
        InputError
            Where it cannot be read.
        """
        return read_summary(self.directory) if (self.directory / NAME).exists() else None

    @property
    def outcome(self) -> Outcome:
        """The answer, its scores by shell, its motions: of a finished run.

        Raises
        ------
        InputError
            Where it is not finished; `summary` says what is known before that.
        """
        from hpc_diffuser.fit.refined import finished_outcome

        return finished_outcome(self.directory, self.summary)

    @property
    def standard_errors(self) -> Spread | None:
        """Of the answer's parameters by name, as `outcome.answer` has them, in their units.

        None where not determined, and of those held. They are of the data, for this very model,
        see `outcome.intervals`; None altogether where an older version has fitted.

        Raises
        ------
        InputError
            As of `outcome`.
        """
        return self.outcome.standard_errors

    @cached_property
    def convergence(self) -> Convergence | None:
        """How many samples it takes, and what error they leave; None until that is measured."""
        return read_convergence(self.directory)

    @cached_property
    def prior_path(self) -> PriorPath | None:
        """Fits along a path of a prior's weights, of which CC_free chose one; None without."""
        found = read_prior_path(self.directory)
        return found if found.points else None

    @cached_property
    def jobs(self) -> tuple[Job, ...] | None:
        """All jobs that have worked on it, in their order; None where the record is damaged."""
        jobs = read_jobs(self.directory)
        return None if jobs is None else tuple(jobs)

    @cached_property
    def session(self) -> Session | None:
        """The job that works, or has worked last, on it; None where that is not known."""
        return read_session(self.directory)

    @property
    def state(self) -> str:
        """Now: `finished`, `running`, `stopped`, `killed`, or `unknown` where SLURM is silent."""
        owner = read_owner(self.directory)
        lives = owner is not None and owner_lives(owner, _PATIENCE_S)
        if lives is None:
            return "unknown"
        if lives:
            return "running"
        if self._is_complete():
            return "finished"
        return "stopped" if owner is None else "killed"

    def _is_complete(self) -> bool:
        summary = self.summary
        if summary is None or summary.outcome is None:
            return False
        return summary.restarts_finished >= self.n_restarts

    @cached_property
    def refined(self) -> tuple[str, ...]:
        """Labels of the refined parameters (D,), in the order of the points' columns.

        Raises
        ------
        InputError
            Until the first restart is finished: as of `modes`.
        """
        return self.summary.refined if self.summary else tuple(self.space.names)

    @cached_property
    def bounds(self) -> Floats:
        """What each of the refined parameters is searched between: (D, 2) float.

        Raises
        ------
        InputError
            As of `refined`.
        """
        if self.summary is None:
            return self.space.bounds
        return np.array([self.summary.bounds[name] for name in self.refined]).reshape(-1, 2)

    @cached_property
    def space(self) -> SearchSpace:
        """All parameters of the model, held and refined.

        Raises
        ------
        InputError
            As of `modes`.
        """
        from hpc_diffuser.fit.space import refined_frames, search_space

        correlated = self.config.structure.correlated_modes
        n_frames = refined_frames(self.config, self.modes)
        amplitudes_A = self.modes.amplitudes_A
        lattice = self.modes.lattice
        return search_space(self.config.parameters, amplitudes_A, correlated, n_frames, lattice)

    @cached_property
    def files(self) -> dict[str, Path]:
        """Where the inputs lie now, by the config's key, as `target.file`.

        Raises
        ------
        InputError
            Where one is gone, or has changed since the run was begun.
        """
        return self._find(set(self.manifest["inputs"]))

    @cached_property
    def provenance(self) -> dict[str, Provenance]:
        """What HDF5 inputs say of how they were made, by the config's key.

        Raises
        ------
        InputError
            As of `files`.
        """
        from hpc_diffuser.io.provenance import read_provenance

        return {key: read_provenance(path) for key, path in self.files.items()}

    def _find(self, keys: set[str]) -> dict[str, Path]:
        return find_inputs(self.directory, self.manifest, keys, self.config_path)

    @cached_property
    def modes(self) -> Modes:
        """The molecule and its modes as the fit used them, in the crystal.

        Raises
        ------
        InputError
            Where a file is gone, has changed since the run was begun, or cannot be read.
        """
        from hpc_diffuser.fit.inputs import load_modes

        files = self._find(molecule_keys(self.manifest))
        return load_modes(begun_config(self.directory, self.manifest, files))

    @cached_property
    def target(self) -> Target:
        """What the model is compared with.

        Raises
        ------
        InputError
            As of `modes`.
        """
        from hpc_diffuser.io.maps.native import read_target

        return read_target(self._find({TARGET})[TARGET])

    @cached_property
    def calculated_map(self) -> DiffuseMap | None:
        """The map at the answer, all Laue mates, NaN outside the target; None until it is made.

        Raises
        ------
        InputError
            Where the file cannot be read.
        """
        from hpc_diffuser.io.maps.native import read_map

        path = self.directory / CALCULATED
        return read_map(path) if path.exists() else None

    @cached_property
    def calculated(self) -> Floats | None:
        """Its intensity at the target's voxels: (V,) float, or None.

        Raises
        ------
        InputError
            As of `target` and `calculated_map`.
        """
        from hpc_diffuser.maps.diffuse_map import values_at

        found, target = self.calculated_map, self.target
        if found is None:
            return None
        ours, theirs = found.grid.divisions, target.grid.divisions
        if tuple(ours) != tuple(theirs):
            raise InputError(
                f"{self.directory / CALCULATED}: {ours} samples per reciprocal-lattice unit, the "
                f"target {theirs}: run hpc-diffuser fit again, which writes it anew"
            )
        return values_at(found.intensity, target.indices)

    @cached_property
    def cc_errors(self) -> CCErrors | None:
        """Errors of its scores, from Brillouin zones drawn anew; None until its map is made.

        Raises
        ------
        InputError
            As of `calculated`.
        """
        return _cc_errors(self, None)


def _cc_errors(run: Run, zones: Zones | None) -> CCErrors | None:
    """Of a run's map; zones of its target that are already known are not looked for."""
    from hpc_diffuser.fit.errors.cc_errors import cc_errors
    from hpc_diffuser.maps.zones import blocks_of

    calculated, options = run.calculated, run.config.target
    if calculated is None:
        return None
    found = zones or blocks_of(run.target)
    return cc_errors(run.target, calculated, found, options.cc_rule, options.weights)


@dataclass(frozen=True)
class Comparison:
    """A comparison of models: the folder that holds their runs.

    Attributes
    ----------
    directory : Path
    runs : dict of Run
        Of the models that have begun, by name, in the order of the comparison.
    """

    directory: Path
    runs: dict[str, Run] = field(default_factory=dict)

    @cached_property
    def table(self) -> ModelComparison | None:
        """The models beside each other; None until the last one is fitted.

        Raises
        ------
        InputError
            Where it cannot be read.
        """
        return read_comparison(self.directory) if (self.directory / MODELS).exists() else None

    @cached_property
    def cc_errors(self) -> dict[str, CCErrors]:
        """Errors of the scores by model, with the same zones drawn for all; of those with a map.

        Raises
        ------
        InputError
            As of `Run.calculated`.
        """
        from hpc_diffuser.maps.zones import blocks_of

        zones: Zones | None = None
        found = {}
        for name, run in self.runs.items():
            zones = zones or blocks_of(run.target)
            errors = _cc_errors(run, zones)
            if errors is not None:
                found[name] = errors
        return found


def open_run(directory: str | Path, config: str | Path | None = None) -> Run:
    """Open the run directory of a fit, or of one model of a comparison.

    Parameters
    ----------
    directory : str or Path
    config : str or Path, optional
        The run's config beside its inputs, where these are not found otherwise.

    Returns
    -------
    Run

    Raises
    ------
    InputError
        Where it is no run directory.

    Examples
    --------
    >>> run = hd.open_run("run")
    >>> run.state, run.outcome.cc_free
    ('finished', 0.6)
    """
    run = Run(path_of(directory, "a run directory"), None if config is None else Path(config))
    _ = run.manifest  # refuses what is no run
    return run


def open_comparison(directory: str | Path, config: str | Path | None = None) -> Comparison:
    """Open the directory of a comparison of models.

    Parameters
    ----------
    directory : str or Path
    config : str or Path, optional
        As of `open_run`.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        Where no model has begun in it.

    Examples
    --------
    >>> comparison = hd.open_comparison("run")
    >>> {model.name: model.cc_free for model in comparison.table.models}
    {'rbt': 0.44, 'rbt+int': 0.6}
    """
    place = path_of(directory, "the directory of a comparison")
    folders = runs_inside(place)
    if not folders:
        raise InputError(
            f"{place}: not a comparison of models: expected folders of runs in it, as "
            "hpc-diffuser fit --models makes them"
        )
    runs = {folder.name: open_run(folder, config) for folder in folders}
    return Comparison(place, _in_order(place, runs))


def _in_order(directory: Path, runs: dict[str, Run]) -> dict[str, Run]:
    """As models.json has them, else as they were begun."""
    if (directory / MODELS).exists():
        names = [model.name for model in read_comparison(directory).models]
    else:
        names = sorted(runs, key=lambda name: _began(runs[name]))
    return {name: runs[name] for name in (*names, *runs) if name in runs}


def _began(run: Run) -> float:
    """Unix time of its first job."""
    return run.jobs[0].began if run.jobs else math.inf
