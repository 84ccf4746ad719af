"""The row engine: SciPy's path, a row's independence of its batch, and what happens at the edges."""

import math

import numba
import pytest
import torch
from scipy.optimize import minimize as scipy_minimize
from scipy.optimize._dcsrch import DCSRCH

import problems
from inbounds.optim import lbfgsb, rows
from inbounds.optim.box import Box
from inbounds.optim.state import Options, Search, State, Stop, take

EPS = torch.finfo(torch.float64).eps

# `make coverage` runs these kernels as Python, whose min and max treat NaN otherwise.
compiled = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="about machine code")


def options(**changes) -> Options:
    names = {"maxcor": 10, "ftol": 1e7 * EPS, "gtol": 1e-5, "maxiter": 15000, "maxfun": 15000, "maxls": 20}
    return Options(**{**names, **changes})


def run(value_and_gradient, x0, lower, upper, given: Options, look=lambda state, box: None) -> State:
    """Every row of x0 (b, n) to its end; `look` is shown each state before its trial is evaluated."""
    box = Box.of(*(bound.to(x0).expand_as(x0) for bound in (lower, upper)))
    x0 = x0.maximum(box.lower).minimum(box.upper)
    state = rows.init(x0, *value_and_gradient(x0), box, given)
    while (state.stop == Stop.RUNNING).any():
        look(state, box)
        state = rows.advance(state, *value_and_gradient(state.trial), box, given)
    return state


def scipy_path(problem, given: Options):
    """SciPy's result for the same problem; only fun, jac, bounds and options are shared."""

    def fun(x):
        f, g = problem.value_and_gradient(torch.from_numpy(x.copy()))
        return f.item(), g.numpy()

    names = ("maxcor", "ftol", "gtol", "maxiter", "maxfun", "maxls")
    return scipy_minimize(
        fun,
        problem.x0.numpy(),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(problem.lower.numpy(), problem.upper.numpy(), strict=True)),
        options={name: getattr(given, name) for name in names},
    )


# Where a Cauchy point has every variable on a bound, SciPy (as the Fortran does) skips the update of K's
# inner products, and works with a stale K from there on. On this problem it ends one evaluation later.
STALE = ("styblinski-tang",)


@pytest.mark.parametrize("problem", problems.PROBLEMS, ids=lambda problem: problem.name)
def test_walks_scipys_path(problem):
    given = options(**problem.options)

    def inside(state, box):
        assert ((state.trial >= box.lower) & (state.trial <= box.upper)).all()

    state = run(problem.value_and_gradient, problem.x0[None], problem.lower, problem.upper, given, inside)
    theirs = scipy_path(problem, given)
    f = state.f.item()
    assert f <= theirs.fun + 1e-6 * max(1, abs(theirs.fun))
    assert f == problem.fun(state.x).item()
    if problem.smooth and problem.name not in STALE:
        assert (state.nit.item(), state.nfev.item()) == (theirs.nit, theirs.nfev)


def test_driver1():
    problem = problems.named("driver1")
    given = options(**problem.options)
    state = run(problem.value_and_gradient, problem.x0[None], problem.lower, problem.upper, given)
    assert (state.nit.item(), state.nfev.item()) == (23, 28)
    assert state.f.item() == pytest.approx(1.083490083461424e-9, rel=1e-6)
    assert state.stop.item() == Stop.REDUCTION


def starts(b: int, n: int, dtype=torch.float64) -> torch.Tensor:
    rng = torch.Generator().manual_seed(b * n)
    return (torch.rand(b, n, generator=rng, dtype=torch.float64) * 4 - 2).to(dtype)


def rosenbrock(x):
    return problems.rosenbrock(x), problems.rosenbrock_gradient(x)


BOX = torch.tensor(-1.5), torch.tensor(0.9)


def same(one: State, other: State) -> bool:
    flat = [(a, b) for a, b in zip(one, other, strict=True) if isinstance(a, torch.Tensor)]
    for name in ("search", "memory"):
        flat += zip(getattr(one, name), getattr(other, name), strict=True)
    return all(torch.equal(a, b) for a, b in flat)


def test_a_row_does_not_depend_on_its_batch(dtype):
    x0 = starts(150, 9, dtype)
    given = options(ftol=10 * torch.finfo(dtype).eps)
    together = run(rosenbrock, x0, *BOX, given)
    assert (together.stop != Stop.ABNORMAL).float().mean() > 0.9
    for i in range(0, 150, 13):
        alone = run(rosenbrock, x0[i : i + 1], *BOX, given)
        assert same(alone, take(together, torch.tensor([i])))


@compiled
def test_nan_stays_in_its_row(dtype):
    x0 = starts(40, 6, dtype)
    sick = torch.arange(40) % 7 == 3

    def ill(x):
        f, g = rosenbrock(x)
        away = sick & (x != x0.clamp(*BOX)).any(-1)
        return f.masked_fill(away, math.nan), g.masked_fill(away[:, None], math.nan)

    given = options(maxiter=50)
    healthy, mixed = run(rosenbrock, x0, *BOX, given), run(ill, x0, *BOX, given)
    well = torch.nonzero(~sick).flatten()
    assert same(take(healthy, well), take(mixed, well))
    assert (mixed.stop[sick] == Stop.ABNORMAL).all()
    assert mixed.x.isfinite().all()
    assert torch.equal(mixed.x[sick], x0.clamp(*BOX)[sick])


@pytest.mark.parametrize("where", ["f", "g"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_not_finite_at_x0_stops_at_once(where, bad):
    def fun(x):
        f, g = rosenbrock(x)
        (f if where == "f" else g[:, 1])[:] = bad
        return f, g

    state = run(fun, starts(3, 4), *BOX, options())
    assert (state.stop == Stop.NONFINITE).all()
    assert (state.nfev == 1).all()
    assert (state.nit == 0).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_not_finite_at_a_trial_is_backed_away_from(bad, dtype):
    def fun(x):  # Σ x − log x, a wall at 0 that SciPy's first steps jump over
        outside = (x <= 0).any(-1)
        f = (x - x.clamp(min=1e-30).log()).sum(-1).masked_fill(outside, bad)
        return f, (1 - 1 / x.clamp(min=1e-30)).masked_fill(outside[:, None], bad)

    x0 = torch.tensor([[3.0, 20.0, 7.0], [0.01, 0.02, 50.0]], dtype=dtype)
    infinite = torch.tensor(math.inf)
    state = run(fun, x0, -infinite, infinite, options(ftol=0.0, gtol=1e-4))
    assert torch.allclose(state.x, torch.ones_like(x0), atol=1e-3)


def test_a_wrong_gradient_ends_abnormally_where_it_began():
    def fun(x):
        f, g = rosenbrock(x)
        return f, -g

    x0 = starts(5, 4)
    state = run(fun, x0, *BOX, options())
    assert (state.stop == Stop.ABNORMAL).all()
    assert torch.equal(state.f, problems.rosenbrock(state.x))
    assert (state.f <= problems.rosenbrock(x0.clamp(*BOX))).all()


def test_limits():
    x0 = starts(4, 10)
    few = run(rosenbrock, x0, *BOX, options(maxiter=3))
    assert (few.stop == Stop.MAXITER).all()
    assert (few.nit == 3).all()
    one = run(rosenbrock, x0, *BOX, options(maxiter=0))  # as in SciPy, looked at after a step
    assert (one.nit == 1).all()
    short = run(rosenbrock, x0, *BOX, options(maxfun=5))
    assert (short.stop == Stop.MAXFUN).all()
    assert ((short.nfev > 5) & (short.nfev < 5 + 20)).all()


def test_finished_rows_are_left_alone():
    x0 = starts(6, 5)
    state = run(rosenbrock, x0, *BOX, options())
    before = take(state, torch.arange(6))
    nan = torch.full_like(state.x, math.nan)
    box = Box.of(*(bound.to(x0).expand_as(x0) for bound in BOX))
    assert same(before, rows.advance(state, nan[:, 0], nan, box, options()))


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_nothing_to_do(shape):
    x0 = torch.zeros(shape, dtype=torch.float64)
    state = run(lambda x: (x.sum(-1), torch.ones_like(x)), x0, *BOX, options())
    assert state.x.shape == shape
    assert (state.stop == Stop.GRADIENT).all()


def test_the_memory_after_it_has_wrapped():
    """Rings by slot, SY and SS by age, the newest pair's secant equation."""
    x0, given = starts(3, 12), options(maxcor=4, maxiter=17, ftol=0.0)
    memory = run(rosenbrock, x0, *BOX, given).memory
    assert (memory.held == 4).all()
    for S, Y, SY, SS, head, theta in zip(
        memory.S, memory.Y, memory.SY, memory.SS, memory.head, memory.theta, strict=True
    ):
        age = (head + torch.arange(4)) % 4
        S, Y = S[age], Y[age]
        assert torch.allclose(SY, S @ Y.mT, rtol=1e-9, atol=1e-12)
        assert torch.allclose(SS, S @ S.mT, rtol=1e-9, atol=1e-12)
        L, D = SY.tril(-1), SY.diag().diag()
        W = torch.cat([Y, theta * S]).mT
        M = torch.cat([torch.cat([-D, L.mT], 1), torch.cat([L, theta * SS], 1)]).inverse()
        B = theta * torch.eye(12, dtype=torch.float64) - W @ M @ W.mT
        assert torch.allclose(B @ S[-1], Y[-1], rtol=1e-7, atol=1e-9)


def test_the_views_follow_the_state():
    """A State that was made anew, or another box or other options, must not be run on remembered views."""
    x0 = starts(4, 6)
    box = Box.of(*(bound.to(x0).expand_as(x0) for bound in BOX))
    reference = rows.init(x0.clamp(*BOX), *rosenbrock(x0.clamp(*BOX)), box, options())
    copied = rows.init(x0.clamp(*BOX), *rosenbrock(x0.clamp(*BOX)), box, options())
    for _ in range(5):
        reference = rows.advance(reference, *rosenbrock(reference.trial), box, options())
        copied = take(copied, torch.arange(4))
        copied = copied._replace(nit=copied.nit.clone())
        fresh = Box(*(part.clone() for part in box))
        copied = rows.advance(copied, *rosenbrock(copied.trial), fresh, options())
    assert same(reference, copied)


@compiled
def test_numbers_of_any_kind_compile_once():
    rows.init(
        starts(1, 2), *rosenbrock(starts(1, 2)), Box.of(*starts(2, 2).sort(0).values.split(1)), options()
    )
    from inbounds.optim.kernels.advance import advance_rows

    before = len(advance_rows.signatures)
    run(rosenbrock, starts(2, 3), *BOX, Options(10, 0, 1, 5, 5, 5, 1))
    assert len(advance_rows.signatures) == before


def parts(state: State, names: tuple[str, ...] = State._fields) -> dict[str, torch.Tensor]:
    """Every tensor of a state by name, those of its search and memory included."""
    named = {name: getattr(state, name) for name in names}
    tensors = {name: part for name, part in named.items() if isinstance(part, torch.Tensor)}
    for part in (part for part in named.values() if not isinstance(part, torch.Tensor)):
        tensors.update(part._asdict())
    return tensors


def mixed_boxes(b: int, n: int, seed: int):
    """Starts and bounds: free rows, half-open ones, boxes, boxes with fixed variables, starts on a bound."""
    rng = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.rand(b, n, generator=rng, dtype=torch.float64) * (high - low) + low

    centre, reach, pick = uniform(-1.5, 1.5), 10 ** uniform(-1, 0.7), uniform(0, 1)
    kind = (torch.arange(b) % 5)[:, None]
    lower = torch.where((kind == 0) | (kind == 1) & (pick < 0.4), -math.inf, centre - reach)
    upper = torch.where((kind == 0) | (kind == 2) & (pick > 0.4), math.inf, centre + reach)
    upper = torch.where((kind == 4) & (pick < 0.2), lower, upper)
    box = Box.of(lower, upper)
    return uniform(-2, 2).maximum(lower).minimum(upper), box


@pytest.mark.parametrize(("n", "maxcor"), [(1, 3), (2, 2), (5, 10), (9, 5), (20, 10)])
def test_both_engines_advance_alike(n, maxcor):
    """From each state of a run, walls of NaN and lost searches included, one tick of either engine."""
    x0, box = mixed_boxes(25, n, seed=n)
    given = options(maxcor=maxcor, ftol=1e-12, gtol=1e-7, maxiter=60, maxls=4)

    def walled(x):
        f, g = problems.styblinski_tang(x) + 3 * x.prod(-1), problems.styblinski_tang_gradient(x)
        g = g + 3 * torch.stack([x[:, [j for j in range(n) if j != i]].prod(-1) for i in range(n)], -1)
        wall = x.sum(-1) > 1.5 * n
        return f.masked_fill(wall, math.nan), g

    state = rows.init(x0, *walled(x0), box, given)
    ticks = 0
    while (state.stop == Stop.RUNNING).any():
        f, g = walled(state.trial)
        theirs = lbfgsb.advance(take(state, torch.arange(25)), f, g, box, given)
        state = rows.advance(state, f, g, box, given)
        ticks += 1
        running = state.stop == Stop.RUNNING
        present = (torch.arange(maxcor) - state.memory.head[:, None]) % maxcor < state.memory.held[:, None]
        for name, ours in parts(state).items():
            other = parts(theirs)[name]
            if name in Search._fields:  # of rows that have stopped, nobody asks where the search was
                ours, other = ours[running], other[running]
            if name in ("S", "Y"):  # nor what was in a slot
                ours, other = ours[present], other[present]
            if ours.dtype.is_floating_point:
                torch.testing.assert_close(ours, other, rtol=1e-6, atol=1e-8, equal_nan=True)
            else:
                assert torch.equal(ours, other), name
    assert ticks > 8


PHIS = {
    "quadratic": lambda a: ((a - 3.0) ** 2, 2 * (a - 3.0)),
    "far": lambda a: (-a / (a**2 + 2), (a**2 - 2) / (a**2 + 2) ** 2),  # Moré & Thuente, (5.1)
    "flat": lambda a: ((a + 0.004) ** 5 - 2 * (a + 0.004) ** 4, 5 * (a + 0.004) ** 4 - 8 * (a + 0.004) ** 3),
    "wavy": lambda a: (-a - 0.3 * math.sin(7 * a), -1 - 2.1 * math.cos(7 * a)),
    "steep": lambda a: (math.exp(min(3 * a, 90)) - 40 * a, 3 * math.exp(min(3 * a, 90)) - 40),
    "kinked": lambda a: (abs(a - 0.37) + 0.1 * a, math.copysign(1, a - 0.37) + 0.1),
    "downhill": lambda a: (-math.log1p(a), -1 / (1 + a)),
}


@pytest.mark.parametrize("first", [1e-3, 0.1, 1.0, 10.0, 1e3])
@pytest.mark.parametrize("name", PHIS)
def test_searches_as_dcsrch(name, first):
    """Every step that MINPACK's search asks for. In one variable the first direction is of length 1."""
    phi = PHIS[name]
    asked, expected = [0.0], [0.0]

    def evaluated(x):
        f, g = phi(x.item())
        return x.new_full((1,), f), x.new_full((1, 1), g)

    x0 = torch.zeros(1, 1, dtype=torch.float64)
    box = Box.of(x0 - math.inf, x0 + math.inf)
    given = options(maxiter=1, gtol=0.0, first_step=first)
    state = rows.init(x0, *evaluated(x0), box, given)
    while state.stop.item() == Stop.RUNNING:
        asked.append(state.trial.item())
        state = rows.advance(state, *evaluated(state.trial), box, given)

    def value(a):
        expected.append(a)
        return phi(a)[0]

    f0, slope0 = phi(0.0)
    search = DCSRCH(value, lambda a: phi(a)[1], 1e-3, 0.9, 0.1, 0.0, 1e10 * -slope0)
    search(first, phi0=f0, derphi0=slope0, maxiter=given.maxls)
    assert len(asked) > 1
    assert state.stop.item() == Stop.MAXITER
    assert asked == pytest.approx(expected, rel=1e-9)
