"""Every item once, whatever the threads; errors arrive; a forked child does not hang."""

import multiprocessing
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from inbounds._parallel import for_each_block


@pytest.fixture(params=[1, 2, 8])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize(("count", "block"), [(0, 4), (1, 4), (4, 4), (103, 4), (5, 100)])
def test_every_item_is_visited_once(threads, count, block):
    visits = [0] * count
    blocks = []

    def work(start, stop):
        blocks.append((start, stop))
        for item in range(start, stop):
            visits[item] += 1

    for_each_block(work, count, block)
    assert visits == [1] * count
    assert sorted(blocks) == [(start, min(start + block, count)) for start in range(0, count, block)]


def test_work_that_calls_torch_runs_on_single_threads(threads):
    seen = []
    for_each_block(lambda start, stop: seen.append(torch.get_num_threads()), 50, 1, calls_torch=True)
    assert seen == [1] * 50
    assert torch.get_num_threads() == threads
    others = []
    newcomer = threading.Thread(target=lambda: others.append(torch.get_num_threads()))
    newcomer.start()
    newcomer.join()
    assert others == [threads]


def test_an_error_in_a_block_reaches_the_caller(threads):
    def work(start, stop):
        if start == 6:
            raise ValueError("block six")

    with pytest.raises(ValueError, match="block six"):
        for_each_block(work, 20, 2)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_nothing_more_is_begun(threads, error):
    begun = []

    def work(start, stop):
        begun.append(start)
        if threading.current_thread() is threading.main_thread():
            raise error
        time.sleep(0.01)

    with pytest.raises(error):
        for_each_block(work, 1000, 1)
    assert len(begun) < 100
    for_each_block(lambda start, stop: begun.append(-1), 5, 1)
    assert begun.count(-1) == 5


def test_many_callers_at_once():
    totals = []

    def call(_):
        done = []
        for_each_block(lambda start, stop: done.append(stop - start), 1000, 7)
        totals.append(sum(done))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(call, range(64)))
    assert totals == [1000] * 64


def _count_in_child(queue):
    done = []
    for_each_block(lambda start, stop: done.append(stop - start), 100, 3)
    queue.put(sum(done))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_makes_its_own_threads():
    for_each_block(lambda start, stop: None, 100, 3)  # the parent's pool exists
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_count_in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=30) == 100
    child.join(timeout=30)
    assert child.exitcode == 0


def test_blocks_run_on_several_threads():
    torch_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        both = threading.Barrier(2)  # passes only if two threads wait at once
        for_each_block(lambda start, stop: both.wait(timeout=30), 2, 1)
    finally:
        torch.set_num_threads(torch_threads)
