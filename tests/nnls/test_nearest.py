"""Deficient matrices: which of the many optima, against every set of active bounds; and ranks in float32."""

import itertools

import numpy as np
import pytest
import scipy.optimize
import torch

from inbounds import kkt_residual, lsq_linear, nnls
from inbounds.nnls import compiled, dense, tensorial

ENGINES = [pytest.param(compiled.ENGINE, id="compiled"), pytest.param(tensorial.ENGINE, id="tensorial")]


def on_faces(lower, upper):
    """Every choice of free variables and of bounds for the others."""
    for code in itertools.product((0, 1, 2), repeat=len(lower)):
        side = np.array(code)
        fixed = np.where(side == 1, lower, upper)
        if np.isfinite(fixed[side != 0]).all():
            yield side == 0, np.where(side == 0, 0.0, fixed)


def best_of(A, target, lower, upper, prior, exactly):
    """The x in the box with least ‖A x - target‖; if `exactly`, that with A x = target nearest to prior."""
    best, least = None, np.inf
    for free, x in on_faces(lower, upper):
        base = np.where(free, prior if exactly else 0.0, x)
        x = base.copy()
        x[free] += np.linalg.pinv(A[:, free], rcond=1e-10) @ (target - A @ base)
        if ((x < lower - 1e-9) | (x > upper + 1e-9)).any():
            continue
        missed = np.linalg.norm(A @ x - target)
        value = np.linalg.norm(x - prior) if exactly else missed
        if value < least and not (exactly and missed > 1e-9):
            best, least = x, value
    return best


def nearest_optimum(A, b, lower, upper, prior):
    """By brute force: an optimum, then the nearest of the x with the same A x."""
    optimum = best_of(A, b, lower, upper, prior, exactly=False)
    return best_of(A, A @ optimum, lower, upper, prior, exactly=True)


def deficient(seed):
    """A small A of any rank, with zero, repeated and opposed columns and rows; any b; a box; a prior."""
    rng = np.random.default_rng(seed)
    m, n = rng.integers(1, 7), rng.integers(1, 5)
    rank = rng.integers(0, min(m, n) + 1)
    if seed % 2:
        A = rng.integers(-2, 3, (m, rank)).astype(float) @ rng.integers(-1, 2, (rank, n))
    else:
        A = rng.standard_normal((m, rank)) @ rng.standard_normal((rank, n))
    (i, j), (p, q) = rng.integers(0, n, 2), rng.integers(0, m, 2)
    for change in rng.integers(0, 6, 2):
        if change < 3:
            A[:, i] = (0.0, 1.0, -2.0)[change] * A[:, j]
        else:
            A[p] = (0.0, 1.0, -1.0)[change - 3] * A[q]
    b = [
        lambda: rng.standard_normal(m),
        lambda: A @ rng.standard_normal(n).clip(0.0),
        lambda: A @ rng.integers(0, 2, n),
        lambda: np.zeros(m),
    ][rng.integers(4)]()
    lower, upper = np.zeros(n), np.full(n, np.inf)
    if rng.random() < 0.6:
        kind, centre, width = rng.integers(0, 5, n), rng.standard_normal(n).round(1), rng.random(n).round(1)
        lower = np.select([kind < 2, kind == 4], [-np.inf, centre], centre - width)
        upper = np.select([kind % 2 == 0, kind == 4], [np.inf, centre], centre + width)
        upper = np.where(kind == 4, lower, upper)
    return A, b, lower, upper, rng.standard_normal(n) * rng.integers(0, 2)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("first", range(0, 240, 60))
def test_against_every_active_set(engine, first):
    for seed in range(first, first + 60):
        A, b, lower, upper, prior = deficient(seed)
        expected = nearest_optimum(A, b, lower, upper, prior)
        columns = (torch.from_numpy(v)[None, :, None] for v in (b, lower, upper, prior, np.ones(len(prior))))
        found = dense.solve(torch.from_numpy(A)[None], *columns, engine)
        assert found.reached.all(), seed
        assert found.certificate.max() < 1e-11, seed
        expected = np.where((A == 0).all(0), prior.clip(lower, upper), expected)
        np.testing.assert_allclose(found.x[0, :, 0], expected, atol=1e-8, err_msg=f"seed {seed}")


def test_the_projection_alone():
    """From any point of the box, also a degenerate one, and with rows said twice."""
    for seed in range(150):
        A, _, lower, upper, prior = deficient(seed)
        rng = np.random.default_rng(seed)
        weight = rng.random(len(prior)) + 0.1
        y = rng.integers(-1, 2, len(prior)).astype(float).clip(lower, upper)
        rows = np.concatenate([A, A[:1]])
        root = np.sqrt(weight)
        expected = root * best_of(A * root, A @ y, lower / root, upper / root, prior / root, exactly=True)
        given = (torch.from_numpy(v)[None] for v in (rows, weight, prior, y, lower, upper))
        z, steps = compiled.project(*given, torch.tensor([0]))
        assert steps[0] > 0
        np.testing.assert_allclose(z[0], expected, atol=1e-9, err_msg=f"seed {seed}")


def test_larger_projections_meet_their_conditions(rng):
    """y + Aᵀλ + μ = prior, where μ pushes at bounds only: the multipliers exist, by SciPy's BVLS."""
    for n in (12, 20, 30):
        A = torch.randn(4, n, generator=rng, dtype=torch.float64)
        prior = 3 * torch.randn(5, n, generator=rng, dtype=torch.float64)
        y = torch.rand(5, n, generator=rng, dtype=torch.float64).round(decimals=1)
        low, high = torch.zeros(5, n).double(), torch.ones(5, n).double()
        z, steps = compiled.project(A[None], torch.ones(5, n).double(), prior, y, low, high, torch.arange(5))
        assert (steps > 0).all()
        assert ((z >= 0) & (z <= 1)).all()
        torch.testing.assert_close(z @ A.T, y @ A.T, rtol=0, atol=1e-12)
        for row, wanted in zip(z, prior, strict=True):
            down, up = np.eye(n)[:, row <= 1e-12], -np.eye(n)[:, row >= 1 - 1e-12]
            least = np.r_[np.full(4, -np.inf), np.zeros(down.shape[1] + up.shape[1])]
            push = (row - wanted).numpy()
            found = scipy.optimize.lsq_linear(
                np.hstack([A.T, down, up]), push, (least, np.inf), method="bvls"
            )
            np.testing.assert_allclose(np.hstack([A.T, down, up]) @ found.x, push, atol=1e-9)


def test_nothing_to_do_is_not_taken_for_the_nearest():
    """b = 0 and y = 0 is an optimum, but another one is nearer to the prior."""
    A = torch.tensor([[1.0, 1.0], [2.0, 2.0], [0.0, 0.0]], dtype=torch.float64)
    prior = torch.tensor([1.0, -0.5], dtype=torch.float64)
    x, info = lsq_linear(A, torch.zeros(3, dtype=torch.float64), prior=prior, full_output=True)
    torch.testing.assert_close(x, torch.tensor([0.75, -0.75], dtype=torch.float64))
    assert info.converged


@pytest.mark.parametrize("shape", [(7, 4), (4, 7)])
def test_a_right_hand_side_orthogonal_to_every_column(dtype, shape, rng):
    """All that is left of Aᵀb is rounding: so are the gradient and x, and the certificate says so."""
    A = torch.randn(shape[0], 2, generator=rng) @ torch.randn(2, shape[1], generator=rng)
    b = torch.randn(shape[0], 5, generator=rng)
    b = b - A @ (torch.linalg.pinv(A, rtol=1e-5) @ b)
    A, b = A.to(dtype), b.to(dtype)
    x, info = nnls(A, b, full_output=True)
    assert info.converged.all()
    assert (info.kkt <= 1e-5).all()
    assert (kkt_residual(A, b, x + 1e-3) > 1e-2).all()


def test_the_rank_is_what_float32_can_tell(rng):
    """A third column that is the sum of the others but for its rounding is no direction of its own."""
    A = torch.randn(6, 2, generator=rng)
    A = torch.cat([A, A.sum(1, keepdim=True)], dim=1)
    b = torch.randn(6, 4, generator=rng)
    x, info = lsq_linear(A, b, full_output=True)
    expected = torch.linalg.pinv(A.double(), rtol=1e-6) @ b.double()
    torch.testing.assert_close(x, expected.float(), rtol=1e-4, atol=1e-5)
    assert info.converged.all()
    assert (info.kkt <= 1e-6).all()


def test_bands_that_are_too_graded_for_the_banded_solver_are_solved_densely():
    A = torch.tensor([[1448.6, 1.591e-4], [135.2, 3.7037e-4]], dtype=torch.float64)
    b = torch.tensor([0.8033, 0.1748], dtype=torch.float64)
    x, info = nnls(A, b, full_output=True)
    assert info.converged
    torch.testing.assert_close(x, torch.linalg.solve(A, b))
