"""The commands: a row each, and a file of the same name with its options and what it does."""

import importlib
from types import ModuleType
from typing import NamedTuple

from hpc_diffuser.commands.exports.table import KINDS
from hpc_diffuser.io.format import filled, titles
from hpc_diffuser.io.maps.formats import MAPS


class Command(NamedTuple):
    """A row of the table.

    Attributes
    ----------
    name : str
        Of the command, and of the module beside this one that has its `Options` and its `run`.
    summary : str
        For the list of commands, and above the command's own help.
    example : str
        A line that can be copied, or several.
    """

    name: str
    summary: str
    example: str

    @property
    def module(self) -> ModuleType:
        """The command's file; it loads what takes long only when it runs."""
        return importlib.import_module(f"hpc_diffuser.commands.{self.name}")


COMMANDS = (
    Command(
        "init",
        "A config for your files, any of a structure, a map, a trajectory and modes: checks them\n"
        "against each other, chooses ranges that fit them, and names the next commands.",
        "hpc-diffuser init --structure 6o2h.pdb --map map.nxs --trajectory md.xtc "
        "--topology md.pdb",
    ),
    Command(
        "modes",
        "Motion modes from a trajectory (principal components), or without one from an\n"
        "elastic network of the crystal structure.",
        "hpc-diffuser modes --trajectory md.xtc --topology md.pdb --reference 6o2h.pdb -o modes.h5",
    ),
    Command(
        "restraints",
        "Position restraints with which a simulation fluctuates as the crystal's B-factors say,\n"
        "from an unrestrained trajectory, or corrected from a restrained one: a table, and\n"
        "include files for GROMACS.",
        "hpc-diffuser restraints --trajectory md.xtc --topology md.gro --reference 6o2h.pdb "
        "--gromacs topol.top",
    ),
    Command(
        "target",
        "Cut a diffuse map to what a fit is compared with: halos around Bragg peaks masked,\n"
        "a resolution range, Laue mates merged, a free set of whole Brillouin zones. Tells how\n"
        "well the mates agree.",
        "hpc-diffuser target map.nxs --d-max 3.3 --d-min 1.6 -o target.h5",
    ),
    Command(
        "simulate",
        "The diffuse map of a model: motion along modes, or a trajectory's own frames. Or, with\n"
        "--example, a figure that tells what diffuse scattering is, from simulated crystals.",
        "mpirun -n 64 hpc-diffuser simulate hpc-diffuser.toml -o map.nxs",
    ),
    Command(
        "fit",
        "Refine the weights of the motions against a target. Run it again to resume.",
        "mpirun -n 64 hpc-diffuser fit hpc-diffuser.toml",
    ),
    Command(
        "status",
        "Where a run stands: restarts done, CC, evaluations per hour, time left. It only reads:\n"
        "while the run goes on, after a crash, on a read-only disk.",
        "hpc-diffuser status run --follow",
    ),
    Command(
        "report",
        "Warnings, the answer with the restarts' scatter, CC_work and CC_free, also by shell,\n"
        "how far the model moves beside the crystal's B-factors, and what the run cost: as text,\n"
        "and as a page that needs no network, run/report/index.html, its figures and tables as\n"
        "files beside it. Of a finished run, of one that still runs, of a comparison, of many.",
        "hpc-diffuser report run\nhpc-diffuser report d*/run --each",
    ),
    Command(
        "score",
        "CC_work and CC_free of any calculated map, of this or another program, by the rules of a\n"
        "fit: at the target's voxels, Laue mates averaged, by resolution shell.",
        "hpc-diffuser score calculated.mtz target.h5 --score pooled",
    ),
    Command(
        "halos",
        "Which model explains the halos, on one process, by least squares: translation of the\n"
        "molecule as a whole, the same times the target's own mean Brillouin zone, and springs\n"
        "between rigid molecules; CC by shell with the halos and without, as a table and figure.",
        "hpc-diffuser halos hpc-diffuser.toml --models lat,lat+unc --png halos.png",
    ),
    Command(
        "bench",
        "What an evaluation of a model costs on this machine, beside the algorithm that this\n"
        "program replaces, and how exact both are. Takes a few minutes.",
        "hpc-diffuser bench hpc-diffuser.toml --json bench.json",
    ),
    Command(
        "doctor",
        "What would go wrong in a job here: MPI, CPUs and threads, memory, files, signals.\n"
        "Start it as the fit will be started. Ends with code 65 if anything is wrong.",
        "mpirun -n 64 hpc-diffuser doctor hpc-diffuser.toml",
    ),
    Command(
        "convert",
        "A diffuse map in another format. Reads, told apart by their content,\n"
        f"{filled(titles(MAPS))}\n"
        f"Writes {', '.join(end for row in MAPS for end in row.endings)}, or what --to names.",
        "hpc-diffuser convert map.nxs map.mtz",
    ),
    Command(
        "export",
        "Motions for other programs: modes of modes.h5, or all motions of a run's answer, as NMD\n"
        "(NMWiz, ProDy), multi-model PDB or DCD, PDB with B-factors or ANISOU; projections of a\n"
        "trajectory on modes, and overlaps of two bases, as CSV.",
        "\n".join(kind.example for kind in KINDS),
    ),
    Command(
        "info",
        "What a file contains. Of a diffuse map of any format: what is assumed about it, grid,\n"
        "cell, resolution, and by shell how much was measured, its mean and its scatter.",
        "hpc-diffuser info map.mtz --cell 48.5,48.5,63.5,90,90,90 --png sections.png",
    ),
)
