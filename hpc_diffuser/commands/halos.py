"""The command `halos`: which model explains the halos of a target, the paper's Fig. 1(f)."""

from dataclasses import dataclass
from pathlib import Path

from hpc_diffuser.commands.running import command, one_rank
from hpc_diffuser.maps.target_options import HALO_RADIUS, halo_radius
from hpc_diffuser.system.options import CommandOptions, argument, option
from hpc_diffuser.system.progress import log
from hpc_diffuser.system.streams import say

_HELD_BACK = (
    "[prior] of the config takes part in every fit, that of the rigid body too: none moves as far\n"
    "as the map alone would have it"
)


def _models(text: str) -> tuple[str, ...]:
    """Names of models with commas between."""
    names = tuple(word.strip() for word in text.split(",") if word.strip())
    if not names:
        raise ValueError(f"expected models as lat or lat+unc, with commas between, found {text!r}")
    return names


@dataclass(frozen=True)
class Options(CommandOptions):
    """Which models are compared.

    Attributes
    ----------
    config : Path
        Of a fit to a target that keeps its halos.
    models : tuple of str
        As of `fit --models`.
    halo_radius : float, or three
        What counts as halo.
    json, csv, png : Path or None
    """

    config: Path = argument("config", help="TOML config, of a target that keeps its halos")
    models: tuple[str, ...] = option(
        "--models",
        kind=_models,
        default=("lat",),
        metavar="LIST",
        help="what is compared with the rigid body and the empirical halo, as of fit --models, "
        "with commas between (default: lat)",
    )
    halo_radius: float | tuple[float, float, float] = option(
        "--halo-radius",
        default=HALO_RADIUS,
        kind=halo_radius,
        help="what is masked, where halos are, as of target --halo-radius (default: 3/7)",
    )
    json: Path | None = option("--json", kind=Path, help="write the numbers to this file too")
    csv: Path | None = option("--csv", kind=Path, help="write CC by shell as a table")
    png: Path | None = option("--png", kind=Path, help="a figure of CC against resolution")


@command
def run(options: Options) -> None:
    """Fit the models on one process; print how each agrees, with the halos and without.

    Raises
    ------
    InputError
        As of `fit.halo_models.compare_halos`.
    """
    one_rank("hpc-diffuser halos")
    from hpc_diffuser.commands.pages.halos import halos_csv, halos_text
    from hpc_diffuser.fit.comparison import model_config
    from hpc_diffuser.fit.config import load_config
    from hpc_diffuser.fit.config_needs import require_effect
    from hpc_diffuser.fit.config_values import checked_models
    from hpc_diffuser.fit.halo_models import compare_halos, halos_data
    from hpc_diffuser.system.storage import require_writable, write_bytes, write_json

    for output in filter(None, (options.json, options.csv, options.png)):
        require_writable(output)
    names = checked_models("--models", list(options.models))
    config = load_config(options.config)
    idle = require_effect(config, [model_config(config, name) for name in names])
    found = compare_halos(config, names, options.halo_radius, log)
    for line in idle:
        log(line)
    say(halos_text(found))
    if config.prior.b_factors or config.prior.anisou or config.prior.amplitudes:
        say(_HELD_BACK)
    if options.json:
        write_json(options.json, halos_data(found))
    if options.csv:
        write_bytes(options.csv, halos_csv(found))
    if options.png:
        from hpc_diffuser.plots.files import write_png
        from hpc_diffuser.plots.halos import halos_figure

        write_png(options.png, halos_figure(found))
