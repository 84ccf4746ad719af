"""`inbounds wav2mel`: sounds to mel spectrograms, one or a folder full."""

from pathlib import Path
from typing import Annotated

import typer

from inbounds.audio.io import MEL_FORMATS, read_audio, resample, write_mel
from inbounds.cli import batch, options

SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".opus")  # looked for in a folder


def wav2mel(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A sound file, or a folder of them.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="OUT", help="A .npy, .pt or .safetensors file, or a folder."),
    ],
    preset: options.Preset = None,
    config: options.Config = None,
    jobs: options.Jobs = 1,
    format: Annotated[
        str, typer.Option("--format", help="Of the outputs in a folder: npy, pt or safetensors.")
    ] = "npy",
    overwrite: options.Overwrite = False,
) -> None:
    """Turn sounds into mel spectrograms, as --preset or --config describes them.

    Arrays are (n_mels, time) for mono sounds and (channels, n_mels, time) for others. In a folder,
    finished files are left alone.
    """
    spec = options.required_spec(preset, config)
    todo = batch.pairs(source, output, SOUNDS, MEL_FORMATS, f".{format.lower()}")

    def work(path: Path, target: Path) -> None:
        clip = read_audio(path)
        mel = spec.mel(resample(clip.samples, clip.sample_rate, spec.sample_rate))
        write_mel(target, mel[0] if len(mel) == 1 else mel)

    batch.run(work, todo, jobs=jobs, overwrite=overwrite or not source.is_dir(), verb="sound to mel")
