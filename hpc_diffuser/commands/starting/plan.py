"""What is made of a project's files: where everything lies, and the commands in their order."""

import os
import shlex
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from hpc_diffuser.commands.config_choice import DEFAULT_CONFIG
from hpc_diffuser.commands.starting.files import ProjectFiles
from hpc_diffuser.commands.starting.found import Measured, Molecule

N_MODES = 10  # as many as the paper refined; a search in many more dimensions takes long


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A project that is to begin.

    Attributes
    ----------
    files : ProjectFiles
    molecule : Molecule
    measured : Measured or None
        None: nothing is fitted, a map is simulated.
    config : Path
        Where the config is written; what is made lies beside it.
    """

    files: ProjectFiles
    molecule: Molecule
    measured: Measured | None
    config: Path

    @property
    def n_modes(self) -> int:
        """How many are used."""
        return min(N_MODES, self.molecule.most_modes)

    @property
    def modes(self) -> Path:
        """Those that are there, or where they will be."""
        return self.files.modes or self.config.parent / "modes.h5"

    @property
    def target(self) -> Path:
        """The same of the target."""
        if self.measured and self.measured.is_target and self.files.map:
            return self.files.map
        return self.config.parent / "target.h5"

    @property
    def run(self) -> Path:
        """A folder that is not there yet."""
        folder, number = self.config.parent / "run", 2
        while folder.exists():
            folder, number = self.config.parent / f"run-{number}", number + 1
        return folder

    @property
    def replaced(self) -> list[Path]:
        """Files that are there, and that the commands will replace."""
        made = [] if self.files.modes else [self.modes]
        made += [] if self.measured is None or self.measured.is_target else [self.target]
        return [path for path in made if path.exists()]


def commands(plan: Plan) -> list[str]:
    """What is to be typed next, line by line, in the folder where `init` was."""
    steps = [] if plan.files.modes else [_modes(plan)]
    config = [] if plan.config == DEFAULT_CONFIG else [str(plan.config)]
    if plan.measured is None:
        output = plan.config.parent / "map.nxs"
        steps.append([*_on_ranks(), "simulate", str(plan.config), "-o", str(output)])
    else:
        steps = ([] if plan.measured.is_target else [_target(plan, plan.measured)]) + steps
        steps.append(["hpc-diffuser", "fit", *config, "--test"])
        steps.append([*_on_ranks(), "fit", *config])
        steps.append(["hpc-diffuser", "report", str(plan.run)])
    return [shlex.join(words) for words in steps]


def remarks(plan: Plan) -> list[str]:
    """What else is to be known of these commands."""
    lines = [f"{path} is there already: its command replaces it" for path in plan.replaced]
    if plan.measured is None:
        return [*lines, "Without a map nothing is fitted: for a fit, init again with --map"]
    watch = shlex.join(["hpc-diffuser", "status", str(plan.run), "--follow"])
    return [*lines, f"To watch the fit: {watch}; to queue it on a cluster: docs/cluster.md"]


def _modes(plan: Plan) -> list[str]:
    words, frames = ["hpc-diffuser", "modes"], plan.files.trajectory_files
    if frames:
        words += ["--trajectory", *map(str, frames.trajectories), "--topology"]
        words.append(str(frames.topology))
    words += ["--reference", str(plan.files.structure), "--n-modes", str(plan.n_modes)]
    return [*words, "-o", str(plan.modes)]


def _target(plan: Plan, measured: Measured) -> list[str]:
    files, given = plan.files, plan.files.given
    words = ["hpc-diffuser", "target", str(files.map)]
    cell, group = given.unit_cell, given.space_group
    if files.structure:
        words += ["--structure", str(files.structure)]
    else:  # the map gets the crystal of the modes
        cell, group = cell or plan.molecule.crystal[0], group or plan.molecule.crystal[1]
    words += [f"--reindex={measured.reindexing}"] if measured.reindexing != "h,k,l" else []
    words += ["--cell", ",".join(f"{x:.10g}" for x in cell)] if cell else []
    words += ["--space-group", group] if group else []
    words += ["--column", given.column] if given.column else []
    words += ["--divisions", ",".join(map(str, given.divisions))] if given.divisions else []
    words += [] if measured.masks_halos else ["--halo-radius", "0"]
    words += ["--d-max", f"{measured.d_max_A:g}", "--d-min", f"{measured.d_min_A:g}"]
    return [*words, "-o", str(plan.target)]


def _on_ranks() -> list[str]:
    """On all processors of this machine, where there is MPI."""
    cores = len(os.sched_getaffinity(0))
    if cores < 2 or shutil.which("mpirun") is None or find_spec("mpi4py") is None:
        return ["hpc-diffuser"]
    return ["mpirun", "-n", str(cores), "hpc-diffuser"]
