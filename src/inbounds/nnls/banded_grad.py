"""The implicit gradient of the banded solve, in differentiable tensor operations; frames are rows.

At the answer, with D = dx/du, S = A D Aᵀ + εI, and P the projection on the span of the free columns (P = I
wherever A x = b holds), a change of b, of the prior and of A moves x by

    dx = e + D Aᵀ S⁻¹ (P db - A e - dA x) + D dAᵀ λ,        e = (∂x/∂x₀) dx₀.

Its transpose needs two tridiagonal solves. The frame's scale drops out of dx/db, so all of this is computed
on normalised frames.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from inbounds.nnls import distances
from inbounds.nnls.bands import between_centres
from inbounds.nnls.frames import normalise, scaled_ridge, times_two_to
from inbounds.nnls.newton import Choice, gram
from inbounds.nnls.prior import starting_point
from inbounds.nnls.tridiagonal import solve_tridiagonal

# How far a singular Gram matrix is lifted, relative to its diagonal; the systems are solved in float64.
_LIFT = 1e-12


def transposed(
    matrix: Float[Tensor, "m n"],
    b: Float[Tensor, "b m"],
    given: Float[Tensor, "b n"] | None,
    x: Float[Tensor, "b n"],
    dual: Float[Tensor, "b m"],
    grad_x: Float[Tensor, "b n"],
    grad_dual: Float[Tensor, "b m"],
    choice: Choice,
) -> tuple[Float[Tensor, "m n"], Float[Tensor, "b m"], Float[Tensor, "b n"] | None]:
    """The gradients with respect to the matrix, b, and a given prior."""
    b, given, exponent, sound = normalise(b, given, (matrix > 0.0).any(dim=1))
    x = torch.where(sound, times_two_to(-exponent, x), 0.0)
    dual = torch.where(sound, times_two_to(-choice.dual_power * exponent, dual), 0.0)
    grad_dual = times_two_to((choice.dual_power - 1) * exponent, grad_dual)
    ridge = scaled_ridge(b, exponent, choice)

    def start(matrix: Tensor, b: Tensor, given: Tensor | None = None) -> Tensor:
        return starting_point(matrix, between_centres(matrix), b, given, choice)

    sources = (matrix, b) if given is None else (matrix, b, given)
    prior, back, *_ = torch.func.vjp(start, *sources)
    grad_matrix, grad_b, grad_prior = _at(
        matrix, b, prior, x, dual, grad_x, grad_dual, choice, ridge, exponent
    )
    # The gradient for A is a sum over frames: there, each counts by its own size.
    by_prior = back(times_two_to(exponent, grad_prior))
    grad_matrix = grad_matrix + by_prior[0]
    grad_b = torch.where(sound, grad_b + times_two_to(-exponent, by_prior[1]), torch.nan)
    if given is None:
        return grad_matrix, grad_b, None
    return grad_matrix, grad_b, torch.where(sound, times_two_to(-exponent, by_prior[2]), torch.nan)


def _at(
    matrix: Float[Tensor, "m n"],
    b: Float[Tensor, "b m"],
    prior: Float[Tensor, "b n"],
    x: Float[Tensor, "b n"],
    dual: Float[Tensor, "b m"],
    grad_x: Float[Tensor, "b n"],
    grad_dual: Float[Tensor, "b m"],
    choice: Choice,
    ridge: Float[Tensor, "b 1"],
    exponent: Int[Tensor, "b 1"],
) -> tuple[Float[Tensor, "m n"], Float[Tensor, "b m"], Float[Tensor, "b n"]]:
    """The gradients with respect to the matrix, b and the prior, taken as independent."""
    u = dual @ matrix
    free = x > 0.0
    weight = prior * prior if choice.relative else torch.ones_like(prior)
    D = torch.where(free, distances.slope(x, u, prior, weight, choice.distance), 0.0)
    v = _solve(*gram(matrix, D), (D * grad_x) @ matrix.mT + grad_dual, ridge)
    at_x = grad_x - v @ matrix
    grad_prior = at_x * distances.prior_slope(x, u, prior, choice.relative, choice.distance)
    grad_matrix = times_two_to(exponent, dual).mT @ (D * at_x)
    if choice.ridge > 0.0:
        return grad_matrix - times_two_to(exponent, v).mT @ x, v, grad_prior
    # Where no x meets b, only the part of db in the span of the free columns moves x. Least squares knows no
    # weights: this Gram matrix has none, and its lift is the same in every row.
    diagonal, beside = gram(matrix, free.to(x.dtype))
    lift = _LIFT * diagonal.amax(dim=1, keepdim=True)
    seen = v - lift * _solve(diagonal, beside, v, lift)
    through = free * (_solve(diagonal, beside, seen, lift) @ matrix)
    residual = b - x @ matrix.mT
    grad_matrix = (
        grad_matrix - times_two_to(exponent, seen).mT @ x + times_two_to(exponent, residual).mT @ through
    )
    return grad_matrix, seen, grad_prior


def _solve(
    diagonal: Float[Tensor, "b m"],
    beside: Float[Tensor, "b m"],
    right: Float[Tensor, "b m"],
    lift: Float[Tensor, "b 1"],
) -> Float[Tensor, "b m"]:
    wide = diagonal.double() + lift.double()
    least = (_LIFT * wide).clamp(min=torch.finfo(wide.dtype).tiny)
    return solve_tridiagonal(wide, beside.double(), right.double(), least).to(right.dtype)
