"""The certificate: how far a point is from satisfying the optimality conditions, free of any scale."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from inbounds.nnls.checks import bounds_of, problem

ROUNDING = 8.0  # in units of the last place of what is summed: a distance that is no more is none


def kkt_residual(
    A: Float[Tensor, "*batch_A m n"],
    b: Float[Tensor, "*batch_b"],
    x: Float[Tensor, "*batch_x"],
    *,
    bounds: Any = (0.0, None),
) -> Float[Tensor, "*columns"]:
    """How far x is from min ‖Ax - b‖ over x >= 0 (or over a box): 0 exactly at an optimum.

    With D the column norms of A and g = D⁻¹Aᵀ(Ax - b) the gradient to D x, the value of a column is

        ‖min(D x, g)‖∞ / ‖D⁻¹Aᵀb‖∞,

    and for a box its projected-gradient form ‖D x - P(D x - g)‖∞ over the larger of ‖D⁻¹Aᵀb‖∞ and the same
    of A p, p the point of the box nearest 0 (which is 0 for x >= 0). It does not change when b, all of A, or
    one of its columns is scaled, bounds and x along with them. A numerator that may
    be rounding alone, up to 8 eps ‖|A||x| + |b|‖₂, counts zero, as where b is orthogonal to the columns; but
    no more than eps^¼ ‖|b| + |A p|‖₂ is forgiven, however large x. Zero columns count zero; where the
    denominator is zero, the value is 0 at an optimum and inf elsewhere. A NaN stays in its column.

    Args:
        A: (m, n), or (*batch, m, n).
        b: (m,), or (*batch, m, k): k right-hand sides.
        x: the points, (n,) or (*batch, n, k).
        bounds: (lower, upper), each None, a number, or a tensor that broadcasts to x.

    Returns:
        One value per right-hand side: b's shape without its row dimension.

    Raises:
        ValueError: if shapes do not fit.

    >>> A = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> kkt_residual(A, torch.tensor([2.0, -1.0]), torch.tensor([2.0, 0.0]))
    tensor(0.)
    """
    given = problem(A, b)
    lower, upper = bounds_of(given, bounds)
    return given.layout.unfold_columns(certificate(given.A, given.b, given.like_x(x, "x"), lower, upper))


def column_norms(A: Float[Tensor, "g m n"]) -> Float[Tensor, "g n 1"]:
    """D: the Euclidean norms of the columns, without overflow or underflow on the way."""
    if A.shape[-2] == 0:
        return A.new_zeros(A.shape[0], A.shape[-1], 1)
    largest = A.abs().amax(dim=-2, keepdim=True)
    scale = torch.where((largest > 0) & largest.isfinite(), largest, 1.0)
    return (torch.linalg.vector_norm(A / scale, dim=-2, keepdim=True) * scale).mT


def unit_columns(A: Float[Tensor, "g m n"]) -> tuple[Float[Tensor, "g m n"], Float[Tensor, "g n 1"]]:
    """A with columns of norm one (zero columns stay zero), and the norms."""
    norms = column_norms(A)
    return A / torch.where(norms == 0, 1.0, norms).mT, norms


def certificate(
    A: Float[Tensor, "g m n"],
    b: Float[Tensor, "g m k"],
    x: Float[Tensor, "g n k"],
    lower: Float[Tensor, "g n k"],
    upper: Float[Tensor, "g n k"],
) -> Float[Tensor, "g k"]:
    """`kkt_residual` of a folded problem."""
    if A.shape[-1] == 0:
        return torch.zeros_like(b[:, 0]) if b.shape[-2] else b.new_zeros(b.shape[0], b.shape[-1])
    unit, norms = unit_columns(A)
    scaled = [torch.where(norms == 0, 0.0, norms * value) for value in (x, lower, upper)]
    gradient = unit.mT @ (unit @ scaled[0] - b)
    summed = unit.abs() @ scaled[0].abs() + b.abs()
    start = unit @ torch.zeros_like(scaled[1]).clamp(scaled[1], scaled[2])
    size = torch.maximum((unit.mT @ b).abs(), (unit.mT @ start).abs()).amax(dim=-2)
    # Where x is so large that all is rounding, nothing is certain, least of all an optimum.
    eps, length = torch.finfo(b.dtype).eps, column_norms(b.abs() + start.abs()).squeeze(-1)
    rounding = torch.minimum(ROUNDING * eps * column_norms(summed).squeeze(-1), eps**0.25 * length)
    return scaled_certificate(scaled[0], gradient, scaled[1], scaled[2], size, rounding)


def scaled_certificate(
    y: Float[Tensor, "g n k"],
    gradient: Float[Tensor, "g n k"],
    lower: Float[Tensor, "g n k"],
    upper: Float[Tensor, "g n k"],
    size: Float[Tensor, "g k"],
    rounding: Float[Tensor, "g k"],
) -> Float[Tensor, "g k"]:
    """‖y - P(y - gradient)‖∞ / size, for unit columns; the gradient is clipped to the room left, which
    is the same and keeps small gradients at large y. What is no larger than `rounding` is zero.
    """
    clipped = torch.maximum(torch.minimum(gradient, y - lower), y - upper)
    distance = clipped.abs().amax(dim=-2)
    return torch.where(distance <= rounding, 0.0, distance / size)
