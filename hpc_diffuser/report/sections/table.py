"""The sections of a report, in the order of its page."""

from hpc_diffuser.interface.run import Run
from hpc_diffuser.report.section import Section

OF_A_RUN: tuple[Section[Run], ...] = ()
