"""`inbounds reconstruct`: a sound to its mel spectrogram and back, with the figures of the way."""

import math
import time
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
import typer
from jaxtyping import Float
from torch import Tensor

from inbounds.audio.inverse import inverse_mel_scale
from inbounds.audio.io import audio_format, read_audio, resample, write_audio
from inbounds.audio.melspec import BLOCK, MelSpec
from inbounds.audio.pipeline import mel_to_audio
from inbounds.cli import options
from inbounds.cli.console import Misuse, figure, progress, say


def reconstruct(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A sound file.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", help="A .wav, .flac or .ogg file.")
    ],
    preset: options.Preset = None,
    config: options.Config = None,
    iterations: options.Iterations = 32,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
) -> None:
    """Reduce a sound to its mel spectrogram and bring it back.

    The output has the input's length, rate and channels. Without --preset or --config the mels are
    magnitudes in frames of about 1/20 s, at the input's own rate.
    """
    try:
        audio_format(output)
    except ValueError as error:
        raise Misuse(str(error)) from None
    spec, place = options.named_spec(preset, config), options.checked_device(device)
    clip = read_audio(source)
    spec = spec or options.usual_spec(clip.sample_rate)
    channels, samples = clip.samples.shape
    with progress("mel") as bar:
        clock = Clock(place)
        original = resample(clip.samples, clip.sample_rate, spec.sample_rate).to(place)
        mel = spec.mel(original)
        clock.lap("mel")
        bar.step("inversion")
        residual, certificate = inversion_figures(mel, spec)
        clock.lap("inversion")
        bar.step("sound")
        generator = torch.Generator().manual_seed(seed)
        made = mel_to_audio(mel, spec, n_iter=iterations, generator=generator, length=original.shape[1])
        clock.lap("sound")
        convergence = streamed_convergence(made, original, spec)
        audio = resample(made.cpu(), spec.sample_rate, clip.sample_rate, length=samples)
        write_audio(output, audio, clip.sample_rate)

    seconds = samples / clip.sample_rate
    say(f"{source.name}: {seconds:.2f} s, {clip.sample_rate} Hz, {channels} channel(s)")
    figure("frames", f"{mel.shape[-1]} of {spec.n_mels} mels -> {spec.n_stft} bins")
    for stage, lap in clock.laps.items():
        figure(stage, f"{lap:.3f} s")
    figure("mel residual", f"{residual:.2e}")
    figure("certificate", f"{certificate:.2e}")
    figure("spectral convergence", f"{convergence:.1f} dB")
    if (peak := float(audio.abs().max())) > 1:
        figure("clipped", f"peaks of {peak:.2f} are cut at 1")
    say(f"wrote {output}")


class Clock:
    """Seconds of each stage."""

    def __init__(self, device: torch.device) -> None:
        self.laps: dict[str, float] = {}
        self._device = device
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """The stage that ends now."""
        if self._device.type == "cuda":  # pragma: cuda
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        self.laps[stage], self._last = now - self._last, now


class InversionFigures(NamedTuple):
    """How well the linear spectrogram explains the mels."""

    residual: float  # ‖Ax − mel‖ / ‖mel‖ over everything
    certificate: float  # the worst frame's; 0 at the exact non-negative optimum


def inversion_figures(mel: Float[Tensor, "channels n_mels time"], spec: MelSpec) -> InversionFigures:
    """Invert block by block, keeping only the figures: an hour of spectra would not fit in memory."""
    bank = spec.bank(dtype=mel.dtype)
    error = total = certificate = 0.0
    for block in spec.decompress(mel).split(BLOCK, dim=-1):
        _, info = inverse_mel_scale(block, bank, full_output=True)
        error += float(info.residual_norm.double().square().sum())
        total += float(block.double().square().sum())
        certificate = max(certificate, float(info.kkt.max()))
    return InversionFigures(math.sqrt(error / total) if total else 0.0, certificate)


def streamed_convergence(
    made: Float[Tensor, "channels samples"], original: Float[Tensor, "channels samples"], spec: MelSpec
) -> float:
    """Spectral convergence in dB over all channels, one block of frames at a time."""
    error = total = 0.0
    for mine, true in zip(spec.spectra(made), spec.spectra(original), strict=True):
        error += float((mine.abs() - true.abs()).double().square().sum())
        total += float(true.abs().double().square().sum())
    if error == 0:
        return -math.inf
    return 10 * math.log10(error / total) if total else math.inf
