"""The generalised Cauchy point: the first minimiser of the model along P(x − t g). BLNZ (1995), section 4.

The path bends at the breakpoints tᵢ, where variable i reaches its bound. On a segment the model is a parabola
in t with derivatives f′ and f″; at each breakpoint one variable stops, and both are updated in O(m²).
"""

import math

from inbounds._jit import kernel
from inbounds.optim.kernels.heap import heapify, pop
from inbounds.optim.kernels.linalg import dot, fill
from inbounds.optim.kernels.memory import slot_of, times_middle, transposed_W_times


@kernel(inner=True)
def cauchy_point(x, g, lower, upper, memory, eps, z, scratch):
    """Sets z to the Cauchy point, scratch.free to who is not at a bound there, scratch.c = Wᵀ(z − x)."""
    breaks, bounded = _breakpoints(x, g, lower, upper, z, scratch)
    reached = _walk(x, lower, upper, memory, eps, breaks, bounded, z, scratch)
    d = scratch.d
    for i in range(x.size):
        if d[i] != 0.0:
            z[i] = min(max(x[i] + reached * d[i], lower[i]), upper[i])


@kernel(inner=True)
def _breakpoints(x, g, lower, upper, z, scratch):
    """Sets d = −g where the box lets a variable move, else 0; z = x. Eqs. (4.1), (4.2).

    Returns how many breakpoints there are (in scratch.t, of the variables scratch.order) and whether every
    moving variable has one.
    """
    d, free, t, order = scratch.d, scratch.free, scratch.t, scratch.order
    breaks, bounded = 0, True
    for i in range(x.size):
        z[i] = x[i]
        down = -g[i]
        blocked = (x[i] <= lower[i] and down <= 0.0) or (x[i] >= upper[i] and down >= 0.0)
        free[i] = lower[i] < upper[i] and not blocked
        d[i] = down if free[i] else 0.0
        if d[i] == 0.0:
            continue
        time = ((lower[i] if down < 0.0 else upper[i]) - x[i]) / down
        if time < math.inf:
            t[breaks], order[breaks] = time, i
            breaks += 1
        else:
            bounded = False
    return breaks, bounded


@kernel(inner=True)
def _walk(x, lower, upper, memory, eps, breaks, bounded, z, scratch):
    """Algorithm CP: the t of the Cauchy point. Variables met on the way are put on their bound in z."""
    d, p, c, w, Mw, free = scratch.d, scratch.p, scratch.c, scratch.w, scratch.Mw, scratch.free
    theta, wide = memory.theta, 2 * memory.held
    fill(c, 0.0)
    slope = -dot(d, d)  # f′
    curvature = -theta * slope  # f″ = θdᵀd − pᵀMp
    least_curvature = eps * curvature
    if wide:
        transposed_W_times(memory, d, p)
        times_middle(memory, scratch.LD, scratch.T, p, Mw)
        curvature -= dot(p[:wide], Mw[:wide])
    now, passed = 0.0, 0
    while True:
        dt = -slope / curvature  # to the minimiser of this segment's parabola
        if passed == breaks:
            dt = 0.0 if bounded else dt
            break
        time, b = _next_break(scratch.t, scratch.order, breaks, passed)
        if dt < time - now:
            break
        dt, now = time - now, time
        passed += 1

        d_b = d[b]  # = −g_b
        z[b] = upper[b] if d_b > 0.0 else lower[b]
        z_b = z[b] - x[b]
        d[b], free[b] = 0.0, False
        slope += dt * curvature + d_b * d_b - theta * d_b * z_b  # eq. (4.9)
        curvature -= theta * d_b * d_b  # eq. (4.10)
        if wide:
            for j in range(wide):
                c[j] += dt * p[j]
            _row_of_W(memory, b, w)
            times_middle(memory, scratch.LD, scratch.T, w, Mw)
            slope += d_b * dot(c[:wide], Mw[:wide])
            curvature += 2.0 * d_b * dot(p[:wide], Mw[:wide]) - d_b * d_b * dot(w[:wide], Mw[:wide])
            for j in range(wide):
                p[j] -= d_b * w[j]
        curvature = max(curvature, least_curvature)
    dt = max(dt, 0.0)
    for j in range(wide):
        c[j] += dt * p[j]
    return now + dt


@kernel(inner=True)
def _row_of_W(memory, b, w):
    """Sets w to the b-th row of W."""
    held = memory.held
    for j in range(held):
        slot = slot_of(j, memory.head, memory.S.shape[0])
        w[j] = memory.Y[slot, b]
        w[held + j] = memory.theta * memory.S[slot, b]


@kernel(inner=True)
def _next_break(t, order, breaks, passed):
    """The earliest breakpoint not passed, and its variable; often the first is all that is asked for."""
    last = breaks - 1 - passed
    if passed == 0:
        first = 0
        for k in range(1, breaks):
            if t[k] < t[first]:
                first = k
        t[first], t[last] = t[last], t[first]
        order[first], order[last] = order[last], order[first]
    else:
        if passed == 1:
            heapify(t, order, last + 1)
        pop(t, order, last + 1)
    return t[last], order[last]
