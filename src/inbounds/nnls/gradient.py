"""How the answer of a bounded least squares moves with its data, by the implicit function theorem.

With F the variables strictly inside their bounds, the others B at a bound, x₀ the prior and S² its weights,

    x_F = x₀_F + S_F (A_F S_F)⁺ (b - A_B x_B - A_F x₀_F),

which covers unique optima and nearest ones alike. Everything follows from applying such a pseudo-inverse and
its transpose: one operator, whose own gradient is made of the same two, so that it can be differentiated any
number of times (Golub & Pereyra 1973, eq. 4.12). Where a variable rests on its bound without pressure (a
degenerate optimum), the gradient is the one-sided one for the side on which it stays there.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from inbounds.nnls.kkt import unit_columns
from inbounds.nnls.transforms import Operator

CHUNK = 2**23  # numbers in the matrices of the columns worked on at a time
FULL_RANK = 1e-10  # smallest ratio of squared pivots that the short way is used for


def transposed(
    A: Float[Tensor, "g m n"],
    b: Float[Tensor, "g m k"],
    lower: Float[Tensor, "g n k"],
    upper: Float[Tensor, "g n k"],
    prior: Float[Tensor, "g n k"],
    weight: Float[Tensor, "g n k"],
    x: Float[Tensor, "g n k"],
    grad: Float[Tensor, "g n k"],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The gradients with respect to A, b, lower, upper, prior and weight, from that with respect to x."""
    free = (x > lower) & (x < upper)
    scale = torch.where(free & (weight > 0), torch.where(weight > 0, weight, 1.0).sqrt(), 0.0)
    reciprocal = torch.where(scale > 0, 1.0 / torch.where(scale > 0, scale, 1.0), 0.0)
    scaled = scale * torch.where(free, grad, 0.0)
    step = reciprocal * (x - prior)
    grad_b = scaled_pinv(A, scale, scaled, True)
    again = scaled_pinv(A, scale, grad_b, False)
    dual = scaled_pinv(A, scale, step, True)
    pull = A.mT @ grad_b
    rest = scaled - scale * pull
    residual = b - A @ x
    grad_A = residual @ (scale * again).mT + dual @ (scale * rest).mT - grad_b @ x.mT
    change = (grad - pull) * step + (A.mT @ residual) * again + (A.mT @ dual) * rest
    grad_lower = torch.where(x <= lower, grad - pull, 0.0)
    grad_upper = torch.where((x >= upper) & (x > lower), grad - pull, 0.0)
    grad_prior = torch.where(free, grad - pull, 0.0)
    return grad_A, grad_b, grad_lower, grad_upper, grad_prior, 0.5 * change * reciprocal


def _scaled_pinv(A: Tensor, scale: Tensor, y: Tensor, transpose: bool) -> Tensor:
    """(A S)⁺ y for every right-hand side, S its own diagonal; with `transpose` the transpose of that.

    Args: A (g, m, n), scale (g, n, k): the diagonals, 0 for columns that are left out; y (g, m, k), or
        (g, n, k) with `transpose`.
    """
    g, m, n = A.shape
    k = scale.shape[-1]
    rows_out, rows_in = (m, n) if transpose else (n, m)
    out = y.new_zeros(g * k, rows_out)
    given, scales = y.mT.reshape(g * k, rows_in).double(), scale.mT.reshape(g * k, n).double()
    matrices = A.double()
    for some in torch.arange(g * k, device=y.device).split(max(1, CHUNK // max(1, n * max(m, n)))):
        own = matrices[some // max(k, 1)] * scales[some].unsqueeze(-2)
        out[some] = _apply(own, scales[some] != 0, given[some], transpose).to(y.dtype)
    return out.reshape(g, k, rows_out).mT.contiguous()


def _apply(
    A: Float[Tensor, "c m n"], free: Bool[Tensor, "c n"], y: Float[Tensor, "c q"], transpose: bool
) -> Float[Tensor, "c p"]:
    """By a Cholesky factor of the smaller Gram matrix where its rank is full, else by singular values."""
    c, m, n = A.shape
    out = y.new_empty(c, m if transpose else n)
    finite = A.isfinite().all(-1).all(-1) & y.isfinite().all(-1)
    out[~finite] = torch.nan
    tall = free.sum(-1) <= m
    for kind in (True, False):
        some = torch.nonzero((tall == kind) & finite).squeeze(-1)
        if not len(some):
            continue
        out[some], sound = (_tall if kind else _wide)(A[some], free[some], y[some], transpose)
        poor = some[~sound]
        if len(poor):
            inverse = torch.linalg.pinv(A[poor])
            inverse = inverse.mT if transpose else inverse
            out[poor] = (inverse @ y[poor].unsqueeze(-1)).squeeze(-1)
    return out


def _tall(
    A: Float[Tensor, "c m n"], free: Bool[Tensor, "c n"], y: Float[Tensor, "c q"], transpose: bool
) -> tuple[Float[Tensor, "c p"], Bool[Tensor, " c"]]:
    """A⁺ = (AᵀA)⁻¹Aᵀ, with unit columns."""
    unit, norms = unit_columns(A)
    norms = torch.where(norms == 0, 1.0, norms).squeeze(-1)
    gram = unit.mT @ unit + torch.diag_embed((~free).to(A.dtype))
    factor, sound = _factor(gram)

    def solve(v: Tensor) -> Tensor:
        return torch.cholesky_solve(v.unsqueeze(-1), factor)

    if transpose:
        scaled = torch.where(free, y / norms, 0.0)
        z = solve(scaled).squeeze(-1)
        out = (unit @ z.unsqueeze(-1)).squeeze(-1)
        short = scaled - (unit.mT @ out.unsqueeze(-1)).squeeze(-1)  # one refinement: Aᵀ(A⁺ᵀy) = y
        return out + (unit @ solve(torch.where(free, short, 0.0))).squeeze(-1), sound
    z = solve((unit.mT @ y.unsqueeze(-1)).squeeze(-1))
    residual = y.unsqueeze(-1) - unit @ z
    z = z + solve((unit.mT @ residual).squeeze(-1))
    return torch.where(free, z.squeeze(-1) / norms, 0.0), sound


def _wide(
    A: Float[Tensor, "c m n"], free: Bool[Tensor, "c n"], y: Float[Tensor, "c q"], transpose: bool
) -> tuple[Float[Tensor, "c p"], Bool[Tensor, " c"]]:
    """A⁺ = Aᵀ(AAᵀ)⁻¹, with unit rows."""
    unit, norms = unit_columns(A.mT)
    norms = torch.where(norms == 0, 1.0, norms).squeeze(-1)
    empty = (unit == 0).all(-2)
    factor, sound = _factor(unit.mT @ unit + torch.diag_embed(empty.to(A.dtype)))
    # Each solve is refined once, by the residual of the matrix and not of its square.
    if transpose:
        y = y.unsqueeze(-1)
        z = torch.cholesky_solve(unit.mT @ y, factor)
        z = z + torch.cholesky_solve(unit.mT @ (y - unit @ z), factor)
        return z.squeeze(-1) / norms, sound
    y = (y / norms).unsqueeze(-1)
    z = unit @ torch.cholesky_solve(y, factor)
    z = z + unit @ torch.cholesky_solve(y - unit.mT @ z, factor)
    return z.squeeze(-1), sound & ~empty.any(-1)


def _factor(gram: Float[Tensor, "c n n"]) -> tuple[Float[Tensor, "c n n"], Bool[Tensor, " c"]]:
    factor, failed = torch.linalg.cholesky_ex(gram)
    pivots = factor.diagonal(dim1=-2, dim2=-1).square()
    sound = (failed == 0) & (pivots.amin(-1) > FULL_RANK * pivots.amax(-1))
    return factor, sound


def _fake(A: Tensor, scale: Tensor, y: Tensor, transpose: bool) -> Tensor:
    return y.new_empty(A.shape[0], A.shape[-2] if transpose else A.shape[-1], scale.shape[-1])


def _remember(ctx: Any, inputs: tuple, output: Tensor) -> None:
    A, scale, y, ctx.transpose = inputs
    ctx.save_for_backward(A, scale, y, output)


def _backward(ctx: Any, grad: Tensor) -> tuple:
    """With C = A S or its transpose, z = C⁺y: dz = C⁺(dy - dC z) + (CᵀC)⁺dCᵀ(y - C z) + (I - C⁺C)dCᵀ C⁺ᵀz."""
    A, scale, y, z = ctx.saved_tensors
    transpose = ctx.transpose
    grad_y = scaled_pinv(A, scale, grad, not transpose)
    again = scaled_pinv(A, scale, grad_y, transpose)
    back = scaled_pinv(A, scale, z, not transpose)
    if transpose:
        rest, beyond = y - scale * (A.mT @ z), grad - A @ (scale * grad_y)
        outer = [(again, rest), (beyond, back), (-z, grad_y)]
    else:
        rest, beyond = y - A @ (scale * z), grad - scale * (A.mT @ grad_y)
        outer = [(rest, again), (back, beyond), (-grad_y, z)]
    # The gradient with respect to A S is the sum of left rightᵀ.
    grad_A = sum(left @ (scale * right).mT for left, right in outer)
    grad_scale = sum((A.mT @ left) * right for left, right in outer)
    return grad_A, torch.where(scale != 0, grad_scale, 0.0), grad_y, None


def _vmap(
    info: Any, in_dims: tuple, A: Tensor, scale: Tensor, y: Tensor, transpose: bool
) -> tuple[Tensor, int]:
    fold = Fold(info.batch_size, in_dims[0], in_dims[1:3])
    return fold.back(scaled_pinv(fold.matrix(A), *fold.columns(scale, y), transpose)), 0


scaled_pinv = Operator(
    "inbounds::scaled_pinv",
    _scaled_pinv,
    fake=_fake,
    setup_context=_remember,
    backward=_backward,
    vmap=_vmap,
)


class Fold:
    """A batch of calls as one call: of more right-hand sides where all share A, else of more matrices."""

    def __init__(self, size: int, matrix_dim: int | None, dims: tuple[int | None, ...]) -> None:
        self.size, self.matrix_dim, self.dims = size, matrix_dim, dims

    def matrix(self, A: Tensor) -> Tensor:
        """A (g, m, n) of the one call."""
        return A if self.matrix_dim is None else A.movedim(self.matrix_dim, 0).flatten(0, 1)

    def columns(self, *values: Tensor) -> list[Tensor]:
        """The other arguments, (g, rows, k), of the one call."""
        folded = []
        for value, dim in zip(values, self.dims, strict=True):
            first = value.expand(self.size, *value.shape) if dim is None else value.movedim(dim, 0)
            if self.matrix_dim is None:
                folded.append(first.movedim(0, -2).flatten(-2))
            else:
                folded.append(first.flatten(0, 1))
        return folded

    def back(self, value: Tensor) -> Tensor:
        """The call's dimension first again."""
        if self.matrix_dim is None:
            return value.unflatten(-1, (self.size, -1)).movedim(-2, 0)
        return value.unflatten(0, (self.size, -1))
