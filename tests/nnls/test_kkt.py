"""The certificate: zero at optima found by others, blind to scales, large off them."""

import numpy as np
import pytest
import scipy.optimize
import torch

from inbounds.nnls.kkt import kkt_residual


def optimum(A, b):
    return torch.from_numpy(scipy.optimize.nnls(A.numpy(), b.numpy())[0])


def boxed_optimum(A, b, lower, upper):
    found = scipy.optimize.lsq_linear(
        A.numpy(), b.numpy(), (lower.numpy(), upper.numpy()), method="bvls", tol=1e-14
    )
    return torch.from_numpy(found.x)


def problem(rng, m=30, n=12, k=5):
    A = torch.randn(m, n, generator=rng, dtype=torch.float64)
    return A, torch.randn(m, k, generator=rng, dtype=torch.float64)


def test_zero_at_the_optimum_and_positive_off_it(rng):
    A, b = problem(rng)
    x = torch.stack([optimum(A, column) for column in b.T], dim=-1)
    assert (x == 0).any()
    assert kkt_residual(A, b, x).max() < 1e-14
    assert kkt_residual(A, b, x + 1e-3).min() > 1e-4
    assert kkt_residual(A, b, x * 0.99).min() > 1e-4
    assert (
        kkt_residual(A, b, torch.linalg.lstsq(A, b).solution).min() > 1e-3
    )  # the gradient is zero, a sign is not


def test_is_the_stated_formula(rng):
    A, b = problem(rng)
    x = torch.rand(12, 5, generator=rng, dtype=torch.float64)
    D = A.norm(dim=0)[:, None]
    gradient = A.T @ (A @ x - b) / D
    expected = torch.minimum(D * x, gradient).abs().amax(0) / (A.T @ b / D).abs().amax(0)
    torch.testing.assert_close(kkt_residual(A, b, x), expected)


@pytest.mark.parametrize("bounds", [(0.0, None), "box"])
def test_no_scale_matters(rng, bounds):
    A, b = problem(rng)
    x = torch.rand(12, 5, generator=rng, dtype=torch.float64)
    lower, upper = torch.full((12, 1), -0.3).double(), torch.full((12, 1), 0.4).double()
    columns = 10.0 ** torch.linspace(-8, 8, 12, dtype=torch.float64)[:, None]
    box = (lower, upper) if bounds == "box" else bounds
    scaled_box = (lower / columns, upper / columns) if bounds == "box" else bounds
    base = kkt_residual(A, b, x, bounds=box)
    torch.testing.assert_close(kkt_residual(A * columns.T, b, x / columns, bounds=scaled_box), base)
    torch.testing.assert_close(
        kkt_residual(
            1e-6 * A, b, 1e6 * x, bounds=tuple(1e6 * v if isinstance(v, torch.Tensor) else v for v in box)
        ),
        base,
    )
    if bounds != "box":
        torch.testing.assert_close(kkt_residual(A, 1e9 * b, 1e9 * x), base)


def test_box_against_scipy(rng):
    A, b = problem(rng)
    lower = -torch.rand(12, generator=rng, dtype=torch.float64)
    upper = torch.rand(12, generator=rng, dtype=torch.float64)
    lower[0], upper[1], lower[2] = -torch.inf, torch.inf, -torch.inf
    upper[2] = torch.inf
    x = torch.stack([boxed_optimum(A, column, lower, upper) for column in b.T], dim=-1)
    assert kkt_residual(A, b, x, bounds=(lower, upper)).max() < 1e-12
    assert kkt_residual(A, b, x, bounds=(lower[:, None], upper[:, None])).max() < 1e-12
    off = (x + 0.01).clamp(lower[:, None], upper[:, None])
    assert kkt_residual(A, b, off, bounds=(lower, upper)).min() > 1e-5
    assert kkt_residual(A, b, x + 0.5, bounds=(lower, upper)).min() > 0.1  # infeasible


def test_shapes(rng):
    A, b = problem(rng)
    x = torch.rand(12, 5, generator=rng, dtype=torch.float64)
    assert kkt_residual(A, b[:, 0], x[:, 0]).shape == ()
    batch_b, batch_x = (
        torch.randn(3, 2, 30, 5, dtype=torch.float64),
        torch.rand(3, 2, 12, 5, dtype=torch.float64),
    )
    whole = kkt_residual(A, batch_b, batch_x)
    assert whole.shape == (3, 2, 5)
    torch.testing.assert_close(whole[1, 1], kkt_residual(A, batch_b[1, 1], batch_x[1, 1]))
    matrices = torch.randn(3, 1, 30, 12, dtype=torch.float64)
    whole = kkt_residual(matrices, batch_b, batch_x)
    torch.testing.assert_close(whole[2, 1], kkt_residual(matrices[2, 0], batch_b[2, 1], batch_x[2, 1]))


def test_degenerate_inputs():
    double = torch.float64
    A, b = torch.zeros(3, 2, dtype=double), torch.ones(3, 2, dtype=double)
    assert kkt_residual(A, b, torch.zeros(2, 2, dtype=double)).tolist() == [
        0.0,
        0.0,
    ]  # zero columns count zero
    A = torch.eye(3, 2, dtype=double)
    zero = torch.zeros(3, 2, dtype=double)
    assert kkt_residual(A, zero, torch.zeros(2, 2, dtype=double)).tolist() == [0.0, 0.0]
    assert kkt_residual(A, zero, torch.ones(2, 2, dtype=double)).tolist() == [np.inf, np.inf]
    for m, n, k in [(0, 2, 3), (3, 0, 3), (3, 2, 0), (0, 0, 0)]:
        value = kkt_residual(torch.ones(m, n), torch.ones(m, k), torch.zeros(n, k))
        assert value.shape == (k,)
        assert (value == 0).all()


def test_nan_stays_in_its_column(rng):
    A, b = problem(rng)
    x = torch.rand(12, 5, generator=rng, dtype=torch.float64)
    clean = kkt_residual(A, b, x)
    b[3, 1], x[2, 3] = torch.nan, torch.nan
    value = kkt_residual(A, b, x)
    assert value.isnan().tolist() == [False, True, False, True, False]
    assert (value[[0, 2, 4]] == clean[[0, 2, 4]]).all()


def test_extreme_scales_neither_overflow_nor_underflow():
    A = torch.tensor([[1e-30, 1e30], [2e-30, -1e30]])  # float32: the squares do not fit
    x = torch.tensor([1e30 / 2, 1e-30 / 2])
    assert kkt_residual(A, A @ x, x) < 1e-6


def test_refusals():
    A, b, x = torch.ones(3, 2), torch.ones(3), torch.ones(2)
    with pytest.raises(ValueError, match="b must have as many rows as A, 3"):
        kkt_residual(A, torch.ones(4), x)
    with pytest.raises(ValueError, match="x must broadcast"):
        kkt_residual(A, b, torch.ones(3))
    with pytest.raises(TypeError, match="bounds must be a pair"):
        kkt_residual(A, b, x, bounds=3)
    with pytest.raises(TypeError, match="upper must be None, a number or a tensor"):
        kkt_residual(A, b, x, bounds=(0, "high"))


def test_a_large_x_is_not_taken_for_an_optimum():
    """Two columns that differ by rounding, at 1e14: the gradient there is rounding, or hides in it."""
    generator = torch.Generator().manual_seed(0)
    column, b = torch.randn(2, 9, generator=generator, dtype=torch.float64)
    A = torch.stack([column, -column], dim=1)
    A[0, 1] *= 1 + 1e-15
    x = torch.full((2,), 1e14, dtype=torch.float64)
    gradient = A.T @ (A @ x - b)
    assert gradient.abs().max() > 0.01 * (A.T @ b).abs().max()
    assert kkt_residual(A, b, x) > 1e-3
