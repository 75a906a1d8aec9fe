"""What the launcher tells the processes that it starts, read from the environment alone.

Nothing is imported here: the command line asks before numpy may be loaded.
"""

import os

# What mpirun, mpiexec and srun tell the processes that they start.
_SIZE_VARIABLES = (
    "OMPI_COMM_WORLD_SIZE",
    "PMI_SIZE",
    "MV2_COMM_WORLD_SIZE",
    "SLURM_STEP_NUM_TASKS",
)
RANK_VARIABLES = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", "SLURM_PROCID")
# Set in every process of a job step, but not in the batch script itself.
_LAUNCHED = (*_SIZE_VARIABLES, "PMI_RANK", "PMIX_RANK", "MPI_LOCALNRANKS", "PALS_RANKID")


def launched_size() -> int:
    """How many ranks the launcher says it started: 1 without one, 0 if it does not say."""
    sizes = [int(os.environ[v]) for v in _SIZE_VARIABLES if os.environ.get(v, "").isdigit()]
    if sizes:
        return max(sizes)
    return 0 if any(v in os.environ for v in _LAUNCHED) else 1


def launched_rank() -> int:
    """This process's rank as the launcher tells it; 0 without one."""
    ranks = [int(os.environ[v]) for v in RANK_VARIABLES if os.environ.get(v, "").isdigit()]
    return ranks[0] if ranks and launched_size() != 1 else 0


def launching_mpi() -> str | None:
    """Whose launcher started this process, "Open MPI" or "MPICH", where that is certain.

    A batch system's may serve either.
    """
    told = {
        "Open MPI": "OMPI_COMM_WORLD_SIZE" in os.environ,
        "MPICH": "HYDI_CONTROL_FD" in os.environ,  # of its process manager, Hydra
    }
    makers = [maker for maker, certain in told.items() if certain]
    return makers[0] if len(makers) == 1 else None
