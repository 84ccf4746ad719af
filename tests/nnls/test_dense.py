"""The dense solver, in both its engines, against SciPy, brute force, and each other."""

import pytest
import torch

from inbounds.nnls import compiled, dense, tensorial
from inbounds.nnls.kkt import kkt_residual
from nnls.cases import KINDS, assert_as_good, brute_force, make, objective, reference

ENGINES = [pytest.param(compiled.ENGINE, id="compiled"), pytest.param(tensorial.ENGINE, id="tensorial")]
# Without a choice of engine, a few columns of a tall matrix take the short way.
WAYS = [*ENGINES, pytest.param(None, id="short")]
SHAPES = [(20, 10), (30, 30), (12, 40)]


def solve(A, b, engine, lower=0.0, upper=torch.inf, prior=0.0):
    like_x = [
        torch.as_tensor(v, dtype=b.dtype).expand(A.shape[1], b.shape[1]) for v in (lower, upper, prior, 1.0)
    ]
    found = dense.solve(A[None], b[None], *(value[None] for value in like_x), engine)
    return found.x[0], found


@pytest.mark.parametrize("engine", WAYS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_as_good_as_scipy(engine, shape, kind):
    A, b = make(kind, *shape, 8)
    x, found = solve(A, b, engine)
    assert (x >= 0).all()
    assert kkt_residual(A, b, x).max() < 1e-11
    assert found.certificate.max() < 1e-11
    assert_as_good(A, b, x, reference(A, b))
    if kind not in ("scaled", "collinear") or shape[0] >= shape[1]:
        assert found.reached.all()


@pytest.mark.parametrize(("shape", "columns"), [((200, 100), 20), ((128, 1025), 4), ((1000, 500), 2)])
@pytest.mark.parametrize("kind", ["gauss", "positive", "random b", "low rank"])
def test_the_sizes_people_have(shape, columns, kind):
    A, b = make(kind, *shape, columns)
    x, found = solve(A, b, compiled.ENGINE)
    assert found.reached.all()
    assert kkt_residual(A, b, x).max() < 1e-11
    assert_as_good(A, b, x, reference(A, b))


@pytest.mark.parametrize("engine", WAYS)
@pytest.mark.parametrize("kind", ["gauss", "duplicates", "low rank"])
@pytest.mark.parametrize("shape", [(6, 5), (3, 6)])
def test_box_against_every_active_set(engine, kind, shape):
    A, b = make(kind, *shape, 6, seed=3)
    n = shape[1]
    lower = -torch.rand(n, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    upper = torch.rand(n, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    lower[0], upper[1] = -torch.inf, torch.inf
    lower[2], upper[2] = -torch.inf, torch.inf
    upper[3] = lower[3]
    x, found = solve(A, b, engine, lower[:, None], upper[:, None])
    assert ((x >= lower[:, None]) & (x <= upper[:, None])).all()
    assert kkt_residual(A, b, x, bounds=(lower, upper)).max() < 1e-11
    best = brute_force(A, b, lower, upper)
    torch.testing.assert_close(objective(A, b, x), best, rtol=1e-9, atol=1e-13)
    assert found.reached.all()


@pytest.mark.parametrize("engine", WAYS)
def test_without_bounds_it_is_the_pseudo_inverse(engine):
    for kind, shape in [
        ("gauss", (20, 10)),
        ("gauss", (10, 20)),
        ("low rank", (20, 12)),
        ("duplicates", (9, 12)),
    ]:
        A, b = make(kind, *shape, 5)
        x, _ = solve(A, b, engine, -torch.inf, torch.inf)
        torch.testing.assert_close(x, torch.linalg.pinv(A) @ b, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("engine", WAYS)
@pytest.mark.parametrize("kind", ["duplicates", "low rank", "reachable b", "zeros"])
@pytest.mark.parametrize("with_prior", [False, True])
def test_nearest_of_the_optima(engine, kind, with_prior):
    """Against Tikhonov's limit: ‖A x - b‖² + δ²‖x - prior‖² for a small δ, solved by SciPy."""
    shape = (20, 12) if kind != "reachable b" else (8, 20)
    A, b = make(kind, *shape, 6, seed=5)
    generator = torch.Generator().manual_seed(7)
    prior = torch.randn(shape[1], 6, generator=generator, dtype=torch.float64) if with_prior else 0.0
    x, found = solve(A, b, engine, prior=prior)
    assert found.reached.all()
    optimum = reference(A, b)
    torch.testing.assert_close(A @ x, A @ optimum, rtol=1e-8, atol=1e-9)
    shrink = 1e-5 * torch.eye(shape[1], dtype=A.dtype)
    extended = torch.cat([A, shrink]), torch.cat([A @ optimum, shrink @ (x * 0 + prior)])
    torch.testing.assert_close(x, reference(*extended), rtol=1e-6, atol=1e-6)
    assert ((x - prior).norm(dim=0) <= (optimum - prior).norm(dim=0) + 1e-9).all()


@pytest.mark.parametrize("engine", WAYS)
@pytest.mark.parametrize("shape", [(20, 10), (10, 20)])
def test_a_bad_column_stays_alone(engine, shape):
    A, b = make("gauss", *shape, 5)
    clean, _ = solve(A, b, engine)
    b[3, 1], b[2, 3] = torch.nan, torch.inf
    x, found = solve(A, b, engine)
    assert x[:, [1, 3]].isnan().all()
    assert not found.reached[0, [1, 3]].any()
    torch.testing.assert_close(x[:, [0, 2, 4]], clean[:, [0, 2, 4]], rtol=1e-12, atol=1e-12)


def test_the_short_way_takes_what_is_plain_and_leaves_the_rest(monkeypatch):
    """The engine's solvers are not called for a few columns of an ordinary matrix; for others they are."""
    called = []

    def engine_for(device):
        called.append(device)
        return compiled.ENGINE

    monkeypatch.setattr(dense, "engine_for", engine_for)
    A, b = make("gauss", 20, 10, 4)
    x, _ = solve(A, b, None)
    assert not called
    torch.testing.assert_close(x, solve(A, b, compiled.ENGINE)[0], rtol=1e-12, atol=1e-12)
    lower, upper = torch.full((10, 1), -0.3).double(), torch.full((10, 1), 0.2).double()
    lower[2], upper[3], upper[4] = -torch.inf, torch.inf, -0.3
    x, _ = solve(A, b, None, lower, upper)
    assert not called
    torch.testing.assert_close(x, solve(A, b, compiled.ENGINE, lower, upper)[0], rtol=1e-12, atol=1e-12)
    twice = A[:, [0, 0, *range(8)]]
    for matrix, right, prior in [
        (twice, b, 0.0),
        (1e-150 * A, 1e-150 * b, 0.0),
        (A, b / 0.0, 0.0),
        (A, b, torch.nan),
    ]:
        called.clear()
        solve(matrix, right, None, prior=prior)
        assert called


def test_a_bad_matrix_of_several_stays_alone():
    A = torch.randn(3, 8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    b = torch.randn(3, 8, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    zero = torch.zeros(3, 4, 2, dtype=torch.float64)
    clean = dense.solve(A, b, zero, zero + torch.inf, zero, zero + 1).x
    A[1, 2, 2] = torch.nan
    x = dense.solve(A, b, zero, zero + torch.inf, zero, zero + 1).x
    assert x[1].isnan().all()
    torch.testing.assert_close(x[[0, 2]], clean[[0, 2]])


@pytest.mark.parametrize("engine", WAYS)
def test_degenerate_optima(engine):
    """Exact ties: b in the span of few columns, so that many gradients and variables are zero together."""
    A = torch.tensor(
        [[1.0, 1, 0, 1], [0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 1, 0], [0, 0, 1, 1]], dtype=torch.float64
    )
    b = torch.stack([A[:, 0], A[:, 1] + A[:, 2], 0 * A[:, 0], -A[:, 3]], dim=-1)
    x, found = solve(A, b, engine)
    assert found.reached.all()
    expected = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(x, expected, rtol=0, atol=1e-12)


def test_chunks_change_nothing(monkeypatch):
    A, b = make("gauss", 20, 10, 37)
    whole, _ = solve(A, b, compiled.ENGINE)
    monkeypatch.setattr(dense, "CHUNK", 100)
    parts, _ = solve(A, b, compiled.ENGINE)
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-12)
    matrices = torch.randn(5, 8, 4, dtype=torch.float64)
    right, zero = torch.randn(5, 8, 3, dtype=torch.float64), torch.zeros(5, 4, 3, dtype=torch.float64)
    several = dense.solve(matrices, right, zero, zero + torch.inf, zero, zero + 1).x
    for i in range(5):
        one, _ = solve(matrices[i], right[i], compiled.ENGINE)
        torch.testing.assert_close(several[i], one, rtol=1e-12, atol=1e-12)


def test_a_failed_shortcut_is_noticed():
    """A shortcut that fails, here one that returns nonsense, costs time and not accuracy."""
    A, b = make("gauss", 20, 10, 6)

    def nonsense(G, H, w, *rest):
        return torch.full_like(w, 3.0), torch.full((len(w),), -7)

    x, found = solve(A, b, compiled.ENGINE._replace(pivot=nonsense))
    assert found.reached.all()
    assert_as_good(A, b, x, reference(A, b))


@pytest.mark.parametrize("engine", ENGINES)
def test_several_matrices_each_with_a_choice_of_optima(engine):
    """The nearest of many optima, of three matrices at once: each as it would be alone."""
    generator = torch.Generator().manual_seed(3)
    A = torch.rand(3, 4, 9, dtype=torch.float64, generator=generator)
    b = A @ torch.rand(3, 9, 2, dtype=torch.float64, generator=generator)
    prior = torch.rand(3, 9, 2, dtype=torch.float64, generator=generator)
    zero = torch.zeros_like(prior)
    x = dense.solve(A, b, zero, zero + torch.inf, prior, zero + 1, engine).x
    for item in range(3):
        alone, _ = solve(A[item], b[item], engine, prior=prior[item])
        torch.testing.assert_close(x[item], alone, rtol=1e-9, atol=1e-11)


def test_the_engine_follows_the_device():
    assert dense.engine_for(torch.device("cpu")) is compiled.ENGINE
    assert dense.engine_for(torch.device("cuda")) is tensorial.ENGINE
