"""`inbounds.nnls` beside scipy.optimize.nnls, librosa.util.nnls, fnnls and jaxnnls: results/nnls.md.

A method that would take longer than its share of time is run on fewer right-hand sides and its time scaled
up; "~" marks such figures. Objectives are relative to SciPy's, on the right-hand sides that both solved.
An argument sets the number of threads: on a machine that is busy otherwise, one thread compares better.
"""

import sys
import time
import warnings

import jax
import numpy as np
import scipy.optimize
import torch
from fnnls import fnnls

jax.config.update("jax_enable_x64", True)  # jaxnnls makes its constants when it is imported

# ruff: noqa: E402
from jaxnnls.pdip import solve_nnls
from librosa.util import nnls as librosa_nnls

import inbounds
import report

SHAPES = [(20, 10), (200, 100), (128, 1025), (1000, 500)]
COLUMNS = [1, 100, 10_000]
SHARE = 1.0  # seconds a method may take on one case
REPEATS = 3


def problem(m: int, n: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """A Gaussian A, and right-hand sides whose optima have about half of their variables at zero."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((m, n))
    return A, A @ np.maximum(rng.standard_normal((n, k)), 0.0) + rng.standard_normal((m, k))


def loop(solve):
    """A solver of one right-hand side, over all of them."""
    return lambda A, b: np.stack([solve(A, column) for column in b.T], axis=-1)


def ours(A, b):
    return inbounds.nnls(torch.from_numpy(A), torch.from_numpy(b)).numpy()


def ours_lbfgsb(A, b):
    return inbounds.nnls(torch.from_numpy(A), torch.from_numpy(b), method="lbfgsb").numpy()


def jax_all(A, b):
    """jaxnnls, its rows mapped, on the normal equations it asks for."""
    found = jax.vmap(solve_nnls, in_axes=(None, 0))(A.T @ A, (A.T @ b).T)
    return np.asarray(found[0]).T


METHODS = {
    "inbounds": ours,
    "inbounds, lbfgsb": ours_lbfgsb,
    "scipy, loop": loop(lambda A, b: scipy.optimize.nnls(A, b, maxiter=100 * A.shape[1])[0]),
    "librosa": librosa_nnls,
    "fnnls, loop": loop(lambda A, b: fnnls(A, b)[0]),
    "jaxnnls": jax_all,
}


def timed(solve, A, b) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    x = solve(A, b)
    return time.perf_counter() - start, np.asarray(x)


def measure(solve, A, b) -> tuple[float, bool, np.ndarray]:
    """Seconds for all of b, whether they were scaled up, and the columns solved."""
    few = b[:, :1]
    timed(solve, A, few)  # compiles
    seconds = min(timed(solve, A, few)[0] for _ in range(REPEATS))
    count = b.shape[1] if seconds * b.shape[1] < SHARE else max(1, int(SHARE / seconds))
    # A batched method costs less a column than one column does: try a few times as many before sampling.
    count = min(b.shape[1], 5 * count)
    first = timed(solve, A, b[:, :count])
    # Once more at least where that is bearable: larger problems may run kernels that smaller ones did not.
    more = REPEATS - 1 if first[0] < SHARE / 3 else int(first[0] < 10 * SHARE)
    again = [timed(solve, A, b[:, :count])[0] for _ in range(more)]
    return min([first[0], *again]) * b.shape[1] / count, count < b.shape[1], first[1]


def case(m: int, n: int, k: int) -> list[list[object]]:
    A, b = problem(m, n, k)
    rows, reference = [], None
    for name in ("scipy, loop", *(name for name in METHODS if name != "scipy, loop")):
        if name in ("fnnls, loop", "jaxnnls") and n > m:
            continue  # both need AᵀA to be invertible
        if name == "jaxnnls" and n > 10 and k > 100:
            continue  # it solves a batch abreast: too slow to sample
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                seconds, sampled, x = measure(METHODS[name], A, b)
        except Exception as error:
            rows.append([f"{m}×{n}", k, name, f"{type(error).__name__}", "", "", ""])
            continue
        right, count = torch.from_numpy(b[:, : x.shape[1]].copy()), x.shape[1]
        solved = torch.from_numpy(np.maximum(x, 0.0))
        objective = (torch.from_numpy(A) @ solved - right).square().sum(0)
        kkt = inbounds.kkt_residual(torch.from_numpy(A), right, solved).max().item()
        if reference is None:
            reference, base = objective, seconds
        both = min(count, len(reference))
        scale = torch.maximum(reference[:both], 1e-6 * right[:, :both].square().sum(0))
        excess = ((objective[:both] - reference[:both]) / scale).max().item()
        mark = "~" if sampled else ""
        rows.append([f"{m}×{n}", k, name, f"{mark}{1e3 * seconds:.3g}", base / seconds, excess, kkt])
    return rows


if __name__ == "__main__":
    if len(sys.argv) > 1:
        torch.set_num_threads(int(sys.argv[1]))
    rows = []
    for m, n in SHAPES:
        for k in COLUMNS:
            if m * n * k > 5e9:
                continue
            rows += case(m, n, k)
            print(report.table(["shape", "k", "method", "ms", "×", "excess", "kkt"], rows[-6:]), flush=True)
    headers = ["A", "columns", "method", "ms", "times SciPy", "excess objective", "worst certificate"]
    report.write(
        "nnls",
        "## Non-negative least squares\n\n"
        + report.machine("scipy", "librosa", "fnnls", "jaxnnls", "jax")
        + """

Gaussian matrices in float64, right-hand sides with noise. "~": timed on a sample and scaled up. The excess is
(objective - SciPy's) / max(SciPy's, 1e-6 ‖b‖²). For 128×1025 the optima are many, and ours is the
minimum-norm one. fnnls and jaxnnls need an invertible AᵀA, and are left out there.

"""
        + report.table(headers, rows),
    )
