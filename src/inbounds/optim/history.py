"""The limited memory: correction pairs, and the quasi-Newton matrix B they stand for.

Follows: BLNZ (1995), section 3, and Byrd, Nocedal, Schnabel (1994); equation numbers are BLNZ's.

    B = θI - W M Wᵀ      W = [Y  θS]      M = [ -D    Lᵀ  ]⁻¹       (3.2)-(3.4)
                                              [  L   θSᵀS ]

with SᵀY = L + D + R, its strictly lower, diagonal and strictly upper parts. M is never formed. With
J Jᵀ = θSᵀS + L D⁻¹ Lᵀ,

    M⁻¹ = F E Fᵀ         F = [   D^½      0 ]        E = [ -I  0 ]
                             [ -L D^-½    J ]            [  0  I ]

so M = F⁻ᵀ E F⁻¹, and F⁻¹ ("half" below) is a small triangular matrix written down directly.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from inbounds.optim.state import Memory


class Compact(NamedTuple):
    """B of every row, ready to be multiplied; what stands along 2m has Y's slots first, then S's."""

    S: Float[Tensor, "b m n"]
    Y: Float[Tensor, "b m n"]
    theta: Float[Tensor, " b"]
    half: Float[Tensor, "b two_m two_m"]  # F⁻¹, its columns by slot; zero in the columns of empty slots
    sound: Bool[Tensor, " b"]  # θSᵀS + L D⁻¹ Lᵀ was positive definite


def inverse_factor(matrix: Float[Tensor, "b m m"]) -> tuple[Float[Tensor, "b m m"], Bool[Tensor, " b"]]:
    """J⁻¹ with J Jᵀ = matrix, J lower triangular; and whether there is one."""
    factor, failed = torch.linalg.cholesky_ex(matrix)  # does not raise, so does not wait for the device
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    inverse = torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False)
    return inverse, (failed == 0) & inverse.isfinite().flatten(1).all(dim=-1)


def order(memory: Memory) -> Int[Tensor, "b m"]:
    """The slot of the j-th oldest pair; of an empty slot where j >= held."""
    m = memory.S.shape[1]
    age = torch.arange(m, device=memory.S.device)
    return (memory.head[:, None] + age) % m


def kept(memory: Memory) -> Bool[Tensor, "b m"]:
    """Whether there is a j-th oldest pair."""
    return torch.arange(memory.S.shape[1], device=memory.S.device) < memory.held[:, None]


def remember(
    memory: Memory,
    s: Float[Tensor, "b n"],
    y: Float[Tensor, "b n"],
    curvature: Float[Tensor, " b"],
    slope: Float[Tensor, " b"],
    accepted: Bool[Tensor, " b"],
) -> Memory:
    """Add the pair (s, y) to the accepted rows, the oldest making room, unless its curvature is too small.

    The rings S and Y of the memory given are written in place and belong to the new one from here on.

    Args:
        memory: what is known so far.
        s, y: the step and the change of the gradient along it.
        curvature: sᵀy.
        slope: gᵀs before the step, negative. A pair with sᵀy <= eps |gᵀs| is skipped.
        accepted: the rows that made a step.
    """
    m = memory.S.shape[1]
    rows = torch.arange(len(s), device=s.device)
    theta = (y * y).sum(dim=-1) / curvature
    worthy = accepted & (curvature > -torch.finfo(s.dtype).eps * slope) & theta.isfinite()

    slot = (memory.head + memory.held) % m
    for ring, new in ((memory.S, s), (memory.Y, y)):
        ring[rows, slot] = torch.where(worthy[:, None], new, ring[rows, slot])

    full = worthy & (memory.held == m)
    head = torch.where(full, (memory.head + 1) % m, memory.head)
    held = torch.where(worthy & ~full, memory.held + 1, memory.held)
    grown = memory._replace(head=head, held=held)

    by_age = order(grown)
    newest = (torch.arange(m, device=s.device) == held[:, None] - 1) & worthy[:, None]
    sS, sY, yS = (
        torch.where(kept(grown), (ring @ v[:, :, None]).squeeze(-1).gather(1, by_age), 0)
        for ring, v in ((memory.S, s), (memory.Y, s), (memory.S, y))
    )
    # The reference keeps the pair's own product as the line search's slopes give it.
    sY = torch.where(newest, curvature[:, None], sY)
    yS = torch.where(newest, curvature[:, None], yS)

    def bordered(
        old: Float[Tensor, "b m m"], row: Float[Tensor, "b m"], column: Float[Tensor, "b m"]
    ) -> Float[Tensor, "b m m"]:
        shifted = torch.nn.functional.pad(old[:, 1:, 1:], (0, 1, 0, 1))
        old = torch.where(full[:, None, None], shifted, old)
        old = torch.where(newest[:, :, None], row[:, None, :], old)
        return torch.where(newest[:, None, :], column[:, :, None], old)

    return grown._replace(
        SY=bordered(memory.SY, sY, yS),
        SS=bordered(memory.SS, sS, sS),
        theta=torch.where(worthy, theta, memory.theta),
    )


def forget(memory: Memory, rows: Bool[Tensor, " b"]) -> Memory:
    """Drop every pair of the rows: B = I again. Their slots keep leftovers that nothing reads."""
    return memory._replace(
        SY=torch.where(rows[:, None, None], 0, memory.SY),
        SS=torch.where(rows[:, None, None], 0, memory.SS),
        head=torch.where(rows, 0, memory.head),
        held=torch.where(rows, 0, memory.held),
        theta=torch.where(rows, 1, memory.theta),
    )


def compact(memory: Memory) -> Compact:
    """Factor the middle matrix of every row."""
    m = memory.S.shape[1]
    present = kept(memory)
    D = torch.where(present, memory.SY.diagonal(dim1=1, dim2=2), 1)
    L = memory.SY.tril(-1)
    LD = L / D[:, None, :]
    T = memory.theta[:, None, None] * memory.SS + LD @ L.mT
    T = T + torch.diag_embed((~present).to(T.dtype))
    J_inverse, sound = inverse_factor(T)

    half = T.new_zeros(len(T), 2 * m, 2 * m)
    half[:, :m, :m] = torch.diag_embed(D.rsqrt())
    half[:, m:, :m] = J_inverse @ LD
    half[:, m:, m:] = J_inverse
    half = half * torch.cat([present, present], dim=-1)[:, None, :]
    by_slot = order(memory).argsort(dim=-1)
    by_slot = torch.cat([by_slot, by_slot + m], dim=-1)
    half = half.gather(2, by_slot[:, None, :].expand(-1, 2 * m, -1))
    return Compact(memory.S, memory.Y, memory.theta, half, sound)


def into_memory(B: Compact, v: Float[Tensor, "b n"]) -> Float[Tensor, "b two_m"]:
    """Wᵀv."""
    column = v[:, :, None]
    return torch.cat([B.Y @ column, B.theta[:, None, None] * (B.S @ column)], dim=1).squeeze(-1)


def out_of_memory(B: Compact, c: Float[Tensor, "b two_m"]) -> Float[Tensor, "b n"]:
    """W c."""
    m = B.S.shape[1]
    return (c[:, None, :m] @ B.Y + (B.theta[:, None] * c[:, m:])[:, None] @ B.S).squeeze(1)
