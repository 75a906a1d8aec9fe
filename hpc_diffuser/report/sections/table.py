"""The sections of a report, in the order of its page."""

from hpc_diffuser.interface.run import Run
from hpc_diffuser.report.section import Section
from hpc_diffuser.report.sections.table_one import table_one
from hpc_diffuser.report.sections.warnings import warnings

OF_A_RUN: tuple[Section[Run], ...] = (
    Section("warnings", "Warnings", warnings),
    Section("table-one", "Table 1", table_one),
)
