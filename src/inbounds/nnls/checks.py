"""The door of the least squares: shapes checked, and every problem brought to one canonical form."""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from inbounds import _checks


class Layout(NamedTuple):
    """How b came, so that answers leave in the same shape.

    Inside, a problem is g matrices with k right-hand sides each: A (g, m, n), b (g, m, k), x (g, n, k).
    One shared A is g = 1 with every right-hand side a column, whatever the batch of b was.
    """

    batch: tuple[int, ...]
    columns: int
    vector: bool  # b was (m,)
    shared: bool  # A was (m, n)

    def fold(self, value: Shaped[Tensor, "*batch rows columns"]) -> Shaped[Tensor, "g rows k"]:
        """(*batch, rows, columns) to (g, rows, k)."""
        value = value.expand(*self.batch, value.shape[-2], self.columns)
        # Sizes are spelled out: with no entries at all, -1 could be any number.
        count = math.prod(self.batch)
        if not self.shared:
            return value.reshape(count, value.shape[-2], self.columns)
        if not self.batch:
            return value.unsqueeze(0)
        return value.movedim(-2, 0).reshape(1, value.shape[-2], count * self.columns)

    def unfold(self, value: Shaped[Tensor, "g rows k"]) -> Shaped[Tensor, "..."]:
        """(g, rows, k) back to the caller's shape."""
        rows = value.shape[-2]
        if self.shared and self.batch:
            value = value.reshape(rows, *self.batch, self.columns).movedim(0, -2)
        else:
            value = value.reshape(*self.batch, rows, self.columns)
        return value.squeeze(-1) if self.vector else value

    def unfold_columns(self, value: Shaped[Tensor, "g k"]) -> Shaped[Tensor, "..."]:
        """One value per column, back to the caller's shape: that of b without its rows."""
        return self.unfold(value.unsqueeze(-2)).squeeze(-1 if self.vector else -2)


class Problem(NamedTuple):
    """min ‖A x - b‖ for every matrix and column, and the way back to the caller's shapes."""

    A: Float[Tensor, "g m n"]
    b: Float[Tensor, "g m k"]
    layout: Layout

    def like_x(self, value: Tensor, name: str) -> Float[Tensor, "g n k"]:
        """A tensor that broadcasts to the caller's x, folded; its dtype and device become b's."""
        A, layout = self.A, self.layout
        _checks.same_device(_checks.tensor(value, name), name, A, "A")
        shape = (
            (*layout.batch, A.shape[-1]) if layout.vector else (*layout.batch, A.shape[-1], layout.columns)
        )
        value = _checks.broadcastable(value, name, shape, "x")
        return layout.fold(value.unsqueeze(-1) if layout.vector else value).to(self.b.dtype)


def problem(A: object, b: object) -> Problem:
    """Check A (*batch, m, n) or (m, n) with b (m,) or (*batch, m, k), and fold them.

    Half precision is computed in float32; A and b of two dtypes in the wider one.
    """
    A, b = _checks.floating(A, "A", rank=2), _checks.floating(b, "b", rank=1)
    _checks.same_device(b, "b", A, "A")
    vector = b.ndim == 1
    right = b.unsqueeze(-1) if vector else b
    if right.shape[-2] != A.shape[-2]:
        raise ValueError(
            f"b must have as many rows as A, {A.shape[-2]}; got {_checks.describe(b)} "
            f"beside A of shape {tuple(A.shape)}"
        )
    try:
        batch = torch.broadcast_shapes(A.shape[:-2], right.shape[:-2])
    except RuntimeError:
        raise ValueError(
            f"the leading dimensions of b must broadcast with those of A, {tuple(A.shape[:-2])}; "
            f"got {_checks.describe(b)}"
        ) from None
    working = torch.promote_types(A.dtype, b.dtype)
    if working.itemsize < 4:
        working = torch.float32
    layout = Layout(tuple(batch), right.shape[-1], vector, A.ndim == 2)
    matrices = A.unsqueeze(0)
    if A.ndim > 2:
        matrices = A.expand(*batch, *A.shape[-2:]).reshape(math.prod(batch), *A.shape[-2:])
    return Problem(matrices.to(working), layout.fold(right).to(working), layout)


def bounds_of(problem: Problem, bounds: Any) -> tuple[Float[Tensor, "g n k"], Float[Tensor, "g n k"]]:
    """The box as two tensors like x: each of `bounds` is None, a number or a tensor that broadcasts to x.

    A bound for each variable, (n,), is also taken beside a b with columns: every column gets it.
    """
    if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
        bounds = (bounds.lb, bounds.ub)
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        raise TypeError(
            "bounds must be a pair (lower, upper), each None, a number or a tensor, or an object with "
            f".lb and .ub; got {_checks.describe(bounds)}"
        )
    lower = _bound(problem, bounds[0], "lower", float("-inf"))
    upper = _bound(problem, bounds[1], "upper", float("inf"))
    return lower, upper


def _bound(problem: Problem, value: Any, name: str, absent: float) -> Float[Tensor, "g n k"]:
    if not isinstance(value, Tensor):
        try:
            value = torch.as_tensor(absent if value is None else value, dtype=problem.b.dtype).to(
                problem.b.device
            )
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(
                f"{name} must be None, a number or a tensor; got {_checks.describe(value)}"
            ) from None
    if value.is_complex():
        raise TypeError(f"{name} must be real; got {_checks.describe(value)}")
    if value.ndim == 1 and not problem.layout.vector:
        value = value.unsqueeze(-1)
    return problem.like_x(value, name)


def box_values(lower: Float[Tensor, "*shape"], upper: Float[Tensor, "*shape"]) -> None:
    """Refuse NaN bounds and reversed ones."""
    for value, name in ((lower, "lower"), (upper, "upper")):
        broken = value.isnan()
        if broken.any():
            raise ValueError(f"{name} must not be NaN; {_checks.violations(broken)}")
    broken = (lower > upper) | (lower == torch.inf) | (upper == -torch.inf)
    if broken.any():
        first = tuple(torch.nonzero(broken)[0].tolist())
        raise ValueError(
            f"lower must be <= upper, with some number between them; {_checks.violations(broken)}: "
            f"{lower[first].item():g} and {upper[first].item():g}"
        )
