"""The distances to a prior x₀ that choose among the optima, as maps from the dual variable to x.

Minimising a distance subject to Ax = b makes every x[i] an increasing function of u[i] = (Aᵀλ)[i] alone:

    quadratic   Σ (x - x₀)² / (2 w), x ≥ 0      x = max(0, x₀ + w u)
    kl          Σ x log(x / x₀) - x + x₀        x = x₀ exp(u)               Kullback-Leibler
    is          Σ x / x₀ - log(x / x₀) - 1      x = x₀ / (1 - x₀ u)         Itakura-Saito

The quadratic has a weight: w = 1, or w = x₀², which counts relative deviations as the other two do near x₀.
"""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

Distance = Literal["quadratic", "kl", "is"]
DISTANCES: tuple[str, ...] = get_args(Distance)


def primal(
    u: Float[Tensor, "b n"], prior: Float[Tensor, "b n"], weight: Float[Tensor, "b n"], distance: str
) -> Float[Tensor, "b n"]:
    """x(u); infinite outside the domain of "is"."""
    if distance == "quadratic":
        return (prior + weight * u).clamp(min=0.0)
    if distance == "kl":
        return prior * torch.exp(u)
    left = 1.0 - prior * u
    return torch.where(left > 0.0, prior / left, torch.inf)


def slope(
    x: Float[Tensor, "b n"],
    u: Float[Tensor, "b n"],
    prior: Float[Tensor, "b n"],
    weight: Float[Tensor, "b n"],
    distance: str,
) -> Float[Tensor, "b n"]:
    """dx/du, the D of A D Aᵀ. A quadratic x that rests on its bound without pressure counts as free."""
    if distance == "quadratic":
        return torch.where(prior + weight * u >= 0.0, weight, 0.0)
    return x if distance == "kl" else x * x


def prior_slope(
    x: Float[Tensor, "b n"],
    u: Float[Tensor, "b n"],
    prior: Float[Tensor, "b n"],
    relative: bool,
    distance: str,
) -> Float[Tensor, "b n"]:
    """dx/dx₀ at a fixed u, where `relative` says that the quadratic's weight is x₀²."""
    if distance == "quadratic":
        return torch.where(x > 0.0, 1.0 + 2.0 * prior * u if relative else 1.0, 0.0)
    ratio = torch.where(prior > 0.0, x / prior.clamp(min=torch.finfo(prior.dtype).tiny), 0.0)
    return ratio if distance == "kl" else ratio * ratio
