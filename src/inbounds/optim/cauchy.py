"""The generalised Cauchy point: the first local minimiser of the model along the projected gradient path.

Follows: BLNZ (1995), section 4, Algorithm CP. The paper walks the segments of the path one by one; here
prefix sums over the sorted breakpoints give the model's slope f′ and curvature f″ at the start of every
segment at once, and the first segment that holds a minimiser is taken. (Bisection would not do: the
model may have several minima along the path, and it is the first that counts.)

On the j-th segment, from t_j to t_{j+1}, let d_j be -g with the variables that have reached their bound
set to zero, p_j = Wᵀd_j and c_j = Wᵀ(x(t_j) - x). Then

    f′_j = -(1 - θ t_j) d_jᵀd_j - p_jᵀ M c_j           (4.9), summed
    f″_j = θ d_jᵀd_j - p_jᵀ M p_j                      (4.10), summed
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from inbounds.optim.box import Box, project
from inbounds.optim.history import Compact, signs


class Cauchy(NamedTuple):
    """The generalised Cauchy point of every row."""

    point: Float[Tensor, "b n"]
    free: Bool[Tensor, "b n"]  # the variables that are at no bound there
    Mc: Float[Tensor, "b two_m"]  # M Wᵀ(point - x)


def breakpoints(
    x: Float[Tensor, "b n"], g: Float[Tensor, "b n"], box: Box
) -> tuple[Float[Tensor, "b n"], Bool[Tensor, "b n"]]:
    """When x - tg meets the box, infinite if never (4.1); and the variables their bound never lets go."""
    room = torch.where(g > 0, x - box.lower, x - box.upper)
    t = torch.where(g == 0, torch.inf, room / g)
    held = torch.where(g >= 0, x <= box.lower, False) | torch.where(g <= 0, x >= box.upper, False)
    return t, held


def cauchy_point(x: Float[Tensor, "b n"], g: Float[Tensor, "b n"], box: Box, B: Compact) -> Cauchy:
    """The first local minimiser of gᵀz + ½ zᵀBz, z = x(t) - x, along x(t) = P(x - tg).

    Rows without any bound get x itself, as in the reference: the subspace step then is the Newton step.

    Cost: a sort of n numbers and O(n m²) a row.
    """
    t, held = breakpoints(x, g, box)
    d = torch.where(held, 0, -g)
    t = torch.where(held, torch.inf, t)
    t, by_time = t.sort(dim=-1, stable=True)

    d_sorted = d.gather(1, by_time)
    along = by_time[:, None].expand_as(B.S)
    W = torch.cat([B.Y.gather(2, along), B.theta[:, None, None] * B.S.gather(2, along)], dim=1)
    p = _suffix_sums(B.half @ (W * d_sorted[:, None]))  # F⁻¹p, so that pᵀMp = pᵀEp
    dd = _suffix_sums(d_sorted.square())

    start = torch.nn.functional.pad(t[:, :-1], (1, 0))
    length = t - start
    length = torch.where(start.isfinite(), length, 0)
    moved = torch.where(length.isfinite(), length, 0)[:, None] * p
    c = moved.cumsum(dim=-1) - moved

    E = signs(B)
    f1 = (B.theta[:, None] * torch.where(start.isfinite(), start, 0) - 1) * dd - (E @ p.mul(c))
    f2 = B.theta[:, None] * dd - E @ p.square()
    floor = torch.finfo(x.dtype).eps * B.theta[:, None] * dd[:, :1]
    f2 = f2.maximum(floor)
    within = -f1 / f2
    first = (~(within >= length)).to(torch.uint8).argmax(dim=-1, keepdim=True)
    within = within.gather(1, first).clamp(min=0)
    within = torch.where(dd.gather(1, first) > 0, within, 0)
    stop = start.gather(1, first) + within

    passed = torch.arange(x.shape[-1], device=x.device) < first
    passed = torch.zeros_like(held).scatter(1, by_time, passed)
    bound = torch.where(d > 0, box.upper, box.lower)
    point = torch.where(passed, bound, project(x + stop * d, box))
    at = first[:, None].expand(-1, p.shape[1], 1)
    c_stop = (c.gather(2, at) + within[:, None] * p.gather(2, at)).squeeze(-1)
    Mc = ((E * c_stop)[:, None] @ B.half).squeeze(1)

    newton = ~box.constrained[:, None]
    return Cauchy(torch.where(newton, x, point), newton | ~(held | passed), torch.where(newton, 0, Mc))


def _suffix_sums(a: Tensor) -> Tensor:
    """Sums from each entry to the last: no cancellation as the free part gets small."""
    return a.flip(-1).cumsum(dim=-1).flip(-1)
