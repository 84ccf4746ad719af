"""Dense algebra on the few small matrices of one row, and inner products of its long vectors.

Triangular factors are stored as U, upper, A = UᵀU, so that every inner loop runs along a row in memory.
Sums are kept in float64 whatever the vectors' dtype: the 2m×2m matrices are too ill-conditioned for less.
"""

import math

from inbounds._jit import VECTORISED, kernel


@kernel(inner=True, fastmath=VECTORISED)
def dot(a, b):
    """aᵀb."""
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@kernel(inner=True)
def copy(source, target):
    """Sets target = source."""
    for i in range(target.size):
        target[i] = source[i]


@kernel(inner=True)
def fill(target, value):
    """Sets every entry of target."""
    for i in range(target.size):
        target[i] = value


@kernel(inner=True, fastmath=VECTORISED)
def cholesky(A, start, stop):
    """Factor the block [start:stop, start:stop] of A in place, A = UᵀU; False if it is not positive definite.

    Only the upper triangle is read and written.
    """
    for k in range(start, stop):
        pivot = A[k, k]
        if not pivot > 0.0 or pivot == math.inf:
            return False
        root = math.sqrt(pivot)
        A[k, k] = root
        inverse = 1.0 / root
        for j in range(k + 1, stop):
            A[k, j] *= inverse
        for i in range(k + 1, stop):
            factor = A[k, i]
            for j in range(i, stop):
                A[i, j] -= factor * A[k, j]
    return True


@kernel(inner=True, fastmath=VECTORISED)
def solve_transposed(U, start, stop, b):
    """Sets b = U⁻ᵀ b for the triangular block [start:stop] of U, b indexed from 0."""
    for i in range(stop - start):
        b[i] /= U[start + i, start + i]
        known = b[i]
        for j in range(i + 1, stop - start):
            b[j] -= U[start + i, start + j] * known


@kernel(inner=True, fastmath=VECTORISED)
def solve(U, start, stop, b):
    """Sets b = U⁻¹ b for the triangular block [start:stop] of U, b indexed from 0."""
    for i in range(stop - start - 1, -1, -1):
        total = b[i]
        for j in range(i + 1, stop - start):
            total -= U[start + i, start + j] * b[j]
        b[i] = total / U[start + i, start + i]
