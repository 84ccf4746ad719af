"""A block of frames solved with tensor operations, on any device; the compiled kernel's oracle on the CPU.

Every frame is scaled by a power of two and tried in its own precision for an exact A x = b. What is left (no
such x, or more dynamic range than the precision holds) is solved in float64 against the nearest b that has
one.
"""

from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from inbounds.nnls.bands import Bands
from inbounds.nnls.cone import project, touches_zero
from inbounds.nnls.newton import Choice, Found, newton
from inbounds.nnls.prior import starting_point, warm_start


class Solver(Protocol):
    """newton.newton, or the kernel in its place."""

    def __call__(
        self,
        bands: Bands,
        b: Float[Tensor, "b m"],
        prior: Float[Tensor, "b n"],
        weight: Float[Tensor, "b n"],
        choice: Choice,
        ridge: Float[Tensor, "b 1"],
    ) -> Found:
        """Solve every frame's F(λ) = 0."""
        ...


def normalise(
    b: Float[Tensor, "b m"], prior: Float[Tensor, "b n"] | None, touched: Bool[Tensor, " m"]
) -> tuple[Float[Tensor, "b m"], Float[Tensor, "b n"] | None, Int[Tensor, "b 1"], Bool[Tensor, "b 1"]]:
    """Every frame over a power of two near its largest value; that power; which frames are finite.

    Frames that are not finite and rows no column touches become zero.
    """
    sound = torch.isfinite(b).all(dim=1, keepdim=True)
    if prior is not None:
        sound = sound & torch.isfinite(prior).all(dim=1, keepdim=True)
        prior = torch.where(sound, prior, 0.0)
    b = torch.where(sound & touched, b, 0.0)
    exponent = torch.frexp(b.detach().abs().amax(dim=1, keepdim=True)).exponent
    if prior is not None:
        prior = times_two_to(-exponent, prior)
    return times_two_to(-exponent, b), prior, exponent, sound


def times_two_to(exponent: Int[Tensor, "b 1"], value: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
    """Value · 2^exponent, exact and differentiable.

    Not torch.ldexp(value, exponent), whose gradient is zero for negative exponents in PyTorch 2.13 (its issue
    186556). In two halves, because the power itself may lie outside the dtype's range.
    """
    one = torch.ones(exponent.shape, dtype=value.dtype, device=value.device)
    half = torch.div(exponent, 2, rounding_mode="floor")
    return value * torch.ldexp(one, half) * torch.ldexp(one, exponent - half)


def solve_frames(
    bands: Bands, b: Float[Tensor, "b m"], prior: Float[Tensor, "b n"] | None, choice: Choice
) -> Found:
    """Solve the frames b; `prior` is given where choice.prior is "given"."""
    found = _attempt(bands, b, prior, choice, newton, nearest=False)
    left = torch.nonzero(~found.converged).flatten()
    if left.numel():
        given = None if prior is None else prior[left]
        again = second_attempt(bands, b[left], given, choice, newton)
        found.x[left] = again.x.to(b.dtype)
        found.dual[left] = again.dual.to(b.dtype)
        found.nit[left] += again.nit
        found.converged[left] = again.converged
    return found


def second_attempt(
    bands: Bands, b: Float[Tensor, "b m"], prior: Float[Tensor, "b n"] | None, choice: Choice, solver: Solver
) -> Found:
    """Solve in float64 for the nearest b that has a solution."""
    wide = None if prior is None else prior.double()
    return _attempt(bands.to(torch.float64), b.double(), wide, choice, solver, nearest=True)


def scaled_ridge(
    b: Float[Tensor, "b m"], exponent: Int[Tensor, "b 1"], choice: Choice
) -> Float[Tensor, "b 1"]:
    """ε of the normalised frames."""
    return times_two_to((choice.dual_power - 1) * exponent, torch.full_like(b[:, :1], choice.ridge))


def _attempt(
    bands: Bands,
    b: Float[Tensor, "b m"],
    prior: Float[Tensor, "b n"] | None,
    choice: Choice,
    solver: Solver,
    nearest: bool,
) -> Found:
    """One Newton run: for A x = b as it is, or for the nearest b that has a solution."""
    b, prior, exponent, sound = normalise(b, prior, bands.touched)
    start = starting_point(bands.matrix, bands.place, b, prior, choice)
    weight = start * start if choice.relative else torch.ones_like(start)
    if choice.ridge == 0.0:
        if nearest:
            b, free = project(bands, b)
        else:
            free = ~touches_zero(bands, b)
        start, weight = start * free, weight * free
    ridge = scaled_ridge(b, exponent, choice)
    start, dual = warm_start(bands.matrix, b, start, choice)
    found = solver(bands, b - ridge * dual, start, weight, choice, ridge)
    x = torch.where(sound, times_two_to(exponent, found.x), torch.nan)
    dual = times_two_to(choice.dual_power * exponent, dual + found.dual)
    return Found(x, dual, found.nit, found.converged & sound[:, 0])
