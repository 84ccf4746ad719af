"""The compact matrix against the dense BFGS recursion, when the rings have wrapped at different places."""

import numpy as np
import pytest
import torch

from inbounds.optim.history import Compact, compact, forget, order, remember
from inbounds.optim.state import empty_memory
from memories import random_memory
from oracles import dense_bfgs


def dense(B: Compact) -> torch.Tensor:
    """θI - W M Wᵀ."""
    W = torch.cat([B.Y, B.theta[:, None, None] * B.S], dim=1)
    m = B.S.shape[1]
    half = B.half @ W
    return (
        B.theta[:, None, None] * torch.eye(B.S.shape[2])
        + half[:, :m].mT @ half[:, :m]
        - (half[:, m:].mT @ half[:, m:])
    )


@pytest.mark.parametrize(("m", "updates"), [(1, 5), (3, 2), (4, 8), (5, 30), (10, 45)])
def test_compact_matrix_is_bfgs(m: int, updates: int) -> None:
    memory, expected = random_memory(rows=7, n=12, m=m, updates=updates, seed=m)
    B = compact(memory)
    assert B.sound.all()
    assert len(set(memory.head.tolist())) > 1 or m == 1 or updates < m, "the rows have wrapped alike"
    for row, pairs in enumerate(expected):
        assert memory.held[row] == len(pairs)
        theta = (pairs[-1][1] @ pairs[-1][1] / (pairs[-1][0] @ pairs[-1][1])).item() if pairs else 1.0
        by_hand = dense_bfgs([(s.numpy(), y.numpy()) for s, y in pairs], theta) if pairs else np.eye(12)
        assert dense(B)[row].numpy() == pytest.approx(by_hand, rel=1e-8, abs=1e-8)


def test_secant_equation_after_three_times_round() -> None:
    memory, expected = random_memory(rows=5, n=15, m=4, updates=40, seed=3)
    assert (memory.held == 4).all()
    matrix = dense(compact(memory))
    for row, pairs in enumerate(expected):
        s, y = pairs[-1]
        torch.testing.assert_close(matrix[row] @ s, y, rtol=1e-9, atol=1e-9)


def test_products_are_in_chronological_order() -> None:
    memory, expected = random_memory(rows=6, n=9, m=5, updates=23, seed=1)
    for row, pairs in enumerate(expected):
        S, Y = (torch.stack(vectors) for vectors in zip(*pairs, strict=True))
        k = len(pairs)
        torch.testing.assert_close(memory.S[row, order(memory)[row, :k]], S)
        torch.testing.assert_close(memory.SY[row, :k, :k], S @ Y.mT)
        torch.testing.assert_close(memory.SS[row, :k, :k], S @ S.mT)
        assert not memory.SY[row, k:].any()
        assert not memory.SS[row, :, k:].any()


def test_forgetting_one_row_leaves_the_others() -> None:
    memory, _ = random_memory(rows=3, n=6, m=3, updates=10, seed=2)
    before = dense(compact(memory))
    after = dense(compact(forget(memory, torch.tensor([False, True, False]))))
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    assert torch.equal(after[1], torch.eye(6, dtype=torch.float64))


def test_memory_is_filled_anew_after_forgetting() -> None:
    memory, _ = random_memory(rows=2, n=6, m=3, updates=12, seed=4)
    memory = forget(memory, torch.tensor([True, True]))
    s = torch.randn(2, 6, dtype=torch.float64)
    y = 2 * s
    memory = remember(
        memory, s, y, (s * y).sum(-1), -torch.ones(2, dtype=s.dtype), torch.tensor([True, True])
    )
    torch.testing.assert_close((dense(compact(memory)) @ s[:, :, None])[:, :, 0], y)


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_pairs_of_too_little_curvature_are_skipped(ratio: float) -> None:
    s = torch.ones(1, 4, dtype=torch.float64)
    slope = torch.tensor([-3.0], dtype=torch.float64)
    curvature = -ratio * torch.finfo(torch.float64).eps * slope
    y = s * curvature / 4
    memory = remember(empty_memory(s, 2), s, y, curvature, slope, torch.tensor([True]))
    assert memory.held.item() == (1 if ratio > 1 else 0)


@pytest.mark.parametrize("worthless", [float("nan"), float("inf"), 0.0])
def test_worthless_pairs_are_not_kept(worthless: float) -> None:
    s = torch.full((2, 3), 1.0, dtype=torch.float64)
    y = torch.tensor([[1.0], [worthless]], dtype=torch.float64).expand(2, 3).clone()
    memory = remember(
        empty_memory(s, 2),
        s,
        y,
        (s * y).sum(-1),
        torch.tensor([-1.0, -1.0]).double(),
        torch.tensor([True, True]),
    )
    assert memory.held.tolist() == [1, 0]
    assert all(part.isfinite().all() for part in memory)
