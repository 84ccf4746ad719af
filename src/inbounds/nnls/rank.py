"""The rank of a matrix whose entries are rounded: directions that rounding alone may have made are none."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

INDEPENDENT = 1e-12  # ratio of squared pivots under which rows may be dependent


def independent_rows(
    A: Float[Tensor, "g m n"], b: Float[Tensor, "c m"], eps: float
) -> tuple[Float[Tensor, "g r n"], Float[Tensor, "c r"]]:
    """R and p such that R y = p says what A y = b says: A itself if its rows are clearly independent."""
    factor, failed = torch.linalg.cholesky_ex(A @ A.mT)
    pivots = factor.diagonal(dim1=-2, dim2=-1).square()
    if ((failed == 0) & (pivots.amin(-1) > INDEPENDENT * pivots.amax(-1))).all():
        return A, b
    U, values, V = decomposition(A, eps)
    sound = values > 0
    inverse = torch.where(sound, 1.0 / torch.where(sound, values, 1.0), 0.0)
    right = (b.unflatten(0, (len(A), -1)) @ (U * inverse.unsqueeze(-2))).flatten(0, 1)
    return V * sound.unsqueeze(-1), right


def clear_rank(A: Float[Tensor, "g m n"], eps: float) -> Float[Tensor, "g m n"]:
    """A without the singular values that rounding to `eps` may have made."""
    U, values, V = decomposition(A, eps)
    return (U * values.unsqueeze(-2)) @ V


def decomposition(A: Float[Tensor, "g m n"], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """The singular values of A, those that are rounding set to zero, with their vectors.

    Independent rounding errors in the entries of n unit columns of length m have a norm of about
    (1 + √(n / m)) eps / 4; the decomposition itself errs by the largest value's last places.
    """
    U, values, V = torch.linalg.svd(A, full_matrices=False)
    m, n = A.shape[-2:]
    own = max(m, n) * torch.finfo(A.dtype).eps * values[..., :1]
    return U, torch.where(values > eps * (1 + math.sqrt(n / m)) + own, values, 0.0), V
