"""The point of {R y = R z, low <= y <= high} nearest a prior, z being one of them: exact, one row at a time.

The sure way, where the dual Newton method stalls: the set may have no interior, be as small as a point, and
its description be redundant. In d = (y - z) / √w it is

    min ‖d - v‖²    over    C d = 0,    -below <= d <= above,    v = (prior - z) / √w,    C = R √w.

d = 0 is allowed, to the bit, so there is a solution. One bound at a time, the most violated, is made to hold,
and those that come to pull the wrong way are let go. The active normals stay independent and the distance
from v grows with every bound that is added, so no set of them comes twice.

    Follows: Goldfarb & Idnani (1983), with the identity as Hessian.
"""

import numpy as np

from inbounds._jit import kernel
from inbounds.nnls.kernels.active_set import append, axpy, dot, remove

SATISFIED = 1e-14  # a bound exceeded by no more than this part of ‖v‖
PARALLEL = 1e-12  # a unit normal with no more than this outside the span of the active ones
IMPLIED = 1e-12  # ... may be exceeded by this part of ‖v‖: the active ones imply it, but for rounding


@kernel()
def back_substitute(R, size, u):
    """Solve R u = u in place, R[j] being column j."""
    for j in range(size - 1, -1, -1):
        u[j] /= R[j, j]
        axpy(-u[j], R[j, :j], u[:j])


@kernel()
def project_active(Q, R, size, beta, v, d, u, s, t):
    """D, the point nearest v where the active normals N = QᵀR have Nᵀd = β, and u, with N u = d - v."""
    for i in range(size):
        t[i] = (beta[i] - dot(R[i, :i], t[:i])) / R[i, i]  # Rᵀ t = β, so Q d = t
    d[:] = v
    u[:size] = 0.0
    for _ in range(2):  # what is left may be small beside v
        for i in range(size):
            s[i] = t[i] - dot(Q[i], d)
        for i in range(size):
            axpy(s[i], Q[i], d)
            u[i] += s[i]
    back_substitute(R, size, u)


@kernel()
def outside_of(j, d, below, above):
    """How far d[j] is outside its bounds; negative inside."""
    return max(-below[j] - d[j], d[j] - above[j])


@kernel()
def make_room(j, sign, d, below, above, Q, R, size, equalities, beta, u, z, r):
    """Move towards the bound of variable j, letting go of the active bounds that would pull the wrong way.

    Returns the number of active normals left, and False where they leave no way to go.
    """
    while True:
        z[:] = 0.0  # the normal sign e_j is N r + z, z orthogonal to N
        z[j] = sign
        for i in range(size):
            r[i] = sign * Q[i, j]
            axpy(-r[i], Q[i], z)
        back_substitute(R, size, r)
        leaving, step = -1, np.inf
        for i in range(equalities, size):
            if r[i] > 0.0 and u[i] < step * r[i]:
                leaving, step = i, u[i] / r[i]
        free = dot(z, z)
        parallel = free <= PARALLEL * PARALLEL
        if not parallel and outside_of(j, d, below, above) <= step * free:
            return size, True
        if leaving < 0:
            return size, False
        for i in range(size):
            u[i] -= step * r[i]
        if not parallel:
            axpy(step, z, d)
        remove(Q, R, size, leaving)
        for i in range(leaving, size - 1):
            beta[i], u[i] = beta[i + 1], u[i + 1]
        size -= 1


@kernel()
def project_row(C, v, below, above, d, Q, R, beta, u, z, r):
    """D of one row, v as above; returns the number of rounds, negated where it came to no end."""
    n = v.size
    size = 0
    for i in range(C.shape[0]):
        if append(C[i], Q, R, size):
            beta[size] = 0.0
            size += 1
    equalities = size
    project_active(Q, R, size, beta, v, d, u, z, r)
    length = np.sqrt(dot(v, v))
    for count in range(1, 10 * n + 50):
        j, violation = -1, SATISFIED * length
        for i in range(n):
            if outside_of(i, d, below, above) > violation:
                j, violation = i, outside_of(i, d, below, above)
        if j < 0:
            return count
        sign = 1.0 if -below[j] - d[j] == violation else -1.0
        size, possible = make_room(j, sign, d, below, above, Q, R, size, equalities, beta, u, z, r)
        z[:] = 0.0
        z[j] = sign
        if possible and append(z, Q, R, size):
            beta[size] = -below[j] if sign > 0.0 else -above[j]
            size += 1
        elif violation > IMPLIED * length:
            return -count
        elif sign > 0.0:
            below[j] = np.inf
        else:
            above[j] = np.inf
        project_active(Q, R, size, beta, v, d, u, z, r)
    return -(10 * n + 50)


@kernel()
def project_rows(R, weight, prior, low, high, Y, nit, rows, start, stop):
    """Move the rows of Y named by rows[start:stop] to the nearest points.

    R is (g, m, n); the others have a row per right-hand side. A row that comes to no end stays, nit negative.
    """
    m, n = R.shape[1], R.shape[2]
    each = Y.shape[0] // R.shape[0]
    C, Q, T = np.empty((m, n)), np.empty((n, n)), np.zeros((n, n))
    v, below, above, d, root = np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    beta, u, z, r = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    for i in range(start, stop):
        c = rows[i]
        for j in range(n):
            fixed = not (low[c, j] < high[c, j] and weight[c, j] > 0.0)
            root[j] = 0.0 if fixed else np.sqrt(weight[c, j])
            v[j] = 0.0 if fixed else (prior[c, j] - Y[c, j]) / root[j]
            below[j] = 0.0 if fixed else (Y[c, j] - low[c, j]) / root[j]
            above[j] = 0.0 if fixed else (high[c, j] - Y[c, j]) / root[j]
        largest = root.max()
        for k in range(m):
            C[k] = R[c // each, k] * (root / largest if largest > 0.0 else root)
        nit[c] = project_row(C, v, below, above, d, Q, T, beta, u, z, r)
        if nit[c] > 0:
            for j in range(n):
                if d[j] <= -below[j]:
                    Y[c, j] = low[c, j]
                elif d[j] >= above[j]:
                    Y[c, j] = high[c, j]
                else:
                    Y[c, j] = min(max(Y[c, j] + root[j] * d[j], low[c, j]), high[c, j])
