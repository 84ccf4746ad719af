"""Files that may be anything: opened with care, and replaced only by complete ones.

Every failure is one sentence that names the file.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def existing(path: str | Path) -> Path:
    """Refuse what cannot be opened, is no file (a folder, a pipe, a device) or is empty.

    A pipe would be waited on for ever, and /dev/zero has no end.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder; a file is needed")
        if path.exists() and not path.is_file():
            raise OSError(f"{path} is a pipe or a device; a file is needed")
        with path.open("rb") as file:
            if not file.read(1):
                raise ValueError(f"{path} is empty")
    except OSError as error:
        raise _sentence(error, path, "read") from None
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to it when the block ends well and removed when it does not.

    Folders on the way are made.
    """
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder; a file's name is needed")
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise _sentence(error, path, "written") from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def _sentence(error: OSError, path: Path, verb: str) -> OSError:
    """The same error, as a sentence that names the file."""
    if error.errno is None:  # raised here, already a sentence
        return error
    return type(error)(f"{path} cannot be {verb}: {(error.strerror or str(error)).lower()}")
