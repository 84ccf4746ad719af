"""L-BFGS-B: time, evaluations and final values against SciPy, BoTorch, torch.optim.LBFGS and jaxopt.

The batched problem is Rosenbrock's function in [-2, 2]ⁿ from random starts, float64, at most 50
iterations, every solver's other options SciPy's defaults. SciPy 1.15 and later, and BoTorch with it,
is slower with threads in its BLAS: they run with one, except in the last section, which shows both.
Slow rivals solve the first rows only, and their time is multiplied up; such figures are marked with ~.

    python bench/lbfgsb.py [--cpu-time]

With --cpu-time, for a machine that others use too, every figure is processor time, of one thread.
"""

import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

import inbounds
import report

CPU_TIME = "--cpu-time" in sys.argv
clock = time.process_time if CPU_TIME else time.perf_counter
LOW, HIGH = -2.0, 2.0
MAXITER = 50
OPTIONS = {"maxcor": 10, "ftol": 2.2204460492503131e-09, "gtol": 1e-5}
SAMPLE_SECONDS = 1.0  # what a slow rival may take for its sample


class Run(NamedTuple):
    """What one solver made of a batch."""

    seconds: float
    evaluations: float  # mean a problem
    value: float  # mean over the problems
    sampled: bool = False

    def cells(self) -> list[str]:
        mark = "~" if self.sampled else ""
        return [f"{mark}{1e3 * self.seconds:.3g}", f"{self.evaluations:.1f}", f"{self.value:.3g}"]


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[..., 1:] - x[..., :-1] ** 2) ** 2 + (1 - x[..., :-1]) ** 2).sum(-1)


def value_and_gradient(fun: Callable[[Tensor], Tensor], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a SciPy or BoTorch user writes around a torch objective."""
    leaf = torch.from_numpy(x).requires_grad_()
    value = fun(leaf)
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach().numpy(), gradient.numpy()


def starts(rows: int, n: int) -> Tensor:
    rng = torch.Generator().manual_seed(rows + n)
    return torch.rand(rows, n, generator=rng, dtype=torch.float64) * (HIGH - LOW) + LOW


def best_of(run: Callable[[], Any], seconds: float = 0.5) -> tuple[float, Any]:
    """Least seconds of up to five runs, as many as fit the time, and what the last one gave."""
    taken, begin = [], time.perf_counter()
    while True:
        report.synchronise()
        start = clock()
        outcome = run()
        report.synchronise()
        taken.append(clock() - start)
        if len(taken) >= 5 or time.perf_counter() - begin > seconds:
            return min(taken), outcome


# The solvers, each on starts (b, n)


def ours(x0: Tensor, maxiter: int = MAXITER) -> Run:
    per_row = torch.zeros(len(x0), device=x0.device)  # batch_args: only running rows are evaluated

    def solve() -> inbounds.OptimizeResult:
        return inbounds.minimize(
            lambda x, _: rosenbrock(x), x0, (LOW, HIGH), batch_args=per_row, maxiter=maxiter
        )

    seconds, result = best_of(solve)
    return Run(seconds, float(result.nfev.double().mean()), float(result.fun.mean()))


def scipy_one(
    fun: Callable[[Tensor], Tensor], x0: Tensor, lower: Tensor | float, upper: Tensor | float, maxiter: int
) -> scipy.optimize.OptimizeResult:
    return scipy.optimize.minimize(
        lambda x: value_and_gradient(fun, x),
        x0.numpy(),
        jac=True,
        bounds=scipy.optimize.Bounds(*(np.broadcast_to(side, x0.shape) for side in (lower, upper))),
        method="L-BFGS-B",
        options={**OPTIONS, "maxiter": maxiter},
    )


def scipy_loop(x0: Tensor, maxiter: int = MAXITER) -> Run:
    begin, begun, results = time.perf_counter(), clock(), []
    for row in x0:
        results.append(scipy_one(rosenbrock, row, LOW, HIGH, maxiter))
        if time.perf_counter() - begin > SAMPLE_SECONDS:
            break
    share = len(x0) / len(results)
    return Run(
        (clock() - begun) * share,
        float(np.mean([result.nfev for result in results])),
        float(np.mean([result.fun for result in results])),
        share > 1,
    )


def botorch(x0: Tensor, maxiter: int = MAXITER, most: int = 128) -> Run:
    """BoTorch's driver: SciPy's routine for each row in turn, one batched evaluation for all of them."""
    from botorch.optim.batched_lbfgs_b import fmin_l_bfgs_b_batched

    rows = x0[: most if x0.shape[1] < 100 else 16]
    begun = clock()
    _, values, results = fmin_l_bfgs_b_batched(
        lambda x: value_and_gradient(rosenbrock, x),
        rows.numpy(),
        bounds=[(LOW, HIGH)] * x0.shape[1],
        factr=None,
        ftol=OPTIONS["ftol"],
        pgtol=OPTIONS["gtol"],
        maxiter=maxiter,
    )
    share = len(x0) / len(rows)
    return Run(
        (clock() - begun) * share,
        float(np.mean([result["nfev"] for result in results])),
        float(np.mean(values)),
        share > 1,
    )


def torch_lbfgs(x0: Tensor) -> Run:
    """torch.optim.LBFGS on the sum of the rows, without bounds: one line search for the whole batch."""

    def solve() -> tuple[int, Tensor]:
        x = torch.nn.Parameter(x0.clone())
        optimizer = torch.optim.LBFGS(
            [x], max_iter=MAXITER, history_size=10, line_search_fn="strong_wolfe", tolerance_grad=1e-5
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = rosenbrock(x).sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        return optimizer.state[x]["func_evals"], rosenbrock(x.detach())

    seconds, (evaluations, values) = best_of(solve)
    return Run(seconds, float(evaluations), float(values.mean()))


def jaxopt_vmap(x0: Tensor) -> Run | str:
    """LBFGSB of jaxopt under vmap and jit, compiled before it is timed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import jax
            import jax.numpy as jnp
            from jaxopt import LBFGSB

        jax.config.update("jax_enable_x64", True)

        def fun(x):
            return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

        solver = LBFGSB(fun, maxiter=MAXITER, tol=1e-5, history_size=10)
        box = (jnp.full(x0.shape[1], LOW), jnp.full(x0.shape[1], HIGH))
        solve = jax.jit(jax.vmap(lambda row: solver.run(row, bounds=box)))
        rows = jnp.asarray(x0.numpy())
        jax.block_until_ready(solve(rows))  # compiles
        seconds, (_, state) = best_of(lambda: jax.block_until_ready(solve(rows)))
    except Exception as error:  # a rival that does not run here is a finding, not a failure
        return f"{type(error).__name__}: {str(error).splitlines()[0][:60]}"
    return Run(seconds, float(state.num_fun_eval.mean()), float(state.value.mean()))


# Sections


def batches() -> str:
    gpu = torch.cuda.is_available()
    rows = []
    for n in (2, 20, 200):
        for b in (1, 8, 64, 512, 4096):
            x0 = starts(b, n)
            runs: list[Run | str] = [ours(x0)]
            if gpu:
                runs.append(ours(x0.cuda()))
            runs += [scipy_loop(x0), botorch(x0), torch_lbfgs(x0)]
            rows.append([n, b] + [cell for run in runs for cell in run.cells()])
            print(rows[-1], flush=True)
    solvers = [
        "inbounds",
        *(["inbounds, GPU"] if gpu else []),
        "SciPy loop",
        "BoTorch",
        "torch LBFGS, unbounded",
    ]
    columns = [f"{solver} {what}" for solver in solvers for what in ("ms", "evals", "f")]
    text = report.table(["n", "batch", *columns], rows)
    return (
        "Rosenbrock in [-2, 2]ⁿ, random starts, at most 50 iterations: milliseconds for the whole batch,\n"
        "mean evaluations a problem, mean final value; ~ is extrapolated from the first rows.\n"
        "torch.optim.LBFGS minimises the sum of the batch, unbounded, by one line search for all.\n\n" + text
    )


def against_jaxopt() -> str:
    rows = []
    for b in (1, 64, 512):
        x0 = starts(b, 20)
        theirs = jaxopt_vmap(x0)
        cells = [theirs, "", ""] if isinstance(theirs, str) else theirs.cells()
        rows.append([b, *ours(x0).cells(), *cells])
        print(rows[-1], flush=True)
    columns = [f"{solver} {what}" for solver in ("inbounds", "jaxopt") for what in ("ms", "evals", "f")]
    return "jaxopt.LBFGSB under vmap and jit, without its compilation, n = 20:\n\n" + report.table(
        ["batch", *columns], rows
    )


def chain(n: int) -> Callable[[Tensor], Tensor]:
    """A convex function of n neighbours tied together, some of whose variables end on bounds."""
    centre = torch.linspace(-3, 3, n, dtype=torch.float64)
    weight = torch.linspace(1, 10, n, dtype=torch.float64)

    def fun(x: Tensor) -> Tensor:
        c, w = centre.to(x), weight.to(x)
        return (w * (x - c) ** 2).sum() + ((x[1:] - x[:-1]) ** 2).sum() + 0.05 * (x**4).sum()

    return fun


def large() -> str:
    rows = []
    for n in (10_000, 1_000_000):
        fun, x0 = chain(n), torch.zeros(n, dtype=torch.float64)

        def solve(start: Tensor, fun=fun) -> inbounds.OptimizeResult:
            return inbounds.minimize(fun, start, (LOW, HIGH), maxiter=15)

        seconds, result = best_of(lambda solve=solve, x0=x0: solve(x0))
        row = [n, 1e3 * seconds, int(result.nfev), f"{float(result.fun):.10g}"]
        seconds, reference = best_of(lambda fun=fun, x0=x0: scipy_one(fun, x0, LOW, HIGH, 15))
        row += [1e3 * seconds, reference.nfev, f"{reference.fun:.10g}"]
        if torch.cuda.is_available():
            row.append(1e3 * best_of(lambda solve=solve, x0=x0: solve(x0.cuda()))[0])
        rows.append(row)
        print(row, flush=True)
    headers = ["n", "inbounds ms", "evals", "f", "SciPy ms", "evals", "f"]
    headers += ["inbounds, GPU ms"] if torch.cuda.is_available() else []
    return "One problem, at most 15 iterations:\n\n" + report.table(headers, rows)


def bars() -> str:
    """The batch of 1000 and the single problem, run to the end."""
    x0, to_the_end = starts(1000, 20), 15000
    runs = {
        "inbounds": ours(x0, to_the_end),
        "BoTorch": botorch(x0, to_the_end, most=1000),
        "SciPy loop": scipy_loop(x0, to_the_end),
    }
    with threadpool_limits(1, "blas"):
        runs["BoTorch, one BLAS thread"] = botorch(x0, to_the_end, most=1000)
        runs["SciPy loop, one BLAS thread"] = scipy_loop(x0, to_the_end)
    batch = report.table(
        ["1000 x Rosenbrock n = 20, to the end", "ms", "evals", "f", "times inbounds"],
        [[name, *run.cells(), run.seconds / runs["inbounds"].seconds] for name, run in runs.items()],
    )

    def one_thread() -> None:
        with threadpool_limits(1, "blas"):
            scipy_one(rosenbrock, x0[0], LOW, HIGH, to_the_end)

    single = {
        "inbounds": lambda: inbounds.minimize(rosenbrock, x0[0], (LOW, HIGH)),
        "SciPy": lambda: scipy_one(rosenbrock, x0[0], LOW, HIGH, to_the_end),
        "SciPy, one BLAS thread": one_thread,
    }
    turns = [{name: best_of(run, 0.2)[0] for name, run in single.items()} for _ in range(8)]
    seconds = {name: min(turn[name] for turn in turns) for name in single}
    return (
        "As installed, and with one thread in the BLAS (two threads of it mostly wait for each other):\n\n"
        + batch
        + "\n"
        + report.table(
            ["one Rosenbrock n = 20", "ms", "inbounds takes, of it"],
            [[name, 1e3 * least, seconds["inbounds"] / least] for name, least in seconds.items()],
        )
    )


# Agreement with SciPy on problems of no registry


def random_problem(rng: torch.Generator) -> tuple[Callable[[Tensor], Tensor], Tensor, Tensor, Tensor]:
    """A smooth function, a start, and bounds of which about a third bind."""
    n = int(torch.randint(2, 31, (), generator=rng))

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    A, c, kind = normal(n, n), normal(n), int(torch.randint(0, 5, (), generator=rng))
    y = torch.sign(normal(3 * n))
    data = normal(3 * n, n)
    functions = [
        lambda x: 0.5 * (A @ (x - c)).square().sum(),
        lambda x: torch.nn.functional.softplus(-y * (data @ x)).sum() + 0.05 * x.square().sum(),
        lambda x: (torch.cosh(0.5 * (x - c))).sum() + 0.1 * (A @ x).square().sum(),
        lambda x: rosenbrock(x - 0.3 * c),
        lambda x: ((x - c) ** 4).sum() + torch.logsumexp(A @ x, dim=0),
    ]
    lower, upper = c - normal(n).abs() - 0.1, c + normal(n).abs() + 0.1
    lower = torch.where(torch.rand(n, generator=rng) < 0.3, -torch.inf, lower)
    upper = torch.where(torch.rand(n, generator=rng) < 0.3, torch.inf, upper)
    return functions[kind], 2 * normal(n), lower, upper


def agreement(problems: int = 200) -> str:
    rng = torch.Generator().manual_seed(2026)
    equal = short = 0
    worst, close = 0.0, 0
    for _ in range(problems):
        fun, x0, lower, upper = random_problem(rng)
        result = inbounds.minimize(fun, x0, (lower, upper))
        reference = scipy_one(fun, x0, lower, upper, 15000)
        if reference.nit <= 50:
            short += 1
            equal += (int(result.nit), int(result.nfev)) == (reference.nit, reference.nfev)
        excess = (float(result.fun) - reference.fun) / max(1.0, abs(reference.fun))
        worst, close = max(worst, excess), close + (excess <= 1e-6)
    return report.table(
        ["agreement with SciPy", ""],
        [
            ["random smooth problems, n = 2 … 30", problems],
            ["of these, SciPy needs at most 50 iterations", short],
            ["of those, same (nit, nfev)", f"{100 * equal / short:.1f} %"],
            ["final f at most 1e-6 above SciPy's, relative", f"{100 * close / problems:.1f} %"],
            ["worst excess of final f, relative", worst],
        ],
    )


if __name__ == "__main__":
    if CPU_TIME:
        torch.set_num_threads(1)  # threads that wait for each other would count
    for solver in (ours, scipy_loop, botorch, torch_lbfgs):  # compile and import
        solver(starts(2, 2))
    with threadpool_limits(1, "blas"):
        sections = [batches(), against_jaxopt(), large(), agreement()]
    sections.append(bars())
    what = "processor time, on a machine shared with other work" if CPU_TIME else "wall time"
    head = f"## L-BFGS-B\n\n{report.machine('scipy', 'botorch', 'jaxopt')} Times are {what}.\n\n"
    report.write("lbfgsb", head + "\n".join(sections))
