"""How the CPU kernels are compiled: by Numba, without the GIL, cached on disk where a disk allows it.

A kernel never raises, allocates per element, or reads anything but its arguments. Modules that hold
kernels live in folders named `kernels` and are imported when first needed, so that `import inbounds`
does not pay for Numba.
"""

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numba
from numba.core.caching import FunctionCache

# Reassociation lets sums vectorise and `contract` allows fused multiply-adds. NaN and infinity keep
# their meaning: a NaN in one row must stay there, so `nnan` and `ninf` are never allowed.
VECTORISED = {"contract", "reassoc", "nsz", "arcp"}


def kernel(
    *,
    fastmath: bool | set[str] = False,
    inline: Literal["never", "always"] = "never",
    inner: bool = False,
    forceinline: bool = False,
) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function with Numba on its first call.

    An `inner` kernel is called by other kernels only. It has no entry from Python, which for a function of
    many arrays takes longer to compile than the function itself, and is cached as a part of its callers. With
    `forceinline` machine code holds no call of it: for a few instructions on vectors, which a call would
    pass in memory.

    The machine code is cached beside the source or in the user's cache folder. Where neither can be
    written (a read-only install without a home), the kernel is compiled anew in each process.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        njit: Any = numba.njit
        dispatcher = njit(
            nogil=True,
            fastmath=fastmath,
            error_model="numpy",
            inline=inline,
            forceinline=forceinline,
            no_cpython_wrapper=inner,
            no_cfunc_wrapper=inner,
            _nrt=not inner,
        )(function)
        if inner:
            return dispatcher
        with contextlib.suppress(RuntimeError):  # Numba found no folder it may write its cache to
            dispatcher._cache = _KernelCache(function)
        return dispatcher

    return decorate


def _digest_of_kernels() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*/kernels/*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


_DIGEST = _digest_of_kernels()


class _KernelCache(FunctionCache):
    """Numba's cache, with two differences.

    Numba keys a kernel by its own file, but machine code holds what it calls from other files too: here
    a change to any kernel recompiles them all. And a cache that fails (the disk is full, a file is cut
    short) costs time, never the answer.
    """

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(sig, codegen), _DIGEST)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)
