"""Block principal pivoting on the normal equations, one right-hand side at a time, compiled for the CPU.

The step d of  min ½ dᵀG d - wᵀd  over  low <= d <= high,  G symmetric positive definite. A partition of the
variables into free ones F and ones at a bound B gives d and the gradient g = G d - w from one linear system:
d_B known and g_F = 0. Every variable that breaks a rule (a free one outside its bounds, a bound one whose
gradient points inward) changes sides at once, until none does. Where that stops paying, one at a time, the
last first (Murty), which cannot cycle.

    Follows: Portugal, Júdice, Vicente (1994); Kim & Park (2011), Algorithm 2, with bounds on both sides.

With H = G⁻¹ at hand the system is the smaller of two: G_FF, or H_BB, since d = H(w + g). No factorisation is
larger than n/2, an eighth of the work of one of size n. For a few right-hand sides H costs more than that.
"""

import numpy as np

from inbounds._jit import VECTORISED, kernel

LOWER, UPPER, FREE = 0, 1, 2
RETRIES = 3  # full exchanges without fewer broken rules before exchanging one at a time


@kernel(fastmath=VECTORISED)
def solve_definite(M, members, size, L, v):
    """Solve M[S, S] v = v in place, S the first `size` of `members`; False where M[S, S] is not definite."""
    for row in range(size):
        source = M[members[row]]
        for column in range(row + 1):
            L[row, column] = source[members[column]]
    if not factor(L, size):
        return False
    substitute(L, size, v)
    return True


@kernel(fastmath=VECTORISED)
def factor(L, size):
    """Cholesky in place of the lower triangle of L[:size, :size], four rows at a time."""
    row = 0
    while row < size:
        last = min(row + 4, size)
        if last - row == 4:
            r0, r1, r2, r3 = L[row], L[row + 1], L[row + 2], L[row + 3]
            for column in range(row):
                pivot = L[column]
                s0, s1, s2, s3 = r0[column], r1[column], r2[column], r3[column]
                t0, t1, t2, t3 = 0.0, 0.0, 0.0, 0.0
                for i in range(column):
                    t0 += pivot[i] * r0[i]
                    t1 += pivot[i] * r1[i]
                    t2 += pivot[i] * r2[i]
                    t3 += pivot[i] * r3[i]
                inverse = 1.0 / pivot[column]
                r0[column] = (s0 - t0) * inverse
                r1[column] = (s1 - t1) * inverse
                r2[column] = (s2 - t2) * inverse
                r3[column] = (s3 - t3) * inverse
        first = row if last - row == 4 else 0
        for target in range(row, last):
            for column in range(first, target + 1):
                total = L[target, column]
                for i in range(column):
                    total -= L[target, i] * L[column, i]
                if column < target:
                    L[target, column] = total / L[column, column]
                elif total > 0.0:
                    L[target, target] = np.sqrt(total)
                else:
                    return False
        row = last
    return True


@kernel(fastmath=VECTORISED)
def substitute(L, size, v):
    """Solve L Lᵀ v = v in place."""
    for row in range(size):
        total = v[row]
        for i in range(row):
            total -= L[row, i] * v[i]
        v[row] = total / L[row, row]
    for row in range(size - 1, -1, -1):
        value = v[row] / L[row, row]
        v[row] = value
        for i in range(row):
            v[i] -= L[row, i] * value


@kernel()
def exchange(d, g, low, high, side, tolerance, allowed):
    """Move up to `allowed` broken variables, the last first, to the other side; returns how many broke."""
    broken = 0
    for j in range(d.size - 1, -1, -1):
        new = side[j]
        if new == FREE:
            if d[j] < low[j] - tolerance:
                new = LOWER
            elif d[j] > high[j] + tolerance:
                new = UPPER
        elif low[j] < high[j] and (
            (new == LOWER and g[j] < -tolerance) or (new == UPPER and g[j] > tolerance)
        ):
            new = FREE
        if new != side[j]:
            broken += 1
            if broken <= allowed:
                side[j] = new
    return broken


@kernel(fastmath=VECTORISED)
def evaluate(G, H, w, Hw, low, high, side, d, g, members, L, v):
    """D and g of a partition: one solve with the smaller of G_FF and H_BB. False where it is singular.

    Without H, an empty array, it is G_FF.
    """
    n = w.size
    free = 0
    for j in range(n):
        if side[j] == FREE:
            free += 1
        else:
            d[j] = low[j] if side[j] == LOWER else high[j]
    swap = H.size > 0 and n - free < free
    size = 0
    for j in range(n):
        if (side[j] == FREE) != swap:
            members[size] = j
            size += 1
    if swap:  # g_B from H_BB g_B = d_B - (H w)_B, then d = H(w + g)
        M, field = H, d
        for i in range(size):
            v[i] = d[members[i]] - Hw[members[i]]
        for j in range(n):
            if side[j] == FREE:
                d[j] = Hw[j]
    else:  # d_F from G_FF d_F = w_F - G_FB d_B, then g = G d - w
        M, field = G, g
        for j in range(n):
            g[j] = -w[j]
        for j in range(n):
            if side[j] != FREE and d[j] != 0.0:
                for i in range(n):
                    g[i] += d[j] * G[j, i]
        for i in range(size):
            v[i] = -g[members[i]]
    if not solve_definite(M, members, size, L, v):
        return False
    if swap:
        for j in range(n):
            g[j] = 0.0
        for i in range(size):
            g[members[i]] = v[i]
    for i in range(size):
        value, row = v[i], M[members[i]]
        for j in range(n):
            field[j] += value * row[j]
    if swap:
        for i in range(size):  # exactly at their bounds again
            d[members[i]] = low[members[i]] if side[members[i]] == LOWER else high[members[i]]
    else:
        for i in range(size):
            d[members[i]] = v[i]
    return True


@kernel()
def pivot_column(G, H, w, Hw, low, high, side, tolerance, d, g, members, L, v):
    """The step d of one right-hand side, starting from the partition in `side`.

    Returns the number of partitions tried; one that comes to no end leaves d = 0 and a negative number.
    """
    n = w.size
    fewest, retries, allowed = n + 1, RETRIES, n
    for count in range(1, 3 * n + 31):
        if not evaluate(G, H, w, Hw, low, high, side, d, g, members, L, v):
            d[:] = 0.0
            return -count
        broken = exchange(d, g, low, high, side, tolerance, allowed)
        if broken == 0:
            for j in range(n):
                d[j] = min(max(d[j], low[j]), high[j])
            return count
        if broken < fewest:
            fewest, retries, allowed = broken, RETRIES, n
        elif retries > 0:
            retries -= 1
        else:
            allowed = 1
    d[:] = 0.0
    return -(3 * n + 30)


@kernel()
def pivot_rows(G, H, W, HW, low, high, side, tolerance, D, nit, rows, start, stop):
    """Fill the rows of D named by rows[start:stop] with the steps.

    G, H are (g, n, n); the others have a row per right-hand side, row c belonging to matrix c // (rows / g).
    """
    n = G.shape[1]
    each = W.shape[0] // G.shape[0]
    L, v, g = np.empty((n, n)), np.empty(n), np.empty(n)
    members = np.empty(n, np.int64)
    for i in range(start, stop):
        c = rows[i]
        given = (G[c // each], H[c // each], W[c], HW[c], low[c], high[c], side[c], tolerance[c])
        nit[c] = pivot_column(*given, D[c], g, members, L, v)
