"""Bounded least squares by L-BFGS-B, every right-hand side a row of the batch with its own stop.

On the dual, in one variable for each row of A,

    φ(λ) = Σ u·y(u) - ½ (y(u) - y₀)² / w - bᵀλ,    u = Aᵀλ,    y(u) = clip(y₀ + w u, low, high),

is smooth, convex and without bounds; ∇φ = A y - b, and where it vanishes, y is the nearest of the solutions
of A y = b. A right-hand side with no solution in the box has no minimum there: after some iterations it is
passed on to the primal, ½‖A y - b‖² over the box, in one variable for each column.
"""

from collections.abc import Callable
from types import ModuleType

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from inbounds.nnls.nearest import indices
from inbounds.nnls.scaled import Partial, Scaled, Solution, solve_in_chunks
from inbounds.optim import lbfgsb, rows
from inbounds.optim.box import Box
from inbounds.optim.state import Options, Stop, take

CHUNK = 2**20  # numbers in one array of one chunk: about twenty such arrays are the optimiser's memory
PAIRS = 10
DUAL_ITERATIONS = 300  # a right-hand side that takes more is taken to be out of reach
RESTARTS = 8

# At the points of the rows named: the values, the gradients, and which rows are done there.
Evaluate = Callable[
    [Float[Tensor, "r v"], Int[Tensor, " r"]],
    tuple[Float[Tensor, " r"], Float[Tensor, "r v"], Bool[Tensor, " r"]],
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
        if met.all() or (dual and maxiter <= DUAL_ITERATIONS):
            return y, nit, met
        return _primal(problem, y, nit, met, tol, maxiter)

    return solve_in_chunks(A, b, lower, upper, prior, weight, optimum, CHUNK)


def _clamped(problem: Scaled) -> Float[Tensor, "c n"]:
    """The least-squares solution without bounds, moved into the box."""
    return problem.into_box(problem.times(torch.linalg.pinv(problem.A), problem.b))


def _dual(problem: Scaled, tol: float, maxiter: int) -> Partial:
    """Stops where ‖A y - b‖ is so small that no column of A can give a certificate above tol."""
    A, b = problem.A, problem.b
    diagonal = problem.times(A.square(), problem.weight)
    scale = torch.where(diagonal > 0, diagonal, 1.0).rsqrt()  # λ = scale μ gives φ's Hessian a unit diagonal
    unit = torch.where(problem.size > 0, problem.size, 1.0)  # ... and μ in units of the column's own size
    answer, met = problem.into_box(problem.prior), torch.zeros_like(problem.size, dtype=torch.bool)

    def evaluate(mu: Float[Tensor, "r m"], some: Int[Tensor, " r"]):
        prior, weight = problem.prior[some], problem.weight[some]
        factor = scale[some] * unit[some, None]
        u = _times_some(problem, A.mT, mu * factor, some)
        y = torch.minimum(torch.maximum(prior + weight * u, problem.low[some]), problem.high[some])
        residual = _times_some(problem, A, y, some) - b[some]
        away = y - prior
        distance = torch.where(weight > 0, away.square() / torch.where(weight > 0, weight, 1.0), 0.0)
        value = (u * y - 0.5 * distance).sum(-1) - (mu * factor * b[some]).sum(-1)
        done = torch.linalg.vector_norm(residual, dim=-1) <= tol * problem.size[some]
        answer[some] = y
        met[some] |= done
        square = unit[some].square()
        return value / square, residual * factor / square[:, None], done

    start = torch.zeros_like(b)
    free = Box.of(torch.full_like(b, -torch.inf), torch.full_like(b, torch.inf))
    _, nit, _ = _run(evaluate, start, free, maxiter)
    return answer, nit, met


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

        def evaluate(step: Float[Tensor, "r n"], part: Int[Tensor, " r"], live=live, base=base, pull=pull):
            some = live[part]
            d = step * unit[some]
            image = _times_some(problem, A, d, some)
            gradient = pull[some] + _times_some(problem, A.mT, image, some)
            value = (pull[some] * d).sum(-1) + 0.5 * image.square().sum(-1)
            here, low, high = base[some] + d, problem.low[some], problem.high[some]
            room = torch.maximum(torch.minimum(gradient, here - low), here - high)
            done = room.abs().amax(-1) <= tol * problem.size[some]
            return value / unit[some, 0].square(), gradient / unit[some], done

        bounds = [(bound - y)[live] / unit[live] for bound in (problem.low, problem.high)]
        step, taken, _ = _run(evaluate, torch.zeros_like(y[live]), Box.of(bounds[0], bounds[1]), maxiter)
        moved = problem.into_box(y.index_copy(0, live, y[live] + unit[live] * step))
        y = torch.where((problem.certificate(moved) < value)[:, None], moved, y)
        nit = nit.index_add(0, live, taken)
    return y, nit, met | (problem.certificate(y) <= tol)


def _times_some(
    problem: Scaled, M: Float[Tensor, "g p q"], v: Float[Tensor, "r q"], some: Int[Tensor, " r"]
) -> Float[Tensor, "r p"]:
    """M v for some of the rows."""
    if len(M) == 1:
        return v @ M[0].mT
    return (M[some // (len(problem.b) // len(M))] @ v.unsqueeze(-1)).squeeze(-1)


def _run(
    evaluate: Evaluate, start: Float[Tensor, "c v"], box: Box, maxiter: int
) -> tuple[Float[Tensor, "c v"], Int[Tensor, " c"], Bool[Tensor, " c"]]:
    """L-BFGS-B until every row is done or can go no further: points, iterations, done.

    A row leaves when it is done; once a quarter of the rows have left, the others close up.
    """
    engine: ModuleType = rows if start.device.type == "cpu" else lbfgsb
    options = Options(maxcor=PAIRS, ftol=0.0, gtol=0.0, maxiter=maxiter, maxfun=20 * maxiter, maxls=20)
    here = torch.arange(len(start), device=start.device)
    answer, done = start.clone(), torch.zeros(len(start), dtype=torch.bool, device=start.device)
    nit = torch.zeros_like(here)
    if start.numel() == 0:
        return answer, nit, done
    f, g, finished = evaluate(start, here)
    state = engine.init(start, f, g, box, options)
    point = start
    while True:
        nit[here] = torch.where(done[here], nit[here], state.nit)
        stopped = state.stop != Stop.RUNNING
        answer[here] = torch.where(done[here, None], answer[here], state.x)
        answer[here[finished]] = point[finished]
        done[here[finished]] = True
        left = stopped | done[here]
        if left.all():
            return answer, nit, done
        if 4 * int(left.sum()) >= len(left):
            kept = indices(~left)
            state, here = take(state, kept), here[kept]
            box = Box(*(part[kept] for part in box))
        point = state.trial.clone()
        f, g, finished = evaluate(point, here)
        finished = finished & ~done[here] & (state.stop == Stop.RUNNING)
        state = engine.advance(state, f, g, box, options)
