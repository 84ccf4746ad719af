"""The inexact ways others invert a mel spectrogram, for comparison: least squares clamped at zero, and SGD.

All take mel (*batch, n_mels, time) and filters (n_stft, n_mels) of one floating-point dtype and return
(*batch, n_stft, time), non-negative.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def clamped_lstsq(
    mel: Float[Tensor, "*batch n_mels time"], filters: Float[Tensor, "n_stft n_mels"]
) -> Float[Tensor, "*batch n_stft time"]:
    """Relu of the minimum-norm least-squares solution, solved anew: torchaudio's way since 2.1.

    By the singular value decomposition (driver "gelsd"), because the default "gels" fails on banks without
    full rank; where PyTorch has no such driver, through the pseudo-inverse.
    """
    if mel.device.type != "cpu":  # pragma: cuda
        return clamped_pinv(mel, filters)
    columns = mel.movedim(-2, 0)
    solution = torch.linalg.lstsq(filters.mT, columns.flatten(1), driver="gelsd").solution
    return solution.clamp(min=0.0).reshape(-1, *columns.shape[1:]).movedim(0, -2)


def clamped_pinv(
    mel: Float[Tensor, "*batch n_mels time"], filters: Float[Tensor, "n_stft n_mels"]
) -> Float[Tensor, "*batch n_stft time"]:
    """clamp(pinv(A) @ mel), librosa's first guess and most vocoder repositories' answer."""
    return (torch.linalg.pinv(filters.mT) @ mel).clamp(min=0.0)


def sgd(
    mel: Float[Tensor, "*batch n_mels time"],
    filters: Float[Tensor, "n_stft n_mels"],
    *,
    max_iter: int = 100_000,
    tolerance_loss: float = 1e-5,
    tolerance_change: float = 1e-8,
    sgdargs: Mapping[str, Any] | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*batch n_stft time"]:
    """Projected stochastic gradient descent from a uniform random start: torchaudio's way until 2.0.

    The loss is the squared error summed over mels and averaged over frames; it stops as a whole, when the
    loss or its change falls below its tolerance. No gradient flows through it.
    """
    settings = {"lr": 0.1, "momentum": 0.9, **(sgdargs or {})}
    mel, filters = mel.detach(), filters.detach()
    with torch.inference_mode(False), torch.enable_grad():
        shape = (*mel.shape[:-2], filters.shape[0], mel.shape[-1])
        start = torch.rand(shape, dtype=mel.dtype, device=mel.device, generator=generator)
        x = start.requires_grad_()
        target, bank = mel.clone(), filters.clone()
        optimizer = torch.optim.SGD([x], **settings)
        before = float("inf")
        for _ in range(max_iter if x.numel() else 0):
            optimizer.zero_grad()
            loss = (target - bank.mT @ x).square().sum(dim=-2).mean()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                x.clamp_(min=0.0)
            now = loss.item()
            if now < tolerance_loss or abs(before - now) < tolerance_change:
                break
            before = now
    return x.detach()
