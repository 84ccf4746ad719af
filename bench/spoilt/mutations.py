"""Bytes flipped, cut, repeated and spliced, with the checksums of their containers put right."""

import io
import random
import struct
import zipfile
from collections.abc import Callable, Sequence
from functools import cache

Spoil = Callable[[bytes, random.Random], bytes]


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
