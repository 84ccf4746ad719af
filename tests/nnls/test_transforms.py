"""torch.func's transforms, against finite differences and a loop."""

import pytest
import torch
from torch.func import grad, jacrev, vmap

from inbounds import lsq_linear, nnls
from nnls.cases import make


def differences(fun, x, step=1e-6):
    """The Jacobian of fun by central differences, the dimensions of x last."""
    columns = []
    for i in range(x.numel()):
        shift = torch.zeros_like(x).view(-1).index_fill(0, torch.tensor([i]), step).view(x.shape)
        columns.append((fun(x + shift) - fun(x - shift)) / (2 * step))
    return torch.stack(columns, dim=-1).unflatten(-1, x.shape)


def boxed(A, b):
    return lsq_linear(A, b, (-0.2, 0.3))


@pytest.mark.parametrize("solve", [nnls, boxed])
@pytest.mark.parametrize("shape", [(7, 4), (3, 5)])
def test_jacrev(solve, shape):
    A, b = make("gauss", *shape, 1)
    b = b[:, 0]
    J = jacrev(solve, argnums=(0, 1))(A, b)
    torch.testing.assert_close(J[0], differences(lambda A: solve(A, b), A), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(J[1], differences(lambda b: solve(A, b), b), rtol=1e-6, atol=1e-6)


def test_jacrev_of_lbfgsb():
    A, b = make("gauss", 7, 4, 2)
    ours = jacrev(lambda b: nnls(A, b, method="lbfgsb", tol=1e-12))(b)
    torch.testing.assert_close(ours, jacrev(lambda b: nnls(A, b))(b), rtol=1e-7, atol=1e-9)


def loss(A, b):
    return nnls(A, b).square().sum()


@pytest.mark.parametrize("argnum", [0, 1])
def test_second_derivatives(argnum):
    given = [part.squeeze(-1) if i else part for i, part in enumerate(make("gauss", 7, 4, 1))]

    def slope(value):
        return grad(loss, argnum)(*given[:argnum], value, *given[argnum + 1 :])

    expected = differences(slope, given[argnum])
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(jacrev(slope)(given[argnum]), expected, rtol=1e-5, atol=1e-6)


def test_rows_and_matrices_of_their_own_under_vmap():
    A, b = make("gauss", 7, 4, 6)
    matrices = torch.stack([A, A.flip(0), 2 * A])
    over_b = vmap(jacrev(nnls, 1), (None, 1))(A, b)
    torch.testing.assert_close(over_b, torch.stack([jacrev(nnls, 1)(A, column) for column in b.T]))
    over_A = vmap(grad(loss), (0, None))(matrices, b)
    torch.testing.assert_close(over_A, torch.stack([grad(loss)(matrix, b) for matrix in matrices]))
    assert over_A.abs().max() > 0.1


def test_a_matrix_with_bands():
    """The banded solver has no gradient here: "auto" leaves it to the dense one."""
    A = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]], dtype=torch.float64)
    b = torch.tensor([1.0, 2.0], dtype=torch.float64)
    leaf = b.clone().requires_grad_()
    loss(A, leaf).backward()
    torch.testing.assert_close(grad(loss, 1)(A, b), leaf.grad)
    prior = torch.ones(3, dtype=torch.float64)
    J = jacrev(lambda prior: nnls(A, b, prior=prior))(prior)
    torch.testing.assert_close(J, differences(lambda prior: nnls(A, b, prior=prior), prior))
    assert J.abs().max() > 0.1
