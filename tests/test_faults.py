"""What becomes of files when a process is killed, the disk fills up, or a folder cannot be written."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

import inbounds

FILES = 12
SCRIPT = "import sys; from inbounds.cli import app; sys.exit(app.run(sys.argv[1:]))"
FULL_DISK = (
    "import resource, signal;"
    "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"  # a write past the limit then fails, as on a full disk
    "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
)


@pytest.fixture
def mels(tmp_path) -> Path:
    """A folder of mel spectrograms, one of them spoilt."""
    folder = tmp_path / "mels"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(FILES):
        np.save(folder / f"{i:02}.npy", np.log(rng.random((80, 100), dtype=np.float32) + 1e-5))
    (folder / "05.npy").write_bytes(b"not a mel at all")
    return folder


def command(mels: Path, out: Path, *, before: str = "") -> list[str]:
    arguments = ["mel2wav", str(mels), "-o", str(out), "--preset", "hifigan", "--iterations", "8"]
    return [sys.executable, "-c", before + SCRIPT, *arguments]


def environment(*, measured: bool = True) -> dict[str, str]:
    """`measured` by coverage, if that is what is going on."""
    ours = {name: value for name, value in os.environ.items() if measured or not name.startswith("COVERAGE")}
    return ours | {"PYTHONPATH": str(Path(inbounds.__file__).parents[1])}


def finish(line: list[str], *, measured: bool = True) -> subprocess.CompletedProcess:
    environ = environment(measured=measured)
    return subprocess.run(line, env=environ, capture_output=True, text=True, timeout=240, check=False)


def test_killed_and_resumed_loses_nothing(mels, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(command(mels, out), env=environment(), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(out.glob("*.wav"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = {path: path.stat().st_mtime_ns for path in out.glob("*.wav")}
    assert len(first) >= 2
    assert len({soundfile.info(path).frames for path in first}) == 1, "a half-written file under its name"

    done = finish(command(mels, out))
    assert done.returncode == 1
    assert "05.npy" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    made = sorted(out.glob("*.wav"))
    assert [path.stem for path in made] == [f"{i:02}" for i in range(FILES) if i != 5]
    assert len({soundfile.info(path).frames for path in made}) == 1
    assert all(path.stat().st_mtime_ns == written for path, written in first.items()), "done twice"


@pytest.mark.parametrize("jobs", [1, 3])
def test_interrupted_is_one_line_and_goes_on_where_it_stopped(mels, tmp_path, jobs):
    out = tmp_path / "out"
    line = [*command(mels, out), "--jobs", str(jobs)]
    process = subprocess.Popen(
        line, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while len(list(out.glob("*.wav"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    said, complained = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == ""
    assert [line for line in complained.splitlines() if line and "05.npy" not in line] == [
        "inbounds: interrupted"
    ]
    first = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert 2 <= len(first) < FILES - 1
    assert all(path.suffix == ".wav" for path in first), "a part left behind"
    assert len({soundfile.info(path).frames for path in first}) == 1

    finish(line)
    assert sorted(path.stem for path in out.iterdir()) == [f"{i:02}" for i in range(FILES) if i != 5]
    assert all(path.stat().st_mtime_ns == written for path, written in first.items()), "done twice"


def test_a_full_disk_is_one_line_a_file_and_leaves_nothing_behind(mels, tmp_path):
    out = tmp_path / "out"
    done = finish(command(mels, out, before=FULL_DISK), measured=False)  # which writes a file, too
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == FILES
    assert "Traceback" not in done.stderr
    assert not [path for path in out.rglob("*") if path.is_file()]


def test_an_output_folder_that_cannot_be_made(mels, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = finish(command(mels, tmp_path / "file" / "out"))
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert (tmp_path / "file").read_text() == "in the way"


def test_nowhere_to_keep_kernels(mels, tmp_path):
    """No cache folder and no home: compiled in memory, slower, and right."""
    nowhere = {"NUMBA_CACHE_DIR": "/dev/null/x", "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"}
    script = (
        "import torch, inbounds;"
        "print(inbounds.minimize(lambda x: ((x - 3) ** 2).sum(-1), torch.zeros(2), (0.0, 1.0)).x.tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment(), **nowhere, "HOME": "/dev/null"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.stdout.strip() == "[1.0, 1.0]", done.stderr
