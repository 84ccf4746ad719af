"""The prior spectrum x₀ that chooses among the optima, made from the right-hand side itself."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Levels further under the frame's loudest band are lifted to it: x₀² must stay a float32.
FLOOR = 1e-10
# A given prior that counts relatively is lifted to this part of the envelope: a bin at zero could never
# sound.
LIFT = 1e-3


def levels(matrix: Float[Tensor, "m n"], b: Float[Tensor, "b m"]) -> Float[Tensor, "b m"]:
    """The flat spectrum each band alone would need, b[j] / Σ A[j, :], with a floor."""
    sums = matrix.sum(dim=1)
    level = torch.where(sums > 0.0, b / torch.where(sums > 0.0, sums, 1.0), 0.0)
    floor = (FLOOR * level.detach().amax(dim=1, keepdim=True)).clamp(min=torch.finfo(b.dtype).tiny)
    return torch.maximum(level, floor)


def envelope(
    matrix: Float[Tensor, "m n"],
    b: Float[Tensor, "b m"],
    left: Int[Tensor, " n"],
    right: Int[Tensor, " n"],
    fraction: Float[Tensor, " n"],
) -> Float[Tensor, "b n"]:
    """Geometric interpolation of the levels between the bands' centres; zero in columns without a band."""
    log_level = levels(matrix, b).log()
    low, high = log_level[:, left], log_level[:, right]
    return torch.exp(low + fraction * (high - low)) * (matrix.sum(dim=0) > 0.0)


def envelope_transposed(
    matrix: Float[Tensor, "m n"],
    b: Float[Tensor, "b m"],
    left: Int[Tensor, " n"],
    right: Int[Tensor, " n"],
    fraction: Float[Tensor, " n"],
    grad_log: Float[Tensor, "b n"],
) -> Float[Tensor, "b m"]:
    """From the gradient for log(envelope) to that for b (0 for levels at the floor)."""
    grad_level = torch.zeros_like(b).index_add(1, left, grad_log * (1.0 - fraction))
    grad_level = grad_level.index_add(1, right, grad_log * fraction)
    above = b > levels(matrix, b) * matrix.sum(dim=1) * (1.0 - 1e-3)
    return torch.where(above & (b > 0.0), grad_level / torch.where(b > 0.0, b, 1.0), 0.0)


def mean_level(matrix: Float[Tensor, "m n"], b: Float[Tensor, "b m"]) -> Float[Tensor, "b n"]:
    """The frame's mean level in every column that touches a band: the flat prior of "kl" and "is"."""
    mean = b.clamp(min=0.0).sum(dim=1, keepdim=True) / matrix.sum()
    return mean * (matrix.sum(dim=0) > 0.0)


def mean_level_transposed(
    matrix: Float[Tensor, "m n"], b: Float[Tensor, "b m"], grad_prior: Float[Tensor, "b n"]
) -> Float[Tensor, "b m"]:
    """The gradient of `mean_level` with respect to b."""
    total = (grad_prior * (matrix.sum(dim=0) > 0.0)).sum(dim=1, keepdim=True) / matrix.sum()
    return total * (b > 0.0)
