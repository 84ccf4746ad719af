"""From mel to sound: quality over clips and seeds, time on 2 min 16 s at 44.1 kHz. Writes results/sound.md.

python bench/sound.py [--audio DIR] [--seeds 5] [--only griffin-lim,reference,sines,…]
"""

import argparse
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import librosa
import numpy as np
import soundfile
import torch
from pesq import pesq
from pystoi import stoi
from torch import Tensor

import inbounds.audio
import report
from inbounds.audio import ADMM, MelSpec, MelToAudio, Refinement, griffin_lim, inverse_mel_scale, mel_to_audio
from inbounds.audio.metrics import log_spectral_distance, mel_residual, spectral_convergence

SPEECH = MelSpec(16000, 1024, 256, 80, mel_scale="slaney", norm="slaney", power=1.0)
MUSIC = MelSpec(44100, 2048, 512, 128, mel_scale="slaney", norm="slaney", power=1.0)
REFERENCE_SECONDS = 136
MUSIC_SECONDS = 3

Way = Callable[[Tensor, MelSpec, int, int, int], Tensor]  # mel, spec, n_iter, length, seed -> sound


class Clip(NamedTuple):
    name: str
    sound: Tensor
    rate: int


def clips(folder: Path, kind: str) -> Iterator[Clip]:
    for path in sorted(folder.glob("*.wav" if kind == "speech" else "*.flac")):
        sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
        yield Clip(path.stem, torch.from_numpy(sound.mean(axis=1)), rate)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def librosas_way(mel: Tensor, spec: MelSpec, n_iter: int, length: int, seed: int) -> Tensor:
    """What librosa.feature.inverse.mel_to_audio does, with a seed."""
    magnitude = librosa.feature.inverse.mel_to_stft(
        mel.numpy(), sr=spec.sample_rate, n_fft=spec.n_fft, power=spec.power
    )
    sound = librosa.griffinlim(
        magnitude, n_iter=n_iter, hop_length=spec.hop_length, n_fft=spec.n_fft, length=length,
        pad_mode=spec.pad_mode, random_state=seed,
    )  # fmt: skip
    return torch.from_numpy(sound)


def torchaudios_way(mel: Tensor, spec: MelSpec, n_iter: int, length: int, seed: int) -> Tensor:
    """relu(lstsq), as torchaudio.transforms.InverseMelScale, and fast Griffin-Lim."""
    magnitude = inverse_mel_scale(mel, spec.bank(), method="lstsq").pow(1 / spec.power)
    return griffin_lim(
        magnitude, n_fft=spec.n_fft, hop_length=spec.hop_length, n_iter=n_iter, length=length,
        generator=seeded(seed),
    )  # fmt: skip


def ours(refine: Refinement | None, init: str) -> Way:
    def way(mel: Tensor, spec: MelSpec, n_iter: int, length: int, seed: int) -> Tensor:
        return mel_to_audio(
            mel, spec, n_iter=n_iter, refine=refine, init=init, length=length, generator=seeded(seed)
        )

    return way


DEFAULT = inbounds.audio.Refinement()
WAYS: dict[str, Way] = {
    "librosa's way": librosas_way,
    "torchaudio's way": torchaudios_way,
    "ours, magnitudes fixed, random start": ours(None, "random"),
    "ours, magnitudes fixed": ours(None, "pghi"),
    "ours, random start": ours(DEFAULT, "random"),
    "**ours** (the default)": ours(DEFAULT, "pghi"),
}


SCHEDULES: dict[str, Way] = {
    f"from sweep {start}, every {every}": ours(Refinement(start, every), "pghi")
    for start, every in ((2, 1), (4, 1), (4, 2), (4, 3), (4, 4), (8, 2), (16, 4))
}
for trace in (0.0, 0.1):
    SCHEDULES[f"the default, trace {trace}"] = ours(Refinement(trace=trace), "pghi")
SCHEDULES["the default, zeros"] = ours(DEFAULT, "zeros")
SCHEDULES["the default, random start"] = ours(DEFAULT, "random")
SCHEDULES["the default, ADMM"] = lambda mel, spec, n_iter, length, seed: MelToAudio(
    spec, n_iter=n_iter, method=ADMM()
)(mel, generator=seeded(seed), length=length)


def magnitudes(sound: Tensor, spec: MelSpec) -> Tensor:
    window = spec.window_tensor()
    return torch.stft(sound, spec.n_fft, spec.hop_length, window=window, return_complex=True).abs()


def figures(clip: Clip, made: Tensor, mel: Tensor, spec: MelSpec) -> list[float]:
    truth, found = magnitudes(clip.sound, spec), magnitudes(made, spec)
    result = [
        float(spectral_convergence(found, truth)),
        float(log_spectral_distance(found, truth)),
        float(mel_residual(found**spec.power, mel, spec.bank())),
    ]
    if spec.sample_rate == 16000:
        result.append(pesq(16000, clip.sound.numpy(), made.numpy(), "wb"))
        result.append(100 * stoi(clip.sound.numpy(), made.numpy(), 16000))
    return result


def shown(values: Iterable[float]) -> list[str]:
    return [f"{value:.2f}" if abs(value) > 0.5 else f"{value:.3f}" for value in values]


def quality(kind: str, base: MelSpec, cuts: list[Clip], seeds: int, ways: dict[str, Way] = WAYS) -> str:
    names = ["SC dB", "LSD dB", "mel residual"] + (["PESQ-wb", "STOI %"] if kind == "speech" else [])
    rows = []
    for power in (1.0, 2.0):
        spec = base.replace(power=power)
        mels = [spec.mel(clip.sound) for clip in cuts]
        for name, way in ways.items():
            found = []
            for clip, mel in zip(cuts, mels, strict=True):
                for seed in range(seeds):
                    made = way(mel, spec, 64, len(clip.sound), seed)
                    found.append(figures(clip, made, mel, spec))
            rows.append([int(power), name, *shown(np.mean(found, axis=0))])
            print(kind, *rows[-1], flush=True)
    described = (
        "16 kHz 1024/256/80" if kind == "speech" else f"44.1 kHz 2048/512/128, first {MUSIC_SECONDS} s"
    )
    counted = f"mean of {len(cuts)} clips and {seeds} seeds, 64 iterations"
    heading = f"### {kind.capitalize()}, {described}: {counted}\n\n"
    return heading + report.table(["power", "way", *names], rows)


def reference_sound(cuts: list[Clip]) -> Clip:
    joined = torch.cat([clip.sound for clip in cuts])
    samples = REFERENCE_SECONDS * cuts[0].rate
    return Clip("joined", joined.repeat(-(-samples // len(joined)))[:samples], cuts[0].rate)


def griffin_lims(clip: Clip) -> str:
    truth = magnitudes(clip.sound, MUSIC)
    array, length = truth.numpy(), len(clip.sound)
    candidates: dict[str, Callable[[], Tensor]] = {
        "librosa.griffinlim": lambda: torch.from_numpy(
            librosa.griffinlim(
                array, n_iter=32, hop_length=512, length=length, pad_mode="reflect", random_state=0
            )
        ),
        "ours, random start": lambda: griffin_lim(truth, n_fft=2048, length=length, generator=seeded(0)),
        "ours, zeros": lambda: griffin_lim(truth, n_fft=2048, length=length, init="zeros"),
        'ours, init="pghi"': lambda: griffin_lim(
            truth, n_fft=2048, length=length, init="pghi", generator=seeded(0)
        ),
    }
    rows, slowest = [], None
    for name, run in candidates.items():
        repeats = 1 if name.startswith("librosa") else 3
        seconds = []
        for _ in range(repeats + (repeats > 1)):
            start = time.perf_counter()
            made = run()
            seconds.append(time.perf_counter() - start)
        slowest = slowest or min(seconds)
        convergence = float(spectral_convergence(magnitudes(made, MUSIC), truth))
        rows.append([name, min(seconds), f"{slowest / min(seconds):.1f} ×", f"{convergence:.2f}"])
        print(*rows[-1], flush=True)
    heading = "### Griffin-Lim alone: true magnitudes, 136 s at 44.1 kHz, 2048/512, 32 iterations\n\n"
    return heading + report.table(["", "seconds", "faster than librosa", "SC dB"], rows)


def whole_way(clip: Clip) -> str:
    rows = []
    for power in (1.0, 2.0):
        spec = MUSIC.replace(power=power)
        mel, slowest = spec.mel(clip.sound), None
        for name in ("librosa's way", "ours, magnitudes fixed", "**ours** (the default)"):
            seconds = []
            for _ in range(1 if name.startswith("librosa") else 2):
                start = time.perf_counter()
                made = WAYS[name](mel, spec, 32, len(clip.sound), 0)
                seconds.append(time.perf_counter() - start)
            slowest = slowest or min(seconds)
            row = [
                f"{value:.2f}" if abs(value) > 0.5 else f"{value:.3f}"
                for value in figures(clip, made, mel, spec)
            ]
            rows.append([int(power), name, min(seconds), f"{slowest / min(seconds):.1f} ×", *row])
            print(*rows[-1], flush=True)
    heading = "### The whole way: 136 s at 44.1 kHz, 2048/512/128, 32 iterations\n\n"
    headers = ["power", "way", "seconds", "faster than librosa", "SC dB", "LSD dB", "mel residual"]
    return heading + report.table(headers, rows)


def sines() -> str:
    """How far from its frequency a sine comes back, and what else comes with it."""
    rows = []
    for rate, n_fft, hop, n_mels in ((16000, 1024, 256, 80), (22050, 1024, 256, 80), (44100, 2048, 512, 128)):
        t = torch.arange(3 * rate) / rate
        hertz = torch.fft.rfftfreq(16 * rate, 1 / rate)
        for frequency in (220.0, 440.0, 1000.0, 1437.3, 3000.0, 6000.0):
            row: list[object] = [f"{rate} {n_fft}/{hop}/{n_mels}", frequency]
            for power in (1.0, 2.0):
                spec = MelSpec(rate, n_fft, hop, n_mels, mel_scale="slaney", norm="slaney", power=power)
                sine = 0.5 * torch.sin(2 * torch.pi * frequency * t)
                made = mel_to_audio(spec.mel(sine), spec, n_iter=64, generator=seeded(0), length=len(sine))
                middle = made[rate // 2 : -rate // 2]
                spectrum = torch.fft.rfft(middle * torch.hann_window(len(middle)), 16 * rate).abs()
                peak = float(hertz[spectrum.argmax()])
                other = spectrum[(hertz - peak).abs() > 20].max() / spectrum.max()
                row += [f"{peak - frequency:+.2f}", f"{20 * float(other.log10()):.0f}"]
            rows.append(row)
            print(*row, flush=True)
    headers = ["mel", "Hz", "off by, power 1", "highest other, dB", "off by, power 2", "highest other, dB"]
    return "### A sine, 64 iterations\n\n" + report.table(headers, rows)


def main() -> None:
    default = os.environ.get("INBOUNDS_AUDIO", Path(__file__).parents[2] / "shared" / "audio")
    bundled = Path(inbounds.audio.__file__).parent / "data"
    parser = argparse.ArgumentParser()
    parser.add_argument("--audio", type=Path, default=default if Path(default).is_dir() else bundled)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--music-seeds", type=int, default=2)
    parser.add_argument("--only", default="griffin-lim,reference,sines,speech,music,schedules")
    options = parser.parse_args()

    speech, music = list(clips(options.audio, "speech")), list(clips(options.audio, "music"))
    short = [clip._replace(sound=clip.sound[: MUSIC_SECONDS * clip.rate]) for clip in music]
    sections: dict[str, Callable[[], str]] = {}
    if music:
        sections["griffin-lim"] = lambda: griffin_lims(reference_sound(music))
        sections["reference"] = lambda: whole_way(reference_sound(music))
    sections["sines"] = sines
    if speech:
        sections["speech"] = lambda: quality("speech", SPEECH, speech, options.seeds)
    if music:
        sections["music"] = lambda: quality("music", MUSIC, short, options.music_seeds)
    if speech and music:
        sections["schedules"] = lambda: "\n".join(
            quality(kind, spec, cuts, 1, SCHEDULES)
            for kind, spec, cuts in (("speech", SPEECH, speech), ("music", MUSIC, short))
        )

    parts = ["## From mel to sound\n", report.machine("librosa", "pesq", "pystoi") + "\n"]
    for name, run in sections.items():
        if name in options.only.split(","):
            parts.append(run())
            report.write("sound", "\n".join(parts))  # section by section: the whole takes a while


if __name__ == "__main__":
    main()
