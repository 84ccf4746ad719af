"""The point of {A x : x ≥ 0} nearest to b, for a non-negative A whose columns touch two adjacent rows.

The residual r = b - A x of a least-squares optimum is the projection of b on the polar cone: it minimises
‖r - b‖ subject to Aᵀr ≤ 0. A column (p, q) of the rows j and j + 1 says p r[j] + q r[j+1] ≤ 0, so all the
columns of the gap between these rows together say

    r[j+1] ≤ g(r[j]),    g(s) = -steep s for s > 0,  -flat s for s < 0,

with the largest and the smallest ratio p / q, and a column touching one row alone says r[j] ≤ 0. That is a
chain: the cost of the best r[0..j] that ends in r[j] = t is a convex function V_j(t), and with s* = argmin
V_j, h = g⁻¹,

    V_{j+1}'(t) = t - b[j+1] + (0 if t ≤ g(s*) else V_j'(h(t)) h'(t)).

V_j' is piecewise linear, with jumps; only its part left of s* matters. It is kept as corners (at, value),
from s* leftwards, with slope 1 beyond the last. Every row maps them through h, adds a line and cuts at the
new zero. Going back, r[j] = min(h(r[j+1]), s*[j]). No iteration and no tolerance: exact up to rounding.
"""

import numpy as np

from inbounds._jit import kernel


@kernel()
def residuals(b, steep, flat, linked, alone, r):
    """Write the residuals of the right-hand sides b (k, m) into r (k, m).

    steep, flat (m,) and linked (m,), true where the gap j, between rows j and j + 1, has columns; alone (m,),
    true where a column touches row j only.
    """
    k, m = b.shape
    best = np.empty(m)
    corners = np.empty((2, 3 * m + 4))
    mapped = np.empty((2, 3 * m + 4))
    for c in range(k):
        count = 0
        for j in range(m):
            beyond = 1.0
            if j > 0 and linked[j - 1]:
                count = _through_the_gap(corners, count, steep[j - 1], flat[j - 1], mapped)
                beyond += 1.0 / (flat[j - 1] * flat[j - 1])
            else:
                count = 0
            count = _cut(mapped, count, b[c, j], beyond, alone[j], corners)
            best[j] = corners[0, 0]

        r[c, m - 1] = best[m - 1]
        for j in range(m - 2, -1, -1):
            t = r[c, j + 1]
            r[c, j] = best[j]
            if linked[j]:
                r[c, j] = min(best[j], -t / (flat[j] if t > 0.0 else steep[j]))


@kernel()
def _through_the_gap(corners, count, steep, flat, mapped):
    """The corners of V'(h(t)) h'(t), by growing t, the first at t = g(s*) with value 0."""
    made = 0
    s = corners[0, 0]
    mapped[0, made] = -s * (steep if s > 0.0 else flat)
    mapped[1, made] = 0.0
    made += 1
    for i in range(count + 1):
        before, value_before = s, corners[1, max(i - 1, 0)]
        if i < count:
            s, value = corners[0, i], corners[1, i]
        else:  # the ray of slope 1
            s, value = min(s, 0.0), value_before + min(s, 0.0) - s
        if before > 0.0 and s <= 0.0 and steep > flat:  # h bends at 0, so V'(h) h' jumps there
            value_at_0 = value
            if s < 0.0:
                value_at_0 = value_before + (value - value_before) * (before / (before - s))
            mapped[0, made] = 0.0
            mapped[1, made] = -value_at_0 / steep
            mapped[0, made + 1] = 0.0
            mapped[1, made + 1] = -value_at_0 / flat
            made += 2
        if i < count and not (i == 0 and value == 0.0):
            ratio = steep if s > 0.0 else flat
            mapped[0, made] = -s * ratio
            mapped[1, made] = -value / ratio
            made += 1
    return made


@kernel()
def _cut(mapped, count, b, beyond, at_most_0, corners):
    """Add the line t - b and keep what lies left of the zero (and of 0): the corners of V'."""
    # `last` is the last corner with a negative value; what follows it crosses zero at `zero`.
    last = -1
    zero = b
    for i in range(count):
        value = mapped[1, i] + mapped[0, i] - b
        if value >= 0.0:
            if last >= 0:
                low = mapped[1, last] + mapped[0, last] - b
                zero = mapped[0, last] + (mapped[0, i] - mapped[0, last]) * (low / (low - value))
            break
        last = i
    else:
        if last >= 0:
            zero = mapped[0, last] - (mapped[1, last] + mapped[0, last] - b) / beyond
    value = 0.0
    if at_most_0 and zero > 0.0:
        while last >= 0 and mapped[0, last] > 0.0:
            last -= 1
        value = _value_at_0(mapped, count, last, b, beyond)
        zero = 0.0
    corners[0, 0] = zero
    corners[1, 0] = value
    kept = 1
    for i in range(last, -1, -1):
        corners[0, kept] = mapped[0, i]
        corners[1, kept] = mapped[1, i] + mapped[0, i] - b
        kept += 1
    return kept


@kernel()
def _value_at_0(mapped, count, last, b, beyond):
    """V'(0-), where `last` is the last corner at or left of 0."""
    if last < 0:
        return -b
    value = mapped[1, last] + mapped[0, last] - b
    if last + 1 < count:
        rise = mapped[1, last + 1] + mapped[0, last + 1] - b - value
        run = mapped[0, last + 1] - mapped[0, last]
        return value - mapped[0, last] * rise / run
    return value - mapped[0, last] * beyond
