"""`scipy.optimize.minimize(..., method=inbounds.scipy_method)` beside method="L-BFGS-B"."""

import numpy as np
import pytest
import scipy.optimize
from scipy.optimize import Bounds, OptimizeResult, rosen, rosen_der

import inbounds
from problems import BOX_QPS, CLASSICS, DRIVERS, ROSENBROCKS


def both(*args, **kwargs):
    ours = scipy.optimize.minimize(*args, method=inbounds.scipy_method, **kwargs)
    theirs = scipy.optimize.minimize(*args, method="L-BFGS-B", **kwargs)
    return ours, theirs


def same(ours, theirs):
    assert (ours.nit, ours.nfev, ours.njev) == (theirs.nit, theirs.nfev, theirs.njev)
    assert (ours.status, ours.success, ours.message) == (theirs.status, theirs.success, theirs.message)
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-6)
    assert ours.fun == pytest.approx(theirs.fun, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    "bounds",
    [
        None,
        [(0, 2), (None, 0.6), (-1, None)],
        ((0, 2), (0, 0.6), (0, 2)),
        Bounds([0, 0, 0], 0.7),
        Bounds(-5, np.inf),
    ],
)
def test_bounds_in_scipys_spellings(bounds):
    same(*both(rosen, [0.5, 0.3, -0.2], jac=rosen_der, bounds=bounds))


@pytest.mark.parametrize(
    "problem", [*DRIVERS[:2], *ROSENBROCKS[:4], *CLASSICS[:8], *BOX_QPS[:3]], ids=lambda p: p.name
)
def test_the_registry_walks_scipys_path(problem):
    def fun(x):
        import torch

        value, gradient = problem.value_and_gradient(torch.from_numpy(x))
        return float(value), gradient.numpy()

    bounds = Bounds(problem.lower.numpy(), problem.upper.numpy())
    ours, theirs = both(fun, problem.x0.numpy(), jac=True, bounds=bounds, options=problem.options)
    assert (ours.nit, ours.nfev) == (theirs.nit, theirs.nfev)
    assert ours.fun <= theirs.fun + 1e-6 * max(1, abs(theirs.fun))


@pytest.mark.parametrize("bounds", [None, [(0, 0.6), (0, 0.6)]])
def test_without_a_gradient_it_takes_differences_inside_the_box(bounds):
    points = []

    def fun(x):
        points.append(x.copy())
        return rosen(x)

    ours = scipy.optimize.minimize(fun, [0.6, 0.6], bounds=bounds, method=inbounds.scipy_method)
    theirs = scipy.optimize.minimize(rosen, [0.6, 0.6], bounds=bounds, method="L-BFGS-B")
    assert len(points) == ours.nfev == 3 * ours.njev
    assert ours.fun == pytest.approx(theirs.fun, rel=1e-4, abs=1e-6)
    if bounds:
        assert all((point >= 0).all() and (point <= 0.6).all() for point in points)


def test_args_reach_fun_and_jac():
    same(*both(lambda x, c: ((x - c) ** 2).sum(), [0.0, 0.0], args=(3.0,), jac=lambda x, c: 2 * (x - c)))
    same(*both(lambda x, c: (((x - c) ** 2).sum(), 2 * (x - c)), [0.0, 0.0], args=(3.0,), jac=True))


@pytest.mark.parametrize(
    "options", [{"maxiter": 4}, {"maxfun": 6}, {"gtol": 1e-1}, {"ftol": 1e-2}, {"maxcor": 3}, {"maxls": 3}]
)
def test_options_are_scipys(options):
    same(*both(rosen, [-1.2, 1.0, -1.2], jac=rosen_der, options=options))


def test_tol_sets_both_tolerances():
    same(*both(rosen, [-1.2, 1.0], jac=rosen_der, tol=1e-2))


def test_the_result_is_scipys_kind():
    ours, theirs = both(rosen, [-1.2, 1.0], jac=rosen_der)
    assert isinstance(ours, OptimizeResult)
    assert set(ours) == set(theirs)
    for key in theirs:
        assert type(ours[key]) is type(theirs[key]) or isinstance(ours[key], float), key


def test_the_inverse_hessian_is_scipys():
    # Up to ten pairs: once its memory has wrapped, SciPy gives them in the order of their slots, not of age.
    ours, theirs = both(rosen, [-1.2, 1.0], jac=rosen_der, options={"maxiter": 8})
    np.testing.assert_allclose(ours.hess_inv.todense(), theirs.hess_inv.todense(), rtol=1e-6)


@pytest.mark.parametrize("after", [1, 3])
def test_both_kinds_of_callback_and_stop_iteration(after):
    seen = []

    def by_point(xk):
        seen.append(xk)
        if len(seen) >= after:
            raise StopIteration

    def by_result(intermediate_result):
        by_point(intermediate_result.x)
        assert intermediate_result.fun == rosen(intermediate_result.x)

    for callback in (by_point, by_result):
        seen.clear()
        ours = scipy.optimize.minimize(
            rosen, [-1.2, 1.0], jac=rosen_der, callback=callback, method=inbounds.scipy_method
        )
        assert (ours.nit, ours.status) == (after, 99)
        np.testing.assert_array_equal(seen[-1], ours.x)


def test_fun_and_callback_may_write_into_what_they_are_given():
    def fun(x):
        value = rosen(x)
        x[:] = np.nan
        return value

    def jac(x):
        gradient = rosen_der(x)
        x[:] = np.nan
        return gradient

    ours = scipy.optimize.minimize(
        fun, [-1.2, 1.0], jac=jac, callback=lambda xk: xk.fill(0), method=inbounds.scipy_method
    )
    assert ours.success
    np.testing.assert_allclose(ours.x, [1, 1], atol=1e-5)


def test_misuse():
    def solve(**options):
        return scipy.optimize.minimize(
            rosen, [0.0, 0.0], jac=rosen_der, method=inbounds.scipy_method, **options
        )

    with pytest.raises(ValueError, match="constraints are not handled"):
        solve(constraints={"type": "eq", "fun": np.sum})
    with pytest.raises(ValueError, match=r"one \(low, high\) for each of 2 variables"):
        solve(bounds=[(0, 1)])
    with pytest.raises(ValueError, match="lower must not exceed upper"):
        solve(bounds=[(0, 1), (1, 0)])
    with pytest.raises(TypeError, match="disp"):
        solve(options={"disp": True})
    with pytest.warns(RuntimeWarning, match="does not use Hessian"):
        solve(hess=lambda x: np.eye(2))
