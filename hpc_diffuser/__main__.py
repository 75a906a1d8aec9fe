"""`python -m hpc_diffuser` is the command `hpc-diffuser`."""

from hpc_diffuser.cli import run_program

if __name__ == "__main__":
    run_program()
