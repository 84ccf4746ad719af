"""Which optimum: the nearest to the prior of the points that reach a right-hand side, or of all optima."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from inbounds.nnls.engine import Engine
from inbounds.nnls.scaled import Partial, Scaled

GOOD = 1e-12  # certificates above this call for another way
TIGHT = 1e-12  # a gradient below this fraction of the largest is zero
INDEPENDENT = 1e-12  # ratio of squared pivots under which rows may be dependent
CLOSE = 1e-8  # a residual below this fraction of b may be none
GLANCE = 15  # Newton steps after which a right-hand side is taken to be out of reach
PATIENCE = 300  # Newton steps where the right-hand side is known to be within reach


def nearest_solution(problem: Scaled, engine: Engine) -> Partial:
    """The nearest of the y in the box with A y = b, where there are any; marked where not.

    With fewer rows than columns there usually are, and then they are the optima.
    """
    every = torch.arange(len(problem.b), device=problem.b.device)
    R, p = _independent_rows(problem, problem.b)
    y, steps = engine.nearest(R, problem.weight, problem.prior, p, problem.low, problem.high, GLANCE, every)
    return y, steps.abs(), ~((steps >= 0) & (problem.certificate(y) <= GOOD))


def nearest_optimum(
    problem: Scaled,
    y: Float[Tensor, "c n"],
    live: Bool[Tensor, " c"],
    rank: Int[Tensor, " c"],
    engine: Engine,
) -> Partial:
    """From an optimum to the optimum nearest the prior, for the live rows; marked where it was not reached.

    All optimal points have one A y and one gradient; a variable whose gradient is not zero is at its bound in
    all of them. There is another optimum only if the remaining columns are more than their rank; `rank` is
    that of the variables inside the box.
    """
    image, gradient = problem.times(problem.A, y), problem.gradient(y)
    close = (image - problem.b).abs().amax(-1) <= CLOSE * problem.b.abs().amax(-1)
    movable = problem.low < problem.high
    tight = (gradient.abs() <= TIGHT * problem.size.unsqueeze(-1)) & movable
    missed = live & (close | (tight.sum(-1) > rank))
    bar = (10 * problem.certificate(y, gradient)).clamp(min=GOOD)
    nit = torch.zeros_like(rank)
    # Where y all but reaches b, b itself is the better target: the small entries of A y are rounding.
    for rows, target, free in ((missed & close, problem.b, movable), (missed, image, tight)):
        rows = rows & missed & (free.sum(-1) > rank)
        if not rows.any():
            continue
        low, high = torch.where(free, problem.low, y), torch.where(free, problem.high, y)
        R, p = _independent_rows(problem, target)
        z, steps = engine.nearest(R, problem.weight, problem.prior, p, low, high, PATIENCE, indices(rows))
        found = rows & (steps >= 0) & (problem.certificate(z) <= bar)
        y = torch.where(found.unsqueeze(-1), z, y)
        missed, nit = missed & ~found, nit + steps.abs()
    missed &= tight.sum(-1) > rank
    for row in indices(missed):  # columns close to dependent, but not: y was the only optimum
        columns = problem.A[row // (len(y) // len(problem.A))][:, tight[row]]
        missed[row] = torch.linalg.matrix_rank(columns) < columns.shape[-1]
    return y, nit, missed


def indices(chosen: Bool[Tensor, " c"]) -> Int[Tensor, " r"]:
    """The rows that are True."""
    return torch.nonzero(chosen).squeeze(-1)


def _independent_rows(
    problem: Scaled, b: Float[Tensor, "c m"]
) -> tuple[Float[Tensor, "g r n"], Float[Tensor, "c r"]]:
    """R and Qᵀb of A = QR, Q orthonormal: A itself if its rows are independent, else by singular values."""
    A = problem.A
    factor, failed = torch.linalg.cholesky_ex(A @ A.mT)
    pivots = factor.diagonal(dim1=-2, dim2=-1).square()
    if ((failed == 0) & (pivots.amin(-1) > INDEPENDENT * pivots.amax(-1))).all():
        return A, b
    U, values, V = torch.linalg.svd(A, full_matrices=False)
    noise = max(A.shape[-2:]) * torch.finfo(A.dtype).eps * values[:, :1]
    values = torch.where(values > noise, values, 0.0).unsqueeze(-1)
    return values * V, problem.times(U.mT * (values > 0), b)
