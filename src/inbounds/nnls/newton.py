"""Semismooth Newton on the dual of a banded problem, in tensor operations; frames are rows.

    F(λ) = A x(Aᵀλ) + ε λ - b = 0,       F'(λ) = A D Aᵀ + ε I tridiagonal,       D = dx/du ≥ 0

F is the gradient of a convex function of λ, so along a Newton direction its slope F·d rises monotonically
through zero; see search.py for the step. One round evaluates one trial λ of every frame, whether it is taken
or not.

The family x(λ) of "kl" and "is" does not change when its x₀ is replaced by one of its own members and λ is
counted from there. Every few rounds that is done, so that λ stays small and its rounding harmless.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from inbounds.nnls import distances, search
from inbounds.nnls.bands import Bands
from inbounds.nnls.tridiagonal import solve_tridiagonal


class Goal(NamedTuple):
    """When a frame is done, and what is added to the Newton matrix.

    The error is max |F[j]| / (tolerance |b[j]| + what rounding leaves). A frame is done when its error is at
    most 1, or at most `enough` and no longer halved by a step; or, after all the rounds, when max |F| / max
    |b| is at most `last`.
    """

    tolerance: float
    enough: float
    last: float
    damping: float  # relative to the diagonal at λ = 0
    rounds: int


# A float32 frame that is not done to the letter has a second attempt in float64.
GOALS = {
    torch.float32: Goal(tolerance=1e-6, enough=1.0, last=0.0, damping=1e-6, rounds=40),
    torch.float64: Goal(tolerance=1e-14, enough=1e5, last=1e-7, damping=1e-12, rounds=400),
}
# Rounds between two changes of the x₀ that "kl" and "is" count from.
RECENTRE = 4


class Choice(NamedTuple):
    """Which optimum is asked for: nearest to `prior` in `distance`; see distances.py."""

    prior: str  # "flat", "envelope", or "given"
    distance: str
    relative: bool  # the quadratic's weight is x₀², not 1
    ridge: float  # ε

    @property
    def positive(self) -> bool:
        """x₀ = 0 would leave no x but 0."""
        return self.relative or self.distance != "quadratic"

    @property
    def dual_power(self) -> int:
        """λ scales like b to this power."""
        if self.distance == "kl":
            return 0
        return -1 if self.relative or self.distance == "is" else 1


class Found(NamedTuple):
    """The last accepted point of every frame."""

    x: Float[Tensor, "b n"]
    dual: Float[Tensor, "b m"]
    nit: Int[Tensor, " b"]
    converged: Bool[Tensor, " b"]


def gram(
    matrix: Float[Tensor, "m n"], scale: Float[Tensor, "b n"]
) -> tuple[Float[Tensor, "b m"], Float[Tensor, "b m"]]:
    """The diagonal of A D Aᵀ and the entries beside it (the last is 0), for D = diag(scale)."""
    beside = pad(matrix[:-1] * matrix[1:], (0, 0, 0, 1))
    return scale @ (matrix * matrix).mT, scale @ beside.mT


def newton(
    bands: Bands,
    b: Float[Tensor, "b m"],
    prior: Float[Tensor, "b n"],
    weight: Float[Tensor, "b n"],
    choice: Choice,
    ridge: Float[Tensor, "b 1"],
) -> Found:
    """Solve every frame's F(λ) = 0 from λ = 0, in b's dtype."""
    matrix, distance = bands.matrix, choice.distance
    goal, eps, tiny = GOALS[b.dtype], torch.finfo(b.dtype).eps, torch.finfo(b.dtype).tiny
    start = torch.zeros_like(b)  # where λ is counted from
    dual, direction = torch.zeros_like(b), torch.zeros_like(b)
    line = search.begin(torch.zeros_like(b[:, :1]))
    diagonal0 = size0 = b  # set in the first round
    x = prior
    converged = torch.zeros(b.shape[0], dtype=torch.bool, device=b.device)
    nit = torch.zeros(b.shape[0], dtype=torch.int64, device=b.device)
    error = largest = torch.full_like(b[:, 0], torch.inf)
    for round_ in range(goal.rounds):
        trial = dual + line.step * direction
        u = trial @ matrix
        trial_x = distances.primal(u, prior, weight, distance)
        level = trial_x @ matrix.mT
        F = level + ridge * trial - b
        diagonal, beside = gram(matrix, distances.slope(trial_x, u, prior, weight, distance))
        if round_ == 0:
            diagonal0, size0 = diagonal, level

        # Terms of opposite sign that cancel in F leave this much of themselves; b is at most about 1.
        magnitude = trial.abs()
        rounding = size0 + diagonal * magnitude + beside * pad(magnitude[:, 1:], (0, 1))
        rounding = rounding + pad((beside * magnitude)[:, :-1], (1, 0))
        scale = goal.tolerance * b.abs() + eps * (4.0 * rounding).clamp(max=1.0)
        new_error = (F.abs() / scale.clamp(min=tiny)).amax(dim=1)

        slope = (F * direction).sum(dim=1, keepdim=True)
        good, line = search.judge(line, slope, torch.isfinite(F).all(dim=1, keepdim=True))
        taken = (good | (new_error <= 1.0)[:, None]) & ~converged[:, None]
        met = (new_error <= 1.0) | ((new_error <= goal.enough) & (new_error > 0.5 * error))
        stuck = ~taken[:, 0] & (error <= goal.enough)  # in rounding
        dual = torch.where(taken, trial, dual)
        x = torch.where(taken, trial_x, x)
        error = torch.where(taken[:, 0], new_error, error)
        largest = torch.where(taken[:, 0], F.abs().amax(dim=1), largest)
        nit += (taken[:, 0] & ~met).long()
        converged = converged | (taken[:, 0] & met) | stuck
        if bool(converged.all()):
            break
        # Where the free columns leave a direction without slope, the damping makes the step in it long, and
        # the line search ends it where other columns become free; at a solution there is nothing to move for.
        damping = (goal.damping * diagonal0).clamp(min=tiny)
        newton_step = -solve_tridiagonal(diagonal + ridge + damping, beside, F, damping)
        direction = torch.where(taken, newton_step, direction)
        line = search.restart(line, taken, (F * newton_step).sum(dim=1, keepdim=True))
        if distance != "quadratic" and round_ % RECENTRE == RECENTRE - 1:
            prior, b, start, dual = x, b - ridge * dual, start + dual, torch.zeros_like(dual)
    return Found(x, start + dual, nit, converged | (largest <= goal.last))
