"""Three ways from a mel spectrogram to sound: torchaudio's, librosa's, and ours.

The first two are implementations of our own of what those libraries publish, so that they run where the
libraries do not; `bench/` measures the libraries themselves.
"""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from inbounds.audio.inverse import inverse_mel_scale
from inbounds.audio.melspec import MelSpec
from inbounds.audio.pipeline import mel_to_audio

MOMENTUM = 0.99  # both libraries' default


class Reconstruction(NamedTuple):
    """What a way made of a mel spectrogram."""

    magnitude: Float[Tensor, "channels n_stft time"]  # before any phase
    audio: Float[Tensor, "channels samples"]
    magnitude_seconds: float  # from mel to magnitudes
    seconds: float  # from mel to sound
    remark: str = ""


class Problem(NamedTuple):
    """What every way is given: an uncompressed mel spectrogram, and how it was made."""

    mel: Float[Tensor, "channels n_mels time"]
    spec: MelSpec
    samples: int
    iterations: int
    seed: int

    @property
    def seconds(self) -> float:
        """How long the sound is."""
        return self.samples / self.spec.sample_rate


class Way(NamedTuple):
    """A way by name: `key` in files, `title` for people."""

    key: str
    title: str
    description: str
    run: Callable[[Problem], Reconstruction]


def torchaudio_way(problem: Problem) -> Reconstruction:
    """`InverseMelScale` as torchaudio 2.1 to 2.11 does it, relu(lstsq), then its `GriffinLim`.

    Its random start is complex numbers uniform over [0, 1)², and so in the first quadrant only. Where the
    default driver, gels, refuses a bank that lacks full rank, gelsd takes over, and the remark says so.
    """
    bank = problem.spec.bank(dtype=problem.mel.dtype)
    start = time.perf_counter()
    remark = ""
    try:
        solution = torch.linalg.lstsq(bank.mT[None], problem.mel, driver="gels").solution
    except RuntimeError:  # torch.linalg.LinAlgError
        solution = torch.linalg.lstsq(bank.mT[None], problem.mel, driver="gelsd").solution
        remark = "its default solver, gels, fails on this mel bank; gelsd here"
    magnitude = solution.relu().pow(1 / problem.spec.power)
    middle = time.perf_counter()
    generator = torch.Generator().manual_seed(problem.seed)
    real, imaginary = torch.rand((2, *magnitude.shape), generator=generator)
    audio = fast_griffin_lim(magnitude, torch.complex(real, imaginary), problem, pad_mode="reflect")
    return Reconstruction(magnitude, audio, middle - start, time.perf_counter() - start, remark)


def librosa_way(problem: Problem) -> Reconstruction:
    """`mel_to_stft` as librosa's usually ends, at its start clip(pinv(A) M, 0), then its `griffinlim`.

    librosa goes on to L-BFGS-B from there, but its stopping test is met at the start by most mels: the
    gradient is divided by the number of entries while the tolerance is absolute.
    """
    start = time.perf_counter()
    bank = problem.spec.bank(dtype=problem.mel.dtype)
    magnitude = (torch.linalg.pinv(bank.mT) @ problem.mel).clamp(min=0).pow(1 / problem.spec.power)
    middle = time.perf_counter()
    generator = torch.Generator().manual_seed(problem.seed)
    turns = torch.rand(magnitude.shape, generator=generator, dtype=magnitude.dtype)
    phases = torch.polar(torch.ones_like(magnitude), 2 * math.pi * turns)
    audio = fast_griffin_lim(magnitude, phases, problem, pad_mode="constant")
    return Reconstruction(magnitude, audio, middle - start, time.perf_counter() - start)


def our_way(problem: Problem) -> Reconstruction:
    """The non-negative optimum nearest the spectrum's envelope, refined while the phase is found.

    `mel_to_audio` does both in one; the optimum it starts from is computed, and timed, once more beside it.
    """
    spec = problem.spec
    start = time.perf_counter()
    magnitude = inverse_mel_scale(problem.mel, spec.bank(dtype=problem.mel.dtype)).pow(1 / spec.power)
    middle = time.perf_counter()
    audio = mel_to_audio(
        problem.mel,
        spec,
        n_iter=problem.iterations,
        generator=torch.Generator().manual_seed(problem.seed),
        length=problem.samples,
    )
    return Reconstruction(magnitude, audio, middle - start, time.perf_counter() - middle)


WAYS = (
    Way(
        "torchaudio",
        "torchaudio's way",
        "Least squares, negative values cut off; fast Griffin-Lim from phases in one quadrant.",
        torchaudio_way,
    ),
    Way(
        "librosa",
        "librosa's way",
        "Pseudo-inverse, negative values cut off, where its L-BFGS-B usually stops; fast Griffin-Lim.",
        librosa_way,
    ),
    Way(
        "inbounds",
        "inbounds",
        "The non-negative optimum nearest the envelope, refined together with integrated phases.",
        our_way,
    ),
)


def fast_griffin_lim(
    magnitude: Float[Tensor, "channels n_stft time"],
    phases: Complex[Tensor, "channels n_stft time"],
    problem: Problem,
    *,
    pad_mode: str,
) -> Float[Tensor, "channels samples"]:
    """Fast Griffin-Lim as both libraries have it, frames centred on multiples of the hop.

    Frames that the spec places elsewhere (HiFi-GAN's) only shift the sound, which is shifted back.

    Follows: Perraudin, Balazs, Søndergaard (2013), with the momentum of both libraries, m / (1 + m).
    """
    spec = problem.spec
    shift = spec.n_fft // 2 - spec.pad
    length = max(1, min(problem.samples - shift, _covered(spec, magnitude.shape[-1])))
    transform = {
        "n_fft": spec.n_fft,
        "hop_length": spec.hop_length,
        "win_length": spec.win_length,
        "window": spec.window_tensor(dtype=magnitude.dtype),
    }
    previous = torch.zeros_like(phases)
    for _ in range(problem.iterations):
        signal = torch.istft(magnitude * phases, **transform, length=length)
        rebuilt = torch.stft(
            signal, **transform, pad_mode=_pad_mode(pad_mode, spec, length), return_complex=True
        )
        rebuilt = _frames(rebuilt, magnitude.shape[-1])
        phases = rebuilt - (MOMENTUM / (1 + MOMENTUM)) * previous
        phases = phases / (phases.abs() + 1e-16)
        previous = rebuilt
    signal = torch.istft(magnitude * phases, **transform, length=length)
    signal = torch.nn.functional.pad(signal, (shift, 0))
    return torch.nn.functional.pad(signal, (0, problem.samples - signal.shape[-1]))


def _covered(spec: MelSpec, frames: int) -> int:
    """How far torch.istft may be asked to go: where the last frame's window is not yet next to nothing."""
    beyond = spec.hop_length - 1 if 4 * spec.hop_length <= spec.n_fft else spec.hop_length // 2
    return (frames - 1) * spec.hop_length + beyond


def _pad_mode(pad_mode: str, spec: MelSpec, length: int) -> str:
    """Reflection needs more samples than it adds; on shorter sounds zeros stand in."""
    return "constant" if length <= spec.n_fft // 2 else pad_mode


def _frames(spectrum: Tensor, count: int) -> Tensor:
    """So many frames: a convention may have left the last out, or added one."""
    return torch.nn.functional.pad(spectrum[..., :count], (0, max(0, count - spectrum.shape[-1])))
