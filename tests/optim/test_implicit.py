"""Differentiable solutions against central finite differences of the whole solve."""

import pytest
import torch

import inbounds
from inbounds.optim.implicit import conjugate_gradients, solution
from problems import BOX_QPS

F64 = torch.float64
EXACT = {"gtol": 1e-11, "ftol": 0.0}


def finite_difference(solve, theta, v, h=5e-3):
    """The gradient of v · solve(θ), one entry of θ at a time, by the five-point rule."""
    gradient = torch.zeros_like(theta)
    for i in range(theta.numel()):
        step = torch.zeros_like(theta)
        step.view(-1)[i] = h
        near = solve(theta + step) - solve(theta - step)
        far = solve(theta + 2 * step) - solve(theta - 2 * step)
        gradient.view(-1)[i] = (v * (8 * near - far)).sum() / (12 * h)
    return gradient


def curved(x, centre, weight):
    """Strictly convex, every variable tied to its neighbour."""
    distance = x - centre
    return (weight * distance**4 + distance**2).sum(-1) + 0.3 * (x[..., 1:] * x[..., :-1]).sum(-1)


@pytest.fixture
def data(rng):
    centre = torch.tensor([0.3, -2.0, 0.6, 3.0, 0.1], dtype=F64)  # two of them far outside the box
    weight = 0.5 + torch.rand(5, generator=rng, dtype=F64)
    v = torch.randn(5, generator=rng, dtype=F64)
    return centre, weight, v


@pytest.mark.parametrize("bounds", [(0.0, 1.0), None, (None, 0.2)])
@pytest.mark.parametrize("jac", [None, True, "function"])
def test_gradients_of_one_problem_with_respect_to_args(data, bounds, jac):
    centre, weight, v = data

    def jacobian(x, centre, weight):
        return torch.func.grad(curved)(x, centre, weight)

    def both(x, centre, weight):
        return curved(x, centre, weight), jacobian(x, centre, weight)

    fun = both if jac is True else curved
    jac = jacobian if jac == "function" else jac

    def solve(centre, weight, **options):
        start = torch.zeros(5, dtype=F64)
        return inbounds.minimize(fun, start, bounds, (centre, weight), jac=jac, **EXACT, **options).x

    leaves = [part.clone().requires_grad_() for part in (centre, weight)]
    found = torch.autograd.grad((v * solve(*leaves, differentiable=True)).sum(), leaves)
    expected = [
        finite_difference(lambda c: solve(c, weight), centre, v),
        finite_difference(lambda w: solve(centre, w), weight, v),
    ]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("batch", [(4,), (2, 2)])
def test_gradients_of_a_batch_with_respect_to_batch_args(data, batch):
    shift = torch.linspace(-0.05, 0.03, 4, dtype=F64).view(*batch, 1)  # no bound is about to bind or to free
    centre, weight, v = (part + shift for part in data)

    def solve(centre, weight, **options):
        start = torch.zeros(*batch, 5, dtype=F64)
        return inbounds.minimize(curved, start, (0.0, 1.0), batch_args=(centre, weight), **EXACT, **options).x

    leaves = [part.clone().requires_grad_() for part in (centre, weight)]
    found = torch.autograd.grad((v * solve(*leaves, differentiable=True)).sum(), leaves)
    expected = [
        finite_difference(lambda c: solve(c, weight), centre, v),
        finite_difference(lambda w: solve(centre, w), weight, v),
    ]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_gradients_with_respect_to_the_bounds(data):
    centre, weight, v = data
    lower, upper = torch.zeros(5, dtype=F64), torch.tensor(1.0, dtype=F64)

    def solve(lower, upper, **options):
        start = torch.zeros(5, dtype=F64)
        return inbounds.minimize(curved, start, (lower, upper), (centre, weight), **EXACT, **options).x

    leaves = [part.clone().requires_grad_() for part in (lower, upper)]
    found = torch.autograd.grad((v * solve(*leaves, differentiable=True)).sum(), leaves)
    torch.testing.assert_close(
        found[0], finite_difference(lambda b: solve(b, upper), lower, v), rtol=1e-4, atol=1e-6
    )
    torch.testing.assert_close(
        found[1], finite_difference(lambda b: solve(lower, b), upper, v), rtol=1e-4, atol=1e-6
    )


def test_a_fixed_variable_follows_its_bound():
    bound = torch.tensor([0.5, 0.5], dtype=F64, requires_grad=True)
    x = inbounds.minimize(
        lambda x: ((x - 1) ** 2).sum(), torch.zeros(2).double(), (bound, bound), differentiable=True
    ).x
    x.sum().backward()
    assert bound.grad.tolist() == [1.0, 1.0]


def test_the_value_is_that_of_the_plain_solve(data):
    arguments = {"x0": torch.zeros(5, dtype=F64), "bounds": (0.0, 1.0), "args": tuple(data[:2])}
    plain = inbounds.minimize(curved, **arguments)
    attached = inbounds.minimize(curved, **arguments, differentiable=True)
    assert torch.equal(plain.x, attached.x)
    assert not attached.x.requires_grad  # nothing asked for a gradient


def test_arguments_that_are_no_float_tensors_pass_through(data):
    centre = data[0].clone().requires_grad_()

    def fun(x, power, index, centre, names):
        assert names == ["a"]
        return ((x - centre[index]) ** power).sum() + (x**2).sum()

    args = (2, torch.tensor([1, 0]), centre, ["a"])
    x = inbounds.minimize(fun, torch.zeros(2).double(), None, args, differentiable=True, **EXACT).x
    x[0].backward()
    torch.testing.assert_close(centre.grad, torch.tensor([0.0, 0.5, 0, 0, 0], dtype=F64), atol=1e-6, rtol=0)


def test_solution_attaches_a_minimiser_found_elsewhere():
    problem = BOX_QPS[2]
    shift = torch.zeros(problem.n, dtype=F64, requires_grad=True)
    x = solution(problem.minimiser, lambda x, c: problem.fun(x) + c @ x, problem.bounds, (shift,))
    free = (problem.minimiser > problem.lower) & (problem.minimiser < problem.upper)
    H = torch.autograd.functional.hessian(problem.fun, problem.minimiser)
    inverse = torch.linalg.inv(H[free][:, free])
    for k, i in enumerate(free.nonzero()[:, 0].tolist()):
        (row,) = torch.autograd.grad(x[i], shift, retain_graph=True)
        torch.testing.assert_close(row[free], -inverse[k], rtol=1e-8, atol=1e-10)
        assert not row[~free].any()


@pytest.mark.parametrize("condition", [1e0, 1e4])
def test_conjugate_gradients_solve_every_row_on_its_free_variables(condition, rng):
    q, _ = torch.linalg.qr(torch.randn(3, 12, 12, generator=rng, dtype=F64))
    H = q * torch.logspace(0, torch.tensor(condition).log10(), 12, dtype=F64) @ q.mT
    free = torch.rand(3, 12, generator=rng) > 0.3
    v = torch.where(free, torch.randn(3, 12, generator=rng, dtype=F64), 0.0)
    u = conjugate_gradients(lambda p: (H @ p[..., None])[..., 0], v, free)
    for i in range(3):
        rows = free[i]
        torch.testing.assert_close(
            u[i][rows], torch.linalg.solve(H[i][rows][:, rows], v[i][rows]), rtol=1e-8, atol=1e-9
        )
        assert not u[i][~rows].any()


def test_conjugate_gradients_stop_where_there_is_no_curvature():
    v = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]], dtype=F64)
    diagonal = torch.tensor([[2.0, 4.0], [0.0, 1.0], [1.0, 1.0]], dtype=F64)
    u = conjugate_gradients(lambda p: diagonal * p, v, torch.ones(3, 2, dtype=torch.bool))
    torch.testing.assert_close(u, torch.tensor([[0.5, 0.25], [0.0, 0.0], [0.0, 0.0]], dtype=F64))
