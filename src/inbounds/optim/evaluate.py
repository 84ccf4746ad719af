"""The user's function: the one place that calls it, for its values and gradients."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from inbounds import _checks

Points = Float[Tensor, "r n"]
Values = Float[Tensor, " r"]


class Objective:
    """fun and jac as `minimize` takes them; calling it gives value and gradient at each of r points.

    What the user's code does to the point it is given, or later to the tensors it returned, changes nothing
    here: it gets a copy, and its results are copied.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        jac: Callable[..., Any] | bool | None,
        args: Sequence[Any],
        shape: Sequence[int] | None,
    ) -> None:
        """Shape is what fun sees: x0's own, or None for (r, n)."""
        self._fun, self._jac, self._args, self._shape = fun, jac, args, shape
        self._gradient = self._by_autograd if jac is None else self._by_hand

    def __call__(self, points: Points, batch_args: Sequence[Tensor] = ()) -> tuple[Values, Points]:
        """Value and gradient at each point; batch_args hold a row for each."""
        x = points if self._shape is None else points.view(self._shape)
        value, gradient = self._gradient(x, (*self._args, *batch_args))
        # The user may keep, and write into, what he returned.
        value = value.to(points.dtype, copy=True, memory_format=torch.contiguous_format)
        gradient = gradient.to(points.dtype, copy=True, memory_format=torch.contiguous_format)
        return value.view(points.shape[:1]), gradient.view(points.shape)

    def _by_autograd(self, x: Tensor, args: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """By reverse mode, outside inference mode; a third of the cost of torch.func for a small function."""
        try:
            with torch.inference_mode(False), torch.enable_grad():
                leaf = (x.clone() if x.is_inference() else x.detach()).requires_grad_()
                value = self._value(leaf.clone(), args)  # a copy, and no leaf: it may be written into
                total = value.sum() if value.ndim else value  # rows do not mix: one pass gives every gradient
                (gradient,) = torch.autograd.grad(total, leaf, allow_unused=True)
        except RuntimeError as error:
            if "inference" not in str(error).lower():
                raise
            # The function holds tensors made in inference mode; autograd cannot save those, torch.func can.
            self._gradient = self._by_transform
            return self._by_transform(x, args)
        if gradient is None:
            raise ValueError("fun must return a value that depends on x; it depends on other tensors only")
        return value.detach(), gradient

    def _by_transform(self, x: Tensor, args: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """By torch.func in inference mode, where it can use tensors made there."""

        def total(x: Tensor) -> tuple[Tensor, Tensor]:
            value = self._value(x.clone(), args)
            return value.sum(), value

        with torch.inference_mode():
            gradient, (_, value) = torch.func.grad_and_value(total, has_aux=True)(x)
        return value, gradient

    def _value(self, x: Tensor, args: Sequence[Any]) -> Tensor:
        value = _shaped(self._fun(x, *args), "fun's value", x, x.shape[:-1])
        if not value.requires_grad:
            raise ValueError(
                "fun must return a value that autograd can follow back to x; got a detached tensor: "
                "compute it with torch operations on x, or give the gradient through jac"
            )
        return value

    def _by_hand(self, x: Tensor, args: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """With the user's own gradient, in the user's own autograd mode."""
        if callable(self._jac):
            value, gradient = self._fun(x.clone(), *args), self._jac(x.clone(), *args)
        else:
            pair = self._fun(x.clone(), *args)
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise TypeError(
                    f"fun must return (value, gradient) with jac=True; got {_checks.describe(pair)}"
                )
            value, gradient = pair
        value = _shaped(value, "fun's value", x, x.shape[:-1])
        return value.detach(), _shaped(gradient, "jac's gradient", x, x.shape).detach()


def _shaped(value: Any, name: str, x: Tensor, shape: Sequence[int]) -> Tensor:
    """Refuse anything but a real tensor of this shape, beside x."""
    if not isinstance(value, Tensor) or value.is_complex():
        raise TypeError(
            f"{name} must be a real tensor of shape {tuple(shape)}; got {_checks.describe(value)}"
        )
    if value.shape != shape:
        raise ValueError(f"{name} must have shape {tuple(shape)}; got {_checks.describe(value)}")
    return _checks.same_device(value, name, x, "x")
