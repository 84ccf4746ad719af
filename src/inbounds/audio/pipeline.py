"""From a stored mel spectrogram to sound, in one call: magnitudes and phases found together.

First the mel is inverted to the magnitudes nearest a smooth envelope, and once more with the partials that
stand alone in their places. Then phase iterations run, and in some of them the magnitudes are replaced by
those nearest to the ones the signal has come to, among all that meet the mel exactly. So what the phases
reveal (where the harmonics lie, which frames belong together) reaches the magnitudes, and better magnitudes
reach the phases.

Long spectrograms are worked on in pieces. A sweep carries information no further than a frame reaches,
so a piece with enough frames on either side comes out as it would within the whole: no seam, and no
cross-fade to hide one.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from inbounds import _checks
from inbounds.audio import start
from inbounds.audio.frames import make_framing
from inbounds.audio.inverse import inverse_mel_scale
from inbounds.audio.melspec import MelSpec
from inbounds.audio.partials import lobes, lone_partials
from inbounds.audio.phase import mark_broken, scaled
from inbounds.audio.presets import PRESETS
from inbounds.audio.recurrence import FastGriffinLim, Recurrence, Refine, retrieve
from inbounds.audio.sweep import block_frames, sweep_for

# Numbers in the magnitudes of a piece: 32 MiB of float32, of which about ten such arrays are needed.
PIECE = 2**23


@dataclass(frozen=True)
class Refinement:
    """When the magnitudes are replaced by the nearest to the signal's that meet the mel, and what is nearest.

    The defaults are what won over clips, powers and seeds; bench/sound.py compares schedules.

    Attributes:
        start: the first sweep before which they are, ≥ 1.
        every: they are again before each so many sweeps, ≥ 1.
        trace: this share of the first, smooth energies is added to the signal's, ≥ 0. Without it a bin that
            was once silent all but stays so, for distances are relative, and valleys grow too deep.
    """

    start: int = 4
    every: int = 3
    trace: float = 0.04

    def __post_init__(self) -> None:
        _checks.integer(self.start, "start", least=1)
        _checks.integer(self.every, "every", least=1)
        _checks.number(self.trace, "trace", least=0.0)

    def due(self, sweep: int) -> bool:
        """Whether the magnitudes are replaced before this sweep, the first being 1."""
        return sweep >= self.start and (sweep - self.start) % self.every == 0


REFINEMENT = Refinement()


def mel_to_audio(
    mel: Tensor,
    spec: MelSpec | str,
    *,
    n_iter: int = 32,
    refine: Refinement | None = REFINEMENT,
    init: str = "pghi",
    generator: torch.Generator | None = None,
    length: int | None = None,
) -> Float[Tensor, "..."]:
    """The sound of a mel spectrogram.

    Args:
        mel: (..., n_mels, time), as the spec stores it: logarithms are undone.
        spec: a `MelSpec`, or the name of one of `PRESETS`.
        n_iter: sweeps of fast Griffin-Lim, ≥ 0. 64 sound a little better.
        refine: when the magnitudes are refined along with the phases; None keeps the first ones.
        init: the first phases: "pghi" (integrated from the magnitudes' gradients), "random" or "zeros".
        generator: source of the random phases, which "pghi" too gives to the quietest bins; the same
            seed gives the same sound, whatever the pieces and the number of threads.
        length: samples of the sound; cut, or padded with zeros, to that. Without it, the shortest sound
            the spec gives so many frames for.

    Returns:
        (..., samples) at the spec's sample rate, in mel's dtype.

    A frame with a NaN or an infinity counts as silent, and all samples under it come back NaN. Memory is
    that of the result and of one piece, some 0.3 GiB, however long the spectrogram; `MelToAudio.pieces`
    does without the result.

    Raises:
        ValueError, TypeError: for a mel of another number of bands than the spec's, and options out of range.

    >>> import inbounds.audio
    >>> spec = inbounds.audio.MelSpec(16000, n_fft=512, hop_length=128, n_mels=40, power=1.0)
    >>> tone = torch.sin(torch.arange(8000) * 0.2)
    >>> mel_to_audio(spec.mel(tone), spec, n_iter=4, length=8000).shape
    torch.Size([8000])
    """
    module = MelToAudio(spec, n_iter=n_iter, refine=refine, init=init)
    return module(mel, generator=generator, length=length)


class MelToAudio(nn.Module):
    """`mel_to_audio` with everything but the mel settled beforehand.

    Args:
        spec, n_iter, refine, init: as in `mel_to_audio`.
        method: another phase iteration than fast Griffin-Lim, one of `inbounds.audio.recurrence`.

    Shape: (..., n_mels, time) → (..., samples). The module holds no tensors: it works on the mel's device
    and in the mel's precision.

    >>> sound = MelToAudio("whisper", n_iter=2)(torch.zeros(80, 10))
    >>> sound.shape
    torch.Size([1600])
    """

    def __init__(
        self,
        spec: MelSpec | str,
        *,
        n_iter: int = 32,
        refine: Refinement | None = REFINEMENT,
        init: str = "pghi",
        method: Recurrence | None = None,
    ) -> None:
        super().__init__()
        self.spec = checked_spec(spec)
        self.n_iter = _checks.integer(n_iter, "n_iter", least=0)
        if refine is not None and not isinstance(refine, Refinement):
            raise TypeError(f"refine must be None or a Refinement; got {_checks.describe(refine)}")
        if method is not None and not isinstance(method, Recurrence):
            raise TypeError(f"method must be None or a Recurrence; got {_checks.describe(method)}")
        self.refine = refine
        self.init = str(_checks.choice(init, "init", start.STARTS))
        self.method = FastGriffinLim() if method is None else method

    def forward(
        self, mel: Tensor, *, generator: torch.Generator | None = None, length: int | None = None
    ) -> Tensor:
        """The sound of a mel spectrogram (..., n_mels, time) stored as the spec says."""
        return torch.cat(list(self.pieces(mel, generator=generator, length=length)), dim=-1)

    def pieces(
        self, mel: Tensor, *, generator: torch.Generator | None = None, length: int | None = None
    ) -> Iterator[Float[Tensor, "..."]]:
        """The same sound piece after piece, each (..., samples), the last one perhaps of no samples.

        Args:
            mel: as for the module. It may be memory-mapped: each frame is read about once.
            generator, length: as in `mel_to_audio`.
        """
        mel = _checks.floating(mel, "mel", rank=2)
        spec = self.spec
        if mel.shape[-2] != spec.n_mels:
            hint = "; time first? use mel.mT" if mel.shape[-1] == spec.n_mels else ""
            raise ValueError(f"mel must be (..., {spec.n_mels}, time); got {_checks.describe(mel)}{hint}")
        if length is not None:
            length = _checks.integer(length, "length", least=0)
        return self._pieces(mel, generator, length)

    def _pieces(self, mel: Tensor, generator: torch.Generator | None, length: int | None) -> Iterator[Tensor]:
        batch, time = mel.shape[:-2], mel.shape[-1]
        if not mel.numel():
            yield mel.new_zeros(*batch, length or 0)
            return
        compute = torch.float32 if mel.dtype.itemsize < 4 else mel.dtype
        rows = mel.reshape(-1, *mel.shape[-2:])
        problem = _Problem(self, time, length, compute, mel.device)
        seed = start.seeds(len(rows), generator)
        done = 0
        for core, context in problem.cuts():
            group = max(1, PIECE // ((context.stop - context.start) * self.spec.n_stft))
            sounds = [
                problem.solve(rows[low : low + group, :, context], seed[low : low + group], core, context)
                for low in range(0, len(rows), group)
            ]
            sound = torch.cat(sounds)
            sound = sound if length is None else sound[:, : length - done]
            done += sound.shape[1]
            yield sound.reshape(*batch, sound.shape[1]).to(mel.dtype)
            if done == length:
                return
        if length is not None and done < length:
            yield mel.new_zeros(*batch, length - done)


class _Problem:
    """One spectrogram's inversion: what its pieces share."""

    def __init__(
        self, module: MelToAudio, time: int, length: int | None, dtype: torch.dtype, device: torch.device
    ) -> None:
        spec = module.spec
        self.module, self.spec, self.time = module, spec, time
        self.bank = spec.bank(dtype=dtype, device=device)
        self.heard = self.bank.sum(dim=1) > 0
        self.lobes = lobes(spec).to(self.bank)
        window = spec.window_tensor(dtype=dtype, device=device)
        self.framing = make_framing(window, spec.n_fft, spec.hop_length, spec.pad, spec.pad_mode)
        if length is None:  # a frame that was dropped has its samples all the same
            length = self.framing.samples(time, None) + spec.drop_last * spec.hop_length
        self.length = self.framing.samples(time, length)

    def cuts(self) -> Iterator[tuple[slice, slice]]:
        """The pieces, as frames: those a piece answers for, and those it must look at for that.

        Each sweep, and the first synthesis, carries information as far as frames overlap. Pieces and what
        they look at begin and end where the blocks of sweeps and of first phases do, so that every sum is
        formed in the same order as in the whole.
        """
        unit = max(block_frames(self.spec.n_fft, self.spec.hop_length), start.BLOCK)
        margin = _round_up((self.module.n_iter + 2) * (self.framing.reach + 1), unit)
        size = max(_round_up(PIECE // self.spec.n_stft, unit), margin)
        if self.spec.pad_mode == "circular":  # its first and its last frames are neighbours
            size = self.time
        for first in range(0, self.time, size):
            last = min(first + size, self.time)
            yield slice(first, last), slice(max(first - margin, 0), min(last + margin, self.time))

    def solve(
        self, mel: Float[Tensor, "b n_mels time"], seed: Int[Tensor, " b"], core: slice, context: slice
    ) -> Float[Tensor, "b samples"]:
        """The sound of the core's frames, from the mel of all the context's."""
        mel = self.spec.decompress(mel.to(self.bank.dtype)).mT
        broken = ~mel.sum(dim=-1).isfinite()
        mel = torch.where(broken[..., None], 0.0, mel).contiguous()
        frames = self.framing.frames(self.time, length=self.length, first=context.start, last=context.stop)
        sweep = sweep_for(frames, differentiable=mel.requires_grad)
        energy = self.invert(mel, "envelope")
        tones, rest = lone_partials(energy, mel, self.lobes)
        energy = self.invert(mel, tones + rest)
        magnitude, gain = scaled(self.magnitude(energy))
        spectrum = start.first_spectrum(magnitude, self.module.init, self.framing, seed, context.start)
        refine = self.refinement(mel, rest, gain[..., None])
        timeline = retrieve(sweep, self.module.method, spectrum, magnitude, self.module.n_iter, refine=refine)
        timeline = mark_broken(timeline * gain, frames, broken)
        low, high = (self.boundary(frame) - frames.start for frame in (core.start, core.stop))
        return timeline[:, max(low, frames.interior.start) : min(high, frames.interior.stop)]

    def boundary(self, frame: int) -> int:
        """The signal's sample where the frames before this one hand over to it."""
        if frame == self.time:
            return self.length
        return frame * self.spec.hop_length - self.spec.pad + self.spec.n_fft // 2 if frame else 0

    def refinement(
        self,
        mel: Float[Tensor, "b time n_mels"],
        rest: Float[Tensor, "b time n_stft"],
        gain: Float[Tensor, "b 1 1"],
    ) -> Refine | None:
        """What `retrieve` asks before each sweep.

        `rest` is what `lone_partials` left, `gain` what the magnitudes were divided by for `retrieve`.
        """
        schedule = self.module.refine
        if schedule is None:
            return None

        def nearest(current: Tensor, rows: slice, frames: slice) -> Tensor:
            energy = self.energy(current * gain[rows])
            prior = torch.add(energy, rest[rows, frames], alpha=schedule.trace)
            return self.magnitude(self.invert(mel[rows, frames], prior)) / gain[rows]

        return lambda sweep: nearest if schedule.due(sweep) else None

    def invert(
        self, mel: Float[Tensor, "b time n_mels"], prior: str | Float[Tensor, "b time n_stft"]
    ) -> Float[Tensor, "b time n_stft"]:
        """The spectra that meet the mel and are nearest the prior."""
        # A bin no band hears would keep whatever the prior has: nothing would ever hold it back.
        given = prior if isinstance(prior, str) else (prior * self.heard).mT
        return inverse_mel_scale(mel.mT, self.bank, prior=given).mT.contiguous()

    def magnitude(self, energy: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Magnitudes behind what the bank sums up, (|S|² + ε)^(power / 2)."""
        if not self.spec.epsilon:
            return _power(energy, 1 / self.spec.power)
        return (_power(energy, 2 / self.spec.power) - self.spec.epsilon).clamp(min=0.0).sqrt()

    def energy(self, magnitude: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """What the bank sums up."""
        if not self.spec.epsilon:
            return _power(magnitude, self.spec.power)
        return _power(magnitude.square() + self.spec.epsilon, self.spec.power / 2)


def checked_spec(spec: object) -> MelSpec:
    """A MelSpec, from itself or from a preset's name; refuses everything else."""
    if isinstance(spec, str):
        return PRESETS[str(_checks.choice(spec, "spec", PRESETS))]
    if not isinstance(spec, MelSpec):
        raise TypeError(f"spec must be a MelSpec or the name of a preset; got {_checks.describe(spec)}")
    if spec.hop_length > (spec.win_length or spec.n_fft):
        raise ValueError(
            f"spec.hop_length must be at most its window, {spec.win_length or spec.n_fft} samples, "
            f"for the frames to make a sound; got {spec.hop_length}"
        )
    return spec


def _power(x: Tensor, exponent: float) -> Tensor:
    if exponent == 1:
        return x
    if exponent == 2:
        return x.square()
    return x.sqrt() if exponent == 0.5 else x.pow(exponent)


def _round_up(count: int, block: int) -> int:
    return math.ceil(count / block) * block
