"""Files cannot make us run anything, and nothing in the source could."""

import ast
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from inbounds.audio import MelSpec
from inbounds.audio.io import read_mel

SOURCE = Path(__file__).parents[1] / "src" / "inbounds"
FORBIDDEN = {"eval", "exec", "compile", "__import__", "breakpoint"}
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "subprocess", "ctypes"}
SAFELY = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}
TREES = {path.relative_to(SOURCE): ast.parse(path.read_text()) for path in SOURCE.rglob("*.py")}


class Burglar:
    """Unpickled, it makes a folder."""

    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def burgled_pt(path: Path, burglar: Burglar) -> None:
    torch.save({"mel": torch.rand(3, 4), "x": burglar}, path)


def burgled_old_pt(path: Path, burglar: Burglar) -> None:
    torch.save(burglar, path, _use_new_zipfile_serialization=False)


def burgled_pickle(path: Path, burglar: Burglar) -> None:
    path.write_bytes(pickle.dumps(burglar))


def burgled_array(path: Path, burglar: Burglar) -> None:
    np.save(path, np.array([[burglar]], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (burgled_pt, "x.pt"),
        (burgled_old_pt, "x.pt"),
        (burgled_pickle, "x.pt"),
        (burgled_pickle, "x.npy"),
        (burgled_array, "x.npy"),
        (burgled_pickle, "x.safetensors"),
    ],
)
def test_pickled_objects_are_not_made(tmp_path, write, name):
    write(tmp_path / name, Burglar(tmp_path / "loot"))
    with pytest.raises(ValueError, match="pickled objects are refused"):
        read_mel(tmp_path / name)
    assert not (tmp_path / "loot").exists()


def test_the_burglar_would_have_come(tmp_path):
    pickle.loads(pickle.dumps(Burglar(tmp_path / "loot")))
    assert (tmp_path / "loot").exists()


@pytest.mark.parametrize(
    "kind", ["object/apply:os.mkdir", "object/new:os.mkdir", "name:os.mkdir", "module:os"]
)
def test_yaml_makes_no_python_objects(tmp_path, kind):
    path = tmp_path / "config.yaml"
    path.write_text(f"sample_rate: !!python/{kind} [{tmp_path / 'loot'}]\n")
    with pytest.raises(ValueError, match="is not valid YAML: could not determine a constructor"):
        MelSpec.from_file(path)
    assert not (tmp_path / "loot").exists()


def _calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("path", TREES, ids=str)
def test_nothing_in_the_source_evaluates_a_string(path):
    tree = TREES[path]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            assert not {name.split(".")[0] for name in names} & FORBIDDEN_MODULES
    for name, call in _calls(tree):
        assert name not in FORBIDDEN
        assert name not in {"os.system", "os.popen", "yaml.unsafe_load", "yaml.full_load"}
        if name in SAFELY:
            option, value = SAFELY[name]
            given = {
                keyword.arg: ast.literal_eval(keyword.value)
                for keyword in call.keywords
                if keyword.arg == option
            }
            assert given == {option: value}


def test_the_loaders_are_in_the_source():
    """Else the test above would guard nothing."""
    names = {name for tree in TREES.values() for name, _ in _calls(tree)}
    assert names >= {*SAFELY, "yaml.load"}
