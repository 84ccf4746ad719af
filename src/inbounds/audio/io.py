"""Audio and mel spectrograms in and out of files, each failure one sentence that names the file.

What is read may come from anybody: nothing in it is run, and it takes memory of the order of its size or
of what it holds, whatever its header promises. What is written appears under its name only when it is
complete.
"""

import os
import warnings
import zipfile
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
import soxr
import torch
from jaxtyping import Float
from torch import Tensor

from inbounds.audio import files
from inbounds.audio.files import replacing

# Container and sample format of each extension that can be written.
AUDIO_FORMATS = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}
MEL_FORMATS = (".npy", ".pt", ".safetensors")
MEL_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MOST_CHANNELS = 1024  # that a file of PyTorch's may hold once and show often, as `expand` does

# libsndfile's Vorbis encoder crashes the process on very long blocks, and above this rate.
WRITE_BLOCK = 65536
VORBIS_RATE_LIMIT = 200_000


class Audio(NamedTuple):
    """Samples in [-1, 1], and how many there are in a second."""

    samples: Float[Tensor, "channels samples"]
    sample_rate: int


def read_audio(path: str | Path) -> Audio:
    """Read a sound file, as float32, whatever libsndfile can read: WAV, FLAC, OGG, MP3, AIFF, ...

    Raises:
        OSError: if the file cannot be opened.
        ValueError: if it is not audio, or has no samples, or some that are not finite.
    """
    path = files.existing(path)
    try:
        frames, rate = soundfile.read(_name(path), dtype="float32", always_2d=True)
    except (RuntimeError, TypeError) as error:  # libsndfile's errors are RuntimeErrors
        reason = str(error).split(": ")[-1].rstrip(".").lower()
        raise ValueError(f"{path} is not audio that can be read: {reason}") from None
    except (MemoryError, ValueError):  # less than what no machine has costs nothing: it is never written to
        raise ValueError(f"{path} promises a number of samples that no memory has room for") from None
    if len(frames) == 0:
        raise ValueError(f"{path} holds no samples")
    samples = torch.from_numpy(np.ascontiguousarray(frames.T))
    _refuse_nonfinite(samples, path, "samples")
    return Audio(samples, rate)


def write_audio(path: str | Path, samples: Float[Tensor, "channels samples"], sample_rate: int) -> None:
    """Write .wav or .flac (16 bits) or .ogg (Vorbis). Samples beyond [-1, 1] are clipped.

    Raises:
        OSError: if the file cannot be written.
        ValueError: if the extension is another, or the format cannot hold this rate or these channels.
    """
    write_pieces(path, [samples], sample_rate, channels=samples.shape[0])


def write_pieces(
    path: str | Path, pieces: Iterable[Float[Tensor, "channels _"]], sample_rate: int, *, channels: int
) -> None:
    """`write_audio` for a sound that comes piece after piece, and is never in memory as a whole."""
    path = Path(path)
    container, subtype = audio_format(path)
    if container == "OGG" and sample_rate > VORBIS_RATE_LIMIT:
        raise ValueError(f"{path} cannot hold more than {VORBIS_RATE_LIMIT} Hz; got {sample_rate}")
    with replacing(path) as temporary:
        try:
            file = soundfile.SoundFile(
                _name(temporary), "w", sample_rate, channels, format=container, subtype=subtype
            )
        except soundfile.LibsndfileError:
            raise ValueError(
                f"{path} cannot hold {channels} channel(s) at {sample_rate} Hz; write .wav"
            ) from None
        try:
            with file:
                for piece in pieces:
                    for block in piece.split(WRITE_BLOCK, dim=1):
                        file.write(_as_frames(block))
        except soundfile.LibsndfileError:  # which does not say why
            raise OSError(f"{path} cannot be written: is the disk full?") from None


def encode_audio(samples: Float[Tensor, "channels samples"], sample_rate: int) -> tuple[str, bytes]:
    """The media type and bytes of a sound for a browser: FLAC, or WAV where FLAC has no room for it."""
    frames = _as_frames(samples)
    container = "FLAC" if frames.shape[1] <= 8 and sample_rate <= 655_350 else "WAV"
    buffer = BytesIO()
    soundfile.write(buffer, frames, sample_rate, format=container, subtype="PCM_16")
    return f"audio/{container.lower()}", buffer.getvalue()


def _as_frames(samples: Float[Tensor, "channels samples"]) -> np.ndarray:
    """(samples, channels) within [-1, 1], as soundfile takes them."""
    return samples.detach().cpu().float().clamp(-1, 1).T.contiguous().numpy()


def _name(path: Path) -> Any:
    """As soundfile takes names that are no text, though its annotations know of text only."""
    return os.fsencode(path)


def audio_format(path: Path) -> tuple[str, str]:
    """The container and sample format an output's extension stands for."""
    try:
        return AUDIO_FORMATS[path.suffix.lower()]
    except KeyError:
        raise ValueError(f"an audio output must end in .wav, .flac or .ogg; got {path}") from None


def resample(
    samples: Float[Tensor, "channels samples"], source: int, target: int, *, length: int | None = None
) -> Float[Tensor, "channels resampled"]:
    """Change the sample rate with soxr's high quality.

    `length` is how many samples to give, by default the nearest to the same duration, and at least one.

    >>> resample(torch.zeros(2, 16000), 16000, 22050).shape
    torch.Size([2, 22050])
    """
    if length is None:
        length = max(1, round(samples.shape[1] * target / source))
    if source != target:
        frames = soxr.resample(np.ascontiguousarray(samples.T.numpy()), source, target)
        samples = torch.from_numpy(np.ascontiguousarray(frames.T))
    samples = samples[:, :length]
    return torch.nn.functional.pad(samples, (0, length - samples.shape[1]))


def read_mel(path: str | Path) -> Float[Tensor, "*channels n_mels time"]:
    """Read a mel spectrogram: .npy (an array), .pt or .safetensors (a tensor, or one named "mel").

    Nothing in the file is run: pickled objects are refused. Half precision comes back as float32, in
    which the inverse of a logarithm has room.

    Raises:
        OSError: if the file cannot be opened.
        ValueError: if it is not such a file, or the array is not (n_mels, time) or (channels, n_mels, time),
            not floating point, empty, or not finite.
    """
    path = files.existing(path)
    load = _MEL_READERS[mel_format(path)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols
            found = load(path)
    except Exception:  # these readers raise anything on a broken file
        raise ValueError(
            f"{path} is not a {path.suffix} file that can be read; pickled objects are refused"
        ) from None
    mel = _only_tensor(found, path).detach()
    if mel.layout != torch.strided or mel.device.type != "cpu":
        raise ValueError(
            f"{path} must hold an ordinary tensor, with its values; got one that is sparse or meta"
        )
    if mel.dtype not in MEL_DTYPES:
        raise ValueError(f"{path} must hold floating-point numbers; got {str(mel.dtype)[6:]}")
    if mel.ndim not in (2, 3) or mel.numel() == 0:
        raise ValueError(
            f"{path} must hold (n_mels, time) or (channels, n_mels, time); got {tuple(mel.shape)}"
        )
    if mel.numel() > MOST_CHANNELS * (mel.untyped_storage().nbytes() // mel.element_size()):
        raise ValueError(f"{path} holds far fewer numbers than its shape {tuple(mel.shape)} promises")
    _refuse_nonfinite(mel, path, "values")
    return mel if mel.dtype in (torch.float32, torch.float64) else mel.float()


def write_mel(path: str | Path, mel: Float[Tensor, "*channels n_mels time"]) -> None:
    """Write a mel spectrogram in float32, as .npy, .pt or .safetensors (under the name "mel")."""
    path = Path(path)
    extension = mel_format(path)
    mel = mel.detach().cpu().float().contiguous()
    with replacing(path) as temporary:
        if extension == ".npy":
            with temporary.open("wb") as file:
                np.save(file, mel.numpy())
        elif extension == ".pt":
            torch.save(mel, temporary)
        else:
            from safetensors.torch import save_file

            save_file({"mel": mel}, temporary)


def mel_format(path: Path) -> str:
    """The extension of a mel file, checked."""
    if path.suffix.lower() not in MEL_FORMATS:
        raise ValueError(f"a mel file must end in {', '.join(MEL_FORMATS)}; got {path}")
    return path.suffix.lower()


def _refuse_nonfinite(values: Tensor, path: Path, noun: str) -> None:
    finite = torch.isfinite(values)
    if not finite.all():
        bad = int((~finite).sum())
        raise ValueError(f"{path} must hold finite {noun}; {bad} of {values.numel()} are NaN or infinite")


def _only_tensor(found: object, path: Path) -> Tensor:
    """The tensor in what a file held: itself, the only one of a mapping, or the one named "mel"."""
    if isinstance(found, dict):
        tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
        if "mel" in tensors or len(tensors) == 1:
            return tensors.get("mel", next(iter(tensors.values())))
        raise ValueError(
            f'{path} must hold one tensor, or one named "mel"; it holds {len(tensors) or "none"}'
        )
    if isinstance(found, Tensor):
        return found
    raise ValueError(f"{path} must hold a tensor; it holds a {type(found).__name__}")


def _load_npy(path: Path) -> Tensor:
    array = np.load(path, allow_pickle=False)
    return torch.from_numpy(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")))


def _load_pt(path: Path) -> object:
    with path.open("rb") as file:
        zipped = file.read(4) == b"PK\3\4"
    if zipped:  # PyTorch does not compress; what is compressed, or there twice, could grow without end
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > path.stat().st_size:
                raise ValueError
    return torch.load(path, map_location="cpu", weights_only=True)


def _load_safetensors(path: Path) -> object:
    from safetensors.torch import load_file

    return load_file(path)


_MEL_READERS: dict[str, Callable[[Path], object]] = {
    ".npy": _load_npy,
    ".pt": _load_pt,
    ".safetensors": _load_safetensors,
}
