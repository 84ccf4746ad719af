"""The line search of nnls/search.py, LANES frames abreast; names and rules are its own."""
# pyright: reportCallIssue=false
# (Numba's intrinsics are called without the typing context their Python signatures begin with.)

from typing import Any, NamedTuple

import numpy as np

from inbounds._jit import VECTORISED, kernel
from inbounds.nnls.kernels.lanes import maximum, minimum, splat, where
from inbounds.nnls.search import FAR


class Line(NamedTuple):
    """A search under way, a vector of lanes each."""

    step: Any
    first_slope: Any
    low: Any
    low_slope: Any
    high: Any
    high_slope: Any
    side: Any


@kernel(fastmath=VECTORISED, inner=True, forceinline=True)
def begin(slope):
    """The search along a direction of this first slope."""
    zero = splat(slope, 0.0)
    return Line(zero + 1.0, slope, zero, slope, zero + FAR, zero, zero)


@kernel(fastmath=VECTORISED, inner=True, forceinline=True)
def restart(line, frames, slope):
    """A new search in these frames."""
    zero = splat(slope, 0.0)
    return Line(
        where(frames, zero + 1.0, line.step),
        where(frames, slope, line.first_slope),
        where(frames, zero, line.low),
        where(frames, slope, line.low_slope),
        where(frames, zero + FAR, line.high),
        where(frames, zero, line.high_slope),
        where(frames, zero, line.side),
    )


@kernel(fastmath=VECTORISED, inner=True, forceinline=True)
def judge(line, slope, finite):
    """Which trials are good, by the slope there; and for those that are not, the next."""
    zero = splat(slope, 0.0)
    bound = 0.5 * abs(line.first_slope)
    far = ~finite | (slope > bound)
    wall = line.high_slope >= np.inf
    short = ~far & (slope < 0.0 - bound) & (line.high < FAR) & ~(wall & (line.step > 0.5 * line.high))
    low = where(short, line.step, line.low)
    high = where(far, line.step, line.high)
    low_slope = where(far & (line.side > 0.0), 0.5 * line.low_slope, line.low_slope)
    low_slope = where(short, slope, low_slope)
    high_slope = where(short & (line.side < 0.0), 0.5 * line.high_slope, line.high_slope)
    high_slope = where(far, where(finite, slope, zero + np.inf), high_slope)
    fraction = maximum(minimum(low_slope / (low_slope - high_slope), 0.95), 0.05)
    fraction = where(high_slope >= np.inf, zero + 0.3, fraction)
    side = where(far, zero + 1.0, where(short, zero - 1.0, zero))
    between = low + fraction * (high - low)
    closed = ~((between > low) & (between < high))
    good = ~far & ~(short & ~closed)
    step = where(good, line.step, where(closed, low, between))
    return good, Line(step, line.first_slope, low, low_slope, high, high_slope, side)
