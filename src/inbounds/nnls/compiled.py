"""The engine for the CPU: kernels over blocks of right-hand sides, one thread a block."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from inbounds._parallel import for_each_block
from inbounds.nnls.engine import Engine, Solved
from inbounds.nnls.scaled import gram

EPS = 2.0**-52
BLOCK = 8  # right-hand sides a thread takes at a time
SMALL_BLOCK = 64  # ... where one takes microseconds


def pivot(
    G: Float[Tensor, "g n n"],
    H: Float[Tensor, "g n n"],
    w: Float[Tensor, "c n"],
    low: Float[Tensor, "c n"],
    high: Float[Tensor, "c n"],
    tolerance: Float[Tensor, " c"],
    rows: Int[Tensor, " r"],
) -> Solved:
    """See Engine; begins with the variables that the unbounded step leaves inside the box."""
    from inbounds.nnls.kernels import pivoting

    whole = (w.unflatten(0, (G.shape[0], -1)) @ H).flatten(0, 1)
    side = torch.where(
        whole <= low, pivoting.LOWER, torch.where(whole >= high, pivoting.UPPER, pivoting.FREE)
    )
    d, nit = w.new_zeros(w.shape), torch.zeros(len(w), dtype=torch.int64)
    arrays = _arrays(G, H, w, whole, low, high, side.to(torch.int8), tolerance, d, nit, rows)
    for_each_block(lambda start, stop: pivoting.pivot_rows(*arrays, start, stop), len(rows), BLOCK)
    return d, nit


def solve_small(
    A: Float[Tensor, "g m n"],
    b: Float[Tensor, "g m k"],
    lower: Float[Tensor, "g n k"],
    upper: Float[Tensor, "g n k"],
    limits: tuple[float, float, int],
) -> tuple[Float[Tensor, "g n k"], Int[Tensor, "g k"], Float[Tensor, "g k"]]:
    """X, iterations and certificates of small problems with tall matrices; see kernels/tall.py."""
    from inbounds.nnls.kernels import tall

    g, n, k = lower.shape
    B, low, high = (value.double().mT.reshape(g * k, -1) for value in (b, lower, upper))
    matrix = A.double()
    x, nit, value = low.new_empty(low.shape), torch.zeros(g * k, dtype=torch.int64), low.new_empty(g * k)
    given, found = _arrays(matrix.mT, gram(matrix), B, low, high), _arrays(x, nit, value)
    for_each_block(lambda a, z: tall.solve_rows(*given, limits, *found, a, z), g * k, SMALL_BLOCK)
    return x.view(g, k, n).mT.to(b.dtype).contiguous(), nit.view(g, k), value.view(g, k)


def descend(
    A: Float[Tensor, "g m n"],
    b: Float[Tensor, "c m"],
    low: Float[Tensor, "c n"],
    high: Float[Tensor, "c n"],
    scale: Float[Tensor, " c"],
    rows: Int[Tensor, " r"],
) -> tuple[Float[Tensor, "c n"], Int[Tensor, " c"], Int[Tensor, " c"]]:
    """See Engine; begins at the point of the box nearest 0."""
    from inbounds.nnls.kernels import active_set

    if A.shape[-2] > A.shape[-1]:  # the triangle of A = QR has the same least squares, in n rows
        Q, A = torch.linalg.qr(A)
        b = (b.unflatten(0, (A.shape[0], -1)) @ Q).flatten(0, 1)
    y = low.new_zeros(low.shape).clamp(low, high)
    side = torch.where(
        y == low, active_set.LOWER, torch.where(y == high, active_set.UPPER, active_set.PARKED)
    )
    side = side.to(torch.int8).contiguous()
    nit = torch.zeros(len(y), dtype=torch.int64)
    arrays = _arrays(A.mT, b, low, high, side, 4 * EPS * scale, y, nit, rows)
    for_each_block(lambda start, stop: active_set.solve_rows(*arrays, start, stop), len(rows), BLOCK)
    return y, nit, (side == active_set.FREE).sum(-1)


def nearest(
    A: Float[Tensor, "g m n"],
    weight: Float[Tensor, "c n"],
    prior: Float[Tensor, "c n"],
    p: Float[Tensor, "c m"],
    steps: int,
    low: Float[Tensor, "c n"],
    high: Float[Tensor, "c n"],
    rows: Int[Tensor, " r"],
) -> Solved:
    """See Engine."""
    from inbounds.nnls.kernels import nearest as kernels

    diagonal = (weight.unflatten(0, (A.shape[0], -1)) @ A.square().mT).flatten(0, 1)
    diagonal = torch.where(diagonal > 0, diagonal, 1.0)
    y, nit = prior.clamp(low, high).contiguous(), torch.zeros(len(p), dtype=torch.int64)
    arrays = _arrays(A.mT, weight, prior, p, low, high, diagonal, y, nit)
    last = _arrays(rows)
    for_each_block(lambda a, z: kernels.nearest_rows(*arrays, steps, *last, a, z), len(rows), BLOCK)
    return y, nit


def project(
    R: Float[Tensor, "g m n"],
    weight: Float[Tensor, "c n"],
    prior: Float[Tensor, "c n"],
    y: Float[Tensor, "c n"],
    low: Float[Tensor, "c n"],
    high: Float[Tensor, "c n"],
    rows: Int[Tensor, " r"],
) -> Solved:
    """See Engine."""
    from inbounds.nnls.kernels import projection

    z, nit = y.clone(memory_format=torch.contiguous_format), torch.zeros(len(y), dtype=torch.int64)
    arrays = _arrays(R, weight, prior, low, high, z, nit, rows)
    for_each_block(lambda start, stop: projection.project_rows(*arrays, start, stop), len(rows), BLOCK)
    return z, nit


def _arrays(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    """As the kernels want them; what a kernel writes to is contiguous already, or a copy would get it."""
    return tuple(tensor.contiguous().numpy() for tensor in tensors)


ENGINE = Engine(pivot, descend, nearest, project)
