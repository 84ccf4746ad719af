"""The banded solve as an operator of PyTorch's, so that compile, export, autograd and vmap know it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from inbounds import _checks, _memory
from inbounds.nnls.banded_cpu import Answer, solve_cpu
from inbounds.nnls.banded_grad import transposed
from inbounds.nnls.bands import Bands, bands
from inbounds.nnls.frames import solve_frames
from inbounds.nnls.newton import Choice

# Bytes of x that the tensor engine works on at a time; it needs about ten such arrays.
_CHUNK = 1 << 22


@torch.library.custom_op("inbounds::banded_nnls", mutates_args=())
def banded_nnls(
    matrix: Tensor,
    b: Tensor,
    prior: Tensor | None,
    prior_name: str,
    distance: str,
    relative: bool,
    ridge: float,
    if_negative: str,
    keep_dual: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Solve every column: matrix (m, n), b (batch, m, k), prior (batch, n, k) where it is given.

    if_negative is the sentence that refuses a b with negative entries; the empty one lets them pass.
    Returns x (batch, n, k), the dual (batch, m, k; no columns unless kept), nit and converged (batch, k).
    """
    # The least value is found in a tenth of the time; a NaN hides it.
    suspect = if_negative and b.numel() > 0 and not bool(b.amin() >= 0.0)
    if suspect and bool((b < 0.0).any()):
        raise ValueError(f"{if_negative}; {_checks.violations(b < 0.0)}")
    answer = _empty(matrix, b, keep_dual, _memory.empty)
    choice = Choice(prior_name, distance, relative, ridge)
    bank = structure(matrix).to(torch.float32 if b.dtype.itemsize < 4 else b.dtype)
    engine = solve_cpu if b.device.type == "cpu" else solve_tensor
    engine(bank, b, prior, choice, answer)
    return answer.x, answer.dual, answer.nit, answer.converged


def structure(matrix: Tensor) -> Bands:
    """The bands of a matrix that must have them."""
    found = bands(matrix)
    if found is None:
        raise ValueError(
            "A must be non-negative and finite, and each of its columns touch at most two adjacent rows"
        )
    return found


def solve_tensor(bands: Bands, b: Tensor, prior: Tensor | None, choice: Choice, answer: Answer) -> None:
    """Fill `answer` by tensor operations on b's device, a chunk of frames at a time."""
    k, working = b.shape[2], bands.matrix.dtype
    chunk = max(16, _CHUNK // (bands.matrix.shape[1] * working.itemsize))
    for start in range(0, b.shape[0] * k, chunk):
        column = torch.arange(start, min(start + chunk, b.shape[0] * k), device=b.device)
        item, frame = column // k, column % k
        given = None if prior is None else prior[item, :, frame].to(working)
        found = solve_frames(bands, b[item, :, frame].to(working), given, choice)
        answer.x[item, :, frame] = found.x.to(answer.x.dtype)
        answer.nit[item, frame] = found.nit
        answer.converged[item, frame] = found.converged
        if answer.dual.shape[-1]:
            answer.dual[item, :, frame] = found.dual.to(answer.dual.dtype)


def _empty(matrix: Tensor, b: Tensor, keep_dual: bool, empty: Callable[..., Tensor]) -> Answer:
    batch, m, k = b.shape
    return Answer(
        empty(batch, matrix.shape[1], k, like=b),
        b.new_empty(batch, m, k if keep_dual else 0),
        torch.empty(batch, k, dtype=torch.int64, device=b.device),
        torch.empty(batch, k, dtype=torch.bool, device=b.device),
    )


@banded_nnls.register_fake
def _fake(matrix, b, prior, prior_name, distance, relative, ridge, if_negative, keep_dual):
    return tuple(_empty(matrix, b, keep_dual, lambda *shape, like: like.new_empty(shape)))


def _remember(ctx: Any, inputs: tuple, output: tuple) -> None:
    matrix, b, prior, prior_name, distance, relative, ridge, _, keep_dual = inputs
    if not keep_dual:
        raise RuntimeError("inbounds::banded_nnls must be called with keep_dual where a gradient is wanted")
    ctx.save_for_backward(matrix, b, prior, output[0], output[1])
    ctx.choice = Choice(prior_name, distance, relative, ridge)


def _backward(ctx: Any, grad_x: Tensor, grad_dual: Tensor, *_: None) -> tuple:
    matrix, b, prior, x, dual = ctx.saved_tensors
    shape = b.shape

    def frames(columns: Tensor) -> Tensor:
        return columns.movedim(1, -1).reshape(-1, columns.shape[1])

    def columns(frames: Tensor) -> Tensor:
        return frames.reshape(shape[0], shape[2], -1).movedim(-1, 1)

    working = torch.float32 if b.dtype.itemsize < 4 else b.dtype
    grad_matrix, grad_b, grad_prior = transposed(
        matrix.to(working),
        frames(b).to(working),
        None if prior is None else frames(prior).to(working),
        frames(x).to(working),
        frames(dual).to(working),
        frames(grad_x).to(working),
        frames(grad_dual).to(working),
        ctx.choice,
    )
    return (
        grad_matrix.to(matrix.dtype),
        columns(grad_b).to(b.dtype),
        None if grad_prior is None else columns(grad_prior).to(b.dtype),
        *(None,) * 6,
    )


banded_nnls.register_autograd(_backward, setup_context=_remember)


@banded_nnls.register_vmap
def _(info, in_dims, matrix, b, prior, prior_name, distance, relative, ridge, if_negative, keep_dual):
    """Items of a vmap join the batch, unless the matrix differs between them."""
    matrix_dim, b_dim, prior_dim = in_dims[:3]
    if matrix_dim is not None:
        raise NotImplementedError("vmap over the matrix of banded_nnls is not supported; vmap over b")

    def join(value: Tensor | None, dim: int | None) -> Tensor | None:
        if value is None:
            return None
        value = value.expand(info.batch_size, *value.shape) if dim is None else value.movedim(dim, 0)
        return value.reshape(-1, *value.shape[2:])

    answers = banded_nnls(
        matrix,
        join(b, b_dim),
        join(prior, prior_dim),
        prior_name,
        distance,
        relative,
        ridge,
        if_negative,
        keep_dual,
    )
    return tuple(part.unflatten(0, (info.batch_size, -1)) for part in answers), (0, 0, 0, 0)
