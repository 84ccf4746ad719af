"""MelSpec from JSON and YAML, in the spellings of the systems people take their configurations from."""

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from inbounds import _checks
from inbounds.audio.compression import Compression
from inbounds.audio.documents import read_document
from inbounds.audio.melspec import MelSpec
from inbounds.audio.presets import PRESETS


class Dialect(NamedTuple):
    """How another system's files name our fields, and what they leave unsaid."""

    names: Mapping[str, str]  # theirs -> ours
    conventions: MelSpec


HIFIGAN = Dialect(
    {
        "sampling_rate": "sample_rate",
        "n_fft": "n_fft",
        "hop_size": "hop_length",
        "win_size": "win_length",
        "num_mels": "n_mels",
        "fmin": "f_min",
        "fmax": "f_max",
    },
    PRESETS["hifigan"],
)
TACOTRON2 = Dialect(
    {
        "sampling_rate": "sample_rate",
        "filter_length": "n_fft",
        "hop_length": "hop_length",
        "win_length": "win_length",
        "n_mel_channels": "n_mels",
        "mel_fmin": "f_min",
        "mel_fmax": "f_max",
    },
    PRESETS["tacotron2"],
)
OWN = frozenset(field.name for field in fields(MelSpec))
REQUIRED = frozenset({"sample_rate", "n_fft", "hop_length", "n_mels"})


def read_spec(path: str | Path, *, base: MelSpec | None = None) -> MelSpec:
    """Read a MelSpec from a JSON or YAML file.

    Understood are, at the top or in a nested mapping:

    - MelSpec's own field names; any other name beside them is refused. `compression` is a kind ("ln")
      or a mapping of Compression's fields.
    - HiFi-GAN's and BigVGAN's config.json: sampling_rate, n_fft, hop_size, win_size, num_mels, fmin, fmax.
    - Tacotron 2's and WaveGlow's: sampling_rate, filter_length, hop_length, win_length, n_mel_channels,
      mel_fmin, mel_fmax.

    The last two leave padding, mel scale, power and compression unsaid: those are their system's, or the
    `base`'s if one is given. Other names beside theirs (the layers of a network) are not looked at.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is not JSON or YAML, or does not hold exactly one mel configuration.
    """
    path = Path(path)
    document = read_document(path)
    try:
        found = [spec for mapping in _mappings(document) if (spec := _recognise(mapping, base))]
        if len(found) != 1:
            raise ValueError(
                "the file must hold one mel configuration (sample rate, n_fft, hop length, mel bands); "
                f"it holds {len(found) or 'none'}"
            )
        values, conventions = found[0]
        return conventions.replace(**values) if conventions else MelSpec(**values)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None


def _recognise(
    mapping: Mapping[Any, Any], base: MelSpec | None
) -> tuple[dict[str, Any], MelSpec | None] | None:
    """Our fields' values, and the spec they change; None if this mapping is not about mels."""
    if mapping.keys() >= REQUIRED:
        _refuse_unknown(mapping, OWN, "a mel configuration must have MelSpec's")
        values = {name: _number(value) for name, value in mapping.items()}
        if "compression" in values:
            values["compression"] = _compression(values["compression"])
        return values, base
    for dialect in (HIFIGAN, TACOTRON2):
        required = {theirs for theirs, ours in dialect.names.items() if ours in REQUIRED}
        if mapping.keys() >= required:
            values = {ours: _number(mapping[name]) for name, ours in dialect.names.items() if name in mapping}
            conventions = base or dialect.conventions
            if conventions.padding:  # it follows from the other two
                n_fft, hop_length = (
                    _checks.integer(values[name], name, least=1) for name in ("n_fft", "hop_length")
                )
                values["padding"] = (n_fft - hop_length) // 2
            return values, conventions
    return None


def _mappings(value: object) -> Iterator[Mapping[Any, Any]]:
    """Every mapping in a document, the outer ones first; each once, however often YAML refers to it."""
    seen: set[int] = set()
    waiting = deque([value])
    while waiting:
        value = waiting.popleft()
        if id(value) in seen:
            continue
        if isinstance(value, Mapping):
            seen.add(id(value))
            yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            seen.add(id(value))
            waiting.extend(value)


def _compression(value: object) -> Compression:
    if isinstance(value, str):
        return Compression(value)
    if not isinstance(value, Mapping):
        raise TypeError(f"compression must be a kind or a mapping; got {_checks.describe(value)}")
    _refuse_unknown(
        value, {field.name for field in fields(Compression)}, "compression must have Compression's"
    )
    return Compression(**{name: _number(entry) for name, entry in value.items()})


def _refuse_unknown(mapping: Mapping[Any, Any], known: Collection[str], rule: str) -> None:
    if unknown := sorted(_checks.shortened(name) for name in mapping.keys() - known):
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise ValueError(f"{rule} fields only; got {', '.join(unknown[:5])}{more}")


def _number(value: object) -> Any:
    """YAML reads 1e-5 (without a point) as text; here it is the number it looks like."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
