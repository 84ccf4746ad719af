"""Matrices whose columns touch at most two adjacent rows, and what a solver needs to know of one.

A mel filter bank is such a matrix. For every diagonal D ≥ 0, A D Aᵀ is tridiagonal.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

# Where every column stands between two bands' centres: `left`, `right` and `fraction` of `Bands`.
Place = tuple[Int[Tensor, " n"], Int[Tensor, " n"], Float[Tensor, " n"]]


class Bands(NamedTuple):
    """A (m, n) ≥ 0, its columns' places, and where each stands between the bands' centres.

    Column i touches the rows row[i] with lower[i] and row[i] + 1 with upper[i]; one of the two may be 0.
    A row's centre is the mean column index under its weights. Between the centres of `left` and `right`, a
    column stands at `fraction` of the way; before the first and after the last centre fraction is 0.
    """

    matrix: Float[Tensor, "m n"]
    row: Int[Tensor, " n"]
    lower: Float[Tensor, " n"]
    upper: Float[Tensor, " n"]
    touched: Bool[Tensor, " m"]  # rows with any column
    covered: Bool[Tensor, " n"]  # columns with any row
    left: Int[Tensor, " n"]
    right: Int[Tensor, " n"]
    fraction: Float[Tensor, " n"]

    @property
    def place(self) -> Place:
        """Where the columns stand."""
        return self.left, self.right, self.fraction

    def to(self, dtype: torch.dtype) -> "Bands":
        """The weights in another dtype."""
        return Bands(*(part.to(dtype) if part.is_floating_point() else part for part in self))


# Structures found so far, by where the matrix lies in memory; a view of the same memory is the same matrix.
_known: dict[tuple, tuple[StorageWeakRef, int, Bands | None]] = {}
_KNOWN_AT_MOST = 32


def bands(matrix: Float[Tensor, "m n"]) -> Bands | None:
    """The structure of a matrix, or None where a column touches other than two adjacent rows, or is negative.

    Entries below their row's largest by more than the dtype's precision count as zero: a bin exactly on a
    filter's edge. The answer is remembered as long as the tensor lives and is not written to.
    """
    matrix = matrix.detach()
    if matrix.is_inference():  # has no version that tells whether it was written to
        return _detect(matrix)
    storage = matrix.untyped_storage()
    place = (storage._cdata, matrix.storage_offset(), matrix.shape, matrix.stride(), matrix.dtype)
    reference, version, found = _known.get(place, (None, None, None))
    if reference is None or reference.expired() or version != matrix._version:
        found = _detect(matrix)
        while len(_known) >= _KNOWN_AT_MOST:
            _known.pop(next(iter(_known)), None)
        _known[place] = (StorageWeakRef(storage), matrix._version, found)
    return found


def _detect(matrix: Float[Tensor, "m n"]) -> Bands | None:
    m, n = matrix.shape
    if m == 0 or n == 0 or not bool((torch.isfinite(matrix) & (matrix >= 0.0)).all()):
        return None
    dust = torch.finfo(matrix.dtype).eps * matrix.amax(dim=1, keepdim=True)
    matrix = torch.where(matrix > dust, matrix, 0.0)
    touches = matrix > 0.0
    row = touches.to(torch.int8).argmax(dim=0)  # the first row touched; 0 where none is
    columns = torch.arange(n, device=matrix.device)
    lower = matrix[row, columns]
    upper = torch.where(row + 1 < m, matrix[(row + 1).clamp(max=m - 1), columns], 0.0)
    if bool((touches.sum(dim=0) != (lower > 0.0).int() + (upper > 0.0).int()).any()):
        return None
    left, right, fraction = between_centres(matrix)
    return Bands(
        matrix=matrix,
        row=row,
        lower=lower,
        upper=upper,
        touched=touches.any(dim=1),
        covered=touches.any(dim=0),
        left=left,
        right=right,
        fraction=fraction,
    )


def between_centres(matrix: Float[Tensor, "m n"]) -> Place:
    """Where the columns stand, in operations whose shapes do not depend on the values.

    The fraction is differentiable in the matrix.
    """
    columns = torch.arange(matrix.shape[1], dtype=torch.float64, device=matrix.device)
    weights = matrix.double()
    sums = weights.sum(dim=1)
    # A row without columns has its centre after all the others, and is never reached.
    centres = torch.where(sums > 0.0, weights @ columns / torch.where(sums > 0.0, sums, 1.0), torch.inf)
    centres, rows = centres.sort()
    after = torch.searchsorted(centres.detach(), columns, right=True)
    last = (sums > 0.0).sum().clamp(min=1) - 1
    left, right = (after - 1).clamp(min=0), torch.minimum(after, last)
    distance = centres[right] - centres[left]
    fraction = torch.where(
        distance > 0.0, (columns - centres[left]) / torch.where(distance > 0.0, distance, 1.0), 0.0
    )
    return rows[left], rows[right], fraction.clamp(0.0, 1.0).to(matrix.dtype)
