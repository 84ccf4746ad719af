import warnings

import librosa
import numpy as np
import pytest
import torch

from inbounds.audio.filters import hz_to_mel, mel_filter_bank


@pytest.mark.parametrize("mel_scale", ["htk", "slaney"])
@pytest.mark.parametrize("norm", [None, "slaney"])
@pytest.mark.parametrize(
    ("sample_rate", "n_fft", "n_mels", "f_min", "f_max"),
    [
        (16000, 400, 80, 0.0, None),
        (22050, 1024, 80, 0.0, 8000.0),
        (44100, 2048, 128, 20.0, None),
        (48000, 2048, 256, 0.0, None),
        (11025, 512, 40, 100.0, 5000.0),
        (16000, 400, 128, 0.0, None),
    ],
)
@pytest.mark.filterwarnings("ignore:the mel bank has rank", "ignore:Empty filters")
def test_equals_librosa(sample_rate, n_fft, n_mels, f_min, f_max, norm, mel_scale):
    ours = mel_filter_bank(
        n_fft // 2 + 1, n_mels, sample_rate, f_min=f_min, f_max=f_max, norm=norm, mel_scale=mel_scale
    )
    theirs = librosa.filters.mel(
        sr=sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=f_min, fmax=f_max, htk=mel_scale == "htk", norm=norm
    )
    np.testing.assert_allclose(ours.numpy().T, theirs, atol=1e-6 * theirs.max())


def test_nyquist_of_an_odd_rate_is_half_of_it():
    bank = mel_filter_bank(129, 10, 11025, dtype=torch.float64)
    # The last filter falls to zero exactly at the last bin, which is the Nyquist frequency.
    assert bank[-1, -1] == 0.0
    assert bank[-2, -1] > 0.0


def test_every_bin_lies_in_at_most_two_adjacent_filters():
    for scale in ("htk", "slaney"):
        for n_mels in (40, 64, 80, 100, 128):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                bank = mel_filter_bank(257, n_mels, 16000, mel_scale=scale)
            touches = bank > 0
            assert touches.sum(dim=1).max() <= 2
            both = touches.sum(dim=1) == 2
            first = touches.int().argmax(dim=1)
            assert touches[both, first[both] + 1].all()


def test_dtype_and_default(device):
    assert mel_filter_bank(201, 20, 16000, device=device).dtype == torch.get_default_dtype()
    bank = mel_filter_bank(201, 20, 16000, dtype=torch.float64, device=device)
    assert bank.dtype == torch.float64
    assert bank.device.type == device.type


def test_empty_filters_are_named():
    with pytest.warns(UserWarning, match=r"rank 107 with 128 filters, 4 of them empty \(0, 3, 6, 13\)"):
        mel_filter_bank(201, 128, 16000)


def test_rank_is_told_before_filters_are_empty():
    with pytest.warns(UserWarning, match="rank 76 with 80 filters, none of them empty"):
        mel_filter_bank(201, 80, 16000)


def test_full_rank_is_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mel_filter_bank(1025, 128, 44100)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"n_stft": 1}, "n_stft must be at least 2; got 1"),
        ({"n_mels": 0}, "n_mels must be at least 1; got 0"),
        ({"sample_rate": -1.0}, "sample_rate must be greater than 0; got -1"),
        ({"f_min": 9000.0}, "f_min must be less than f_max; got f_min 9000 and f_max 8000"),
        ({"f_min": -1.0}, "f_min must be at least 0; got -1"),
        ({"norm": "area"}, "norm must be one of None, 'slaney'; got the str 'area'"),
        ({"mel_scale": "bark"}, "mel_scale must be one of 'htk', 'slaney'; got the str 'bark'"),
    ],
)
def test_refusals(kwargs, message):
    arguments = {"n_stft": 201, "n_mels": 20, "sample_rate": 16000, **kwargs}
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        mel_filter_bank(**arguments)


def test_scales_agree_with_librosa():
    for frequency in (0.0, 100.0, 999.0, 1000.0, 4321.0, 20000.0):
        for scale in ("htk", "slaney"):
            assert hz_to_mel(frequency, scale) == pytest.approx(
                librosa.hz_to_mel(frequency, htk=scale == "htk"), rel=1e-9, abs=1e-9
            )
