"""The figures, against their definitions written out in NumPy float64."""

import math

import numpy as np
import pytest
import torch

from inbounds.audio.metrics import log_spectral_distance, mel_residual, spectral_convergence


def test_spectral_convergence_is_the_ratio_of_norms(rng, dtype):
    reference = torch.rand(3, 2, 9, 5, generator=rng, dtype=dtype)
    estimate = torch.rand(3, 2, 9, 5, generator=rng, dtype=dtype)
    expected = [
        20 * np.log10(np.linalg.norm(e - r) / np.linalg.norm(r))
        for e, r in zip(
            estimate.reshape(6, 9, 5).double().numpy(),
            reference.reshape(6, 9, 5).double().numpy(),
            strict=True,
        )
    ]
    found = spectral_convergence(estimate, reference)
    assert found.dtype == dtype
    torch.testing.assert_close(found.flatten().double(), torch.tensor(expected), rtol=1e-5, atol=1e-5)


def test_exact_and_silent():
    silence, sound = torch.zeros(4, 3), torch.ones(4, 3)
    assert spectral_convergence(sound, sound) == -math.inf
    assert spectral_convergence(silence, silence) == -math.inf
    assert spectral_convergence(sound, silence) == math.inf
    assert log_spectral_distance(silence, silence) == 0
    assert mel_residual(silence, torch.zeros(2, 3), torch.ones(4, 2)) == 0
    assert mel_residual(sound, torch.zeros(2, 3), torch.ones(4, 2)) == math.inf


def test_log_spectral_distance_has_a_floor_under_the_maximum(rng):
    reference = torch.rand(9, 5, generator=rng, dtype=torch.float64)
    reference[2] = 1e-30
    estimate = torch.rand(9, 5, generator=rng, dtype=torch.float64)
    estimate[3] = 0
    lowest = reference.max().item() * 1e-4
    difference = 20 * np.log10(np.maximum(estimate.numpy(), lowest) / np.maximum(reference.numpy(), lowest))
    expected = np.sqrt((difference**2).mean(0)).mean()
    assert log_spectral_distance(estimate, reference).item() == pytest.approx(expected, rel=1e-12)
    assert log_spectral_distance(1e3 * estimate, 1e3 * reference).item() == pytest.approx(expected, rel=1e-9)
    assert log_spectral_distance(estimate, reference, floor=20.0) < expected


def test_each_item_on_its_own(rng):
    reference, estimate = torch.rand(2, 3, 9, 5, generator=rng), torch.rand(2, 3, 9, 5, generator=rng)
    estimate[1, 2, 0, 0] = math.nan
    filters = torch.rand(9, 4, generator=rng)
    for figure in (
        spectral_convergence(estimate, reference),
        log_spectral_distance(estimate, reference),
        mel_residual(estimate, torch.rand(2, 3, 4, 5, generator=rng), filters),
    ):
        assert figure.isnan().sum() == 1
        assert figure[1, 2].isnan()


def test_mel_residual_is_relative(rng):
    x, filters = torch.rand(2, 9, 5, generator=rng), torch.rand(9, 4, generator=rng)
    mel = filters.T @ x
    torch.testing.assert_close(
        mel_residual(1.5 * x, mel, filters), torch.full((2,), 0.5), rtol=1e-4, atol=1e-4
    )


def test_halves_are_computed_in_float32(rng):
    x, y = torch.rand(9, 5, generator=rng).half(), torch.rand(9, 5, generator=rng).half()
    torch.testing.assert_close(spectral_convergence(x, y), spectral_convergence(x.float(), y.float()))


def test_bad_input_is_one_clear_sentence():
    with pytest.raises(ValueError, match="estimate must have the shape of reference"):
        spectral_convergence(torch.rand(3, 2), torch.rand(3, 3))
    with pytest.raises(TypeError, match="floating-point"):
        log_spectral_distance(torch.ones(3, 2, dtype=torch.int64), torch.rand(3, 2))
    with pytest.raises(ValueError, match="floor must be greater than 0"):
        log_spectral_distance(torch.rand(3, 2), torch.rand(3, 2), floor=0.0)
    with pytest.raises(ValueError, match="n_stft"):
        mel_residual(torch.rand(9, 5), torch.rand(4, 6), torch.rand(9, 4))
