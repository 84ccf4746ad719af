"""`minimize`: its fine print, with problems small enough to follow by hand."""

import itertools

import numpy as np
import pytest
import scipy.optimize
import torch

import inbounds
from inbounds.optim import engine, lbfgsb, rows
from inbounds.optim import minimize as minimize_module
from inbounds.optim.batch import Batch
from problems import named, rosenbrock, rosenbrock_gradient

F64 = torch.float64


class Counted:
    """A function that keeps every point it is asked about."""

    def __init__(self, fun):
        self.fun, self.points, self.args = fun, [], []

    def __call__(self, x, *args):
        self.points.append(x.detach().clone())
        self.args.append(args)
        return self.fun(x, *args)


@pytest.fixture
def starts(rng):
    return torch.rand(12, 5, generator=rng, dtype=F64) * 4 - 2


def same_answers(one, other, rtol=0.0, atol=1e-10):
    assert torch.equal(one.nit, other.nit)
    assert torch.equal(one.nfev, other.nfev)
    torch.testing.assert_close(one.x, other.x, rtol=rtol, atol=atol)


# What fun sees


def test_one_problem_sees_a_vector_and_returns_a_scalar():
    fun = Counted(lambda x: (x[0] - 1) ** 2 + (x[1:] ** 2).sum())
    result = inbounds.minimize(fun, torch.ones(3))
    assert {point.shape for point in fun.points} == {(3,)}
    assert result.success


def test_a_batch_sees_its_own_shape_whatever_has_finished(starts):
    x0 = starts.view(3, 4, 5)
    centre = torch.arange(12.0, dtype=F64).view(3, 4, 1)
    fun = Counted(lambda x: rosenbrock(x) + ((x - centre) ** 2).sum(-1))  # closes over per-row data
    result = inbounds.minimize(fun, x0, (-2.0, 2.0))
    assert {point.shape for point in fun.points} == {(3, 4, 5)}
    alone = [
        inbounds.minimize(lambda x, c=c: rosenbrock(x) + ((x - c) ** 2).sum(-1), row, (-2.0, 2.0))
        for row, c in zip(x0.view(12, 5), centre.view(12), strict=True)
    ]
    assert result.nit.flatten().tolist() == [int(one.nit) for one in alone]
    torch.testing.assert_close(
        result.x.view(12, 5), torch.stack([one.x for one in alone]), atol=1e-10, rtol=0
    )


def test_batch_args_are_flattened_and_only_the_running_rows_are_evaluated(starts):
    x0 = starts.view(3, 4, 5)
    centre = torch.arange(12.0, dtype=F64).view(3, 4)
    names = torch.arange(12).view(3, 4)

    def distance(x, centre, names):
        return rosenbrock(x) + ((x - centre[:, None]) ** 2).sum(-1)

    fun = Counted(distance)
    result = inbounds.minimize(fun, x0, (-2.0, 2.0), batch_args=(centre, names))
    evaluations = torch.zeros(12, dtype=torch.int64)
    for _, seen in fun.args:
        assert seen.ndim == 1
        evaluations[seen] += 1
    assert torch.equal(evaluations, result.nfev.flatten())  # not one more
    assert {point.shape[1:] for point in fun.points} == {(5,)}
    assert len(fun.points) == int(result.nfev.max())


def test_args_come_before_batch_args_and_a_lone_one_needs_no_tuple():
    fun = Counted(lambda x, scale, centre: scale * ((x - centre) ** 2).sum(-1))
    centre = torch.tensor([[1.0], [2.0]])
    result = inbounds.minimize(fun, torch.zeros(2, 1), args=3.0, batch_args=centre)
    torch.testing.assert_close(result.x, centre)
    assert fun.args[0][0] == 3.0


def test_batch_args_of_one_problem_pass_unchanged():
    target = torch.tensor([1.0, -2.0, 3.0])
    result = inbounds.minimize(lambda x, t: ((x - t) ** 2).sum(), torch.zeros(3), batch_args=(target,))
    torch.testing.assert_close(result.x, target)


# Gradients


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_the_three_forms_of_jac_agree(batch, rng):
    x0 = torch.rand(*batch, 4, generator=rng, dtype=F64)
    ways = {
        "autograd": {"fun": rosenbrock},
        "together": {"fun": lambda x: (rosenbrock(x), rosenbrock_gradient(x)), "jac": True},
        "apart": {"fun": rosenbrock, "jac": rosenbrock_gradient},
    }
    results = [inbounds.minimize(x0=x0, bounds=(0.0, 0.9), **way) for way in ways.values()]
    for other in results[1:]:
        same_answers(results[0], other)


def test_jac_sees_what_fun_sees():
    scale, centre = 2.0, torch.tensor([[1.0], [2.0]])
    jac = Counted(lambda x, scale, centre: 2 * scale * (x - centre))
    inbounds.minimize(
        lambda x, scale, centre: scale * ((x - centre) ** 2).sum(-1),
        torch.zeros(2, 1),
        args=(scale,),
        batch_args=(centre,),
        jac=jac,
    )
    assert jac.args[0][0] == scale
    assert torch.equal(jac.args[0][1], centre)


@pytest.mark.parametrize("jac", [None, True, rosenbrock_gradient], ids=["autograd", "together", "apart"])
def test_a_function_may_write_into_what_it_is_given(jac):
    def scribbling(x):
        value, gradient = rosenbrock(x), rosenbrock_gradient(x.detach())
        x.mul_(0)
        return (value, gradient) if jac is True else value

    if callable(jac):

        def jac(x):
            gradient = rosenbrock_gradient(x)
            x.zero_()
            return gradient

    x0 = torch.full((3,), 0.3, dtype=F64)
    result = inbounds.minimize(
        scribbling if jac is not None else lambda x: rosenbrock(x.mul_(1)), x0, jac=jac
    )
    same_answers(result, inbounds.minimize(rosenbrock, x0))


def test_a_function_may_return_the_same_tensors_each_time():
    value, gradient = torch.zeros((), dtype=F64), torch.zeros(3, dtype=F64)

    def reusing(x):
        value.copy_(rosenbrock(x))
        gradient.copy_(rosenbrock_gradient(x))
        return value, gradient

    x0 = torch.full((3,), 0.3, dtype=F64)
    same_answers(inbounds.minimize(reusing, x0, jac=True), inbounds.minimize(rosenbrock, x0))


def test_gradients_of_another_dtype_are_taken():
    result = inbounds.minimize(
        lambda x: (rosenbrock(x).float(), rosenbrock_gradient(x).float()), torch.zeros(2).double(), jac=True
    )
    assert result.x.dtype == F64
    torch.testing.assert_close(result.x, torch.ones(2).double(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_runs_in_every_autograd_mode(mode):
    with mode():
        network = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
        centre = torch.ones(3, dtype=F64)
        inside = inbounds.minimize(
            lambda x: network(x).square().sum() + ((x - centre) ** 2).sum(),
            torch.zeros(3).double(),
            (0.0, 0.5),
        )
    assert inside.success
    outside = inbounds.minimize(
        lambda x: network(x).square().sum() + ((x - centre) ** 2).sum(), torch.zeros(3).double(), (0.0, 0.5)
    )
    same_answers(inside, outside)


@pytest.mark.parametrize("batch_args", [(), (torch.ones(6, dtype=F64),)])
def test_batches_run_in_inference_mode(batch_args, starts):
    def fun(x, scale=1.0):
        return rosenbrock(x) * scale

    with torch.inference_mode():
        inside = inbounds.minimize(fun, starts[:6].clone(), (-1.0, 2.0), batch_args=batch_args)
    same_answers(inside, inbounds.minimize(fun, starts[:6], (-1.0, 2.0), batch_args=batch_args))


def test_old_style_autograd_functions_work():
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return (x * x).sum()

        @staticmethod
        def backward(ctx, grad):
            return 2 * ctx.saved_tensors[0] * grad

    for mode in (torch.inference_mode, torch.enable_grad):
        with mode():
            assert inbounds.minimize(Square.apply, torch.ones(3)).success


# Batches


def test_a_batch_is_its_problems_one_by_one(starts):
    together = inbounds.minimize(rosenbrock, starts, (-2.0, 2.0))
    for i, row in enumerate(starts):
        alone = inbounds.minimize(rosenbrock, row, (-2.0, 2.0))
        assert (int(together.nit[i]), int(together.nfev[i])) == (int(alone.nit), int(alone.nfev))
        torch.testing.assert_close(together.x[i], alone.x, atol=1e-10, rtol=0)
        torch.testing.assert_close(
            together.hess_inv.todense()[i], alone.hess_inv.todense(), atol=1e-6, rtol=1e-6
        )


def test_permuted_rows_give_permuted_results(starts, rng):
    order = torch.randperm(len(starts), generator=rng)
    straight = inbounds.minimize(rosenbrock, starts, (-2.0, 2.0))
    permuted = inbounds.minimize(rosenbrock, starts[order], (-2.0, 2.0))
    assert torch.equal(permuted.nfev, straight.nfev[order])
    torch.testing.assert_close(permuted.x, straight.x[order], atol=1e-10, rtol=0)


@pytest.mark.parametrize("with_args", [False, True])
def test_a_nan_row_touches_no_other(starts, with_args):
    poisoned = torch.arange(12) == 5

    def fun(x, bad=poisoned):
        return torch.where(bad, torch.nan, rosenbrock(x))

    batch_args = (poisoned,) if with_args else ()
    clean = inbounds.minimize(rosenbrock, starts, (-2.0, 2.0))
    result = inbounds.minimize(fun, starts, (-2.0, 2.0), batch_args=batch_args)
    others = ~poisoned
    assert torch.equal(result.nfev[others], clean.nfev[others])
    assert torch.equal(result.x[others], clean.x[others])
    assert int(result.status[5]) == 3
    assert torch.equal(result.x[5], starts[5].clamp(-2, 2))
    assert int(result.nfev[5]) == 1


def test_rows_may_have_bounds_of_their_own():
    upper = torch.arange(4.0)[:, None]
    result = inbounds.minimize(lambda x: ((x - 10) ** 2).sum(-1), torch.zeros(4, 3), (None, upper))
    assert torch.equal(result.x, upper.expand(4, 3))


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3)])
def test_an_empty_batch_asks_nothing(shape):
    fun = Counted(rosenbrock)
    result = inbounds.minimize(fun, torch.zeros(shape))
    assert result.x.shape == shape
    assert result.fun.shape == result.success.shape == shape[:-1]
    assert result.message == torch.zeros(shape[:-1]).tolist()
    assert not fun.points


@pytest.mark.parametrize("shape", [(0,), (3, 0)])
def test_no_variables_is_converged_at_once(shape):
    result = inbounds.minimize(lambda x: x.sum(-1) + 1, torch.zeros(shape))
    assert result.success.all()
    assert (result.fun == 1).all()


# Points and bounds


def test_every_evaluated_point_is_inside_to_the_bit(starts):
    lower, upper = torch.tensor(-0.1, dtype=F64), torch.tensor(1 / 3, dtype=F64)
    fun = Counted(lambda x: rosenbrock(x) + 1e3 * torch.sin(50 * x).sum(-1))
    inbounds.minimize(fun, 100 * starts, (lower, upper))
    for point in fun.points:
        assert bool(((point >= lower) & (point <= upper)).all())


def test_the_answer_is_the_value_at_its_point(starts):
    result = inbounds.minimize(rosenbrock, starts, (-2.0, 0.7))
    torch.testing.assert_close(result.fun, rosenbrock(result.x), rtol=1e-12, atol=0)
    torch.testing.assert_close(result.jac, rosenbrock_gradient(result.x), rtol=1e-9, atol=1e-9)


def test_the_answer_is_the_value_at_its_point_when_the_search_fails():
    # A gradient of the wrong sign: every search fails. SciPy 1.15 and later give a rejected trial's value.
    result = inbounds.minimize(rosenbrock, torch.zeros(2).double(), jac=lambda x: -rosenbrock_gradient(x))
    assert result.status == 2
    assert not result.success
    assert torch.equal(result.x, torch.zeros(2).double())
    assert result.fun == rosenbrock(result.x)


def test_a_limit_leaves_value_and_point_together():
    for maxfun in range(1, 12):
        result = inbounds.minimize(rosenbrock, torch.tensor([-1.2, 1.0]).double(), maxfun=maxfun)
        assert result.fun == rosenbrock(result.x)


def test_neither_start_nor_bounds_are_changed():
    x0, lower, upper = torch.full((2, 3), 5.0), torch.zeros(3), torch.ones(2, 1)
    before = [part.clone() for part in (x0, lower, upper)]
    result = inbounds.minimize(lambda x: ((x - 0.5) ** 2).sum(-1), x0, (lower, upper))
    result.x.zero_()
    for part, copy in zip((x0, lower, upper), before, strict=True):
        assert torch.equal(part, copy)


@pytest.mark.parametrize(
    "bounds",
    [
        (0, 1),
        (np.zeros(2), np.ones(2)),
        (torch.tensor([0, 0]), torch.tensor(1)),
        scipy.optimize.Bounds(0, [1, 1]),
        scipy.optimize.Bounds([0, 0], 1),
        (torch.zeros(2, requires_grad=True), 1.0),
    ],
)
def test_the_same_box_in_many_spellings(bounds):
    result = inbounds.minimize(
        lambda x: ((x - torch.tensor([-1.0, 2.0])) ** 2).sum(), torch.full((2,), 0.5), bounds
    )
    assert torch.equal(result.x, torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize(
    "bounds", [None, (None, None), (-torch.inf, None), (None, torch.full((2,), torch.inf))]
)
def test_no_bounds_in_many_spellings(bounds):
    assert int(inbounds.minimize(rosenbrock, torch.zeros(2).double(), bounds).nit) == 21


def test_float32_converges_by_its_own_precision():
    result = inbounds.minimize(rosenbrock, torch.full((3, 10), 0.5), (-2.0, 2.0))
    assert result.x.dtype == result.fun.dtype == result.jac.dtype == torch.float32
    assert result.success.all()
    assert (result.nfev < 200).all()
    torch.testing.assert_close(result.x, torch.ones(3, 10), atol=5e-2, rtol=0)


def test_non_contiguous_starts_are_taken(rng):
    x0 = torch.rand(5, 4, generator=rng, dtype=F64).mT
    same_answers(inbounds.minimize(rosenbrock, x0), inbounds.minimize(rosenbrock, x0.contiguous()))


def test_a_start_that_requires_grad_is_only_a_start():
    x0 = torch.nn.Parameter(torch.zeros(2))
    result = inbounds.minimize(rosenbrock, x0)
    assert not result.x.requires_grad
    assert x0.grad is None


# Stops


@pytest.mark.parametrize(("maxiter", "nit"), [(0, 1), (1, 1), (5, 5)])
def test_maxiter_is_scipys(maxiter, nit):
    result = inbounds.minimize(rosenbrock, torch.tensor([-1.2, 1.0]).double(), maxiter=maxiter)
    assert int(result.nit) == nit
    assert int(result.status) == 1
    assert result.message == "STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT"


@pytest.mark.parametrize("maxfun", [0, 1, 3, 8, 20])
def test_maxfun_is_looked_at_between_iterations_as_in_scipy(maxfun):
    x0 = torch.tensor([-1.2, 1.0]).double()
    fun = Counted(rosenbrock)
    result = inbounds.minimize(fun, x0, maxfun=maxfun)
    theirs = scipy.optimize.minimize(
        scipy.optimize.rosen, x0, jac=scipy.optimize.rosen_der, method="L-BFGS-B", options={"maxfun": maxfun}
    )
    assert (int(result.nfev), int(result.nit)) == (theirs.nfev, theirs.nit)
    assert len(fun.points) == theirs.nfev
    assert result.message == theirs.message


def test_a_minimum_at_the_start_costs_one_evaluation():
    fun = Counted(rosenbrock)
    result = inbounds.minimize(fun, torch.ones(4))
    assert (int(result.nit), int(result.nfev), len(fun.points)) == (0, 1, 1)
    assert result.success


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_not_finite_at_the_start_fails_at_once(value):
    fun = Counted(lambda x: x.sum() * 0 + value)
    result = inbounds.minimize(fun, torch.ones(2))
    assert int(result.status) == 3
    assert len(fun.points) == 1
    assert "NOT FINITE" in result.message
    assert torch.equal(result.x, torch.ones(2))


@pytest.mark.parametrize("outside", [torch.inf, torch.nan])
def test_not_finite_at_a_trial_is_backed_away_from(outside):
    def fun(x):
        return torch.where(x > 0, x - torch.log(x.clamp(min=1e-300)), outside).sum()

    result = inbounds.minimize(fun, torch.full((3,), 0.01, dtype=F64))
    assert result.success
    torch.testing.assert_close(result.x, torch.ones(3).double(), atol=1e-4, rtol=0)


# Callbacks


def test_the_callback_of_one_problem_is_called_once_an_iteration():
    seen = []
    result = inbounds.minimize(rosenbrock, torch.zeros(3).double(), callback=seen.append)
    assert [int(one.nit) for one in seen] == list(range(1, int(result.nit) + 1))
    values = [float(one.fun) for one in seen]
    assert all(later <= earlier for earlier, later in itertools.pairwise(values))
    for one in seen:
        assert float(one.fun) == float(rosenbrock(one.x))
    assert torch.equal(seen[-1].x, result.x)


def test_the_callback_of_a_batch_sees_every_row(starts):
    seen = []
    result = inbounds.minimize(
        lambda x, scale: scale * rosenbrock(x),
        starts,
        (-2.0, 2.0),
        batch_args=torch.ones(12, dtype=F64),
        callback=seen.append,
    )
    for earlier, later in itertools.pairwise(seen):
        assert bool((later.fun <= earlier.fun).all())
        assert bool((later.nit > earlier.nit).any())
    assert all(one.x.shape == starts.shape for one in seen)
    assert torch.equal(seen[-1].nit, result.nit)
    assert int(seen[0].status.min()) == -1


def test_a_callback_may_write_into_what_it_is_given():
    x0 = torch.zeros(3).double()
    result = inbounds.minimize(rosenbrock, x0, callback=lambda one: [one.x.zero_(), one.jac.zero_()])
    same_answers(result, inbounds.minimize(rosenbrock, x0))


@pytest.mark.parametrize("after", [1, 4])
def test_stop_iteration_ends_with_its_own_status(after):
    def stop(result):
        if result.nit >= after:
            raise StopIteration

    result = inbounds.minimize(rosenbrock, torch.zeros(3).double(), callback=stop)
    assert int(result.nit) == after
    assert int(result.status) == 99
    assert result.message == "`callback` raised `StopIteration`."
    assert float(result.fun) == float(rosenbrock(result.x))


def test_stop_iteration_ends_every_running_row(starts):
    starts[0] = 1.0  # already at the minimum

    def stop(result):
        if result.nit.max() >= 3:
            raise StopIteration

    result = inbounds.minimize(rosenbrock, starts, (-2.0, 2.0), callback=stop)
    assert int(result.status[0]) == 0
    assert result.status[1:].tolist() == [99] * 11


def test_an_error_of_the_callback_or_of_fun_passes_through():
    def broken(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        inbounds.minimize(rosenbrock, torch.zeros(3), callback=broken)
    with pytest.raises(ZeroDivisionError):
        inbounds.minimize(broken, torch.zeros(3))


# How the rows are worked


def test_finished_rows_leave_the_state(monkeypatch):
    widths = []
    tick = Batch.tick

    def watched(self):
        widths.append(self.state.x.shape[0])
        tick(self)

    monkeypatch.setattr(Batch, "tick", watched)
    x0 = torch.ones(64, 2, dtype=F64)
    x0[:8] = torch.linspace(-1.5, -1, 8, dtype=F64)[:, None]
    x0[8:] += 1e-3
    inbounds.minimize(rosenbrock, x0)
    assert widths[0] == 64
    assert widths[-1] < 8
    assert widths == sorted(widths, reverse=True)


@pytest.fixture
def on_tensors(monkeypatch):
    """Have the tensor engine do the work, as it does on a GPU."""
    monkeypatch.setattr(engine, "of", lambda x: lbfgsb)


def test_both_engines_give_the_same_answers(starts, on_tensors, monkeypatch):
    x0, centre = starts[:4], torch.arange(4.0, dtype=F64)

    def solve():
        return inbounds.minimize(
            lambda x, c: rosenbrock(x) + ((x - c[:, None]) ** 2).sum(-1), x0, (-1.0, 2.0), batch_args=centre
        )

    tensors = solve()
    monkeypatch.setattr(engine, "of", lambda x: rows)
    same_answers(tensors, solve())


@pytest.mark.parametrize("batch_args", [(), (torch.zeros(4),)])
def test_looking_at_the_rows_only_now_and_then_changes_no_answer(starts, on_tensors, batch_args, monkeypatch):
    looks = []
    look = Batch.look
    monkeypatch.setattr(Batch, "look", lambda self: looks.append(1) or look(self))

    def solve():
        return inbounds.minimize(
            lambda x, *_: rosenbrock(x), starts[:4], (-1.0, 2.0), batch_args=batch_args, maxiter=20
        )

    always, often = solve(), len(looks)
    monkeypatch.setattr(minimize_module, "ticks_between_looks", lambda device: 8)
    same_answers(always, solve())
    assert len(looks) - often <= often // 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("with_args", [False, True])
def test_a_gpu_gives_the_cpus_answers(starts, with_args):
    batch_args = (torch.arange(12.0, dtype=F64),) if with_args else ()

    def fun(x, shift=0.0):
        return rosenbrock(x) + (torch.as_tensor(shift, device=x.device)[..., None] * x**2).sum(-1)

    cpu = inbounds.minimize(fun, starts, (-1.0, 2.0), batch_args=batch_args)
    gpu = inbounds.minimize(
        fun, starts.cuda(), (-1.0, 2.0), batch_args=tuple(arg.cuda() for arg in batch_args)
    )
    assert gpu.x.is_cuda
    torch.testing.assert_close(gpu.x.cpu(), cpu.x, atol=1e-4, rtol=0)
    assert bool(gpu.success.all())
    assert gpu.hess_inv.todense().is_cuda


def test_one_problem_takes_no_more_evaluations_than_it_reports():
    for name in ("driver1", "rosenbrock-20", "hs45", "linear", "log-barrier"):
        problem = named(name)
        fun = Counted(problem.fun)
        result = inbounds.minimize(fun, problem.x0, problem.bounds, **problem.options)
        assert len(fun.points) == int(result.nfev)


# Misuse


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"x0": torch.zeros(3, dtype=torch.int64)}, TypeError, "x0 must have a real floating-point dtype"),
        (
            {"x0": torch.zeros(3, dtype=torch.complex64)},
            TypeError,
            "x0 must have a real floating-point dtype",
        ),
        ({"x0": torch.zeros(3, dtype=torch.float16)}, TypeError, "x0 must be float32 or float64"),
        ({"x0": torch.tensor(1.0)}, ValueError, "x0 must have at least 1 dimension"),
        ({"x0": [0.0, 0.0]}, TypeError, "x0 must be a torch.Tensor"),
        ({"fun": 3}, TypeError, "fun must be callable"),
        ({"fun": lambda x: x}, ValueError, r"fun's value must have shape \(\)"),
        ({"fun": lambda x: x.sum(0, keepdim=True)}, ValueError, r"fun's value must have shape \(\)"),
        ({"fun": lambda x: x.sum().item()}, TypeError, "fun's value must be a real tensor"),
        ({"fun": lambda x: x.sum().detach()}, ValueError, "got a detached tensor"),
        ({"fun": lambda x: torch.tensor(1.0)}, ValueError, "got a detached tensor"),
        ({"fun": lambda x: torch.ones(1, requires_grad=True).sum()}, ValueError, "depends on x"),
        ({"fun": lambda x: x.sum() * 1j}, TypeError, "fun's value must be a real tensor"),
        ({"fun": lambda x: x.sum(), "jac": True}, TypeError, "must return .value, gradient."),
        ({"jac": lambda x: x[:2]}, ValueError, r"jac's gradient must have shape \(3,\)"),
        ({"jac": lambda x: 1.0}, TypeError, "jac's gradient must be a real tensor"),
        ({"jac": "2-point"}, TypeError, "jac must be None"),
        ({"bounds": [(0, 1), (0, None), (0, 1)]}, TypeError, r"tuple of two.*torch.tensor\(\[1.0"),
        ({"bounds": ((0, 1), (0, 1))}, TypeError, "tuple of two"),
        ({"bounds": 3.0}, TypeError, "tuple of two"),
        ({"bounds": (0.0, "1")}, TypeError, "tuple of two"),
        ({"bounds": (0.0, object())}, TypeError, "upper must be None, a number or a tensor"),
        ({"bounds": (1.0, 0.0)}, ValueError, "lower must not exceed upper; violated at 3 of 3"),
        ({"bounds": (torch.nan, 0.0)}, ValueError, "lower must not be NaN"),
        ({"bounds": (0.0, torch.tensor([1.0, torch.nan, 1.0]))}, ValueError, "upper must not be NaN.*1 of 3"),
        ({"bounds": (torch.zeros(2), None)}, ValueError, "lower must broadcast to the shape of x0"),
        ({"bounds": (torch.zeros(3) * 1j, None)}, TypeError, "lower must be real"),
        ({"batch_args": (3.0,)}, TypeError, r"batch_args\[0\] must be a torch.Tensor"),
        ({"maxcor": 0}, ValueError, "maxcor must be at least 1"),
        ({"maxls": 0}, ValueError, "maxls must be at least 1"),
        ({"maxiter": -1}, ValueError, "maxiter must be at least 0"),
        ({"maxfun": 1.5}, TypeError, "maxfun must be an integer"),
        ({"ftol": -1e-3}, ValueError, "ftol must be at least 0"),
        ({"gtol": torch.nan}, ValueError, "gtol must be finite"),
        ({"callback": 3}, TypeError, "callback must be callable"),
    ],
)
def test_misuse_is_one_clear_sentence(change, error, words):
    arguments = {"fun": lambda x: (x**2).sum(-1), "x0": torch.ones(3), **change}
    with pytest.raises(error, match=words) as raised:
        inbounds.minimize(**arguments)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_a_detached_value_is_noticed_in_every_mode(mode):
    with mode():
        weight = torch.ones(3)
        for fun in (lambda x: x.detach().sum(), lambda x: (weight * x.detach()).sum()):
            with pytest.raises(ValueError, match="detached"):
                inbounds.minimize(fun, torch.ones(3))


def test_batch_misuse_names_the_argument():
    with pytest.raises(ValueError, match=r"batch_args\[1\] must have the batch's leading dimensions, \(4,\)"):
        inbounds.minimize(rosenbrock, torch.zeros(4, 3), batch_args=(torch.zeros(4), torch.zeros(3)))
    with pytest.raises(ValueError, match=r"fun's value must have shape \(4,\)"):
        inbounds.minimize(lambda x: rosenbrock(x).sum(), torch.zeros(4, 3))
