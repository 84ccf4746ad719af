"""`inbounds info`: what is installed, what there is to compute on, and which kernels do it."""

import torch

from inbounds.cli.console import figure, say
from inbounds.versions import machine, version_of

PACKAGES = ("torch", "numba", "numpy", "soundfile", "soxr", "matplotlib", "pesq", "pystoi")


def info() -> None:
    """Print versions, devices, and the kernels in use."""
    say(machine())
    say("packages")
    for name in PACKAGES:
        figure(name, version_of(name) or "not installed")
    say("devices")
    figure("cpu", f"{torch.get_num_threads()} threads: kernels compiled by Numba")
    for index in range(torch.cuda.device_count()):  # pragma: cuda
        memory = torch.cuda.get_device_properties(index).total_memory / 2**30
        name = torch.cuda.get_device_name(index)
        figure(f"cuda:{index}", f"{name}, {memory:.0f} GiB: PyTorch operations")
    if not torch.cuda.is_available():
        figure("cuda", "none")
