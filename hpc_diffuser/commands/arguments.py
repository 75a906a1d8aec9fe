"""The command line's words, made from the table of commands and the dataclasses of options."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import Field
from pathlib import Path
from typing import Any, NoReturn

from hpc_diffuser import __version__
from hpc_diffuser.commands.table import COMMANDS, Command
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.options import REQUIRED, Words, filled, told_fields


class _Parser(argparse.ArgumentParser):
    """Mistakes on the command line are bad input too: one line, and its exit code."""

    def error(self, message: str) -> NoReturn:
        self.exit(InputError.exit_code, f"{self.prog}: error: {message}; see {self.prog} --help\n")


class _CommandParser(_Parser):
    """Of one command. It refuses itself what it does not know, so that its own help is named."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(_unknown(unknown, found.command))
        return found, unknown


def build_parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser; what it returns has the command's row of the table as `command`.

    Parameters
    ----------
    words : sequence of str
        Of the command line: commands that are not among them are listed, but not loaded.
    """
    parser = _Parser(
        prog="hpc-diffuser",
        description="Fit internal motions of a protein to its 3-D X-ray diffuse scattering.",
        epilog="Try the built-in example: mpirun -n 2 hpc-diffuser fit. HPC_DIFFUSER_WATCH=off in "
        "the environment: no second process beside each rank, where a site allows none.",
    )
    parser.add_argument("--version", action="version", version=f"hpc-diffuser {__version__}")
    parser.set_defaults(debug=False)
    commands = parser.add_subparsers(
        title="commands", required=True, metavar="COMMAND", parser_class=_CommandParser
    )
    for command in COMMANDS:
        own = _add_command(commands, command)
        for told in told_fields(command.module.Options) if command.name in words else ():
            _add_field(own, *told)
    return parser


def options_of(args: argparse.Namespace, as_typed: str) -> Any:
    """The command's options from its words.

    Parameters
    ----------
    args : Namespace
        Of `build_parser`.
    as_typed : str
        The whole command line, for files that record it.
    """
    return filled(args.command.module.Options, vars(args), as_typed)


def _add_command(commands: Any, command: Command) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        command.name,
        help=command.summary,
        description=command.summary,
        epilog="example:\n  " + command.example.replace("\n", "\n  "),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    parser.set_defaults(command=command)
    return parser


def _unknown(words: Sequence[str], command: Command) -> str:
    """Of files to a command that takes none without an option, by which options it takes them."""
    text = f"unrecognized arguments: {' '.join(words)}"
    options = [told for _, _, told in told_fields(command.module.Options)]
    if words[0].startswith("-") or not all(told.flags for told in options):
        return text
    files = ", ".join(told.flags[-1] for told in options if told.kind is Path)
    return f"{text}: expected each file behind its option, of {files}"


def _add_field(parser: argparse.ArgumentParser, name: str, field: Field[Any], words: Words) -> None:
    required = field.default is REQUIRED
    if words.kind is bool:
        parser.add_argument(*words.flags, dest=name, action="store_true", help=words.help)
        return
    common: dict[str, Any] = {
        "type": _told(words.kind),
        "help": words.help,
        "metavar": words.metavar,
    }
    if not required:
        common["default"] = field.default
    if not words.flags:
        nargs = "+" if words.several else None if required else "?"
        parser.add_argument(name, nargs=nargs, **common)
        return
    if words.metavar is None and words.choices is None:
        common["metavar"] = words.flags[-1].lstrip("-").replace("-", "_").upper()
    if words.several:
        common["nargs"] = "+"
    parser.add_argument(*words.flags, dest=name, required=required, choices=words.choices, **common)


def _told(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """The same for argparse, which passes on what is wrong with a word by an error of its own."""

    def value(word: str) -> Any:
        try:
            return kind(word)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from None

    return value
