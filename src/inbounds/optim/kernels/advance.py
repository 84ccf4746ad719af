"""One evaluation moves a row one step: in its line search, or to a new point and a new search direction."""

import math
from typing import NamedTuple

import numpy as np

from inbounds._jit import VECTORISED, kernel
from inbounds.optim.kernels.cauchy import cauchy_point
from inbounds.optim.kernels.linalg import copy, dot, fill
from inbounds.optim.kernels.linesearch import begin_search, observe
from inbounds.optim.kernels.memory import factor_middle, forget, remember
from inbounds.optim.kernels.subspace import TILE, subspace_minimum
from inbounds.optim.state import Memory, Stop

RUNNING, GRADIENT, REDUCTION = int(Stop.RUNNING), int(Stop.GRADIENT), int(Stop.REDUCTION)
MAXITER, MAXFUN = int(Stop.MAXITER), int(Stop.MAXFUN)
ABNORMAL, NONFINITE = int(Stop.ABNORMAL), int(Stop.NONFINITE)
FARTHEST = 1e10  # step_max of a problem without bounds


class Scratch(NamedTuple):
    """What one row needs while it is worked on; allocated once for a block of rows."""

    d: np.ndarray  # (n,) the path's direction, then the Newton direction
    cauchy: np.ndarray  # (n,) the Cauchy point, while the Newton point is tried
    free: np.ndarray  # (n,) bool: not at a bound at the Cauchy point
    t: np.ndarray  # (n,) float64: breakpoints
    order: np.ndarray  # (n,) int64: their variables
    p: np.ndarray  # (2m,) float64: Wᵀd
    c: np.ndarray  # (2m,) float64: Wᵀ(z − x)
    w: np.ndarray  # (2m,) float64: a row of W
    Mw: np.ndarray  # (2m,) float64: a product with M
    LD: np.ndarray  # (m, m) float64: L D⁻¹
    T: np.ndarray  # (m, m) float64: factor of θSᵀS + L D⁻¹ Lᵀ
    K: np.ndarray  # (2m, 2m) float64: factor of K
    Y: np.ndarray  # (m, TILE) float64: some coordinates of Y, by age
    S: np.ndarray  # (m, TILE) float64


@kernel()
def advance_rows(start, stop, f, g, state, box, options, eps, first):
    """Move rows [start, stop) one step, in place, with f and g at their trial points (at x0 if `first`).

    `eps` is the unit roundoff of their dtype.
    """
    n, m = state.x.shape[1], state.memory.S.shape[1]
    x = state.x
    scratch = Scratch(
        np.empty(n, x.dtype),
        np.empty(n, x.dtype),
        np.empty(n, np.bool_),
        np.empty(n, np.float64),
        np.empty(n, np.int64),
        np.empty(2 * m, np.float64),
        np.empty(2 * m, np.float64),
        np.empty(2 * m, np.float64),
        np.empty(2 * m, np.float64),
        np.empty((m, m), np.float64),
        np.empty((m, m), np.float64),
        np.empty((2 * m, 2 * m), np.float64),
        np.empty((m, min(TILE, n)), np.float64),
        np.empty((m, min(TILE, n)), np.float64),
    )
    for i in range(start, stop):
        if state.stop[i] != RUNNING:
            continue
        if first:
            turns = _starts(i, state, box, options)
        else:
            turns = _evaluated(i, f[i], g[i], state, box, options, eps)
        while turns:
            if _direction(i, state, box, eps, scratch):
                _begin(i, state, box, options)
                break
            turns = _start_over(i, state)


@kernel(inner=True)
def _starts(i, state, box, options):
    """Look at x0: does the row want a direction?"""
    finite = math.isfinite(state.f[i])
    for gradient in state.g[i]:
        finite &= math.isfinite(gradient)
    if not finite:
        state.stop[i] = NONFINITE
    elif projected_gradient_norm(state.x[i], state.g[i], box.lower[i], box.upper[i]) <= options.gtol:
        state.stop[i] = GRADIENT
    return state.stop[i] == RUNNING


@kernel(inner=True)
def _evaluated(i, f, g, state, box, options, eps):
    """Take f and g at the row's trial point: does it want a new direction?"""
    search = state.search
    state.nfev[i] += 1
    slope = dot(g, state.direction[i])
    if not observe(search, i, state.f[i], f, slope):
        if search.evaluations[i] < options.maxls:
            _set_trial(i, state, box)
            return False
        return _start_over(i, state)
    _accept(i, f, g, slope, state, box, options, eps)
    return state.stop[i] == RUNNING


@kernel(inner=True)
def _accept(i, f, g, slope, state, box, options, eps):
    """The trial becomes the row's point; test for stops in SciPy's order; remember the pair."""
    x, g_before, f_before = state.x[i], state.g[i], state.f[i]
    copy(state.trial[i], x)
    state.f[i] = f
    state.nit[i] += 1
    stop = RUNNING
    if state.nit[i] >= options.maxiter:
        stop = MAXITER
    elif state.nfev[i] > options.maxfun:
        stop = MAXFUN
    elif projected_gradient_norm(x, g, box.lower[i], box.upper[i]) <= options.gtol:
        stop = GRADIENT
    elif f_before - f <= options.ftol * max(abs(f_before), abs(f), 1.0):
        stop = REDUCTION
    state.stop[i] = stop
    step, slope_before = state.search.step[i], state.search.slope[i]
    curvature = (slope - slope_before) * step  # sᵀy
    if stop == RUNNING and curvature > eps * -slope_before * step:
        remember(state.memory, i, step, state.direction[i], g, g_before, curvature)
    copy(g, g_before)


@kernel(inner=True)
def _start_over(i, state):
    """A search or a factorisation failed: try again without memory; with none to drop, the row stops."""
    if state.memory.held[i] == 0:
        state.stop[i] = ABNORMAL
        return False
    forget(state.memory, i)
    return True


@kernel(inner=True)
def _direction(i, state, box, eps, scratch):
    """Sets target to the model's minimiser in the box, direction = target − x: is it one of descent?"""
    x, g, target, direction = state.x[i], state.g[i], state.target[i], state.direction[i]
    lower, upper = box.lower[i], box.upper[i]
    whole = state.memory
    memory = Memory(
        whole.S[i], whole.Y[i], whole.SY[i], whole.SS[i], whole.head[i], whole.held[i], whole.theta[i]
    )
    if memory.held and not factor_middle(memory, scratch.LD, scratch.T):
        return False
    if box.constrained[i] or memory.held == 0:
        cauchy_point(x, g, lower, upper, memory, eps, target, scratch)
    else:
        copy(x, target)
        fill(scratch.free, True)
        fill(scratch.c, 0.0)
    if memory.held and not subspace_minimum(x, g, lower, upper, memory, target, scratch):
        return False
    for k in range(x.size):
        direction[k] = target[k] - x[k]
    return -math.inf < dot(g, direction) < 0.0


@kernel(inner=True)
def _begin(i, state, box, options):
    """Ask for the first trial point along the direction."""
    direction = state.direction[i]
    step, step_max = 1.0, _step_max(i, state, box)
    if state.nit[i] == 0 and not box.boxed[i]:
        step = min(1.0 / math.sqrt(dot(direction, direction)), step_max)
    step = min(step * options.first_step, step_max)
    begin_search(state.search, i, state.f[i], dot(state.g[i], direction), step, step_max)
    _set_trial(i, state, box)


@kernel(inner=True)
def _step_max(i, state, box):
    """Where the ray from x along the direction leaves the box; in the first iteration 1, SciPy's rule."""
    if not box.constrained[i]:
        return FARTHEST
    if state.nit[i] == 0:
        return 1.0
    x, d, lower, upper = state.x[i], state.direction[i], box.lower[i], box.upper[i]
    farthest = FARTHEST
    for k in range(x.size):
        room = upper[k] - x[k] if d[k] > 0.0 else lower[k] - x[k]
        if abs(d[k]) * farthest > abs(room):
            farthest = room / d[k]
    return farthest


@kernel(inner=True)
def _set_trial(i, state, box):
    """Sets trial: the target itself at step 1, else x + αd, inside the box to the bit."""
    step = state.search.step[i]
    x, direction, trial = state.x[i], state.direction[i], state.trial[i]
    lower, upper = box.lower[i], box.upper[i]
    if step == 1.0:
        copy(state.target[i], trial)
        return
    for k in range(x.size):
        trial[k] = min(max(x[k] + step * direction[k], lower[k]), upper[k])


@kernel(inner=True, fastmath=VECTORISED)
def projected_gradient_norm(x, g, lower, upper):
    """Largest entry of P(x − g) − x. BLNZ (1995), eq. (6.1)."""
    largest = 0.0
    for k in range(x.size):
        clipped = max(g[k], x[k] - upper[k]) if g[k] < 0.0 else min(g[k], x[k] - lower[k])
        largest = max(largest, abs(clipped))
    return largest
