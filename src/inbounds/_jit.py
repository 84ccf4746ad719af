"""How the CPU kernels are compiled: by Numba, without the GIL, cached on disk where a disk allows it.

A kernel never raises, allocates per element, or reads anything but its arguments. Modules that hold
kernels live in folders named `kernels` and are imported when first needed, so that `import inbounds`
does not pay for Numba.
"""

from collections.abc import Callable
from typing import Any

import numba

# Reassociation lets sums vectorise and `contract` allows fused multiply-adds. NaN and infinity keep
# their meaning: a NaN in one row must stay there, so `nnan` and `ninf` are never allowed.
VECTORISED = {"contract", "reassoc", "nsz", "arcp"}


def kernel(
    *, fastmath: bool | set[str] = False, inline: str = "never"
) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function with Numba on its first call.

    The machine code is cached beside the source or in the user's cache folder. Where neither can be
    written (a read-only install without a home), the kernel is compiled anew in each process.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        options: dict[str, Any] = {
            "nogil": True,
            "fastmath": fastmath,
            "error_model": "numpy",
            "inline": inline,
        }
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # Numba found no folder it may write its cache to
            return numba.njit(**options)(function)

    return decorate
