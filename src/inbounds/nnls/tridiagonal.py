"""Symmetric positive definite tridiagonal systems, many at once, in tensor operations."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad


def solve_tridiagonal(
    diagonal: Float[Tensor, "b m"], off: Float[Tensor, "b m"], right: Float[Tensor, "b m"]
) -> Float[Tensor, "b m"]:
    """Solve T x = right, where T has `diagonal` and, beside it, off[:, j] between rows j and j + 1.

    The last entry of `off` is not read. Parallel cyclic reduction: each of log₂ m rounds eliminates from every
    equation its two neighbours, which then stand twice as far apart. Every round is a Schur complement of a
    positive definite matrix, so no pivoting is needed.
    """
    m = diagonal.shape[-1]
    distance = 1
    upper = torch.cat([off[:, :-1], torch.zeros_like(off[:, -1:])], dim=-1)  # couples j to j + distance
    while distance < m:
        ahead = upper / pad(diagonal[:, distance:], (0, distance), value=1.0)
        behind = pad((upper / diagonal)[:, :-distance], (distance, 0))
        lower = pad(upper[:, :-distance], (distance, 0))
        right = right - ahead * pad(right[:, distance:], (0, distance)) - behind * pad(right[:, :-distance], (distance, 0))
        diagonal = diagonal - ahead * upper - behind * lower
        upper = -ahead * pad(upper[:, distance:], (0, distance))
        distance *= 2
    return right / diagonal
