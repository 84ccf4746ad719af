"""Triangular mel filter banks."""

import math
import warnings

import torch
from jaxtyping import Float
from torch import Tensor

from inbounds import _checks

# Slaney's scale is linear below 1 kHz (a mel is 200/3 Hz) and logarithmic above (27 mels are a factor 6.4).
_SLANEY_HZ = 200.0 / 3.0
_SLANEY_KNEE_HZ = 1000.0
_SLANEY_KNEE = _SLANEY_KNEE_HZ / _SLANEY_HZ
_SLANEY_STEP = math.log(6.4) / 27.0

# A bin exactly on a filter's edge has weight 0; rounding must not make it a third filter's bin.
_ON_THE_EDGE = 1e-11


def mel_filter_bank(
    n_stft: int,
    n_mels: int,
    sample_rate: float,
    *,
    f_min: float = 0.0,
    f_max: float | None = None,
    norm: str | None = None,
    mel_scale: str = "htk",
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Float[Tensor, "n_stft n_mels"]:
    """Triangular filters equally spaced in mel: mel = bankᵀ @ spectrum.

    Args:
        n_stft: bins of the spectrum, n_fft // 2 + 1; the last one stands at sample_rate / 2.
        n_mels: filters.
        sample_rate: in Hz, > 0; may be odd.
        f_min: lower edge of the first filter in Hz, ≥ 0.
        f_max: upper edge of the last filter in Hz, ≤ sample_rate / 2, which None stands for.
        norm: None gives every filter the peak 1, "slaney" the area 1 (weights in 1/Hz).
        mel_scale: "htk" (2595 log₁₀(1 + f/700)) or "slaney" (linear below 1 kHz, logarithmic above).
        dtype: of the result, torch's default if None; the weights are computed in float64.
        device: of the result.

    Raises:
        ValueError, TypeError: if an argument is out of range.

    Warns:
        UserWarning: if filters are empty or the bank's rank is below n_mels, so that some mel spectrograms
            have no exact spectrum.

    Source: Young et al., The HTK Book; Slaney (1998), Auditory Toolbox. Agrees with librosa.filters.mel,
    whose result is the transpose, to 1e-6.

    >>> mel_filter_bank(513, 80, 22050.0).shape
    torch.Size([513, 80])
    """
    n_stft = _checks.integer(n_stft, "n_stft", least=2)
    n_mels = _checks.integer(n_mels, "n_mels", least=1)
    nyquist = _checks.number(sample_rate, "sample_rate", above=0.0) / 2
    f_min = _checks.number(f_min, "f_min", least=0.0)
    f_max = nyquist if f_max is None else _checks.number(f_max, "f_max", above=0.0, most=nyquist)
    if f_min >= f_max:
        raise ValueError(f"f_min must be less than f_max; got f_min {f_min:g} and f_max {f_max:g}")
    _checks.choice(norm, "norm", (None, "slaney"))
    scale = _checks.choice(mel_scale, "mel_scale", ("htk", "slaney"))
    if dtype is not None and not dtype.is_floating_point:
        raise TypeError(f"dtype must be a real floating-point dtype; got {dtype}")

    bank = triangles(n_stft, n_mels, nyquist, f_min, f_max, norm == "slaney", str(scale))
    _warn_if_deficient(bank)
    return bank.to(dtype=dtype or torch.get_default_dtype(), device=device)


def triangles(
    n_stft: int, n_mels: int, nyquist: float, f_min: float, f_max: float, unit_area: bool, scale: str
) -> Float[Tensor, "n_stft n_mels"]:
    """The bank in float64, its arguments trusted and its rank not looked at (which takes longest)."""
    bins = torch.linspace(0.0, nyquist, n_stft, dtype=torch.float64)
    mels = torch.linspace(hz_to_mel(f_min, scale), hz_to_mel(f_max, scale), n_mels + 2, dtype=torch.float64)
    edges = _mel_to_hz(mels, scale)
    widths = edges.diff()
    rising = (bins[:, None] - edges[:-2]) / widths[:-1]
    falling = (edges[2:] - bins[:, None]) / widths[1:]
    bank = torch.minimum(rising, falling)
    bank = torch.where(bank > _ON_THE_EDGE, bank, 0.0)
    return bank * (2.0 / (edges[2:] - edges[:-2])) if unit_area else bank


def hz_to_mel(frequency: float, scale: str) -> float:
    """The mel of a frequency in Hz, scale "htk" or "slaney".

    >>> round(hz_to_mel(1000.0, "slaney"), 9)
    15.0
    """
    if scale == "htk":
        return 2595.0 * math.log10(1.0 + frequency / 700.0)
    if frequency < _SLANEY_KNEE_HZ:
        return frequency / _SLANEY_HZ
    return _SLANEY_KNEE + math.log(frequency / _SLANEY_KNEE_HZ) / _SLANEY_STEP


def _mel_to_hz(mels: Float[Tensor, " n"], scale: str) -> Float[Tensor, " n"]:
    if scale == "htk":
        return 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    above = _SLANEY_KNEE_HZ * torch.exp(_SLANEY_STEP * (mels - _SLANEY_KNEE))
    return torch.where(mels < _SLANEY_KNEE, mels * _SLANEY_HZ, above)


def _warn_if_deficient(bank: Float[Tensor, "n_stft n_mels"]) -> None:
    n_stft, n_mels = bank.shape
    # Columns are brought to one length first: a filter's norm says nothing about its independence.
    lengths = torch.linalg.vector_norm(bank, dim=0)
    empty = torch.nonzero(lengths == 0).flatten().tolist()
    rank = int(torch.linalg.matrix_rank(bank / lengths.clamp(min=torch.finfo(bank.dtype).tiny)))
    if rank == n_mels:
        return
    named = ", ".join(map(str, empty[:8])) + (", …" if len(empty) > 8 else "")
    holds = f"{len(empty)} of them empty ({named})" if empty else "none of them empty"
    warnings.warn(
        f"the mel bank has rank {rank} with {n_mels} filters, {holds}: filters narrower than the "
        f"{n_stft} bins' spacing share their bins. Use fewer filters or a longer n_fft to tell them apart.",
        stacklevel=3,
    )
