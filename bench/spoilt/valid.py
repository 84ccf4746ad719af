"""Valid files of every kind, the unusual ones among them."""

import io
import json
import pickle
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import safetensors.torch
import soundfile
import torch
import yaml

from spoilt.mutations import checksummed


def saved(save: Callable[[Any], object]) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()


def _mel() -> torch.Tensor:
    return torch.rand(8, 6, generator=torch.Generator().manual_seed(0))


@cache
def npys() -> list[bytes]:
    mel = _mel().numpy()
    arrays = [
        mel,
        mel.astype(">f8"),
        np.asfortranarray(mel),
        mel.astype("f2"),
        mel[None],
        mel.astype("g"),
        mel > 0.5,
    ]
    arrays += [np.array([{}], object), np.zeros((2, 2), [("a", "f4"), ("b", "O")]), np.zeros((3, 0), "f4")]
    files = [saved(lambda file, array=array: np.save(file, array, allow_pickle=True)) for array in arrays]
    return [
        *files,
        saved(lambda file: np.savez(file, mel)),
        saved(lambda file: np.savez_compressed(file, mel=mel)),
    ]


@cache
def pts() -> list[bytes]:
    mel = _mel()
    objects = [
        mel,
        {"mel": mel, "n": 3},
        [mel],
        torch.nn.Parameter(mel),
        mel.half(),
        mel.to(torch.float8_e5m2),
    ]
    objects += [
        mel.to_sparse(),
        mel.to_sparse_csr(),
        mel[:1].expand(8, 6),
        mel * 1j,
        mel.to("meta"),
        mel.T,
        mel[:0],
    ]
    objects += [torch.quantize_per_tensor(mel, 0.1, 0, torch.quint8), {"weight": mel, "bias": mel[0]}]
    new = [saved(lambda file, value=value: torch.save(value, file)) for value in objects]
    old = [
        saved(lambda file, value=value: torch.save(value, file, _use_new_zipfile_serialization=False))
        for value in (mel, {"mel": mel}, torch.nn.Parameter(mel))
    ]
    return [*new, *old, pickle.dumps(print), saved(lambda file: torch.save(print, file))]


@cache
def safetensors_files() -> list[bytes]:
    mel = _mel()
    held = [
        {"mel": mel},
        {"x": mel.half()},
        {"x": mel.to(torch.float8_e4m3fn)},
        {"a": mel, "b": mel.T.contiguous()},
        {},
    ]
    return [safetensors.torch.save(tensors) for tensors in held] + [
        safetensors.torch.save({"a\nb": mel}, {"k": "v"})
    ]


def _sounds(container: str, subtypes: Sequence[str], rates: Sequence[int] = (8000, 44100)) -> list[bytes]:
    noise = 0.5 * np.random.default_rng(0).standard_normal((600, 2)).clip(-1, 1)
    return [
        saved(
            lambda file, s=subtype, r=rate, c=c: soundfile.write(
                file, noise[:, :c], r, format=container, subtype=s
            )
        )
        for subtype in subtypes
        for rate in rates
        for c in (1, 2)
    ]


@cache
def wavs() -> list[bytes]:
    return _sounds(
        "WAV",
        ["PCM_16", "PCM_U8", "PCM_24", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM", "MS_ADPCM", "GSM610"][:8],
    )


@cache
def flacs() -> list[bytes]:
    return _sounds("FLAC", ["PCM_16", "PCM_24"])


@cache
def oggs() -> list[bytes]:
    """With the number of the stream, which the encoder draws, always the same."""
    streams = _sounds("OGG", ["VORBIS"]) + _sounds("OGG", ["OPUS"], [8000, 48000])
    return [checksummed(stream.replace(stream[14:18], b"mine")) for stream in streams]


@cache
def mp3s() -> list[bytes]:
    return _sounds("MP3", ["MPEG_LAYER_III"])


OWN = {
    "sample_rate": 16000,
    "n_fft": 512,
    "hop_length": 128,
    "n_mels": 40,
    "norm": "slaney",
    "compression": {"kind": "ln"},
}
HIFIGAN = {
    "num_mels": 80,
    "n_fft": 1024,
    "hop_size": 256,
    "win_size": 1024,
    "sampling_rate": 22050,
    "fmin": 0,
    "fmax": 8000,
}
TACOTRON2 = {
    "data": {
        "sampling_rate": 22050,
        "filter_length": 1024,
        "hop_length": 256,
        "win_length": 1024,
        "n_mel_channels": 80,
    }
}
DOCUMENTS = [
    OWN,
    HIFIGAN,
    TACOTRON2,
    {"a": [OWN], "b": 3},
    {"preprocess": {"audio": HIFIGAN | {"extra": [1, 2]}}},
]


@cache
def jsons() -> list[bytes]:
    texts = [json.dumps(document).encode() for document in DOCUMENTS]
    return [
        *texts,
        texts[0].decode().encode("utf-16"),
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"\xff\xfe",
        b'{"n_mels": 1, "n_mels": 2}',
    ]


@cache
def yamls() -> list[bytes]:
    texts = [yaml.safe_dump(document).encode() for document in DOCUMENTS]
    laughs = ["a0: &a0 {x: 1}"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 20)]
    merges = ["a0: &a0 {x: 1}"] + [
        f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 20)
    ]
    bombs = [
        "\n".join(laughs),
        "\n".join([*laughs, "sample_rate: *a19\nn_fft: 1\nhop_length: 1\nn_mels: *a19"]),
    ]
    bombs += [
        "\n".join(merges),
        "&a [*a, &b {x: *b}]",
        "[" * 20_000,
        "{a: " * 20_000,
        "- " * 20_000,
        "x: &x {<<: *x}",
    ]
    tags = [
        "!!python/object/apply:os.system [true]",
        "!!binary x",
        "!!timestamp x",
        "!!int x",
        "!!float ''",
        "!!bool x",
    ]
    tags += [
        "!!set {a, b}",
        "!!omap [a: 1]",
        "!!pairs [a: 1]",
        "2001-99-99",
        "? [a]\n: b",
        "%YAML 9.9\n---\nx",
        "--- a\n--- b",
    ]
    return texts + [text.encode() for text in bombs + tags + [f"n_fft: {tag}" for tag in tags[:6]]]


SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "npy": npys,
    "pt": pts,
    "safetensors": safetensors_files,
    "wav": wavs,
    "flac": flacs,
    "ogg": oggs,
    "mp3": mp3s,
    "json": jsons,
    "yaml": yamls,
}
