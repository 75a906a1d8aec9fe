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
from hpc_diffuser.plots.combinations import plot_combinations as plot_combinations
from hpc_diffuser.plots.combinations import plot_deviations as plot_deviations
from hpc_diffuser.plots.long_enough import plot_blocks as plot_blocks
from hpc_diffuser.plots.long_enough import plot_cosine_content as plot_cosine_content
from hpc_diffuser.plots.long_enough import plot_parts as plot_parts
from hpc_diffuser.plots.models import plot_model_shells as plot_model_shells
from hpc_diffuser.plots.motion import plot_shares as plot_shares
from hpc_diffuser.plots.parameters import plot_correlation as plot_correlation
from hpc_diffuser.plots.parameters import plot_intervals as plot_intervals
from hpc_diffuser.plots.residues import plot_residue_matrix as plot_residue_matrix
from hpc_diffuser.plots.restarts import plot_histograms as plot_histograms
from hpc_diffuser.plots.runs import plot_scores_of_runs as plot_scores_of_runs
from hpc_diffuser.plots.samples import plot_samples as plot_samples
from hpc_diffuser.plots.sections import plot_section as plot_section
from hpc_diffuser.plots.shells import plot_shells as plot_shells
from hpc_diffuser.plots.shells import plot_voxels as plot_voxels
from hpc_diffuser.system.errors import InputError as InputError
from hpc_diffuser.system.errors import StorageError as StorageError

__version__: str
