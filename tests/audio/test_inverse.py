"""InverseMelScale from the outside: what torchaudio's users type, what broke the others, what is refused."""

import os
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import pytest
import torch

from inbounds.audio import InverseMelScale, inverse_mel_scale, mel_filter_bank

SRC = Path(__file__).parents[2] / "src"


def quiet_bank(*args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return mel_filter_bank(*args, **kwargs)


def quiet_module(*args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return InverseMelScale(*args, **kwargs)


def spectrogram(n_stft, frames, rng, batch=()):
    """Partials over a falling noise floor."""
    t = torch.linspace(0.0, 1.0, n_stft)[:, None]
    noise = torch.randn(*batch, n_stft, frames, generator=rng).abs() + 0.01
    pitch = torch.linspace(40.0, 200.0, frames)
    return noise * torch.exp(-5.0 * t) * (1.0 + 8.0 * torch.cos(t * pitch).clamp(min=0.0) ** 6)


def mel_of(spectrogram, bank):
    return bank.mT.to(spectrogram.dtype) @ spectrogram


def residual(x, mel, bank):
    return float((mel_of(x.double(), bank.double()) - mel.double()).norm() / mel.double().norm())


@pytest.fixture
def bank():
    return mel_filter_bank(257, 40, 16000)


# --- the incumbents' failures


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize(
    ("sample_rate", "n_fft", "n_mels"),
    [(16000, 400, 128), (16000, 400, 80), (48000, 2048, 256), (22050, 1024, 80), (44100, 2048, 128)],
)
def test_clean_mels_come_back(sample_rate, n_fft, n_mels, power, rng):
    bank = quiet_bank(n_fft // 2 + 1, n_mels, sample_rate)
    mel = mel_of(spectrogram(n_fft // 2 + 1, 40, rng) ** power, bank)
    x, info = inverse_mel_scale(mel, bank, full_output=True)
    assert (x >= 0.0).all()
    assert residual(x, mel, bank) <= 2e-6
    frames = (mel_of(x.double(), bank.double()) - mel).norm(dim=0) / mel.norm(dim=0)
    assert frames.max() <= 1e-3
    assert info.converged.all()


def test_torchaudios_own_defaults(rng):
    with pytest.warns(UserWarning, match="rank 107 with 128 filters, 4 of them empty"):
        invert = InverseMelScale(201)
    mel = mel_of(spectrogram(201, 30, rng), invert.fb)
    assert residual(invert(mel), mel, invert.fb) <= 2e-6


@pytest.mark.parametrize("method", ["nnls", "lstsq", "pinv"])
def test_whispers_bank_with_noise_stays_of_the_size_of_the_truth(method, rng):
    bank = quiet_bank(201, 80, 16000)
    truth = spectrogram(201, 60, rng)
    clean = mel_of(truth, bank)
    mel = clean * torch.exp(0.1 * torch.randn(clean.shape, generator=rng))
    x = inverse_mel_scale(mel, bank, method=method)
    assert (x - truth).norm() < truth.norm()


def test_better_than_the_shortcut(rng):
    bank = mel_filter_bank(513, 80, 22050)
    truth = spectrogram(513, 60, rng)
    mel = mel_of(truth, bank)
    ours = inverse_mel_scale(mel, bank)
    shortcut = inverse_mel_scale(mel, bank, method="pinv")
    assert residual(ours, mel, bank) < 1e-3 * residual(shortcut, mel, bank)
    assert (ours - truth).norm() < (shortcut - truth).norm()


def test_a_nan_or_an_infinity_stays_in_its_frame(bank, rng):
    mel = mel_of(spectrogram(257, 20, rng, (3,)), bank)
    clean = inverse_mel_scale(mel, bank)
    spoilt = mel.clone()
    spoilt[1, 7, 4] = torch.nan
    spoilt[2, 0, 11] = torch.inf
    x = inverse_mel_scale(spoilt, bank)
    bad = torch.zeros(3, 20, dtype=torch.bool)
    bad[1, 4] = bad[2, 11] = True
    assert x.movedim(-2, -1)[bad].isnan().all()
    assert torch.equal(x.movedim(-2, -1)[~bad], clean.movedim(-2, -1)[~bad])


@pytest.mark.parametrize("method", ["nnls", "lstsq", "pinv"])
def test_shapes_strides_and_silence(method, bank, rng):
    mel = mel_of(spectrogram(257, 12, rng, (2, 3)), bank)
    whole = inverse_mel_scale(mel, bank, method=method)
    assert whole.shape == (2, 3, 257, 12)
    for close in (
        inverse_mel_scale(mel.movedim(0, 1), bank, method=method).movedim(0, 1),
        inverse_mel_scale(mel.mT.contiguous().mT, bank, method=method),
        torch.stack([inverse_mel_scale(item, bank, method=method) for item in mel]),
    ):
        torch.testing.assert_close(
            close, whole, rtol=0, atol=0 if method == "nnls" else 1e-3 * float(whole.max())
        )
    assert inverse_mel_scale(mel[..., :0], bank, method=method).shape == (2, 3, 257, 0)
    assert inverse_mel_scale(mel[:0], bank, method=method).shape == (0, 3, 257, 12)
    assert torch.equal(inverse_mel_scale(torch.zeros(40, 5), bank, method=method), torch.zeros(257, 5))


def test_a_band_of_zero_silences_its_bins(bank, rng):
    mel = mel_of(spectrogram(257, 6, rng), bank)
    clear = bank.mT.clone()
    clear[10] = 0.0
    truth = spectrogram(257, 6, rng) * (bank[:, 10:11] == 0.0)
    mel = mel_of(truth, bank)
    assert (mel[10] == 0.0).all()
    x = inverse_mel_scale(mel, bank)
    assert (x[bank[:, 10] > 0.0] == 0.0).all()
    assert residual(x, mel, bank) < 2e-6


def test_bins_without_a_filter_are_silent():
    bank = mel_filter_bank(257, 30, 16000, f_min=300.0, f_max=4000.0)
    x = inverse_mel_scale(torch.rand(30, 4) + 0.1, bank)
    assert (x[(bank == 0.0).all(dim=1)] == 0.0).all()


@pytest.mark.parametrize("exponent", [-6, -3, 3, 6])
def test_gain(exponent, bank, rng):
    mel = mel_of(spectrogram(257, 10, rng), bank)
    torch.testing.assert_close(
        inverse_mel_scale(mel * 10.0**exponent, bank), inverse_mel_scale(mel, bank) * 10.0**exponent,
        rtol=1e-3, atol=1e-5 * 10.0**exponent,
    )  # fmt: skip


# --- dtypes, autograd, compile, export


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_in_half_out(half, bank, rng):
    mel = (mel_of(spectrogram(257, 600, rng), bank)).to(half)
    x = inverse_mel_scale(mel, bank)
    assert x.dtype == half
    assert torch.equal(x, inverse_mel_scale(mel.float(), bank).to(half))


def test_double_in_a_float_module(rng):
    invert = quiet_module(257, 40)
    mel = mel_of(spectrogram(257, 10, rng).double(), invert.fb.double())
    x = invert(mel)
    assert x.dtype == torch.float64
    assert residual(x, mel, invert.fb) < 1e-13


def test_gradient_through_the_module():
    rng = torch.Generator().manual_seed(1)
    invert = InverseMelScale(65, 10).double()
    mel = mel_of(spectrogram(65, 3, rng).double(), invert.fb).requires_grad_()
    assert torch.autograd.gradcheck(invert, (mel,), atol=1e-4)


def test_inference_mode(bank, rng):
    mel = mel_of(spectrogram(257, 10, rng), bank)
    with torch.inference_mode():
        x = inverse_mel_scale(mel * 1.0, bank)
    assert torch.equal(x, inverse_mel_scale(mel, bank))


def test_compile_and_export():
    """In a process of its own: the shape checks cannot be traced."""
    script = textwrap.dedent("""
        import torch
        from inbounds.audio import InverseMelScale
        invert = InverseMelScale(129, 20)
        mel = torch.rand(2, 20, 9) + 0.1
        expected = invert(mel)
        compiled = torch.compile(invert, fullgraph=True, backend="aot_eager")
        assert torch.equal(compiled(mel), expected)
        leaf = mel.clone().requires_grad_()
        compiled(leaf).square().sum().backward()
        other = mel.clone().requires_grad_()
        invert(other).square().sum().backward()
        torch.testing.assert_close(leaf.grad, other.grad)
        frames = torch.export.Dim("frames", min=2, max=4096)
        program = torch.export.export(invert, (mel,), dynamic_shapes=({2: frames},))
        assert torch.equal(program.module()(mel), expected)
        longer = torch.rand(2, 20, 31)
        assert torch.equal(program.module()(longer), invert(longer))
        print("fine")
    """)
    environment = {**os.environ, "INBOUNDS_UNCHECKED": "1", "PYTHONPATH": str(SRC)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False
    )
    assert done.stdout.strip() == "fine", done.stderr


# --- the prior


def test_a_given_prior_is_the_answer_where_it_meets_the_mel(bank, rng):
    truth = spectrogram(257, 8, rng)
    mel = mel_of(truth, bank)
    x = inverse_mel_scale(mel, bank, prior=truth)
    torch.testing.assert_close(x, torch.maximum(truth, x), rtol=1e-4, atol=1e-5)
    assert residual(x, mel, bank) < 2e-6
    covered = bank.sum(dim=1) > 0.0
    torch.testing.assert_close(x[covered], truth[covered], rtol=2e-2, atol=2e-3)


def test_a_prior_full_of_holes_can_still_sound(bank, rng):
    truth = spectrogram(257, 8, rng)
    mel = mel_of(truth, bank)
    x, info = inverse_mel_scale(mel, bank, prior=torch.zeros(257, 1), full_output=True)
    assert info.converged.all()
    assert residual(x, mel, bank) < 2e-6


@pytest.mark.parametrize("distance", ["quadratic", "kl", "is"])
@pytest.mark.parametrize("prior", ["envelope", "flat"])
def test_full_output(prior, distance, bank, rng):
    mel = mel_of(spectrogram(257, 8, rng, (2,)), bank)
    x, info = inverse_mel_scale(mel, bank, prior=prior, distance=distance, full_output=True)
    assert all(field.shape == (2, 8) for field in info)
    torch.testing.assert_close(
        info.residual_norm, (mel_of(x, bank) - mel).norm(dim=-2), rtol=0, atol=1e-4 * float(mel.norm())
    )
    assert info.converged.all()
    assert info.kkt.max() < 1e-4


# --- the comparison methods


def test_lstsq_is_torchaudios_answer(bank, rng):
    mel = mel_of(spectrogram(257, 8, rng), bank)
    expected = torch.linalg.lstsq(bank.mT, mel, driver="gels").solution.relu()
    torch.testing.assert_close(inverse_mel_scale(mel, bank, method="lstsq"), expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(inverse_mel_scale(mel, bank, method="pinv"), expected, rtol=1e-3, atol=1e-4)


def test_sgd_descends(bank, rng):
    mel = mel_of(spectrogram(257, 5, rng), bank)
    short = InverseMelScale(257, 40, method="sgd", max_iter=2)
    long = InverseMelScale(257, 40, method="sgd", max_iter=300, sgdargs={"lr": 0.1, "momentum": 0.9})
    assert long(mel).shape == (257, 5)
    assert residual(long(mel), mel, bank) < 0.5 * residual(short(mel), mel, bank)


# --- torchaudio's surface


def test_positional_arguments_and_attributes():
    invert = InverseMelScale(513, 64, 22050, 20.0, 8000.0, "slaney", "slaney")
    expected = mel_filter_bank(513, 64, 22050, f_min=20.0, f_max=8000.0, norm="slaney", mel_scale="slaney")
    assert torch.equal(invert.fb, expected)
    assert (invert.n_stft, invert.n_mels, invert.f_max) == (513, 64, 8000.0)
    assert invert.fb.dtype == torch.float32
    assert "n_stft=513, n_mels=64" in repr(invert)


def test_checkpoints_load(bank, rng):
    source = InverseMelScale(257, 40, 16000, mel_scale="slaney")
    invert = InverseMelScale(257, 40)
    mel = torch.rand(40, 6, generator=rng) + 0.1
    before = invert(mel)
    invert.load_state_dict({"fb": source.fb})
    assert torch.equal(invert(mel), source(mel))
    assert not torch.equal(invert(mel), before)


def test_your_own_bank(rng):
    bank = torch.zeros(12, 4)
    for i in range(12):
        bank[i, i // 3] = 1.0
    invert = InverseMelScale(12, 4, filters=bank)
    x = invert(torch.full((4, 2), 6.0))
    torch.testing.assert_close(x, torch.full((12, 2), 2.0))


def test_arguments_that_mean_nothing_any_more_warn_once():
    with pytest.warns(DeprecationWarning, match="max_iter, sgdargs, driver: without meaning") as caught:
        InverseMelScale(257, 40, max_iter=10, sgdargs={"lr": 0.1}, driver="gelsd")
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        InverseMelScale(257, 40, method="sgd", max_iter=10, tolerance_loss=1e-3, tolerance_change=1e-6)


# --- refusals


@pytest.mark.parametrize("method", ["nnls", "lstsq", "pinv"])
def test_decibels_are_refused(method, bank):
    mel = torch.ones(40, 3)
    mel[5, 1] = -80.0
    with pytest.raises(ValueError, match=r"decibels.*violated at 1 of 120 entries") as caught:
        inverse_mel_scale(mel, bank, method=method)
    assert "10 ** (mel / 10)" in str(caught.value)


@pytest.mark.parametrize(
    ("mel", "error", "message"),
    [
        (torch.ones(39, 5), ValueError, r"n_mels = 40, as filters of shape \(257, 40\).*shape \(39, 5\)$"),
        (torch.ones(5, 40), ValueError, "time first"),
        (torch.ones(40), ValueError, "mel must have at least 2 dimension"),
        (torch.ones(40, 5, dtype=torch.int64), TypeError, "mel must have a real floating-point dtype"),
        ([1.0], TypeError, "mel must be a torch.Tensor"),
    ],
)
def test_mels_refused(mel, error, message, bank):
    with pytest.raises(error, match=message):
        inverse_mel_scale(mel, bank)


def test_options_refused(bank):
    mel = torch.ones(40, 5)
    with pytest.raises(ValueError, match="method must be one of"):
        inverse_mel_scale(mel, bank, method="exact")
    with pytest.raises(ValueError, match="prior must be one of"):
        inverse_mel_scale(mel, bank, prior="smooth")
    with pytest.raises(ValueError, match="prior must broadcast"):
        inverse_mel_scale(mel, bank, prior=torch.ones(40, 5))
    with pytest.raises(ValueError, match="distance must be one of"):
        inverse_mel_scale(mel, bank, distance="euclid")
    with pytest.raises(ValueError, match="full_output"):
        inverse_mel_scale(mel, bank, method="pinv", full_output=True)
    with pytest.raises(ValueError, match="filters must have shape"):
        InverseMelScale(12, 4, filters=torch.ones(4, 12))
    with pytest.raises(ValueError, match="driver must be one of"):
        InverseMelScale(257, 40, driver="svd")
