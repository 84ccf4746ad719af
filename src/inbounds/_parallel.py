"""Blocks of independent work spread over threads.

The kernels release the GIL, so threads run side by side. Blocks have a fixed size, whatever the number
of threads, so the answer's bits do not depend on it.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

_pool: ThreadPoolExecutor | None = None


def _forget_pool() -> None:
    # A forked child has the parent's pool object, but none of its threads.
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def for_each_block(work: Callable[[int, int], None], count: int, block: int) -> None:
    """Call work(start, stop) for consecutive blocks of at most `block` of the `count` items.

    Runs on torch.get_num_threads() threads, the caller's included; on the caller's alone when there
    is one block or one thread.
    """
    starts = range(0, count, block)
    workers = min(torch.get_num_threads(), len(starts))
    if workers <= 1:
        for start in starts:
            work(start, min(start + block, count))
        return

    queue = iter(starts)  # next() on a range iterator is atomic under the GIL

    def drain() -> None:
        for start in queue:
            work(start, min(start + block, count))

    helpers = [_shared_pool().submit(drain) for _ in range(workers - 1)]
    try:
        drain()
    finally:
        for helper in helpers:
            helper.result()


def _shared_pool() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(max_workers=max(1, (os.cpu_count() or 1)), thread_name_prefix="inbounds")
    return _pool
