"""Hostile input to the optimisers: a table of calls and the sentence, or the result, each must give."""

import copy
import math

import pytest
import torch

import inbounds
from hostile import Refused, Works, hold, rows

INF, NAN = math.inf, math.nan
START = torch.zeros(3)
ROWS = torch.zeros(4, 3)


def bowl(x):
    return ((x - 1) ** 2).sum(-1)


def run(fun=bowl, x0=START, *args, **options):
    return inbounds.minimize(fun, x0, *args, **options)


class Boundless:
    lb = torch.zeros(3)


class Bounds:
    lb, ub = torch.zeros(3), torch.full((3,), 0.5)


def raises_midway():
    calls = []

    def fun(x):
        calls.append(1)
        if len(calls) == 3:
            raise KeyError("mine")
        return (x**4).sum() + bowl(x)

    return fun


def writes_into_x(x):
    value = bowl(x)
    with torch.no_grad():
        x.fill_(77.0)
    return value


def same_tensor_again():
    kept = torch.zeros(()), torch.zeros(3)

    def fun(x):
        kept[0].copy_(bowl(x))
        kept[1].copy_(2 * (x - 1))
        return kept

    return fun


def fails(x):
    raise RuntimeError("out of luck")


def noisy():
    generator = torch.Generator().manual_seed(0)

    def fun(x):
        return bowl(x) * (1 + 0.5 * torch.rand((), generator=generator))

    return fun


@rows(
    Refused("x0 a list", lambda: run(x0=[0.0, 1.0]), TypeError, r"x0 must be a torch\.Tensor; got the list"),
    Refused("x0 an array", lambda: run(x0=START.numpy()), TypeError, "x0 must be a torch.Tensor"),
    Refused("x0 None", lambda: run(x0=None), TypeError, "x0 must be a torch.Tensor; got None"),
    Refused("x0 integer", lambda: run(x0=torch.zeros(3, dtype=torch.int64)), TypeError, "x0 must .*float.*int64"),
    Refused("x0 boolean", lambda: run(x0=torch.zeros(3, dtype=torch.bool)), TypeError, "x0 must .*float.*bool"),
    Refused("x0 complex", lambda: run(x0=START.to(torch.complex64)), TypeError, "x0 must .*complex64"),
    Refused("x0 half", lambda: run(x0=START.half()), TypeError, "x0 must be float32 or float64; got a float16"),
    Refused("x0 no dimension", lambda: run(x0=torch.tensor(1.0)), ValueError, "x0 must have at least 1"),
    Refused("fun not callable", lambda: run(fun=3), TypeError, "fun must be callable; got the int 3"),
    Refused("fun None", lambda: run(fun=None), TypeError, "fun must be callable; got None"),
    Refused("fun returns a float", lambda: run(fun=lambda x: 1.0), TypeError, "fun.* tensor.*got the float"),
    Refused("fun returns None", lambda: run(fun=lambda x: None), TypeError, "fun.* tensor.*got None"),
    Refused("fun returns a vector", lambda: run(fun=lambda x: x), ValueError, r"fun.* shape \(\); .*\(3,\)"),
    Refused("fun returns (1,)", lambda: run(fun=lambda x: x.sum()[None]), ValueError, r"fun.* shape \(\)"),
    Refused("fun sums the batch", lambda: run(fun=lambda x: x.sum(), x0=ROWS), ValueError, r"fun.* shape \(4,\)"),
    Refused("fun keeps a dimension", lambda: run(fun=lambda x: x.sum(-1, keepdim=True), x0=ROWS), ValueError,
            r"fun.* shape \(4,\); got .*\(4, 1\)"),
    Refused("fun detaches", lambda: run(fun=lambda x: bowl(x.detach())), ValueError, "fun must .*autograd.*jac"),
    Refused("fun detaches its value", lambda: run(fun=lambda x: bowl(x).detach()), ValueError, "fun must .*detach"),
    Refused("fun ignores x", lambda: run(fun=lambda x: torch.ones((), requires_grad=True) * 2), ValueError,
            "fun must .*depends on x"),
    Refused("fun complex", lambda: run(fun=lambda x: bowl(x) * 1j), TypeError, "fun.* real tensor"),
    Refused("fun raises", lambda: run(fun=raises_midway()), KeyError, "mine"),
    Refused("fun raises its own RuntimeError", lambda: run(fun=fails), RuntimeError, "^out of luck$"),
    Refused("lower on another device", lambda: run(bounds=(START.to("meta"), None)), ValueError,
            "lower must be on the device of x0, cpu; got one on meta"),
    Refused("jac a string", lambda: run(jac="2-point"), TypeError, "jac must be None"),
    Refused("jac True, one value", lambda: run(jac=True), TypeError, r"fun must return \(value, gradient\)"),
    Refused("jac True, wrong shape", lambda: run(fun=lambda x: (bowl(x), x[:2]), jac=True), ValueError,
            r"gradient must have shape \(3,\); got .*\(2,\)"),
    Refused("jac returns a scalar", lambda: run(jac=lambda x: x.sum()), ValueError, r"gradient must have shape"),
    Refused("jac returns None", lambda: run(jac=lambda x: None), TypeError, "gradient must be .*got None"),
    Refused("bounds SciPy's pairs", lambda: run(bounds=[(0, 1), (0, 1), (0, None)]), TypeError,
            r"bounds must be \(lower, upper\).*list"),
    Refused("bounds two of SciPy's pairs", lambda: run(x0=torch.zeros(2), bounds=[(0, 1), (0, 1)]), TypeError,
            r"bounds must be \(lower, upper\)"),
    Refused("bounds a tuple of pairs", lambda: run(x0=torch.zeros(2), bounds=((0, 1), (0, 1))), TypeError,
            r"bounds must be \(lower, upper\)"),
    Refused("bounds a number", lambda: run(bounds=1.0), TypeError, r"bounds must be \(lower, upper\)"),
    Refused("bounds three", lambda: run(bounds=(0, 1, 2)), TypeError, r"bounds must be \(lower, upper\)"),
    Refused("bounds without ub", lambda: run(bounds=Boundless()), TypeError, r"bounds must be \(lower, upper\)"),
    Refused("lower > upper", lambda: run(bounds=(1.0, 0.0)), ValueError, "lower must .*upper; violated at 3 of 3"),
    Refused("lower > upper once", lambda: run(bounds=(torch.tensor([0.0, 2.0, 0.0]), 1.0)), ValueError,
            r"violated at 1 of 3 entries, first at \(1,\): 2 > 1"),
    Refused("lower NaN", lambda: run(bounds=(NAN, 1.0)), ValueError, "lower must not be NaN"),
    Refused("upper NaN", lambda: run(bounds=(None, torch.tensor([1.0, NAN, 1.0]))), ValueError,
            "upper must not be NaN; violated at 1 of 3"),
    Refused("lower of another shape", lambda: run(bounds=(torch.zeros(4), None)), ValueError,
            r"lower must broadcast to the shape of x0, \(3,\); got .*\(4,\)"),
    Refused("upper a string", lambda: run(bounds=(None, "high")), TypeError, "upper|bounds"),
    Refused("upper complex", lambda: run(bounds=(None, torch.ones(3) * 1j)), TypeError, "upper must be real"),
    Refused("maxcor 0", lambda: run(maxcor=0), ValueError, "maxcor must be at least 1; got 0"),
    Refused("maxcor a float", lambda: run(maxcor=2.5), TypeError, "maxcor must be an integer"),
    Refused("maxcor True", lambda: run(maxcor=True), TypeError, "maxcor must be an integer"),
    Refused("maxls 0", lambda: run(maxls=0), ValueError, "maxls must be at least 1; got 0"),
    Refused("maxiter -1", lambda: run(maxiter=-1), ValueError, "maxiter must be at least 0; got -1"),
    Refused("maxfun a string", lambda: run(maxfun="many"), TypeError, "maxfun must be an integer"),
    Refused("ftol negative", lambda: run(ftol=-1e-9), ValueError, "ftol must be at least 0"),
    Refused("gtol NaN", lambda: run(gtol=NAN), ValueError, "gtol must be finite; got nan"),
    Refused("gtol a string", lambda: run(gtol="1e-5"), TypeError, "gtol must be a real number"),
    Refused("callback not callable", lambda: run(callback=1), TypeError, "callback must be callable"),
    Refused("batch_args without the batch", lambda: run(fun=lambda x, c: bowl(x), x0=ROWS, batch_args=(torch.zeros(3),)),
            ValueError, r"batch_args\[0\] must have the batch's leading dimensions, \(4,\)"),
    Refused("batch_args not tensors", lambda: run(fun=lambda x, c: bowl(x), x0=ROWS, batch_args=(1.0,)), TypeError,
            r"batch_args\[0\] must be a torch.Tensor"),
    Works("bounds with lb and ub", lambda: run(bounds=Bounds()).x, lambda x: torch.equal(x, Bounds.ub)),
    Works("bounds (None, None)", lambda: run(bounds=(None, None)).success, bool),
    Works("bounds infinite", lambda: run(bounds=(-INF, INF)).success, bool),
    Works("integer bounds", lambda: run(bounds=(0, torch.tensor([2, 0, 2]))).x.tolist(), lambda x: x == [1, 0, 1]),
    Works("all fixed", lambda: run(bounds=(0.25, 0.25)), lambda r: r.success and (r.x == 0.25).all()),
    Works("x0 far outside", lambda: run(x0=START - 1e30, bounds=(0.0, 2.0)), lambda r: (r.x - 1).abs().max() < 1e-3),
    Works("x0 NaN", lambda: run(x0=torch.tensor([NAN, 0.0, 0.0])), lambda r: not r.success),
    Works("x0 infinite", lambda: run(x0=torch.tensor([INF, 0.0, 0.0])), lambda r: not r.success),
    Works("x0 infinite, bounded", lambda: run(x0=torch.tensor([INF, 0.0, 0.0]), bounds=(0, 2)), lambda r: r.success),
    Works("x0 denormal", lambda: run(x0=START + 1e-45), lambda r: r.success),
    Works("x0 1e30", lambda: run(x0=START.double() + 1e30), lambda r: r.x.isfinite().all()),
    Works("negative zero", lambda: run(x0=-START, bounds=(-0.0, 1.0)), lambda r: r.success),
    Works("no variables", lambda: run(x0=torch.zeros(0)), lambda r: r.x.shape == (0,) and r.success),
    Works("no rows", lambda: run(x0=torch.zeros(0, 3)), lambda r: r.x.shape == (0, 3) and r.nit.shape == (0,)),
    Works("rows of no variables", lambda: run(x0=torch.zeros(4, 0)), lambda r: r.x.shape == (4, 0)),
    Works("strided x0", lambda: run(x0=torch.zeros(3, 4).T), lambda r: r.success.all() and r.x.shape == (4, 3)),
    Works("x0 requires grad", lambda: run(x0=START.clone().requires_grad_()).x, lambda x: not x.requires_grad),
    Works("fun NaN", lambda: run(fun=lambda x: bowl(x) * NAN), lambda r: not r.success and torch.equal(r.x, START)),
    Works("fun +inf", lambda: run(fun=lambda x: bowl(x) + INF), lambda r: not r.success and int(r.nfev) == 1),
    Works("fun -inf", lambda: run(fun=lambda x: bowl(x) - INF), lambda r: not r.success),
    Works("fun unbounded below", lambda: run(fun=lambda x: -x.sum()), lambda r: r.x.isfinite().all()),
    Works("gradient of the wrong sign", lambda: run(fun=lambda x: (bowl(x), -2 * (x - 1)), jac=True),
          lambda r: not r.success and r.fun <= 3.0),
    Works("gradient NaN", lambda: run(fun=lambda x: (bowl(x), x * NAN), jac=True),
          lambda r: not r.success and torch.equal(r.x, START)),
    Works("fun writes into x", lambda: run(fun=writes_into_x), lambda r: (r.x - 1).abs().max() < 1e-3),
    Works("fun returns the same tensors", lambda: run(fun=same_tensor_again(), jac=True),
          lambda r: (r.x - 1).abs().max() < 1e-3 and torch.equal(r.fun, bowl(r.x))),
    Works("fun is noise", lambda: run(fun=noisy()), lambda r: r.x.isfinite().all() and r.fun <= 4.5),
    Works("fun constant", lambda: run(fun=lambda x: 0 * bowl(x)), lambda r: r.success and int(r.nit) == 0),
    Works("fun of tiny values", lambda: run(fun=lambda x: 1e-30 * bowl(x)), lambda r: r.success),
    Works("fun of huge values", lambda: run(fun=lambda x: 1e30 * bowl(x), x0=START.double()),
          lambda r: (r.x - 1).abs().max() < 1e-3),
    Works("one NaN row", lambda: run(fun=lambda x: bowl(x) * torch.tensor([1, NAN, 1, 1]), x0=ROWS),
          lambda r: r.success.tolist() == [True, False, True, True] and (r.x[[0, 2, 3]] - 1).abs().max() < 1e-3),
    Works("args not a tuple", lambda: run(fun=lambda x, c: bowl(x - c), args=torch.ones(3)).x,
          lambda x: (x - 2).abs().max() < 1e-3),
    Works("maxiter 0", lambda: run(maxiter=0), lambda r: int(r.status) == 1),
    Works("maxfun 0", lambda: run(maxfun=0), lambda r: int(r.status) == 1),
)  # fmt: skip
def test_minimize(row):
    hold(row)


def weights(value=0.0):
    return torch.nn.Parameter(torch.full((3,), value))


def optimiser(**options):
    return inbounds.LBFGSB([weights()], **options)


def stepped(loss, w=None, **options):
    w = weights() if w is None else w
    optimizer = inbounds.LBFGSB([w], **options)

    def closure():
        optimizer.zero_grad()
        value = loss(w)
        value.backward()
        return value

    optimizer.step(closure)
    return w.detach()


@rows(
    Refused("no parameters", lambda: inbounds.LBFGSB([]), ValueError, "empty parameter list"),
    Refused("complex parameter", lambda: inbounds.LBFGSB([torch.nn.Parameter(torch.zeros(2) * 1j)]), TypeError,
            "complex.*view_as_real|real.*complex"),
    Refused("integer parameter", lambda: inbounds.LBFGSB([torch.zeros(2, dtype=torch.int64)]), TypeError, "float"),
    Refused("lower > upper", lambda: optimiser(lower=1.0, upper=0.0), ValueError, "lower must .*upper"),
    Refused("lower NaN", lambda: optimiser(lower=NAN), ValueError, "lower must not be NaN"),
    Refused("upper of another shape", lambda: optimiser(upper=torch.ones(5)), ValueError, "upper must broadcast"),
    Refused("lower a string", lambda: optimiser(lower="low"), TypeError, "lower"),
    Refused("lr negative", lambda: optimiser(lr=-1.0), ValueError, "lr must be at least 0"),
    Refused("lr NaN", lambda: optimiser(lr=NAN), ValueError, "lr must be finite"),
    Refused("max_iter 0", lambda: optimiser(max_iter=0), ValueError, "max_iter must be at least 1"),
    Refused("max_eval 0", lambda: optimiser(max_eval=0), ValueError, "max_eval must be at least 1"),
    Refused("history_size 0", lambda: optimiser(history_size=0), ValueError, "history_size must be at least 1"),
    Refused("tolerance_grad negative", lambda: optimiser(tolerance_grad=-1.0), ValueError, "tolerance_grad"),
    Refused("tolerance_change a string", lambda: optimiser(tolerance_change="x"), TypeError, "tolerance_change"),
    Refused("line search unknown", lambda: optimiser(line_search_fn="armijo"), ValueError, "line_search_fn must be one"),
    Refused("parameters on two devices", lambda: inbounds.LBFGSB([weights(), torch.zeros(3, device="meta")]), ValueError,
            "params must be on the device of the first one, cpu; got one on meta"),
    Refused("a parameter not a tensor", lambda: inbounds.LBFGSB([[1.0]]), TypeError, "Tensor"),
    Refused("no closure", lambda: optimiser().step(None), TypeError, "closure"),
    Refused("closure returns None", lambda: optimiser().step(lambda: None), TypeError, "closure"),
    Refused("closure returns a vector", lambda: optimiser().step(lambda: torch.ones(3)), ValueError, "closure"),
    Works("start outside", lambda: stepped(lambda w: bowl(w), weights(9.0), upper=0.5), lambda w: (w == 0.5).all()),
    Works("loss NaN", lambda: stepped(lambda w: bowl(w) * NAN), lambda w: (w == 0).all()),
    Works("loss inf", lambda: stepped(lambda w: bowl(w) + INF), lambda w: (w == 0).all()),
    Works("closure is noise", lambda: stepped(noise), lambda w: w.isfinite().all()),
    Works("closure writes into the parameter", lambda: stepped(vandal), lambda w: (w - 1).abs().max() < 1e-3),
    Works("start NaN", lambda: stepped(bowl, weights(NAN)), lambda w: w.isnan().all()),
    Works("start inf, bounded", lambda: stepped(bowl, weights(INF), upper=3.0), lambda w: (w - 1).abs().max() < 1e-3),
    Works("start 1e30", lambda: stepped(bowl, weights(1e18), lower=-1e30), lambda w: w.isfinite().all()),
    Works("start denormal", lambda: stepped(bowl, weights(1e-45)), lambda w: (w - 1).abs().max() < 1e-3),
    Works("start negative zero", lambda: stepped(bowl, weights(-0.0), lower=0.0), lambda w: (w - 1).abs().max() < 1e-3),
    Works("a parameter of nothing", lambda: stepped(lambda w: w.sum() * 1.0, torch.nn.Parameter(torch.zeros(0))),
          lambda w: w.shape == (0,)),
    Works("fixed", lambda: stepped(bowl, lower=0.0, upper=0.0), lambda w: (w == 0).all()),
    Works("no gradient", lambda: stepped(lambda w: torch.ones((), requires_grad=True) * 1.0), lambda w: (w == 0).all()),
    Works("lr 0", lambda: stepped(bowl, lr=0.0), lambda w: (w == 0).all()),
)  # fmt: skip
def test_lbfgsb(row):
    hold(row)


def noise(w, generator=torch.Generator().manual_seed(0)):  # noqa: B008
    return bowl(w) * (1 + 0.5 * torch.rand((), generator=generator))


def vandal(w):
    value = bowl(w * 1.0)
    w.data.mul_(3.0)
    return value


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_step_leaves_the_optimizer_usable(interruption):
    w = torch.nn.Parameter(torch.tensor([-1.2, 1.0]))
    optimizer = inbounds.LBFGSB([w], upper=2.0)
    calls = []

    def closure():
        calls.append(w.detach().clone())
        if len(calls) == 4:
            raise interruption
        optimizer.zero_grad()
        loss = 100 * (w[1] - w[0] ** 2) ** 2 + (1 - w[0]) ** 2
        loss.backward()
        return loss

    with pytest.raises(interruption):
        optimizer.step(closure)
    assert any(torch.equal(w.detach(), point) for point in calls[:3]), "at a point that was evaluated"
    saved = copy.deepcopy(optimizer.state_dict())
    for _ in range(5):
        optimizer.step(closure)
    assert (w - 1).abs().max() < 1e-3
    optimizer.load_state_dict(saved)
    optimizer.step(closure)


def test_an_interrupted_minimize_can_be_run_again():
    calls = []

    def fun(x):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return (x**4).sum(-1) + bowl(x)

    x0 = torch.full((8, 3), 5.0)
    with pytest.raises(KeyboardInterrupt):
        inbounds.minimize(fun, x0, (0.0, 6.0))
    assert (x0 == 5).all()
    assert inbounds.minimize(fun, x0, (0.0, 6.0)).success.all()
