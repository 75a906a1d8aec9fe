"""Whose motions are written: modes, or the answer of a run."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hpc_diffuser.fit.b_factors import motion
from hpc_diffuser.fit.refined import read_refined
from hpc_diffuser.io.modes_file import read_modes
from hpc_diffuser.motion.modes import Modes
from hpc_diffuser.motion.parameters import Parameters
from hpc_diffuser.system.errors import InputError


@dataclass(frozen=True)
class Source:
    """A molecule and how it moves.

    Attributes
    ----------
    path : Path
        As the user names it.
    modes : Modes
        With the amplitudes of `parameters`.
    parameters : Parameters
    files : tuple of Path
        That it was read from.
    modes_file : Path or None
        That of them which its modes are in.
    said : tuple of str
        Lines for the user.
    """

    path: Path
    modes: Modes
    parameters: Parameters
    files: tuple[Path, ...]
    modes_file: Path | None
    said: tuple[str, ...] = ()

    def with_amplitudes(self, amplitudes_A: tuple[float, ...]) -> "Source":
        """The first modes' amplitudes given, the others 0, none correlated."""
        n_modes, n_given = len(self.modes.amplitudes_A), len(amplitudes_A)
        if n_given > n_modes:
            raise InputError(f"--amplitudes: {n_given} for the {n_modes} modes of {self.path}")
        values = np.zeros(n_modes)
        values[:n_given] = amplitudes_A
        parameters = replace(self.parameters, mode_amplitudes_A=values, mode_correlation=())
        return replace(self, modes=replace(self.modes, amplitudes_A=values), parameters=parameters)

    def modes_alone(self) -> "Source":
        """Without all other motions."""
        kept = self.parameters
        still = Parameters(
            kept.mode_amplitudes_A,
            mode_correlation=kept.mode_correlation,
            frame_weight=kept.frame_weight,
        )
        return replace(self, parameters=still)

    def require_modes(self) -> None:
        """Raise InputError where it has none."""
        if not len(self.modes.amplitudes_A):
            raise InputError(f"{self.path}: has no modes: expected modes.h5, or a run with modes")

    def motions(self) -> str:
        """How far the atoms go, by each motion: `rms 0.71 Å: modes 0.43, translation 0.57`."""
        found = motion(self.modes, self.parameters)
        kinds = ", ".join(f"{name} {size.rms_A:.2f}" for name, size in found.kinds.items())
        return f"rms {found.rms_A:.2f} Å" + (f": {kinds}" if kinds else "")


def read_source(path: Path, config: Path | None = None) -> Source:
    """Modes of a file, with its amplitudes; or the model of a run, with its answer.

    Parameters
    ----------
    path : Path
    config : Path or None
        Of a run: where its config lies, if not where it did.

    Raises
    ------
    InputError
        As of `read_modes` and `read_refined`.
    """
    if not path.is_dir():
        if config is not None:
            raise InputError(f"--config: of a run, and {path} is a file: leave it out")
        modes = read_modes(path)
        return Source(path, modes, Parameters(modes.amplitudes_A), (path,), path)
    found = read_refined(path, config)
    modes = found.modes
    if modes.frames is None:
        modes = replace(modes, amplitudes_A=found.parameters.mode_amplitudes_A)
    said = (f"{path}: {found.answer_is}",)
    return Source(path, modes, found.parameters, found.files, found.modes_file, said)
