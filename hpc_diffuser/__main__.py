"""`python -m hpc_diffuser` is the command `hpc-diffuser`."""

from hpc_diffuser.cli import main

if __name__ == "__main__":
    main()
