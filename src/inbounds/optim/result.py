"""What `minimize` returns: SciPy's fields, shaped like the batch."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from inbounds.optim.state import Memory, Stop


class Outcome(NamedTuple):
    """How a stop is told to the user: SciPy's status code and message, and ours where SciPy has none."""

    status: int
    message: str


OUTCOMES = {
    Stop.RUNNING: Outcome(-1, "RUNNING: NOT YET STOPPED"),
    Stop.GRADIENT: Outcome(0, "CONVERGENCE: NORM OF PROJECTED GRADIENT <= PGTOL"),
    Stop.REDUCTION: Outcome(0, "CONVERGENCE: RELATIVE REDUCTION OF F <= FACTR*EPSMCH"),
    Stop.MAXITER: Outcome(1, "STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT"),
    Stop.MAXFUN: Outcome(1, "STOP: TOTAL NO. OF F,G EVALUATIONS EXCEEDS LIMIT"),
    Stop.ABNORMAL: Outcome(
        2, "ABNORMAL: NO LOWER POINT ALONG THE STEEPEST DESCENT; IS THE GRADIENT THAT OF THE FUNCTION?"
    ),
    Stop.NONFINITE: Outcome(3, "NONFINITE: F OR ITS GRADIENT IS NOT FINITE AT X0; START ELSEWHERE"),
    Stop.HALTED: Outcome(99, "`callback` raised `StopIteration`."),
}
STATUSES = [OUTCOMES[stop].status for stop in Stop]


class InverseHessian:
    """The L-BFGS approximation of the inverse Hessian, as an operator of shape (*batch, n, n).

    Built on H₀ = I, as SciPy's `LbfgsInvHessProduct` is. Attributes sk and yk, (*batch, k, n), are the pairs
    it is made of, oldest first; a row that holds fewer than k is filled up with zeros, which change nothing.

    >>> s, y = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0]])
    >>> InverseHessian(s, y).todense()
    tensor([[0.5000, 0.0000],
            [0.0000, 1.0000]])
    """

    def __init__(self, sk: Float[Tensor, "*batch k n"], yk: Float[Tensor, "*batch k n"]) -> None:
        self.sk, self.yk = sk, yk

    @staticmethod
    def of(memory: Memory, batch: Sequence[int]) -> "InverseHessian":
        """The operator of the pairs an optimiser holds, brought from their ring into the order of age."""
        rows, pairs, n = memory.S.shape
        held = int(memory.held.max()) if rows else 0
        age = torch.arange(held, device=memory.S.device)
        slots = ((memory.head[:, None] + age) % pairs)[..., None].expand(rows, held, n)
        kept = (age < memory.held[:, None])[..., None]
        sk = memory.S.gather(1, slots).where(kept, 0.0)
        yk = memory.Y.gather(1, slots).where(kept, 0.0)
        return InverseHessian(sk.reshape(*batch, held, n), yk.reshape(*batch, held, n))

    @property
    def shape(self) -> torch.Size:
        """(*batch, n, n)."""
        return torch.Size((*self.sk.shape[:-2], self.sk.shape[-1], self.sk.shape[-1]))

    @property
    def dtype(self) -> torch.dtype:
        """That of the pairs, and of every product."""
        return self.sk.dtype

    @property
    def n_corrs(self) -> int:
        """Pairs held, by the row that holds most."""
        return self.sk.shape[-2]

    def matvec(self, v: Float[Tensor, "*rows n"]) -> Float[Tensor, "*batch n"]:
        """H v, for one vector a row: v is (*batch, n) or broadcasts to it."""
        return self._apply(v[..., None])[..., 0]

    def __matmul__(self, other: Tensor) -> Tensor:
        """As torch.matmul with `todense()`: `other` is a vector (n,) or a matrix (..., n, columns)."""
        return self.matvec(other) if other.ndim == 1 else self._apply(other)

    def todense(self) -> Float[Tensor, "*batch n n"]:
        """The whole matrix."""
        n = self.sk.shape[-1]
        return self._apply(torch.eye(n, dtype=self.dtype, device=self.sk.device).expand(self.shape))

    def _apply(self, q: Tensor) -> Tensor:
        # Nocedal's two loops (1980), on all rows and columns at once.
        q = q.to(self.dtype).expand(*torch.broadcast_shapes(q.shape[:-2], self.shape[:-2]), *q.shape[-2:])
        curvature = (self.sk * self.yk).sum(dim=-1)
        rho = torch.where(curvature != 0, 1 / curvature, 0.0)
        alphas: list[Tensor] = []
        for j in reversed(range(self.n_corrs)):
            s, y = self.sk[..., j, :], self.yk[..., j, :]
            alphas.append(rho[..., j, None, None] * (s[..., None, :] @ q))
            q = q - y[..., None] * alphas[-1]
        for j in range(self.n_corrs):
            s, y = self.sk[..., j, :], self.yk[..., j, :]
            beta = rho[..., j, None, None] * (y[..., None, :] @ q)
            q = q + s[..., None] * (alphas.pop() - beta)
        return q

    def __repr__(self) -> str:
        return f"<inverse Hessian of shape {tuple(self.shape)} from {self.n_corrs} pairs>"


@dataclass(frozen=True, eq=False, repr=False)
class OptimizeResult(Mapping[str, Any]):
    """The answer to one problem, or to a batch of them; fields by attribute or by key, named as SciPy's.

    Fields:
        x: the best point found, in the box; shaped like x0.
        fun: the function there, (*batch).
        jac: its gradient there, shaped like x0.
        nit, nfev: iterations, and evaluations of function and gradient, (*batch).
        status: 0 converged, 1 a limit was reached, 2 the line search failed, 3 not finite at x0,
            99 the callback raised StopIteration, -1 still running (only seen by a callback), (*batch).
        success: status is 0, (*batch).
        message: the status in words: a str, or for a batch lists of str nested like it.
        hess_inv: the approximate inverse Hessian, an `InverseHessian`; None for a callback.
    """

    x: Float[Tensor, "*batch n"]
    fun: Float[Tensor, "*batch"]
    jac: Float[Tensor, "*batch n"]
    nit: Int[Tensor, "*batch"]
    nfev: Int[Tensor, "*batch"]
    stop: Int[Tensor, "*batch"]  # a Stop
    memory: Memory | None = None

    @property
    def njev(self) -> Int[Tensor, "*batch"]:
        """Evaluations of the gradient: as many as of the function."""
        return self.nfev

    @cached_property
    def status(self) -> Int[Tensor, "*batch"]:
        """SciPy's codes, and two of ours; see the class."""
        return torch.tensor(STATUSES, device=self.stop.device)[self.stop]

    @cached_property
    def success(self) -> Bool[Tensor, "*batch"]:
        """Whether the run converged."""
        return self.status == 0

    @cached_property
    def message(self) -> Any:
        """A str, or lists of str nested like the batch; made when asked for."""
        return _messages(self.stop.tolist())

    @cached_property
    def hess_inv(self) -> InverseHessian | None:
        """Made when asked for."""
        return None if self.memory is None else InverseHessian.of(self.memory, self.fun.shape)

    def __getitem__(self, key: str) -> Any:
        if key not in KEYS:
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(KEYS)

    def __len__(self) -> int:
        return len(KEYS)

    def __repr__(self) -> str:
        shown = {key: self[key] for key in KEYS}
        if self.stop.ndim:  # a batch may have a million messages
            counts = Counter(self.stop.flatten().tolist())
            shown["message"] = "; ".join(f"{count} x {_messages(stop)}" for stop, count in counts.items())
        indent = "\n" + " " * 10
        return "\n".join(f"{key:>8}: {str(value).replace(chr(10), indent)}" for key, value in shown.items())


KEYS = ("message", "success", "status", "fun", "x", "nit", "jac", "nfev", "njev", "hess_inv")


def _messages(stops: Any) -> Any:
    if isinstance(stops, list):
        return [_messages(stop) for stop in stops]
    return OUTCOMES[Stop(stops)].message
