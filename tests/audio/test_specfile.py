"""MelSpec from files: other systems' spellings, our own, and what is refused."""

import json

import pytest
import yaml

from inbounds.audio.compression import Compression
from inbounds.audio.melspec import MelSpec
from inbounds.audio.presets import PRESETS

HIFIGAN = {  # the audio part of a HiFi-GAN config_v1.json, between a network's settings
    "resblock": "1",
    "upsample_rates": [8, 8, 2, 2],
    "segment_size": 8192,
    "num_mels": 80,
    "num_freq": 1025,
    "n_fft": 1024,
    "hop_size": 256,
    "win_size": 1024,
    "sampling_rate": 22050,
    "fmin": 0,
    "fmax": 8000,
    "fmax_for_loss": None,
    "dist_config": {"world_size": 1},
}
TACOTRON2 = {
    "train": {"epochs": 1000},
    "data": {
        "sampling_rate": 22050,
        "filter_length": 1024,
        "hop_length": 256,
        "win_length": 1024,
        "n_mel_channels": 80,
        "mel_fmin": 0.0,
        "mel_fmax": 8000.0,
    },
}
OWN = {"sample_rate": 16000, "n_fft": 512, "hop_length": 128, "n_mels": 40}


def saved(folder, content, name="config.json"):
    path = folder / name
    dump = json.dumps if name.endswith(".json") else yaml.safe_dump
    path.write_text(content if isinstance(content, str) else dump(content))
    return path


@pytest.mark.parametrize("name", ["config.json", "config.yaml", "config.yml"])
def test_hifigan(tmp_path, name):
    spec = MelSpec.from_file(saved(tmp_path, HIFIGAN, name))
    assert spec == PRESETS["hifigan"].replace(win_length=1024)


def test_bigvgan_in_hifigans_spelling(tmp_path):
    changes = {
        "num_mels": 128,
        "n_fft": 2048,
        "hop_size": 512,
        "win_size": 2048,
        "sampling_rate": 44100,
        "fmax": None,
    }
    spec = MelSpec.from_file(saved(tmp_path, HIFIGAN | changes))
    assert spec == PRESETS["bigvgan-44k"].replace(win_length=2048)


def test_tacotron2(tmp_path):
    spec = MelSpec.from_file(saved(tmp_path, TACOTRON2))
    assert spec == PRESETS["tacotron2"].replace(win_length=1024)


def test_a_base_says_what_the_file_does_not(tmp_path):
    path = saved(tmp_path, {"audio": HIFIGAN | {"num_mels": 100}})
    spec = MelSpec.from_file(path, base=PRESETS["vocos"])
    assert spec == PRESETS["vocos"].replace(sample_rate=22050, win_length=1024, f_max=8000)


def test_our_own_fields(tmp_path):
    compression = {"kind": "log10", "floor": "1e-8", "scale": 2}
    spec = MelSpec.from_file(
        saved(tmp_path, OWN | {"power": 1, "norm": "slaney", "compression": compression})
    )
    assert spec == MelSpec(
        16000, 512, 128, 40, power=1, norm="slaney", compression=Compression("log10", floor=1e-8, scale=2)
    )


def test_a_compression_by_its_kind(tmp_path):
    spec = MelSpec.from_file(saved(tmp_path, OWN | {"compression": "decibel"}))
    assert spec.compression == Compression("decibel")


def test_yamls_numbers(tmp_path):
    text = "sample_rate: 16000\nn_fft: 512\nhop_length: 128\nn_mels: 40\nepsilon: 1e-9\n"
    assert MelSpec.from_file(saved(tmp_path, text, "a.yaml")).epsilon == 1e-9


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        ("{", "a.json", "a.json is not valid JSON"),
        ("[1, 2", "a.yaml", "a.yaml is not valid YAML"),
        ("!!python/object/apply:os.getcwd []", "a.yaml", "a.yaml is not valid YAML"),
        ("", "a.yaml", "a.yaml is empty"),
        ("3", "a.json", "it holds none"),
        ({"model": {"layers": 3}}, "a.json", "it holds none"),
        ({"a": TACOTRON2, "b": HIFIGAN}, "a.json", "it holds 2"),
        (OWN | {"f_mni": 20}, "a.json", "a.json: .* MelSpec's fields only; got 'f_mni'"),
        (OWN | {"n_mels": 0}, "a.json", "a.json: n_mels must be at least 1"),
        (
            OWN | {"compression": {"kind": "ln", "flour": 1}},
            "a.json",
            "Compression's fields only; got 'flour'",
        ),
        (OWN | {"compression": ["ln"]}, "a.json", "compression must be a kind or a mapping"),
        ("x", "a.txt", r"must end in .json, .yaml or .yml; got .*a.txt"),
    ],
)
def test_what_is_refused(tmp_path, content, name, sentence):
    with pytest.raises(ValueError, match=sentence):
        MelSpec.from_file(saved(tmp_path, content, name))


def test_a_document_that_refers_to_itself_a_billion_times(tmp_path):
    lines = ["a0: &a0 {x: 1}"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    with pytest.raises(ValueError, match="it holds none"):
        MelSpec.from_file(saved(tmp_path, "\n".join(lines), "a.yaml"))


LAUGHS = ["a0: &a0 {x: 1}"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
MERGES = ["a0: &a0 {x: 1}"] + [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 30)]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            "\n".join([*LAUGHS, f"mel: {json.dumps(OWN)[:-1]}, n_mels: *a29}}"]),
            "a.yaml: n_mels must be an integer",
        ),
        ("\n".join(MERGES), "more than 1000 mappings or entries are merged"),
        ("[" * 5000, "nested too deeply"),
        ("n_fft: !!timestamp x", "is not valid YAML"),
        ("n_fft: !!int x", "is not valid YAML: invalid literal"),
        ("2001-99-99", "is not valid YAML: month must be in 1..12"),
        ("\xff\xfe", "is not valid YAML|it holds none"),
        ("x: 1\n" * 300_000, "must have at most 1048576 bytes to be a configuration; it has 1500000"),
    ],
    ids=range(8),
)
def test_hostile_yaml(tmp_path, content, sentence):
    path = tmp_path / "a.yaml"
    path.write_text(content, encoding="latin1")
    with pytest.raises(ValueError, match=sentence) as caught:
        MelSpec.from_file(path)
    assert len(str(caught.value)) < 400 + len(str(path))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[" * 100_000, "is not valid JSON: it is nested too deeply"),
        (json.dumps(OWN)[:-1] + ', "power": NaN}', "power must be finite"),
        (json.dumps(OWN)[:-1] + ', "power": 1e999}', "power must be finite"),
        (json.dumps(OWN | {"sample_rate": 10**400}), "sample_rate must be at most 2147483647"),
        (json.dumps(OWN | {"power": 10**400}), "power must be within the range of a float"),
        (json.dumps(OWN | {"center": "no"}), "center must be True or False; got the str 'no'"),
        (json.dumps(OWN | {f"x{i}": 0 for i in range(9)}), "got 'x0', 'x1', 'x2', 'x3', 'x4' and 4 more"),
        (json.dumps(HIFIGAN | {"hop_size": None}), "hop_length must be an integer; got None"),
        ("\xff\xff", "is not valid JSON"),
    ],
    ids=range(9),
)
def test_hostile_json(tmp_path, content, sentence):
    path = tmp_path / "a.json"
    path.write_text(content, encoding="latin1")
    with pytest.raises(ValueError, match=sentence):
        MelSpec.from_file(path)


def test_mappings_merged_in_moderation(tmp_path):
    text = "base: &base {sample_rate: 16000, n_fft: 512}\naudio: {<<: *base, hop_length: 128, n_mels: 40}\n"
    assert MelSpec.from_file(saved(tmp_path, text, "a.yaml")) == MelSpec(**OWN)


def test_of_two_values_of_one_name_the_last_counts(tmp_path):
    text = '{"sample_rate": 16000, "n_fft": 512, "hop_length": 128, "n_mels": 80, "n_mels": 40}'
    for name in ("a.json", "a.yaml"):
        assert MelSpec.from_file(saved(tmp_path, text, name)).n_mels == 40
