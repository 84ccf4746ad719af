"""Random problems for as long as you like, each judged by a certificate, samples of them by SciPy.

    python bench/soak.py --minutes 60

A wrong answer is one that leaves its box, misses its certificate without saying so, changes when its
neighbours do, or has a larger objective than SciPy's. Prints counts as it goes and exits with 1 if any
answer was wrong; memory is watched, too.
"""

import argparse
import resource
import time
import warnings
from collections import Counter
from typing import NamedTuple

import numpy as np
import scipy.optimize
import torch

import inbounds
from inbounds.audio import inverse_mel_scale, mel_filter_bank
from report import machine, table, write

SAMPLED = 3  # problems of each batch that SciPy solves too
F64 = torch.float64


class Outcome(NamedTuple):
    """Of one batch: problems, those said not to have converged, and what was wrong."""

    problems: int
    unconverged: int
    wrong: list[str]


class Draw:
    """A seeded source of everything."""

    def __init__(self, seed: int):
        self.generator = torch.Generator().manual_seed(seed)

    def integer(self, low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self.generator, dtype=F64)

    def uniform(self, *shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=self.generator, dtype=F64)

    def scale(self, decades: float) -> float:
        return 10 ** float(self.uniform() * 2 * decades - decades)

    def box(self, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Free, half-open, finite and fixed variables mixed."""
        kind = torch.randint(0, 5, shape, generator=self.generator)
        centre, width = self.normal(*shape), 2 * self.uniform(*shape)
        lower = torch.where((kind == 0) | (kind == 2), -torch.inf, centre - width)
        upper = torch.where((kind == 0) | (kind == 1), torch.inf, centre + width)
        return torch.where(kind == 4, centre, lower), torch.where(kind == 4, centre, upper)


def bounded_minimisation(draw: Draw) -> Outcome:
    """Convex, with a quartic, over boxes: one minimum each, so the projected gradient is a certificate."""
    rows, n = draw.integer(1, 256), draw.integer(1, 30)
    root = draw.normal(rows, n, n)
    H = root @ root.mT / n + 10 ** -float(3 * draw.uniform()) * torch.eye(n, dtype=F64)
    c, x0, gain = draw.normal(rows, n), 3 * draw.normal(rows, n), draw.scale(4)
    lower, upper = draw.box(rows, n)

    def fun(x, H, c):
        return gain * (
            0.5 * (x[:, None] @ H @ x[:, :, None])[:, 0, 0] - (x * c).sum(-1) + (x**4).sum(-1) / 40
        )

    options = {"gtol": 1e-6 * gain, "ftol": 0.0, "maxiter": 500}
    result = inbounds.minimize(fun, x0, (lower, upper), batch_args=(H, c), **options)
    wrong = []
    if not ((result.x >= lower) & (result.x <= upper)).all():
        wrong.append("outside its box")
    if not torch.equal(result.fun, fun(result.x, H, c)):
        # A batch of matrix products may round differently than the rows that were live: compare closely.
        gap = (result.fun - fun(result.x, H, c)).abs() / result.fun.abs().clamp(min=gain)
        if (gap > 1e-12).any():
            wrong.append("fun is not fun(x)")
    for i in range(min(rows, SAMPLED)):
        reference = scipy.optimize.minimize(
            lambda x, i=i: _numpy(fun, x, H[i : i + 1], c[i : i + 1]),
            x0[i].numpy(),
            jac=True,
            method="L-BFGS-B",
            bounds=scipy.optimize.Bounds(lower[i].numpy(), upper[i].numpy()),
            options=options,
        )
        if float(result.fun[i]) > reference.fun + 1e-6 * max(abs(reference.fun), gain):
            wrong.append(f"worse than SciPy: {float(result.fun[i])} > {reference.fun}")
    return Outcome(rows, int((~result.success).sum()), wrong)


def _numpy(fun, x: np.ndarray, *args: torch.Tensor) -> tuple[float, np.ndarray]:
    point = torch.tensor(x)[None].requires_grad_()
    value = fun(point, *args).sum()
    value.backward()
    return value.item(), point.grad[0].numpy()


def non_negative(draw: Draw) -> Outcome:
    """Any shape and rank, columns of A scaled over eight decades."""
    m, n, k = draw.integer(1, 40), draw.integer(1, 40), draw.integer(1, 400)
    rank = draw.integer(1, max(m, n))
    A = draw.normal(m, n) if rank >= min(m, n) else draw.normal(m, rank) @ draw.normal(rank, n)
    if draw.integer(0, 1):
        A = A.abs()
    A, b = A * 10 ** (8 * draw.uniform(n) - 4), draw.scale(6) * draw.normal(m, k)
    x, info = inbounds.nnls(A, b, full_output=True)
    wrong = _certified(x, info, inbounds.kkt_residual(A, b, x), 1e-8)
    if not (x >= 0).all():
        wrong.append("negative")
    for j in range(min(k, SAMPLED)):
        try:
            reference, _ = scipy.optimize.nnls(A.numpy(), b[:, j].numpy())
        except RuntimeError:  # SciPy gives up on some
            continue
        # With columns dependent but for rounding SciPy's x may be 1e15, and its residual is rounding itself.
        if np.linalg.norm(A.abs().numpy() @ reference) > 1e8 * float(b[:, j].norm()):
            continue
        theirs, ours = float((A @ torch.tensor(reference) - b[:, j]).norm()), float(info.residual_norm[j])
        allowed = theirs**2 * (1 + 1e-8) + 1e-14 * float(b[:, j] @ b[:, j])
        if bool(info.converged[j]) and ours**2 > allowed:
            wrong.append(f"worse than SciPy: {ours} > {theirs}")
    return Outcome(k, int((~info.converged).sum()), wrong)


def boxed_least_squares(draw: Draw) -> Outcome:
    """The same in a box."""
    m, n, k = draw.integer(1, 30), draw.integer(1, 30), draw.integer(1, 200)
    A, b = draw.normal(m, n), draw.scale(4) * draw.normal(m, k)
    lower, upper = draw.box(n, k)
    x, info = inbounds.lsq_linear(A, b, (lower, upper), full_output=True)
    certificate = inbounds.kkt_residual(A, b, x, bounds=(lower, upper))
    wrong = _certified(x, info, certificate, 1e-8)
    if not ((x >= lower) & (x <= upper)).all():
        wrong.append("outside its box")
    return Outcome(k, int((~info.converged).sum()), wrong)


def mel_frames(draw: Draw) -> Outcome:
    """Mels that a spectrum has, and mels that none has, over eight decades, silence among them."""
    n_fft, n_mels = (256, 400, 512, 1024)[draw.integer(0, 3)], draw.integer(8, 80)
    bank = mel_filter_bank(n_fft // 2 + 1, n_mels, 16000, mel_scale=("htk", "slaney")[draw.integer(0, 1)])
    frames = draw.integer(1, 2000)
    spectrum = draw.uniform(len(bank), frames) ** 4 * 10 ** (8 * draw.uniform(1, frames) - 4)
    mel = bank.double().T @ (spectrum * (draw.uniform(1, frames) > 0.05))
    noisy = bool(draw.integer(0, 1))
    if noisy:
        mel = mel * torch.exp(0.3 * draw.normal(n_mels, frames))
    dtype = (torch.float32, F64)[draw.integer(0, 1)]
    mel, options = mel.to(dtype), {"distance": ("quadratic", "kl", "is")[draw.integer(0, 2)]}
    x, info = inverse_mel_scale(mel, bank, full_output=True, **options)
    wrong = []
    if not (x >= 0).all():
        wrong.append("negative")
    A, wide = bank.double().T, x.double()
    if not noisy and (_norm(A @ wide - mel) > 1e-3 * _norm(mel)).any():
        wrong.append("misses a mel that a spectrum has")
    one = draw.integer(0, frames - 1)
    if not torch.equal(inverse_mel_scale(mel[:, one : one + 1], bank, **options), x[:, one : one + 1]):
        wrong.append("changes with its neighbours")
    for j in range(min(frames, SAMPLED)):
        _, norm = scipy.optimize.nnls(A.numpy(), mel[:, j].double().numpy())
        ours, size = float(_norm(A @ wide[:, j : j + 1] - mel[:, j : j + 1])), float(_norm(mel[:, j : j + 1]))
        allowed = norm**2 * (1 + 1e-5) + ((1e-3 if dtype == torch.float32 else 1e-7) * size) ** 2
        if bool(info.converged[j]) and ours**2 > allowed:
            wrong.append(f"worse than SciPy: {ours} > {norm}")
    return Outcome(frames, int((~info.converged).sum()), wrong)


def _norm(value: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(value.double(), dim=-2)


def _certified(x, info, certificate: torch.Tensor, most: float) -> list[str]:
    if (info.converged & ~(certificate <= most)).any():
        return [f"says converged at a certificate of {float(certificate[info.converged].max()):.1e}"]
    return [] if x.isfinite().all() else ["not finite"]


KINDS = {
    "minimize": bounded_minimisation,
    "nnls": non_negative,
    "lsq_linear": boxed_least_squares,
    "inverse_mel_scale": mel_frames,
}


def soak(minutes: float, seed: int) -> tuple[Counter, Counter, list[str], list[float]]:
    """Problems and unconverged ones by kind, what was wrong, and the memory (MiB) at ten moments."""
    solved, unconverged, wrong, memory = Counter(), Counter(), [], []
    start = time.monotonic()
    until = start + 60 * minutes
    while time.monotonic() < until:
        name = list(KINDS)[seed % len(KINDS)]
        count, unsure, faults = KINDS[name](Draw(seed))
        solved[name] += count
        unconverged[name] += unsure
        wrong += [f"{name}, seed {seed}: {fault}" for fault in faults]
        for fault in faults:
            print(f"WRONG {name}, seed {seed}: {fault}", flush=True)
        seed += 1
        if time.monotonic() - start > len(memory) * 6 * minutes:
            memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
            print(
                f"{dict(solved)}, {dict(unconverged)} unconverged, {len(wrong)} wrong, {memory[-1]:.0f} MiB",
                flush=True,
            )
    return solved, unconverged, wrong, memory


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--minutes", type=float, default=60.0)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    warnings.simplefilter("ignore")
    solved, unconverged, wrong, memory = soak(given.minutes, given.seed)
    lines = [(name, count, unconverged[name]) for name, count in solved.items()]
    lines.append(("all", sum(solved.values()), sum(unconverged.values())))
    text = f"## Soak\n\n{given.minutes:g} minutes. {machine('scipy')}\n\n" + table(
        ["what", "problems", "said not to have converged"], lines
    )
    text += (
        f"\nWrong answers: {len(wrong)}. Peak memory {memory[1]:.0f} MiB early, {memory[-1]:.0f} MiB late.\n"
    )
    write("soak", text + "".join(f"- {fault}\n" for fault in wrong[:20]))
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
