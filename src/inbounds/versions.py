"""What ran: the machine and the versions, for pages, tables and `inbounds info`."""

import os
import platform
from importlib import metadata

import torch

from inbounds import __version__


def version_of(package: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def machine() -> str:
    """One line: our version, PyTorch's, Python's, the processor."""
    versions = f"inbounds {__version__}, PyTorch {torch.__version__}, Python {platform.python_version()}"
    cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"{versions}, {platform.system()} {platform.machine()}, {cores}."
