"""Bounded least squares as one operator of PyTorch, so that compile, export, autograd and vmap know it."""

import warnings
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from inbounds.nnls import dense, gradient
from inbounds.nnls.checks import box_values
from inbounds.nnls.gradient import Fold
from inbounds.nnls.transforms import Operator


def _solve(
    A: Tensor,
    b: Tensor,
    lower: Tensor,
    upper: Tensor,
    prior: Tensor,
    weight: Tensor,
    method: str,
    dual: bool,
    tol: float,
    maxiter: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """The x, iterations and converged of a folded problem: A (g, m, n), b (g, m, k), the others (g, n, k)."""
    box_values(lower, upper)
    if method == "dense":
        found = dense.solve(A, b, lower, upper, prior, weight)
    else:
        from inbounds.nnls import lbfgsb

        found = lbfgsb.solve(A, b, lower, upper, prior, weight, dual=dual, tol=tol, maxiter=maxiter)
    converged = found.reached & (found.certificate <= tol)
    warn_of_missed(found.x, converged)
    return found.x, found.nit, converged


def warn_of_missed(x: Float[Tensor, "g n k"], converged: Bool[Tensor, "g k"]) -> None:
    """Say how many columns are no optimum; those that are NaN say so themselves."""
    missed = int((~converged & ~x.isnan().any(dim=-2)).sum())
    if missed:
        warnings.warn(
            f"{missed} of {converged.numel()} right-hand sides did not converge to the tolerance, or to the "
            "nearest optimum; full_output=True says which",
            stacklevel=2,
        )


def _fake(A, b, lower, upper, prior, weight, method, dual, tol, maxiter):
    columns = (b.shape[0], b.shape[-1])
    return (
        b.new_empty(lower.shape),
        b.new_empty(columns, dtype=torch.int64),
        b.new_empty(columns, dtype=torch.bool),
    )


def _remember(ctx: Any, inputs: tuple, output: tuple) -> None:
    ctx.save_for_backward(*inputs[:6], output[0])


def _backward(ctx: Any, grad: Tensor, *_: None) -> tuple:
    A, b, lower, upper, prior, weight, x = ctx.saved_tensors
    return (*gradient.transposed(A, b, lower, upper, prior, weight, x, grad), None, None, None, None)


def _vmap(info: Any, in_dims: tuple, A: Tensor, *rest: Any):
    fold = Fold(info.batch_size, in_dims[0], in_dims[1:6])
    b, lower, upper, prior, weight = fold.columns(*rest[:5])
    found = bounded_least_squares(fold.matrix(A), b, lower, upper, prior, weight, *rest[5:])
    return tuple(map(fold.back, found)), (0, 0, 0)


bounded_least_squares = Operator(
    "inbounds::bounded_least_squares",
    _solve,
    fake=_fake,
    setup_context=_remember,
    backward=_backward,
    vmap=_vmap,
)
