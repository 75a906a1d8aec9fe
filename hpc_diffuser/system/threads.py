"""How many threads the libraries may start; to be said before they are loaded."""

import os

from hpc_diffuser.system.launcher import launched_size


def pin_threads() -> None:
    """One BLAS thread, and as many numba threads as this rank may use.

    BLAS results change with its threads; the numba kernels' do not.
    """
    for name in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{name}_NUM_THREADS"] = "1"
    alone = launched_size() == 1
    default = len(os.sched_getaffinity(0)) if alone else 1
    threads = os.environ.get("SLURM_CPUS_PER_TASK", "")
    os.environ.setdefault("NUMBA_NUM_THREADS", threads if threads.isdigit() else str(default))
