"""The subspace step against dense algebra on the free variables."""

import numpy as np
import pytest
import torch
from torch import Tensor

from inbounds.optim.box import Box
from inbounds.optim.cauchy import Cauchy, cauchy_point
from inbounds.optim.history import compact
from inbounds.optim.subspace import subspace_minimiser
from memories import random_memory
from oracles import box_qp, dense_bfgs


def by_hand(
    x: np.ndarray,
    g: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    B: np.ndarray,
    start: np.ndarray,
    free: np.ndarray,
) -> tuple[np.ndarray, str]:
    """The target by Morales and Nocedal's rules, and which rule gave it."""
    gradient = g + B @ (start - x)
    step = np.zeros_like(x)
    step[free] = np.linalg.solve(B[np.ix_(free, free)], -gradient[free])
    newton = start + step
    projected = np.clip(newton, lower, upper)
    if np.array_equal(projected, newton):
        return projected, "inside"
    if (projected - x) @ g <= 0:
        return projected, "projected"
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.where(step > 0, (upper - start) / step, np.where(step < 0, (lower - start) / step, np.inf))
    return np.clip(start + min(1.0, reach.min()) * step, lower, upper), "cut"


def random_case(seed: int, rows: int, n: int, m: int) -> tuple[Tensor, Tensor, Box, Cauchy, Tensor, list]:
    """Steep models from points near their bounds: projection often leads uphill."""
    rng = torch.Generator().manual_seed(seed)
    memory, pairs = random_memory(rows, n, m=m, updates=3 + 4 * (seed % 8), seed=seed, condition=1e4)
    x = torch.randn(rows, n, generator=rng, dtype=torch.float64)
    g = torch.randn(rows, n, generator=rng, dtype=torch.float64)
    reach = 10 ** (torch.rand(2, rows, n, generator=rng, dtype=torch.float64) * 4 - 3)
    box = Box.of(x - reach[0], x + reach[1])
    B = compact(memory)
    found = cauchy_point(x, g, box, B)
    target, sound = subspace_minimiser(x, g, box, memory, B, found)
    assert sound.all()
    assert ((target >= box.lower) & (target <= box.upper)).all()
    dense = [
        dense_bfgs([(s.numpy(), y.numpy()) for s, y in row], theta) if row else np.eye(n)
        for row, theta in zip(pairs, memory.theta.tolist(), strict=True)
    ]
    return x, g, box, found, target, dense


def test_equals_dense_algebra_by_every_rule() -> None:
    rules = set()
    for seed in range(24):
        x, g, box, found, target, dense = random_case(seed, rows=30, n=(2, 5, 11)[seed % 3], m=5)
        for row, B in enumerate(dense):
            start, free = found.point[row].numpy(), found.free[row].numpy()
            expected, rule = by_hand(*(v[row].numpy() for v in (x, g, box.lower, box.upper)), B, start, free)
            rules.add(rule)
            torch.testing.assert_close(target[row], torch.from_numpy(expected), rtol=1e-6, atol=1e-7)
    assert rules == {"inside", "projected", "cut"}


def test_no_row_climbs() -> None:
    for seed in range(8):
        x, g, _, _, target, _ = random_case(seed, rows=50, n=7, m=5)
        assert (((target - x) * g).sum(dim=-1) < 0).all()


def test_model_minimiser_where_the_cauchy_point_finds_the_face() -> None:
    """With every variable at a bound or far from one, the target is the model's minimiser in the box."""
    hits = 0
    for seed in range(10):
        rows, n = 12, 5
        rng = torch.Generator().manual_seed(seed)
        memory, pairs = random_memory(rows, n, m=4, updates=12, seed=seed)
        x = torch.zeros(rows, n, dtype=torch.float64)
        g = torch.randn(rows, n, generator=rng, dtype=torch.float64)
        away = torch.rand(rows, n, generator=rng) < 0.6
        lower = torch.where(away, -100.0, torch.where(g > 0, 0.0, -100.0)).double()
        upper = torch.where(away, 100.0, torch.where(g < 0, 0.0, 100.0)).double()
        box = Box.of(lower, upper)
        B = compact(memory)
        found = cauchy_point(x, g, box, B)
        target, _ = subspace_minimiser(x, g, box, memory, B, found)
        for row in range(rows):
            dense = dense_bfgs([(s.numpy(), y.numpy()) for s, y in pairs[row]], memory.theta[row].item())
            best = box_qp(dense, g[row].numpy(), lower[row].numpy(), upper[row].numpy())
            held = ~found.free[row].numpy()
            if np.array_equal(held, (best == lower[row].numpy()) | (best == upper[row].numpy())):
                hits += 1
                torch.testing.assert_close(target[row], torch.from_numpy(best), rtol=1e-7, atol=1e-7)
    assert hits > 40


@pytest.mark.parametrize("fixed", [0, 6])
def test_all_free_and_none_free(fixed: int) -> None:
    memory, pairs = random_memory(1, 6, m=3, updates=9, seed=0)
    x = torch.zeros(1, 6, dtype=torch.float64)
    g = torch.linspace(-1, 2, 6, dtype=torch.float64)[None]
    box = Box.of(x - 1000, x + 1000)
    start = x - 0.001 * g
    B = compact(memory)
    half = B.half @ torch.cat([B.Y, B.theta[:, None, None] * B.S], dim=1) @ (start - x)[:, :, None]
    half[:, :3] *= -1
    Mc = (half.mT @ B.half).squeeze(1)
    free = torch.arange(6)[None] >= fixed
    target, sound = subspace_minimiser(x, g, box, memory, B, Cauchy(start, free, Mc))
    assert sound.all()
    if fixed:
        assert torch.equal(target, start)
    else:
        dense = dense_bfgs([(s.numpy(), y.numpy()) for s, y in pairs[0]], memory.theta.item())
        torch.testing.assert_close(target[0], torch.from_numpy(-np.linalg.solve(dense, g[0].numpy())))
