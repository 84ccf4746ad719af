"""Which optimum: the nearest to the prior of the points that reach a right-hand side, or of all optima."""

from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from inbounds.nnls.engine import Engine
from inbounds.nnls.rank import independent_rows
from inbounds.nnls.scaled import GOOD, Partial, Scaled

TIGHT = 1e-12  # a gradient below this fraction of the largest is zero
CLOSE = 1e-8  # a residual below this fraction of b may be none
SAME = 1e-12  # of the prior: points this near to each other are one
GLANCE = 15  # Newton steps after which a right-hand side is taken to be out of reach
PATIENCE = 60  # Newton steps where the right-hand side is known to be within reach, before the sure way


def nearest_solution(problem: Scaled, engine: Engine) -> Partial:
    """The nearest of the y in the box with A y = b, where there are any; marked where not.

    With fewer rows than columns there usually are, and then they are the optima.
    """
    every = torch.arange(len(problem.b), device=problem.b.device)
    R, p = independent_rows(problem.A, problem.b, problem.eps)
    y, steps = engine.nearest(R, problem.weight, problem.prior, p, GLANCE, problem.low, problem.high, every)
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
    gradient = problem.gradient(y)
    close = (problem.times(problem.A, y) - problem.b).abs().amax(-1) <= CLOSE * problem.b.abs().amax(-1)
    movable = problem.low < problem.high
    zero = torch.maximum(TIGHT * problem.size, problem.rounding(y)).unsqueeze(-1)
    tight = (gradient.abs() <= zero) & movable
    several = tight.sum(-1) > rank
    missed = live & (close | several)
    bar = (10 * problem.certificate(y, gradient)).clamp(min=GOOD)
    nit = torch.zeros_like(rank)
    if not missed.any():
        return y, nit, missed
    R, p = independent_rows(problem.A, problem.b, problem.eps)
    image, given = problem.times(R, y), (R, problem.weight, problem.prior)
    # Where y all but reaches b, b itself is the better target: the small entries of A y are rounding.
    attempts = (
        (close & (movable.sum(-1) > rank), movable, partial(engine.nearest, *given, p, PATIENCE)),
        (several, tight, partial(engine.nearest, *given, image, PATIENCE)),
        (several, tight, partial(engine.project, *given, y)),
    )
    for rows, free, attempt in attempts:
        rows = rows & missed
        if not rows.any():
            continue
        low, high = torch.where(free, problem.low, y), torch.where(free, problem.high, y)
        z, steps = attempt(low, high, indices(rows))
        ended = rows & (steps >= 0)
        found = ended & (problem.certificate(z) <= bar)
        # Where y is tiny beside the prior, z is too coarse a sum to be as good; it may still say y is it.
        here = ended & ((z - y).abs().amax(-1) <= SAME * problem.prior.abs().amax(-1))
        y = torch.where(found.unsqueeze(-1), z, y)
        missed, nit = missed & ~(found | here), nit + steps.abs()
    return y, nit, missed & several


def indices(chosen: Bool[Tensor, " c"]) -> Int[Tensor, " r"]:
    """The rows that are True."""
    return torch.nonzero(chosen).squeeze(-1)
