"""MelSpec and Compression refuse what they cannot mean, in one sentence."""

import pytest

from inbounds.audio.compression import Compression
from inbounds.audio.melspec import MelSpec


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sample_rate": 0}, "sample_rate must be at least 1"),
        ({"n_fft": 1}, "n_fft must be at least 2"),
        ({"n_fft": 1023}, "n_fft must be even"),
        ({"hop_length": 0}, "hop_length must be at least 1"),
        ({"win_length": 1025}, "win_length must be at most n_fft, 1024"),
        ({"window": "gauss"}, "window must be one of 'hann'"),
        ({"f_max": 8000.5}, "f_max must be at most 8000"),
        ({"f_min": 4000, "f_max": 4000}, "f_min must be less than f_max, 4000"),
        ({"mel_scale": "bark"}, "mel_scale must be one of 'htk', 'slaney'"),
        ({"norm": "l2"}, "norm must be one of None, 'slaney'"),
        ({"power": 0}, "power must be greater than 0"),
        ({"padding": 3}, "padding must be 0 when center is True"),
        ({"pad_mode": "edge"}, "pad_mode must be one of 'reflect'"),
        ({"epsilon": -1}, "epsilon must be at least 0"),
    ],
)
def test_a_field_out_of_range_is_named(changes, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        MelSpec(**{"sample_rate": 16000, "n_fft": 1024, "hop_length": 256, "n_mels": 80, **changes})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"kind": "log2"}, "kind must be one of 'none', 'ln'"),
        ({"kind": "ln", "floor": 0}, "floor must be greater than 0"),
        ({"kind": "ln", "reference": 2.0}, "reference has no meaning for kind 'ln'"),
        ({"kind": "none", "dynamic_range": 80}, "dynamic_range has no meaning for kind 'none'"),
        ({"kind": "decibel", "reference": -1.0}, "reference must be greater than 0"),
        ({"kind": "decibel", "scale": 0}, "scale must not be 0"),
    ],
)
def test_a_compression_out_of_range_is_named(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Compression(**arguments)
