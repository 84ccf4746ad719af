"""What the property tests draw: seeded tensors of any shape, layout, dtype and scale."""

import math

import torch
from hypothesis import settings
from hypothesis import strategies as st

settings.register_profile("inbounds", max_examples=40, deadline=None, derandomize=True)
settings.load_profile("inbounds")

dtypes = st.sampled_from([torch.float32, torch.float64])
scales = st.sampled_from([1e-8, 1e-3, 1.0, 1e3, 1e8])
seeds = st.integers(0, 2**31)
batches = st.lists(st.integers(0, 3), max_size=2).map(tuple)


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def uniform(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@st.composite
def layouts(draw):
    """A function that gives a tensor other strides, the values being the same."""
    kind = draw(st.sampled_from(["contiguous", "transposed", "strided", "offset"]))

    def lay(value: torch.Tensor) -> torch.Tensor:
        if kind == "transposed" and value.ndim > 1:
            return value.mT.contiguous().mT
        if kind == "strided":
            return value.repeat_interleave(2, dim=-1)[..., ::2]
        if kind == "offset":
            padded = torch.full((value.numel() + 3,), math.nan, dtype=value.dtype)
            padded[3:] = value.reshape(-1)
            return padded[3:].view(value.shape)
        return value

    return lay


@st.composite
def boxes(draw, n: int, seed: int, dtype: torch.dtype):
    """Lower and upper bounds: free, half-open, finite and fixed variables mixed."""
    kinds = torch.tensor(draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)), dtype=torch.int64)
    centre, width = normal(seed + 1, n), uniform(seed + 2, n) * 3
    lower = torch.where((kinds == 0) | (kinds == 2), -torch.inf, centre - width)
    upper = torch.where((kinds == 0) | (kinds == 1), torch.inf, centre + width)
    fixed = kinds == 4
    lower, upper = torch.where(fixed, centre, lower), torch.where(fixed, centre, upper)
    return lower.to(dtype), upper.to(dtype)
