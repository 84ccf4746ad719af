"""Blocks of independent work spread over threads.

The kernels release the GIL, so threads run side by side. Blocks have a fixed size, whatever the number
of threads, so the answer's bits do not depend on it.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

import torch

_pool: ThreadPoolExecutor | None = None
_starting = threading.Lock()


def _forget_pool() -> None:
    # A forked child has the parent's pool object, but none of its threads.
    global _pool, _starting
    _pool, _starting = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def for_each_block(
    work: Callable[[int, int], None], count: int, block: int, *, calls_torch: bool = False
) -> None:
    """Call work(start, stop) for consecutive blocks of at most `block` of the `count` items.

    Runs on torch.get_num_threads() threads, the caller's included; on the caller's alone when there
    is one block or one thread. Work that calls PyTorch operations says so: it is then left to the
    pool's threads, where an operation runs on one thread, while in the caller's each would spread over
    all cores once more and fight the others for them (an FFT takes twice as long, and far longer on a
    busy machine).
    """
    starts = range(0, count, block)
    workers = min(torch.get_num_threads(), len(starts))
    alone = torch.get_num_threads() == 1 if calls_torch else workers <= 1
    if alone:
        for start in starts:
            work(start, min(start + block, count))
        return

    queue = iter(starts)  # next() on a range iterator is atomic under the GIL

    def drain() -> None:
        for start in queue:
            work(start, min(start + block, count))

    helpers = [_shared_pool().submit(drain) for _ in range(workers if calls_torch else workers - 1)]
    try:
        if not calls_torch:
            drain()
        for helper in helpers:
            helper.result()
    except BaseException:  # an error or an interruption: nothing more is begun, and what runs is waited for
        for _ in queue:
            pass
        wait(helpers)
        raise


def _shared_pool() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(
            max_workers=max(1, (os.cpu_count() or 1)),
            thread_name_prefix="inbounds",
            initializer=_use_one_torch_thread,
        )
    return _pool


def _use_one_torch_thread() -> None:
    # torch.set_num_threads acts on the thread that calls it, and on the default of threads to come: a
    # thread that ends at once puts that default back.
    with _starting:
        default = torch.get_num_threads()
        torch.set_num_threads(1)
        restore = threading.Thread(target=torch.set_num_threads, args=(default,))
        restore.start()
        restore.join()
