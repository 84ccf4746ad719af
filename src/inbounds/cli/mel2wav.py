"""`inbounds mel2wav`: mel spectrograms to sound, one or a folder full."""

from pathlib import Path
from typing import Annotated

import torch
import typer

from inbounds.audio.io import AUDIO_FORMATS, MEL_FORMATS, read_mel, write_pieces
from inbounds.audio.melspec import MelSpec
from inbounds.audio.pipeline import MelToAudio
from inbounds.cli import batch, options


def mel2wav(
    source: Annotated[
        Path, typer.Argument(metavar="MEL", help="A .npy, .pt or .safetensors file, or a folder of them.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", help="A .wav, .flac or .ogg file, or a folder.")
    ],
    preset: options.Preset = None,
    config: options.Config = None,
    transpose: Annotated[bool, typer.Option("--transpose", help="The arrays are (time, n_mels).")] = False,
    iterations: options.Iterations = 32,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    jobs: options.Jobs = 1,
    format: Annotated[
        str, typer.Option("--format", help="Of the outputs in a folder: wav, flac or ogg.")
    ] = "wav",
    overwrite: options.Overwrite = False,
) -> None:
    """Turn mel spectrograms into sound.

    Arrays are (n_mels, time) or (channels, n_mels, time), as --preset or --config describes them. In a
    folder, finished files are left alone, so an interrupted run goes on where it stopped.
    """
    spec, place = options.required_spec(preset, config), options.checked_device(device)
    todo = batch.pairs(source, output, MEL_FORMATS, tuple(AUDIO_FORMATS), f".{format.lower()}")

    def work(path: Path, target: Path) -> None:
        mel = checked(read_mel(path).to(place), spec, path, transpose=transpose)
        generator = torch.Generator().manual_seed(seed)
        pieces = MelToAudio(spec, n_iter=iterations).pieces(mel, generator=generator)
        channels = mel.shape[0] if mel.ndim == 3 else 1
        write_pieces(target, map(torch.atleast_2d, pieces), spec.sample_rate, channels=channels)

    batch.run(work, todo, jobs=jobs, overwrite=overwrite or not source.is_dir(), verb="mel to sound")


def checked(mel: torch.Tensor, spec: MelSpec, path: Path, *, transpose: bool) -> torch.Tensor:
    """Refuse an array that this convention cannot have made, in a sentence that says what to try."""
    if transpose:
        mel = mel.mT
    if mel.shape[-2] != spec.n_mels:
        turned = "; --transpose turns it" if mel.shape[-1] == spec.n_mels else ""
        raise ValueError(
            f"{path} must hold {spec.n_mels} mel bands, (..., {spec.n_mels}, time); "
            f"got {tuple(mel.shape)}{turned}"
        )
    values = spec.decompress(mel)
    if not torch.isfinite(values).all():
        raise ValueError(f"{path} holds values too large for this convention; is it the right one?")
    if (values < 0).any():
        raise ValueError(f"{path} holds negative values, where this convention has none; is it in decibels?")
    return mel
