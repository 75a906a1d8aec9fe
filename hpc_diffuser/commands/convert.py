"""The command `convert`: a diffuse map from one format to another."""

from dataclasses import dataclass
from pathlib import Path

from hpc_diffuser.commands.map_source import MapDescription
from hpc_diffuser.commands.running import command
from hpc_diffuser.io.maps.formats import FORMATS
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.options import CommandOptions, argument, option, part, switch
from hpc_diffuser.system.streams import say


@dataclass(frozen=True)
class Options(CommandOptions):
    """What is read and what is written.

    Attributes
    ----------
    input, output : Path
    to : str or None
        The format's name; by default the output's ending tells it.
    complete : bool
        Fill voxels that were not measured from their Laue mates.
    about : MapDescription
        What is known about the map.
    """

    input: Path = argument("IN", help="diffuse map")
    output: Path = argument("OUT", help="its ending tells the format")
    to: str | None = option(
        "--to",
        metavar="FORMAT",
        help=f"{', '.join(FORMATS)}, whatever OUT's ending",
    )
    complete: bool = switch(
        "--complete", "fill voxels that were not measured from their Laue mates"
    )
    about: MapDescription = part(MapDescription)


@command
def run(options: Options) -> None:
    """Read a map and write it; tell what was assumed, done and left out, line by line.

    Raises
    ------
    InputError
        See `measured_map.load_map` and `io.maps.files.write_any_map`; where the output is the
        input.
    """
    from hpc_diffuser.commands.measured_map import load_map
    from hpc_diffuser.io.maps.files import write_any_map
    from hpc_diffuser.maps.merging import completed

    source, output = options.about.of(options.input), options.output
    if output.resolve() == source.path.resolve():
        raise InputError(f"{output} is the input, and would be replaced: give another OUT")
    loaded = load_map(source)
    diffuse, lines = loaded.diffuse, list(loaded.said)
    if options.complete:
        diffuse = completed(diffuse)
        lines.append(f"filled from Laue mates of {diffuse.space_group}")
    provenance = {"command": "hpc-diffuser convert", "map said": "; ".join(loaded.said)}
    name, left_out = write_any_map(output, diffuse, options.to, provenance | source.hashes())
    lines.append(f"{output}: written as {name}")
    if left_out:
        lines.append(f"left out, as the format has no place for it: {', '.join(left_out)}")
    say("\n".join(lines))
