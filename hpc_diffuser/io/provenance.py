"""What our HDF5 files say of how they were made: command, options, hashes of their inputs."""

from pathlib import Path

from hpc_diffuser.io.opened import Opened, opened

Provenance = dict[str, str | float]
_WHERE = ("", "entry")  # of modes; of maps and targets
_NOT_OF_IT = ("format", "version", "default", "NX_class", "space_group", "config")


def read_provenance(source: Path | Opened) -> Provenance:
    """By name, each a text or a number; nothing of files that are no HDF5.

    Raises
    ------
    InputError
        Where the file cannot be read.
    """
    with opened(source, "file") as file:
        places = {name: name.partition("@") for name in file.names}
        wanted = {
            name: key
            for name, (place, sign, key) in places.items()
            if sign and place in _WHERE and key not in _NOT_OF_IT
        }
        found = file.arrays(sorted(wanted)) if wanted else {}
    return {wanted[name]: value.item() for name, value in found.items() if value.size == 1}
