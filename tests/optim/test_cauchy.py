"""The generalised Cauchy point against a walk along the path, one segment at a time."""

import pytest
import torch
from torch import Tensor

from inbounds.optim import cauchy as cauchy_module
from inbounds.optim.box import Box
from inbounds.optim.cauchy import cauchy_point
from inbounds.optim.history import compact, into_memory
from memories import random_memory
from oracles import dense_bfgs, walk_to_cauchy_point

INF = float("inf")


def random_rows(rows: int, n: int, seed: int) -> tuple[Tensor, Tensor, Box]:
    """Points inside, on and between bounds of every kind; gradients with zeros; some variables fixed."""
    rng = torch.Generator().manual_seed(seed)

    def choose(probability: float) -> Tensor:
        return torch.rand(rows, n, generator=rng) < probability

    x = torch.randn(rows, n, generator=rng, dtype=torch.float64)
    g = torch.randn(rows, n, generator=rng, dtype=torch.float64)
    g = torch.where(choose(0.1), 0, g)
    reach = torch.rand(2, rows, n, generator=rng, dtype=torch.float64) * 1.5
    lower, upper = x - reach[0], x + reach[1]
    lower = torch.where(choose(0.2), -INF, torch.where(choose(0.15), x, lower))
    upper = torch.where(choose(0.2), INF, torch.where(choose(0.15), x, upper))
    return x, g, Box.of(lower, upper)


def check(x: Tensor, g: Tensor, box: Box, m: int, updates: int, seed: int) -> None:
    memory, pairs = random_memory(*x.shape, m=m, updates=updates, seed=seed)
    B = compact(memory)
    found = cauchy_point(x, g, box, B)
    assert ((found.point >= box.lower) & (found.point <= box.upper)).all()
    z = found.point - x
    for row in range(len(x)):
        if not box.constrained[row]:
            assert torch.equal(found.point[row], x[row])
            continue
        dense = dense_bfgs([(s.numpy(), y.numpy()) for s, y in pairs[row]], memory.theta[row].item())
        if not pairs[row]:
            dense = torch.eye(x.shape[1], dtype=torch.float64).numpy()
        walked = walk_to_cauchy_point(*(v[row].numpy() for v in (x, g, box.lower, box.upper)), dense)
        torch.testing.assert_close(found.point[row], torch.from_numpy(walked), rtol=1e-9, atol=1e-9)
        # W M c = θz - Bz
        WMc = (found.Mc[row, :m] @ B.Y[row]) + memory.theta[row] * (found.Mc[row, m:] @ B.S[row])
        Bz = torch.from_numpy(dense) @ z[row]
        torch.testing.assert_close(WMc, memory.theta[row] * z[row] - Bz, rtol=1e-8, atol=1e-8)
    at_bound = (found.point == box.lower) | (found.point == box.upper)
    assert (at_bound | found.free)[box.constrained].all()


@pytest.mark.parametrize("seed", range(20))
def test_equals_the_walk(seed: int) -> None:
    n = (1, 2, 5, 12, 30)[seed % 5]
    m = (1, 3, 6, 10)[seed % 4]
    check(*random_rows(40, n, seed), m=m, updates=(0, 2, 9, 30)[seed % 4], seed=seed)


@pytest.mark.parametrize("columns", [1, 3, 7])
def test_windows_do_not_change_the_walk(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cauchy_module, "NARROWEST", columns)
    monkeypatch.setattr(cauchy_module, "WINDOW_CPU", 1)
    for seed in range(4):
        check(*random_rows(30, 13, seed), m=4, updates=11, seed=seed)


def test_every_variable_may_reach_its_bound() -> None:
    x = torch.zeros(1, 4, dtype=torch.float64)
    g = torch.tensor([[-100.0, 100.0, -300.0, 50.0]], dtype=torch.float64)
    box = Box.of(x - 0.1, x + 0.1)
    memory, _ = random_memory(1, 4, m=3, updates=8, seed=0)
    found = cauchy_point(x, g, box, compact(memory))
    assert torch.equal(found.point, -0.1 * g.sign())
    assert not found.free.any()


def test_breakpoints_met_together() -> None:
    x = torch.zeros(1, 6, dtype=torch.float64)
    g = -torch.ones_like(x)
    check(x, g, Box.of(x - 1, x + 0.25), m=3, updates=7, seed=5)


def test_rows_do_not_see_each_other() -> None:
    x, g, box = random_rows(10, 8, seed=0)
    memory, _ = random_memory(10, 8, m=4, updates=9, seed=0)
    whole = cauchy_point(x, g, box, compact(memory))
    g[3] = torch.nan
    spoilt = cauchy_point(x, g, box, compact(memory))
    others = torch.arange(10) != 3
    assert torch.equal(spoilt.point[others], whole.point[others])


def test_c_is_the_step_seen_by_the_memory() -> None:
    x, g, box = random_rows(10, 8, seed=1)
    memory, _ = random_memory(10, 8, m=4, updates=9, seed=1)
    B = compact(memory)
    found = cauchy_point(x, g, box, B)
    half = (B.half @ into_memory(B, found.point - x)[:, :, None]).squeeze(-1)
    half[:, :4] *= -1
    torch.testing.assert_close(found.Mc, (half[:, None] @ B.half).squeeze(1), rtol=1e-8, atol=1e-9)
