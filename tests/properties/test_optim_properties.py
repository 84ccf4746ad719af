"""What holds for every problem: feasibility, optimality, independence of rows, equivariance."""

import torch
from hypothesis import assume, given
from hypothesis import strategies as st

import inbounds
from properties.strategies import boxes, dtypes, layouts, normal, scales, seeds


def convex(seed, n, dtype):
    """½ xᵀHx - cᵀx + Σ x⁴ / 40, strongly convex: one minimum in any box."""
    root = normal(seed, n, n)
    H = (root @ root.T / n + 0.1 * torch.eye(n, dtype=torch.float64)).to(dtype)
    c = normal(seed + 3, n).to(dtype)

    def fun(x):
        return 0.5 * (x * (x @ H)).sum(-1) - x @ c + (x**4).sum(-1) / 40

    return fun


def projected_gradient(result, lower, upper):
    return ((result.x - result.jac).clamp(lower, upper) - result.x).abs().amax(-1)


@st.composite
def problems(draw):
    n, seed, dtype = draw(st.integers(1, 12)), draw(seeds), draw(dtypes)
    lower, upper = draw(boxes(n, seed, dtype))
    return n, seed, dtype, convex(seed, n, dtype), lower, upper


@given(problems(), st.integers(0, 5), layouts())
def test_answers_are_feasible_stationary_and_their_own(problem, rows, lay):
    n, seed, dtype, fun, lower, upper = problem
    x0 = lay(normal(seed + 4, rows, n, dtype=dtype) * 3)
    before, points = x0.clone(), []

    def watched(x):
        points.append(x.detach().clone())
        return fun(x)

    result = inbounds.minimize(watched, x0, (lower, upper), ftol=0.0)
    assert all(((point >= lower) & (point <= upper)).all() for point in points)
    assert torch.equal(x0, before)
    torch.testing.assert_close(result.fun, fun(result.x), rtol=0, atol=0)
    tolerance = 1e-5 if dtype == torch.float64 else 1e-2
    assert (projected_gradient(result, lower, upper) <= tolerance).all()
    result.x.fill_(7.0)
    assert torch.equal(x0, before)


@given(problems(), st.integers(1, 5))
def test_a_row_does_not_know_its_neighbours(problem, rows):
    n, seed, dtype, fun, lower, upper = problem
    x0 = normal(seed + 4, rows, n, dtype=dtype)
    together = inbounds.minimize(fun, x0, (lower, upper))
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    permuted = inbounds.minimize(fun, x0[order], (lower, upper))
    atol = 1e-9 if dtype == torch.float64 else 1e-2
    torch.testing.assert_close(permuted.x, together.x[order], rtol=0, atol=atol)
    alone = inbounds.minimize(fun, x0[0], (lower, upper))
    torch.testing.assert_close(alone.x, together.x[0], rtol=0, atol=atol)


@given(problems())
def test_a_minimum_is_where_it_stays(problem):
    _, seed, dtype, fun, lower, upper = problem
    first = inbounds.minimize(fun, normal(seed + 4, len(lower), dtype=dtype), (lower, upper))
    assume(bool(first.success) and float(projected_gradient(first, lower, upper)) <= 1e-5)
    again = inbounds.minimize(fun, first.x, (lower, upper))
    assert int(again.nit) == 0
    assert torch.equal(again.x, first.x)


@given(problems(), st.sampled_from([0.25, 2.0, 1024.0]))
def test_moving_the_problem_moves_the_answer(problem, gain):
    """x ↦ gain x of a box and a start leads to the scaled minimiser of f(x / gain)."""
    _, seed, _, _, lower, upper = problem
    lower, upper, dtype = lower.double(), upper.double(), torch.float64
    fun = convex(seed, len(lower), dtype)
    x0 = normal(seed + 4, len(lower))
    one = inbounds.minimize(fun, x0, (lower, upper), gtol=1e-9, ftol=0.0)
    other = inbounds.minimize(
        lambda x: fun(x / gain), gain * x0, (gain * lower, gain * upper), gtol=1e-9 / gain, ftol=0.0
    )
    torch.testing.assert_close(other.x / gain, one.x, rtol=0, atol=1e-6)


@given(problems(), scales)
def test_the_optimizer_ends_where_minimize_ends(problem, scale):
    _, seed, _, _, lower, upper = problem
    lower, upper = lower.double(), upper.double()
    fun = convex(seed, len(lower), torch.float64)
    x0 = normal(seed + 4, len(lower))
    w = torch.nn.Parameter(x0.clone())
    optimizer = inbounds.LBFGSB(
        [w], max_iter=300, tolerance_grad=1e-8 * scale, tolerance_change=0.0, lower=lower, upper=upper
    )

    def closure():
        optimizer.zero_grad()
        loss = scale * fun(w)
        loss.backward()
        return loss

    first = optimizer.step(closure)
    assert first.item() == (scale * fun(x0.clamp(lower, upper))).item()
    assert ((w >= lower) & (w <= upper)).all()
    other = inbounds.minimize(fun, x0, (lower, upper), gtol=1e-8, ftol=0.0)
    torch.testing.assert_close(w.detach(), other.x, rtol=0, atol=1e-5)
