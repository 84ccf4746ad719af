"""The frames of a short-time Fourier transform, as a geometry: where they lie and how they add up.

Everything in phase retrieval happens on the *timeline*: the signal with its padding, cut to the samples
some frame covers. Frame k covers samples [k hop, k hop + n_fft) of it, and sample 0 of the signal is
sample `pad` of it. The conventions are those of torch.stft and torch.istft.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Where the squared windows add up to less than this share of their maximum (the ends, without padding),
# dividing by the sum would turn rounding errors into clicks: the division stops there.
LEAST_ENVELOPE = 1e-4

PAD_MODES = ("reflect", "constant", "replicate", "circular")


@dataclass(frozen=True)
class Frames:
    """`count` frames of a signal of `length` samples.

    Attributes:
        window: (n_fft,), the analysis window, padded to n_fft with zeros on both sides.
        weight: (span,), one over the sum of the frames' squared windows.
        source: (span,), the signal's sample each timeline sample is a copy of; −1 where it is zero.
    """

    count: int
    length: int
    n_fft: int
    hop_length: int
    pad: int
    window: Float[Tensor, " n_fft"]
    weight: Float[Tensor, " span"]
    source: Int[Tensor, " span"]

    @property
    def span(self) -> int:
        """Samples of the timeline."""
        return (self.count - 1) * self.hop_length + self.n_fft

    @property
    def interior(self) -> slice:
        """The signal's own part of the timeline."""
        return slice(self.pad, self.pad + self.length)

    def extend(self, timeline: Float[Tensor, "b span"]) -> Float[Tensor, "b span"]:
        """Overwrite, in place, what lies outside the signal by what the padding mode makes of its inside."""
        for outside in (slice(0, self.pad), slice(self.pad + self.length, self.span)):
            source = self.source[outside]
            copied = timeline[:, self.pad + source.clamp(min=0)]
            timeline[:, outside] = torch.where(source < 0, 0.0, copied)
        return timeline


def frames_of(
    window: Float[Tensor, " win_length"],
    *,
    count: int,
    n_fft: int,
    hop_length: int,
    center: bool,
    pad_mode: str,
    length: int | None,
) -> Frames:
    """The geometry of `count` frames.

    `length` is honoured where a signal of that length has `count` frames; the nearest such length is
    taken otherwise.
    """
    pad = n_fft // 2 if center else 0
    span = (count - 1) * hop_length + n_fft
    shortest = span - 2 * pad
    longest = min(shortest + hop_length - 1, span - pad)
    length = shortest if length is None else min(max(length, shortest), longest)

    left = (n_fft - len(window)) // 2
    window = torch.nn.functional.pad(window, (left, n_fft - len(window) - left))
    envelope = _overlap(window.square(), count, hop_length)
    weight = 1 / envelope.clamp(min=LEAST_ENVELOPE * float(envelope.max()))
    position = torch.arange(span, device=window.device) - pad
    source = _source(position, length, pad_mode)
    return Frames(count, length, n_fft, hop_length, pad, window, weight, source)


def _overlap(frame: Float[Tensor, " n_fft"], count: int, hop_length: int) -> Float[Tensor, " span"]:
    """The same frame added up at `count` places, `hop_length` apart."""
    pieces = -(-len(frame) // hop_length)
    rows = torch.nn.functional.pad(frame, (0, pieces * hop_length - len(frame))).view(pieces, hop_length)
    total = frame.new_zeros(count + pieces - 1, hop_length)
    for piece in range(pieces):
        total[piece : piece + count] += rows[piece]
    return total.flatten()[: (count - 1) * hop_length + len(frame)]


def _source(position: Int[Tensor, " span"], length: int, pad_mode: str) -> Int[Tensor, " span"]:
    if length == 0:
        return torch.full_like(position, -1)
    if pad_mode == "reflect":  # as often as it takes: a signal shorter than its padding is no special case
        period = max(2 * (length - 1), 1)
        folded = position % period
        return torch.minimum(folded, period - folded) if length > 1 else torch.zeros_like(position)
    if pad_mode == "replicate":
        return position.clamp(0, length - 1)
    if pad_mode == "circular":
        return position % length
    return torch.where((position >= 0) & (position < length), position, -1)
