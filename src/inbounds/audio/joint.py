"""Magnitudes and phases found together, for one piece of a mel spectrogram at a time.

First the mel is inverted to the magnitudes nearest a smooth envelope, and once more with the partials that
stand alone in their places. Then phase iterations run, and in some of them the magnitudes are replaced by
those nearest to the ones the signal has come to, among all that meet the mel exactly. So what the phases
reveal (where the harmonics lie, which frames belong together) reaches the magnitudes, and better magnitudes
reach the phases.

A sweep carries information no further than a frame reaches, so a piece with enough frames on either side
comes out as it would within the whole: no seam, and no cross-fade to hide one.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from inbounds import _checks
from inbounds.audio import start
from inbounds.audio.frames import make_framing
from inbounds.audio.inverse import inverse_mel_scale
from inbounds.audio.melspec import MelSpec
from inbounds.audio.partials import lobes, lone_partials, tones_and_rest
from inbounds.audio.phase import mark_broken, scaled
from inbounds.audio.recurrence import Recurrence, Refine, retrieve
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


class Settings(NamedTuple):
    """What a `MelToAudio` was given."""

    spec: MelSpec
    n_iter: int
    refine: Refinement | None
    init: str
    method: Recurrence


class Inversion:
    """One spectrogram's inversion: what its pieces share."""

    def __init__(
        self, settings: Settings, time: int, length: int | None, dtype: torch.dtype, device: torch.device
    ) -> None:
        spec = settings.spec
        self.settings, self.spec, self.time = settings, spec, time
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
        margin = _round_up((self.settings.n_iter + 2) * (self.framing.reach + 1), unit)
        size = max(_round_up(PIECE // self.spec.n_stft, unit), margin)
        if self.spec.pad_mode == "circular":  # its first and its last frames are neighbours
            size = self.time
        for first in range(0, self.time, size):
            last = min(first + size, self.time)
            yield slice(first, last), slice(max(first - margin, 0), min(last + margin, self.time))

    def rows_at_once(self, context: slice) -> int:
        """How many spectrograms of a batch are worked on together, with so many frames each."""
        return max(1, PIECE // ((context.stop - context.start) * self.spec.n_stft))

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
        tones, rest = tones_and_rest(energy, lone_partials(mel, self.lobes), self.lobes)
        energy = self.invert(mel, tones + rest)
        magnitude, gain = scaled(self.magnitude(energy))
        spectrum = start.first_spectrum(magnitude, self.settings.init, self.framing, seed, context.start)
        refine = self.refinement(mel, rest, gain[..., None])
        method, n_iter = self.settings.method, self.settings.n_iter
        timeline = retrieve(sweep, method, spectrum, magnitude, n_iter, refine=refine)
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

        `rest` is what partials left of the smooth spectrum, `gain` what the magnitudes `retrieve` works with
        are to be multiplied by.
        """
        schedule = self.settings.refine
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


def _power(x: Tensor, exponent: float) -> Tensor:
    if exponent == 1:
        return x
    if exponent == 2:
        return x.square()
    return x.sqrt() if exponent == 0.5 else x.pow(exponent)


def _round_up(count: int, block: int) -> int:
    return math.ceil(count / block) * block
