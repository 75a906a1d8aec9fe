"""The command `convert`: a diffuse map from one format to another."""

from pathlib import Path

from hpc_diffuser.commands.measured_map import MapSource, load_map
from hpc_diffuser.io.maps.formats import write_any_map
from hpc_diffuser.maps.merging import completed
from hpc_diffuser.system.errors import InputError


def convert(source: MapSource, output: Path, to: str | None, complete: bool) -> str:
    """Read a map and write it; what was assumed, done and left out, line by line.

    Parameters
    ----------
    source : MapSource
    output : Path
    to : str or None
        The format's name; by default the output's ending tells it.
    complete : bool
        Fill voxels that were not measured from their Laue mates.

    Raises
    ------
    InputError
        See `measured_map.load_map` and `io.maps.formats.write_any_map`; where the output is the
        input.
    """
    if output.resolve() == source.path.resolve():
        raise InputError(f"{output} is the input, and would be replaced: give another OUT")
    loaded = load_map(source)
    diffuse, lines = loaded.diffuse, list(loaded.said)
    if complete:
        diffuse = completed(diffuse)
        lines.append(f"filled from Laue mates of {diffuse.space_group}")
    provenance = {"command": "hpc-diffuser convert", "map said": "; ".join(loaded.said)}
    name, left_out = write_any_map(output, diffuse, to, provenance | source.hashes())
    lines.append(f"{output}: written as {name}")
    if left_out:
        lines.append(f"left out, as the format has no place for it: {', '.join(left_out)}")
    return "\n".join(lines)
