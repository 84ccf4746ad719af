"""The same minimiser behind `scipy.optimize.minimize(..., method=inbounds.scipy_method)`."""

import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inbounds import _checks
from inbounds.optim.minimize import minimize
from inbounds.optim.result import OptimizeResult


def scipy_method(
    fun: Callable[..., Any],
    x0: Any,
    args: tuple[Any, ...] = (),
    *,
    jac: Callable[..., Any] | None = None,
    hess: Any = None,
    hessp: Any = None,
    bounds: Any = None,
    constraints: Any = (),
    callback: Callable[..., Any] | None = None,
    tol: float | None = None,
    eps: float = 1e-8,
    ftol: float | None = None,
    gtol: float | None = None,
    **options: Any,
) -> Any:
    """A custom method for scipy.optimize.minimize, which calls it; fun and jac see NumPy arrays.

    Takes what SciPy's own L-BFGS-B takes: bounds as `Bounds` or (low, high) pairs; jac as True, a
    function, or None for forward differences (of step `eps`, inside the bounds); both kinds of callback;
    `tol`; the options maxcor, ftol, gtol, maxiter, maxfun, maxls, eps. Returns SciPy's OptimizeResult.

    >>> import scipy.optimize, inbounds
    >>> result = scipy.optimize.minimize(
    ...     scipy.optimize.rosen, [0.5, 0.5], jac=scipy.optimize.rosen_der,
    ...     bounds=[(0, 2), (0, None)], method=inbounds.scipy_method)
    >>> result.success, result.x.round(3)
    (True, array([1., 1.]))
    """
    if np.any(constraints):
        raise ValueError("constraints are not handled by L-BFGS-B, only bounds; got some")
    if hess is not None or hessp is not None:
        warnings.warn("L-BFGS-B does not use Hessian information (hess, hessp)", RuntimeWarning, stacklevel=3)
    start = torch.tensor(np.asarray(x0, dtype=np.float64).ravel())
    lower, upper = _bounds(bounds, len(start))

    def value(x: np.ndarray) -> float:
        return float(np.asarray(fun(x, *args)).item())

    def value_and_gradient(x: Tensor) -> tuple[Tensor, Tensor]:
        point = x.numpy()
        f = value(point.copy())
        if jac is None:
            g = _forward_difference(value, point, f, upper.numpy(), eps)
        else:
            g = np.asarray(jac(point.copy(), *args), dtype=np.float64).reshape(-1)
        return x.new_tensor(f), torch.tensor(g)

    result = minimize(
        value_and_gradient,
        start,
        (lower, upper),
        jac=True,
        ftol=_first(ftol, tol, 2.2204460492503131e-09),
        gtol=_first(gtol, tol, 1e-5),
        callback=None if callback is None else _wrapped(callback),
        **options,
    )
    return _translated(result, 1 if jac is not None else 1 + len(start))


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)


def _bounds(bounds: Any, n: int) -> tuple[Tensor, Tensor]:
    """Lower and upper from scipy.optimize.Bounds, from (low, high) pairs, or from None."""
    if bounds is None:
        lower, upper = -np.inf, np.inf
    elif hasattr(bounds, "lb") and hasattr(bounds, "ub"):
        lower, upper = bounds.lb, bounds.ub
    else:
        pairs: Sequence[Any] = list(bounds)
        if len(pairs) != n or any(len(pair) != 2 for pair in pairs):
            raise ValueError(
                f"bounds must be one (low, high) for each of {n} variables; got {_checks.describe(bounds)}"
            )
        lower = [-np.inf if low is None else low for low, _ in pairs]
        upper = [np.inf if high is None else high for _, high in pairs]
    lower, upper = (np.broadcast_to(np.asarray(side, dtype=np.float64), n) for side in (lower, upper))
    return torch.tensor(lower), torch.tensor(upper)


def _forward_difference(
    value: Callable[[np.ndarray], float], x: np.ndarray, f: float, upper: np.ndarray, eps: float
) -> np.ndarray:
    """Backwards where a step forwards would leave the box."""
    steps = np.where(x + eps > upper, -eps, eps)
    g = np.empty_like(x)
    for i, step in enumerate(steps):
        moved = x.copy()
        moved[i] += step
        g[i] = (value(moved) - f) / (moved[i] - x[i])
    return g


def _wrapped(callback: Callable[..., Any]) -> Callable[[OptimizeResult], Any]:
    """SciPy's rule: a parameter named `intermediate_result` takes the result, any other the point."""
    import scipy.optimize

    if set(inspect.signature(callback).parameters) == {"intermediate_result"}:
        return lambda result: callback(
            intermediate_result=scipy.optimize.OptimizeResult(x=result.x.numpy(), fun=result.fun.item())
        )
    return lambda result: callback(result.x.numpy())


def _translated(result: OptimizeResult, calls: int) -> Any:
    """As SciPy's own; `calls` of fun an evaluation."""
    import scipy.optimize

    pairs: Any = result.hess_inv
    return scipy.optimize.OptimizeResult(
        x=result.x.numpy(),
        fun=result.fun.item(),
        jac=result.jac.numpy(),
        nit=int(result.nit),
        nfev=calls * int(result.nfev),
        njev=int(result.nfev),
        status=int(result.status),
        success=bool(result.success),
        message=result.message,
        hess_inv=scipy.optimize.LbfgsInvHessProduct(pairs.sk.numpy(), pairs.yk.numpy()),
    )
