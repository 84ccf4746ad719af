"""The vectorised line search, trial by trial, against SciPy's DCSRCH."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.optimize._dcsrch import DCSRCH
from torch import Tensor

from inbounds.optim.linesearch import begin, observe

FTOL, GTOL, XTOL = 1e-3, 0.9, 0.1  # those of lnsrlb in L-BFGS-B 3.0

Phi = Callable[[Tensor, Tensor], Tensor]  # of the step and the row's parameters

# Moré and Thuente's test functions (section 5) and some that curve both ways; parameters are positive.
FAMILIES: dict[str, Phi] = {
    "rational": lambda a, k: -a / (a * a + k),
    "power": lambda a, k: (a + 0.004 * k) ** 5 - 2 * (a + 0.004 * k) ** 4,
    "wavy": lambda a, k: -a + 0.3 * torch.sin(2.5 * k * a) / k + 0.01 * a**2,
    "quartic": lambda a, k: a**4 - k * a**2 - 0.5 * a,
    "exponential": lambda a, k: torch.exp(k * a) - 20 * a,
    "linear": lambda a, k: -k * a,
    "kinked": lambda a, k: (a - k).abs() - 0.2 * a,
    "steep": lambda a, k: 1e6 * (a - 1e-3 * k) ** 2,
}


def value_and_slope(phi: Phi, step: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    step = step.clone().requires_grad_()
    with torch.enable_grad():
        value = phi(step, k)
        (slope,) = torch.autograd.grad(value.sum(), step)
    return value.detach(), slope


def reference(phi: Phi, k: Tensor, step: float, step_max: float, limit: int) -> tuple[list[float], bool]:
    """SciPy's trials for one row, and whether it ended by itself."""
    search = DCSRCH(None, None, FTOL, GTOL, XTOL, 0.0, step_max)
    f, slope = (v.item() for v in value_and_slope(phi, torch.zeros(1).double(), k))
    trials, task = [], b"START"
    with np.errstate(all="ignore"):
        while len(trials) <= limit:
            step, _, _, task = search._iterate(step, f, slope, task)
            if not task.startswith(b"FG"):
                return trials, True
            trials.append(step)
            f, slope = (v.item() for v in value_and_slope(phi, torch.tensor([step]).double(), k))
    return trials[:limit], False


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("step_max", [1e10, 5.0, 1.0])
def test_every_trial_is_scipys(family: str, step_max: float) -> None:
    rng = torch.Generator().manual_seed(0)
    rows, limit = 60, 20
    k = 10 ** (torch.rand(rows, generator=rng, dtype=torch.float64) * 2 - 1)
    first = (10 ** (torch.rand(rows, generator=rng, dtype=torch.float64) * 4 - 3)).clamp(max=step_max)
    phi = FAMILIES[family]
    f0, slope = value_and_slope(phi, torch.zeros(rows).double(), k)
    search = begin(first, torch.full_like(first, step_max), f0, slope)
    trials: list[list[float]] = [[] for _ in range(rows)]
    done = torch.zeros(rows, dtype=torch.bool) | (slope >= 0)
    starts = ~done
    for _ in range(limit):
        for row in torch.nonzero(~done).flatten().tolist():
            trials[row].append(search.step[row].item())
        search, accepted = observe(search, f0, *value_and_slope(phi, search.step, k))
        done |= accepted
    assert starts.any()
    for row in torch.nonzero(starts).flatten().tolist():
        expected, ended = reference(phi, k[row : row + 1], first[row].item(), step_max, limit)
        assert bool(done[row]) == ended
        assert trials[row] == pytest.approx(expected, rel=1e-5)  # rounding grows from trial to trial


def test_accepted_steps_satisfy_the_strong_wolfe_conditions() -> None:
    rng = torch.Generator().manual_seed(1)
    k = torch.rand(200, generator=rng, dtype=torch.float64) + 0.2
    phi = FAMILIES["quartic"]
    f0, slope0 = value_and_slope(phi, torch.zeros(200).double(), k)
    search = begin(torch.full_like(k, 0.01), torch.full_like(k, 1e10), f0, slope0)
    done = torch.zeros(200, dtype=torch.bool)
    for _ in range(20):
        step = search.step
        f, slope = value_and_slope(phi, step, k)
        search, accepted = observe(search, f0, f, slope)
        new = accepted & ~done
        assert (f <= f0 + FTOL * step * slope0)[new].all()
        assert (slope.abs() <= GTOL * slope0.abs())[new].all()
        done |= accepted
    assert done.all()


@pytest.mark.parametrize("beyond", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("end", [0.9, 1e-2, 1e-7])
def test_backs_away_from_where_there_is_no_value(beyond: float, end: float) -> None:
    """φ(α) = -α up to `end`, and nothing finite beyond it."""
    f0, slope0 = torch.zeros(1).double(), -torch.ones(1).double()
    search = begin(torch.ones(1).double(), torch.full((1,), 1e10).double(), f0, slope0)
    for _ in range(20):
        step = search.step
        inside = step <= end
        f = torch.where(inside, -step, beyond)
        search, accepted = observe(search, f0, f, torch.where(inside, slope0, torch.nan))
        if accepted.item():
            assert 0.09 * end < step.item() <= end
            return
    raise AssertionError("no step was accepted")


def test_backing_away_inside_a_bracket() -> None:
    """A hole in the middle of the interval is walked round towards the best step."""
    f0, slope0 = torch.zeros(1).double(), -torch.ones(1).double()
    search = begin(torch.ones(1).double(), torch.full((1,), 1e10).double(), f0, slope0)
    search, _ = observe(search, f0, torch.ones(1).double(), torch.ones(1).double())
    assert search.bracketed.item()
    before = search.step
    search, accepted = observe(search, f0, torch.full((1,), torch.nan).double(), slope0)
    assert not accepted.item()
    assert 0 < search.step.item() < before.item()
    step = search.step
    _, accepted = observe(search, f0, -step, 0.1 * slope0)
    assert accepted.item()


def test_rows_do_not_see_each_other() -> None:
    k = torch.linspace(0.2, 3, 9, dtype=torch.float64)
    phi = FAMILIES["wavy"]
    f0, slope0 = value_and_slope(phi, torch.zeros(9).double(), k)
    spoilt = torch.where(torch.arange(9) == 4, torch.nan, 0.0)
    clean_search = dirty_search = begin(torch.full_like(k, 2.0), torch.full_like(k, 1e10), f0, slope0)
    others = torch.arange(9) != 4
    for _ in range(8):
        clean_search, clean = observe(clean_search, f0, *value_and_slope(phi, clean_search.step, k))
        f, slope = value_and_slope(phi, dirty_search.step, k)
        dirty_search, dirty = observe(dirty_search, f0, f + spoilt, slope)
        assert torch.equal(clean[others], dirty[others])
        for one, other in zip(clean_search, dirty_search, strict=True):
            assert torch.equal(one[others], other[others])
