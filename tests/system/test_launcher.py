"""Which MPI starts us, which MPI we have, and that one rank has nothing to do with either."""

import subprocess
import sys

import pytest
from conftest import environment

from hpc_diffuser.parallel import communicator, mpi
from hpc_diffuser.system.launcher import launching_mpi

# First lines of what the libraries tell of themselves, and a line about how they were built.
MPICH = "MPICH Version:      5.0.2\nMPICH configure:    --with-device=ch4:ofi"
MPICH_WITH_PMIX = f"{MPICH} --with-pmi=pmix --with-pmix=/usr"
OPEN_MPI = "Open MPI v5.0.11, package: Open MPI user@localhost Distribution, ident: 5.0.11"
INTEL = "Intel(R) MPI Library 2021.13 for Linux* OS"
HYDRA = {"HYDI_CONTROL_FD": "7", "PMI_SIZE": "2", "PMI_RANK": "0", "PMI_FD": "9"}
PRTE = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0", "PMIX_RANK": "0"}
SLURM = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0", "PMI_FD": "9", "PMI_RANK": "0"}


@pytest.mark.parametrize(
    ("variables", "maker"),
    [(HYDRA, "MPICH"), (PRTE, "Open MPI"), (SLURM, None), ({}, None), (HYDRA | PRTE, None)],
)
def test_whose_launcher(monkeypatch, variables, maker):
    """As mpirun of either wheel, and srun, set them; nothing is certain of one inside another."""
    for name in HYDRA | PRTE:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launching_mpi() == maker


@pytest.mark.parametrize(
    ("launcher", "library", "may"),
    [
        ("Open MPI", OPEN_MPI, True),
        ("Open MPI", MPICH, False),
        ("Open MPI", MPICH_WITH_PMIX, True),
        ("Open MPI", INTEL, True),  # not known to be hopeless
        ("MPICH", MPICH, True),
        ("MPICH", INTEL, True),
        ("MPICH", OPEN_MPI, False),
        (None, MPICH, True),
        (None, OPEN_MPI, True),
    ],
)
def test_who_understands_whom(launcher, library, may):
    """Refused is only what cannot work: MPICH then ends the process in its start."""
    assert mpi.may_start(launcher, library) == may


@pytest.mark.parametrize(
    ("library", "name", "remedy"),
    [(MPICH, "MPICH Version: 5.0.2", "--mpi=pmi2"), (OPEN_MPI, "Open MPI v5.0.11", "--mpi=pmix")],
)
def test_remedy_is_of_the_library(library, name, remedy):
    """What is named is the library that is there, and how to start ranks with it."""
    assert mpi.library_name(library) == name
    assert mpi.remedy(library).endswith(f"srun {remedy}")


@pytest.mark.parametrize("command", [("fit", "fit.toml"), ("simulate", "fit.toml")])
@pytest.mark.parametrize("rank", ["0", "1"])
def test_launcher_of_open_mpi(cli, project, command, rank):
    """Over MPICH's library: told before MPI starts, by one of the ranks; 65 from all."""
    pytest.importorskip("mpi4py")
    code = "from mpi4py import rc; rc.initialize = False; from mpi4py import MPI; print(" + (
        "MPI.Get_library_version())"
    )
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if mpi.may_start("Open MPI", asked.stdout or OPEN_MPI):
        pytest.skip("the MPI library here is not MPICH")
    variables = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": rank}
    result = cli(*command, folder=project, **variables)
    assert result.returncode == 65 and not (project / "run").exists()
    told = "hpc-diffuser: error: Open MPI's mpirun started 2 ranks, but the MPI library that mpi4py"
    assert result.stderr.startswith(told) if rank == "0" else result.stderr == ""
    assert len(result.stderr.splitlines()) <= 1


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (("fit", "fit.toml"), {}),
        (("fit", "fit.toml"), {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "64"}),  # a batch script
        (("fit", "--test", "fit.toml"), {}),
        # Variables of a job step that do not say how many ranks there are.
        (("fit", "--test", "fit.toml"), {"PMIX_RANK": "0", "MPI_LOCALNRANKS": "1"}),
    ],
)
def test_one_rank_never_touches_mpi(call, project, monkeypatch, arguments, variables):
    """Nor could it: here every import of mpi4py is an error."""
    for name in [name for name in sys.modules if name.split(".")[0] == "mpi4py"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.setattr(communicator, "_world", None)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = call(*arguments, folder=project)
    assert result.returncode == 0, result.stderr


def test_no_library_of_mpi_is_loaded(project):
    """Of a broken installation one rank hears nothing: no library of MPI is mapped."""
    code = (
        "import atexit\n"
        "atexit.register(lambda: print('libmpi' in open('/proc/self/maps').read()))\n"
        "from hpc_diffuser.commands.main import run_program\n"
        "run_program(['fit', 'fit.toml'])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project,
        env=environment(MPI4PY_LIBMPI="/nonsense/libmpi.so", MPI4PY_MPIABI="nonsense"),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "False"


def test_test_mode_is_not_for_ranks(cli, project):
    """Told without MPI, by one of them."""
    launched = {"PMI_SIZE": "2", "PMI_RANK": "0", "MPI4PY_LIBMPI": "/nonsense/libmpi.so"}
    result = cli("fit", "--test", "fit.toml", folder=project, **launched)
    assert result.returncode == 65
    assert result.stderr == (
        "hpc-diffuser: error: --test runs on one rank: start it without mpirun\n"
    )
