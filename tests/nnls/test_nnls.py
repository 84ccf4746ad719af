"""The front door: shapes, options, refusals, reports, transforms."""

import os
import subprocess
import sys

import pytest
import torch

from inbounds import kkt_residual, nnls
from inbounds.nnls import driver
from nnls.cases import assert_as_good, make, reference


@pytest.mark.parametrize("shape", [(20, 10), (10, 20)])
def test_float32_and_half(dtype, shape):
    A, b = make("positive", *shape, 6)
    for kind, bar in [(dtype, 1e-5), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)]:
        matrix, right = A.to(kind), b.to(kind)
        x, info = nnls(matrix, right, full_output=True)
        assert x.dtype == kind
        assert kkt_residual(matrix, right, x).max() < bar
        assert info.converged.all()


def test_mixed_dtypes_compute_in_the_wider():
    A, b = make("gauss", 20, 10, 3)
    x = nnls(A, b.float())
    assert x.dtype == torch.float32
    torch.testing.assert_close(x, nnls(A, b.float().double()).float())


def test_shapes():
    A, b = make("gauss", 8, 4, 6)
    whole = nnls(A, b)
    assert nnls(A, b[:, 0]).shape == (4,)
    torch.testing.assert_close(nnls(A, b[:, 0]), whole[:, 0])
    batched = nnls(A, b.reshape(8, 2, 3).movedim(1, 0))
    assert batched.shape == (2, 4, 3)
    torch.testing.assert_close(batched[1], whole.reshape(4, 2, 3)[:, 1])
    matrices = torch.stack([A, 2 * A, A.flip(0)]).unsqueeze(1)  # (3, 1, 8, 4)
    many, info = nnls(matrices, b.reshape(8, 2, 3).movedim(1, 0), full_output=True)
    assert many.shape == (3, 2, 4, 3)
    assert all(part.shape == (3, 2, 3) for part in info)
    torch.testing.assert_close(many[1, 1], nnls(2 * A, b.reshape(8, 2, 3)[:, 1]))
    assert nnls(matrices, b[:, 0]).shape == (3, 1, 4)


@pytest.mark.parametrize("method", ["dense", "lbfgsb"])
@pytest.mark.parametrize(("m", "n", "k"), [(0, 3, 2), (3, 0, 2), (3, 2, 0), (0, 0, 0)])
def test_empty(method, m, n, k):
    x, info = nnls(torch.ones(m, n), torch.ones(m, k), method=method, full_output=True)
    assert x.shape == (n, k)
    assert (x == 0).all()
    assert info.converged.all()
    assert all(part.shape == (k,) for part in info)


@pytest.mark.parametrize("method", ["dense", "lbfgsb"])
def test_zero_data(method):
    A, b = make("gauss", 8, 4, 3)
    for matrix, right in [(A, 0 * b), (0 * A, b), (0 * A, 0 * b)]:
        x, info = nnls(matrix, right, method=method, full_output=True)
        assert (x == 0).all()
        assert info.converged.all()
        assert (info.kkt == 0).all()
    assert (nnls(0 * A, b, prior=2.0, method="dense") == 2).all()  # every x is an optimum
    assert (nnls(0 * A, b, prior=-2.0, method="dense") == 0).all()


def test_extreme_units():
    A, b = make("positive", 20, 10, 4)
    plain = nnls(A, b)
    torch.testing.assert_close(nnls(1e-120 * A, 1e100 * b), 1e220 * plain, rtol=1e-9, atol=0)


def test_info_tells_the_truth():
    A, b = make("gauss", 20, 10, 6)
    x, info = nnls(A, b, full_output=True)
    torch.testing.assert_close(info.residual_norm, (A @ x - b).norm(dim=0))
    torch.testing.assert_close(info.kkt, kkt_residual(A, b, x))
    assert info.converged.all()
    assert (info.nit >= 1).all()


def test_warns_once_with_the_count():
    A, b = make("gauss", 40, 30, 8)
    with pytest.warns(UserWarning, match="8 of 8 right-hand sides did not converge") as record:
        x, info = nnls(A, b, method="lbfgsb", maxiter=2, full_output=True)
    assert len(record) == 1
    assert not info.converged.any()
    assert (info.kkt > 1e-9).all()
    assert (x >= 0).all()


@pytest.mark.parametrize("method", ["dense", "lbfgsb"])
def test_nan_stays_in_its_column_without_a_warning(method):
    A, b = make("gauss", 20, 10, 4)
    clean = nnls(A, b, method=method)
    b[0, 2] = torch.nan
    x, info = nnls(A, b, method=method, full_output=True)
    assert x[:, 2].isnan().all()
    assert not x[:, [0, 1, 3]].isnan().any()
    torch.testing.assert_close(x[:, [0, 1, 3]], clean[:, [0, 1, 3]])
    assert info.converged.tolist() == [True, True, False, True]


def test_refusals():
    A, b = torch.ones(3, 2), torch.ones(3)
    with pytest.raises(TypeError, match=r"A must be a torch.Tensor; got None"):
        nnls(None, b)
    with pytest.raises(TypeError, match="b must have a real floating-point dtype"):
        nnls(A, torch.ones(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="A must have at least 2 dimension"):
        nnls(b, b)
    with pytest.raises(ValueError, match="b must have as many rows as A, 3; got a float32 tensor of shape"):
        nnls(A, torch.ones(2))
    with pytest.raises(ValueError, match="leading dimensions of b must broadcast"):
        nnls(torch.ones(4, 3, 2), torch.ones(5, 3, 1))
    with pytest.raises(ValueError, match="method must be one of"):
        nnls(A, b, method="magic")
    with pytest.raises(ValueError, match='maxiter is an option of method="lbfgsb"'):
        nnls(A, b, maxiter=3)
    with pytest.raises(ValueError, match="tol must be greater than 0"):
        nnls(A, b, tol=0.0)
    with pytest.raises(ValueError, match="prior must broadcast to the shape of x"):
        nnls(A, b, prior=torch.ones(3))


def test_vmap():
    A, b = make("gauss", 8, 4, 6)
    matrices, right = torch.stack([A, A.flip(0)]), torch.stack([b, -b])
    both = torch.vmap(nnls)(matrices, right)
    torch.testing.assert_close(both, nnls(matrices, right))
    torch.testing.assert_close(torch.vmap(lambda r: nnls(A, r))(right), nnls(A, right))
    torch.testing.assert_close(torch.vmap(lambda r: nnls(A, r), in_dims=1, out_dims=1)(b), nnls(A, b))
    torch.testing.assert_close(torch.vmap(lambda M: nnls(M, b))(matrices), nnls(matrices, b.expand(2, 8, 6)))


SCRIPT = """
import torch
from inbounds import nnls, lsq_linear
torch.manual_seed(0)
A, b = torch.randn(8, 4, dtype=torch.float64), torch.randn(8, 5, dtype=torch.float64)
for solve in (nnls, lambda A, b: lsq_linear(A, b, (-0.2, 0.3))):
    compiled = torch.compile(solve, fullgraph=True, backend="aot_eager")
    x, y = b.clone().requires_grad_(), b.clone().requires_grad_()
    torch.testing.assert_close(compiled(A, x), solve(A, y))
    compiled(A, x).sum().backward()
    solve(A, y).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)

class Layer(torch.nn.Module):
    def forward(self, A, b):
        return nnls(A, b)

program = torch.export.export(Layer(), (A, b))
torch.testing.assert_close(program.module()(A, 2 * b), nnls(A, 2 * b))
"""


def test_compile_and_export():
    environment = {**os.environ, "INBOUNDS_UNCHECKED": "1"}
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, env=environment, timeout=300)


def test_operators_pass_pytorchs_own_checks():
    from inbounds.nnls.gradient import scaled_pinv
    from inbounds.nnls.operator import bounded_least_squares

    A, b = (part[None] for part in make("gauss", 8, 4, 3))
    zero = torch.zeros(1, 4, 3, dtype=torch.float64)
    leaves = A.clone().requires_grad_(), b.clone().requires_grad_()
    arguments = (*leaves, zero, zero + torch.inf, zero, zero + 1, "dense", False, 1e-9, 100)
    torch.library.opcheck(bounded_least_squares.custom_op, arguments)
    free = torch.rand(1, 4, 3).double().sub(0.3).clamp(min=0)
    for y, transpose in [(b, False), (torch.randn(1, 4, 3, dtype=torch.float64), True)]:
        torch.library.opcheck(scaled_pinv.custom_op, (leaves[0], free, y.clone().requires_grad_(), transpose))


def test_a_large_float32_batch_meets_the_bar():
    A, b = make("positive", 200, 100, 300)
    x = nnls(A.float(), b.float())
    assert kkt_residual(A.float(), b.float(), x).max() < 1e-5
    assert_as_good(A, b[:, :5], x[:, :5].double(), reference(A, b[:, :5]), relative=1e-5)


def test_large_matrices_go_to_lbfgsb(monkeypatch):
    A, b = make("gauss", 20, 8, 2)
    monkeypatch.setattr(driver, "LARGE", 7)
    given = []
    solve = driver.solve

    def watched(problem, lower, upper, prior, options, *rest):
        given.append(options.method)
        return solve(problem, lower, upper, prior, options, *rest)

    monkeypatch.setattr(driver, "solve", watched)
    torch.testing.assert_close(nnls(A, b), nnls(A, b, method="dense"), rtol=1e-6, atol=1e-8)
    assert given == ["lbfgsb", "dense"]


def test_graded_columns_do_not_end_early():
    """Two rows always have bands, whose solver stops at 3e-8 here: then the dense one goes on."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(40):
        A = torch.randn(2, 14, generator=generator, dtype=torch.float64).abs()
        A = A * 10 ** (8 * torch.rand(14, generator=generator, dtype=torch.float64) - 4)
        b = torch.randn(2, 200, generator=generator, dtype=torch.float64)
        x, info = nnls(A, b, full_output=True)
        assert info.converged.all()
        assert kkt_residual(A, b, x).max() <= 1e-9


def test_the_banded_solver_says_what_it_missed():
    """Columns over 24 decades are too much for it."""
    generator = torch.Generator().manual_seed(0)
    A = torch.zeros(6, 14, dtype=torch.float64)
    for j in range(14):
        A[j % 5 : j % 5 + 2, j] = torch.rand(2, generator=generator, dtype=torch.float64)
    A = A * 10 ** (24 * torch.rand(14, generator=generator, dtype=torch.float64) - 12)
    b = torch.randn(6, 50, generator=generator, dtype=torch.float64)
    with pytest.warns(UserWarning, match="did not converge"):
        _, info = nnls(A, b, method="banded", full_output=True)
    assert not info.converged.all()
