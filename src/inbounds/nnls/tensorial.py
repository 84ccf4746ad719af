"""The engine in tensor operations, for devices without compiled kernels: every row takes its steps abreast.

The algorithms are those of `kernels/`, which explain them; only `descend` differs, where taking one variable
at a time would leave a device idle: it is a proximal-point iteration of pivoting steps.
"""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from inbounds.nnls.engine import Engine, Solved

LOWER, UPPER, FREE = 0, 1, 2
RETRIES = 3  # full exchanges without fewer broken rules before exchanging one at a time
PROXIMITY = 1e-10  # the proximal term, beside a matrix with ones on its diagonal
PROXIMAL_STEPS = 60
RIDGE = 1e-13  # of the diagonal, in the Newton matrix of the dual
FAR_FROM_IT = 1e-3  # ... and more, times the relative error
FAR = 1e12  # a step this long means that no point reaches the target
WORKSPACE = 2**26  # numbers in the matrices of the rows that step abreast


def pivot(
    G: Float[Tensor, "g n n"],
    H: Float[Tensor, "g n n"],
    w: Float[Tensor, "c n"],
    low: Float[Tensor, "c n"],
    high: Float[Tensor, "c n"],
    tolerance: Float[Tensor, " c"],
    rows: Int[Tensor, " r"],
) -> Solved:
    """See Engine; begins with the variables that the unbounded step leaves inside the box."""
    whole = (w.unflatten(0, (G.shape[0], -1)) @ H).flatten(0, 1)
    side = torch.where(whole <= low, LOWER, torch.where(whole >= high, UPPER, FREE))
    return _abreast(_pivot, (G,), (w, low, high, side, tolerance), rows, G.shape[-1] ** 2)


def descend(
    A: Float[Tensor, "g m n"],
    b: Float[Tensor, "c m"],
    low: Float[Tensor, "c n"],
    high: Float[Tensor, "c n"],
    scale: Float[Tensor, " c"],
    rows: Int[Tensor, " r"],
) -> tuple[Float[Tensor, "c n"], Int[Tensor, " c"], Int[Tensor, " c"]]:
    """See Engine.

    Rockafellar's proximal-point method: y⁺ = argmin ½‖A y' - b‖² + ½ε‖y' - y‖² over the box, each a pivoting
    problem with the definite matrix AᵀA + εI. For a quadratic it ends after finitely many steps, whatever the
    rank of A; where AᵀA is well above ε, after one or two.
    """
    G = A.mT @ A + PROXIMITY * torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    matrices, values = (A, G), (b, low, high, scale)
    y, nit = _abreast(_descend, matrices, values, rows, A.shape[-1] * max(A.shape[-2:]))
    free = ((y > low) & (y < high)).to(A.dtype)
    rank = torch.zeros_like(nit)
    for some in rows.split(max(1, WORKSPACE // A[0].numel())):
        matrix = A[some // (len(b) // len(A))] * free[some].unsqueeze(-2)
        rank[some] = torch.linalg.matrix_rank(matrix)
    return y, nit, rank


def nearest(
    A: Float[Tensor, "g m n"],
    weight: Float[Tensor, "c n"],
    prior: Float[Tensor, "c n"],
    p: Float[Tensor, "c m"],
    steps: int,
    low: Float[Tensor, "c n"],
    high: Float[Tensor, "c n"],
    rows: Int[Tensor, " r"],
) -> Solved:
    """See Engine."""
    return _abreast(partial(_nearest, steps=steps), (A,), (weight, prior, p, low, high), rows, A[0].numel())


def project(
    R: Float[Tensor, "g m n"],
    weight: Float[Tensor, "c n"],
    prior: Float[Tensor, "c n"],
    y: Float[Tensor, "c n"],
    low: Float[Tensor, "c n"],
    high: Float[Tensor, "c n"],
    rows: Int[Tensor, " r"],
) -> Solved:
    """See Engine. The few rows that come here take one bound at a time: they do so on the CPU."""
    from inbounds.nnls import compiled

    z, nit = compiled.project(*(value.cpu() for value in (R, weight, prior, y, low, high, rows)))
    return z.to(y.device), nit.to(y.device)


def _abreast(
    work: Callable[..., Solved],
    matrices: tuple[Tensor, ...],
    values: tuple[Tensor, ...],
    rows: Int[Tensor, " r"],
    footprint: int,
) -> Solved:
    """Run `work` on the named rows, as many at a time as memory allows, each with its own matrices."""
    count, n = values[1].shape[0], matrices[0].shape[-1]
    out = values[0].new_zeros(count, n)
    nit = torch.zeros(count, dtype=torch.int64, device=out.device)
    for some in rows.split(max(1, WORKSPACE // max(footprint, 1))):
        if len(matrices[0]) == 1:
            own = matrices
        else:
            own = tuple(matrix[some // (count // len(matrix))] for matrix in matrices)
        out[some], nit[some] = work(*own, *(value[some] for value in values))
    return out, nit


def _times(M: Float[Tensor, "g p q"], v: Float[Tensor, "c q"]) -> Float[Tensor, "c p"]:
    """M v, for one M for all rows or one for each."""
    return v @ M[0].mT if len(M) == 1 else (M @ v.unsqueeze(-1)).squeeze(-1)


def _pivot(
    G: Float[Tensor, "g n n"],
    w: Float[Tensor, "c n"],
    low: Float[Tensor, "c n"],
    high: Float[Tensor, "c n"],
    side: Int[Tensor, "c n"],
    tolerance: Float[Tensor, " c"],
) -> Solved:
    count, n = w.shape
    tolerance = tolerance.unsqueeze(-1)
    answer, nit = torch.zeros_like(w), torch.zeros(count, dtype=torch.int64, device=w.device)
    fewest, retries = torch.full_like(nit, n + 1), torch.full_like(nit, RETRIES)
    movable = low < high
    done = torch.zeros_like(nit, dtype=torch.bool)
    success = done
    for _ in range(3 * n + 30):
        free = side == FREE
        d, definite = _on_face(G, w, torch.where(side == LOWER, low, high), free)
        g = _times(G, d) - w
        below, above = free & (d < low - tolerance), free & (d > high + tolerance)
        inward = ((side == LOWER) & (g < -tolerance)) | ((side == UPPER) & (g > tolerance))
        broken = below | above | (inward & movable)
        number = broken.sum(-1)
        ended = ~done & definite & (number == 0)
        progress = number < fewest
        kept = (~done & definite & progress).unsqueeze(-1)  # if there is no end, the best face seen
        answer = torch.where(kept, torch.minimum(torch.maximum(d, low), high), answer)
        nit += ~done
        success = success | ended
        done = done | ended | ~definite
        if done.all():
            break
        one_at_a_time = ~progress & (retries == 0)
        retries = torch.where(progress, RETRIES, (retries - 1).clamp(min=0))
        fewest = torch.minimum(fewest, number)
        last = broken & (broken.flip(-1).cumsum(-1).flip(-1) == 1)
        moving = torch.where(one_at_a_time.unsqueeze(-1), last, broken) & ~done.unsqueeze(-1)
        other = torch.where(below, LOWER, torch.where(above, UPPER, FREE))
        side = torch.where(moving, other, side)
    return answer, torch.where(success, nit, -nit)


def _on_face(
    G: Float[Tensor, "g n n"], w: Float[Tensor, "c n"], bound: Float[Tensor, "c n"], free: Bool[Tensor, "c n"]
) -> tuple[Float[Tensor, "c n"], Bool[Tensor, " c"]]:
    """The d with d_B = bound and G_FF d_F = w_F - G_FB d_B, and where G_FF was definite."""
    fixed = torch.where(free, 0.0, bound)
    right = torch.where(free, w - _times(G, fixed), 0.0)
    both = free.unsqueeze(-1) & free.unsqueeze(-2)
    matrix = torch.where(both, G, 0.0) + torch.diag_embed((~free).to(w.dtype))
    factor, failed = torch.linalg.cholesky_ex(matrix)
    solved = torch.cholesky_solve(right.unsqueeze(-1), factor).squeeze(-1)
    return torch.where(free, solved, fixed), failed == 0


def _descend(
    A: Float[Tensor, "g m n"],
    G: Float[Tensor, "g n n"],
    b: Float[Tensor, "c m"],
    low: Float[Tensor, "c n"],
    high: Float[Tensor, "c n"],
    scale: Float[Tensor, " c"],
) -> Solved:
    eps = torch.finfo(b.dtype).eps
    y = torch.zeros_like(low).clamp(low, high)
    nit = torch.zeros(len(b), dtype=torch.int64, device=b.device)
    best, best_y = torch.full_like(scale, torch.inf), y
    stale = torch.zeros_like(nit)
    for _ in range(PROXIMAL_STEPS):
        w = _times(A.mT, b - _times(A, y))
        room = torch.maximum(torch.minimum(w, high - y), low - y)
        error = room.abs().amax(-1)
        stale = torch.where(error < 0.5 * best, 0, stale + 1)
        best_y = torch.where((error < best).unsqueeze(-1), y, best_y)
        best = torch.minimum(best, error)
        if ((error <= 4 * eps * scale) | (stale > 3)).all():
            break
        side = torch.where(y <= low, LOWER, torch.where(y >= high, UPPER, FREE))
        step, taken = _pivot(G, w, low - y, high - y, side, 4 * eps * scale)
        nit += taken.abs()
        y = torch.minimum(torch.maximum(y + step, low), high)
    return best_y, torch.where(best <= 1e-10 * scale, nit, -nit)


def _nearest(
    A: Float[Tensor, "g m n"],
    weight: Float[Tensor, "c n"],
    prior: Float[Tensor, "c n"],
    p: Float[Tensor, "c m"],
    low: Float[Tensor, "c n"],
    high: Float[Tensor, "c n"],
    steps: int,
) -> Solved:
    diagonal = _times(A.square(), weight)
    diagonal = torch.where(diagonal > 0, diagonal, 1.0)
    lam, y = torch.zeros_like(p), prior.clamp(low, high)
    size = p.abs().amax(-1)
    size = torch.where(size > 0, size, y.abs().amax(-1))
    best, best_y = torch.full_like(size, torch.inf), y
    stalled = torch.zeros(len(p), dtype=torch.int64, device=p.device)
    nit = torch.zeros_like(stalled)
    live = torch.ones_like(stalled, dtype=torch.bool)
    for count in range(steps):
        u = prior + weight * _times(A.mT, lam)
        y = torch.minimum(torch.maximum(u, low), high)
        rho = p - _times(A, y)
        error = rho.abs().amax(-1)
        best_y = torch.where((live & (error < best)).unsqueeze(-1), y, best_y)
        best = torch.where(live, torch.minimum(best, error), best)
        flat = (error >= 0.5 * best) & (best <= 1e-12 * size)
        stalled = torch.where(flat, stalled + 1, 0)
        nit += live
        live = live & ~(error <= 1e-15 * size) & (stalled <= 2)
        if not live.any():
            break
        inside = (u >= low) & (u <= high) if count == 0 else (u > low) & (u < high)
        M = (A * (weight * inside).unsqueeze(-2)) @ A.mT
        ridge = RIDGE + FAR_FROM_IT * torch.where(size > 0, error / size, 0.0)
        M = M + torch.diag_embed(ridge.unsqueeze(-1) * diagonal)
        factor, failed = torch.linalg.cholesky_ex(M)
        delta = torch.cholesky_solve(rho.unsqueeze(-1), factor).squeeze(-1)
        v = _times(A.mT, delta)
        alpha = _root(u, weight * v, v, low, high, (p * delta).sum(-1))
        live = live & (failed == 0) & (alpha < FAR)
        lam = torch.where(live.unsqueeze(-1), lam + alpha.unsqueeze(-1) * delta, lam)
    return best_y, torch.where(best <= 1e-12 * size, nit, -nit)


def _root(
    u: Float[Tensor, "c n"],
    along: Float[Tensor, "c n"],
    v: Float[Tensor, "c n"],
    low: Float[Tensor, "c n"],
    high: Float[Tensor, "c n"],
    constant: Float[Tensor, " c"],
) -> Float[Tensor, " c"]:
    """α > 0 with φ'(α) = vᵀ clip(u + α along) - constant = 0; inf where it stays negative."""

    def slope(alpha: Float[Tensor, " c"]) -> Float[Tensor, " c"]:
        point = torch.minimum(torch.maximum(u + alpha.unsqueeze(-1) * along, low), high)
        return (v * point).sum(-1) - constant

    left, right = torch.zeros_like(constant), torch.ones_like(constant)
    f_left, f_right = slope(left), slope(right)
    near = 1e-12 * f_left.abs()
    while ((f_right < 0) & (right < FAR)).any():
        short = f_right < 0
        left, f_left = torch.where(short, right, left), torch.where(short, f_right, f_left)
        right = torch.where(short & (right < FAR), 4 * right, right)
        f_right = torch.where(short, slope(right), f_right)
    unreached = f_right < 0
    while ((left == 0) & (right > 1 / FAR) & (f_right > near)).any():
        middle = 0.25 * right
        f = slope(middle)
        wide = (left == 0) & (right > 1 / FAR) & (f_right > near)
        left, f_left = torch.where(wide & (f < 0), middle, left), torch.where(wide & (f < 0), f, f_left)
        right, f_right = torch.where(wide & (f >= 0), middle, right), torch.where(wide & (f >= 0), f, f_right)
    answer, value = right, f_right
    for _ in range(60):
        live = (value.abs() > near) & (f_right > f_left)
        if not live.any():
            break
        alpha = torch.where(live, right - f_right * (right - left) / (f_right - f_left), answer)
        f = slope(alpha)
        value, answer = torch.where(live, f, value), torch.where(live, alpha, answer)
        short = live & (f < 0)
        long = live & (f >= 0)
        left = torch.where(short, alpha, left)
        right = torch.where(long, alpha, right)
        f_right = torch.where(short, 0.5 * f_right, torch.where(long, f, f_right))
        f_left = torch.where(long, 0.5 * f_left, torch.where(short, f, f_left))
    return torch.where(unreached, torch.inf, answer)


ENGINE = Engine(pivot, descend, nearest, project)
