"""The promises of `minimize`, over the whole registry, beside SciPy."""

import numpy as np
import pytest
import scipy.optimize
import torch

import inbounds
from problems import PROBLEMS, SMALL, Problem, named

SCIPY = {}  # each problem is solved by SciPy once
everywhere = pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
on_small = pytest.mark.parametrize("problem", SMALL, ids=lambda problem: problem.name)

# Where an iteration leaves no variable free, the reference goes on with the K of the iteration before; here
# that costs it a reset of its memory, and an evaluation more than ours.
REFERENCE_GOES_ASTRAY = {"styblinski-tang"}


def scipys(problem: Problem):
    """SciPy's answer, on a function that gives it value and gradient together."""
    if problem.name not in SCIPY:
        SCIPY[problem.name] = scipy.optimize.minimize(
            lambda x: (
                float(problem.fun(torch.from_numpy(x))),
                problem.gradient(torch.from_numpy(x)).numpy(),
            ),
            problem.x0.numpy(),
            jac=True,
            bounds=scipy.optimize.Bounds(problem.lower.numpy(), problem.upper.numpy()),
            method="L-BFGS-B",
            options=problem.options,
        )
    return SCIPY[problem.name]


def ours(problem: Problem, fun=None, x0=None, **changes):
    return inbounds.minimize(
        fun or problem.fun,
        problem.x0 if x0 is None else x0,
        problem.bounds,
        **{**problem.options, **changes},
    )


@pytest.mark.parametrize(
    "problem",
    [problem for problem in PROBLEMS if problem.name != "all-fixed"],  # SciPy does not run there at all
    ids=lambda problem: problem.name,
)
def test_beside_scipy(problem):
    result, reference = ours(problem), scipys(problem)
    assert float(result.fun) <= reference.fun + 1e-6 * max(1.0, abs(reference.fun))
    if problem.name not in REFERENCE_GOES_ASTRAY:
        assert (int(result.nit), int(result.nfev)) == (reference.nit, reference.nfev)
        assert (int(result.status), result.message) == (reference.status, reference.message)
        np.testing.assert_allclose(result.x, reference.x, atol=1e-5)


@everywhere
def test_ends_at_a_stated_minimum(problem):
    result = ours(problem, **{"gtol": 1e-7, "ftol": 1e-15, **problem.options})
    assert result.success
    excess = [(float(result.fun) - minimum) / max(1.0, abs(minimum)) for minimum in problem.minima]
    assert min(map(abs, excess)) < 1e-7
    if problem.minimiser is not None and problem.smooth:
        torch.testing.assert_close(result.x, problem.minimiser, atol=2e-3, rtol=0)


@everywhere
def test_the_point_the_value_and_the_gradient_belong_together(problem):
    result = ours(problem, maxiter=7)
    assert float(result.fun) == float(problem.fun(result.x))
    torch.testing.assert_close(result.jac, problem.gradient(result.x), rtol=1e-9, atol=1e-9)


@everywhere
def test_calls_are_counted_and_stay_inside(problem):
    points = []

    def watched(x):
        points.append(x.detach().clone())
        return problem.fun(x)

    x0, lower, upper = problem.x0.clone(), problem.lower.clone(), problem.upper.clone()
    result = ours(problem, watched)
    assert len(points) == int(result.nfev)
    for point in points:
        assert bool(((point >= lower) & (point <= upper)).all())
    assert torch.equal(problem.x0, x0)
    assert torch.equal(problem.lower, lower)
    assert torch.equal(problem.upper, upper)


@on_small
def test_a_batch_row_is_the_problem_alone(problem, rng):
    spread = torch.randn(5, problem.n, generator=rng, dtype=torch.float64)
    x0 = (problem.x0 + 0.1 * spread).clamp(problem.lower, problem.upper)
    x0[2] = problem.x0
    together = ours(problem, x0=x0, maxiter=30)
    per_row = ours(
        problem,
        lambda x, _: problem.fun(x),
        x0,
        maxiter=30,
        batch_args=(torch.zeros(5, dtype=torch.float64),),
    )
    for i, row in enumerate(x0):
        alone = ours(problem, x0=row, maxiter=30)
        for batch in (together, per_row):
            assert (int(batch.nit[i]), int(batch.nfev[i])) == (int(alone.nit), int(alone.nfev))
            torch.testing.assert_close(batch.x[i], alone.x, atol=1e-10, rtol=1e-10)


@on_small
def test_float32_ends_near_the_minimum(problem):
    if problem.name in {"tiny-scale", "driver2", "driver3"}:
        pytest.skip("asks for more than float32 can tell apart")
    start, lower, upper = problem.x0.float(), problem.lower.float(), problem.upper.float()
    result = inbounds.minimize(problem.fun, start, (lower, upper))
    assert result.x.dtype == torch.float32
    assert bool(((result.x >= lower) & (result.x <= upper)).all())
    assert int(result.nfev) < 500
    excess = min(abs(float(result.fun) - minimum) / max(1.0, abs(minimum)) for minimum in problem.minima)
    assert excess < 2e-3


def test_the_hand_written_gradient_walks_the_same_path():
    for problem in SMALL:
        result, by_hand = ours(problem), ours(problem, problem.fun, jac=problem.gradient)
        assert abs(int(result.nfev) - int(by_hand.nfev)) <= 2
        torch.testing.assert_close(result.fun, by_hand.fun, atol=1e-6, rtol=1e-6)


def test_all_fixed_is_converged_at_once():
    result = ours(named("all-fixed"))
    assert (int(result.nit), int(result.nfev)) == (0, 1)
    assert result.success
