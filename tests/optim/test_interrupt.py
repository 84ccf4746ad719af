"""KeyboardInterrupt anywhere in the middle of a solve: what it leaves can be gone on from."""

import copy
import os
import signal
import sys
import threading
from pathlib import Path

import pytest
import torch

import inbounds
from inbounds.optim import engine, lbfgsb
from problems import rosenbrock

SOURCE = str(Path(inbounds.__file__).parent)


class Interruption:
    """Raises KeyboardInterrupt in place of the given line of ours to run, the first being 0."""

    def __init__(self, line: int):
        self.left = line

    def __enter__(self):
        self.before = sys.gettrace()
        sys.settrace(self.enter)

    def __exit__(self, *error):
        sys.settrace(self.before)

    def enter(self, frame, event, argument):
        return self.watch if frame.f_code.co_filename.startswith(SOURCE) else None

    def watch(self, frame, event, argument):
        if event == "line":
            self.left -= 1
            if self.left == -1:
                raise KeyboardInterrupt
        return self.watch


def valley():
    w = torch.nn.Parameter(torch.full((6,), 0.5, dtype=torch.float64))
    optimizer = inbounds.LBFGSB([w], lower=-2.0, upper=2.0, max_iter=4)

    def closure():
        optimizer.zero_grad()
        loss = rosenbrock(w)
        loss.backward()
        return loss

    return w, optimizer, closure


def lines_of(step) -> int:
    counting = Interruption(10**9)
    with counting:
        step()
    return 10**9 - counting.left


@pytest.mark.parametrize("engine_of", [engine.of, lambda x: lbfgsb], ids=["rows", "tensors"])
def test_a_step_interrupted_at_any_line(engine_of, monkeypatch):
    monkeypatch.setattr(engine, "of", engine_of)
    w, optimizer, closure = valley()
    optimizer.step(closure)
    start, state = w.detach().clone(), copy.deepcopy(optimizer.state_dict())
    total = lines_of(lambda: optimizer.step(closure))
    assert total > 100
    for line in range(0, total, max(1, total // 30)):
        with torch.no_grad():
            w.copy_(start)
        optimizer.load_state_dict(copy.deepcopy(state))
        before = float(rosenbrock(start.detach()))
        with pytest.raises(KeyboardInterrupt), Interruption(line):
            optimizer.step(closure)
        assert w.isfinite().all()
        assert ((w >= -2) & (w <= 2)).all()
        copied = valley()[1]
        copied.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        for _ in range(12):
            optimizer.step(closure)
        assert float(rosenbrock(w.detach())) < 1e-8 < before, (
            f"after an interruption at line {line} of {total}"
        )


@pytest.mark.parametrize("batch", [(), (300,)])
def test_minimize_interrupted_at_any_line(batch):
    def solve():
        return inbounds.minimize(lambda x: ((x - 1) ** 4).sum(-1), x0, (lower, 0.9), maxiter=6)

    x0, lower = torch.full((*batch, 3), -3.0), torch.full((3,), -5.0)
    expected, total = solve().x, lines_of(solve)
    for line in range(0, total, max(1, total // 40)):
        with pytest.raises(KeyboardInterrupt), Interruption(line):
            solve()
        assert torch.equal(solve().x, expected)
    assert (x0 == -3).all()
    assert (lower == -5).all()


def test_a_real_interruption_while_threads_work():
    x0 = torch.zeros(4000, 30, dtype=torch.float64)
    evaluations = []

    def fun(x):
        evaluations.append(1)
        if len(evaluations) == 3:  # arrives within milliseconds, wherever we are then
            threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
        return ((x - torch.linspace(0, 2, 30, dtype=x.dtype)) ** 4).sum(-1)

    def without_end():
        while True:
            inbounds.minimize(fun, x0, (0.0, 1.0), ftol=0.0, gtol=1e-12)

    with pytest.raises(KeyboardInterrupt):
        without_end()
    again = inbounds.minimize(fun, x0[:5], (0.0, 1.0))
    assert again.success.all()
