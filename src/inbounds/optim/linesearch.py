"""The line search of Moré and Thuente (1994), every row at its own stage.

Follows: Moré, Thuente, "Line search algorithms with guaranteed sufficient decrease", ACM TOMS 20 (1994),
as MINPACK-2's dcsrch and dcstep have it, with the constants of L-BFGS-B 3.0. φ(α) = f(x + α d) on
0 <= α <= step_max; a step is accepted when

    φ(α) <= φ(0) + FTOL φ'(0) α     and     |φ'(α)| <= GTOL |φ'(0)|

or when the search can make no more of its interval (MINPACK's warnings): it then stands at its best step.
What MINPACK does not know: a trial with a non-finite value or slope is backed away from, halfway to the
best step the first five times, nine tenths of the way from then on, and it is the new end of the box.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from inbounds.optim.state import Search

FTOL = 1e-3  # sufficient decrease
GTOL = 0.9  # curvature
XTOL = 0.1  # the interval is small enough
LONGEST = 1e10  # step_max of a row without bounds


def begin(
    step: Float[Tensor, " b"],
    step_max: Float[Tensor, " b"],
    f: Float[Tensor, " b"],
    slope: Float[Tensor, " b"],
) -> Search:
    """A search about to try `step`, from φ(0) = f and φ'(0) = slope < 0."""
    zero = torch.zeros_like(step)
    whole = torch.zeros(len(step), dtype=torch.int64, device=step.device)
    return Search(
        step=step,
        step_max=step_max,
        slope=slope,
        bracketed=torch.zeros_like(whole, dtype=torch.bool),
        stage=whole + 1,
        best_step=zero,
        best_f=f,
        best_slope=slope,
        other_step=zero,
        other_f=f,
        other_slope=slope,
        low=zero,
        high=5 * step,
        width=step_max,
        width_before=2 * step_max,
        evaluations=whole,
    )


def observe(
    search: Search, f0: Float[Tensor, " b"], f: Float[Tensor, " b"], slope: Float[Tensor, " b"]
) -> tuple[Search, Bool[Tensor, " b"]]:
    """Take in φ and φ' at the trial step: the search with its next step, and which rows accept this one."""
    search = search._replace(evaluations=search.evaluations + 1)
    step, bracketed = search.step, search.bracketed
    finite = f.isfinite() & slope.isfinite()
    required = FTOL * search.slope
    enough = f <= f0 + step * required

    spent = bracketed & ((step <= search.low) | (step >= search.high))
    spent |= bracketed & (search.high - search.low <= XTOL * search.high)
    at_end = (step == search.step_max) & enough & (slope <= required)
    wolfe = enough & (slope.abs() <= -GTOL * search.slope)
    accepted = finite & (spent | at_end | wolfe)

    stage = torch.where(enough & (slope >= 0), 2, search.stage)
    search = search._replace(stage=stage)
    # While the decrease is not sufficient, predict with ψ(α) = φ(α) - φ(0) - FTOL φ'(0) α. (2.1)
    tilt = torch.where((stage == 1) & (f <= search.best_f) & ~enough, required, 0)
    shrunk = _shrink(search, f, slope, tilt)
    backed = _back_away(search)
    following = Search(*(torch.where(finite, a, b) for a, b in zip(shrunk, backed, strict=True)))
    return following, accepted


def _back_away(search: Search) -> Search:
    """The search after a trial that cannot be used: towards the best step, and no further than that."""
    keep = torch.where(search.evaluations <= 5, 0.5, 0.1).to(search.step.dtype)
    step = search.best_step + keep * (search.step - search.best_step)
    return search._replace(
        step=step,
        step_max=torch.where(step > search.best_step, step, search.step_max),
        low=torch.where(search.bracketed, search.low, search.best_step),
        high=torch.where(search.bracketed, search.high, step),
    )


def _shrink(
    search: Search, f: Float[Tensor, " b"], slope: Float[Tensor, " b"], tilt: Float[Tensor, " b"]
) -> Search:
    """The interval of uncertainty after a trial, and the next step. Section 3."""
    step = search.step
    f, slope = f - step * tilt, slope - tilt
    best_f, best_slope = search.best_f - search.best_step * tilt, search.best_slope - tilt
    other_f, other_slope = search.other_f - search.other_step * tilt, search.other_slope - tilt
    flat = search._replace(best_f=best_f, best_slope=best_slope, other_f=other_f, other_slope=other_slope)

    higher = f > best_f
    turned = ~higher & (slope * best_slope.sign() < 0)
    following = _next_step(flat, f, slope, higher, turned)

    def replaced(old_other: Tensor, old_best: Tensor, trial: Tensor) -> tuple[Tensor, Tensor]:
        other = torch.where(higher, trial, torch.where(turned, old_best, old_other))
        return torch.where(higher, old_best, trial), other

    best_step, other_step = replaced(search.other_step, search.best_step, step)
    best_f, other_f = replaced(other_f, best_f, f)
    best_slope, other_slope = replaced(other_slope, best_slope, slope)
    bracketed = search.bracketed | higher | turned

    # Bisect when two trials have not shrunk the interval by a third.
    reach = other_step - best_step
    slow = bracketed & (reach.abs() >= 0.66 * search.width_before)
    following = torch.where(slow, best_step + 0.5 * reach, following)

    # Unbracketed, `following` extrapolates from the best step; the one after it lies beyond.
    beyond = following - best_step
    low = torch.where(bracketed, best_step.minimum(other_step), following + 1.1 * beyond)
    high = torch.where(bracketed, best_step.maximum(other_step), following + 4 * beyond)
    following = following.clamp(min=0).minimum(search.step_max)
    spent = bracketed & ((following <= low) | (following >= high) | (high - low <= XTOL * high))
    return search._replace(
        step=torch.where(spent, best_step, following),
        bracketed=bracketed,
        best_step=best_step,
        best_f=best_f + best_step * tilt,
        best_slope=best_slope + tilt,
        other_step=other_step,
        other_f=other_f + other_step * tilt,
        other_slope=other_slope + tilt,
        low=low,
        high=high,
        width=torch.where(bracketed, reach.abs(), search.width),
        width_before=torch.where(bracketed, search.width, search.width_before),
    )


def _next_step(
    search: Search,
    f: Float[Tensor, " b"],
    slope: Float[Tensor, " b"],
    higher: Bool[Tensor, " b"],
    turned: Bool[Tensor, " b"],
) -> Float[Tensor, " b"]:
    """The safeguarded trial of section 4: cubic, secant or quadratic steps in the paper's four cases."""
    step, best = search.step, search.best_step
    flatter = ~higher & ~turned & (slope.abs() < search.best_slope.abs())  # case 3
    steeper = ~higher & ~turned & ~flatter  # case 4

    # The minimiser of the cubic through two points, reckoned from the nearer one.
    far, far_f, far_slope = (
        torch.where(higher, trial, torch.where(steeper, other, at_best))
        for trial, other, at_best in (
            (step, search.other_step, best),
            (f, search.other_f, search.best_f),
            (slope, search.other_slope, search.best_slope),
        )
    )
    near, near_f, near_slope = (
        torch.where(higher, at_best, trial)
        for trial, at_best in ((step, best), (f, search.best_f), (slope, search.best_slope))
    )
    span = far - near
    theta = 3 * (near_f - far_f) / span + near_slope + far_slope
    scale = theta.abs().maximum(near_slope.abs()).maximum(far_slope.abs())
    square = (theta / scale).square() - (near_slope / scale) * (far_slope / scale)
    gamma = (scale * square.clamp(min=0).sqrt()).copysign(span)
    ratio = (gamma - near_slope + theta) / (gamma - near_slope + gamma + far_slope)
    cubic = near + ratio * span

    # Case 1, a higher value: between the cubic and the quadratic step, nearer the best.
    drop = (search.best_f - f) / (step - best) + search.best_slope
    quadratic = best + search.best_slope / drop / 2 * (step - best)
    closer = (cubic - best).abs() < (quadratic - best).abs()
    case1 = torch.where(closer, cubic, cubic + (quadratic - cubic) / 2)

    # Case 2, the slope has turned: the cubic or the secant step, whichever is farther from the trial.
    secant = step + slope / (slope - search.best_slope) * (best - step)
    case2 = torch.where((cubic - step).abs() > (secant - step).abs(), cubic, secant)

    # Case 3, the slope is flatter: the cubic counts only if it rises, beyond the trial.
    forwards = step > best
    end = torch.where(forwards, search.high, search.low)
    cubic3 = torch.where((ratio < 0) & (gamma != 0), cubic, end)
    cubic_closer = (cubic3 - step).abs() < (secant - step).abs()
    cubic_farther = (cubic3 - step).abs() > (secant - step).abs()
    inside = torch.where(cubic_closer, cubic3, secant)
    limit = step + 0.66 * (search.other_step - step)
    inside = torch.where(forwards, inside.minimum(limit), inside.maximum(limit))
    outside = torch.where(cubic_farther, cubic3, secant).minimum(search.high).maximum(search.low)
    case3 = torch.where(search.bracketed, inside, outside)

    # Case 4, the slope is no flatter: the cubic towards the other end, or as far as allowed.
    case4 = torch.where(search.bracketed, cubic, end)

    low_value = torch.where(turned, case2, torch.where(flatter, case3, case4))
    return torch.where(higher, case1, low_value)
