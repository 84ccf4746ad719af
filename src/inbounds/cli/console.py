"""What the commands say: figures to stdout, complaints and progress to stderr, progress to terminals only."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

OUT_OF_MEMORY = (MemoryError, torch.OutOfMemoryError)


class Misuse(Exception):
    """A command line that asks for what cannot be."""


class SomeFailed(Exception):
    """Some inputs failed; the others are done."""


def printable(text: str) -> str:
    """The same where a file's name in it is no text: names are bytes, of any kind."""
    return text.encode(errors="backslashreplace").decode()


def say(line: str = "") -> None:
    """A line on stdout."""
    print(printable(line))


def figure(label: str, value: str) -> None:
    """A figure with its name, in columns."""
    say(f"  {label:<22}{value}")


def complain(sentence: str) -> None:
    """One line on stderr."""
    print(printable(f"inbounds: {' '.join(sentence.split())}"), file=sys.stderr)


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator["Bar"]:
    """A bar on stderr (a spinner if the total is unknown), or nothing where that is not a terminal."""
    console = Console(stderr=True)
    measure = [BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()] if total is not None else []
    columns = [SpinnerColumn(), TextColumn("{task.description}"), *measure]
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        yield Bar(shown, description, total)


class Bar:
    """One line of progress."""

    def __init__(self, shown: Progress, description: str, total: int | None) -> None:
        self._shown = shown
        self._task = shown.add_task(description, total=total)

    def step(self, description: str) -> None:
        """Say what is going on now."""
        self._shown.update(self._task, description=description)

    def advance(self) -> None:
        """One more is done."""
        self._shown.advance(self._task)
