"""Each preset against its public definition, written down again in NumPy with librosa's bank."""

import librosa
import numpy as np
import pytest
import torch

from inbounds.audio import melspec
from inbounds.audio.compression import Compression
from inbounds.audio.melspec import MelSpec
from inbounds.audio.presets import PRESETS


def sound(samples: int, channels: int = 1) -> np.ndarray:
    """A chirp that fades into noise and then into silence: every level, and some exact zeros."""
    time = np.linspace(0, 1, samples)
    noise = np.random.default_rng(0).normal(0, 0.1, (channels, samples))
    y = 0.5 * np.sin(300 * time + 9000 * time**2) * (1 - time) + noise * time
    y[:, int(samples * 0.8) :] = 0
    return y


def magnitudes(y: np.ndarray, n_fft: int, hop: int, pad: int, mode: str = "reflect") -> np.ndarray:
    """|STFT| with a periodic Hann window, one frame after the other."""
    padded = np.pad(y, (pad, pad), mode=mode)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    starts = range(0, len(padded) - n_fft + 1, hop)
    return np.stack([np.abs(np.fft.rfft(padded[s : s + n_fft] * window)) for s in starts], 1)


def bank(sr: int, n_fft: int, n_mels: int, fmin: float, fmax: float | None, **options) -> np.ndarray:
    options = {"htk": False, "norm": "slaney", "dtype": np.float64} | options
    return librosa.filters.mel(sr=sr, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax, **options)


def librosa_definition(y):
    """librosa.feature.melspectrogram with nothing but its defaults."""
    return librosa.feature.melspectrogram(y=y, sr=22050, dtype=np.float64)


def torchaudio_definition(y):
    """torchaudio.transforms.MelSpectrogram(): 16 kHz, n_fft 400, hop 200, 128 HTK mels of unit peak."""
    return bank(16000, 400, 128, 0, None, htk=True, norm=None) @ magnitudes(y, 400, 200, 200) ** 2


def tacotron2_definition(y):
    """TacotronSTFT.mel_spectrogram: log of the magnitudes' mels, clamped at 1e-5; 0 to 8000 Hz."""
    return np.log(np.maximum(bank(22050, 1024, 80, 0, 8000) @ magnitudes(y, 1024, 256, 512), 1e-5))


def hifigan_definition(sr, n_fft, hop, n_mels, fmax):
    """mel_spectrogram of meldataset.py: padded by (n_fft - hop) / 2, sqrt(|X|² + 1e-9), log from 1e-5."""

    def define(y):
        spectrum = np.sqrt(magnitudes(y, n_fft, hop, (n_fft - hop) // 2) ** 2 + 1e-9)
        return np.log(np.maximum(bank(sr, n_fft, n_mels, 0, fmax) @ spectrum, 1e-5))

    return define


def vocos_definition(y):
    """MelSpectrogramFeatures: torchaudio's mels (HTK, unit peak) of magnitudes, safe_log at 1e-7."""
    mel = bank(24000, 1024, 100, 0, None, htk=True, norm=None) @ magnitudes(y, 1024, 256, 512)
    return np.log(np.maximum(mel, 1e-7))


def whisper_definition(n_mels):
    """log_mel_spectrogram: not the last frame, log10 from 1e-10, 8 under the maximum, (x + 4) / 4."""

    def define(y):
        mel = bank(16000, 400, n_mels, 0, None) @ magnitudes(y, 400, 160, 200)[:, :-1] ** 2
        level = np.log10(np.maximum(mel, 1e-10))
        return (np.maximum(level, level.max() - 8) + 4) / 4

    return define


def speecht5_definition(y):
    """SpeechT5FeatureExtractor._extract_mel_features: log10 of the magnitudes' mels, 80 to 7600 Hz."""
    return np.log10(np.maximum(bank(16000, 1024, 80, 80, 7600) @ magnitudes(y, 1024, 256, 512), 1e-10))


DEFINITIONS = {
    "librosa": librosa_definition,
    "torchaudio": torchaudio_definition,
    "tacotron2": tacotron2_definition,
    "hifigan": hifigan_definition(22050, 1024, 256, 80, 8000),
    "bigvgan-24k": hifigan_definition(24000, 1024, 256, 100, None),
    "bigvgan-44k": hifigan_definition(44100, 2048, 512, 128, None),
    "vocos": vocos_definition,
    "whisper": whisper_definition(80),
    "whisper-128": whisper_definition(128),
    "speecht5": speecht5_definition,
}


@pytest.mark.filterwarnings("ignore:Empty filters detected:UserWarning")
@pytest.mark.parametrize("name", PRESETS)
def test_the_numbers_of_the_public_definition(name):
    y = sound(30011)[0]
    got = PRESETS[name].mel(torch.from_numpy(y)).numpy()
    np.testing.assert_allclose(got, DEFINITIONS[name](y), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", PRESETS)
def test_float32_is_as_near_as_float32_can_be(name):
    y = torch.from_numpy(sound(20000))
    exact = PRESETS[name].decompress(PRESETS[name].mel(y))
    single = PRESETS[name].decompress(PRESETS[name].mel(y.float()))
    assert single.dtype == torch.float32
    assert (single - exact).norm() < 3e-6 * exact.norm()


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("samples", [1, 2, 7, 159, 441, 5000])
def test_short_sounds_have_frames_and_finite_values(name, samples):
    spec = PRESETS[name]
    mel = spec.mel(torch.from_numpy(sound(samples, 2)).float())
    assert mel.shape == (2, spec.n_mels, spec.frames(samples))
    assert torch.isfinite(mel).all()


@pytest.mark.parametrize("name", PRESETS)
def test_silence(name):
    spec = PRESETS[name]
    mel = spec.decompress(spec.mel(torch.zeros(4000)))
    # Nothing but the floor, and what HiFi-GAN adds under the root.
    assert mel.max() <= 1.01e-5


def test_blocks_do_not_show(monkeypatch):
    spec = PRESETS["hifigan"]
    y = torch.from_numpy(sound(20000, 2))
    whole, spectrum = spec.mel(y), spec.magnitude(y)
    monkeypatch.setattr(melspec, "BLOCK", 7)
    torch.testing.assert_close(spec.mel(y), whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(spec.magnitude(y), spectrum, rtol=1e-12, atol=1e-12)


def test_one_item_of_a_batch_never_changes_another():
    spec = PRESETS["whisper"]
    y = torch.from_numpy(sound(8000, 3)).reshape(3, 1, 8000) * torch.tensor([1.0, 1e-3, 0.0])[:, None, None]
    together = spec.mel(y)
    assert together.shape == (3, 1, 80, 50)
    for item, mel in zip(y, together, strict=True):
        torch.testing.assert_close(spec.mel(item), mel, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", ["reflect", "constant", "replicate", "circular"])
@pytest.mark.parametrize("samples", [1, 3, 40, 2000])
def test_padding_is_numpys(mode, samples):
    y = sound(samples)[0]
    spec = MelSpec(8000, 128, 32, 20, mel_scale="slaney", pad_mode=mode)
    named = {"constant": "constant", "replicate": "edge", "circular": "wrap", "reflect": "reflect"}[mode]
    expected = magnitudes(y, 128, 32, 64, named)
    np.testing.assert_allclose(spec.magnitude(torch.from_numpy(y)).numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("window", melspec.WINDOWS)
def test_windows_are_scipys(window):
    scipy_signal = pytest.importorskip("scipy.signal")
    named = "boxcar" if window == "rectangular" else window
    spec = MelSpec(8000, 128, 32, 20, window=window, win_length=100)
    got = spec.window_tensor(dtype=torch.float64)
    np.testing.assert_allclose(got.numpy(), scipy_signal.get_window(named, 100), atol=1e-12)


def test_gradients_reach_the_audio():
    spec = MelSpec(8000, 32, 8, 6, power=2.0, compression=Compression("ln", floor=1e-5))
    y = torch.from_numpy(sound(100)[0]).requires_grad_()
    assert torch.autograd.gradcheck(spec.mel, y)


def test_half_precision_goes_in_and_comes_out():
    y = torch.from_numpy(sound(4000)[0])
    mel = PRESETS["tacotron2"].mel(y.half())
    assert mel.dtype == torch.float16
    torch.testing.assert_close(mel.double(), PRESETS["tacotron2"].mel(y), atol=0.2, rtol=0.01)


def test_misuse_is_named():
    spec = PRESETS["hifigan"]
    with pytest.raises(ValueError, match="audio must have at least one sample"):
        spec.mel(torch.zeros(2, 0))
    with pytest.raises(TypeError, match="audio must have a real floating-point dtype"):
        spec.mel(torch.zeros(9, dtype=torch.int16))
    with pytest.raises(ValueError, match=r"mel must be \(..., 80, time\); got .* \(100, 4\)"):
        spec.decompress(torch.zeros(100, 4))


class TestCompression:
    values = np.concatenate([[0.0, 1e-12], np.geomspace(1e-9, 1e3, 50)])[None]

    @pytest.mark.parametrize(
        "compression",
        [
            Compression(),
            Compression(scale=3.0, shift=-1.0),
            Compression("ln", floor=1e-5),
            Compression("log10", floor=1e-10, scale=0.25, shift=1),
            Compression("decibel"),
            Compression("decibel", reference=20.0, scale=-0.01, shift=0.5),
        ],
    )
    @pytest.mark.parametrize("power", [1.0, 2.0])
    def test_expansion_undoes_compression_down_to_the_floor(self, compression, power):
        stored = compression.compress(torch.from_numpy(self.values), power=power)
        floor = 0.0 if compression.kind == "none" else compression.floor
        expected = np.maximum(self.values, floor)
        np.testing.assert_allclose(
            compression.expand(stored, power=power).numpy(), expected, rtol=1e-9, atol=1e-15
        )

    @pytest.mark.parametrize("top_db", [None, 80.0, 3.0])
    @pytest.mark.parametrize("reference", [1.0, 0.05, "max"])
    def test_decibels_are_librosas(self, reference, top_db):
        compression = Compression("decibel", floor=1e-10, reference=reference, dynamic_range=top_db)
        ref = np.max if reference == "max" else reference
        expected = librosa.power_to_db(self.values, ref=ref, amin=1e-10, top_db=top_db)
        got = compression.compress(torch.from_numpy(self.values), power=2.0)
        np.testing.assert_allclose(got.numpy(), expected, atol=1e-9)
        of_magnitudes = Compression("decibel", floor=1e-5, reference=reference, dynamic_range=top_db)
        expected = librosa.amplitude_to_db(self.values, ref=ref, amin=1e-5, top_db=top_db)
        got = of_magnitudes.compress(torch.from_numpy(self.values), power=1.0)
        np.testing.assert_allclose(got.numpy(), expected, atol=1e-9)

    def test_no_frames(self):
        compression = Compression("decibel", reference="max", dynamic_range=80.0)
        assert compression.compress(torch.zeros(80, 0)).shape == (80, 0)
