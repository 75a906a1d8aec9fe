"""The sections of a report, in the order of its page: a row each, and a module beside this one."""

from hpc_diffuser.interface.run import Comparison, Run
from hpc_diffuser.report.runs import Runs
from hpc_diffuser.report.section import Section
from hpc_diffuser.report.sections.again import again, again_of_models
from hpc_diffuser.report.sections.citing import citing, citing_of_models
from hpc_diffuser.report.sections.combinations import determined_by_run
from hpc_diffuser.report.sections.correlations import correlations_of_run
from hpc_diffuser.report.sections.frames import weights_of_frames
from hpc_diffuser.report.sections.lattice import springs_of_run
from hpc_diffuser.report.sections.maps import sections_of_maps
from hpc_diffuser.report.sections.models import models, parameters_of_models
from hpc_diffuser.report.sections.modes import refined_modes
from hpc_diffuser.report.sections.motion import kinds_of_motion
from hpc_diffuser.report.sections.pairs import moving_pairs
from hpc_diffuser.report.sections.parameters import parameters_of_run
from hpc_diffuser.report.sections.prior import weight_of_prior
from hpc_diffuser.report.sections.residues import moving_residues
from hpc_diffuser.report.sections.resolution import resolution_of_models, shells_of_run
from hpc_diffuser.report.sections.restarts import convergence, every_restart
from hpc_diffuser.report.sections.samples import noise_of_samples
from hpc_diffuser.report.sections.several import (
    differences,
    every_warning,
    parameters_of_runs,
    several,
    warnings_of_runs,
)
from hpc_diffuser.report.sections.standing import standing, standing_of_models
from hpc_diffuser.report.sections.surrogate import learned
from hpc_diffuser.report.sections.table_one import table_one, table_one_of_models
from hpc_diffuser.report.sections.warnings import warnings, warnings_of_models

OF_A_RUN: tuple[Section[Run], ...] = (
    Section("warnings", "Warnings", warnings),
    Section("standing", "How far it is", standing),
    Section("table-one", "Table 1", table_one),
    Section("parameters", "Parameters, and how sure they are", parameters_of_run),
    Section("correlations", "How their errors go together", correlations_of_run),
    Section("combinations", "What the data determine, and what they do not", determined_by_run),
    Section("resolution", "CC against resolution", shells_of_run),
    Section("maps", "Measured and calculated maps", sections_of_maps),
    Section("motion", "How the molecule moves", kinds_of_motion),
    Section("modes", "Modes", refined_modes),
    Section("frames", "The weights of the frames", weights_of_frames),
    Section("lattice", "Springs between molecules", springs_of_run),
    Section("residues", "Which residues move", moving_residues),
    Section("pairs", "What moves together", moving_pairs),
    Section("restarts", "Every restart", every_restart),
    Section("convergence", "How the restarts converged", convergence),
    Section("samples", "The noise of the objective", noise_of_samples),
    Section("prior", "The weight of the prior", weight_of_prior),
    Section("surrogate", "What the search has learned", learned),
    Section("citing", "How to cite it", citing),
    Section("again", "To do it again", again),
)

OF_A_COMPARISON: tuple[Section[Comparison], ...] = (
    Section("warnings", "Warnings", warnings_of_models),
    Section("standing", "How far it is", standing_of_models),
    Section("models", "The models beside each other", models),
    Section("parameters", "Parameters", parameters_of_models),
    Section("resolution", "CC against resolution", resolution_of_models),
    Section("table-one", "Crystal, data, models, computation", table_one_of_models),
    Section("citing", "How to cite it", citing_of_models),
    Section("again", "To do it again", again_of_models),
)

OF_MANY: tuple[Section[Runs], ...] = (
    Section("warnings", "Warnings", warnings_of_runs),
    Section("runs", "The runs beside each other", several),
    Section("parameters", "Parameters", parameters_of_runs),
    Section("differences", "What they differ in", differences),
    Section("every-warning", "The warnings of every run", every_warning),
)
