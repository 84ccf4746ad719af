"""Files of the right form that say anything: sizes nobody has, numbers of no use, values of other types."""

import json
import random
import struct
from collections.abc import Callable
from typing import Any

import torch
import yaml

from spoilt.valid import HIFIGAN, OWN, TACOTRON2, saved

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
    return saved(lambda file: torch.save(stored.as_strided(shape, [0] * len(shape)), file))


WRITTEN: dict[str, Callable[[random.Random], bytes]] = {
    "npy": written_npy,
    "pt": written_pt,
    "safetensors": written_safetensors,
    "json": written_json,
    "yaml": written_yaml,
}
