"""Broken files for as long as you like, through every reader: mels, sounds, configurations.

    python bench/fuzz.py --minutes 10

Each case is a valid file spoilt: bytes flipped, cut, repeated, spliced with another file; numbers replaced by
the ones that overflow; archives taken apart and packed again; documents with other values, names and depths.
A reader must give what it promises or raise OSError or ValueError in one line, in seconds, and in memory of
the file's own order. Cases are read in a process of their own, so a crash in a library below is a finding
like any other; the files of findings are kept. Exits with 1 if there are any.
"""

import argparse
import multiprocessing
import os
import random
import resource
import signal
import tempfile
import time
import traceback
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch

from inbounds.audio import MelSpec
from inbounds.audio.io import read_audio, read_mel
from report import machine, table, write
from spoilt import case

READERS = {
    "npy": read_mel,
    "pt": read_mel,
    "safetensors": read_mel,
    "wav": read_audio,
    "flac": read_audio,
    "ogg": read_audio,
    "mp3": read_audio,
    "json": MelSpec.from_file,
    "yaml": MelSpec.from_file,
}
CHUNK = 100  # cases a process is given at a time
SECONDS = 10  # a case may take; a document of 1 MiB takes PyYAML seconds
GROWTH = 256 * 2**20  # bytes that a case may add to the most memory ever used: its file is a few KiB
ADDRESSES = 64 * 2**30  # bytes: only keeps the machine alive


def verdict(kind: str, path: Path) -> str:
    """What a reader makes of a file: "read", the name of a documented error, or a finding ("! ...")."""
    try:
        return _promised(READERS[kind](path))
    except TimeoutError:
        return f"! more than {SECONDS} s"
    except (OSError, ValueError) as error:
        return _documented(error, path)
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"! {type(error).__name__} in {Path(where.filename).name}:{where.lineno}: {error}"


def judged(kind: str, path: Path) -> str:
    """The same with an eye on the clock and on memory; after `prepare`."""
    before, start = _peak(), time.monotonic()
    signal.alarm(SECONDS)
    outcome = verdict(kind, path)
    signal.alarm(0)
    if time.monotonic() - start > SECONDS:
        return f"! {time.monotonic() - start:.0f} s"
    if _peak() - before > GROWTH:
        return f"! {(_peak() - before) / 2**20:.0f} MiB"
    return outcome


def _promised(found: object) -> str:
    if isinstance(found, MelSpec):
        return "read"
    values = found if isinstance(found, torch.Tensor) else found.samples
    kept = values.dtype in (torch.float32, torch.float64) and values.ndim in (2, 3) and values.numel() > 0
    plain = not values.requires_grad and values.layout == torch.strided and values.device.type == "cpu"
    return "read" if kept and plain and bool(values.isfinite().all()) else "! not what was promised"


def _documented(error: Exception, path: Path) -> str:
    if not isinstance(error, OSError) and type(error) is not ValueError:
        return f"! {type(error).__name__}, which is not ValueError: {error}"
    sentence = str(error)
    if "\n" in sentence or len(sentence) > 400 + len(str(path)) or str(path) not in sentence:
        return f"! not one line that names the file: {sentence[:1000]!r}"
    return type(error).__name__


def _peak() -> int:
    """The most memory this process ever used, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run(kind: str, seeds: range, folder: Path) -> Counter:
    """Judge the cases of these seeds. Findings come with the seed; their files stay in the folder."""
    outcomes: Counter = Counter()
    for seed in seeds:
        path = folder / f"case-{kind}-{seed}.{kind}"
        path.write_bytes(case(kind, random.Random(f"{kind} {seed}")))
        outcome = judged(kind, path)
        if outcome.startswith("!"):
            outcome = f"! {kind} {seed}: {outcome[2:600]}"
        else:
            path.unlink()
        outcomes[outcome] += 1
    return outcomes


def prepare() -> None:
    """In a process that reads: bounded memory, an alarm clock, one thread."""
    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # mpg123 complains there
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    signal.signal(signal.SIGALRM, _ring)


def _ring(*_: object) -> None:
    raise TimeoutError


class Readers:
    """A process that reads cases, replaced when it dies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=prepare)

    def close(self) -> None:
        """End it, also in the middle of a case."""
        for process in list(self._pool._processes.values()):
            process.kill()
        self._pool.shutdown()

    def outcomes(self, kind: str, seeds: range) -> Counter:
        """Of all these cases. A crash or a hang is looked for one case at a time."""
        try:
            return self._pool.submit(run, kind, seeds, self.folder).result(2 * SECONDS + len(seeds))
        except (BrokenProcessPool, TimeoutError) as death:
            self.close()
            self._start()
            if len(seeds) == 1:
                return Counter([f"! {kind} {seeds[0]}: {type(death).__name__}"])
        return sum((self.outcomes(kind, range(seed, seed + 1)) for seed in seeds), Counter())


def fuzz(minutes: float, seed: int, folder: Path) -> dict[str, Counter]:
    """Outcomes by kind of file, each kind given the same time."""
    found: dict[str, Counter] = {kind: Counter() for kind in READERS}
    spent = dict.fromkeys(READERS, 0.0)
    readers, until = Readers(folder), time.monotonic() + 60 * minutes
    while (now := time.monotonic()) < until:
        kind = min(spent, key=spent.__getitem__)
        start = seed + found[kind].total()
        outcomes = readers.outcomes(kind, range(start, start + CHUNK))
        found[kind] += outcomes
        spent[kind] += time.monotonic() - now
        for outcome in outcomes:
            if outcome.startswith("!"):
                print(outcome, flush=True)
    readers.close()
    return found


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--minutes", type=float, default=10.0)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument(
        "--keep", type=Path, help="where the files of findings stay; a new folder by default"
    )
    given = options.parse_args()
    folder = given.keep or Path(tempfile.mkdtemp(prefix="fuzz"))
    folder.mkdir(parents=True, exist_ok=True)
    found = fuzz(given.minutes, given.seed, folder)
    findings = [outcome for counts in found.values() for outcome in counts if outcome.startswith("!")]
    rows = [
        (
            kind,
            counts.total(),
            counts["read"],
            counts["ValueError"] + counts["OSError"],
            len([o for o in counts if o[0] == "!"]),
        )
        for kind, counts in found.items()
    ]
    versions = machine("soundfile", "pyyaml", "safetensors")
    text = f"## Fuzzing\n\n{given.minutes:g} minutes of spoilt files. {versions}\n\n"
    text += table(["file", "cases", "read", "refused", "findings"], rows)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    text += f"\nMost memory of a process that read them: {peak:.0f} MiB.\n"
    write("fuzz", text + "".join(f"- {finding[2:]}\n" for finding in findings[:20]))
    if findings:
        print(f"{len(findings)} findings; their files are in {folder}")
    return 1 if findings else 0


if __name__ == "__main__":
    raise SystemExit(main())
