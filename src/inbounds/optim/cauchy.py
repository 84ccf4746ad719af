"""The generalised Cauchy point: the first local minimiser of the model along the projected gradient path.

Follows: BLNZ (1995), section 4, Algorithm CP. The paper walks the segments of the path one by one; here
prefix sums over the sorted breakpoints give the model's slope f′ and curvature f″ at the start of every
segment at once, and the first segment that holds a minimiser is taken. (Bisection would not do: the
model may have several minima along the path, and it is the first that counts.)

On the j-th segment, from t_j to t_{j+1}, let d_j be -g with the variables that have reached their bound
set to zero, p_j = Wᵀd_j and c_j = Wᵀ(x(t_j) - x). Then

    f′_j = -(1 - θ t_j) d_jᵀd_j - p_jᵀ M c_j           (4.9), summed
    f″_j = θ d_jᵀd_j - p_jᵀ M p_j                      (4.10), summed

p and c are kept as F⁻¹p and F⁻¹c (history.py), in which M is the diagonal matrix E.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from inbounds.optim.box import Box, project
from inbounds.optim.history import Compact

# Numbers in one array of prefix sums. On a CPU the walk ends with the window in which every row has stopped;
# elsewhere all windows are walked, for asking whether it has would wait for the device.
WINDOW_CPU, WINDOW = 2**20, 2**27
NARROWEST = 256  # breakpoints in a window, at least


class Cauchy(NamedTuple):
    """The generalised Cauchy point of every row."""

    point: Float[Tensor, "b n"]
    free: Bool[Tensor, "b n"]  # the variables that are at no bound there
    Mc: Float[Tensor, "b two_m"]  # M Wᵀ(point - x)


class Stop(NamedTuple):
    """Where the walk along the path ended."""

    passed: Int[Tensor, "b 1"]  # breakpoints passed
    time: Float[Tensor, "b 1"]
    c: Float[Tensor, "b two_m 1"]


def breakpoints(
    x: Float[Tensor, "b n"], g: Float[Tensor, "b n"], box: Box
) -> tuple[Float[Tensor, "b n"], Bool[Tensor, "b n"]]:
    """When x - tg meets the box, infinite if never (4.1); and the variables their bound never lets go."""
    held = ((g >= 0) & (x <= box.lower)) | ((g <= 0) & (x >= box.upper))
    room = torch.where(g > 0, x - box.lower, x - box.upper)
    return torch.where((g == 0) | held, torch.inf, room / g), held


def cauchy_point(x: Float[Tensor, "b n"], g: Float[Tensor, "b n"], box: Box, B: Compact) -> Cauchy:
    """The first local minimiser of gᵀz + ½ zᵀBz, z = x(t) - x, along x(t) = P(x - tg).

    Rows without any bound get x itself, as in the reference: the subspace step then is the Newton step.

    Cost: a sort of n numbers and O(n m²) a row; memory for a few windows beside O(n m).
    """
    t, held = breakpoints(x, g, box)
    d = torch.where(held, 0, -g)
    t, by_time = t.sort(dim=-1, stable=True)
    stop = _walk(t, d.gather(1, by_time), by_time, B)

    passed = torch.arange(x.shape[-1], device=x.device) < stop.passed
    passed = torch.zeros_like(held).scatter(1, by_time, passed)
    bound = torch.where(d > 0, box.upper, box.lower)
    point = torch.where(passed, bound, project(x + stop.time * d, box))
    m = B.S.shape[1]
    Mc = stop.c[:, m:].mT @ B.half[:, m:] - stop.c[:, :m].mT @ B.half[:, :m]  # F⁻ᵀE

    newton = ~box.constrained[:, None]
    return Cauchy(
        torch.where(newton, x, point),
        newton | ~(held | passed),
        torch.where(newton, 0, Mc.squeeze(1)),
    )


def _walk(t: Float[Tensor, "b n"], d: Float[Tensor, "b n"], by_time: Int[Tensor, "b n"], B: Compact) -> Stop:
    """The first segment with a minimiser, t and d given in the order of time; the path's end if none has."""
    rows, n = t.shape
    on_cpu = t.device.type == "cpu"
    width = max(NARROWEST, (WINDOW_CPU if on_cpu else WINDOW) // B.half.shape[-1] // max(1, rows))
    left = d.square().sum(dim=-1, keepdim=True)  # dᵀd of what is yet to pass
    least = torch.finfo(t.dtype).eps * B.theta[:, None] * left  # the reference's floor of f″
    now = torch.zeros_like(left)
    c = B.half.new_zeros(rows, B.half.shape[-1], 1)
    p_left = None
    found = torch.zeros_like(left, dtype=torch.bool)
    stop = Stop(torch.full_like(found, n, dtype=torch.int64), t[:, -1:], c)

    for begin in range(0, n, width):
        window = slice(begin, begin + width)
        end, moving = t[:, window], d[:, window]
        steps = B.half @ (_rows_of_W(B, by_time[:, window]) * moving[:, None])
        squares = moving.square()
        if begin + width < n:
            total = steps.sum(dim=-1, keepdim=True)
            p_left = (_Wd(B, d, by_time) if p_left is None else p_left) - total
            left = left - squares.sum(dim=-1, keepdim=True)
            p, dd = _suffix_sums(steps) + p_left, _suffix_sums(squares) + left
        else:
            p, dd = _suffix_sums(steps), _suffix_sums(squares)

        start = torch.cat([now, end[:, :-1]], dim=-1)
        start = torch.where(start.isfinite(), start, 0)  # the walk has stopped before the others
        length = end - start
        gains = torch.where(length.isfinite(), length, 0)[:, None] * p
        c_end = c + gains.cumsum(dim=-1)
        c_start = torch.cat([c, c_end[:, :, :-1]], dim=-1)

        f1 = (B.theta[:, None] * start - 1) * dd - _times_M(p, c_start)  # (4.9)
        f2 = (B.theta[:, None] * dd - _times_M(p, p)).maximum(least)  # (4.10)
        within = torch.where(dd > 0, (-f1 / f2).clamp(min=0), 0)
        stops = within < length
        first = stops.to(torch.uint8).argmax(dim=-1, keepdim=True)
        here = stops.any(dim=-1, keepdim=True) & ~found
        at = first[:, None].expand(-1, c.shape[1], 1)
        within = within.gather(1, first)
        c_here = c_start.gather(2, at) + within[:, None] * p.gather(2, at)
        stop = Stop(
            torch.where(here, begin + first, stop.passed),
            torch.where(here, start.gather(1, first) + within, stop.time),
            torch.where(here[:, None], c_here, stop.c),
        )
        found = found | here
        now, c = end[:, -1:], c_end[:, :, -1:]
        if on_cpu and found.all():
            break
    return stop._replace(c=torch.where(found[:, None], stop.c, c))


def _rows_of_W(B: Compact, variables: Int[Tensor, "b k"]) -> Float[Tensor, "b two_m k"]:
    """W's rows of these variables, as columns."""
    along = variables[:, None].expand(-1, B.S.shape[1], -1)
    return torch.cat([B.Y.gather(2, along), B.theta[:, None, None] * B.S.gather(2, along)], dim=1)


def _Wd(B: Compact, d: Float[Tensor, "b n"], by_time: Int[Tensor, "b n"]) -> Float[Tensor, "b two_m 1"]:
    """F⁻¹Wᵀd for d in the order of time."""
    d = torch.empty_like(d).scatter(1, by_time, d)[:, :, None]
    return B.half @ torch.cat([B.Y @ d, B.theta[:, None, None] * (B.S @ d)], dim=1)


def _times_M(a: Float[Tensor, "b two_m k"], b: Float[Tensor, "b two_m k"]) -> Float[Tensor, "b k"]:
    """aᵀMb for every k."""
    product = a * b
    m = a.shape[1] // 2
    return product[:, m:].sum(dim=1) - product[:, :m].sum(dim=1)


def _suffix_sums(a: Tensor) -> Tensor:
    """Sums from each entry to the last: no cancellation as less and less is left."""
    return a.flip(-1).cumsum(dim=-1).flip(-1)
