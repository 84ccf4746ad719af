"""A study: one clip sent through every way from mel to sound, and what was measured."""

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from inbounds.audio.compression import Compression
from inbounds.audio.io import Audio, resample
from inbounds.audio.melspec import MelSpec
from inbounds.compare.measure import Figures, measure
from inbounds.compare.ways import WAYS, Problem, Reconstruction

WARM_UP = 16384  # samples


class Study(NamedTuple):
    """What was done and what came out. Mappings are by "source" or a way's key."""

    name: str
    clip: Audio
    problem: Problem
    sounds: dict[str, Float[Tensor, "channels samples"]]  # at the clip's rate and length, the source first
    magnitudes: dict[str, Float[Tensor, "n_stft time"]]  # of those sounds, means over the channels
    figures: dict[str, Figures]
    remarks: dict[str, str]


def study(
    clip: Audio,
    spec: MelSpec,
    *,
    name: str,
    iterations: int = 32,
    seed: int = 0,
    progress: Callable[[str], object] = lambda step: None,
) -> Study:
    """Reduce a clip to its mels and bring it back in every way.

    Each way runs on a short piece first, so that no clock sees a kernel compiled.

    Args:
        clip: the sound; it is resampled to the spec's rate where that differs.
        spec: of the mel spectrogram that everything starts from. Its compression is left out: it would
            take the same from every way.
        name: the clip's.
        iterations: of every way's phase retrieval.
        seed: of every way's random start.
        progress: called with a phrase before each step.
    """
    spec = spec.replace(compression=Compression())
    source = resample(clip.samples, clip.sample_rate, spec.sample_rate)
    problem = Problem(spec.mel(source), spec, source.shape[1], iterations, seed)
    piece = source[:, :WARM_UP]
    short = Problem(spec.mel(piece), spec, piece.shape[1], iterations=2, seed=seed)

    sounds, magnitudes = {"source": clip.samples}, {"source": spec.magnitude(source).mean(0)}
    figures, remarks = {}, {}
    for way in WAYS:
        progress(way.title)
        way.run(short)
        result = way.run(problem)
        figures[way.key] = _figures(result, source, problem)
        magnitudes[way.key] = spec.magnitude(result.audio).mean(0)
        sounds[way.key] = resample(
            result.audio, spec.sample_rate, clip.sample_rate, length=clip.samples.shape[1]
        )
        if result.remark:
            remarks[way.key] = result.remark
    return Study(name, clip, problem, sounds, magnitudes, figures, remarks)


def _figures(result: Reconstruction, source: Tensor, problem: Problem) -> Figures:
    return measure(
        source,
        result.audio,
        result.magnitude,
        problem.mel,
        problem.spec,
        magnitude_seconds=result.magnitude_seconds,
        seconds=result.seconds,
    )
