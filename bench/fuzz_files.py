"""The spoilt files of bench/fuzz.py: valid ones of every kind, and the ways they are broken."""

import io
import json
import pickle
import random
import struct
import zipfile
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import safetensors.torch
import soundfile
import torch
import yaml

Spoil = Callable[[bytes, random.Random], bytes]


def case(kind: str, rng: random.Random) -> bytes:
    """A spoilt file of this kind; the same for the same state of `rng`."""
    seeds = SEEDS[kind]()
    data = WRITTEN[kind](rng) if kind in WRITTEN and rng.random() < 0.5 else rng.choice(seeds)
    if kind == "pt" and data[:2] == b"PK" and rng.random() < 0.7:
        return repacked(data, rng)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 4, 8))):
        data = rng.choice(SPOILS)(data, rng) if rng.random() < 0.9 else splice(data, rng.choice(seeds), rng)
    return checksummed(data) if kind == "ogg" and rng.random() < 0.7 else data


# Bytes ---------------------------------------------------------------------------------------------------


def place(data: bytes, rng: random.Random) -> int:
    """Somewhere; headers, where formats are decided, more often than not."""
    return rng.randrange(min(len(data), rng.choice((16, 64, 256, 1 << 30))) or 1)


def flip(data: bytes, rng: random.Random) -> bytes:
    spoilt = bytearray(data or b"\0")
    for _ in range(rng.choice((1, 1, 2, 8))):
        spoilt[place(spoilt, rng)] ^= 1 << rng.randrange(8)
    return bytes(spoilt)


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: place(data, rng)] if rng.random() < 0.5 else data[: len(data) - rng.randrange(16)]


def drop(data: bytes, rng: random.Random) -> bytes:
    start = place(data, rng)
    return data[:start] + data[start + rng.choice((1, 2, 4, 8, 100)) :]


def insert(data: bytes, rng: random.Random) -> bytes:
    start = place(data, rng)
    return data[:start] + rng.randbytes(rng.choice((1, 2, 4, 100))) + data[start:]


def repeat(data: bytes, rng: random.Random) -> bytes:
    start = place(data, rng)
    piece = data[start : start + rng.choice((1, 2, 4, 16, 256))]
    return data[:start] + piece * rng.choice((2, 3, 10, 1000)) + data[start:]


def overflow(data: bytes, rng: random.Random) -> bytes:
    """A number replaced by one that sizes and signs trip over."""
    kind = rng.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
    top = 256 ** struct.calcsize(kind)
    number = struct.pack(kind, rng.choice((0, 1, top - 1, top // 2, top // 2 - 1, top // 4, top - 16)))
    start = place(data, rng)
    return data[:start] + number + data[start + len(number) :]


def digits(data: bytes, rng: random.Random) -> bytes:
    """The same in text."""
    places = [i for i in range(min(len(data), 4096)) if 48 <= data[i] < 58]
    if not places:
        return data
    start = rng.choice(places)
    number = rng.choice(
        (b"-1", b"0", b"99999999999", b"9" * 400, b"1e999", b"NaN", b"-Infinity", b"0x" + b"f" * 5000)
    )
    return data[:start] + number + data[start + 1 :]


def splice(data: bytes, other: bytes, rng: random.Random) -> bytes:
    return data[: place(data, rng)] + other[place(other, rng) :]


SPOILS: Sequence[Spoil] = (flip, flip, cut, drop, insert, repeat, overflow, overflow, digits)


def repacked(data: bytes, rng: random.Random) -> bytes:
    """A zip archive with its members spoilt and its checksums right."""
    made = io.BytesIO()
    packing = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(made, "w", packing) as target:
        for name in source.namelist():
            content = source.read(name)
            if rng.random() < (0.8 if name.endswith(".pkl") else 0.2):
                content = rng.choice(SPOILS)(content, rng)
            if rng.random() < 0.97:
                target.writestr(name, content)
    return made.getvalue()


def checksummed(data: bytes) -> bytes:
    """An Ogg stream whose pages carry the sums of what is in them now."""
    spoilt, start = bytearray(data), data.find(b"OggS")
    while start >= 0:
        after = data.find(b"OggS", start + 4)
        stop = after if after >= 0 else len(data)
        if stop - start >= 27:
            spoilt[start + 22 : start + 26] = b"\0\0\0\0"
            spoilt[start + 22 : start + 26] = struct.pack("<I", _ogg_sum(bytes(spoilt[start:stop])))
        start = after
    return bytes(spoilt)


@cache
def _ogg_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
        table.append(value & 0xFFFFFFFF)
    return table


def _ogg_sum(page: bytes) -> int:
    table, value = _ogg_table(), 0
    for byte in page:
        value = ((value << 8) & 0xFFFFFFFF) ^ table[(value >> 24) ^ byte]
    return value


# Valid files ---------------------------------------------------------------------------------------------


def _saved(save: Callable[[Any], object]) -> bytes:
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
    saved = [_saved(lambda file, array=array: np.save(file, array, allow_pickle=True)) for array in arrays]
    return [
        *saved,
        _saved(lambda file: np.savez(file, mel)),
        _saved(lambda file: np.savez_compressed(file, mel=mel)),
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
    objects += [torch.quantize_per_tensor(mel, 0.1, 0, torch.quint8), torch.nn.Linear(2, 2).state_dict()]
    new = [_saved(lambda file, value=value: torch.save(value, file)) for value in objects]
    old = [
        _saved(lambda file, value=value: torch.save(value, file, _use_new_zipfile_serialization=False))
        for value in (mel, {"mel": mel}, torch.nn.Parameter(mel))
    ]
    return [*new, *old, pickle.dumps(print), _saved(lambda file: torch.save(print, file))]


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
        _saved(
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
    return _sounds("OGG", ["VORBIS"]) + _sounds("OGG", ["OPUS"], [8000, 48000])


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


# Well-formed, and wrong -----------------------------------------------------------------------------------

SIZES = (0, 1, 3, 80, -1, 2**31, 2**32, 2**40, 2**62, 2**63, 2**64, 10**30)
NUMBERS = (
    0,
    1,
    -1,
    0.5,
    80,
    4096,
    2**31,
    2**63,
    10**400,
    1e-320,
    1e308,
    float("nan"),
    float("inf"),
    -float("inf"),
)
TEXTS = (
    "",
    "slaney",
    "htk",
    "ln",
    "max",
    "hann",
    "1e-5",
    "inf",
    "nan",
    "1_0",
    "é",
    "\n",
    "x" * 5000,
    "\ud800",
)


def any_value(rng: random.Random, depth: int = 0) -> Any:
    """Anything a document may hold."""
    choice = rng.randrange(8 if depth < 4 else 6)
    if choice < 3:
        return rng.choice(NUMBERS)
    if choice < 6:
        return rng.choice((*TEXTS, None, True, False))
    if choice == 6:
        return [any_value(rng, depth + 1) for _ in range(rng.choice((0, 1, 3)))]
    return {
        rng.choice((*OWN, *HIFIGAN, *TEXTS)): any_value(rng, depth + 1)
        for _ in range(rng.choice((0, 1, 3, 8)))
    }


def document(rng: random.Random) -> dict[str, Any]:
    """A configuration some of whose values are anything."""
    names = (
        *OWN,
        *HIFIGAN,
        "win_length",
        "f_min",
        "f_max",
        "power",
        "center",
        "padding",
        "pad_mode",
        "epsilon",
        "drop_last",
    )
    names += ("window", "mel_scale", "mel_fmin")
    made = dict(rng.choice((OWN, OWN, HIFIGAN, TACOTRON2["data"])))
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        made[rng.choice(names) if rng.random() < 0.3 else rng.choice(list(made))] = any_value(rng)
    if rng.random() < 0.3:
        made["compression"] = {
            "kind": "decibel",
            rng.choice(("floor", "reference", "dynamic_range", "scale")): any_value(rng),
        }
    return made if rng.random() < 0.7 else {"audio": made, "rest": any_value(rng)}


def written_json(rng: random.Random) -> bytes:
    return json.dumps(document(rng)).encode()


def written_yaml(rng: random.Random) -> bytes:
    return yaml.safe_dump(document(rng), allow_unicode=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def written_npy(rng: random.Random) -> bytes:
    """A header of the right form that says anything."""
    kinds = ("<f4", ">f8", "<f2", "|O", "<c8", "|b1", "<f16", "|S1000000000", "<U9", "|V0", "<M8[s]", "f4,f4")
    shape = tuple(rng.choice(SIZES) for _ in range(rng.choice((0, 1, 2, 2, 3, 64))))
    header = {"descr": rng.choice(kinds), "fortran_order": rng.choice((False, True, 0, "x")), "shape": shape}
    if rng.random() < 0.1:
        header[rng.choice(TEXTS)] = "(" * rng.choice((1, 90, 5000))
    text = repr(header).encode("latin1", "replace") + b"\n"
    if rng.random() < 0.05:
        text = b"(" * 9000
    version, size = rng.choice(((1, "<H"), (2, "<I"), (3, "<I")))
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + struct.pack(size, len(text))
        + text
        + rng.randbytes(rng.choice((0, 96, 500)))
    )


def written_safetensors(rng: random.Random) -> bytes:
    """The same for safetensors."""
    shape = [rng.choice(SIZES) for _ in range(rng.choice((0, 1, 2, 2, 3)))]
    offsets = [rng.choice((0, 0, 4, 96)), rng.choice((0, 4, 96, 2**62, 2**64, -1))]
    entry = {
        "dtype": rng.choice(("F32", "F64", "F16", "BF16", "F8_E4M3", "C64", "I4", "X")),
        "shape": shape,
        "data_offsets": offsets,
    }
    text = json.dumps({rng.choice(("mel", *TEXTS)): entry if rng.random() < 0.9 else any_value(rng)}).encode()
    size = len(text) if rng.random() < 0.9 else rng.choice((0, 2**31, 2**63, 2**64 - 1))
    return struct.pack("<Q", size) + text + bytes(rng.choice((0, 4, 96)))


def written_pt(rng: random.Random) -> bytes:
    """Tensors that promise more than their storage holds."""
    stored = torch.zeros(rng.choice((1, 6, 48)))
    shape = [rng.choice((1, 2, 80)) for _ in range(rng.choice((1, 2, 2, 3)))]
    shape[-1] = rng.choice((1, 80, 2**20, 2**31, 2**40))
    return _saved(lambda file: torch.save(stored.as_strided(shape, [0] * len(shape)), file))


WRITTEN: dict[str, Callable[[random.Random], bytes]] = {
    "npy": written_npy,
    "pt": written_pt,
    "safetensors": written_safetensors,
    "json": written_json,
    "yaml": written_yaml,
}
