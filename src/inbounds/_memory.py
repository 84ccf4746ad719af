"""Memory for large answers."""

import numpy as np
import torch
from torch import Tensor

_HUGE = 1 << 22  # bytes; NumPy's own limit


def empty(*shape: int, like: Tensor) -> Tensor:
    """Uninitialised, of the dtype and on the device of `like`; in huge pages where the system has them.

    Fresh memory costs a fault a page, and with pages of 4 KiB that is half the time of a fast solver that
    fills tens of megabytes. On Linux NumPy asks for pages of 2 MiB, PyTorch does not.
    """
    size = like.dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    if like.device.type != "cpu" or size < _HUGE or like.dtype not in (torch.float32, torch.float64):
        return like.new_empty(shape)
    return torch.from_numpy(np.empty(shape, dtype=np.float32 if like.dtype == torch.float32 else np.float64))
