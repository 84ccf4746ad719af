"""Right-hand sides that no x ≥ 0 meets: the nearest one that is met, and the columns that must be zero."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

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


def project(bands: Bands, b: Float[Tensor, "b m"]) -> tuple[Float[Tensor, "b m"], Bool[Tensor, "b n"]]:
    """The nearest point of {A x : x ≥ 0} to every float64 b, and the columns that may be positive there."""
    from inbounds.nnls.kernels.cone import residuals

    residual = np.empty(tuple(b.shape))
    residuals(np.ascontiguousarray(b.detach().cpu().numpy()), *chain(bands), residual)
    r = torch.from_numpy(residual).to(b.device)
    # Complementarity: a column is zero where Aᵀr is negative. In doubt it stays: the point alone decides on
    # Ax, and a residual of this relative size costs nothing.
    size = b.abs()
    near = torch.maximum(size, torch.maximum(pad(size[:, 1:], (0, 1)), pad(size[:, :-1], (1, 0))))
    slack = 1e-9 * near
    r_after, slack_after = pad(r[:, 1:], (0, 1)), pad(slack[:, 1:], (0, 1))
    lower, upper = bands.lower.double(), bands.upper.double()
    free = (r + slack)[:, bands.row] * lower + (r_after + slack_after)[:, bands.row] * upper >= 0.0
    met = (b - r).clamp(min=0.0)
    return met, free & ~touches_zero(bands, met)


def touches_zero(bands: Bands, b: Float[Tensor, "b m"]) -> Bool[Tensor, "b n"]:
    """Columns that must be zero for A x = b ≥ 0, because a band they touch is empty."""
    empty = b <= 0.0
    after = pad(empty[:, 1:], (0, 1))
    lower, upper = bands.lower > 0.0, bands.upper > 0.0
    return (empty[:, bands.row] & lower) | (after[:, bands.row] & upper)
