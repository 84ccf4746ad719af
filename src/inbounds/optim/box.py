"""The box: lower <= x <= upper, one row of bounds a problem."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class Box(NamedTuple):
    """Bounds of b problems in n variables; an infinite entry is no bound, equal entries fix a variable."""

    lower: Float[Tensor, "b n"]
    upper: Float[Tensor, "b n"]
    constrained: Bool[Tensor, " b"]  # some variable has a bound
    boxed: Bool[Tensor, " b"]  # every variable has both

    @staticmethod
    def of(lower: Float[Tensor, "b n"], upper: Float[Tensor, "b n"]) -> "Box":
        """The box of these bounds, contiguous, so that every engine can read it."""
        has_lower, has_upper = lower.isfinite(), upper.isfinite()
        return Box(
            lower.contiguous(),
            upper.contiguous(),
            (has_lower | has_upper).any(dim=-1),
            (has_lower & has_upper).all(dim=-1),
        )


def project(x: Float[Tensor, "b n"], box: Box) -> Float[Tensor, "b n"]:
    """The point of the box nearest x, bit-exactly inside; NaN stays NaN."""
    return torch.minimum(torch.maximum(x, box.lower), box.upper)


def projected_gradient_norm(
    x: Float[Tensor, "b n"], g: Float[Tensor, "b n"], box: Box
) -> Float[Tensor, " b"]:
    """Largest entry of P(x - g) - x, per row: zero exactly at a stationary point. BLNZ (1995), eq. (6.1)."""
    # Clipping g to the room left, rather than projecting x - g, keeps tiny gradients at large x.
    to_lower, to_upper = x - box.lower, x - box.upper
    clipped = torch.where(g < 0, torch.maximum(g, to_upper), torch.minimum(g, to_lower))
    clipped = torch.where(g.isnan(), g, clipped)
    return clipped.abs().amax(dim=-1) if x.shape[-1] else x.new_zeros(x.shape[0])
