"""What `nnls` and `lsq_linear` share: options, the choice of a solver, the answer in the caller's shape."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch._C._functorch import get_unwrapped, is_functorch_wrapped_tensor, is_gradtrackingtensor

from inbounds import _checks
from inbounds.nnls.banded import bands, solve_columns
from inbounds.nnls.checks import Problem
from inbounds.nnls.info import Info
from inbounds.nnls.kkt import certificate
from inbounds.nnls.operator import bounded_least_squares, warn_of_missed

CERTAIN = 1e-10  # a certificate above this, and the banded solver's answer is not taken
LARGE = 4096  # the smaller side of A from which its square is no longer worth forming


class Options(NamedTuple):
    """Which solver, and what steers it."""

    method: str
    tol: float
    maxiter: int
    dual: bool | None


class Found(NamedTuple):
    """A folded answer."""

    x: Float[Tensor, "g n k"]
    nit: Int[Tensor, "g k"]
    converged: Bool[Tensor, "g k"]


def options_of(
    problem: Problem, methods: tuple[str, ...], method: Any, tol: Any, maxiter: Any, dual: Any
) -> Options:
    """Check them; those that only L-BFGS-B heeds are refused beside another method."""
    _checks.choice(method, "method", methods)
    if dual not in (None, True, False):
        raise ValueError(f"dual must be None, True or False; got {_checks.describe(dual)}")
    if method == "auto" and min(problem.A.shape[-2:]) > LARGE:
        method = "lbfgsb"
    if method != "lbfgsb":
        for value, name in ((maxiter, "maxiter"), (dual, "dual")):
            if value is not None:
                raise ValueError(f'{name} is an option of method="lbfgsb"; got it with method={method!r}')
    if tol is None:
        tol = 1e-9 if problem.b.dtype == torch.float64 else 1e-5
    return Options(
        method=method,
        tol=_checks.number(tol, "tol", above=0.0),
        maxiter=15000 if maxiter is None else _checks.integer(maxiter, "maxiter", least=1),
        dual=dual,
    )


def prior_of(problem: Problem, prior: Any) -> Float[Tensor, "g n k"]:
    """The prior like x; 0 without one."""
    if isinstance(prior, Tensor):
        return problem.like_x(prior, "prior")
    value = 0.0 if prior is None else _checks.number(prior, "prior")
    return problem.like_x(problem.b.new_tensor(value), "prior")


def has_bands(problem: Problem, prior: Float[Tensor, "g n k"]) -> bool:
    """Whether `solve_banded` can solve it."""
    if len(problem.A) != 1 or torch.compiler.is_compiling() or is_functorch_wrapped_tensor(problem.A):
        return False  # there is nothing to look at
    if any(map(_is_under_grad, (problem.b, prior))):
        return False  # a custom op, which torch.func.grad does not differentiate
    return bands(problem.A[0]) is not None


def _is_under_grad(value: Tensor) -> bool:
    """Whether torch.func.grad, or a transform made of it, differentiates with respect to the value."""
    while is_functorch_wrapped_tensor(value):
        if is_gradtrackingtensor(value):
            return True
        value = get_unwrapped(value)
    return False


def solve_banded(problem: Problem, prior: Float[Tensor, "g n k"] | None) -> Found:
    """The banded solver: one non-negative A whose columns touch at most two adjacent rows, x >= 0."""
    if len(problem.A) != 1:
        raise ValueError(
            f'method="banded" needs one A of shape (m, n) for all right-hand sides; got {len(problem.A)}'
        )
    return Found(*solve_columns(problem.A[0], problem.b, prior="flat" if prior is None else prior))


def warn_of_banded(found: Found) -> None:
    """As the dense solver does, where the answer can be looked at."""
    if not (torch.compiler.is_compiling() or is_functorch_wrapped_tensor(found.converged)):
        warn_of_missed(found.x, found.converged)


def left_over(problem: Problem, found: Found) -> bool:
    """Whether the banded solver left a right-hand side unsolved, where that can be looked at.

    It ends where rounding lets it, which with columns of very different sizes may be early for float64.
    """
    if is_functorch_wrapped_tensor(found.converged):
        return False
    unsolved = ~found.converged
    if found.x.dtype == torch.float64:
        zero = torch.zeros_like(found.x)
        value = certificate(problem.A.detach(), problem.b.detach(), found.x.detach(), zero, zero + torch.inf)
        unsolved = unsolved | (value > CERTAIN)
    return bool((unsolved & ~found.x.isnan().any(dim=-2)).any())


def solve(
    problem: Problem,
    lower: Float[Tensor, "g n k"],
    upper: Float[Tensor, "g n k"],
    prior: Float[Tensor, "g n k"],
    options: Options,
    weight: Float[Tensor, "g n k"] | None = None,
) -> Found:
    """The dense solver, or L-BFGS-B; the nearest optimum has the least Σ (x - prior)² / weight."""
    if weight is None:
        weight = torch.ones_like(prior)
    method = "dense" if options.method == "auto" else options.method
    dual = problem.A.shape[-2] < problem.A.shape[-1] if options.dual is None else options.dual
    return Found(
        *bounded_least_squares(
            problem.A, problem.b, lower, upper, prior, weight, method, dual, options.tol, options.maxiter
        )
    )


def answer(
    problem: Problem,
    found: Found,
    lower: Float[Tensor, "g n k"],
    upper: Float[Tensor, "g n k"],
    dtype: torch.dtype,
    full_output: bool,
) -> Any:
    """X in the caller's shape and dtype, with an Info if asked for."""
    layout = problem.layout
    x = layout.unfold(found.x).to(dtype)
    if not full_output:
        return x
    residual = torch.linalg.vector_norm(problem.A @ found.x - problem.b, dim=-2)
    value = certificate(problem.A, problem.b, found.x, lower, upper)
    return x, Info(*map(layout.unfold_columns, (residual, value, found.nit, found.converged)))
