"""How mel values are squeezed before they are stored: logarithms with floors, decibels, scale and shift."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from inbounds import _checks

KINDS = ("none", "ln", "log10", "decibel")


@dataclass(frozen=True)
class Compression:
    """The map from mel energies or magnitudes to stored values, and back.

    The stored value is `scale * level + shift`, where the level of a mel value v is, by `kind`:

    - "none": v itself;
    - "ln", "log10": the logarithm of max(v, floor);
    - "decibel": 10 log10(max(v, floor) / reference) for energies, 20 log10 for magnitudes.

    Args:
        kind: "none", "ln", "log10" or "decibel".
        floor: smaller values are raised to it before the logarithm; > 0. Meaningless for "none".
        reference: what 0 dB stands for, > 0, or "max" for each spectrogram's own maximum, which
            expansion cannot know: it takes 1 instead. Only for "decibel".
        dynamic_range: levels further than this below their spectrogram's maximum are raised to that
            distance: librosa's `top_db` in decibels, Whisper's 8 in log10. None leaves them.
        scale, shift: applied to the level last; scale is not 0.

    Raises:
        ValueError, TypeError: for a field out of its range, or set where the kind has no use for it.

    >>> whisper = Compression("log10", floor=1e-10, dynamic_range=8.0, scale=0.25, shift=1.0)
    >>> stored = whisper.compress(torch.tensor([[1.0, 1e-3, 0.0]]))
    >>> stored
    tensor([[ 1.0000,  0.2500, -1.0000]])
    >>> whisper.expand(stored)
    tensor([[1.0000e+00, 1.0000e-03, 1.0000e-08]])
    """

    kind: str = "none"
    floor: float = 1e-10
    reference: float | Literal["max"] = 1.0
    dynamic_range: float | None = None
    scale: float = 1.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        _checks.choice(self.kind, "compression.kind", KINDS)
        self._normalise("floor", above=0.0)
        if self.reference != "max":
            self._normalise("reference", above=0.0)
        if self.dynamic_range is not None:
            self._normalise("dynamic_range", above=0.0)
        self._normalise("scale")
        self._normalise("shift")
        if self.scale == 0:
            raise ValueError("compression.scale must not be 0")
        for name in self._fields_without_use():
            default = type(self).__dataclass_fields__[name].default
            if getattr(self, name) != default:
                raise ValueError(
                    f"compression.{name} has no meaning for kind {self.kind!r}; got {getattr(self, name)!r}"
                )

    def _normalise(self, name: str, *, above: float | None = None) -> None:
        """Check a number and keep it as a float."""
        value = _checks.number(getattr(self, name), f"compression.{name}", above=above)
        object.__setattr__(self, name, value)

    def _fields_without_use(self) -> tuple[str, ...]:
        if self.kind == "none":
            return ("floor", "reference", "dynamic_range")
        return () if self.kind == "decibel" else ("reference",)

    def compress(
        self, mel: Float[Tensor, "*batch n_mels time"], *, power: float = 2.0
    ) -> Float[Tensor, "*batch n_mels time"]:
        """The stored values of mel energies (power 2) or magnitudes (power 1).

        "max" and `dynamic_range` look at each spectrogram by itself: one batch item never changes another.
        """
        level = mel
        if self.kind != "none":
            level = mel.clamp(min=self.floor).log() * self._units_per_neper(power)
        if self.kind == "decibel":
            level = level - self._reference_level(level, power)
        if self.dynamic_range is not None:
            level = torch.maximum(level, _maximum(level) - self.dynamic_range)
        return self.scale * level + self.shift

    def expand(
        self, stored: Float[Tensor, "*batch n_mels time"], *, power: float = 2.0
    ) -> Float[Tensor, "*batch n_mels time"]:
        """The mel energies or magnitudes of stored values; what a floor hid comes back as the floor."""
        level = (stored - self.shift) / self.scale
        if self.kind == "none":
            return level
        if self.kind == "decibel" and self.reference != "max":
            level = level + self._units_per_neper(power) * math.log(max(self.reference, self.floor))
        return torch.exp(level / self._units_per_neper(power))

    def _units_per_neper(self, power: float) -> float:
        """How many of the kind's units one unit of the natural logarithm is."""
        if self.kind == "ln":
            return 1.0
        return (20 / power if self.kind == "decibel" else 1.0) / math.log(10)

    def _reference_level(self, level: Tensor, power: float) -> Tensor | float:
        if self.reference == "max":
            return _maximum(level)
        return self._units_per_neper(power) * math.log(max(self.reference, self.floor))


def _maximum(level: Tensor) -> Tensor:
    if level[..., :1, :1].numel() == 0:  # no frame: nothing to take a maximum of
        return level.new_zeros(())
    return level.amax((-2, -1), keepdim=True)
