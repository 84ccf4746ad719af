"""The line search of Moré and Thuente (1994), as dcsrch and dcstep of MINPACK-2: one evaluation at a time.

φ(α) = f(x + αd). Once `bracketed`, between `best` and `other` lies a step of enough decrease and small slope:

    φ(α) ≤ φ(0) + μ α φ′(0),   |φ′(α)| ≤ η |φ′(0)|.

Kernels here read and write row i of a whole `Search`.
"""

import math

from inbounds._jit import kernel

MU, ETA, TOLERANCE = 1e-3, 0.9, 0.1  # the reference's ftol, gtol and xtol


@kernel(inner=True)
def begin_search(search, i, f, slope, step, step_max):
    """Ask for the first step."""
    search.step[i], search.step_max[i], search.slope[i] = step, step_max, slope
    search.bracketed[i], search.stage[i], search.evaluations[i] = False, 1, 0
    search.best_step[i], search.best_f[i], search.best_slope[i] = 0.0, f, slope
    search.other_step[i], search.other_f[i], search.other_slope[i] = 0.0, f, slope
    search.low[i], search.high[i] = 0.0, 5.0 * step
    search.width[i], search.width_before[i] = step_max, 2.0 * step_max


@kernel(inner=True)
def observe(search, i, f0, f, slope):
    """Take φ = f and φ′ = slope at the step asked for. Is it the answer? If not, ask for the next."""
    search.evaluations[i] += 1
    if not (math.isfinite(f) and math.isfinite(slope)):
        _back_away(search, i)
        return False
    step, low, high = search.step[i], search.low[i], search.high[i]
    least_slope = MU * search.slope[i]  # of the line that sufficient decrease asks for
    enough = f0 + step * least_slope
    if f <= enough and slope >= 0.0:
        search.stage[i] = 2
    if f <= enough and abs(slope) <= -ETA * search.slope[i]:
        return True
    # No better step can be had: the reference's "warnings", which it takes as answers too.
    if search.bracketed[i] and (step <= low or step >= high or high - low <= TOLERANCE * high):
        return True
    if step == search.step_max[i] and f <= enough and slope <= least_slope:
        return True
    if step == 0.0 and (f > enough or slope >= least_slope):
        return True
    # ψ(α) = φ(α) − μφ′(0)α stands in for φ while a lower value has been found, but no sufficient decrease
    tilt = least_slope if search.stage[i] == 1 and enough < f <= search.best_f[i] else 0.0
    _shrink(search, i, f, slope, tilt)
    _next_step(search, i)
    return False


@kernel(inner=True)
def _back_away(search, i):
    """Without a finite value there, the box ends before the step: go back towards the best one.

    Half way the first five times, nine tenths of the way from then on.
    """
    best = search.best_step[i]
    keep = 0.5 if search.evaluations[i] <= 5 else 0.1
    step = best + keep * (search.step[i] - best)
    if step > best:
        search.step_max[i] = step
    if not search.bracketed[i]:
        search.low[i], search.high[i] = best, step
    search.step[i] = step


@kernel(inner=True)
def _shrink(search, i, f, slope, tilt):
    """Replace an end of the interval by the step, and the step by an interpolant's minimiser."""
    step = search.step[i]
    best, other = search.best_step[i], search.other_step[i]
    best_f, best_slope = search.best_f[i] - best * tilt, search.best_slope[i] - tilt
    other_f, other_slope = search.other_f[i] - other * tilt, search.other_slope[i] - tilt
    trial_f, trial_slope = f - step * tilt, slope - tilt
    opposite = trial_slope < 0.0 < best_slope or best_slope < 0.0 < trial_slope

    if trial_f > best_f or opposite:
        search.bracketed[i] = True
    search.step[i] = _interpolate(
        (best, best_f, best_slope),
        (other, other_f, other_slope),
        (step, trial_f, trial_slope),
        opposite,
        search.bracketed[i],
        search.low[i],
        search.high[i],
    )
    if trial_f > best_f:
        search.other_step[i], search.other_f[i], search.other_slope[i] = step, f, slope
        return
    if opposite:
        search.other_step[i], search.other_f[i] = best, search.best_f[i]
        search.other_slope[i] = search.best_slope[i]
    search.best_step[i], search.best_f[i], search.best_slope[i] = step, f, slope


@kernel(inner=True)
def _interpolate(best, other, trial, opposite, bracketed, low, high):
    """The next step, from (α, φ, φ′) at both ends and at the trial. Moré & Thuente (1994), section 4."""
    a, f_a, slope_a = best
    t, f_t, slope_t = trial
    secant = t + (slope_t / (slope_t - slope_a)) * (a - t)
    if f_t > f_a:  # case 1: a higher value
        ratio, _ = _cubic_minimum(a, f_a, slope_a, t, f_t, slope_t)
        cubic = a + ratio * (t - a)
        quadratic = a + 0.5 * (slope_a / ((f_a - f_t) / (t - a) + slope_a)) * (t - a)
        return cubic if abs(cubic - a) < abs(quadratic - a) else cubic + 0.5 * (quadratic - cubic)
    ratio, root = _cubic_minimum(t, f_t, slope_t, a, f_a, slope_a)
    cubic = t + ratio * (a - t)
    if opposite:  # case 2: a lower value, slopes of opposite sign
        return cubic if abs(cubic - t) > abs(secant - t) else secant
    if abs(slope_t) < abs(slope_a):  # case 3: a lower value, a smaller slope of the same sign
        if not (ratio < 0.0 and root != 0.0):  # the cubic has no minimum beyond t
            cubic = high if t > a else low
        if not bracketed:
            farther = cubic if abs(cubic - t) > abs(secant - t) else secant
            return max(low, min(high, farther))
        nearer = cubic if abs(cubic - t) < abs(secant - t) else secant
        limit = t + 0.66 * (other[0] - t)
        return min(limit, nearer) if t > a else max(limit, nearer)
    if not bracketed:  # case 4: a lower value, no smaller slope of the same sign
        return high if t > a else low
    ratio, _ = _cubic_minimum(t, f_t, slope_t, other[0], other[1], other[2])
    return t + ratio * (other[0] - t)


@kernel(inner=True)
def _cubic_minimum(a, f_a, slope_a, b, f_b, slope_b):
    """The minimum of the cubic through both points, as a fraction of the way from a to b; and its root."""
    theta = 3.0 * (f_a - f_b) / (b - a) + slope_a + slope_b
    scale = max(abs(theta), abs(slope_a), abs(slope_b))
    gamma = scale * math.sqrt(max(0.0, (theta / scale) ** 2 - (slope_a / scale) * (slope_b / scale)))
    if b < a:
        gamma = -gamma
    return ((gamma - slope_a) + theta) / (((gamma - slope_a) + gamma) + slope_b), gamma


@kernel(inner=True)
def _next_step(search, i):
    """Safeguard the step: bisect where the interval shrinks too slowly, stay within the limits."""
    step = search.step[i]
    best, other = search.best_step[i], search.other_step[i]
    if math.isnan(step):  # values so large that no interpolant can be had
        step = best + 0.5 * (other - best) if search.bracketed[i] else search.high[i]
    if search.bracketed[i]:
        width = abs(other - best)
        if width >= 0.66 * search.width_before[i]:
            step = best + 0.5 * (other - best)
        search.width_before[i] = search.width[i]
        search.width[i] = width
        low, high = min(best, other), max(best, other)
    else:
        low, high = step + 1.1 * (step - best), step + 4.0 * (step - best)
    step = min(max(step, 0.0), search.step_max[i])
    if search.bracketed[i] and (step <= low or step >= high or high - low <= TOLERANCE * high):
        step = best
    search.step[i], search.low[i], search.high[i] = step, low, high
