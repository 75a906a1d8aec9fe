"""The command `target`: from a map's file to what a fit is compared with, and a page about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpc_diffuser.commands.map_source import MapDescription, MapSource
from hpc_diffuser.commands.running import command
from hpc_diffuser.maps.target_options import SUBTRACT_SCALES, TargetOptions
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.options import CommandOptions, argument, option, part
from hpc_diffuser.system.storage import sha256
from hpc_diffuser.system.streams import say

if TYPE_CHECKING:
    from hpc_diffuser.commands.measured_map import LoadedMap
    from hpc_diffuser.maps.subtraction import Subtracted, Subtrahend


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
    subtract : Path or None
        A calculated map of any format.
    subtract_scale : str
        One of `SUBTRACT_SCALES`.
    """

    map: Path = argument("map", help="diffuse map")
    about: MapDescription = part(MapDescription)
    output: Path = option("-o", "--output", default=Path("target.h5"), kind=Path)
    cut: TargetOptions = part(TargetOptions)
    subtract: Path | None = option(
        "--subtract",
        kind=Path,
        metavar="MODEL",
        help="a calculated map, as of a lattice model, to be subtracted from what is left, and "
        "from its half-maps, scaled by least squares; errors stay",
    )
    subtract_scale: str = option(
        "--subtract-scale",
        default=SUBTRACT_SCALES[0],
        choices=SUBTRACT_SCALES,
        help="its scale: one, or one of each resolution shell (default: %(default)s)",
    )


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
    model = _subtrahend(options, loaded)
    try:
        cut = cut_map(loaded.diffuse, options.cut, model)
    except InputError as exc:
        raise InputError(f"{source.path}: {exc}") from exc
    provenance: dict[str, str | int] = {"command": "hpc-diffuser target", **source.hashes()}
    provenance |= {f"target {key}": str(value) for key, value in vars(options.cut).items()}
    provenance |= {"target said": "; ".join(cut.said)}
    provenance |= {"target reindexing": loaded.reindexing, "map said": "; ".join(loaded.said)}
    provenance |= {f"target {why}": n for why, n in cut.left_out.items()}
    provenance |= _of_subtraction(options, cut.subtracted)
    write_target(options.output, cut.target, provenance | statistics_attributes(cut.statistics))
    page = "\n".join([*loaded.said, *cut.said, merging_text(cut)])
    say(f"{describe(options.output)}\n\n{page}")


def _subtrahend(options: Options, loaded: LoadedMap) -> Subtrahend | None:
    """The calculated map, in the measured one's crystal."""
    if options.subtract is None:
        if options.subtract_scale != SUBTRACT_SCALES[0]:
            raise InputError("--subtract-scale: of no use without --subtract: leave it out")
        return None
    from hpc_diffuser.commands.measured_map import load_map
    from hpc_diffuser.maps.subtraction import Subtrahend

    crystal = loaded.diffuse.grid.unit_cell, loaded.diffuse.space_group
    model = load_map(MapSource(options.subtract), known=(crystal, options.map))
    return Subtrahend(model.diffuse, options.subtract_scale, str(options.subtract))


def _of_subtraction(options: Options, found: Subtracted | None) -> dict[str, Any]:
    """Attributes: which map, by its hash too, and times what."""
    if options.subtract is None or found is None:
        return {}
    return {
        "sha256 subtracted": sha256(options.subtract),
        "target subtract": str(options.subtract),
        "target subtract_scale": options.subtract_scale,
        "subtracted": found.text(),
        "subtracted times": " ".join(f"{x:.6g}" for x in found.scales),
    }
