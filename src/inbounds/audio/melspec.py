"""MelSpec: what a mel spectrogram means. One value names the transform, the bank and the compression."""

import math
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.nn import functional

from inbounds import _checks
from inbounds.audio.compression import Compression
from inbounds.audio.filters import triangles

WINDOWS = {
    "hann": torch.hann_window,
    "hamming": torch.hamming_window,
    "blackman": torch.blackman_window,
    "bartlett": torch.bartlett_window,
    "rectangular": torch.ones,
}
PAD_MODES = ("reflect", "constant", "replicate", "circular")

# Frames transformed at a time: bounds the memory an hour of audio needs, and costs no time.
BLOCK = 4096

# No rate or length of anyone's is near it, and everything below counts in 32 or 64 bits.
LARGEST = 2**31 - 1

NO_COMPRESSION = Compression()


@dataclass(frozen=True)
class MelSpec:
    """Everything needed to read a mel spectrogram: the transform, the mel bank and the compression.

    Frame t holds samples t * hop_length - pad to t * hop_length - pad + n_fft of the audio, where `pad`
    samples are added on either side: n_fft // 2 when `center`, else `padding`.

    Args:
        sample_rate: in Hz.
        n_fft: samples in a frame, even; the spectrum has n_fft // 2 + 1 bins.
        hop_length: samples from one frame to the next.
        n_mels: mel bands.
        win_length: samples under the window, in the middle of the frame; None stands for n_fft.
        window: "hann", "hamming", "blackman", "bartlett" or "rectangular", all periodic.
        f_min, f_max: the bank's edges in Hz, 0 <= f_min < f_max <= sample_rate / 2, which None stands for.
        mel_scale: "htk" or "slaney". norm: None (peaks of 1) or "slaney" (areas of 1).
        power: of the magnitudes before the bank; 1 gives magnitude mels, 2 energy mels.
        center: whether frame t is centred on sample t * hop_length.
        padding: samples added on either side when `center` is False. HiFi-GAN has (n_fft - hop_length) // 2.
        pad_mode: what is added: "reflect", "constant" (zeros), "replicate" or "circular".
        epsilon: added to the squared magnitudes before their root; HiFi-GAN has 1e-9.
        drop_last: leave the last frame out, as Whisper does.
        compression: how values are stored; see Compression.

    Raises:
        ValueError, TypeError: for a field out of its range.

    The defaults are torchaudio's. `inbounds.audio.PRESETS` has the conventions people hold.

    >>> spec = MelSpec(16000, n_fft=1024, hop_length=256, n_mels=80, power=1.0)
    >>> spec.mel(torch.sin(torch.arange(16000) * 0.3)).shape
    torch.Size([80, 63])
    """

    sample_rate: int
    n_fft: int
    hop_length: int
    n_mels: int
    _: KW_ONLY
    win_length: int | None = None
    window: str = "hann"
    f_min: float = 0.0
    f_max: float | None = None
    mel_scale: str = "htk"
    norm: str | None = None
    power: float = 2.0
    center: bool = True
    padding: int = 0
    pad_mode: str = "reflect"
    epsilon: float = 0.0
    drop_last: bool = False
    compression: Compression = NO_COMPRESSION

    def __post_init__(self) -> None:
        self._integer("sample_rate", least=1)
        if self._integer("n_fft", least=2) % 2:
            raise ValueError(f"n_fft must be even, for the last bin to be sample_rate / 2; got {self.n_fft}")
        self._integer("hop_length", least=1)
        self._integer("n_mels", least=1)
        if self.win_length is not None and self._integer("win_length", least=1) > self.n_fft:
            raise ValueError(f"win_length must be at most n_fft, {self.n_fft}; got {self.win_length}")
        _checks.choice(self.window, "window", WINDOWS)
        self._normalise("f_min", least=0.0)
        if self.f_max is not None:
            self._normalise("f_max", above=0.0, most=self.sample_rate / 2)
        f_max = self.sample_rate / 2 if self.f_max is None else self.f_max
        if self.f_min >= f_max:
            raise ValueError(f"f_min must be less than f_max, {f_max:g}; got {self.f_min:g}")
        _checks.choice(self.mel_scale, "mel_scale", ("htk", "slaney"))
        _checks.choice(self.norm, "norm", (None, "slaney"))
        self._normalise("power", above=0.0)
        self._integer("padding", least=0)
        _checks.boolean(self.center, "center")
        _checks.boolean(self.drop_last, "drop_last")
        if self.center and self.padding:
            raise ValueError(f"padding must be 0 when center is True; got {self.padding}")
        _checks.choice(self.pad_mode, "pad_mode", PAD_MODES)
        self._normalise("epsilon", least=0.0)
        if not isinstance(self.compression, Compression):
            raise TypeError(f"compression must be a Compression; got {_checks.describe(self.compression)}")

    def _integer(self, name: str, *, least: int) -> int:
        """Check a number that counts."""
        return _checks.integer(getattr(self, name), name, least=least, most=LARGEST)

    def _normalise(self, name: str, **limits: float) -> None:
        """Check a number and keep it as a float."""
        object.__setattr__(self, name, _checks.number(getattr(self, name), name, **limits))

    @property
    def n_stft(self) -> int:
        """Bins in a linear spectrum."""
        return self.n_fft // 2 + 1

    @property
    def pad(self) -> int:
        """Samples added before and after the audio."""
        return self.n_fft // 2 if self.center else self.padding

    def frames(self, samples: int) -> int:
        """How many frames `mel` makes of so many samples: at least one, by adding zeros."""
        return max(1, 1 + (samples + 2 * self.pad - self.n_fft) // self.hop_length - self.drop_last)

    def window_tensor(
        self, *, dtype: torch.dtype | None = None, device: torch.device | None = None
    ) -> Float[Tensor, " win_length"]:
        """The window, of win_length samples."""
        return WINDOWS[self.window](self.win_length or self.n_fft, dtype=dtype, device=device)

    def bank(
        self, *, dtype: torch.dtype | None = None, device: torch.device | None = None
    ) -> Float[Tensor, "n_stft n_mels"]:
        """The mel bank; unlike `mel_filter_bank`, with no warning of empty filters: conventions are given."""
        nyquist = self.sample_rate / 2
        f_max = nyquist if self.f_max is None else self.f_max
        bank = triangles(
            self.n_stft, self.n_mels, nyquist, self.f_min, f_max, self.norm == "slaney", self.mel_scale
        )
        return bank.to(dtype=dtype or torch.get_default_dtype(), device=device)

    def mel(self, audio: Tensor) -> Float[Tensor, "*batch n_mels time"]:
        """The mel spectrogram of audio, compressed as this spec stores it.

        Args:
            audio: (..., samples), at least one, at `sample_rate`. Half precision is computed in float32.

        Returns:
            (..., n_mels, time), in the audio's dtype.

        Raises:
            ValueError, TypeError: if audio is not floating point or has no samples.
        """
        _checks.floating(audio, "audio", rank=1)
        if audio.shape[-1] == 0:
            raise ValueError("audio must have at least one sample; got none")
        working = audio if audio.dtype in (torch.float32, torch.float64) else audio.float()
        return self.compression.compress(self._energies(working), power=self.power).to(audio.dtype)

    def decompress(self, mel: Tensor) -> Float[Tensor, "*batch n_mels time"]:
        """The mel energies (power 2) or magnitudes (power 1) behind stored values."""
        _checks.floating(mel, "mel", rank=2)
        if mel.shape[-2] != self.n_mels:
            hint = "; time first? use mel.mT" if mel.shape[-1] == self.n_mels else ""
            raise ValueError(f"mel must be (..., {self.n_mels}, time); got {_checks.describe(mel)}{hint}")
        return self.compression.expand(mel, power=self.power)

    def replace(self, **changes: Any) -> "MelSpec":
        """The same spec with some fields changed."""
        return replace(self, **changes)

    def spectra(self, audio: Tensor) -> Iterator[Complex[Tensor, "*batch n_stft frames"]]:
        """The short-time Fourier transform of (..., samples), at most BLOCK frames at a time."""
        window = self.window_tensor(dtype=audio.dtype, device=audio.device)
        frames = self.frames(audio.shape[-1])
        padded = self._padded(audio)
        padded = functional.pad(padded, (0, max(0, self.n_fft - padded.shape[-1])))
        rows = padded.reshape(math.prod(audio.shape[:-1]), padded.shape[-1])
        for start in range(0, frames, BLOCK):
            stop = min(start + BLOCK, frames)
            if not len(rows):  # an empty batch, which FFT libraries refuse
                yield padded.new_zeros(*audio.shape[:-1], self.n_stft, stop - start).to(
                    window.dtype.to_complex()
                )
                continue
            spectrum = torch.stft(
                rows[:, start * self.hop_length : (stop - 1) * self.hop_length + self.n_fft],
                self.n_fft,
                self.hop_length,
                self.win_length,
                window,
                center=False,
                return_complex=True,
            )
            yield spectrum.reshape(*audio.shape[:-1], self.n_stft, stop - start)

    def magnitude(self, audio: Tensor) -> Float[Tensor, "*batch n_stft time"]:
        """The magnitudes |STFT| of (..., samples): what the mels of `mel` summarise."""
        return torch.cat([spectrum.abs() for spectrum in self.spectra(audio)], -1)

    def _energies(self, audio: Tensor) -> Tensor:
        """(..., samples) -> (..., n_mels, time), uncompressed."""
        bank = self.bank(dtype=audio.dtype, device=audio.device).mT
        return torch.cat([bank @ self._powers(spectrum) for spectrum in self.spectra(audio)], -1)

    def _powers(self, spectrum: Tensor) -> Tensor:
        squared = spectrum.real.square() + spectrum.imag.square()
        if self.epsilon:
            squared = squared + self.epsilon
        return squared if self.power == 2 else squared.pow(self.power / 2)

    def _padded(self, audio: Tensor) -> Tensor:
        """The audio with `pad` samples on either side, however short it is."""
        samples = audio.shape[-1]
        before = torch.arange(-self.pad, 0, device=audio.device)
        after = torch.arange(samples, samples + self.pad, device=audio.device)
        return torch.cat([self._outside(audio, before), audio, self._outside(audio, after)], -1)

    def _outside(self, audio: Tensor, index: Tensor) -> Tensor:
        """What the padding holds at positions outside of the audio."""
        samples = audio.shape[-1]
        if self.pad_mode == "constant":
            return audio.new_zeros(*audio.shape[:-1], len(index))
        if self.pad_mode == "replicate":
            index = index.clamp(0, samples - 1)
        elif self.pad_mode == "circular" or samples == 1:
            index = index % samples
        else:  # a reflection bounces between the ends as often as it must
            index = index % (2 * samples - 2)
            index = torch.minimum(index, 2 * samples - 2 - index)
        return audio[..., index]

    @classmethod
    def from_file(cls, path: str | Path, *, base: "MelSpec | None" = None) -> "MelSpec":
        """Read a spec from JSON or YAML; see `inbounds.audio.specfile` for the spellings understood.

        Args:
            path: ends in .json, .yaml or .yml.
            base: what the file does not say; by default the conventions of the system whose spelling it has.
        """
        from inbounds.audio.specfile import read_spec

        return read_spec(path, base=base)
