"""`python -m hpc_diffuser` is the command `hpc-diffuser`."""

from hpc_diffuser.commands.main import run_program

if __name__ == "__main__":
    run_program()
