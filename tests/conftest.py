"""Shapes are checked while the tests run; fixtures every test may ask for."""

import os
import pkgutil
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

SOURCE = Path(__file__).parents[1] / "src" / "inbounds"


def _checked_modules() -> list[str]:
    """Every module but the compiled kernels, which are not ordinary Python functions."""
    found = pkgutil.walk_packages([str(SOURCE)], prefix="inbounds.", onerror=lambda name: None)
    names = [module.name for module in found if not module.ispkg and ".kernels" not in module.name]
    return names


# tests/unchecked meets the package as its users do, without the checks: a second run, with this variable set.
# (The checks answer bad input before the package can, and torch.compile cannot trace them.)
CHECKED = not os.environ.get("INBOUNDS_UNCHECKED")
collect_ignore = ["unchecked"] if CHECKED else []
if CHECKED:
    install_import_hook(_checked_modules(), "typecheck.checked")

import torch  # noqa: E402


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


@pytest.fixture(
    params=[
        "cpu",
        pytest.param(
            "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
        ),
    ]
)
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)
