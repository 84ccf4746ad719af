"""From a stored mel spectrogram to sound, in one call; long ones in pieces, with no seam (see joint.py)."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from inbounds import _checks
from inbounds.audio import start
from inbounds.audio.joint import Inversion, Refinement, Settings
from inbounds.audio.melspec import MelSpec
from inbounds.audio.presets import PRESETS
from inbounds.audio.recurrence import FastGriffinLim, Recurrence

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
        settings = Settings(self.spec, self.n_iter, self.refine, self.init, self.method)
        problem = Inversion(settings, time, length, compute, mel.device)
        seed = start.seeds(len(rows), generator)
        done = 0
        for core, context in problem.cuts():
            group = problem.rows_at_once(context)
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
