"""The commands put together, and what becomes of their exceptions."""

from collections.abc import Sequence
from typing import Annotated

import typer

from inbounds import __version__
from inbounds.cli import compare, demo, info, mel2wav, reconstruct, wav2mel
from inbounds.cli.console import OUT_OF_MEMORY, Misuse, SomeFailed, complain, say

INTERRUPTED = 130  # what shells make of SIGINT

app = typer.Typer(
    name="inbounds",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def print_version(wanted: bool) -> bool:
    """Print the version and leave, if asked."""
    if wanted:
        say(f"inbounds {__version__}")
        raise typer.Exit
    return wanted


@app.callback(help="Mel spectrograms inverted to the optimum, and played back.")
def inbounds(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=print_version, help="Print the version.")
    ] = False,
) -> None:
    """What every command has in common: nothing but --version."""


app.command("reconstruct")(reconstruct.reconstruct)
app.command("mel2wav")(mel2wav.mel2wav)
app.command("wav2mel")(wav2mel.wav2mel)
app.command("compare")(compare.compare)
app.command("demo")(demo.demo)
app.command("info")(info.info)

# Typer's own errors of usage derive from a class it does not export: BadParameter, UsageError, that one.
USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[2]  # pyright: ignore[reportAssignmentType]


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code is 0 done, 1 some inputs failed, 2 misuse, 130 interrupted.

    Whatever goes wrong with files and options is one line on stderr. Anything else is a defect of ours, and
    keeps its traceback.
    """
    command = typer.main.get_command(app)
    try:
        code = command.main(list(arguments), prog_name="inbounds", standalone_mode=False) or 0
    except USAGE_ERROR as error:
        complain(error.format_message())  # pyright: ignore[reportAttributeAccessIssue]
        return 2
    except Misuse as error:
        complain(str(error))
        return 2
    except SomeFailed:  # each has been told of
        return 1
    except (OSError, ValueError) as error:
        complain(str(error))
        return 1
    except OUT_OF_MEMORY:
        complain("there is not enough memory for this")
        return 1
    except (KeyboardInterrupt, typer.Abort):  # what a Typer makes of an interruption depends on its version
        code = INTERRUPTED
    if code == INTERRUPTED:
        complain("interrupted")
    return code
