"""The same answers, to the bit, from any thread, process and number of threads."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import inbounds
from inbounds.audio import (
    InverseMelScale,
    MelSpec,
    griffin_lim,
    inverse_mel_scale,
    mel_filter_bank,
    mel_to_audio,
)

MEL = torch.rand(3, 40, 150, generator=torch.Generator().manual_seed(0))
BANK = mel_filter_bank(257, 40, 16000)
SPEC = MelSpec(16000, 512, 128, 40, power=1.0)
MAGNITUDE = BANK @ MEL[0]
A = torch.randn(20, 15, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
B = torch.randn(20, 60, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def inverse():
    return InverseMelScale(257, 40, 16000)(MEL)


def sound():
    return griffin_lim(MAGNITUDE, n_fft=512, n_iter=4, generator=torch.Generator().manual_seed(3))


def least_squares():
    return inbounds.nnls(A, B)


def minimum():
    x0 = torch.zeros(40, 15, dtype=torch.float64)
    return inbounds.minimize(lambda x: ((x @ A.T - B.T[:40]) ** 2).sum(-1), x0, (0.0, None)).x


def entropic():
    return inverse_mel_scale(MEL, BANK, distance="is")


def mels():
    return SPEC.mel(torch.randn(2, 30000, generator=torch.Generator().manual_seed(4)))


def joint():
    return mel_to_audio(MEL[0], SPEC, n_iter=10, generator=torch.Generator().manual_seed(3))


def boxed():
    return inbounds.lsq_linear(A, B, (-0.1, 0.1))


def one_large_minimum():
    x0 = torch.zeros(40_000, dtype=torch.float64)
    return inbounds.minimize(lambda x: ((x - 1) ** 4).sum(-1), x0, (0.0, 0.9), maxiter=5).x


def stepped():
    w = torch.nn.Parameter(torch.full((20_000,), 0.3))
    optimizer = inbounds.LBFGSB([w], lower=0.0, upper=2.0, max_iter=5)

    def closure():
        optimizer.zero_grad()
        loss = ((1.7 * w - 1) ** 4).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return w.detach()


WORK = [inverse, sound, least_squares, minimum, entropic, mels, joint, boxed, one_large_minimum, stepped]


@pytest.mark.parametrize("work", WORK)
def test_the_number_of_threads_changes_no_bit(work):
    before = torch.get_num_threads()
    answers = []
    try:
        for threads in (1, 2, 8):
            torch.set_num_threads(threads)
            answers.append(work())
    finally:
        torch.set_num_threads(before)
    assert torch.equal(answers[0], answers[1])
    assert torch.equal(answers[0], answers[2])


@pytest.mark.parametrize("work", WORK[:4])
def test_sixteen_threads_at_once(work):
    expected = work()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: work(), range(32)))
    assert all(torch.equal(answer, expected) for answer in answers)


def test_one_module_shared_by_threads():
    module, expected = InverseMelScale(257, 40, 16000), inverse()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: module(MEL), range(64)))
    assert all(torch.equal(answer, expected) for answer in answers)


class Inverted(torch.utils.data.Dataset):
    def __init__(self):
        self.module = InverseMelScale(257, 40, 16000)

    def __len__(self):
        return 6

    def __getitem__(self, i):
        return self.module(MEL[i % 3])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_in_workers_of_a_data_loader(method):
    dataset = Inverted()
    expected = [dataset[i] for i in range(6)]  # the parent's threads are up before the children are
    loader = torch.utils.data.DataLoader(
        dataset,
        batch_size=None,
        num_workers=2,
        timeout=120,
        multiprocessing_context=multiprocessing.get_context(method),
    )
    for answer, right in zip(loader, expected, strict=True):
        torch.testing.assert_close(answer, right, rtol=1e-6, atol=1e-7)
