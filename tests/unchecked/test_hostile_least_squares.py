"""Hostile input to the least squares: a table of calls and the sentence, or the result, each must give."""

import math

import pytest
import torch

import inbounds
from hostile import Refused, Works, hold, rows

INF, NAN = math.inf, math.nan
A = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))
B = torch.rand(6, 5, generator=torch.Generator().manual_seed(1))


def solved(A=A, b=B, **options):
    return inbounds.nnls(A, b, **options)


def boxed(bounds=(0.0, 1.0), A=A, b=B, **options):
    return inbounds.lsq_linear(A, b, bounds, **options)


def optimal(x):
    return x.shape == (4, 5) and (x >= 0).all() and (inbounds.kkt_residual(A, B, x) < 1e-4).all()


def with_nan(value, *where):
    value = value.clone()
    value[where] = NAN
    return value


@rows(
    Refused("A a list", lambda: solved(A=[[1.0]]), TypeError, "A must be a torch.Tensor; got the list"),
    Refused("A an array", lambda: solved(A=A.numpy()), TypeError, "A must be a torch.Tensor"),
    Refused("A integer", lambda: solved(A=torch.ones(6, 4, dtype=torch.int32)), TypeError, "A must .*float.*int32"),
    Refused("A complex", lambda: solved(A=A * 1j), TypeError, "A must .*complex"),
    Refused("A a vector", lambda: solved(A=A[:, 0]), ValueError, "A must have at least 2 dimension"),
    Refused("b a list", lambda: solved(b=[1.0] * 6), TypeError, "b must be a torch.Tensor"),
    Refused("b boolean", lambda: solved(b=B > 0.5), TypeError, "b must .*bool"),
    Refused("b a scalar", lambda: solved(b=torch.tensor(1.0)), ValueError, "b must have at least 1 dimension"),
    Refused("b of other rows", lambda: solved(b=B[:5]), ValueError, "b must have as many rows as A, 6; got .*5, 5"),
    Refused("b transposed", lambda: solved(b=B.T), ValueError, "b must have as many rows as A"),
    Refused("b a short vector", lambda: solved(b=B[:4, 0]), ValueError, "b must have as many rows as A"),
    Refused("batches that do not fit", lambda: solved(A=A.expand(2, 6, 4), b=B.expand(3, 6, 5)), ValueError,
            r"leading dimensions of b must broadcast with those of A, \(2,\)"),
    Refused("method unknown", lambda: solved(method="fast"), ValueError, "method must be one of 'auto'.*'fast'"),
    Refused("method None", lambda: solved(method=None), ValueError, "method must be one of 'auto'.*None"),
    Refused("banded without bands", lambda: solved(method="banded"), ValueError, "A must be non-negative.*at most two adjacent rows"),
    Refused("tol negative", lambda: solved(tol=-1.0), ValueError, "tol must be"),
    Refused("tol NaN", lambda: solved(tol=NAN), ValueError, "tol must be finite"),
    Refused("maxiter a float", lambda: solved(method="lbfgsb", maxiter=1.5), TypeError, "maxiter must be an integer"),
    Refused("dual a string", lambda: solved(method="lbfgsb", dual="yes"), ValueError, "dual must be None, True or False"),
    Refused("maxiter of another method", lambda: solved(method="dense", maxiter=9), ValueError,
            'maxiter is an option of method="lbfgsb"; got it with method=.dense'),
    Refused("banded, two matrices", lambda: solved(torch.eye(4, 6).repeat(2, 1, 1), B[:4], method="banded"), ValueError,
            "needs one A of shape .* for all right-hand sides; got 2"),
    Refused("tol of banded", lambda: solved(torch.eye(4, 6), B[:4], method="banded", tol=1e-3), ValueError,
            "tol is no option of method=.banded"),
    Refused("b on another device", lambda: solved(b=B.to("meta")), ValueError, "must be on the device of .*cpu|on meta"),
    Works("lbfgsb without columns", lambda: solved(b=B[:, :0], method="lbfgsb"), lambda x: x.shape == (4, 0)),
    Refused("prior of another shape", lambda: solved(prior=torch.ones(3)), ValueError, "prior must broadcast"),
    Refused("prior a string", lambda: solved(prior="envelope"), TypeError, "prior must be"),
    Works("one vector", lambda: solved(b=B[:, 0]), lambda x: x.shape == (4,)),
    Works("by lbfgsb", lambda: solved(method="lbfgsb"), optimal),
    Works("by the dense solver", lambda: solved(method="dense"), optimal),
    Works("double A, float b", lambda: solved(A=A.double()), lambda x: x.dtype == torch.float32 and optimal(x)),
    Works("half b", lambda: solved(b=B.half()), lambda x: x.dtype == torch.float16 and x.isfinite().all()),
    Works("bfloat16 both", lambda: solved(A.bfloat16(), B.bfloat16()), lambda x: x.dtype == torch.bfloat16),
    Works("strided", lambda: solved(A.T.contiguous().T, B.T.contiguous().T), optimal),
    Works("no rows", lambda: solved(A[:0], B[:0]), lambda x: torch.equal(x, torch.zeros(4, 5))),
    Works("no variables", lambda: solved(A[:, :0]), lambda x: x.shape == (0, 5)),
    Works("no columns", lambda: solved(b=B[:, :0]), lambda x: x.shape == (4, 0)),
    Works("no batch", lambda: solved(A.expand(0, 6, 4), B.expand(0, 6, 5)), lambda x: x.shape == (0, 4, 5)),
    Works("b zero", lambda: solved(b=B * 0), lambda x: (x == 0).all()),
    Works("A zero", lambda: solved(A * 0), lambda x: (x == 0).all()),
    Works("b negative", lambda: solved(b=-B), lambda x: (x == 0).all()),
    Works("b NaN in a column", lambda: solved(b=with_nan(B, 2, 1)),
          lambda x: x[:, 1].isnan().all() and torch.equal(x[:, [0, 2, 3, 4]], solved()[:, [0, 2, 3, 4]])),
    Works("b infinite in a column", lambda: solved(b=torch.where(torch.arange(5) == 3, INF, B)),
          lambda x: x[:, 3].isnan().all() and torch.equal(x[:, :3], solved()[:, :3])),
    Works("A NaN", lambda: solved(with_nan(A, 0, 0)), lambda x: x.isnan().all()),
    Works("A NaN in one of a batch", lambda: solved(torch.stack([A, with_nan(A, 0, 0)]), B.expand(2, 6, 5)),
          lambda x: optimal(x[0]) and x[1].isnan().all()),
    Works("scale 1e30", lambda: solved(A.double() * 1e30, B.double()) * 1e30, lambda x: optimal(x.float())),
    Works("scale 1e-30", lambda: solved(A.double() * 1e-30, B.double()) * 1e-30, lambda x: optimal(x.float())),
    Works("b denormal", lambda: solved(b=B * 1e-42), lambda x: x.isfinite().all() and (x >= 0).all()),
    Works("negative zero", lambda: solved(A * -0.0, B * -0.0), lambda x: (x == 0).all()),
    Works("columns alike", lambda: solved(A[:, [0, 0, 0, 0]]), lambda x: x.isfinite().all()),
    Works("requires grad", lambda: solved(b=B.clone().requires_grad_()), lambda x: x.requires_grad),
)  # fmt: skip
def test_nnls(row):
    hold(row)


@rows(
    Refused("lower > upper", lambda: boxed((1.0, 0.0)), ValueError, "lower must be <= upper"),
    Refused("lower NaN", lambda: boxed((NAN, 1.0)), ValueError, "lower must not be NaN"),
    Refused("upper NaN once", lambda: boxed((None, with_nan(torch.ones(4), 2))), ValueError, "upper must not be NaN"),
    Refused("bounds a number", lambda: boxed(1.0), TypeError, "bounds must be a pair"),
    Refused("bounds three", lambda: boxed((0, 1, 2)), TypeError, "bounds must be a pair"),
    Refused("lower of another shape", lambda: boxed((torch.zeros(3), None)), ValueError, "lower must broadcast"),
    Refused("upper a string", lambda: boxed((None, "high")), TypeError, "upper must be None, a number or a tensor"),
    Refused("lower +inf", lambda: boxed((INF, None)), ValueError, "lower must be <= upper, with some number between"),
    Refused("method banded", lambda: boxed(method="banded"), ValueError, "method must be one of"),
    Refused("A complex", lambda: boxed(A=A * 1j), TypeError, "A must .*complex"),
    Refused("b integer", lambda: boxed(b=B.int()), TypeError, "b must .*int32"),
    Refused("lower complex", lambda: boxed((torch.zeros(4) * 1j, None)), TypeError, "lower must be real"),
    Works("b NaN in a column", lambda: boxed(b=with_nan(B, 2, 1)), lambda x: x.isnan().all(0).tolist() == [0, 1, 0, 0, 0]),
    Works("b infinite", lambda: boxed(b=B + INF), lambda x: x.isnan().all()),
    Works("b denormal", lambda: boxed(b=B * 1e-42), lambda x: ((x >= 0) & (x <= 1)).all()),
    Works("b 1e30", lambda: boxed(b=B.double() * 1e30), lambda x: ((x >= 0) & (x <= 1)).all()),
    Works("bounds of negative zero", lambda: boxed((-0.0, 0.0)), lambda x: (x == 0).all()),
    Works("no batch", lambda: boxed(A=A.expand(0, 6, 4), b=B.expand(0, 6, 5)), lambda x: x.shape == (0, 4, 5)),
    Works("no bounds", lambda: boxed((None, None)), lambda x: torch.allclose(A.T @ (A @ x - B), x * 0, atol=1e-4)),
    Works("bounds infinite", lambda: boxed((-INF, INF)), lambda x: torch.allclose(x, boxed((None, None)))),
    Works("all fixed", lambda: boxed((0.3, 0.3)), lambda x: (x == torch.tensor(0.3)).all()),
    Works("per variable", lambda: boxed((torch.tensor([0, -1, 0.5, 0]), 0.5)), lambda x: (x[2] == 0.5).all()),
    Works("per column", lambda: boxed((None, torch.arange(5.0)[None] - 3)),
          lambda x: (x <= torch.arange(5.0) - 3).all()),
    Works("below zero", lambda: boxed((-2.0, -1.0)), lambda x: (x == -1).all()),
    Works("huge box", lambda: boxed((-1e30, 1e30)), lambda x: torch.allclose(x, boxed((None, None)), atol=1e-4)),
    Works("no rows", lambda: boxed((1.0, 2.0), A[:0], B[:0]), lambda x: (x == 1).all()),
)  # fmt: skip
def test_lsq_linear(row):
    hold(row)


@rows(
    Refused("x of another shape", lambda: inbounds.kkt_residual(A, B, torch.zeros(5, 4)), ValueError, "x must"),
    Refused("x a list", lambda: inbounds.kkt_residual(A, B, [0.0]), TypeError, "x must be a torch.Tensor"),
    Refused("A complex", lambda: inbounds.kkt_residual(A * 1j, B, torch.zeros(4, 5)), TypeError, "A must .*complex"),
    Refused("b of other rows", lambda: inbounds.kkt_residual(A, B[:4], torch.zeros(4, 5)), ValueError, "b must have as"),
    Works("nothing", lambda: inbounds.kkt_residual(A, B[:, :0], torch.zeros(4, 0)), lambda k: k.shape == (0,)),
    Works("1e-30", lambda: inbounds.kkt_residual(A.double() * 1e-30, B.double(), solved(A.double(), B.double()) * 1e30),
          lambda k: (k < 1e-6).all()),
    Works("x NaN", lambda: inbounds.kkt_residual(A, B, with_nan(torch.zeros(4, 5), 0, 2)),
          lambda k: k.isnan().tolist() == [False, False, True, False, False]),
    Works("x zero for b zero", lambda: inbounds.kkt_residual(A, B * 0, torch.zeros(4, 5)), lambda k: (k == 0).all()),
)  # fmt: skip
def test_kkt_residual(row):
    hold(row)


def test_nothing_given_is_changed_or_aliased():
    given = [A.clone(), B.clone(), torch.rand(4, 5)]
    before = [value.clone() for value in given]
    x = inbounds.lsq_linear(given[0], given[1], (0.0, given[2]), prior=given[2])
    x.fill_(7.0)
    assert all(torch.equal(value, was) for value, was in zip(given, before, strict=True))


@pytest.mark.parametrize("solve", [solved, boxed], ids=["nnls", "lsq_linear"])
def test_columns_that_do_not_converge_say_so_once(solve):
    with pytest.warns(UserWarning, match=r"\d+ of 5") as caught:
        _, info = solve(method="lbfgsb", maxiter=1, full_output=True)
    assert len(caught) == 1
    assert not info.converged.all()
