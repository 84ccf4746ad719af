"""The `inbounds` command."""

import sys
from collections.abc import Sequence
from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and leave with its exit code: see `inbounds.cli.app.run`."""
    try:
        from inbounds.cli.app import run
    except ModuleNotFoundError as missing:
        print(f"inbounds: {missing.name} is not installed: pip install 'inbounds[audio]'", file=sys.stderr)
        sys.exit(2)
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))
