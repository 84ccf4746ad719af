"""A least-squares problem in unit columns, one row per right-hand side: what every solver here is given.

The door's shapes (g matrices, k right-hand sides each) are cut into chunks of bounded memory, computed in
float64 (normal equations square the condition), and put together again.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from inbounds.nnls.kkt import ROUNDING, column_norms, scaled_certificate, unit_columns

EPS = torch.finfo(torch.float64).eps  # of the computation, whatever the data's dtype

GOOD = 1e-12  # certificates above this call for another way

# y, iterations, and a mark, per row
Partial = tuple[Float[Tensor, "c n"], Int[Tensor, " c"], Bool[Tensor, " c"]]


class Solution(NamedTuple):
    """Per right-hand side."""

    x: Float[Tensor, "g n k"]
    nit: Int[Tensor, "g k"]
    reached: Bool[Tensor, "g k"]  # the solver came to its own end, the nearest optimum included
    certificate: Float[Tensor, "g k"]  # before x was rounded to b's dtype


class Scaled(NamedTuple):
    """A problem in y = D x, D the column norms; row c belongs to matrix c // (rows / g)."""

    A: Float[Tensor, "g m n"]  # columns of norm one, or zero
    b: Float[Tensor, "c m"]
    low: Float[Tensor, "c n"]
    high: Float[Tensor, "c n"]
    prior: Float[Tensor, "c n"]
    weight: Float[Tensor, "c n"]  # the nearest optimum has the least Σ (y - prior)² / weight; largest entry 1
    size: Float[Tensor, " c"]  # the denominator of the certificate
    length: Float[Tensor, " c"]  # ‖b‖₂
    eps: float  # the relative rounding of the data: that of the dtype it came in

    def times(self, M: Float[Tensor, "g p q"], v: Float[Tensor, "c q"]) -> Float[Tensor, "c p"]:
        """M v, row by row."""
        return (v.unflatten(0, (M.shape[0], -1)) @ M.mT).flatten(0, 1)

    def gradient(self, y: Float[Tensor, "c n"]) -> Float[Tensor, "c n"]:
        """Aᵀ(A y - b)."""
        return self.times(self.A.mT, self.times(self.A, y) - self.b)

    def rounding(self, y: Float[Tensor, "c n"]) -> Float[Tensor, " c"]:
        """What the gradient at y may be off by; `kkt_residual` has a finer and dearer bound of it."""
        return ROUNDING * EPS * (self.length + torch.linalg.vector_norm(y, 1, dim=-1))

    def certificate(
        self,
        y: Float[Tensor, "c n"],
        gradient: Float[Tensor, "c n"] | None = None,
        rounding: Float[Tensor, " c"] | None = None,
    ) -> Float[Tensor, " c"]:
        """`kkt_residual` of every row, at the gradient of y."""
        gradient = self.gradient(y) if gradient is None else gradient
        rounding = self.rounding(y) if rounding is None else rounding
        y, gradient, low, high = (part.mT.unsqueeze(0) for part in (y, gradient, self.low, self.high))
        size, rounding = self.size.unsqueeze(0), rounding.unsqueeze(0)
        return scaled_certificate(y, gradient, low, high, size, rounding)[0]

    def judged(self, y: Float[Tensor, "c n"]) -> Float[Tensor, " c"]:
        """The certificate as the dtype of the data can tell it."""
        value = self.certificate(y)
        if self.eps <= EPS or not (value > GOOD).any():
            return value
        summed = self.length + torch.linalg.vector_norm(self.times(self.A.abs(), y.abs()), dim=-1)
        return self.certificate(y, rounding=ROUNDING * self.eps * summed)

    def into_box(self, y: Float[Tensor, "c n"]) -> Float[Tensor, "c n"]:
        """The point of the box nearest y."""
        return torch.minimum(torch.maximum(y, self.low), self.high)


def solve_in_chunks(
    A: Float[Tensor, "g m n"],
    b: Float[Tensor, "g m k"],
    lower: Float[Tensor, "g n k"],
    upper: Float[Tensor, "g n k"],
    prior: Float[Tensor, "g n k"],
    weight: Float[Tensor, "g n k"],
    optimum: Callable[[Scaled], Partial],
    budget: int,
) -> Solution:
    """Call `optimum` on chunks of at most about `budget` numbers an array; put its answers together.

    A column in which anything but a bound is NaN or infinite is all NaN, and not reached.
    """
    groups, n, columns = lower.shape
    x = torch.empty_like(lower)
    nit = torch.zeros(groups, columns, dtype=torch.int64, device=b.device)
    reached = torch.ones(groups, columns, dtype=torch.bool, device=b.device)
    value = b.new_zeros(groups, columns, dtype=torch.float64)
    if A.numel() == 0 or b.numel() == 0:  # every x in the box is an optimum
        x = torch.minimum(torch.maximum(prior.to(b.dtype), lower), upper)
        return Solution(x, nit, reached, value)
    for some, part in _chunks(groups, columns, A.shape[-2], n, budget):
        given = [v[some, :, part].double() for v in (b, lower, upper, prior, weight)]
        found = _solve_chunk(A[some].double(), given, torch.finfo(b.dtype).eps, optimum)
        x[some, :, part], nit[some, part], reached[some, part], value[some, part] = found
    # Rounding must not leave the box.
    return Solution(torch.minimum(torch.maximum(x, lower), upper), nit, reached, value)


def _chunks(groups: int, columns: int, m: int, n: int, budget: int) -> Iterator[tuple[slice, slice]]:
    """Slices of matrices and of columns; several matrices only with all of their columns."""
    wide = max(m, n)
    several = max(1, budget // (wide * max(n, columns)))
    width = columns if several > 1 else max(1, budget // wide)
    for first in range(0, groups, several):
        for start in range(0, columns, max(width, 1)):
            yield slice(first, first + several), slice(start, start + width)


def _solve_chunk(
    A: Float[Tensor, "g m n"],
    given: list[Float[Tensor, "g q k"]],
    eps: float,
    optimum: Callable[[Scaled], Partial],
) -> Solution:
    b, lower, upper, prior, weight = given
    finite = A.isfinite().all(-1).all(-1, keepdim=True) & b.isfinite().all(-2)
    finite = finite & prior.isfinite().all(-2) & weight.isfinite().all(-2)
    unit, norms = unit_columns(torch.where(A.isfinite(), A, 0.0))
    problem = _scaled(unit, norms, given, finite.unsqueeze(-2), eps)
    y, nit, reached = optimum(problem)
    value = problem.judged(y)

    columns = finite.shape[-1]
    y, low, high = (part.unflatten(0, (-1, columns)).mT for part in (y, problem.low, problem.high))
    x = y / torch.where(norms == 0, 1.0, norms)
    x = torch.where(y == low, lower, torch.where(y == high, upper, x))  # at a bound to the bit
    x = torch.where(norms == 0, prior, x)  # a zero column leaves x free
    x = torch.minimum(torch.maximum(x, lower), upper)
    x = torch.where(finite.unsqueeze(-2), x, torch.nan)
    nit, reached, value = (part.unflatten(0, (-1, columns)) for part in (nit, reached, value))
    return Solution(x, nit, reached & finite, value)


def _scaled(
    unit: Float[Tensor, "g m n"],
    norms: Float[Tensor, "g n 1"],
    given: list[Float[Tensor, "g q k"]],
    finite: Bool[Tensor, "g 1 k"],
    eps: float,
) -> Scaled:
    b, lower, upper, prior, weight = given
    # Zero columns are fixed at 0 here.
    low, high = (_as_rows(torch.where(norms == 0, 0.0, norms * bound)) for bound in (lower, upper))
    right = _as_rows(torch.where(finite, b, 0.0))
    start = _as_rows(torch.where(finite, norms * prior, 0.0))
    relative = norms / norms.amax(-2, keepdim=True).clamp(min=torch.finfo(norms.dtype).tiny)
    shares = _as_rows(torch.where(finite, relative.square() * weight, 1.0))
    shares = shares / shares.amax(-1, keepdim=True).clamp(min=torch.finfo(norms.dtype).tiny)
    length = column_norms(right.mT.unsqueeze(0))[0, :, 0]
    problem = Scaled(unit, right, low, high, start, shares, torch.zeros_like(length), length, eps)
    here = problem.times(unit, problem.into_box(torch.zeros_like(low)))
    pulls = torch.maximum(problem.times(unit.mT, right).abs(), problem.times(unit.mT, here).abs())
    return problem._replace(size=pulls.amax(-1))


def _as_rows(value: Float[Tensor, "g q k"]) -> Float[Tensor, "c q"]:
    return value.mT.flatten(0, 1).contiguous()


def gram(A: Float[Tensor, "g m n"]) -> Float[Tensor, "g n n"]:
    """AᵀA. Of an odd number of columns, MKL's depends on the number of threads: zeros make it even."""
    n = A.shape[-1]
    if n % 2:
        A = torch.nn.functional.pad(A, (0, 1))
    return (A.mT @ A)[..., :n, :n]
