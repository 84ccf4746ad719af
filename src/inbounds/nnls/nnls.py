"""`nnls`: the front door of the non-negative least squares."""

from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from inbounds.nnls import driver
from inbounds.nnls.checks import bounds_of, problem

METHODS = ("auto", "banded", "dense", "lbfgsb")


def nnls(
    A: Float[Tensor, "*batch_A m n"],
    b: Float[Tensor, "*batch_b"],
    *,
    method: Literal["auto", "banded", "dense", "lbfgsb"] = "auto",
    prior: float | Tensor | None = None,
    tol: float | None = None,
    maxiter: int | None = None,
    dual: bool | None = None,
    full_output: bool = False,
) -> Any:
    """Non-negative least squares: min ‖Ax - b‖ over x >= 0, for every right-hand side.

    Methods, and which optimum they return where there are several:

    - "dense": exact, for any matrix of any rank; the rank is what A's dtype can tell, so float32 columns that
      depend on each other but for their rounding do depend. The optimum nearest to `prior` (‖x - prior‖₂
      least); without a prior, the minimum-norm one. Where the lengths of A's columns differ by more than
      about 1e6, float64 may not tell which that is: then an optimum is returned, and counts as not converged.
    - "banded": exact, in time linear in the size of A, for a non-negative A each of whose columns touches at
      most two adjacent rows, such as a mel filter bank. The same optimum as "dense".
    - "lbfgsb": L-BFGS-B, every right-hand side a problem of its own, until its certificate is `tol`. On the
      dual (m variables) the optimum nearest to `prior`, for every b that some x >= 0 meets; other columns are
      passed on to the primal. On the primal (n variables) an optimum near the clamped least-squares solution.
    - "auto": "banded" if A has that structure (not looked at under torch.compile) and that comes to an end,
      else "dense", or "lbfgsb" if both m and n exceed 4096.

    Differentiable, any number of times, with respect to A, b and prior, on the variables that are positive;
    works under torch.func's grad, jacrev and vmap, torch.compile(fullgraph=True) and torch.export.

    Args:
        A: (m, n), one matrix for all right-hand sides; or (*batch, m, n).
        b: (m,) gives x (n,); (*batch, m, k) gives x (*batch, n, k). Leading dimensions broadcast with A's.
            Half precision is computed in float32 or better; x has b's dtype. A column with a NaN or an
            infinity gives a column of NaN.
        method: see above.
        prior: a number, or a tensor that broadcasts to x.
        tol: the certificate (see `kkt_residual`) up to which a column counts as converged, and at which
            "lbfgsb" stops; without it 1e-9 in float64, 1e-5 in float32. "banded" has a rule of its own.
        maxiter: iterations of "lbfgsb"; 15000 if not given.
        dual: for "lbfgsb": solve the dual (True) or the primal (False); without it the dual if m < n.
        full_output: also return an `Info` with residual_norm, kkt, nit and converged for every column.

    Returns:
        x, or (x, info).

    Raises:
        ValueError: if shapes or options do not fit, or A has not the structure that method="banded" needs.

    Warns:
        UserWarning: with the number of columns that did not converge.

    >>> import torch
    >>> A = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> nnls(A, torch.tensor([2.0, 1.0, -1.0]))
    tensor([1.5000, 0.0000])
    >>> x, info = nnls(A, torch.rand(3, 1000), full_output=True)
    >>> x.shape, bool(info.converged.all())
    (torch.Size([2, 1000]), True)
    """
    given = problem(A, b)
    options = driver.options_of(given, METHODS, method, tol, maxiter, dual)
    start = driver.prior_of(given, prior)
    lower, upper = bounds_of(given, (0.0, None))
    if options.method == "banded" and tol is not None:
        raise ValueError('tol is no option of method="banded", which stops at rounding')
    found = None
    if options.method == "banded" or (options.method == "auto" and driver.has_bands(given, start)):
        found = driver.solve_banded(given, None if prior is None else start)
    if found is None or (options.method == "auto" and driver.left_over(given, found)):
        found = driver.solve(given, lower, upper, start, options)
    elif options.method == "banded":
        driver.warn_of_banded(found)
    return driver.answer(given, found, lower, upper, b.dtype, full_output)
