"""The command `bench`: what a fit costs on this machine, and how exact an evaluation is."""

from dataclasses import dataclass
from pathlib import Path

from hpc_diffuser.commands.config_choice import config_argument
from hpc_diffuser.commands.running import command
from hpc_diffuser.system.options import CommandOptions, option, switch
from hpc_diffuser.system.streams import say


@dataclass(frozen=True)
class Options(CommandOptions):
    """Which model is measured.

    Attributes
    ----------
    config : Path or None
        Without one: as `config_choice.choose_config`.
    json, png : Path or None
    compare : Path or None
        An earlier JSON.
    predict : bool
        Without errors, and what is measured to compare with.
    """

    config: Path | None = config_argument()
    json: Path | None = option("--json", kind=Path, help="write the numbers to this file too")
    compare: Path | None = option(
        "--compare", kind=Path, help="print the numbers beside those of an earlier --json"
    )
    png: Path | None = option("--png", kind=Path, help="write a figure of error against samples")
    predict: bool = switch(
        "--predict", "only what a fit will take, in time and memory, of any model and any size"
    )


@command
def run(options: Options) -> None:
    """Measure, for a few minutes, and print the numbers.

    Raises
    ------
    InputError
        Where the config cannot be used, or its model has no closed form to compare with; where
        `compare` holds no such numbers, or there will be no figure.
    """
    from hpc_diffuser.commands.benchmark import bench, bench_text, prediction
    from hpc_diffuser.commands.benchmark_figures import (
        MACHINE,
        comparison_text,
        read_figures,
        this_machine,
    )
    from hpc_diffuser.kernels.threads import one_thread
    from hpc_diffuser.system.errors import InputError
    from hpc_diffuser.system.storage import require_writable, write_json

    if options.predict and options.png:
        raise InputError("--predict measures no errors, which --png is a figure of: leave one out")
    for output in filter(None, (options.json, options.png)):
        require_writable(output)
    before = read_figures(options.compare) if options.compare else None
    with one_thread():  # core-seconds are seconds of one core
        measured = (prediction if options.predict else bench)(options.config)
        result = measured | {MACHINE: this_machine()}
    say(bench_text(result) if before is None else comparison_text(result, before))
    if options.json:
        write_json(options.json, result)
    if options.png:
        from hpc_diffuser.plots.files import write_png
        from hpc_diffuser.plots.sampling_errors import plot_sampling_errors

        write_png(options.png, plot_sampling_errors(result))
