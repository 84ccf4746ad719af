"""Bounded least squares by L-BFGS-B, every right-hand side a row of the batch with its own stop.

On the dual, in one variable for each row of A,

    φ(λ) = Σ u·y(u) - ½ (y(u) - y₀)² / w - bᵀλ,    u = Aᵀλ,    y(u) = clip(y₀ + w u, low, high),

is smooth, convex and without bounds; ∇φ = A y - b, and where it vanishes, y is the nearest of the solutions
of A y = b. A right-hand side with no solution in the box has no minimum there: after some iterations it is
passed on to the primal, ½‖A y - b‖² over the box, in one variable for each column.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from inbounds.nnls.nearest import indices
from inbounds.nnls.scaled import Partial, Scaled, Solution, solve_in_chunks
from inbounds.optim.box import Box
from inbounds.optim.engine import of as engine_of
from inbounds.optim.state import Options, Stop, take

CHUNK = 2**18  # numbers in one array of one chunk: about twenty such arrays are the optimiser's memory
PAIRS = 10
DUAL_ITERATIONS = 300  # a right-hand side that takes more is taken to be out of reach
RESTARTS = 8

# The values, the gradients, and which rows are done, at points of some rows.
Evaluate = Callable[
    [Float[Tensor, "r v"]], tuple[Float[Tensor, " r"], Float[Tensor, "r v"], Bool[Tensor, " r"]]
]


def solve(
    A: Float[Tensor, "g m n"],
    b: Float[Tensor, "g m k"],
    lower: Float[Tensor, "g n k"],
    upper: Float[Tensor, "g n k"],
    prior: Float[Tensor, "g n k"],
    weight: Float[Tensor, "g n k"],
    *,
    dual: bool,
    tol: float,
    maxiter: int,
) -> Solution:
    """Every right-hand side until its certificate is at most `tol`."""

    def optimum(problem: Scaled) -> Partial:
        if dual:
            y, nit, met = _dual(problem, tol, min(maxiter, DUAL_ITERATIONS))
        else:
            y, nit = _clamped(problem), torch.zeros_like(problem.size, dtype=torch.int64)
            met = problem.certificate(y) <= tol
        if not met.all() and not (dual and maxiter <= DUAL_ITERATIONS):
            y, nit, met = _primal(problem, y, nit, met, tol, maxiter)
        return _on_bounds(problem, y, tol), nit, met

    return solve_in_chunks(A, b, lower, upper, prior, weight, optimum, CHUNK)


def _on_bounds(problem: Scaled, y: Float[Tensor, "c n"], tol: float) -> Float[Tensor, "c n"]:
    """Variables that are nearer to a bound than their gradient is long, moved onto it.

    They differ from it by rounding, but count as free where the answer is differentiated.
    """
    gradient = problem.gradient(y)
    moved = torch.where(y - gradient <= problem.low, problem.low, y)
    moved = torch.where(y - gradient >= problem.high, problem.high, moved)
    as_good = problem.certificate(moved) <= problem.certificate(y, gradient).clamp(min=tol)
    return torch.where(as_good[:, None], moved, y)


def _clamped(problem: Scaled) -> Float[Tensor, "c n"]:
    """The least-squares solution without bounds, moved into the box."""
    return problem.into_box(problem.times(torch.linalg.pinv(problem.A), problem.b))


def _dual(problem: Scaled, tol: float, maxiter: int) -> Partial:
    """Stops where ‖A y - b‖ is so small that no column of A can give a certificate above tol."""
    A, b = problem.A, problem.b
    diagonal = problem.times(A.square(), problem.weight)
    unit = torch.where(problem.size > 0, problem.size, 1.0)[:, None]
    # λ = factor μ gives φ's Hessian a unit diagonal, and μ the column's own size.
    factor = unit * torch.where(diagonal > 0, diagonal, 1.0).rsqrt()

    def of(some: Int[Tensor, " r"]) -> tuple[Evaluate, Callable[[Tensor], Tensor]]:
        prior, weight, low, high = (
            part[some] for part in (problem.prior, problem.weight, problem.low, problem.high)
        )
        inverse = torch.where(weight > 0, 0.5 / torch.where(weight > 0, weight, 1.0), 0.0)
        scale, right, size, own = factor[some], b[some], unit[some], _own(A, some, len(b))

        def primal(mu: Float[Tensor, "r m"]) -> tuple[Float[Tensor, "r n"], Float[Tensor, "r n"]]:
            u = _times(own.mT, mu * scale)
            return u, torch.clamp(torch.addcmul(prior, weight, u), low, high)

        def evaluate(mu: Float[Tensor, "r m"]):
            u, y = primal(mu)
            residual = _times(own, y) - right
            value = (u * y).sub_((y - prior).square_().mul_(inverse)).sum(-1) - (mu * scale * right).sum(-1)
            done = torch.linalg.vector_norm(residual, dim=-1) <= tol * problem.size[some]
            return value / size[:, 0].square(), residual * scale / size.square(), done

        return evaluate, lambda mu: primal(mu)[1]

    free = Box.of(torch.full_like(b, -torch.inf), torch.full_like(b, torch.inf))
    mu, nit, met = _run(lambda some: of(some)[0], torch.zeros_like(b), free, maxiter)
    return of(torch.arange(len(b), device=b.device))[1](mu), nit, met


def _primal(
    problem: Scaled,
    y: Float[Tensor, "c n"],
    nit: Int[Tensor, " c"],
    met: Bool[Tensor, " c"],
    tol: float,
    maxiter: int,
) -> Partial:
    """From y on. The objective is measured from where the run began: near an optimum its differences would
    drown in the rounding of ½‖A y - b‖² itself. A run that ends in rounding begins again where it ended.
    """
    A = problem.A
    unit = torch.where(problem.size > 0, problem.size, 1.0)[:, None]
    before = torch.full_like(problem.size, torch.inf)
    for _ in range(RESTARTS):
        value = problem.certificate(y)
        met = met | (value <= tol)
        live = indices(~met & (value < 0.5 * before) & (nit < maxiter))
        if not len(live):
            break
        before = value
        base, pull = y, problem.gradient(y)

        def of(part: Int[Tensor, " r"], live=live, base=base, pull=pull) -> Evaluate:
            some = live[part]
            low, high = (problem.low - base)[some], (problem.high - base)[some]
            slope, scale, size, own = pull[some], unit[some], problem.size[some], _own(A, some, len(base))

            def evaluate(point: Float[Tensor, "r n"]):
                d = point * scale
                image = _times(own, d)
                gradient = slope + _times(own.mT, image)
                value = (slope * d).sum(-1) + 0.5 * image.square().sum(-1)
                room = torch.maximum(torch.minimum(gradient, d - low), d - high)
                done = room.abs().amax(-1) <= tol * size
                return value / scale[:, 0].square(), gradient / scale, done

            return evaluate

        bounds = [(bound - y)[live] / unit[live] for bound in (problem.low, problem.high)]
        step, taken, _ = _run(of, torch.zeros_like(y[live]), Box.of(bounds[0], bounds[1]), maxiter)
        moved = problem.into_box(y.index_copy(0, live, y[live] + unit[live] * step))
        y = torch.where((problem.certificate(moved) < value)[:, None], moved, y)
        nit = nit.index_add(0, live, taken)
    return y, nit, met | (problem.certificate(y) <= tol)


def _own(A: Float[Tensor, "g m n"], some: Int[Tensor, " r"], count: int) -> Float[Tensor, "h m n"]:
    """The one matrix of all rows, or one for each of some rows."""
    return A if len(A) == 1 else A[some // (count // len(A))]


def _times(M: Float[Tensor, "h p q"], v: Float[Tensor, "r q"]) -> Float[Tensor, "r p"]:
    """M v, for one M for all rows or one for each."""
    return v @ M[0].mT if len(M) == 1 else (M @ v.unsqueeze(-1)).squeeze(-1)


def _run(
    evaluator: Callable[[Int[Tensor, " r"]], Evaluate], start: Float[Tensor, "c v"], box: Box, maxiter: int
) -> tuple[Float[Tensor, "c v"], Int[Tensor, " c"], Bool[Tensor, " c"]]:
    """L-BFGS-B until every row is done or can go no further: points, iterations, done.

    `evaluator` is asked for the function of the rows at work, again whenever they have become fewer: a row
    that has left is evaluated on until a quarter of the rows have, and then the others close up.
    """
    engine = engine_of(start)
    options = Options(maxcor=PAIRS, ftol=0.0, gtol=0.0, maxiter=maxiter, maxfun=20 * maxiter, maxls=20)
    here = torch.arange(len(start), device=start.device)
    answer, done = start.clone(), torch.zeros(len(start), dtype=torch.bool, device=start.device)
    nit = torch.zeros_like(here)
    if start.numel() == 0:
        return answer, nit, done
    evaluate = evaluator(here)
    f, g, finished = evaluate(start)
    state = engine.init(start, f, g, box, options)
    point, left = start, torch.zeros_like(done)
    while True:
        stopped = state.stop != Stop.RUNNING
        new = ~left & (finished | stopped)
        rows = here[new]
        answer[rows] = torch.where(finished[new, None], point[new], state.x[new])
        done[rows], nit[rows] = finished[new], state.nit[new]
        left = left | new
        if left.all():
            return answer, nit, done
        if 4 * int(left.sum()) >= len(left):
            kept = indices(~left)
            state, here, left = take(state, kept), here[kept], left[kept]
            box = Box(*(part[kept] for part in box))
            evaluate = evaluator(here)
        point = state.trial.clone()
        f, g, finished = evaluate(point)
        state = engine.advance(state, f, g, box, options)
