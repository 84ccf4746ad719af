"""Dependencies point one way, and the extras stay extras."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "inbounds"
LAYERS = ["optim", "nnls", "audio"]  # each may import the ones before it


def imported_modules(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("layer", LAYERS)
def test_dependencies_point_one_way(layer):
    above = {f"inbounds.{name}" for name in LAYERS[LAYERS.index(layer) + 1 :]}
    for path in (SOURCE / layer).rglob("*.py"):
        for name in imported_modules(path):
            assert not any(name == up or name.startswith(up + ".") for up in above), f"{path}: {name}"


def test_importing_needs_no_extra_and_compiles_nothing():
    script = (
        "import sys, inbounds, inbounds.audio;"
        "extras = {'soundfile', 'soxr', 'typer', 'rich', 'matplotlib', 'scipy', 'librosa', 'yaml', 'numba'};"
        "print(sorted(extras & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
