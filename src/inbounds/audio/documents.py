"""JSON and YAML documents from files that nobody vouches for.

Nothing in them is run, and a small file cannot become a large document: parsers' own limits end deep
nesting, aliases are shared, and YAML's merge keys, which copy, are counted.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inbounds.audio import files

MOST_BYTES = 2**20
MOST_MERGED = 1000  # mappings merged in a document, and entries in a mapping that merges others


def read_document(path: Path) -> Any:
    """The document in a .json, .yaml or .yml file of at most MOST_BYTES.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is too large, or not what its extension says.
    """
    suffix = path.suffix.lower()
    if suffix not in (".json", ".yaml", ".yml"):
        raise ValueError(f"a configuration must end in .json, .yaml or .yml; got {path}")
    parse = json.loads if suffix == ".json" else _yaml_parser()
    size = files.existing(path).stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"{path} must have at most {MOST_BYTES} bytes to be a configuration; it has {size}")
    try:
        return parse(path.read_bytes())
    except RecursionError:
        reason = "it is nested too deeply"
    except Exception as error:  # PyYAML raises anything at all on a broken date or number
        reason = " ".join(str(error).split())[:200]
    raise ValueError(f"{path} is not valid {'JSON' if suffix == '.json' else 'YAML'}: {reason}")


def _yaml_parser() -> Callable[[bytes], Any]:
    import yaml

    class Loader(yaml.SafeLoader):
        """PyYAML's safe loader, whose merge keys (<<) no longer multiply without end."""

        merged = 0

        def flatten_mapping(self, node: Any) -> None:
            """Replace merge keys by the entries of what they name."""
            merges = [value for key, value in node.value if key.tag == "tag:yaml.org,2002:merge"]
            self.merged += sum(len(value.value) if value.id == "sequence" else 1 for value in merges)
            if self.merged <= MOST_MERGED:
                super().flatten_mapping(node)
            if merges and max(self.merged, len(node.value)) > MOST_MERGED:
                raise ValueError(f"more than {MOST_MERGED} mappings or entries are merged")

    return lambda text: yaml.load(text, Loader)
