"""Mel-frequency cepstral coefficients, back to mel energies and to audio."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from inbounds import _checks
from inbounds.audio.compression import Compression
from inbounds.audio.melspec import MelSpec
from inbounds.audio.pipeline import checked_spec, mel_to_audio


def mfcc_to_mel(
    mfcc: Tensor,
    n_mels: int = 128,
    *,
    lifter: float = 0.0,
    reference: float = 1.0,
) -> Float[Tensor, "*batch n_mels time"]:
    """Mel energies from MFCCs: undo the lifter, the orthonormal DCT-II and the decibels.

    The coefficients left out (n_mfcc < n_mels) count zero, which smooths the spectrum over the bands. The
    answer is that of `librosa.feature.inverse.mfcc_to_mel`.

    Args:
        mfcc: (..., n_mfcc, time), at most `n_mels` coefficients, as `librosa.feature.mfcc` makes them.
        n_mels: mel bands.
        lifter: that of the forward transform, >= 0; 0 means none. A coefficient that it multiplied by zero
            is lost, and counts zero.
        reference: what 0 dB stood for in the forward transform, > 0.

    Returns:
        (..., n_mels, time), positive, in the dtype of `mfcc`.

    Raises:
        ValueError, TypeError: if an argument is out of its range.

    >>> mfcc = torch.zeros(13, 2)
    >>> mfcc[0] = -20 * 40**0.5  # 20 dB under the reference in all of 40 bands
    >>> mel = mfcc_to_mel(mfcc, 40)
    >>> mel.shape, round(mel[0, 0].item(), 6)
    (torch.Size([40, 2]), 0.01)
    """
    _checks.floating(mfcc, "mfcc", rank=2)
    _checks.integer(n_mels, "n_mels", least=1)
    lifter = _checks.number(lifter, "lifter", least=0.0)
    reference = _checks.number(reference, "reference", above=0.0)
    n_mfcc = mfcc.shape[-2]
    if n_mfcc > n_mels:
        raise ValueError(
            f"mfcc must have at most n_mels, {n_mels}, coefficients; got {_checks.describe(mfcc)}"
        )
    basis = _inverse_dct(n_mels, n_mfcc) / _lifter_weights(n_mfcc, lifter)
    basis[:, _lifter_weights(n_mfcc, lifter).abs() < 1e-9] = 0
    decibels = basis.to(mfcc) @ mfcc
    return reference * torch.exp(decibels * (math.log(10) / 10))


def mfcc_to_audio(
    mfcc: Tensor,
    spec: MelSpec | str = "librosa",
    *,
    lifter: float = 0.0,
    reference: float = 1.0,
    n_iter: int = 32,
    generator: torch.Generator | None = None,
    length: int | None = None,
) -> Float[Tensor, "..."]:
    """The sound of MFCCs: `mfcc_to_mel`, then `mel_to_audio`.

    Args:
        mfcc, lifter, reference: as in `mfcc_to_mel`.
        spec: how the mel energies were made, a `MelSpec` of power 2 or the name of one of `PRESETS`. Its
            compression is left out: that of MFCCs is decibels, always.
        n_iter, generator, length: as in `mel_to_audio`.

    Returns:
        (..., samples) at the spec's sample rate, in the dtype of `mfcc`.

    Raises:
        ValueError, TypeError: if an argument is out of its range.

    >>> mfcc_to_audio(torch.zeros(20, 10), n_iter=1, length=5000).shape
    torch.Size([5000])
    """
    spec = checked_spec(spec)
    if spec.power != 2:
        raise ValueError(f"spec.power must be 2, as MFCCs are made of energies; got {spec.power:g}")
    mel = mfcc_to_mel(mfcc, spec.n_mels, lifter=lifter, reference=reference)
    energies = spec.replace(compression=Compression())
    return mel_to_audio(mel, energies, n_iter=n_iter, generator=generator, length=length)


def _inverse_dct(n: int, kept: int) -> Float[Tensor, "n kept"]:
    """The transpose of the orthonormal DCT-II's first `kept` rows, in float64."""
    band = torch.arange(n, dtype=torch.float64)[:, None] + 0.5
    order = torch.arange(kept, dtype=torch.float64)
    basis = torch.cos(math.pi / n * band * order) * math.sqrt(2 / n)
    basis[:, 0] /= math.sqrt(2)
    return basis


def _lifter_weights(n: int, lifter: float) -> Float[Tensor, " n"]:
    """What the sinusoidal lifter multiplied each of n coefficients by."""
    if lifter == 0:
        return torch.ones(n, dtype=torch.float64)
    return 1 + lifter / 2 * torch.sin(math.pi / lifter * torch.arange(1, n + 1, dtype=torch.float64))
