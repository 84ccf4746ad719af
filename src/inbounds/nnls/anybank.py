"""Frames of a filter bank of any shape, in `banded.solve_columns`'s terms: the prior is made from the frame.

For banks without bands (gammatone, chroma, your own) by the dense solver, and for every bank by L-BFGS-B.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from inbounds.nnls.bands import between_centres
from inbounds.nnls.operator import bounded_least_squares
from inbounds.nnls.prior import LIFT, envelope

# Certificates: of exact answers, and where L-BFGS-B stops.
EXACT = {torch.float64: 1e-9, torch.float32: 1e-5}
ENOUGH = 1e-7
MAXITER = 15000


def solve_columns(
    matrix: Float[Tensor, "m n"],
    b: Float[Tensor, "batch m k"],
    *,
    prior: str | Float[Tensor, "batch n k"],
    relative: bool,
    method: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """X (batch, n, k), iterations and converged (batch, k); the nearest optimum in the quadratic distance.

    Args:
        prior: "flat", "envelope", or a tensor, lifted as in `starting_point`.
        relative: deviations count relative to the prior (weight x₀²), or plainly.
        method: "dense" or "lbfgsb".
    """
    batch, m, k = b.shape
    working = matrix.dtype
    frames = b.movedim(1, -1).reshape(-1, m).to(working)
    start = _prior(matrix, frames, prior)
    weight = start.square() if relative else torch.ones_like(start)
    # A bin under a filter that gives nothing must be zero, which no finite λ says.
    silent = ((frames <= 0).to(working) @ (matrix > 0).to(working) > 0) & (matrix >= 0).all()
    start, weight = torch.where(silent, 0.0, start), torch.where(silent, 0.0, weight)
    zero = torch.zeros_like(start)
    given = [part.mT.unsqueeze(0) for part in (frames, zero, torch.full_like(zero, torch.inf), start, weight)]
    tol = EXACT[working] if method == "dense" else ENOUGH
    dual = m < matrix.shape[1]
    found = bounded_least_squares(matrix.unsqueeze(0), *given, method, dual, tol, MAXITER)

    def back(value: Tensor) -> Any:
        return value[0].unflatten(-1, (batch, k)).movedim(-2, 0)

    x, nit, converged = map(back, found)
    return x.to(b.dtype), nit, converged


def _prior(
    matrix: Float[Tensor, "m n"],
    frames: Float[Tensor, "c m"],
    prior: str | Float[Tensor, "batch n k"],
) -> Float[Tensor, "c n"]:
    if prior == "flat":
        return frames.new_zeros(len(frames), matrix.shape[1])
    given = None
    if isinstance(prior, Tensor):
        given = prior.movedim(1, -1).reshape(-1, matrix.shape[1]).to(frames.dtype)
    sound = frames.isfinite().all(dim=-1, keepdim=True)
    shape = envelope(matrix, torch.where(sound, frames, 1.0), between_centres(matrix))
    shape = torch.where(sound, shape, torch.nan)
    return shape if given is None else torch.maximum(given, LIFT * shape)
