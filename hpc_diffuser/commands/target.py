"""The command `target`: from a map's file to what a fit is compared with, and a page about it."""

from dataclasses import dataclass
from pathlib import Path

from hpc_diffuser.commands.map_source import MapDescription
from hpc_diffuser.commands.running import command
from hpc_diffuser.maps.target_options import TargetOptions
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.options import CommandOptions, argument, option, part
from hpc_diffuser.system.streams import say


@dataclass(frozen=True)
class Options(CommandOptions):
    """A map, and how it is cut.

    Attributes
    ----------
    map : Path
    about : MapDescription
        What is known about the map.
    output : Path
    cut : TargetOptions
    """

    map: Path = argument("map", help="diffuse map")
    about: MapDescription = part(MapDescription)
    output: Path = option("-o", "--output", default=Path("target.h5"), kind=Path)
    cut: TargetOptions = part(TargetOptions)


@command
def run(options: Options) -> None:
    """Write target.h5; tell what was assumed, done and found on the way.

    Raises
    ------
    InputError
        See `measured_map.load_map` and `maps.target.cut_map`.
    """
    from hpc_diffuser.commands.measured_map import load_map
    from hpc_diffuser.commands.pages.contents import describe
    from hpc_diffuser.commands.pages.merging import merging_text, statistics_attributes
    from hpc_diffuser.io.maps.native import write_target
    from hpc_diffuser.maps.target import cut_map

    source = options.about.of(options.map)
    loaded = load_map(source, options.cut)
    try:
        cut = cut_map(loaded.diffuse, options.cut)
    except InputError as exc:
        raise InputError(f"{source.path}: {exc}") from exc
    provenance: dict[str, str | int] = {"command": "hpc-diffuser target", **source.hashes()}
    provenance |= {f"target {key}": str(value) for key, value in vars(options.cut).items()}
    provenance |= {"target said": "; ".join(cut.said)}
    provenance |= {"target reindexing": loaded.reindexing, "map said": "; ".join(loaded.said)}
    provenance |= {f"target {why}": n for why, n in cut.left_out.items()}
    write_target(options.output, cut.target, provenance | statistics_attributes(cut.statistics))
    page = "\n".join([*loaded.said, *cut.said, merging_text(cut)])
    say(f"{describe(options.output)}\n\n{page}")
