"""Gradients against finite differences, to the second order, and what they are at degenerate points."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from inbounds import lsq_linear, nnls
from inbounds.nnls.gradient import scaled_pinv
from nnls.cases import make


def leaves(*values):
    return tuple(value.clone().requires_grad_() for value in values)


@pytest.mark.parametrize(
    ("kind", "shape"), [("gauss", (7, 4)), ("random b", (4, 7)), ("reachable b", (3, 7))]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_nnls(kind, shape, seed):
    A, b = make(kind, *shape, 2, seed)
    inputs = leaves(A, b)
    assert gradcheck(lambda A, b: nnls(A, b, method="dense"), inputs, atol=1e-6, fast_mode=True)
    assert gradgradcheck(lambda A, b: nnls(A, b, method="dense"), inputs, atol=1e-5, fast_mode=True)


def test_every_argument_of_a_box(rng):
    A, b = make("gauss", 7, 5, 2)
    lower = -0.3 * torch.rand(5, 2, generator=rng, dtype=torch.float64)
    upper = 0.3 * torch.rand(5, 2, generator=rng, dtype=torch.float64)

    def solve(A, b, lower, upper):
        return lsq_linear(A, b, (lower, upper))

    x = solve(A, b, lower, upper)
    assert (x == lower).any()
    assert (x == upper).any()
    assert ((x > lower) & (x < upper)).any()
    assert gradcheck(solve, leaves(A, b, lower, upper), atol=1e-6, fast_mode=True)
    assert gradgradcheck(solve, leaves(A, b, lower, upper), atol=1e-5, fast_mode=True)


def test_prior_where_it_chooses(rng):
    A, b = make("reachable b", 3, 8, 2)
    prior = torch.rand(8, 2, generator=rng, dtype=torch.float64)

    def solve(A, b, prior):
        return nnls(A, b, prior=prior, method="dense")

    assert gradcheck(solve, leaves(A, b, prior), atol=1e-6, fast_mode=True)
    assert gradgradcheck(solve, leaves(A, b, prior), atol=1e-5, fast_mode=True)
    A, b = make("gauss", 8, 3, 2)
    start = torch.rand(3, 2, dtype=torch.float64, requires_grad=True)
    solve(A, b, start).sum().backward()
    assert start.grad.abs().max() < 1e-12  # a unique optimum does not depend on it


def test_batches_of_matrices(rng):
    A = torch.randn(2, 6, 3, generator=rng, dtype=torch.float64)
    b = torch.randn(6, 2, generator=rng, dtype=torch.float64)
    assert gradcheck(nnls, leaves(A, b), atol=1e-6, fast_mode=True)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4)])
@pytest.mark.parametrize("transpose", [False, True])
def test_the_operator_is_the_pseudo_inverse(shape, transpose, rng):
    m, n = shape
    A = torch.randn(2, m, n, generator=rng, dtype=torch.float64)
    A[1, :, 0] *= 1e5
    scale = torch.rand(2, n, 3, generator=rng).double().sub(0.3).clamp(min=0)
    y = torch.randn(2, n if transpose else m, 3, generator=rng, dtype=torch.float64)
    found = scaled_pinv(A, scale, y, transpose)
    for g in range(2):
        for k in range(3):
            inverse = torch.linalg.pinv(A[g] * scale[g, :, k])
            expected = (inverse.T if transpose else inverse) @ y[g, :, k]
            torch.testing.assert_close(found[g, :, k], expected, rtol=1e-8, atol=1e-10)


def test_the_operator_where_columns_depend_on_each_other(rng):
    A = (
        torch.randn(1, 6, 2, generator=rng, dtype=torch.float64)
        @ torch.randn(1, 2, 5, generator=rng).double()
    )
    scale = torch.ones(1, 5, 1, dtype=torch.float64)
    y = torch.randn(1, 6, 1, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(scaled_pinv(A, scale, y, False), torch.linalg.pinv(A) @ y)


@pytest.mark.parametrize("transpose", [False, True])
def test_the_operators_own_gradient(transpose, rng):
    for m, n in [(5, 3), (3, 5)]:
        A = torch.randn(1, m, n, generator=rng, dtype=torch.float64)
        scale = torch.rand(1, n, 2, generator=rng).double().sub(0.3).clamp(min=0)
        y = torch.randn(1, n if transpose else m, 2, generator=rng, dtype=torch.float64)

        inside = scale > 0

        def apply(A, scale, y, inside=inside):
            return scaled_pinv(A, torch.where(inside, scale, 0.0), y, transpose)

        assert gradcheck(apply, leaves(A, scale, y), atol=1e-6, fast_mode=True)
        assert gradgradcheck(apply, leaves(A, scale, y), atol=1e-5, fast_mode=True)


def test_a_degenerate_point_has_a_one_sided_gradient():
    """A = I, b = 0: x = max(0, b) has a kink there; the side on which x stays at its bound is given."""
    b = torch.tensor([0.0, 1.0, -1.0], dtype=torch.float64, requires_grad=True)
    nnls(torch.eye(3, dtype=torch.float64), b, method="dense").sum().backward()
    assert b.grad.tolist() == [0.0, 1.0, 0.0]


def test_nan_columns_do_not_spoil_the_others():
    A, b = make("gauss", 7, 4, 3)
    clean = b.clone().requires_grad_()
    nnls(A, clean)[:, [0, 2]].sum().backward()
    b[2, 1] = torch.nan
    b.requires_grad_()
    nnls(A, b)[:, [0, 2]].sum().backward()
    torch.testing.assert_close(b.grad[:, [0, 2]], clean.grad[:, [0, 2]])


def test_lbfgsb_has_the_same_gradient():
    A, b = make("gauss", 9, 4, 3)
    exact, ours = b.clone().requires_grad_(), b.clone().requires_grad_()
    nnls(A, exact, method="dense").square().sum().backward()
    nnls(A, ours, method="lbfgsb").square().sum().backward()
    torch.testing.assert_close(ours.grad, exact.grad, rtol=1e-6, atol=1e-8)


def test_jacobians_of_rank_deficient_problems():
    """Forward and reverse mode over vmap, through the pseudo-inverse."""
    A, b = make("low rank", 8, 5, 2)
    slow = torch.autograd.functional.jacobian(lambda b: nnls(A, b, method="dense"), b)
    fast = torch.func.jacrev(lambda b: nnls(A, b, method="dense"))(b)
    torch.testing.assert_close(fast, slow, rtol=1e-8, atol=1e-10)
