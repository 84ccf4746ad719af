"""The result: fields by attribute and key, SciPy's statuses and messages, the inverse Hessian."""

import copy
import pickle

import numpy as np
import pytest
import scipy.optimize
import torch

import inbounds
from inbounds.optim.result import OUTCOMES, InverseHessian
from inbounds.optim.state import Memory, Stop
from problems import named, rosenbrock


@pytest.fixture
def pairs(rng):
    s = torch.randn(5, 7, generator=rng, dtype=torch.float64)
    return s, s + 0.3 * torch.randn(5, 7, generator=rng, dtype=torch.float64)


@pytest.fixture
def batch_result():
    x0 = torch.linspace(-1.5, 1.5, 12, dtype=torch.float64).view(2, 3, 2)
    return inbounds.minimize(rosenbrock, x0, (-2.0, 2.0))


def test_fields_by_attribute_and_by_key(batch_result):
    assert set(batch_result) >= {"x", "fun", "jac", "nit", "nfev", "status", "success", "message", "hess_inv"}
    for key in batch_result:
        assert batch_result[key] is getattr(batch_result, key)
    assert "x" in batch_result
    assert len(batch_result) == len(set(batch_result))
    assert dict(batch_result)["message"] == batch_result.message
    with pytest.raises(KeyError):
        batch_result["memory"]


def test_one_problem_gives_scalars():
    result = inbounds.minimize(rosenbrock, torch.zeros(3), (-2.0, 2.0))
    for key in ("fun", "nit", "nfev", "status", "success"):
        assert result[key].shape == ()
    assert isinstance(result.message, str)
    assert result.success


def test_a_batch_gives_its_shape(batch_result):
    for key in ("fun", "nit", "nfev", "status", "success"):
        assert batch_result[key].shape == (2, 3)
    assert batch_result.x.shape == batch_result.jac.shape == (2, 3, 2)
    assert np.shape(batch_result.message) == (2, 3)
    assert all(isinstance(message, str) for row in batch_result.message for message in row)
    assert batch_result.hess_inv.shape == (2, 3, 2, 2)


def test_every_stop_has_its_status_and_message():
    assert set(OUTCOMES) == set(Stop)
    assert OUTCOMES[Stop.GRADIENT] == (0, "CONVERGENCE: NORM OF PROJECTED GRADIENT <= PGTOL")
    assert OUTCOMES[Stop.REDUCTION] == (0, "CONVERGENCE: RELATIVE REDUCTION OF F <= FACTR*EPSMCH")
    assert OUTCOMES[Stop.MAXITER] == (1, "STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT")
    assert OUTCOMES[Stop.MAXFUN] == (1, "STOP: TOTAL NO. OF F,G EVALUATIONS EXCEEDS LIMIT")
    assert OUTCOMES[Stop.HALTED] == (99, "`callback` raised `StopIteration`.")
    assert OUTCOMES[Stop.ABNORMAL].message.startswith("ABNORMAL: ")
    assert len({outcome.status for outcome in OUTCOMES.values()}) == 6


def test_repr_counts_the_messages_of_a_batch(batch_result):
    assert " x CONVERGENCE: " in repr(batch_result)
    assert len(repr(batch_result).splitlines()) < 60


def test_pickles_and_copies(batch_result):
    for twin in (pickle.loads(pickle.dumps(batch_result)), copy.deepcopy(batch_result)):
        assert torch.equal(twin.x, batch_result.x)
        assert torch.equal(twin.hess_inv.sk, batch_result.hess_inv.sk)


def test_inverse_hessian_is_scipys(pairs, rng):
    s, y = pairs
    ours, theirs = InverseHessian(s, y), scipy.optimize.LbfgsInvHessProduct(s.numpy(), y.numpy())
    v = torch.randn(7, generator=rng, dtype=torch.float64)
    V = torch.randn(7, 3, generator=rng, dtype=torch.float64)
    np.testing.assert_allclose(ours.matvec(v), theirs.matvec(v.numpy()), rtol=1e-9)
    np.testing.assert_allclose(ours @ v, theirs @ v.numpy(), rtol=1e-9)
    np.testing.assert_allclose(ours @ V, theirs @ V.numpy(), rtol=1e-9)
    np.testing.assert_allclose(ours.todense(), theirs.todense(), rtol=1e-9)
    assert ours.shape == theirs.shape


def test_inverse_hessian_of_a_batch_is_row_by_row(pairs):
    s, y = (part.unflatten(-1, (7, 1)).expand(5, 7, 3).permute(2, 0, 1).clone() for part in pairs)
    s[1], y[2] = 2 * s[1], 3 * y[2]
    whole = InverseHessian(s, y)
    v = torch.arange(21.0).double().view(3, 7)
    for i in range(3):
        row = InverseHessian(s[i], y[i])
        torch.testing.assert_close(whole.matvec(v)[i], row.matvec(v[i]))
        torch.testing.assert_close(whole.todense()[i], row.todense())
    torch.testing.assert_close(whole @ v[0], torch.stack([whole.todense()[i] @ v[0] for i in range(3)]))


def test_pairs_come_out_of_the_ring_by_age():
    m, n = 3, 2
    S = torch.arange(12.0).view(2, m, n)
    memory = Memory(
        S=S,
        Y=S + 100,
        SY=torch.zeros(2, m, m),
        SS=torch.zeros(2, m, m),
        head=torch.tensor([2, 0]),
        held=torch.tensor([3, 1]),
        theta=torch.ones(2),
    )
    operator = InverseHessian.of(memory, (2,))
    assert torch.equal(operator.sk[0], S[0, [2, 0, 1]])
    assert torch.equal(operator.sk[1], torch.stack([S[1, 0], torch.zeros(2), torch.zeros(2)]))
    assert torch.equal(operator.yk[1, 1:], torch.zeros(2, 2))


def test_hess_inv_meets_the_secant_equation_after_the_history_has_wrapped():
    problem = named("rosenbrock-10")
    result = inbounds.minimize(problem.fun, problem.x0, problem.bounds, maxcor=4)
    assert result.nit > 3 * 4
    operator = result.hess_inv
    assert operator.sk.shape == (4, 10)
    newest_s, newest_y = operator.sk[-1], operator.yk[-1]
    torch.testing.assert_close(operator @ newest_y, newest_s, rtol=1e-8, atol=1e-12)


def test_hess_inv_with_nothing_learnt_is_the_identity():
    result = inbounds.minimize(rosenbrock, torch.ones(2))
    assert result.hess_inv.sk.shape == (0, 2)
    assert torch.equal(result.hess_inv.todense(), torch.eye(2))
