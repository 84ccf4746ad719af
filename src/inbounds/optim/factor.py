"""Cholesky factors of many small matrices at once, row by row of the batch, with no LAPACK call.

For the m × m blocks of the compact representation (m is about 10) a batched library call costs more than
its arithmetic; these few unrolled steps work on all rows together. A matrix that is not positive definite
gives NaN in its own factor and nowhere else.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def cholesky(matrix: Float[Tensor, "b k k"]) -> Float[Tensor, "b k k"]:
    """The lower triangular J with J Jᵀ = matrix; NaN where the matrix is not positive definite."""
    rest = matrix.clone()
    factor = torch.zeros_like(matrix)
    for j in range(matrix.shape[-1]):
        pivot = rest[:, j, j]
        root = torch.where(pivot > 0, pivot, torch.nan).sqrt()
        column = rest[:, j:, j] / root[:, None]
        factor[:, j:, j] = column
        rest[:, j:, j:] -= column[:, :, None] * column[:, None, :]
    return factor


def invert_lower(factor: Float[Tensor, "b k k"]) -> Float[Tensor, "b k k"]:
    """The inverse of a lower triangular matrix, by forward substitution."""
    inverse = torch.zeros_like(factor)
    for j in range(factor.shape[-1]):
        row = -(factor[:, j, None, :j] @ inverse[:, :j]).squeeze(1)
        row[:, j] += 1
        inverse[:, j] = row / factor[:, j, j, None]
    return inverse
