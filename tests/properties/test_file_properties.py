"""Configurations of any content give a MelSpec or one sentence."""

import json
from pathlib import Path

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

import fuzz
from inbounds.audio import MelSpec
from properties.strategies import settings  # noqa: F401

OWN = {"sample_rate": 16000, "n_fft": 512, "hop_length": 128, "n_mels": 40}
NAMES = [name for name in MelSpec.__dataclass_fields__ if name != "_"]
NUMBERS = st.integers() | st.floats() | st.just(10**400)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
COMPRESSIONS = st.dictionaries(st.sampled_from(["kind", "floor", "reference", "scale"]), VALUES)
CHANGES = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3)


@given(CHANGES, st.none() | COMPRESSIONS, st.sampled_from([json.dumps, yaml.safe_dump]))
@example({"center": "no"}, None, json.dumps)
@example({"sample_rate": 10**400}, None, json.dumps)
@example({"drop_last": 2}, None, yaml.safe_dump)
def test_a_spec_or_a_sentence(tmp_path_factory, changes, compression, dump):
    kind = "json" if dump is json.dumps else "yaml"
    path = Path(tmp_path_factory.getbasetemp()) / f"config.{kind}"
    given = {} if compression is None else {"compression": compression}
    path.write_text(dump(OWN | changes | given))
    assert fuzz.verdict(kind, path) in ("read", "ValueError")


def test_strings_do_not_count_as_true_and_false(tmp_path):
    path = tmp_path / "config.json"
    for name in ("center", "drop_last"):
        path.write_text(json.dumps(OWN | {name: "no"}))
        assert fuzz.verdict("json", path) == "ValueError"
