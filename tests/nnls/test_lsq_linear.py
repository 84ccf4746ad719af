"""The box: against SciPy's BVLS, and exactly inside."""

import pytest
import scipy.optimize
import torch

from inbounds import kkt_residual, lsq_linear, nnls
from nnls.cases import assert_as_good, make


def reference(A, b, lower, upper):
    columns = []
    for j in range(b.shape[1]):
        lo, hi = (v.expand(A.shape[1], b.shape[1])[:, j].numpy() for v in (lower, upper))
        found = scipy.optimize.lsq_linear(
            A.numpy(), b[:, j].numpy(), (lo, hi), method="bvls", tol=1e-15, max_iter=500
        )
        columns.append(torch.from_numpy(found.x))
    return torch.stack(columns, dim=-1)


def boxes(n, k, rng):
    one_each = -torch.rand(n, 1, generator=rng).double(), torch.rand(n, 1, generator=rng).double()
    own = -torch.rand(n, k, generator=rng).double(), torch.rand(n, k, generator=rng).double()
    half = one_each[0].clone(), one_each[1].clone()
    half[0][::3], half[1][1::3] = -torch.inf, torch.inf
    away = one_each[0] + 3, one_each[1] + 3  # zero is outside
    return {"per variable": one_each, "per column": own, "half open": half, "away from zero": away}


@pytest.mark.parametrize("method", ["dense", "lbfgsb"])
@pytest.mark.parametrize("kind", ["per variable", "per column", "half open", "away from zero"])
def test_against_bvls(method, kind, rng):
    A, b = make("gauss", 20, 9, 7)
    lower, upper = boxes(9, 7, rng)[kind]
    x = lsq_linear(A, b, (lower, upper), method=method)
    assert ((x >= lower) & (x <= upper)).all()
    assert ((x == lower) | (x == upper)).any()
    assert kkt_residual(A, b, x, bounds=(lower, upper)).max() < 1e-9
    assert_as_good(A, b, x, reference(A, b, lower, upper))


def test_wide_matrices(rng):
    A, b = make("gauss", 9, 20, 5)
    lower, upper = -torch.rand(20, 1, generator=rng).double(), torch.rand(20, 1, generator=rng).double()
    x, info = lsq_linear(A, b, (lower, upper), full_output=True)
    assert info.converged.all()
    assert info.kkt.max() < 1e-9
    assert_as_good(A, b, x, reference(A, b, lower, upper))


def test_spellings_of_the_bounds(rng):
    A, b = make("gauss", 20, 4, 3)
    torch.testing.assert_close(lsq_linear(A, b, (0.0, None)), nnls(A, b, method="dense"))
    box = scipy.optimize.Bounds([-0.1, -0.2, -0.3, -0.4], 0.5)
    lower = torch.tensor([-0.1, -0.2, -0.3, -0.4], dtype=torch.float64)
    expected = lsq_linear(A, b, (lower[:, None], 0.5))
    torch.testing.assert_close(lsq_linear(A, b, box), expected)
    torch.testing.assert_close(lsq_linear(A, b, (lower, 0.5)), expected)
    torch.testing.assert_close(lsq_linear(A, b[:, 0], (lower, 0.5)), expected[:, 0])
    torch.testing.assert_close(lsq_linear(A, b), torch.linalg.lstsq(A, b).solution)


@pytest.mark.parametrize("method", ["dense", "lbfgsb"])
def test_fixed_variables_and_bits(dtype, method, rng):
    A, b = (part.to(dtype) for part in make("gauss", 20, 6, 5))
    lower = torch.full((6, 1), -1 / 3, dtype=dtype)
    upper = torch.full((6, 1), 1 / 7, dtype=dtype)
    upper[2] = lower[2] = 0.1
    upper[3] = lower[3] = -0.7
    x, info = lsq_linear(A, b, (lower, upper), method=method, full_output=True)
    assert ((x >= lower) & (x <= upper)).all()
    assert (x[2] == lower[2]).all()
    assert (x[3] == lower[3]).all()
    assert ((x == lower) | (x == upper))[[0, 1, 4, 5]].any()
    assert info.converged.all()
    everything_fixed = lsq_linear(A, b, (lower, lower), method=method)
    assert (everything_fixed == lower).all()


def test_infinite_bounds_of_zero_columns(rng):
    A, b = make("zeros", 12, 6, 3)
    x = lsq_linear(A, b, (None, None), prior=0.25)
    assert (x[::3] == 0.25).all()
    torch.testing.assert_close(x[1], (torch.linalg.pinv(A) @ b)[1])


def test_refusals():
    A, b = torch.ones(3, 2), torch.ones(3)
    with pytest.raises(ValueError, match=r"lower must be <= upper.*violated at 1 of 2 entries"):
        lsq_linear(A, b, (torch.tensor([0.0, 2.0]), 1.0))
    with pytest.raises(ValueError, match="upper must not be NaN"):
        lsq_linear(A, b, (None, torch.tensor([torch.nan, 1.0])))
    with pytest.raises(ValueError, match="lower must broadcast to the shape of x"):
        lsq_linear(A, b, (torch.zeros(3), None))
    with pytest.raises(TypeError, match="bounds must be a pair"):
        lsq_linear(A, b, 3.0)
    with pytest.raises(ValueError, match="method must be one of 'auto', 'dense', 'lbfgsb'"):
        lsq_linear(A, b, method="banded")
