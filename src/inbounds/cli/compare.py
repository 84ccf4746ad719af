"""`inbounds compare`: torchaudio's way, librosa's way and ours, side by side on one page."""

from pathlib import Path
from typing import Annotated

import typer

from inbounds.audio.io import Audio, read_audio
from inbounds.audio.melspec import MelSpec
from inbounds.cli import options
from inbounds.cli.console import Misuse, printable, progress, say
from inbounds.compare import COLUMNS, WAYS, Study, shown, study, write_report


def compare(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A sound file.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write.")],
    preset: options.Preset = None,
    config: options.Config = None,
    iterations: options.Iterations = 32,
    seed: options.Seed = 0,
) -> None:
    """Bring a sound back from its mels in three ways, and lay them side by side.

    Written are index.html with pictures, players and a table, table.json, spectrograms.png, and a WAV for
    the source and each way. torchaudio's and librosa's ways are implementations of our own.
    """
    spec = options.named_spec(preset, config)
    refuse_file(output)
    clip = read_audio(source)
    report(
        clip, spec or options.usual_spec(clip.sample_rate), output, printable(source.name), iterations, seed
    )


def refuse_file(output: Path) -> None:
    """A report needs a folder."""
    if output.exists() and not output.is_dir():
        raise Misuse(f"the output must be a folder; got {output}")


def report(clip: Audio, spec: MelSpec, output: Path, name: str, iterations: int, seed: int) -> None:
    """Study a clip, write the report and print its table."""
    with progress("mel") as bar:
        result = study(clip, spec, name=name, iterations=iterations, seed=seed, progress=bar.step)
        bar.step("report")
        page = write_report(result, output)
    print_table(result)
    say(f"wrote {page}")


def print_table(result: Study) -> None:
    """The ways one under the other, the figures that were had in columns."""
    rows = result.figures.values()
    present = [key for key in COLUMNS if any(getattr(row, key) is not None for row in rows)]
    widths = [max(len(COLUMNS[key].title), 7) + 3 for key in present]
    heads = zip(present, widths, strict=True)
    say(" " * 16 + "".join(f"{COLUMNS[key].title:>{width}}" for key, width in heads))
    for way in WAYS:
        values = [shown(key, getattr(result.figures[way.key], key)) for key in present]
        cells = zip(values, widths, strict=True)
        say(f"{way.title:<16}" + "".join(f"{value:>{width}}" for value, width in cells))
    for key, remark in result.remarks.items():
        say(f"{key}: {remark}")
