"""How far a reconstruction is from the truth: the three figures quoted everywhere in this project.

All take magnitude spectrograms shaped (..., frequency, time) and give one figure an item of the batch,
computed in float64 where the input is float64 and in float32 otherwise. A NaN stays in its item.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from inbounds import _checks


def spectral_convergence(estimate: Tensor, reference: Tensor) -> Float[Tensor, "..."]:
    """Spectral convergence in decibels: 20 log10(‖estimate − reference‖ / ‖reference‖), lower is better.

    Args:
        estimate: magnitudes, (..., n_stft, time).
        reference: the true magnitudes, of the same shape.

    Returns:
        One figure an item: −inf where the estimate is exact (silence for silence included), +inf where
        the reference is silent and the estimate is not.

    Source: Sturmel and Daudet (2011), "Signal reconstruction from STFT magnitude: a state of the art".

    >>> spectral_convergence(torch.tensor([[1.1]]), torch.tensor([[1.0]])).round()
    tensor(-20.)
    """
    estimate, reference = _pair(estimate, reference)
    return relative_error_db(_norm(estimate - reference), _norm(reference))


def relative_error_db(error: Float[Tensor, "*batch"], total: Float[Tensor, "*batch"]) -> Float[Tensor, "..."]:
    """20 log10(error / total) of two norms, where nothing in nothing is exact: −inf."""
    return 20 * torch.log10(torch.where(error == 0, torch.zeros_like(error), error / total))


def log_spectral_distance(
    estimate: Tensor,
    reference: Tensor,
    *,
    floor: float = 80.0,
) -> Float[Tensor, "..."]:
    """Log-spectral distance in decibels: per frame the RMS over bins of the difference in dB, then the mean.

    Both spectrograms are raised to a common floor first: without one, a single zero bin outweighs all
    the others.

    Args:
        estimate: magnitudes, (..., n_stft, time).
        reference: the true magnitudes, of the same shape.
        floor: how many decibels under the reference item's maximum the floor lies, > 0.

    Returns:
        One figure an item; 0 for silence reconstructed as silence.

    Source: Gray and Markel (1976), "Distance measures for speech processing", with the floor added.

    >>> log_spectral_distance(torch.full((3, 5), 10.0), torch.ones(3, 5))
    tensor(20.)
    """
    estimate, reference = _pair(estimate, reference)
    floor = _checks.number(floor, "floor", above=0.0)
    if not reference.numel():
        return reference.new_zeros(reference.shape[:-2])
    lowest = reference.abs().amax(dim=(-2, -1), keepdim=True) * 10 ** (-floor / 20)
    lowest = lowest.clamp(min=torch.finfo(reference.dtype).tiny)  # a silent reference
    decibels = 20 * torch.log10(torch.maximum(estimate, lowest) / torch.maximum(reference, lowest))
    return decibels.square().mean(dim=-2).sqrt().mean(dim=-1)


def mel_residual(spectrogram: Tensor, mel: Tensor, filters: Tensor) -> Float[Tensor, "..."]:
    """Relative mel residual ‖A x − mel‖ / ‖mel‖ of a spectrogram x in the mel's own domain.

    Args:
        spectrogram: (..., n_stft, time), of the power the mel was made from: magnitudes for a magnitude
            mel, their squares for a power mel.
        mel: (..., n_mels, time).
        filters: the bank Aᵀ, (n_stft, n_mels), as `mel_filter_bank` gives it.

    Returns:
        One figure an item; 0 where both are silent, inf where only the mel is.

    >>> x, filters = torch.rand(7, 3), torch.rand(7, 2)
    >>> bool(mel_residual(x, filters.T @ x, filters) < 1e-6)
    True
    """
    spectrogram = _computable(_checks.floating(spectrogram, "spectrogram", rank=2))
    mel = _checks.floating(mel, "mel", rank=2).to(spectrogram.dtype)
    filters = _checks.floating(filters, "filters", rank=2).to(spectrogram.dtype)
    expected = (*spectrogram.shape[:-2], filters.shape[-1], spectrogram.shape[-1])
    if filters.shape[0] != spectrogram.shape[-2] or mel.shape != expected:
        raise ValueError(
            "spectrogram, mel and filters must be (..., n_stft, time), (..., n_mels, time) and "
            f"(n_stft, n_mels); got {tuple(spectrogram.shape)}, {tuple(mel.shape)} and {tuple(filters.shape)}"
        )
    error, total = _norm(filters.mT @ spectrogram - mel), _norm(mel)
    return torch.where(error == 0, torch.zeros_like(error), error / total)


def _pair(estimate: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    estimate = _checks.floating(estimate, "estimate", rank=2)
    reference = _checks.floating(reference, "reference", rank=2)
    if estimate.shape != reference.shape:
        raise ValueError(
            f"estimate must have the shape of reference, {tuple(reference.shape)}; "
            f"got {_checks.describe(estimate)}"
        )
    dtype = torch.promote_types(estimate.dtype, reference.dtype)
    return _computable(estimate.to(dtype)), _computable(reference.to(dtype))


def _computable(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=(-2, -1))
