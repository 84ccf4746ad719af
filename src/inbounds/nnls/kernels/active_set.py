"""Bounded-variable least squares by an active set on a QR factorisation, one right-hand side at a time.

The sure way, where normal equations lose too many digits or the columns are dependent: one variable enters at
a time, the free columns are orthogonalised against each other (twice is enough), and a variable leaves by
plane rotations. The free columns are always independent, and the objective falls at every step.

    Follows: Lawson & Hanson (1974), ch. 23; Stark & Parker (1995) for two bounds and a warm start;
             Daniel, Gragg, Kaufman, Stewart (1976) for the factorisation.
"""

import numpy as np

from inbounds._jit import VECTORISED, kernel
from inbounds.nnls.kernels.pivoting import FREE, LOWER, UPPER

PARKED = 3  # between its bounds, but not free: its column depends on the free ones
DEPENDENT = 1e-13  # a unit column with no more than this outside the span of the others


@kernel(fastmath=VECTORISED)
def dot(a, b):
    """aᵀb."""
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@kernel(fastmath=VECTORISED)
def axpy(alpha, a, b):
    """B += alpha a."""
    for i in range(a.size):
        b[i] += alpha * a[i]


@kernel()
def append(a, Q, R, size):
    """Add a column to Q R (rows of Q are orthonormal, R[j] is column j); False where it is dependent."""
    if size == Q.shape[0]:
        return False
    q, r = Q[size], R[size]
    q[:] = a
    r[:] = 0.0
    for _ in range(2):
        for j in range(size):
            part = dot(Q[j], q)
            r[j] += part
            axpy(-part, Q[j], q)
    norm = np.sqrt(dot(q, q))
    if not norm > DEPENDENT:
        return False
    r[size] = norm
    q /= norm
    return True


@kernel()
def remove(Q, R, size, position):
    """Drop a column from Q R, rotating the triangle back into shape."""
    for j in range(position, size - 1):
        R[j, :size] = R[j + 1, :size]
    for j in range(position, size - 1):
        radius = np.hypot(R[j, j], R[j, j + 1])
        cosine, sine = R[j, j] / radius, R[j, j + 1] / radius
        for column in range(j, size - 1):
            upper, lower = R[column, j], R[column, j + 1]
            R[column, j] = cosine * upper + sine * lower
            R[column, j + 1] = cosine * lower - sine * upper
        R[j, j + 1] = 0.0
        for i in range(Q.shape[1]):
            upper, lower = Q[j, i], Q[j + 1, i]
            Q[j, i] = cosine * upper + sine * lower
            Q[j + 1, i] = cosine * lower - sine * upper


@kernel()
def step_of(Q, R, size, residual, v):
    """V = the least-squares step of the free variables: R v = Qᵀ residual."""
    for j in range(size):
        v[j] = dot(Q[j], residual)
    for j in range(size - 1, -1, -1):
        v[j] /= R[j, j]
        axpy(-v[j], R[j, :j], v[:j])


@kernel()
def residual_of(A, b, x, residual):
    """Residual = b - A x, the rows of A being the columns of the matrix."""
    residual[:] = b
    for j in range(x.size):
        if x[j] != 0.0:
            axpy(-x[j], A[j], residual)


@kernel()
def descend(A, b, x, low, high, side, order, size, Q, R, residual, v):
    """Go to the least-squares point of the free variables, fixing those met on the way; the new size."""
    while True:
        step_of(Q, R, size, residual, v)
        fraction = 1.0
        for i in range(size):
            j = order[i]
            if x[j] + v[i] < low[j]:
                fraction = min(fraction, (low[j] - x[j]) / v[i])
            elif x[j] + v[i] > high[j]:
                fraction = min(fraction, (high[j] - x[j]) / v[i])
        hit = 0
        for i in range(size - 1, -1, -1):
            j = order[i]
            target = x[j] + v[i]
            room = (low[j] - x[j]) if target < low[j] else (high[j] - x[j])
            outside = target < low[j] or target > high[j]
            if outside and room / v[i] <= fraction:
                side[j] = LOWER if target < low[j] else UPPER
                x[j] = low[j] if target < low[j] else high[j]
                hit += 1
                remove(Q, R, size, i)
                order[i : size - 1] = order[i + 1 : size].copy()
                v[i : size - 1] = v[i + 1 : size].copy()
                size -= 1
            else:
                x[j] = min(max(x[j] + fraction * v[i], low[j]), high[j])
        residual_of(A, b, x, residual)
        if hit == 0:
            return size


@kernel()
def entering(w, low, high, side, refused, tolerance):
    """The variable at a bound whose gradient asks loudest to leave it, or -1."""
    best, loudest = -1, tolerance
    for j in range(w.size):
        if side[j] == FREE or refused[j] or not low[j] < high[j]:
            continue
        call = w[j] if side[j] == LOWER else (-w[j] if side[j] == UPPER else abs(w[j]))
        if call > loudest:
            best, loudest = j, call
    return best


@kernel()
def solve_column(A, b, low, high, side, x, tolerance, order, refused, Q, R, residual, w, v):
    """One right-hand side, from a feasible x and any `side` it fits; iterations, negated if cut off."""
    n = x.size
    size = 0
    for j in range(n):
        if side[j] == FREE:
            if append(A[j], Q, R, size):
                order[size] = j
                size += 1
            else:
                side[j] = PARKED
    residual_of(A, b, x, residual)
    size = descend(A, b, x, low, high, side, order, size, Q, R, residual, v)
    refused[:] = False
    for count in range(1, 5 * n + 50):
        for j in range(n):
            w[j] = dot(A[j], residual)
        while True:
            j = entering(w, low, high, side, refused, tolerance)
            if j < 0:
                return count
            if append(A[j], Q, R, size):
                step_of(Q, R, size + 1, residual, v)
                if v[size] * w[j] > 0.0:  # rounding can turn a nearly dependent column the wrong way
                    break
            refused[j] = True
        side[j] = FREE
        order[size] = j
        before = dot(residual, residual)
        size = descend(A, b, x, low, high, side, order, size + 1, Q, R, residual, v)
        if dot(residual, residual) < before:
            refused[:] = False
        else:
            refused[j] = True
    return -(5 * n + 50)


@kernel()
def solve_rows(A, B, low, high, side, tolerance, X, nit, rows, start, stop):
    """Solve the right-hand sides named by rows[start:stop], each from its feasible row of X.

    A is (g, n, m), the transposed matrices; the others have a row per right-hand side.
    """
    n, m = A.shape[1], A.shape[2]
    each = B.shape[0] // A.shape[0]
    most = min(m, n)
    Q, R = np.empty((most, m)), np.zeros((most, most))
    residual, w, v = np.empty(m), np.empty(n), np.empty(most)
    order, refused = np.empty(most, np.int64), np.empty(n, np.bool_)
    for i in range(start, stop):
        c = rows[i]
        nit[c] = solve_column(
            A[c // each],
            B[c],
            low[c],
            high[c],
            side[c],
            X[c],
            tolerance[c],
            order,
            refused,
            Q,
            R,
            residual,
            w,
            v,
        )
