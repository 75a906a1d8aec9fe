"""What it takes to do it again: the commands, and the config."""

from hpc_diffuser.interface.run import Comparison, Run
from hpc_diffuser.report.section import Contents
from hpc_diffuser.system.errors import InputError

_WORDS = (
    "The commands that made the inputs, as far as the files tell, and the config of the fit; the "
    "inputs' SHA-256 are in "
)


def again(run: Run) -> Contents:
    """Commands and config of a run."""
    return _contents(run, "Table 1")


def again_of_models(comparison: Comparison) -> Contents | None:
    """The same of a comparison, whose models share them."""
    runs = list(comparison.runs.values())
    return _contents(runs[0], "the tables of crystal, data and models") if runs else None


def _contents(run: Run, hashes: str) -> Contents:
    commands = "\n".join([*_made_inputs(run), "hpc-diffuser fit config.toml"])
    try:
        config = (run.directory / "config.toml").read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        config = ""
    return Contents(
        words=(f"{_WORDS}{hashes}.",), code=tuple(filter(None, (commands, config.strip())))
    )


def _made_inputs(run: Run) -> list[str]:
    """The commands that the inputs say they were made by, and what the options were."""
    try:
        told = run.provenance
    except InputError:
        return []
    lines = []
    for key, found in told.items():
        if "command" in found:
            options = [
                f"{name.removeprefix('target ')}={value}"
                for name, value in found.items()
                if name.startswith("target ") and value != "None" and name != "target said"
            ]
            made = f"{key}: {found['command']}"
            lines.append("# " + made + (f" ({', '.join(options)})" if options else ""))
    return lines
