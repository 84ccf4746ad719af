"""Subspace minimisation: the model's minimiser over the variables free at the Cauchy point, kept in the box.

Follows: BLNZ (1995), section 5.1, the direct primal method, with Morales and Nocedal (2011): the Newton
point is projected on the box; only if that gives no descent is the step towards it cut at the first
bound, as in 1995.

With Z the free variables and A the others, r = -Zᵀ(g + B(xᶜ - x)) and

    Zᵀ(B⁻¹ on the subspace)r = r/θ + ZᵀW K⁻¹ WᵀZ r/θ²        (5.11), with K = M⁻¹ - WᵀZZᵀW/θ:

    K = [ -D - YᵀZZᵀY/θ    (Lᵃ - Rᶻ)ᵀ ]     Lᵃ: strictly lower part of SᵀAAᵀY
        [    Lᵃ - Rᶻ        θSᵀAAᵀS   ]     Rᶻ: upper part of SᵀZZᵀY, diagonal included
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from inbounds.optim.box import Box, project
from inbounds.optim.cauchy import Cauchy
from inbounds.optim.history import Compact, into_memory, inverse_factor, kept, order, out_of_memory
from inbounds.optim.state import Memory


def subspace_minimiser(
    x: Float[Tensor, "b n"],
    g: Float[Tensor, "b n"],
    box: Box,
    memory: Memory,
    B: Compact,
    cauchy: Cauchy,
) -> tuple[Float[Tensor, "b n"], Bool[Tensor, " b"]]:
    """The target of the next line search, in the box; and whether K could be factored."""
    theta = B.theta[:, None]
    gradient = g + theta * (cauchy.point - x) - out_of_memory(B, cauchy.Mc)
    r = torch.where(cauchy.free, -gradient, 0)
    v, sound = _solve_K(memory, B, cauchy.free, into_memory(B, r))
    step = torch.where(cauchy.free, (r + out_of_memory(B, v) / theta) / theta, 0)  # (5.11)
    return _into_box(x, g, box, cauchy, step), sound


def _into_box(
    x: Float[Tensor, "b n"],
    g: Float[Tensor, "b n"],
    box: Box,
    cauchy: Cauchy,
    step: Float[Tensor, "b n"],
) -> Float[Tensor, "b n"]:
    """Morales and Nocedal (2011): P(start + step) if that descends from x, else the step cut at a bound."""
    start = cauchy.point
    projected = project(start + step, box)
    ascent = ((projected - x) * g).sum(dim=-1, keepdim=True) > 0
    clipped = cauchy.free & ((projected == box.lower) | (projected == box.upper))
    # The longest part of the step that stays in the box. (5.8)
    room = torch.where(step > 0, box.upper - start, box.lower - start)
    ratio = torch.where(step == 0, torch.inf, room / step)
    alpha, hit = ratio.min(dim=-1, keepdim=True)
    cut = project(start + alpha.clamp(max=1) * step, box)
    bound = torch.where(step > 0, box.upper, box.lower).gather(1, hit)
    cut = cut.scatter(1, hit, torch.where(alpha < 1, bound, cut.gather(1, hit)))
    return torch.where(ascent & clipped.any(dim=-1, keepdim=True), cut, projected)


def _solve_K(
    memory: Memory, B: Compact, free: Bool[Tensor, "b n"], w: Float[Tensor, "b two_m"]
) -> tuple[Float[Tensor, "b two_m"], Bool[Tensor, " b"]]:
    """K⁻¹w by two Cholesky factorisations of m × m blocks: K = [J₁ 0; P J₂] E [J₁ 0; P J₂]ᵀ."""
    m = B.S.shape[1]
    present, by_age = kept(memory), order(memory)
    pair = present[:, :, None] & present[:, None, :]

    def aged(gram: Float[Tensor, "b m m"]) -> Float[Tensor, "b m m"]:
        gram = gram.gather(1, by_age[:, :, None].expand_as(gram))
        return torch.where(pair, gram.gather(2, by_age[:, None, :].expand_as(gram)), 0)

    Y_free = torch.where(free[:, None], B.Y, 0)
    S_fixed = torch.where(free[:, None], 0, B.S)
    theta = B.theta[:, None, None]
    D = memory.SY.diagonal(dim1=1, dim2=2)
    padding = torch.diag_embed((~present).to(w.dtype))
    K11 = torch.diag_embed(D) + aged(Y_free @ B.Y.mT) / theta + padding  # of -K
    K21 = aged(S_fixed @ B.Y.mT).tril(-1) - aged(B.S @ Y_free.mT).triu()
    K22 = theta * aged(S_fixed @ B.S.mT) + padding

    J1, sound1 = inverse_factor(K11)
    P = -K21 @ J1.mT
    J2, sound2 = inverse_factor(K22 + P @ P.mT)

    w1, w2 = w[:, :m].gather(1, by_age), w[:, m:].gather(1, by_age)
    w1, w2 = torch.where(present, w1, 0)[:, :, None], torch.where(present, w2, 0)[:, :, None]
    u1 = J1 @ w1
    v2 = J2.mT @ (J2 @ (w2 - P @ u1))
    v1 = J1.mT @ -(u1 + P.mT @ v2)
    empty = torch.zeros_like(w[:, :m])
    v1, v2 = (empty.scatter(1, by_age, v.squeeze(-1)) for v in (v1, v2))
    return torch.cat([v1, v2], dim=-1), sound1 & sound2
