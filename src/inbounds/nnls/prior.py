"""The prior spectrum x₀ that chooses among the optima: given, or made from the right-hand side itself.

All of it is differentiable, in b and in the matrix, whose row sums and centres the envelope depends on.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from inbounds.nnls import distances
from inbounds.nnls.bands import Place
from inbounds.nnls.newton import Choice

# Levels further under the frame's loudest band are lifted to it: x₀² must stay a float32.
FLOOR = 1e-10
# A given prior that counts relatively is lifted to this part of the envelope: a bin at zero could never
# sound.
LIFT = 1e-3


def starting_point(
    matrix: Float[Tensor, "m n"],
    place: Place,
    b: Float[Tensor, "b m"],
    given: Float[Tensor, "b n"] | None,
    choice: Choice,
) -> Float[Tensor, "b n"]:
    """x₀ as `choice` says; `given` is there where choice.prior is "given"."""
    if given is not None and not choice.positive:
        return given
    if given is not None or choice.prior == "envelope":
        shape = envelope(matrix, b, place)
        return shape if given is None else torch.maximum(given, LIFT * shape)
    return mean_level(matrix, b) if choice.positive else b.new_zeros(b.shape[0], matrix.shape[1])


def warm_start(
    matrix: Float[Tensor, "m n"], b: Float[Tensor, "b m"], start: Float[Tensor, "b n"], choice: Choice
) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b m"]]:
    """A member x(λ) of the family of x₀ = start that has the levels of b, roughly, and its λ.

    For the flat priors of "kl" and "is", which are decades off. λ[j] is what brings a column of row j alone
    to that row's level. It is divided by the largest column sum, so that between two rows x is a mean of
    their levels, geometric in "kl" and harmonic in "is", and lies in the domain of "is".
    """
    if choice.distance == "quadratic" or choice.prior != "flat":
        return start, torch.zeros_like(b)
    flat = start.amax(dim=1, keepdim=True)
    share = reach(matrix)
    known = (flat > 0.0) & (share > 0.0)
    flat, level = torch.where(known, flat, 1.0), torch.where(known, levels(matrix, b), 1.0)
    dual = torch.log(level / flat) if choice.distance == "kl" else 1.0 / flat - 1.0 / level
    dual = dual / torch.where(share > 0.0, share, 1.0)
    return distances.primal(dual @ matrix, start, torch.ones_like(start), choice.distance), dual


def reach(matrix: Float[Tensor, "m n"]) -> Float[Tensor, " m"]:
    """The largest sum of a column that touches the row; 0 for a row without columns."""
    return torch.where(matrix > 0.0, matrix.sum(dim=0), 0.0).amax(dim=1)


def levels(matrix: Float[Tensor, "m n"], b: Float[Tensor, "b m"]) -> Float[Tensor, "b m"]:
    """The flat spectrum each band alone would need, b[j] / Σ A[j, :], with a floor."""
    sums = matrix.sum(dim=1)
    level = torch.where(sums > 0.0, b / torch.where(sums > 0.0, sums, 1.0), 0.0)
    floor = (FLOOR * level.amax(dim=1, keepdim=True)).clamp(min=torch.finfo(b.dtype).tiny)
    return torch.maximum(level, floor)


def envelope(matrix: Float[Tensor, "m n"], b: Float[Tensor, "b m"], place: Place) -> Float[Tensor, "b n"]:
    """Geometric interpolation of the levels between the bands' centres; zero in columns without a band."""
    left, right, fraction = place
    log_level = levels(matrix, b).log()
    low, high = log_level[:, left], log_level[:, right]
    return torch.exp(low + fraction * (high - low)) * (matrix.sum(dim=0) > 0.0)


def mean_level(matrix: Float[Tensor, "m n"], b: Float[Tensor, "b m"]) -> Float[Tensor, "b n"]:
    """The frame's mean level in every column that touches a band: the flat prior of "kl" and "is"."""
    mean = b.clamp(min=0.0).sum(dim=1, keepdim=True) / matrix.sum()
    return mean * (matrix.sum(dim=0) > 0.0)
