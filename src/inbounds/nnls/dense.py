"""Bounded least squares for any matrix, solved exactly: normal equations where they are safe, else a QR.

    m >= n, well conditioned   pivoting on the normal equations, refined by the true residual
    m < n                      where A x = b has solutions in the box: the nearest of them, by the dual
    what is left               an active set on a QR factorisation
    optimum not unique         {x in the box: A x = A x*} are the others: the nearest, by the dual

Every answer is judged by its certificate, computed from the residual of the original matrix, so a shortcut
that fails costs time and not accuracy.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from inbounds.nnls.engine import Engine
from inbounds.nnls.kkt import ROUNDING
from inbounds.nnls.nearest import indices, nearest_optimum, nearest_solution
from inbounds.nnls.rank import clear_rank
from inbounds.nnls.scaled import EPS, GOOD, Partial, Scaled, Solution, gram, solve_in_chunks

FINE = 1e-14  # certificates below this are rounding
ROUNDS = 4  # of refinement
SAFE = 1e9  # condition of the normal equations up to which refinement gains seven digits a round
CHUNK = 2**22  # numbers in one array of one chunk
# One compiled call is faster up to so many variables in a right-hand side, or in all of them together.
NARROW = 16
FEW = 2**11


def engine_for(device: torch.device) -> Engine:
    """Compiled kernels on the CPU, tensor operations elsewhere."""
    if device.type == "cpu":
        from inbounds.nnls import compiled

        return compiled.ENGINE
    from inbounds.nnls import tensorial

    return tensorial.ENGINE


def solve(
    A: Float[Tensor, "g m n"],
    b: Float[Tensor, "g m k"],
    lower: Float[Tensor, "g n k"],
    upper: Float[Tensor, "g n k"],
    prior: Float[Tensor, "g n k"],
    weight: Float[Tensor, "g n k"],
    engine: Engine | None = None,
) -> Solution:
    """The optimum nearest `prior`: the least Σ (x - prior)² / weight."""
    if engine is None and b.device.type == "cpu" and _is_small(A, lower):
        found = _solve_small(A, b, lower, upper, prior, weight)
        if found is not None:
            return found
    chosen = engine or engine_for(b.device)
    return solve_in_chunks(
        A, b, lower, upper, prior, weight, lambda problem: _optimum(problem, chosen), CHUNK
    )


def _is_small(A: Float[Tensor, "g m n"], lower: Float[Tensor, "g n k"]) -> bool:
    few = lower.numel() <= FEW or A.shape[-1] <= NARROW
    return few and 0 < A.shape[-1] <= A.shape[-2] and lower.numel() > 0


def _solve_small(
    A: Float[Tensor, "g m n"],
    b: Float[Tensor, "g m k"],
    lower: Float[Tensor, "g n k"],
    upper: Float[Tensor, "g n k"],
    prior: Float[Tensor, "g n k"],
    weight: Float[Tensor, "g n k"],
) -> Solution | None:
    """The same by one compiled call, where every optimum is unique and everything finite; None elsewhere."""
    from inbounds.nnls import compiled

    x, nit, value = compiled.solve_small(A, b, lower, upper, (ROUNDING * EPS, FINE, ROUNDS))
    # A NaN in the data makes the certificate NaN; one in the prior or the weight must be looked for.
    if not bool((value <= GOOD).all() & (prior.sum() * weight.sum()).isfinite()):
        return None
    x = torch.minimum(torch.maximum(x, lower), upper)  # rounding must not leave the box
    return Solution(x, nit, torch.ones_like(nit, dtype=torch.bool), value)


def _optimum(problem: Scaled, engine: Engine) -> Partial:
    """y, iterations, and whether the row came to its end."""
    if problem.A.shape[-2] >= problem.A.shape[-1]:
        y, nit, live = _pivot(problem, engine)
    else:
        y, nit, live = nearest_solution(problem, engine)
    if not live.any():
        return y, nit, ~live
    if problem.eps > EPS:
        problem = problem._replace(A=clear_rank(problem.A, problem.eps))
    scale = torch.maximum(problem.size, problem.length)
    found, steps, rank = engine.descend(problem.A, problem.b, problem.low, problem.high, scale, indices(live))
    better = live & ~(problem.certificate(found) > problem.certificate(y))
    y = torch.where(better.unsqueeze(-1), found, y)
    z, more, missed = nearest_optimum(problem, y, live, rank, engine)
    return z, nit + steps.abs() + more, (~live | (steps >= 0)) & ~missed


def _pivot(problem: Scaled, engine: Engine) -> Partial:
    """Pivoting on the normal equations of well-conditioned matrices, refined until only rounding is left.

    Each round solves for a correction with the true residual b - A y on its right: what the normal equations
    lose by squaring the condition, the next round regains. The mark is for rows that need another way.
    """
    y = problem.into_box(torch.zeros_like(problem.low))
    G = gram(problem.A)
    G = G + torch.diag_embed((G.diagonal(dim1=-2, dim2=-1) == 0).to(G.dtype))  # zero columns, fixed at 0
    H, singular = torch.linalg.inv_ex(G)
    condition = torch.linalg.matrix_norm(G, 1) * torch.linalg.matrix_norm(H, 1)
    safe = (singular == 0) & (condition <= SAFE)  # False where the condition is NaN
    safe_rows = safe.repeat_interleave(len(y) // len(safe))
    live = safe_rows.clone()
    H = torch.where(safe.unsqueeze(-1).unsqueeze(-1), H, 0.0)
    nit = torch.zeros(len(y), dtype=torch.int64, device=y.device)
    gradient = problem.gradient(y)
    value = problem.certificate(y, gradient)
    tolerance = 4 * torch.finfo(y.dtype).eps * problem.size
    for _ in range(ROUNDS):
        live &= value > FINE
        if not live.any():
            break
        room = problem.low - y, problem.high - y
        step, taken = engine.pivot(G, H, -gradient, *room, tolerance, indices(live))
        moved = problem.into_box(y + step)
        gradient_moved = problem.gradient(moved)
        value_moved = problem.certificate(moved, gradient_moved)
        live &= value_moved < value
        y = torch.where(live.unsqueeze(-1), moved, y)
        gradient = torch.where(live.unsqueeze(-1), gradient_moved, gradient)
        value = torch.where(live, value_moved, value)
        nit = nit + taken.abs()
    return y, nit, ~(safe_rows & (value <= GOOD))  # unsafe: there may be other optima
