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
    """`count` consecutive frames, the first of them frame `first`, of a signal of `length` samples.

    Attributes:
        pad: samples of padding before the signal.
        window: (n_fft,), the analysis window, padded to n_fft with zeros on both sides.
        weight: (span,), one over the sum of these frames' squared windows.
        before, after: for the timeline's samples outside the signal, at its two ends, the timeline's
            sample each is a copy of; −1 where it is zero. Both are empty for frames from the middle.
    """

    first: int
    count: int
    length: int
    pad: int
    n_fft: int
    hop_length: int
    window: Float[Tensor, " n_fft"]
    weight: Float[Tensor, " span"]
    before: Int[Tensor, " before"]
    after: Int[Tensor, " after"]

    @property
    def span(self) -> int:
        """Samples of the timeline."""
        return (self.count - 1) * self.hop_length + self.n_fft

    @property
    def start(self) -> int:
        """The signal's sample that the timeline begins with; negative within the padding."""
        return self.first * self.hop_length - self.pad

    @property
    def interior(self) -> slice:
        """The signal's own part of the timeline."""
        return slice(len(self.before), self.span - len(self.after))

    def extend(self, timeline: Float[Tensor, "b span"]) -> Float[Tensor, "b span"]:
        """Overwrite, in place, what lies outside the signal by what the padding mode makes of its inside."""
        low, high = self.interior.start, self.interior.stop
        for outside, source in ((slice(0, low), self.before), (slice(high, self.span), self.after)):
            if len(source):
                timeline[:, outside] = torch.where(source < 0, 0.0, timeline[:, source.clamp(min=0)])
        return timeline


@dataclass(frozen=True)
class Framing:
    """How a signal is cut into frames, with torch.stft's meaning of each field but two.

    Attributes:
        pad: samples added on either side: n_fft // 2 for what torch.stft calls center.
        window: (n_fft,), already padded to n_fft.
    """

    n_fft: int
    hop_length: int
    window: Float[Tensor, " n_fft"]
    pad: int
    pad_mode: str

    @property
    def reach(self) -> int:
        """How many frames on either side a frame shares samples with."""
        return -(-self.n_fft // self.hop_length) - 1

    def samples(self, count: int, length: int | None) -> int:
        """The length of a signal of `count` frames nearest to the `length` asked for."""
        shortest = max((count - 1) * self.hop_length + self.n_fft - 2 * self.pad, 0)
        if length is None:
            return shortest
        return min(max(length, shortest), shortest + min(self.pad, 2 * self.hop_length - 1))

    def frames(
        self, count: int, *, length: int | None = None, first: int = 0, last: int | None = None
    ) -> Frames:
        """The geometry of frames first to last − 1, or of all `count`."""
        length = self.samples(count, length)
        last = count if last is None else last
        envelope = _overlap(self.window.square(), last - first, self.hop_length)
        weight = 1 / envelope.clamp(min=LEAST_ENVELOPE * float(envelope.max()))
        start = first * self.hop_length - self.pad
        stop = start + len(weight)
        device = self.window.device
        ends = (
            torch.arange(start, max(start, min(0, stop)), device=device),
            torch.arange(min(max(length, start), stop), stop, device=device),
        )
        before, after = (_source(end, length, self.pad_mode, start) for end in ends)
        return Frames(
            first,
            last - first,
            length,
            self.pad,
            self.n_fft,
            self.hop_length,
            self.window,
            weight,
            before,
            after,
        )


def make_framing(
    window: Float[Tensor, " win_length"], n_fft: int, hop_length: int, pad: int, pad_mode: str
) -> Framing:
    """A framing whose window stands in the middle of the frame, as torch.stft puts it."""
    left = (n_fft - len(window)) // 2
    window = torch.nn.functional.pad(window, (left, n_fft - len(window) - left))
    return Framing(n_fft, hop_length, window, pad, pad_mode)


def _overlap(frame: Float[Tensor, " n_fft"], count: int, hop_length: int) -> Float[Tensor, " span"]:
    """The same frame added up at `count` places, `hop_length` apart."""
    pieces = -(-len(frame) // hop_length)
    rows = torch.nn.functional.pad(frame, (0, pieces * hop_length - len(frame))).view(pieces, hop_length)
    total = frame.new_zeros(count + pieces - 1, hop_length)
    for piece in range(pieces):
        total[piece : piece + count] += rows[piece]
    return total.flatten()[: (count - 1) * hop_length + len(frame)]


def _source(position: Int[Tensor, " n"], length: int, pad_mode: str, start: int) -> Int[Tensor, " n"]:
    """Where on a timeline that begins at sample `start` the padding at these positions is copied from."""
    if length == 0 or pad_mode == "constant":
        return torch.full_like(position, -1)
    if pad_mode == "reflect":  # as often as it takes: a signal shorter than its padding is no special case
        period = max(2 * (length - 1), 1)
        folded = position % period
        source = torch.minimum(folded, period - folded) if length > 1 else torch.zeros_like(position)
    elif pad_mode == "replicate":
        source = position.clamp(0, length - 1)
    else:
        source = position % length
    return source - start
