"""The mel conventions people hold, by name."""

from collections.abc import Mapping
from types import MappingProxyType

from inbounds.audio.compression import Compression
from inbounds.audio.melspec import MelSpec

_LN_1E5 = Compression("ln", floor=1e-5)

_TACOTRON2 = MelSpec(
    22050, 1024, 256, 80, f_max=8000.0, mel_scale="slaney", norm="slaney", power=1.0, compression=_LN_1E5
)


def _hifigan(sample_rate: int, n_fft: int, hop_length: int, n_mels: int, f_max: float | None) -> MelSpec:
    """HiFi-GAN's `mel_spectrogram`, which BigVGAN took over."""
    return MelSpec(
        sample_rate,
        n_fft,
        hop_length,
        n_mels,
        f_max=f_max,
        mel_scale="slaney",
        norm="slaney",
        power=1.0,
        center=False,
        padding=(n_fft - hop_length) // 2,
        epsilon=1e-9,
        compression=_LN_1E5,
    )


def _whisper(n_mels: int) -> MelSpec:
    return MelSpec(
        16000,
        400,
        160,
        n_mels,
        mel_scale="slaney",
        norm="slaney",
        drop_last=True,
        compression=Compression("log10", floor=1e-10, dynamic_range=8.0, scale=0.25, shift=1.0),
    )


PRESETS: Mapping[str, MelSpec] = MappingProxyType(
    {
        "librosa": MelSpec(22050, 2048, 512, 128, mel_scale="slaney", norm="slaney", pad_mode="constant"),
        "torchaudio": MelSpec(16000, 400, 200, 128),
        "tacotron2": _TACOTRON2,
        "hifigan": _hifigan(22050, 1024, 256, 80, f_max=8000.0),
        "bigvgan-24k": _hifigan(24000, 1024, 256, 100, f_max=None),
        "bigvgan-44k": _hifigan(44100, 2048, 512, 128, f_max=None),
        "vocos": MelSpec(24000, 1024, 256, 100, power=1.0, compression=Compression("ln", floor=1e-7)),
        "whisper": _whisper(80),
        "whisper-128": _whisper(128),
        "speecht5": MelSpec(
            16000,
            1024,
            256,
            80,
            f_min=80.0,
            f_max=7600.0,
            mel_scale="slaney",
            norm="slaney",
            power=1.0,
            compression=Compression("log10", floor=1e-10),
        ),
    }
)
"""Each as its public source defines it, for audio in [-1, 1]:

- "librosa": `librosa.feature.melspectrogram`'s defaults (librosa/feature/spectral.py): energies.
- "torchaudio": `torchaudio.transforms.MelSpectrogram`'s defaults: energies.
- "tacotron2": NVIDIA/tacotron2, layers.py `TacotronSTFT`, hparams.py, audio_processing.py.
- "hifigan": jik876/hifi-gan, meldataset.py `mel_spectrogram`, config_v1.json (LJ Speech, 22.05 kHz).
- "bigvgan-24k": NVIDIA/BigVGAN, meldataset.py, configs/bigvgan_v2_24khz_100band_256x.json.
- "bigvgan-44k": NVIDIA/BigVGAN, meldataset.py, configs/bigvgan_v2_44khz_128band_512x.json.
- "vocos": gemelo-ai/vocos, vocos/feature_extractors.py `MelSpectrogramFeatures`, vocos/modules.py `safe_log`.
- "whisper", "whisper-128": openai/whisper, whisper/audio.py `log_mel_spectrogram`; 128 is large-v3's.
- "speecht5": huggingface/transformers, feature_extraction_speecht5.py `_extract_mel_features`,
  whose arrays are (time, n_mels): transpose them.
"""
