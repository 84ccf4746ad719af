"""The registry itself: gradients against autograd, values against SciPy's own, minima against KKT."""

import numpy as np
import pytest
import scipy.optimize
import torch

from problems import BOX_QPS, DRIVERS, LARGE, PROBLEMS, ROSENBROCKS, SMALL, named


def inside(problem, rng):
    """A random point of the box, off its boundary where it has an inside."""
    lower = torch.where(problem.lower.isfinite(), problem.lower, torch.minimum(problem.x0, problem.upper) - 1)
    upper = torch.where(problem.upper.isfinite(), problem.upper, torch.maximum(problem.x0, lower) + 1)
    middle = torch.rand(problem.n, generator=rng, dtype=torch.float64) * 0.8 + 0.1
    return (lower + middle * (upper - lower)).clamp(-10, 10)


def kkt(problem, x):
    """Largest violation of the optimality conditions at x."""
    g = problem.gradient(x)
    return float(((x - g).clamp(problem.lower, problem.upper) - x).abs().max())


def solved(problem):
    return scipy.optimize.minimize(
        lambda x: [part.numpy() for part in problem.value_and_gradient(torch.from_numpy(x))],
        problem.x0.numpy(),
        jac=True,
        bounds=scipy.optimize.Bounds(problem.lower.numpy(), problem.upper.numpy()),
        method="L-BFGS-B",
        options={**problem.options, "gtol": 1e-12, "ftol": 0.0},
    )


def test_names_are_unique():
    assert len({problem.name for problem in PROBLEMS}) == len(PROBLEMS)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_gradient_is_that_of_the_function(problem, rng):
    x = inside(problem, rng).requires_grad_()
    (expected,) = torch.autograd.grad(problem.fun(x), x)
    torch.testing.assert_close(problem.gradient(x.detach()), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("problem", SMALL, ids=lambda problem: problem.name)
def test_functions_take_batches(problem, rng):
    x = torch.stack([inside(problem, rng) for _ in range(3)])
    for function in (problem.fun, problem.gradient):
        expected = torch.stack([function(row) for row in x])
        torch.testing.assert_close(function(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "problem", [p for p in PROBLEMS if p.minimiser is not None], ids=lambda problem: problem.name
)
def test_stated_minimisers_meet_the_optimality_conditions(problem):
    assert kkt(problem, problem.minimiser) <= 1e-9 * max(
        1.0, float(problem.gradient(problem.minimiser).abs().max())
    )
    assert float(problem.fun(problem.minimiser)) == pytest.approx(problem.minima[0], rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("problem", [p for p in SMALL if p.smooth], ids=lambda problem: problem.name)
def test_scipy_ends_at_a_stated_minimum(problem):
    found = float(solved(problem).fun)
    assert min(abs(found - minimum) / max(1, abs(minimum)) for minimum in problem.minima) < 2e-7


@pytest.mark.parametrize("problem", ROSENBROCKS, ids=lambda problem: problem.name)
def test_rosenbrock_is_scipys(problem, rng):
    x = inside(problem, rng)
    assert float(problem.fun(x)) == pytest.approx(scipy.optimize.rosen(x.numpy()), rel=1e-13)
    np.testing.assert_allclose(problem.gradient(x), scipy.optimize.rosen_der(x.numpy()), rtol=1e-12)


def test_the_box_qps_have_free_lower_and_upper_variables():
    for problem in BOX_QPS:
        best = problem.minimiser
        assert bool((best == -1).any())
        assert bool((best == 1).any())
        assert bool((best.abs() < 1).any())


def test_driver1_is_the_published_run():
    driver1 = named("driver1")
    run = scipy.optimize.minimize(
        lambda x: [part.numpy() for part in driver1.value_and_gradient(torch.from_numpy(x))],
        driver1.x0.numpy(),
        jac=True,
        bounds=scipy.optimize.Bounds(driver1.lower.numpy(), driver1.upper.numpy()),
        method="L-BFGS-B",
        options=driver1.options,
    )
    assert (run.nit, run.nfev) == (23, 28)
    assert run.fun == pytest.approx(1.083490083461424e-9, rel=1e-6)
    assert DRIVERS[0] is driver1
    assert LARGE.n == 100_000
