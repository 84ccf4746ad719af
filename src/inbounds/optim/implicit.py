"""Differentiable solutions: the gradient of a minimiser with respect to what its problem depends on.

At a minimum x*(θ) the free variables F, those strictly inside the box, satisfy ∇f(x*, θ)_F = 0, and the
others stand on their bounds. The implicit function theorem on F gives, for a gradient v that comes back
to x*,

    H_FF u = v_F,  u = 0 elsewhere        H = ∇²f, by conjugate gradients
    v -> θ:       -(∂∇f/∂θ)ᵀ u
    v -> bounds:  v - H u  on the variables that stand on them

Both H u and (∂∇f/∂θ)ᵀ u come from one vector-Jacobian product of (x, θ) -> ∇f(x, θ); no matrix is formed.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Pull = Callable[[Tensor], tuple[Tensor, ...]]


def solution(
    x: Float[Tensor, "*batch n"],
    fun: Callable[..., Any],
    bounds: tuple[Tensor, Tensor],
    args: Sequence[Any] = (),
    jac: Callable[..., Any] | bool | None = None,
) -> Float[Tensor, "*batch n"]:
    """The minimiser x, made differentiable with respect to the tensors among args, and to the bounds.

    `minimize(..., differentiable=True)` ends with this. Gradients reach tensors in `args`, not those that
    fun closes over. They are as exact as x: choose a small gtol. Where H_FF is singular or indefinite, the
    conjugate gradients stop at the first direction without curvature; the minimiser has no derivative there.

    Args:
        x: a minimiser of fun(x, *args) in the box, each row of its own problem.
        fun: as for `minimize`; it must be differentiable twice by torch.func, in x and args.
        bounds: lower and upper, of x's shape.
        args: what fun is called with after x.
        jac: as for `minimize`; differentiated in place of fun where it gives the gradient.

    >>> c = torch.tensor([0.25, 2.0], requires_grad=True)
    >>> box = (torch.zeros(2), torch.ones(2))
    >>> x = solution(torch.tensor([0.25, 1.0]), lambda x, c: ((x - c) ** 2).sum(), box, (c,))
    >>> x.sum().backward()
    >>> c.grad  # the second variable stands on its bound
    tensor([1., 0.])
    """
    spots = [i for i, arg in enumerate(args) if isinstance(arg, Tensor) and arg.is_floating_point()]

    def gradient(x: Tensor, *thetas: Tensor) -> Tensor:
        full = list(args)
        for i, theta in zip(spots, thetas, strict=True):
            full[i] = theta
        if callable(jac):
            return jac(x, *full)
        if jac:
            return fun(x, *full)[1]
        return torch.func.grad(lambda x: fun(x, *full).sum())(x)

    return _Solution.apply(gradient, x.detach(), *bounds, *(args[i] for i in spots))  # pyright: ignore


class _Solution(torch.autograd.Function):
    """x*, whose backward pass is the implicit function theorem."""

    @staticmethod
    def forward(ctx: Any, gradient: Callable[..., Tensor], x: Tensor, *given: Tensor) -> Tensor:
        ctx.gradient = gradient
        ctx.save_for_backward(x, *given)
        return x.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        x, lower, upper, *thetas = ctx.saved_tensors
        on_lower, on_upper = x <= lower, (x >= upper) & (x > lower)
        free = ~(on_lower | on_upper)
        pull: Pull = torch.func.vjp(ctx.gradient, x, *thetas)[1]  # (H p, (∂∇f/∂θ)ᵀ p) of a p
        u = conjugate_gradients(lambda p: pull(p)[0], torch.where(free, v, 0.0), free)
        Hu, *to_thetas = pull(u)
        to_bounds = v - Hu
        return (
            None,
            None,
            torch.where(on_lower, to_bounds, 0.0),
            torch.where(on_upper, to_bounds, 0.0),
            *(-part for part in to_thetas),
        )


def conjugate_gradients(
    multiply: Callable[[Tensor], Tensor], v: Float[Tensor, "*batch n"], free: Bool[Tensor, "*batch n"]
) -> Float[Tensor, "*batch n"]:
    """U with H_FF u = v_F and zero elsewhere, for every row; `multiply` gives H p and v is zero off F.

    A row stops when its residual has shrunk to ten machine epsilons, or at a direction without curvature.
    """
    eps = torch.finfo(v.dtype).eps
    u, residual, p = torch.zeros_like(v), v, v
    square = (residual * residual).sum(dim=-1, keepdim=True)
    goal = (10 * eps) ** 2 * square
    for _ in range(2 * v.shape[-1] + 10):  # n in exact arithmetic; rounding costs a few more
        Hp = torch.where(free, multiply(p), 0.0)
        curvature = (p * Hp).sum(dim=-1, keepdim=True)
        going = (square > goal) & (curvature > eps * (p * p).sum(dim=-1, keepdim=True) * eps)
        if not bool(going.any()):
            break
        step = torch.where(going, square / curvature, 0.0)
        u = u + step * p
        residual = residual - step * Hp
        new_square = torch.where(going, (residual * residual).sum(dim=-1, keepdim=True), square)
        p = torch.where(going, residual + new_square / square * p, p)
        square = new_square
    return u
