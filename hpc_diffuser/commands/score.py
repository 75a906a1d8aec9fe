"""The command `score`: anybody's calculated map against a target, by the rules of a fit."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpc_diffuser.commands.map_source import MapDescription
from hpc_diffuser.commands.running import command
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.options import CommandOptions, argument, option, part
from hpc_diffuser.system.streams import say

if TYPE_CHECKING:
    from hpc_diffuser.fit.map_score import MapScore


@dataclass(frozen=True)
class Options(CommandOptions):
    """Which map is compared with which target, and how.

    Attributes
    ----------
    map, target : Path
    score, weights : str
        As of the config's [target].
    json : Path or None
    about : MapDescription
        What is known about the map.
    """

    map: Path = argument("map", help="calculated diffuse map, of any format")
    target: Path = argument("target", help="target.h5, as hpc-diffuser target makes it")
    score: str = option(
        "--score",
        default="shell-mean",
        choices=("shell-mean", "pooled", "likelihood"),
        help="mean of the shells' CCs, or one CC over all voxels, each shell's mean subtracted "
        "first; or chi^2 beside the shells' CC, with scale and radial background by least squares, "
        "of a target with errors or half-maps; as the config's [target] score (default: "
        "%(default)s)",
    )
    weights: str = option(
        "--weights",
        default="none",
        choices=("none", "errors"),
        help="as the config's [target] weights (default: %(default)s)",
    )
    json: Path | None = option("--json", kind=Path, help="write the numbers to this file too")
    about: MapDescription = part(MapDescription)


@command
def run(options: Options) -> None:
    """Print the scores of a map.

    Raises
    ------
    InputError
        As of `scores`.
    """
    from hpc_diffuser.commands.pages.score import score_text
    from hpc_diffuser.fit.map_score import score_data
    from hpc_diffuser.system.storage import write_json

    found = scores(options)
    say(score_text(found))
    if options.json:
        write_json(options.json, score_data(found))


def scores(options: Options) -> "MapScore":
    """The scores, and what was said about the map.

    Raises
    ------
    InputError
        Where a file cannot be read, cells or samples do not fit, too many of the target's voxels
        are not in the map, or the map does not vary.
    """
    from hpc_diffuser.commands.measured_map import load_map
    from hpc_diffuser.fit.map_score import score_map
    from hpc_diffuser.io.maps.native import read_target

    target = read_target(options.target)
    known = (target.grid.unit_cell, target.space_group), options.target
    loaded = load_map(options.about.of(options.map), known=known)
    files = str(options.map), str(options.target)
    try:
        return score_map(loaded.diffuse, target, options.score, options.weights, files, loaded.said)
    except InputError as exc:
        raise InputError(f"{options.map}: {exc}") from exc
