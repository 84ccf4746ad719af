"""Symmetric positive definite tridiagonal systems, many at once, in tensor operations."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad


def solve_tridiagonal(
    diagonal: Float[Tensor, "b m"],
    beside: Float[Tensor, "b m"],
    right: Float[Tensor, "b m"],
    least: Float[Tensor, "b m"],
) -> Float[Tensor, "b m"]:
    """Solve T x = right, where T has `diagonal` and, between the rows j and j + 1, beside[:, j].

    The last entry of `beside` is not read. Pivots under `least`, of rows that depend on the others, are
    lifted to it.

    Cyclic reduction: the odd rows are eliminated at once, the even ones are a tridiagonal system of half the
    size. This is Cholesky's elimination in another order, and as stable.
    """
    m = diagonal.shape[-1]
    if m == 1:
        return right / torch.maximum(diagonal, least)
    odd = m // 2
    pivot, right_odd = diagonal[:, 1::2], right[:, 1::2]
    pivot = torch.maximum(pivot, least[:, 1::2])
    before = beside[:, 0::2][:, :odd]  # couples an odd row to the even one before it,
    after = beside[:, 1 : m - 1 : 2]  # and to the one after it; the last odd row may have none
    after = pad(after, (0, odd - after.shape[-1]))
    to_before, to_after = before / pivot, after / pivot

    def gather(at_before: Tensor, at_after: Tensor) -> Tensor:
        """What the odd rows give to the even rows at their two sides."""
        even = m - odd
        return pad(at_before, (0, even - odd)) + pad(at_after, (1, 0))[:, :even]

    x_even = solve_tridiagonal(
        diagonal[:, 0::2] - gather(to_before * before, to_after * after),
        pad(-to_before * after, (0, m - 2 * odd)),
        right[:, 0::2] - gather(to_before * right_odd, to_after * right_odd),
        least[:, 0::2],
    )
    x_after = pad(x_even[:, 1:], (0, 1))[:, :odd]
    x_odd = right_odd / pivot - to_before * x_even[:, :odd] - to_after * x_after
    return torch.stack([x_even, pad(x_odd, (0, m - 2 * odd))], dim=-1).flatten(1)[:, :m]
