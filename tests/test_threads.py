"""The same answers, to the bit, from any thread, process and number of threads."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import inbounds
from inbounds.audio import InverseMelScale, griffin_lim, mel_filter_bank

MEL = torch.rand(3, 40, 150, generator=torch.Generator().manual_seed(0))
MAGNITUDE = mel_filter_bank(257, 40, 16000) @ MEL[0]
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


WORK = [inverse, sound, least_squares, minimum]


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


@pytest.mark.parametrize("work", WORK)
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
