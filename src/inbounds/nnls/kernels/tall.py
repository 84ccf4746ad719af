"""Small problems with a tall, well-conditioned matrix: from the data to the certificate in one call.

The same steps as in `dense`, pivoting on the normal equations, refined by the true residual, without what
makes them fast for many columns and right-hand sides: for 20 x 10 numbers a PyTorch operation is time lost.
Whatever is not plain is marked, and left to `dense`.
"""

import numpy as np

from inbounds._jit import kernel
from inbounds.nnls.kernels.active_set import axpy, dot
from inbounds.nnls.kernels.pivoting import FREE, LOWER, UPPER, factor, pivot_column, substitute

PLAIN = 1e-140  # column norms between this and its reciprocal: squares neither overflow nor underflow
SAFE = 1e-9  # smallest pivot of the unit Gram matrix


@kernel()
def unit_gram(A, G, U, norms, L, unit):
    """U = A with unit columns, `unit` its Gram matrix and L the factor of that; False where not plain."""
    n = norms.size
    for i in range(n):
        norms[i] = np.sqrt(G[i, i])
        if not PLAIN < norms[i] < 1.0 / PLAIN:
            return False
        U[i] = A[i] / norms[i]
        for j in range(i + 1):
            unit[i, j] = G[i, j] / (norms[i] * norms[j])
            unit[j, i] = unit[i, j]
        L[i, : i + 1] = unit[i, : i + 1]
    if not factor(L, n):
        return False
    least = 1.0
    for i in range(n):
        least = min(least, L[i, i] * L[i, i])
    return least > SAFE


@kernel()
def certify(U, b, y, low, high, size, rounding, residual, gradient):
    """The certificate of y, as in `kkt`; also fills residual = b - U y and the gradient."""
    residual[:] = b
    length = np.sqrt(dot(b, b))
    for j in range(y.size):
        if y[j] != 0.0:
            axpy(-y[j], U[j], residual)
            length += abs(y[j])
    distance = 0.0
    for j in range(y.size):
        gradient[j] = -dot(U[j], residual)
        distance = max(distance, abs(max(min(gradient[j], y[j] - low[j]), y[j] - high[j])))
    return distance / size if distance > rounding * length else 0.0


@kernel()
def size_of(U, b, start, residual):
    """The denominator of the certificate, `start` being the point of the box nearest 0."""
    residual[:] = 0.0
    for j in range(start.size):
        if start[j] != 0.0:
            axpy(start[j], U[j], residual)
    size = 0.0
    for j in range(start.size):
        size = max(size, abs(dot(U[j], b)), abs(dot(U[j], residual)))
    return size


@kernel()
def refine(U, unit, L, b, low, high, y, limits, residual, work, side, members, factored):
    """Pivot from y until only rounding is left: the number of partitions tried, and the certificate."""
    w, whole, d, below, above, gradient, moved, g, v = work
    rounding, fine, rounds = limits
    if not dot(b, b) < np.inf:
        return 0, np.nan
    size = size_of(U, b, y, residual)
    value = certify(U, b, y, low, high, size, rounding, residual, gradient)
    tried = 0
    for _ in range(rounds):
        if not value > fine:
            break
        for j in range(y.size):
            w[j] = whole[j] = -gradient[j]
            below[j], above[j] = low[j] - y[j], high[j] - y[j]
        substitute(L, y.size, whole)
        for j in range(y.size):
            side[j] = LOWER if whole[j] <= below[j] else (UPPER if whole[j] >= above[j] else FREE)
        given = (unit, unit[:0], w, whole, below, above, side, 0.5 * rounding * size)
        tried += abs(pivot_column(*given, d, g, members, factored, v))
        for j in range(y.size):
            moved[j] = min(max(y[j] + d[j], low[j]), high[j])
        better = certify(U, b, moved, low, high, size, rounding, residual, gradient)
        if not better < value:
            break
        y[:] = moved
        value = better
    return tried, value


@kernel()
def solve_rows(A, G, B, lower, upper, limits, X, nit, value, start, stop):
    """Fill X[start:stop], with iterations and certificates; these are NaN where the matrix or b is not plain.

    A is (g, n, m), the transposed matrices, G (g, n, n) their Gram matrices; the others have a row per
    right-hand side. `limits`: the relative rounding of a gradient, the certificate that is as small as they
    get, and the most rounds of refinement.
    """
    n, m = A.shape[1], A.shape[2]
    each = B.shape[0] // A.shape[0]
    U, norms, residual = np.empty((n, m)), np.empty(n), np.empty(m)
    unit, L, factored = np.empty((n, n)), np.empty((n, n)), np.empty((n, n))
    low, high, y, work = np.empty(n), np.empty(n), np.empty(n), np.empty((9, n))
    side, members = np.empty(n, np.int8), np.empty(n, np.int64)
    plain = False
    for c in range(start, stop):
        if c == start or c % each == 0:
            plain = unit_gram(A[c // each], G[c // each], U, norms, L, unit)
        value[c] = np.nan
        if not plain:
            continue
        for j in range(n):
            low[j], high[j] = norms[j] * lower[c, j], norms[j] * upper[c, j]
            y[j] = min(max(0.0, low[j]), high[j])
        given = (U, unit, L, B[c], low, high, y, limits, residual)
        nit[c], value[c] = refine(*given, work, side, members, factored)
        for j in range(n):
            if y[j] == low[j]:  # at a bound to the bit
                X[c, j] = lower[c, j]
            elif y[j] == high[j]:
                X[c, j] = upper[c, j]
            else:
                X[c, j] = min(max(y[j] / norms[j], lower[c, j]), upper[c, j])
