"""The spoilt files of bench/fuzz.py: valid ones of every kind, ways to break them, and well-formed lies."""

import random

from spoilt.lies import WRITTEN
from spoilt.mutations import SPOILS, checksummed, repacked, splice
from spoilt.valid import SEEDS


def case(kind: str, rng: random.Random) -> bytes:
    """A spoilt file of this kind; the same for the same state of `rng`, but for times that writers put in."""
    seeds = SEEDS[kind]()
    data = WRITTEN[kind](rng) if kind in WRITTEN and rng.random() < 0.5 else rng.choice(seeds)
    if kind == "pt" and data[:2] == b"PK" and rng.random() < 0.7:
        return repacked(data, rng)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 4, 8))):
        data = rng.choice(SPOILS)(data, rng) if rng.random() < 0.9 else splice(data, rng.choice(seeds), rng)
    return checksummed(data) if kind == "ogg" and rng.random() < 0.7 else data
