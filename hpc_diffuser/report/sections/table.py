"""The sections of a report, in the order of its page."""

from hpc_diffuser.interface.run import Run
from hpc_diffuser.report.section import Section
from hpc_diffuser.report.sections.motion import kinds_of_motion
from hpc_diffuser.report.sections.pairs import moving_pairs
from hpc_diffuser.report.sections.residues import moving_residues
from hpc_diffuser.report.sections.table_one import table_one
from hpc_diffuser.report.sections.warnings import warnings

OF_A_RUN: tuple[Section[Run], ...] = (
    Section("warnings", "Warnings", warnings),
    Section("table-one", "Table 1", table_one),
    Section("motion", "How the molecule moves", kinds_of_motion),
    Section("residues", "Which residues move", moving_residues),
    Section("pairs", "What moves together", moving_pairs),
)
