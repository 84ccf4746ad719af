"""MFCCs: librosa's forward transform undone, and its inverse agreed with."""

import librosa
import numpy as np
import pytest
import torch

from inbounds.audio.mfcc import mfcc_to_audio, mfcc_to_mel


def energies(n_mels: int, dtype: np.dtype) -> np.ndarray:
    decibels = np.random.default_rng(0).normal(-30, 12, (2, n_mels, 7))
    return (10 ** (decibels / 10)).astype(dtype)


@pytest.mark.parametrize("lifter", [0, 22, 0.7])
@pytest.mark.parametrize(("n_mels", "n_mfcc"), [(128, 20), (40, 40), (80, 1)])
def test_agrees_with_librosas_inverse(n_mels, n_mfcc, lifter, dtype):
    mel = energies(n_mels, np.float64)
    mfcc = librosa.feature.mfcc(S=librosa.power_to_db(mel, top_db=None), n_mfcc=n_mfcc, lifter=lifter)
    expected = librosa.feature.inverse.mfcc_to_mel(mfcc, n_mels=n_mels, lifter=lifter, ref=0.5)
    got = mfcc_to_mel(torch.from_numpy(mfcc).to(dtype), n_mels, lifter=lifter, reference=0.5)
    assert got.dtype == dtype
    rtol = 1e-9 if dtype == torch.float64 else 2e-4
    np.testing.assert_allclose(got.numpy(), expected, rtol=rtol)


def test_all_coefficients_give_the_mel_back(dtype):
    mel = energies(64, np.float64)
    mfcc = librosa.feature.mfcc(S=librosa.power_to_db(mel, top_db=None), n_mfcc=64, lifter=22)
    got = mfcc_to_mel(torch.from_numpy(mfcc).to(dtype), 64, lifter=22)
    np.testing.assert_allclose(got.numpy(), mel, rtol=1e-9 if dtype == torch.float64 else 2e-4)


def test_a_coefficient_the_lifter_annulled_counts_zero():
    """With lifter 2 the third weight is 1 + sin(3 pi / 2) = 0."""
    mfcc = torch.randn(3, 5, dtype=torch.float64)
    kept = mfcc_to_mel(mfcc, 20, lifter=2)
    assert torch.isfinite(kept).all()
    mfcc[2] = 7.0
    assert torch.equal(mfcc_to_mel(mfcc, 20, lifter=2), kept)


def test_a_tone_comes_back_at_its_pitch():
    """From librosa's own MFCCs, all of them: nothing but the phase is lost beyond the mels."""
    time = np.arange(22050) / 22050
    tone = 0.5 * np.sin(2 * np.pi * 440 * time).astype(np.float32)
    mfcc = torch.from_numpy(librosa.feature.mfcc(y=tone, sr=22050, n_mfcc=128, lifter=22))
    audio = mfcc_to_audio(mfcc, lifter=22, n_iter=8, length=22050)
    assert audio.shape == (22050,)
    spectrum = torch.fft.rfft(audio * torch.hann_window(22050)).abs()
    assert abs(spectrum.argmax().item() - 440) < 12


def test_gradients_are_true():
    mfcc = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: mfcc_to_mel(x, 8, lifter=22), mfcc)


def test_misuse_is_named():
    with pytest.raises(ValueError, match="at most n_mels, 12, coefficients"):
        mfcc_to_mel(torch.zeros(13, 2), 12)
    with pytest.raises(ValueError, match="lifter must be at least 0"):
        mfcc_to_mel(torch.zeros(13, 2), lifter=-1)
    with pytest.raises(ValueError, match=r"spec.power must be 2, as MFCCs are made of energies; got 1"):
        mfcc_to_audio(torch.zeros(13, 2), "hifigan")
    with pytest.raises(ValueError, match="spec must be one of 'librosa'"):
        mfcc_to_audio(torch.zeros(13, 2), "lute")
    with pytest.raises(ValueError, match="reference must be greater than 0"):
        mfcc_to_mel(torch.zeros(13, 2), reference=0)
    with pytest.raises(TypeError, match="mfcc must have a real floating-point dtype"):
        mfcc_to_mel(torch.zeros(13, 2, dtype=torch.int64))
