"""The transforms a phase iteration is made of, as one fused pass over blocks of frames.

A *sweep* goes from a timeline (see `frames`) through the spectrum and back: frames, Fourier transform,
a step that changes the spectrum, inverse transform, overlap-add. Done block by block it never stores a
spectrum, and a block stays in cache from its first sample to its last: the sweep costs little more than
its Fourier transforms.

There are two engines with one contract. `TensorSweep` is made of PyTorch operations, runs anywhere and
is differentiable. `KernelSweep` is for CPUs, without gradients. Magnitudes are (b, time, n_stft), frames
first, so that a frame's spectrum is contiguous.
"""

import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from inbounds._parallel import for_each_block
from inbounds.audio.frames import Frames

# A block of frames holds about this many samples: 1 MiB of float32, which fits a core's share of cache.
BLOCK_SAMPLES = 2**18


def block_frames(n_fft: int, hop_length: int) -> int:
    """Frames in a block, a power of two; as many as a frame reaches over, so that only neighbours overlap."""
    return max(
        2 ** int(math.log2(max(BLOCK_SAMPLES // n_fft, 1))), 2 ** math.ceil(math.log2(n_fft / hop_length))
    )


# change(magnitudes, rows, frames) → magnitudes, of the frames and rows named by two slices. It must treat
# each frame by itself, and is called from several threads.
Change = Callable[[Tensor, slice, slice], Tensor]
Place = tuple[slice, slice]  # rows, frames


class Sweep(ABC):
    """Analysis, synthesis, and what an iteration does between the two."""

    @abstractmethod
    def magnitude(
        self, timeline: Float[Tensor, "b span"], change: Change | None = None
    ) -> Float[Tensor, "b time n_stft"]:
        """|STFT| of a timeline; or, given `change`, what that makes of it, a block of frames at a time."""

    @abstractmethod
    def synthesise(self, spectrum: Complex[Tensor, "b time n_stft"]) -> Float[Tensor, "b span"]:
        """The extended timeline whose frames are nearest, in least squares, to the spectrum's."""

    @abstractmethod
    def impose(
        self, timeline: Float[Tensor, "b span"], magnitude: Float[Tensor, "b time n_stft"]
    ) -> Float[Tensor, "b span"]:
        """Keep the phases of the timeline's STFT, replace its magnitudes, and synthesise."""

    @abstractmethod
    def extrapolate(
        self, start: Float[Tensor, "b span"], end: Float[Tensor, "b span"], amount: float
    ) -> Float[Tensor, "b span"]:
        """The timeline start + amount · (end − start)."""

    @abstractmethod
    def reflect(
        self,
        timeline: Float[Tensor, "b span"],
        memory: Complex[Tensor, "b time n_stft"],
        magnitude: Float[Tensor, "b time n_stft"],
        relaxation: float,
    ) -> tuple[Float[Tensor, "b span"], Complex[Tensor, "b time n_stft"]]:
        """ADMM's update of its memory v, and the timeline synthesised from it; v may be overwritten."""


def sweep_for(frames: Frames, *, differentiable: bool) -> Sweep:
    """The engine for these frames: compiled kernels on a CPU, tensors elsewhere and under autograd."""
    if frames.window.device.type == "cpu" and not differentiable:
        return KernelSweep(frames)
    return TensorSweep(frames)


class TensorSweep(Sweep):
    """The sweeps in PyTorch operations."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames

    def analyse(self, timeline: Float[Tensor, "b span"]) -> Complex[Tensor, "b time n_stft"]:
        """STFT of a timeline."""
        frames = timeline.unfold(-1, self.frames.n_fft, self.frames.hop_length)
        return torch.fft.rfft(frames * self.frames.window)

    def magnitude(
        self, timeline: Float[Tensor, "b span"], change: Change | None = None
    ) -> Float[Tensor, "b time n_stft"]:
        """|STFT| of a timeline, perhaps changed."""
        magnitude = self.analyse(timeline).abs()
        if change is None:
            return magnitude
        return change(magnitude, slice(0, len(timeline)), slice(0, self.frames.count))

    def synthesise(self, spectrum: Complex[Tensor, "b time n_stft"]) -> Float[Tensor, "b span"]:
        """The extended timeline nearest the spectrum."""
        frames = torch.fft.irfft(spectrum, n=self.frames.n_fft) * self.frames.window
        added = torch.nn.functional.fold(
            frames.mT, (1, self.frames.span), (1, self.frames.n_fft), stride=(1, self.frames.hop_length)
        )
        return self.frames.extend(added[:, 0, 0] * self.frames.weight)

    def impose(
        self, timeline: Float[Tensor, "b span"], magnitude: Float[Tensor, "b time n_stft"]
    ) -> Float[Tensor, "b span"]:
        """Phases kept, magnitudes replaced."""
        return self.synthesise(with_phase_of(self.analyse(timeline), magnitude))

    def extrapolate(
        self, start: Float[Tensor, "b span"], end: Float[Tensor, "b span"], amount: float
    ) -> Float[Tensor, "b span"]:
        """Start + amount · (end − start)."""
        return torch.lerp(start, end, amount)

    def reflect(
        self,
        timeline: Float[Tensor, "b span"],
        memory: Complex[Tensor, "b time n_stft"],
        magnitude: Float[Tensor, "b time n_stft"],
        relaxation: float,
    ) -> tuple[Float[Tensor, "b span"], Complex[Tensor, "b time n_stft"]]:
        """ADMM's update."""
        spectrum = self.analyse(timeline)
        target = with_phase_of(2 * spectrum - (1 - relaxation) * memory, magnitude)
        memory = target + (memory - spectrum) / (1 + relaxation)
        return self.synthesise(memory), memory


def with_phase_of(
    spectrum: Complex[Tensor, "*shape"], magnitude: Float[Tensor, "*shape"]
) -> Complex[Tensor, "*shape"]:
    """Give a spectrum these magnitudes and keep its phases; the phase of zero is zero."""
    power = spectrum.real.square() + spectrum.imag.square()
    least = torch.finfo(magnitude.dtype).tiny
    unit = spectrum / power.clamp(min=least).sqrt()
    return magnitude * torch.where(power >= least, unit, torch.ones_like(unit))


class KernelSweep(Sweep):
    """The sweeps in compiled kernels, a block of frames at a time, over threads.

    A block writes its overlap-added frames to a part of its own; the parts, each of which overlaps only
    its neighbours, are joined afterwards. Blocks do not depend on the number of threads, nor do the bits.
    """

    def __init__(self, frames: Frames) -> None:
        from inbounds.audio.kernels import frames as kernels

        self.kernels = kernels
        self.frames = frames
        self.window = frames.window.contiguous().numpy()
        self.weight = frames.weight.numpy()
        self.block = min(block_frames(frames.n_fft, frames.hop_length), frames.count)
        self.blocks = -(-frames.count // self.block)
        self.rows_at_once = max(1, BLOCK_SAMPLES // (self.block * frames.n_fft))
        self.workspace = threading.local()
        self.parts: Tensor | None = None

    def magnitude(
        self, timeline: Float[Tensor, "b span"], change: Change | None = None
    ) -> Float[Tensor, "b time n_stft"]:
        """|STFT| of a timeline, perhaps changed."""
        magnitude = timeline.new_empty(len(timeline), self.frames.count, self.frames.n_fft // 2 + 1)

        def take(spectrum: Tensor, here: Place) -> None:
            block = magnitude[here]
            self.kernels.modulus(spectrum.numpy(), block.numpy())
            if change is not None:
                block.copy_(change(block, *here))

        self._analyse(timeline, take)
        return magnitude

    def synthesise(self, spectrum: Complex[Tensor, "b time n_stft"]) -> Float[Tensor, "b span"]:
        """The extended timeline nearest the spectrum."""
        parts = self._parts(len(spectrum), spectrum.real.dtype)

        def work(rows: slice, first: int, last: int) -> None:
            self._add(spectrum[rows, first:last], parts, rows, first)

        self._for_each_block(len(spectrum), work)
        return self._join(parts)

    def impose(
        self, timeline: Float[Tensor, "b span"], magnitude: Float[Tensor, "b time n_stft"]
    ) -> Float[Tensor, "b span"]:
        """Phases kept, magnitudes replaced."""
        target = magnitude.numpy()
        parts = self._parts(len(timeline), timeline.dtype)

        def step(spectrum: Tensor, here: Place) -> None:
            self.kernels.impose(spectrum.numpy(), target[here])

        self._analyse(timeline, step, parts)
        return self._join(parts)

    def extrapolate(
        self, start: Float[Tensor, "b span"], end: Float[Tensor, "b span"], amount: float
    ) -> Float[Tensor, "b span"]:
        """Start + amount · (end − start)."""
        result = torch.empty_like(end)
        low, high, out = start.numpy(), end.numpy(), result.numpy()
        share = out.dtype.type(amount)
        self._for_each_chunk(len(end), lambda a, b: self.kernels.extrapolate(low, high, share, a, b, out))
        return result

    def reflect(
        self,
        timeline: Float[Tensor, "b span"],
        memory: Complex[Tensor, "b time n_stft"],
        magnitude: Float[Tensor, "b time n_stft"],
        relaxation: float,
    ) -> tuple[Float[Tensor, "b span"], Complex[Tensor, "b time n_stft"]]:
        """ADMM's update."""
        target, old = magnitude.numpy(), memory.numpy()
        parts = self._parts(len(timeline), timeline.dtype)

        def step(spectrum: Tensor, here: Place) -> None:
            self.kernels.reflect(spectrum.numpy(), old[here], target[here], target.dtype.type(relaxation))

        self._analyse(timeline, step, parts)
        return self._join(parts), memory

    def _analyse(
        self, timeline: Tensor, step: Callable[[Tensor, Place], object], parts: Tensor | None = None
    ) -> None:
        """Call step(spectrum, place) on every block's spectrum; synthesise what it left into `parts`."""
        samples = timeline.numpy()
        hop = self.frames.hop_length

        def work(rows: slice, first: int, last: int) -> None:
            block = self._buffer((rows.stop - rows.start, last - first, self.frames.n_fft), timeline.dtype)
            self.kernels.gather(samples[rows], first, hop, self.window, block.numpy())
            spectrum = torch.fft.rfft(block)
            step(spectrum, (rows, slice(first, last)))
            if parts is not None:
                self._add(spectrum, parts, rows, first)

        self._for_each_block(len(timeline), work)

    def _add(self, spectrum: Tensor, parts: Tensor, rows: slice, first: int) -> None:
        frames = torch.fft.irfft(spectrum, n=self.frames.n_fft)
        total = parts[rows, first // self.block].numpy()
        self.kernels.overlap_add(frames.numpy(), self.frames.hop_length, self.window, total)

    def _parts(self, rows: int, dtype: torch.dtype) -> Tensor:
        size = (self.block - 1) * self.frames.hop_length + self.frames.n_fft
        if self.parts is None or self.parts.shape[0] != rows or self.parts.dtype != dtype:
            self.parts = torch.empty(rows, self.blocks, size, dtype=dtype)
        return self.parts

    def _join(self, parts: Tensor) -> Float[Tensor, "b span"]:
        stride = self.block * self.frames.hop_length
        timeline = parts.new_empty(len(parts), self.frames.span)
        source, out = parts.numpy(), timeline.numpy()
        self._for_each_chunk(
            len(parts), lambda start, stop: self.kernels.join(source, stride, self.weight, start, stop, out)
        )
        return self.frames.extend(timeline)

    def _for_each_chunk(self, rows: int, work: Callable[[int, int], None]) -> None:
        """Call work(start, stop) on chunks of the timeline, all rows at once."""
        for_each_block(work, self.frames.span, max(BLOCK_SAMPLES // rows, 4096))

    def _for_each_block(self, rows: int, work: Callable[[slice, int, int], None]) -> None:
        groups = -(-rows // self.rows_at_once)

        def item(start: int, _: int) -> None:
            group, block = divmod(start, self.blocks)
            low, first = group * self.rows_at_once, block * self.block
            high, last = min(low + self.rows_at_once, rows), min(first + self.block, self.frames.count)
            work(slice(low, high), first, last)

        for_each_block(item, groups * self.blocks, 1, calls_torch=True)

    def _buffer(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Frames of this thread's own: fresh memory for every block would cost more than the block's work."""
        held = getattr(self.workspace, "frames", None)
        size = torch.Size(shape).numel()
        if held is None or held.numel() < size:
            held = self.workspace.frames = torch.empty(size, dtype=dtype)
        return held[:size].view(shape)
