"""The names that `hpc_diffuser` hands out, for programs that check types."""

from hpc_diffuser.commands.examples.four_helices import write_example as write_example
from hpc_diffuser.interface.calculation import Restart as Restart
from hpc_diffuser.interface.calculation import fit_restart as fit_restart
from hpc_diffuser.interface.calculation import make_target as make_target
from hpc_diffuser.interface.calculation import score as score
from hpc_diffuser.interface.calculation import simulate as simulate
from hpc_diffuser.interface.files import CrystalStructure as CrystalStructure
from hpc_diffuser.interface.files import open_map as open_map
from hpc_diffuser.interface.files import open_modes as open_modes
from hpc_diffuser.interface.files import open_structure as open_structure
from hpc_diffuser.interface.files import open_target as open_target
from hpc_diffuser.interface.files import save_map as save_map
from hpc_diffuser.interface.files import save_target as save_target
from hpc_diffuser.interface.run import Comparison as Comparison
from hpc_diffuser.interface.run import Run as Run
from hpc_diffuser.interface.run import open_comparison as open_comparison
from hpc_diffuser.interface.run import open_run as open_run
from hpc_diffuser.interface.source import open_config as open_config
from hpc_diffuser.plots.long_enough import plot_blocks as plot_blocks
from hpc_diffuser.plots.long_enough import plot_cosine_content as plot_cosine_content
from hpc_diffuser.plots.long_enough import plot_parts as plot_parts
from hpc_diffuser.plots.models import plot_model_shells as plot_model_shells
from hpc_diffuser.plots.sections import plot_section as plot_section
from hpc_diffuser.plots.shells import plot_shells as plot_shells
from hpc_diffuser.system.errors import InputError as InputError
from hpc_diffuser.system.errors import StorageError as StorageError

__version__: str
