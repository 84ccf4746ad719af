"""Kernels compile and run whatever happens to their cache."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

MODULE = """
from inbounds._jit import kernel

@kernel()
def double(x):
    return 2 * x
"""
USE = "import sys; sys.path.insert(0, {folder!r}); import doubling; print(doubling.double(21), {show})"
HITS = "sum(doubling.double.stats.cache_hits.values())"


@pytest.fixture
def use(tmp_path):
    """Run the kernel in a process of its own; returns what it printed: answer and cache hits."""
    (tmp_path / "doubling.py").write_text(MODULE)

    def run(wrapper=(), **environment):
        script = USE.format(folder=str(tmp_path), show=HITS)
        done = subprocess.run(
            [*wrapper, sys.executable, "-c", script],
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    return run


def cache_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.nbc"))


def test_second_process_finds_the_first_ones_machine_code(use, tmp_path):
    cache = str(tmp_path / "cache")
    assert use(NUMBA_CACHE_DIR=cache) == ["42", "0"]
    assert use(NUMBA_CACHE_DIR=cache) == ["42", "1"]


def test_a_file_cut_short_is_compiled_again(use, tmp_path):
    use(NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    for path in cache_files(tmp_path):
        path.write_bytes(path.read_bytes()[:100])
    assert use(NUMBA_CACHE_DIR=str(tmp_path / "cache")) == ["42", "0"]


def test_no_cache_folder_can_be_written(use, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    nowhere = str(tmp_path / "file" / "cache")
    # The locators are asked in turn; naming one that cannot work leaves Numba none.
    answer = use(NUMBA_CACHE_DIR=nowhere, NUMBA_CACHE_LOCATOR_CLASSES="UserProvidedCacheLocator")
    assert answer == ["42", "0"]
    assert cache_files(tmp_path) == []


def test_the_disk_is_full_when_the_kernel_is_saved(use, tmp_path):
    # A limit of zero bytes on files written stands in for a full disk: write() fails as it would there.
    limit = [
        sys.executable,
        "-c",
        "import os, resource, signal, sys;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0));"
        "os.execv(sys.argv[1], sys.argv[1:])",
    ]
    assert use(wrapper=limit, NUMBA_CACHE_DIR=str(tmp_path / "cache")) == ["42", "0"]


def test_processes_compile_at_once(use, tmp_path):
    cache = str(tmp_path / "cache")
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: use(NUMBA_CACHE_DIR=cache)[0], range(3)))
    assert answers == ["42"] * 3
    assert use(NUMBA_CACHE_DIR=cache) == ["42", "1"]
