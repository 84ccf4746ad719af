"""Non-negative least squares for banded matrices: exact, and the optimum nearest to a prior.

Where every column of A touches at most two adjacent rows, A D Aᵀ is tridiagonal for every diagonal D, and the
dual of

    minimise the distance of x to x₀   subject to   x ≥ 0 minimising ‖A x - b‖

is an equation in one variable per row of A whose Newton matrix is tridiagonal (newton.py). A b that no x
meets is first replaced by the nearest one that is met, also in time linear in the rows (cone.py).
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from inbounds.nnls.banded_op import banded_nnls
from inbounds.nnls.bands import Bands, bands
from inbounds.nnls.info import Info
from inbounds.nnls.kkt import kkt_residual

__all__ = ["Bands", "bands", "solve", "solve_columns"]


def solve(
    matrix: Float[Tensor, "m n"],
    b: Float[Tensor, "m k"],
    *,
    prior: str | Float[Tensor, "n k"] = "flat",
    distance: str = "quadratic",
    relative: bool | None = None,
    ridge: float = 0.0,
) -> tuple[Float[Tensor, "n k"], Info]:
    """Solve for the columns of b, and report on each.

    Args:
        matrix: A, non-negative, each column touching at most two adjacent rows (see `bands`).
        b: right-hand sides, any values.
        prior: x₀: "flat" (0 for the quadratic, which gives the minimum-norm optimum; else the column's mean
            level), "envelope" (the levels b[j] / Σ A[j, :] interpolated geometrically), or a tensor.
        distance: "quadratic", "kl" or "is"; see distances.py.
        relative: the quadratic counts deviations relative to x₀ (weight x₀²) or plainly (weight 1). None:
            relative to an envelope, else plainly. Where a relative prior is zero, x is zero.
        ridge: ε ≥ 0: minimise ½‖A x - b‖² + ε · distance instead; 0 is the limit.
    """
    x, nit, converged = solve_columns(
        matrix, b.unsqueeze(0), prior=prior if isinstance(prior, str) else prior.unsqueeze(0),
        distance=distance, relative=relative, ridge=ridge,
    )  # fmt: skip
    x = x[0]
    residual = torch.linalg.vector_norm(matrix @ x - b, dim=0)
    return x, Info(residual, kkt_residual(matrix, b, x), nit[0], converged[0])


def solve_columns(
    matrix: Float[Tensor, "m n"],
    b: Float[Tensor, "batch m k"],
    *,
    prior: str | Float[Tensor, "batch n k"] = "flat",
    distance: str = "quadratic",
    relative: bool | None = None,
    ridge: float = 0.0,
    if_negative: str = "",
) -> tuple[Float[Tensor, "batch n k"], Shaped[Tensor, "batch k"], Shaped[Tensor, "batch k"]]:
    """`solve` without the report: x, iterations and converged; the answer has b's dtype."""
    given = None if isinstance(prior, str) else prior
    name = prior if isinstance(prior, str) else "given"
    if relative is None:
        relative = name == "envelope"
    keep_dual = torch.is_grad_enabled() and (
        b.requires_grad or matrix.requires_grad or (given is not None and given.requires_grad)
    )
    x, _, nit, converged = banded_nnls(
        matrix, b, given, name, distance, relative, ridge, if_negative, keep_dual
    )
    return x, nit, converged
