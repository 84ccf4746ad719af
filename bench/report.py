"""What the benchmarks share: interleaved timing, tables, and where results are written."""

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path

import torch

HERE = Path(__file__).parent


def interleaved(candidates: Mapping[str, Callable[[], object]], repeats: int = 5) -> dict[str, float]:
    """Median seconds of each candidate. They take turns, so that a noisy machine is noisy for all."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(repeats + 1):
        for name, run in candidates.items():
            synchronise()
            start = time.perf_counter()
            run()
            synchronise()
            if turn:  # the first turn warms up
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def table(headers: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table; floats are shown to three significant figures."""

    def cell(value: object) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    lines = ["| " + " | ".join(headers) + " |"]
    lines.append("|" + "---|" * (lines[0].count("|") - 1))
    lines += ["| " + " | ".join(map(cell, row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def machine(*packages: str) -> str:
    """One line: processor, cores, versions, commit."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "numba", *packages))
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    ).stdout.strip()
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    system = f"{platform.machine()}, {cores}{gpu}; Python {platform.python_version()}"
    return f"{system}, {versions}; commit {commit}."


def write(name: str, text: str) -> None:
    """Replace results/NAME.md with this text, and gather every part into RESULTS.md."""
    parts = HERE / "results"
    parts.mkdir(exist_ok=True)
    (parts / f"{name}.md").write_text(text.rstrip() + "\n")
    body = "\n".join(part.read_text() for part in sorted(parts.glob("*.md")))
    (HERE / "RESULTS.md").write_text("# Results\n\nWritten by `make bench`; one section a script.\n\n" + body)
