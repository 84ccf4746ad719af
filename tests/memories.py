"""Limited memories as an optimiser leaves them: rings that have wrapped, each row at another place."""

import math

import torch
from torch import Tensor

from inbounds.optim.history import remember
from inbounds.optim.state import Memory, empty_memory


def random_memory(
    rows: int, n: int, m: int, updates: int, seed: int, condition: float = 30.0
) -> tuple[Memory, list[list[tuple[Tensor, Tensor]]]]:
    """A memory after this many offers, and the pairs each row should hold. A quarter are not offered, a
    quarter have too little curvature to be kept."""
    rng = torch.Generator().manual_seed(seed)
    dtype = torch.float64
    memory = empty_memory(torch.zeros(rows, n, dtype=dtype), m)
    expected: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(rows)]
    axes, _ = torch.linalg.qr(torch.randn(n, n, generator=rng, dtype=dtype))
    hessian = axes * torch.logspace(-1, math.log10(condition) - 1, n, dtype=dtype) @ axes.mT
    for _ in range(updates):
        s = torch.randn(rows, n, generator=rng, dtype=dtype)
        y = s @ hessian + 0.01 * torch.randn(rows, n, generator=rng, dtype=dtype)
        fate = torch.randint(4, (rows,), generator=rng)
        y = torch.where((fate == 1)[:, None], -y, y)
        curvature = (s * y).sum(dim=-1)
        slope = -torch.ones(rows, dtype=dtype)
        memory = remember(memory, s, y, curvature, slope, fate > 0)
        for row in range(rows):
            if fate[row] > 0 and curvature[row] > 0:
                expected[row] = [*expected[row], (s[row], y[row])][-m:]
    return memory, expected
