"""A line search by slopes alone, for many frames at once: the zero of a rising function, in a bracket.

The slope of a convex function along a descent direction rises from slope(0) < 0. The first trial is the full
step, taken where the slope there is at most half the first one's size: that a Newton step is too short does
no harm. After a trial that goes too far the zero is bracketed, and found to |slope| ≤ |slope(0)| / 2 from
both sides: on a piecewise quadratic function the slope may stay at slope(0) up to a kink and rise a
thousandfold behind it, and only a step that crosses the kink lets the next direction see it.

Where the function is not finite behind some point, half the way to there will do.

Trials are those of regula falsi in the form "Illinois" (Dowell and Jarratt 1971): an end that stays twice
counts half; they keep away from the ends by a twentieth of the bracket.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

# Beyond every step: no trial has gone too far yet.
FAR = 1e30


class Line(NamedTuple):
    """A search under way, per frame: the next trial `step`, and the bracket with its slopes."""

    step: Float[Tensor, "b 1"]
    first_slope: Float[Tensor, "b 1"]
    low: Float[Tensor, "b 1"]
    low_slope: Float[Tensor, "b 1"]
    high: Float[Tensor, "b 1"]
    high_slope: Float[Tensor, "b 1"]
    side: Float[Tensor, "b 1"]  # of the last trial: -1 too short, 1 too far, 0 none


def begin(slope: Float[Tensor, "b 1"]) -> Line:
    """The search along a direction of this first slope."""
    zero = torch.zeros_like(slope)
    return Line(zero + 1.0, slope, zero, slope, zero + FAR, zero, zero)


def restart(line: Line, frames: Bool[Tensor, "b 1"], slope: Float[Tensor, "b 1"]) -> Line:
    """A new search in these frames."""
    new = begin(slope)
    return Line(*(torch.where(frames, ours, theirs) for ours, theirs in zip(new, line, strict=True)))


def judge(
    line: Line, slope: Float[Tensor, "b 1"], finite: Bool[Tensor, "b 1"]
) -> tuple[Bool[Tensor, "b 1"], Line]:
    """Which trials are good, by the slope there; and for those that are not, the next."""
    bound = 0.5 * line.first_slope.abs()
    far = ~finite | (slope > bound)
    wall = line.high_slope == torch.inf
    short = ~far & (slope < -bound) & (line.high < FAR) & ~(wall & (line.step > 0.5 * line.high))
    low = torch.where(short, line.step, line.low)
    high = torch.where(far, line.step, line.high)
    low_slope = torch.where(far & (line.side > 0.0), 0.5 * line.low_slope, line.low_slope)
    low_slope = torch.where(short, slope, low_slope)
    high_slope = torch.where(short & (line.side < 0.0), 0.5 * line.high_slope, line.high_slope)
    high_slope = torch.where(far, torch.where(finite, slope, torch.inf), high_slope)
    fraction = (low_slope / (low_slope - high_slope)).clamp(0.05, 0.95)
    fraction = torch.where(high_slope == torch.inf, 0.3, fraction)
    side = far.to(slope.dtype) - short.to(slope.dtype)
    between = low + fraction * (high - low)
    closed = ~((between > low) & (between < high))  # no number is left between the ends
    good = ~far & ~(short & ~closed)
    step = torch.where(good, line.step, torch.where(closed, low, between))
    return good, Line(step, line.first_slope, low, low_slope, high, high_slope, side)
