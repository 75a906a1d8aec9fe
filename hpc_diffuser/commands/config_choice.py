"""Which config a command takes that may do without one."""

from pathlib import Path
from typing import Any

from hpc_diffuser.system.options import argument

DEFAULT_CONFIG = Path("hpc-diffuser.toml")


def config_argument() -> Any:
    """The field of such a command's options."""
    return argument(
        "config",
        f"TOML config (default: ./{DEFAULT_CONFIG}; without that, the built-in example)",
        default=None,
    )


def choose_config(path: Path | None) -> tuple[Path, bool]:
    """The named config, else the default one, else the example's; and whether it is that."""
    if path is not None or DEFAULT_CONFIG.is_file():
        return path or DEFAULT_CONFIG, False
    from hpc_diffuser.commands.examples import four_helices
    from hpc_diffuser.system.progress import log

    config = four_helices.FOLDER / "hpc-diffuser.toml"
    if config.is_file():
        log(f"no {DEFAULT_CONFIG} here: the built-in example in {four_helices.FOLDER}/ goes on")
    else:
        log(f"no {DEFAULT_CONFIG} here: making the built-in example in {four_helices.FOLDER}/")
        config = four_helices.write_example(four_helices.FOLDER)
    return config, True
