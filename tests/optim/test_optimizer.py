"""`LBFGSB`: torch.optim.LBFGS's habits, inside a box."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

import inbounds
from problems import named, rosenbrock


def parameter(*values, dtype=torch.float64):
    return nn.Parameter(torch.tensor(values, dtype=dtype))


def closure_of(optimizer, loss_of, calls=None):
    """A closure in the usual form; `calls` collects the parameters it was evaluated at."""

    def closure():
        optimizer.zero_grad()
        if calls is not None:
            calls.append([p.detach().clone() for group in optimizer.param_groups for p in group["params"]])
        loss = loss_of()
        loss.backward()
        return loss

    return closure


def rosenbrock_run(n=8, **options):
    """A parameter in the middle of the Rosenbrock valley, its optimiser in [-2, 2], and a closure."""
    w = nn.Parameter(torch.full((n,), 0.5, dtype=torch.float64))
    optimizer = inbounds.LBFGSB([w], lower=-2.0, upper=2.0, **options)
    return w, optimizer, closure_of(optimizer, lambda: rosenbrock(w))


# What a step does


def test_one_long_step_solves_and_takes_minimizes_path():
    w, optimizer, closure = rosenbrock_run(
        max_iter=1000, max_eval=2000, tolerance_grad=1e-5, tolerance_change=0
    )
    optimizer.step(closure)
    reference = inbounds.minimize(rosenbrock, torch.full((8,), 0.5).double(), (-2.0, 2.0), ftol=0.0)
    torch.testing.assert_close(w.detach(), reference.x, rtol=0, atol=0)
    assert optimizer.state[w]["n_iter"] == int(reference.nit)
    assert optimizer.state[w]["func_evals"] == int(reference.nfev)


def test_step_returns_the_first_loss_as_the_closure_returned_it():
    w, optimizer, closure = rosenbrock_run()
    expected = rosenbrock(w.detach())
    first = optimizer.step(closure)
    assert isinstance(first, torch.Tensor)
    assert float(first.detach()) == float(expected)
    assert float(closure().detach()) < float(expected)


def test_a_closure_may_return_a_float():
    w, optimizer, closure = rosenbrock_run()
    assert isinstance(optimizer.step(lambda: closure().item()), float)
    assert float(rosenbrock(w.detach())) < 1


@pytest.mark.parametrize("max_iter", [1, 3, 10])
def test_max_iter_iterations_a_step(max_iter):
    w, optimizer, closure = rosenbrock_run(max_iter=max_iter, max_eval=1000)
    optimizer.step(closure)
    assert optimizer.state[w]["n_iter"] == max_iter
    optimizer.step(closure)
    assert optimizer.state[w]["n_iter"] == 2 * max_iter


@pytest.mark.parametrize("max_eval", [1, 4, 10])
def test_max_eval_is_passed_by_at_most_one_line_search(max_eval):
    calls = []
    w = parameter(-1.2, 1.0)
    optimizer = inbounds.LBFGSB([w], max_eval=max_eval, max_iter=100)
    optimizer.step(closure_of(optimizer, lambda: rosenbrock(w), calls))
    assert len(calls) == optimizer.state[w]["func_evals"]
    assert max_eval <= len(calls) < max_eval + 20


def test_steps_of_one_iteration_learn_from_each_other():
    _, optimizer, closure = rosenbrock_run(max_iter=1)
    for _ in range(60):
        loss = optimizer.step(closure)
    assert float(loss.detach()) < 1e-10  # steepest descent is still above 1e-2 here


def test_at_a_minimum_only_the_loss_is_evaluated():
    calls = []
    w = parameter(1.0, 1.0)
    optimizer = inbounds.LBFGSB([w], lower=0.0, upper=2.0)
    optimizer.step(closure_of(optimizer, lambda: rosenbrock(w), calls))
    assert len(calls) == 1


def test_tolerance_change_is_absolute_and_stops_a_step():
    for tolerance, iterations in ((1e9, 1), (0.0, 20)):
        w, optimizer, closure = rosenbrock_run(tolerance_change=tolerance, max_eval=1000)
        optimizer.step(closure)
        assert optimizer.state[w]["n_iter"] == iterations


def test_a_small_lr_shortens_the_first_trial():
    first_moves = []
    for lr in (1.0, 0.1):
        w, optimizer, _ = rosenbrock_run(lr=lr)
        calls = []
        optimizer.step(closure_of(optimizer, lambda w=w: rosenbrock(w), calls))
        first_moves.append(float((calls[1][0] - calls[0][0]).norm()))
    assert first_moves[1] == pytest.approx(0.1 * first_moves[0])


def test_maximize_climbs():
    w = parameter(0.2, 0.2)
    optimizer = inbounds.LBFGSB([w], lower=-1.0, upper=torch.tensor([0.5, 3.0]), maximize=True)
    loss = optimizer.step(closure_of(optimizer, lambda: -((w - 1) ** 2).sum()))
    assert float(loss.detach()) == pytest.approx(-1.28)
    torch.testing.assert_close(w.detach(), torch.tensor([0.5, 1.0]).double())


# Bounds and parameters


def test_every_closure_sees_parameters_inside_their_bounds():
    w, b, free = parameter(50.0, -50.0), nn.Parameter(torch.full((2, 3), 9.0).double()), parameter(7.0)
    lower = torch.tensor([-0.1, 1 / 3], dtype=torch.float64)
    optimizer = inbounds.LBFGSB(
        [{"params": [w], "lower": lower, "upper": 2.0}, {"params": [b], "upper": 0.7}, {"params": [free]}]
    )
    calls = []

    def loss():
        return rosenbrock(torch.cat([w, b.flatten(), free])) + torch.sin(30 * w).sum()

    for _ in range(3):
        optimizer.step(closure_of(optimizer, loss, calls))
    for seen_w, seen_b, _ in calls:
        assert bool(((seen_w >= lower) & (seen_w <= 2.0)).all())
        assert bool((seen_b <= 0.7).all())
    assert calls[0][0].tolist() == [2.0, 1 / 3]  # the start, moved into the box
    assert calls[0][2].tolist() == [7.0]


def test_bounds_belong_to_groups_with_the_defaults_for_the_rest():
    w, b = parameter(5.0), parameter(5.0)
    optimizer = inbounds.LBFGSB([{"params": [w], "lower": 1.0}, {"params": [b]}], lower=-1.0)
    optimizer.step(closure_of(optimizer, lambda: (w**2 + (b + 3) ** 2).sum()))
    assert (w.item(), b.item()) == (1.0, -1.0)


def test_bounds_that_change_between_steps_are_kept():
    w = parameter(0.9)
    optimizer = inbounds.LBFGSB([w], upper=1.0)
    closure = closure_of(optimizer, lambda: ((w - 3) ** 2).sum())
    optimizer.step(closure)
    assert w.item() == 1.0
    optimizer.param_groups[0]["upper"] = 0.5
    optimizer.step(closure)
    assert w.item() == 0.5


def test_mixed_shapes_are_one_problem():
    problem = named("rosenbrock-10")
    pieces = problem.x0[0], problem.x0[1:7].view(2, 3), problem.x0[7:]
    a, b, c = (nn.Parameter(piece.clone()) for piece in pieces)
    optimizer = inbounds.LBFGSB([a, b, c], lower=-2.0, upper=2.0, max_iter=100, tolerance_grad=1e-5)
    optimizer.step(closure_of(optimizer, lambda: problem.fun(torch.cat([a.view(1), b.flatten(), c]))))
    torch.testing.assert_close(b.detach(), torch.ones(2, 3).double(), atol=1e-4, rtol=0)


def test_non_contiguous_parameters_are_written_in_place():
    base = torch.zeros(3, 2, dtype=torch.float64)
    w = nn.Parameter(base.mT)
    optimizer = inbounds.LBFGSB([w], upper=1.0)
    optimizer.step(closure_of(optimizer, lambda: ((w - torch.arange(6.0).view(2, 3)) ** 2).sum()))
    assert base.data_ptr() == w.data_ptr()
    torch.testing.assert_close(w.detach(), torch.arange(6.0).view(2, 3).clamp(max=1).double())


def test_a_parameter_without_gradient_stays():
    w, idle = parameter(3.0), parameter(7.0)
    optimizer = inbounds.LBFGSB([w, idle])
    optimizer.step(closure_of(optimizer, lambda: (w**2).sum()))
    assert idle.item() == 7.0
    assert w.item() == pytest.approx(0, abs=1e-6)


def test_sparse_gradients_are_densified():
    table = nn.Embedding(4, 2, sparse=True).double()
    optimizer = inbounds.LBFGSB(table.parameters(), lower=-0.5, upper=0.5)
    used = torch.tensor([0, 2])
    optimizer.step(closure_of(optimizer, lambda: ((table(used) - 2) ** 2).sum()))
    assert bool((table.weight[used] == 0.5).all())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_every_real_dtype_stays_in_its_own_box(dtype):
    w = parameter(3.0, -3.0, 0.0, dtype=dtype)
    optimizer = inbounds.LBFGSB([w], lower=-0.7, upper=0.3)
    calls = []
    optimizer.step(closure_of(optimizer, lambda: ((w - torch.tensor([1, -1, 0.1])) ** 2).sum(), calls))
    bounds = torch.tensor([-0.7, 0.3], dtype=dtype)
    for (seen,) in calls:
        assert seen.dtype == dtype
        assert bool(((seen >= bounds[0]) & (seen <= bounds[1])).all())
    assert w[0] == bounds[1]
    assert w[1] == bounds[0]
    assert float(w[2].detach()) == pytest.approx(0.1, rel=1e-2)


def test_float32_and_float64_parameters_together():
    w, b = parameter(3.0, dtype=torch.float32), parameter(3.0)
    optimizer = inbounds.LBFGSB([w, b], lower=1.0)
    optimizer.step(closure_of(optimizer, lambda: ((w - 2) ** 2 + b**2).sum()))
    assert (w.dtype, b.dtype) == (torch.float32, torch.float64)
    assert (w.item(), b.item()) == (pytest.approx(2.0), 1.0)


# State


def test_state_dict_resumes_exactly():
    w, optimizer, closure = rosenbrock_run(max_iter=4)
    optimizer.step(closure)
    saved, start = copy.deepcopy(optimizer.state_dict()), w.detach().clone()
    for _ in range(3):
        optimizer.step(closure)

    twin, resumed, resumed_closure = rosenbrock_run(max_iter=99)
    with torch.no_grad():
        twin.copy_(start)
    resumed.load_state_dict(saved)
    for _ in range(3):
        resumed.step(resumed_closure)
    assert torch.equal(twin, w)
    assert resumed.state[twin]["n_iter"] == optimizer.state[w]["n_iter"]
    assert resumed.state[twin]["func_evals"] == optimizer.state[w]["func_evals"]


def test_state_dict_survives_torch_save_with_weights_only():
    w, optimizer, closure = rosenbrock_run(max_iter=4)
    optimizer.step(closure)
    file = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "w": w.detach()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    twin, resumed, resumed_closure = rosenbrock_run()
    with torch.no_grad():
        twin.copy_(saved["w"])
    resumed.load_state_dict(saved["optimizer"])
    optimizer.step(closure)
    resumed.step(resumed_closure)
    assert torch.equal(twin, w)


def test_a_state_dict_does_not_change_when_the_optimizer_goes_on():
    _, optimizer, closure = rosenbrock_run(max_iter=4)
    optimizer.step(closure)
    taken = optimizer.state_dict()["state"][0]["memory"]
    before = {name: part.clone() for name, part in taken.items()}
    optimizer.step(closure)
    for name, part in taken.items():
        assert torch.equal(part, before[name]), name


def test_half_precision_memory_resumes_exactly():
    def run():
        w = nn.Parameter(torch.full((6,), 0.5, dtype=torch.bfloat16))
        optimizer = inbounds.LBFGSB([w], max_iter=3)
        return w, optimizer, closure_of(optimizer, lambda: rosenbrock(w.float()))

    w, optimizer, closure = run()
    optimizer.step(closure)
    twin, resumed, resumed_closure = run()
    twin.data.copy_(w.data)
    resumed.load_state_dict(optimizer.state_dict())
    memory = resumed.state[twin]["memory"]
    assert (memory["S"].dtype, memory["head"].dtype) == (torch.float32, torch.int64)
    optimizer.step(closure)
    resumed.step(resumed_closure)
    assert torch.equal(twin, w)


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_copies_go_on_alone(twin_of):
    w, optimizer, closure = rosenbrock_run(max_iter=4)
    optimizer.step(closure)
    twin, other = twin_of((w, optimizer))
    before = w.detach().clone()
    other.step(closure_of(other, lambda: rosenbrock(twin)))
    assert torch.equal(w, before)
    optimizer.step(closure)
    assert torch.equal(w, twin)


def test_another_history_size_starts_learning_anew():
    w, optimizer, closure = rosenbrock_run(max_iter=5)
    optimizer.step(closure)
    optimizer.param_groups[0]["history_size"] = 3
    optimizer.step(closure)
    assert optimizer.state[w]["memory"]["S"].shape == (1, 3, 8)


def test_a_group_may_be_added_later():
    w, late = parameter(3.0), parameter(3.0)
    optimizer = inbounds.LBFGSB([w])
    closure = closure_of(optimizer, lambda: (w**2 + (late - 5) ** 2).sum())
    optimizer.step(closure)
    optimizer.add_param_group({"params": [late], "upper": 4.0})
    optimizer.step(closure)
    assert late.item() == 4.0


def test_lr_schedulers_drive_it():
    w, optimizer, closure = rosenbrock_run(max_iter=5)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    for _ in range(3):
        optimizer.step(closure)
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.125)
    assert float(rosenbrock(w.detach())) < 1


def test_lr_may_be_a_tensor_and_zero_moves_nothing():
    w, optimizer, closure = rosenbrock_run(lr=torch.tensor(0.5))
    optimizer.step(closure)
    assert float(rosenbrock(w.detach())) < 0.5
    optimizer.param_groups[0]["lr"].zero_()
    before = w.detach().clone()
    optimizer.step(closure)
    assert torch.equal(w, before)


# Modes and accidents


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_step_works_inside_every_autograd_mode_and_after_it(mode):
    w, optimizer, closure = rosenbrock_run(max_iter=5)
    with mode():
        optimizer.step(closure)
    optimizer.step(closure)
    twin, reference, reference_closure = rosenbrock_run(max_iter=5)
    reference.step(reference_closure)
    reference.step(reference_closure)
    assert torch.equal(w, twin)


def test_a_loss_that_is_not_finite_at_the_start_moves_nothing():
    for value in (torch.nan, torch.inf):
        w, optimizer, closure = rosenbrock_run()
        before = w.detach().clone()
        loss = optimizer.step(closure_of(optimizer, lambda w=w, value=value: (w * value).sum()))
        assert not bool(loss.detach().isfinite())
        assert torch.equal(w, before)
        optimizer.step(closure)  # and it is still of use
        assert float(rosenbrock(w.detach())) < 0.5


def test_a_loss_that_is_not_finite_on_the_way_is_backed_away_from():
    w = parameter(0.01, 0.01)
    optimizer = inbounds.LBFGSB([w], max_iter=50)
    optimizer.step(closure_of(optimizer, lambda: (w - torch.log(w)).sum()))
    torch.testing.assert_close(w.detach(), torch.ones(2).double(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, StopIteration])
@pytest.mark.parametrize("at", [1, 2, 7, 12])
def test_an_error_in_the_closure_leaves_the_best_point_and_a_usable_optimizer(error, at):
    w, optimizer, closure = rosenbrock_run()
    best, count = [float(rosenbrock(w.detach()))], 0

    def failing():
        nonlocal count
        count += 1
        if count == at:
            raise error
        loss = closure()
        best.append(min(best[-1], float(loss.detach())))
        return loss

    with pytest.raises(error):
        optimizer.step(failing)
    assert float(rosenbrock(w.detach())) == best[-1]
    for _ in range(10):
        optimizer.step(closure)
    assert float(rosenbrock(w.detach())) < 1e-8


# Misuse


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"lower": 1.0, "upper": 0.0}, ValueError, "lower must not exceed upper"),
        ({"lower": torch.nan}, ValueError, "lower must not be NaN"),
        ({"lower": torch.zeros(3)}, ValueError, "lower must broadcast to the shape of the parameter"),
        ({"lr": -1.0}, ValueError, "lr must be at least 0"),
        ({"lr": torch.ones(2)}, TypeError, "lr must be a real number"),
        ({"max_iter": 0}, ValueError, "max_iter must be at least 1"),
        ({"max_eval": 0}, ValueError, "max_eval must be at least 1"),
        ({"history_size": 0}, ValueError, "history_size must be at least 1"),
        ({"tolerance_grad": -1.0}, ValueError, "tolerance_grad must be at least 0"),
        ({"tolerance_change": -1.0}, ValueError, "tolerance_change must be at least 0"),
        ({"line_search_fn": "armijo"}, ValueError, "line_search_fn must be one of None, 'strong_wolfe'"),
    ],
)
def test_misuse_is_one_clear_sentence(options, error, words):
    with pytest.raises(error, match=words) as raised:
        inbounds.LBFGSB([parameter(1.0, 2.0)], **options)
    assert "\n" not in str(raised.value)


def test_parameters_it_cannot_take_are_refused():
    with pytest.raises(TypeError, match="real floating-point dtype; got a complex64"):
        inbounds.LBFGSB([nn.Parameter(torch.zeros(2, dtype=torch.complex64))])
    with torch.inference_mode():
        made_inside = torch.zeros(2, requires_grad=True)
    with pytest.raises(ValueError, match=r"outside torch\.inference_mode"):
        inbounds.LBFGSB([made_inside])


def test_groups_may_differ_in_bounds_only():
    w, b = parameter(1.0), parameter(1.0)
    with pytest.raises(ValueError, match="max_iter must be the same in every group"):
        inbounds.LBFGSB([{"params": [w]}, {"params": [b], "max_iter": 3}])


def test_a_refused_group_leaves_the_optimizer_as_it_was():
    w, b = parameter(1.0), parameter(1.0)
    optimizer = inbounds.LBFGSB([w])
    with pytest.raises(ValueError, match="lower must not exceed upper"):
        optimizer.add_param_group({"params": [b], "lower": 2.0, "upper": 1.0})
    assert len(optimizer.param_groups) == 1
    optimizer.step(closure_of(optimizer, lambda: (w**2).sum()))


@pytest.mark.parametrize("line_search_fn", [None, "strong_wolfe"])
def test_torchs_line_search_names_mean_the_same(line_search_fn):
    w, optimizer, closure = rosenbrock_run(line_search_fn=line_search_fn)
    optimizer.step(closure)
    twin, other, other_closure = rosenbrock_run()
    other.step(other_closure)
    assert torch.equal(w, twin)


def test_step_needs_a_closure_that_returns_one_loss():
    _, optimizer, _ = rosenbrock_run()
    with pytest.raises(TypeError, match="closure must be a function"):
        optimizer.step(None)
    with pytest.raises(ValueError, match="closure must return one loss"):
        optimizer.step(lambda: torch.zeros(2))


def test_positional_arguments_are_torchs():
    w = parameter(1.0)
    ours = inbounds.LBFGSB([w], 0.5, 7, 9, 1e-3, 1e-4, 5, "strong_wolfe").param_groups[0]
    theirs = torch.optim.LBFGS([w], 0.5, 7, 9, 1e-3, 1e-4, 5, "strong_wolfe").param_groups[0]
    assert {name: ours[name] for name in theirs if name != "params"} == {
        name: theirs[name] for name in theirs if name != "params"
    }
