"""One file or a folder of them, each input to one output, whatever becomes of the others."""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path

from inbounds.cli.console import OUT_OF_MEMORY, Misuse, SomeFailed, complain, progress, say

Pair = tuple[Path, Path]


def pairs(
    source: Path, target: Path, inputs: Sequence[str], outputs: Sequence[str], ending: str
) -> list[Pair]:
    """What is to be made of what.

    Args:
        source: a file, or a folder whose files are found at any depth.
        target: a file, or a folder in which the source's folders are mirrored.
        inputs: the extensions looked for in a folder.
        outputs: the extensions that can be written.
        ending: of the outputs, where target is a folder.
    """
    if ending not in outputs:
        raise Misuse(f"--format must be one of {', '.join(name[1:] for name in outputs)}; got {ending[1:]}")
    if not source.is_dir():
        inside = target.is_dir() or target.suffix == ""
        output = target / source.with_suffix(ending).name if inside else target
        if output.suffix.lower() not in outputs:
            raise Misuse(f"the output must end in {', '.join(outputs)}; got {output}")
        return [(source, output)]
    if target.is_file() or target.suffix.lower() in outputs:
        raise Misuse(f"the output must be a folder, as {source} is one; got {target}")
    found = sorted(path for path in _visible(source) if path.suffix.lower() in inputs)
    if not found:
        raise Misuse(f"{source} holds no file that ends in {', '.join(inputs)}")
    made: dict[Path, Path] = {}
    for path in found:
        output = target / path.relative_to(source).with_suffix(ending)
        if output in made:
            raise Misuse(f"{made[output]} and {path} would both become {output}")
        made[output] = path
    return [(path, output) for output, path in made.items()]


def run(
    work: Callable[[Path, Path], object], todo: Sequence[Pair], *, jobs: int, overwrite: bool, verb: str
) -> None:
    """Do all of it; a bad input is told of and the rest goes on.

    Outputs that are there already are taken for done, unless `overwrite`: they appear under their names
    only when complete.

    Raises:
        SomeFailed: at the end, if an input failed.
    """
    waiting = [pair for pair in todo if overwrite or not pair[1].exists()]
    failed = 0
    with progress(verb, total=len(waiting)) as bar, closing(_outcomes(work, waiting, jobs)) as outcomes:
        for error in outcomes:
            if error:
                failed += 1
                complain(error)
            bar.advance()
    say(_summary(len(waiting) - failed, len(todo) - len(waiting), failed))
    if failed:
        raise SomeFailed


def _outcomes(
    work: Callable[[Path, Path], object], waiting: Sequence[Pair], jobs: int
) -> Generator[str | None]:
    """What became of each, as they end: a sentence about a failure, or None.

    A single job is done in this thread, which is where an interruption arrives. Of several, those under way
    are finished first.
    """

    def attempt(pair: Pair) -> str | None:
        try:
            work(*pair)
        except (OSError, ValueError) as error:
            return str(error)
        except OUT_OF_MEMORY:
            return f"{pair[0]} needs more memory than there is"
        return None

    if jobs == 1:
        yield from map(attempt, waiting)
        return
    with ThreadPoolExecutor(jobs) as pool:
        running = [pool.submit(attempt, pair) for pair in waiting]
        try:
            for done in as_completed(running):
                yield done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _summary(done: int, skipped: int, failed: int) -> str:
    parts = [f"{done} done"]
    if skipped:
        parts.append(f"{skipped} there already")
    if failed:
        parts.append(f"{failed} failed")
    return ", ".join(parts)


def _visible(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.is_file():
            yield path
