"""Bounds as people write them, turned into a lower and an upper tensor."""

from collections.abc import Sequence
from numbers import Real
from typing import Any, NoReturn

import torch
from jaxtyping import Float
from torch import Tensor

from inbounds import _checks

INF = float("inf")


def parse(
    bounds: Any, x0: Float[Tensor, "*shape"], target: str = "x0"
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Lower and upper bounds of x0's shape, dtype and device; a missing bound is infinite.

    Tensors keep their autograd history: a minimiser can be differentiated with respect to its bounds.

    Args:
        bounds: None, a pair (lower, upper) of None, a number, or a tensor or array that broadcasts to x0, or
            an object with such `lb` and `ub`, as scipy.optimize.Bounds.
        x0: gives shape, dtype and device.
        target: what the messages call x0.

    Raises:
        TypeError, ValueError: anything else; NaN; lower > upper.
    """
    if bounds is None:
        lower = upper = None
    elif hasattr(bounds, "lb") and hasattr(bounds, "ub"):
        lower, upper = bounds.lb, bounds.ub
    elif isinstance(bounds, tuple) and len(bounds) == 2:
        lower, upper = bounds
    else:
        _refuse(bounds)
    lower = _side(lower, "lower", -INF, x0, target)
    upper = _side(upper, "upper", INF, x0, target)
    if bounds is not None and not bool((lower <= upper).all()):  # NaN compares false
        _explain(lower, upper)
    return lower, upper


def _side(value: Any, name: str, missing: float, x0: Tensor, target: str) -> Tensor:
    if value is None:
        return x0.new_full((), missing).expand(x0.shape)
    if isinstance(value, Real):
        return x0.new_full((), float(value)).expand(x0.shape)
    if isinstance(value, Sequence):
        _refuse(value)
    if isinstance(value, Tensor):
        _checks.same_device(value, name, x0, target)
        bound = value
    elif hasattr(value, "__array__"):
        bound = torch.as_tensor(value, device=x0.device)
    else:
        raise TypeError(f"{name} must be None, a number or a tensor; got {_checks.describe(value)}")
    if bound.is_complex():
        raise TypeError(f"{name} must be real; got {_checks.describe(value)}")
    return _checks.broadcastable(bound.to(x0.dtype), name, x0.shape, target)


def _refuse(value: Any) -> NoReturn:
    raise TypeError(
        "bounds must be (lower, upper), a tuple of two, each None, a number or a tensor that broadcasts; "
        "SciPy's [(0, 1), (0, None)] is written (0.0, torch.tensor([1.0, float('inf')])); "
        f"got {_checks.describe(value)}"
    )


def _explain(lower: Tensor, upper: Tensor) -> None:
    for name, bound in (("lower", lower), ("upper", upper)):
        if bool(bound.isnan().any()):
            raise ValueError(f"{name} must not be NaN; {_checks.violations(bound.isnan())}")
    broken = lower > upper
    low, high = float(lower[broken][0]), float(upper[broken][0])
    raise ValueError(f"lower must not exceed upper; {_checks.violations(broken)}: {low:g} > {high:g}")
