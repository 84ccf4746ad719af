"""Options that several commands share, and what they stand for."""

import math
import re
from pathlib import Path
from typing import Annotated

import torch
import typer

from inbounds.audio.melspec import MelSpec
from inbounds.audio.presets import PRESETS
from inbounds.cli.console import Misuse

Preset = Annotated[
    str | None,
    typer.Option("--preset", "-p", metavar="NAME", help=f"The mel convention: {', '.join(PRESETS)}."),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="A JSON or YAML file with the mel convention: MelSpec's fields, or HiFi-GAN's or Tacotron 2's "
        "config. With --preset too, the preset says what the file does not.",
    ),
]
Iterations = Annotated[int, typer.Option("--iterations", "-n", min=0, help="Of the phase retrieval.")]
Seed = Annotated[
    int, typer.Option("--seed", min=0, help="Of the random start; the same seed, the same sound.")
]
Device = Annotated[
    str, typer.Option("--device", metavar="NAME", help="What computes: cpu, cuda, or cuda:N for the Nth GPU.")
]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, help="Files at a time.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Do the files again that are there already.")]


def named_spec(preset: str | None, config: Path | None) -> MelSpec | None:
    """The convention that --preset and --config name; None if neither is given."""
    if preset is not None and preset not in PRESETS:
        raise Misuse(f"--preset must be one of {', '.join(PRESETS)}; got {preset}")
    base = None if preset is None else PRESETS[preset]
    if config is None:
        return base
    try:
        return MelSpec.from_file(config, base=base)
    except (OSError, ValueError) as error:
        raise Misuse(f"--config: {error}") from None


def required_spec(preset: str | None, config: Path | None) -> MelSpec:
    """The same where there must be one: a mel spectrogram does not say how it was made."""
    spec = named_spec(preset, config)
    if spec is None:
        raise Misuse(f"--preset or --config is needed; presets are {', '.join(PRESETS)}")
    return spec


def checked_device(name: str) -> torch.device:
    """The device that --device names, if it is here."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise Misuse(f"--device must be cpu, cuda or cuda:N; got {name}")
    device, present = torch.device(name), torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= present:
        there = f"the last is cuda:{present - 1}" if present else "no CUDA device is here"
        raise Misuse(f"--device {name}: {there}")
    return device


def usual_spec(sample_rate: int) -> MelSpec:
    """Slaney magnitude mels with frames of about 1/20 s: what the measurements in bench/ use.

    1024/256/80 from 16 to 24 kHz, 2048/512/128 at 44.1 and 48 kHz.
    """
    n_fft = max(64, 2 ** round(math.log2(sample_rate * 0.046)))
    n_mels = min(80 if n_fft <= 1024 else 128, n_fft // 8)
    return MelSpec(sample_rate, n_fft, n_fft // 4, n_mels, mel_scale="slaney", norm="slaney", power=1.0)
