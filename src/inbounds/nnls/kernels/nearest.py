"""The point of {A y = p, low <= y <= high} nearest a prior, by Newton's method on the dual, for the CPU.

    y(λ) = clip(y₀ + W Aᵀλ, low, high),        A y(λ) = p,

is the gradient of a convex piecewise-quadratic function φ of λ set to zero. Its Newton matrix is A W_F Aᵀ, F
the variables strictly between their bounds; it is kept from step to step, changed by the variables that came
and went. The line search finds the root of φ' along the step, which is piecewise linear and never falls.
"""

import numpy as np

from inbounds._jit import kernel
from inbounds.nnls.kernels.active_set import axpy, dot
from inbounds.nnls.kernels.pivoting import factor, substitute

RIDGE = 1e-13  # of the full matrix's diagonal: for rows no free variable reaches
FAR_FROM_IT = 1e-3  # ... and more, times the relative error: else such rows take steps that block the others
FAR = 1e12  # a step this long, in units of the target, means that no y has A y = p


@kernel()
def slope(u, weighted, low, high, alpha, constant):
    """φ'(α) along a step, u + α weighted/W being the point before clipping; `constant` is pᵀδ."""
    total = -constant
    for j in range(u.size):
        total += weighted[0, j] * min(max(u[j] + alpha * weighted[1, j], low[j]), high[j])
    return total


@kernel()
def root(u, weighted, low, high, constant):
    """α > 0 with φ'(α) = 0, by a bracket and regula falsi (Illinois); inf where φ' stays negative."""
    left, right = 0.0, 1.0
    f_left = slope(u, weighted, low, high, left, constant)
    f_right = slope(u, weighted, low, high, right, constant)
    size = abs(f_left)
    while f_right < 0.0:
        if right > FAR:
            return np.inf
        left, f_left = right, f_right
        right *= 4.0
        f_right = slope(u, weighted, low, high, right, constant)
    while left == 0.0 and right > 1.0 / FAR:  # near enough for regula falsi, on the side of 0 too
        f = slope(u, weighted, low, high, 0.25 * right, constant)
        if f < 0.0:
            left, f_left = 0.25 * right, f
        else:
            right, f_right = 0.25 * right, f
    width = right - left
    for step in range(200):
        if f_right <= 1e-14 * size:
            return right
        alpha = right - f_right * (right - left) / (f_right - f_left)
        if step % 3 == 2:
            if right - left > 0.25 * width:
                alpha = 0.5 * (left + right)
            width = right - left
        if not left < alpha < right:
            return right
        f = slope(u, weighted, low, high, alpha, constant)
        if f < 0.0:
            left, f_left = alpha, f
            f_right *= 0.5
        else:
            right, f_right = alpha, f
            f_left *= 0.5
        if abs(f) <= 1e-14 * size:
            return alpha
    return right


@kernel()
def change(M, A, weight, u, low, high, inside, first):
    """Bring M = A W_F Aᵀ up to the variables now inside; at the `first` step those at a bound count too."""
    for j in range(u.size):
        now = low[j] < u[j] < high[j] or (first and low[j] <= u[j] <= high[j])
        if now != inside[j]:
            inside[j] = now
            sign = weight[j] if now else -weight[j]
            for i in range(M.shape[0]):
                axpy(sign * A[j, i], A[j, : i + 1], M[i, : i + 1])


@kernel()
def is_graded(weight):
    """Whether taking a heavy variable out of M would leave more rounding behind than a light one weighs."""
    least, most = np.inf, 0.0
    for j in range(weight.size):
        if weight[j] > 0.0:
            least, most = min(least, weight[j]), max(most, weight[j])
    return least < 1e-6 * most


@kernel()
def nearest_column(A, weight, prior, p, low, high, diagonal, y, lam, M, L, u, weighted, inside, rho, steps):
    """One right-hand side; returns Newton steps, negated where A y = p was not reached."""
    n, m = A.shape
    M[:] = 0.0
    inside[:] = False
    lam[:] = 0.0
    size = 0.0
    for i in range(m):
        size = max(size, abs(p[i]))
    if size == 0.0:
        for j in range(n):
            size = max(size, abs(min(max(prior[j], low[j]), high[j])))
    best = np.inf
    stalled = 0
    graded = is_graded(weight)
    for count in range(steps):
        rho[:] = p
        for j in range(n):
            u[j] = prior[j] + weight[j] * dot(A[j], lam)
            value = min(max(u[j], low[j]), high[j])
            if value != 0.0:
                axpy(-value, A[j], rho)
        error = 0.0
        for i in range(m):
            error = max(error, abs(rho[i]))
        if error < best:
            best = error
            for j in range(n):
                y[j] = min(max(u[j], low[j]), high[j])
        if error <= 1e-15 * size:
            return count + 1
        stalled = stalled + 1 if error >= 0.5 * best and best <= 1e-12 * size else 0
        if stalled > 2:
            return count + 1
        if graded:
            M[:] = 0.0
            inside[:] = False
        change(M, A, weight, u, low, high, inside, count == 0)
        ridge = RIDGE + FAR_FROM_IT * error / size
        while True:
            for i in range(m):
                L[i, : i + 1] = M[i, : i + 1]
                L[i, i] += ridge * diagonal[i]
            if factor(L, m):
                break
            ridge *= 10.0
            if not ridge < 1.0:
                return -(count + 1)
        substitute(L, m, rho)
        for j in range(n):
            weighted[0, j] = dot(A[j], rho)
            weighted[1, j] = weight[j] * weighted[0, j]
        alpha = root(u, weighted, low, high, dot(p, rho))
        if not alpha < FAR:
            return -(count + 1)
        axpy(alpha, rho, lam)
    return steps if best <= 1e-12 * size else -steps


@kernel()
def nearest_rows(A, weight, prior, P, low, high, diagonal, Y, nit, steps, rows, start, stop):
    """Fill the rows of Y named by rows[start:stop]; nit is negative where A y = p was not reached in `steps`.

    A is (g, n, m), the transposed matrices; the others have a row per right-hand side, `diagonal` (rows, m)
    that of A W Aᵀ.
    """
    n, m = A.shape[1], A.shape[2]
    each = P.shape[0] // A.shape[0]
    M, L = np.empty((m, m)), np.empty((m, m))
    lam, rho, u = np.empty(m), np.empty(m), np.empty(n)
    weighted, inside = np.empty((2, n)), np.empty(n, np.bool_)
    for i in range(start, stop):
        c = rows[i]
        given = (A[c // each], weight[c], prior[c], P[c], low[c], high[c], diagonal[c])
        nit[c] = nearest_column(*given, Y[c], lam, M, L, u, weighted, inside, rho, steps)
