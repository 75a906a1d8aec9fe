"""The kinds of files for other programs: a row each. Loads no arrays: the command line needs it.

A new kind is a function and a row here.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from hpc_diffuser.system.errors import InputError


class Kind(NamedTuple):
    """A row of the table.

    Attributes
    ----------
    name : str
        Of `--write`.
    what : str
        For help and documentation.
    endings : tuple of str
        Of what is written, in lower case.
    options : tuple of str
        The fields of `export.Options` that it heeds; others are refused.
    make : str
        The place beside this module of the function that makes the files.
    readers : str
        Programs, for the documentation.
    example : str
        A line that can be copied.
    needs : tuple of str
        The options that must be given.
    """

    name: str
    what: str
    endings: tuple[str, ...]
    options: tuple[str, ...]
    make: str
    readers: str
    example: str
    needs: tuple[str, ...] = ()

    @property
    def maker(self) -> Callable[..., Any]:
        """The function; it loads what takes long only when it is asked for."""
        module, _, name = self.make.partition(".")
        found: Callable[..., Any] = getattr(import_module(f"{__package__}.{module}"), name)
        return found


_TRAJECTORY = ("trajectory", "topology", "reference")
_OF_IT = ("selection", "conformer", "hydrogens", "first", "last", "stride")
KINDS = (
    Kind(
        "nmd",
        "all modes, with their amplitudes",
        (".nmd",),
        ("amplitudes",),
        "motions.nmd",
        "NMWiz in VMD, ProDy",
        "hpc-diffuser export modes.h5 modes.nmd",
    ),
    Kind(
        "mode",
        "models along one mode, there and back",
        (".pdb", ".dcd"),
        ("amplitudes", "mode", "reach", "models"),
        "motions.along_mode",
        "PyMOL, ChimeraX, VMD, mdtraj",
        "hpc-diffuser export run mode1.pdb --write mode --mode 1 --reach 2",
    ),
    Kind(
        "ensemble",
        "models drawn from all motions together",
        (".pdb", ".dcd"),
        ("amplitudes", "models", "seed", "modes_only"),
        "motions.ensemble",
        "the same",
        "hpc-diffuser export run ensemble.dcd --write ensemble --models 100",
    ),
    Kind(
        "frames",
        "the frames of an ensemble that carry nine tenths of their refined weight, or the heaviest",
        (".pdb", ".dcd"),
        ("models",),
        "motions.heaviest_frames",
        "the same",
        "hpc-diffuser export run frames.pdb --write frames",
    ),
    Kind(
        "phonon",
        "a molecule and those around it through one period of a phonon of the lattice",
        (".pdb", ".dcd"),
        ("wave", "mode", "cells", "reach", "models"),
        "waves.along_phonon",
        "the same",
        "hpc-diffuser export run wave.pdb --write phonon --wave 0.5,0,0 --mode 1",
        ("wave",),
    ),
    Kind(
        "b-factors",
        "a structure with the B-factors of all motions",
        (".pdb",),
        ("amplitudes", "modes_only"),
        "displacements.b_factors",
        "PyMOL, ChimeraX, Coot, gemmi",
        "hpc-diffuser export run b.pdb --write b-factors",
    ),
    Kind(
        "anisou",
        "the same with anisotropic displacement parameters",
        (".pdb",),
        ("amplitudes", "modes_only"),
        "displacements.anisou",
        "the same",
        "hpc-diffuser export run anisou.pdb --write anisou",
    ),
    Kind(
        "pymol",
        "a script: arrows, models along the prominent modes, colours by displacement",
        (".pml",),
        ("amplitudes", "mode", "reach", "models"),
        "scripts.pymol",
        "PyMOL",
        "hpc-diffuser export run motions.pml",
    ),
    Kind(
        "chimerax",
        "the same",
        (".cxc",),
        ("amplitudes", "mode", "reach", "models"),
        "scripts.chimerax",
        "ChimeraX",
        "hpc-diffuser export run motions.cxc",
    ),
    Kind(
        "projections",
        "how far every frame of a trajectory lies along each mode, in Å",
        (".csv",),
        (*_TRAJECTORY, *_OF_IT),
        "tables.projections",
        "spreadsheets, pandas, R",
        "hpc-diffuser export modes.h5 coefficients.csv --write projections --trajectory md.xtc "
        "--topology md.pdb --reference 6o2h.pdb",
        _TRAJECTORY,
    ),
    Kind(
        "overlap",
        "cosines between all modes of two bases, and their RMSIP",
        (".csv",),
        ("other",),
        "tables.overlaps",
        "the same",
        "hpc-diffuser export modes.h5 overlap.csv --write overlap --with network.h5",
        ("other",),
    ),
)
NAMES = tuple(kind.name for kind in KINDS)


def kind_for(name: str | None, ending: str, output: str) -> Kind:
    """The row that is asked for: by its name, or by an ending that only one has.

    Raises
    ------
    InputError
        Where the ending is not the kind's, or leaves a choice.
    """
    fitting = [kind for kind in KINDS if ending in kind.endings]
    if name is None and len(fitting) == 1:
        return fitting[0]
    if name is None and fitting:
        raise InputError(
            f"{output}: may be of several kinds: expected --write "
            f"{'|'.join(kind.name for kind in fitting)}"
        )
    kinds = KINDS if name is None else [kind for kind in KINDS if kind.name == name]
    endings = dict.fromkeys(ending for kind in kinds for ending in kind.endings)
    if ending not in endings:
        what = f"--write {name}" if name else "its ending"
        raise InputError(f"{output}: {what}: expected a name in {', '.join(endings)}")
    return kinds[0]
