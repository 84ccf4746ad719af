"""`inbounds demo`: the bundled clip through `inbounds compare`."""

from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer

from inbounds.audio.io import read_audio
from inbounds.cli import options
from inbounds.cli.compare import refuse_file, report
from inbounds.cli.console import Misuse

CLIPS = {"speech": "speech_austen_0930.wav", "music": "ambi_piano.flac"}


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write.")
    ] = Path("demo"),
    clip: Annotated[
        str, typer.Option("--clip", help=f"Which bundled clip: {' or '.join(CLIPS)}.")
    ] = "speech",
    iterations: options.Iterations = 32,
    seed: options.Seed = 0,
) -> None:
    """Compare the three ways on a bundled clip; then open DIR/index.html."""
    if clip not in CLIPS:
        raise Misuse(f"--clip must be one of {', '.join(CLIPS)}; got {clip}")
    refuse_file(output)
    with as_file(files("inbounds.audio").joinpath("data", CLIPS[clip])) as path:
        audio = read_audio(path)
    report(audio, options.usual_spec(audio.sample_rate), output, CLIPS[clip], iterations, seed)
