"""`lsq_linear`: the front door of the least squares in a box."""

from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from inbounds.nnls import driver
from inbounds.nnls.checks import bounds_of, problem

METHODS = ("auto", "dense", "lbfgsb")


def lsq_linear(
    A: Float[Tensor, "*batch_A m n"],
    b: Float[Tensor, "*batch_b"],
    bounds: Any = (None, None),
    *,
    method: Literal["auto", "dense", "lbfgsb"] = "auto",
    prior: float | Tensor | None = None,
    tol: float | None = None,
    maxiter: int | None = None,
    dual: bool | None = None,
    full_output: bool = False,
) -> Any:
    """Least squares in a box: min ‖Ax - b‖ over lower <= x <= upper, for every right-hand side.

    Everything `nnls` says holds here, "x >= 0" read as "x in the box": the methods and which optimum each of
    them returns, gradients (with respect to A, b, prior and the bounds), shapes, options, warnings. Without
    bounds it is ordinary least squares, of any rank.

    Args:
        A: (m, n), or (*batch, m, n).
        b: (m,) gives x (n,); (*batch, m, k) gives x (*batch, n, k).
        bounds: (lower, upper), each None (no bound), a number, a tensor (n,) for the variables, or one that
            broadcasts to x, so bounds may differ between right-hand sides; or an object with .lb and .ub.
            Entries may be infinite, or equal, which fixes the variable. x lies in the box to the bit.
        method: "dense", "lbfgsb", or "auto": "dense", or "lbfgsb" if both m and n exceed 4096.
        prior, tol, maxiter, dual, full_output: as in `nnls`.

    Returns:
        x, or (x, info).

    Raises:
        ValueError: if shapes or options do not fit, or a lower bound exceeds its upper bound.

    Warns:
        UserWarning: with the number of columns that did not converge.

    >>> import torch
    >>> A, b = torch.eye(3), torch.tensor([-2.0, 0.3, 5.0])
    >>> lsq_linear(A, b, bounds=(-1.0, 1.0))
    tensor([-1.0000,  0.3000,  1.0000])
    >>> lsq_linear(A, b, bounds=(torch.tensor([0.0, 0.0, 4.0]), None))
    tensor([0.0000, 0.3000, 5.0000])
    """
    given = problem(A, b)
    options = driver.options_of(given, METHODS, method, tol, maxiter, dual)
    lower, upper = bounds_of(given, bounds)
    found = driver.solve(given, lower, upper, driver.prior_of(given, prior), options)
    return driver.answer(given, found, lower, upper, b.dtype, full_output)
