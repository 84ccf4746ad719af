"""Right-hand sides that no x ≥ 0 meets: the nearest one that is met, and the columns that must then be zero."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from inbounds.nnls.bands import Bands


class Chain(NamedTuple):
    """What the columns between two adjacent rows demand of a residual; see kernels/cone.py."""

    steep: np.ndarray  # (m,) largest lower / upper of the columns touching rows j and j + 1
    flat: np.ndarray  # (m,) smallest
    linked: np.ndarray  # (m,) there are such columns
    alone: np.ndarray  # (m,) a column touches row j only


def chain(bands: Bands) -> Chain:
    """The chain of a bank, in float64 on the CPU."""
    m = bands.matrix.shape[0]
    row = bands.row.cpu().numpy()
    lower, upper = bands.lower.cpu().double().numpy(), bands.upper.cpu().double().numpy()
    both = (lower > 0.0) & (upper > 0.0)
    ratio = lower[both] / upper[both]
    steep, flat = np.zeros(m), np.full(m, np.inf)
    np.maximum.at(steep, row[both], ratio)
    np.minimum.at(flat, row[both], ratio)
    linked = steep > 0.0
    alone = np.zeros(m, dtype=bool)
    alone[row[(lower > 0.0) & (upper == 0.0)]] = True
    return Chain(np.where(linked, steep, 1.0), np.where(linked, flat, 1.0), linked, alone)


def project(
    bands: Bands, b: Float[Tensor, "b m"]
) -> tuple[Float[Tensor, "b m"], Bool[Tensor, "b n"]]:
    """The nearest point of {A x : x ≥ 0} to every float64 b, and the columns that may carry it."""
    from inbounds.nnls.kernels.cone import residuals

    residual = np.empty(tuple(b.shape))
    residuals(np.ascontiguousarray(b.detach().cpu().numpy()), *chain(bands), residual)
    r = torch.from_numpy(residual).to(b.device)
    after = torch.cat([r[:, 1:], torch.zeros_like(r[:, :1])], dim=1)
    lower_part = bands.lower.double() * r[:, bands.row]
    upper_part = bands.upper.double() * after[:, bands.row]
    # Complementarity: a column may be positive only where its row of Aᵀr is zero (never positive).
    free = lower_part + upper_part >= -1e-10 * (lower_part.abs() + upper_part.abs())
    met = (b - r).clamp(min=0.0)
    return met, free & ~touches_zero(bands, met)


def touches_zero(bands: Bands, b: Float[Tensor, "b m"]) -> Bool[Tensor, "b n"]:
    """Columns that must be zero for A x = b ≥ 0, because a band they touch is empty."""
    empty = b <= 0.0
    after = torch.cat([empty[:, 1:], torch.zeros_like(empty[:, :1])], dim=1)
    lower, upper = bands.lower > 0.0, bands.upper > 0.0
    return (empty[:, bands.row] & lower) | (after[:, bands.row] & upper)
