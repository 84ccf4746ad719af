"""Lone partials: a sinusoid's own spectrum, put where its mel says it stands."""

import math

import pytest
import torch

from inbounds.audio import MelSpec, inverse_mel_scale, mel_to_audio
from inbounds.audio.partials import PLACES, lobe_at, lobes, tones_and_rest
from inbounds.audio.partials import lone_partials as find

SPEC = MelSpec(16000, 1024, 256, 80, mel_scale="slaney", norm="slaney")


def lone_partials(energy, mel, table):
    return tones_and_rest(energy, find(mel, table), table)


def sines(spec, frequencies, seconds=0.5):
    t = torch.arange(int(seconds * spec.sample_rate), dtype=torch.float64) / spec.sample_rate
    return sum(torch.sin(2 * math.pi * f * t + f) for f in frequencies)


def placed(spec, sound):
    """The spectrum with its partials, the smooth one, and the true one: (time, n_stft), ends left out."""
    truth = spec.magnitude(sound).pow(spec.power).mT[2:-2]
    bank = spec.bank(dtype=truth.dtype)
    mel = truth @ bank
    smooth = inverse_mel_scale(mel.mT, bank).mT
    return sum(lone_partials(smooth[None], mel[None], lobes(spec).to(mel)))[0], smooth, truth


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"norm": None, "mel_scale": "htk"},
        {"window": "blackman", "n_mels": 64},
        {"win_length": 800},
        {"sample_rate": 44100, "n_fft": 2048, "hop_length": 512, "n_mels": 128},
    ],
)
def test_a_sine_stands_where_it_stood(power, change):
    spec = SPEC.replace(power=power, **change)
    generator = torch.Generator().manual_seed(5)
    errors = []
    for frequency in (torch.rand(6, generator=generator) * 0.25 + 0.16) * spec.sample_rate:
        found, smooth, truth = placed(spec, sines(spec, [float(frequency)]))
        errors.append([float((x - truth).norm() / truth.norm()) for x in (found, smooth)])
    ours, smooth = torch.tensor(errors).unbind(1)
    assert ours.max() < 0.12
    assert ours.mean() < 0.2 * smooth.mean()


def test_several_far_apart_are_all_placed():
    found, _, truth = placed(SPEC, sines(SPEC, [900.0, 2110.0, 5034.5]))
    assert ((found - truth).norm(dim=-1) / truth.norm(dim=-1)).max() < 0.12


def test_noise_keeps_its_smooth_spectrum():
    sound = torch.randn(16000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found, smooth, _ = placed(SPEC, sound)
    changed = (found != smooth).double().mean()
    assert changed < 0.05


@pytest.mark.parametrize("n_mels", [1, 2, 3, 5])
def test_few_bands(n_mels):
    found, smooth, _ = placed(SPEC.replace(n_mels=n_mels), sines(SPEC, [1000.0]))
    assert found.shape == smooth.shape
    assert (found >= 0).all()


@pytest.mark.filterwarnings("ignore:the mel bank has rank")
def test_empty_filters_and_silence():
    spec = MelSpec(16000, 400, 160, 80)
    sound = sines(spec, [1000.0, 3000.0])
    sound[4000:] = 0
    found, smooth, _ = placed(spec, sound)
    assert found.isfinite().all()
    assert (found[-5:] == 0).all()
    assert torch.equal(found[-5:], smooth[-5:])


def test_frames_are_independent_and_gains_pass_through():
    sound = sines(SPEC, [700.0, 2400.0]) + 0.001 * torch.randn(8000, dtype=torch.float64)
    mel = SPEC.mel(sound).mT[None]
    smooth, table = inverse_mel_scale(mel.mT, SPEC.bank(dtype=mel.dtype)).mT, lobes(SPEC).to(mel)
    whole = sum(lone_partials(smooth, mel, table))
    assert torch.equal(sum(lone_partials(smooth[:, 7:11], mel[:, 7:11], table)), whole[:, 7:11])
    torch.testing.assert_close(sum(lone_partials(64 * smooth, 64 * mel, table)), 64 * whole, rtol=0, atol=0)


@pytest.mark.parametrize("gain", [2.0**-100, 2.0**80])
def test_any_scale_in_single_precision(gain):
    mel = SPEC.mel(sines(SPEC, [2400.0])).float().mT[None]
    smooth, table = torch.ones(1, mel.shape[1], 513), lobes(SPEC).to(mel)
    for found, expected in zip(
        lone_partials(gain * smooth, gain * mel, table), lone_partials(smooth, mel, table), strict=True
    ):
        torch.testing.assert_close(found, gain * expected, rtol=0, atol=0)


def test_the_gradient_is_the_functions_own():
    spec = MelSpec(8000, 128, 64, 12)
    mel = spec.mel(sines(spec, [1013.0], 0.05)).mT[None, 2:4].clone().requires_grad_()
    smooth = inverse_mel_scale(mel.detach().mT, spec.bank(dtype=mel.dtype)).mT.requires_grad_()
    table = lobes(spec).to(mel)
    assert not torch.equal(sum(lone_partials(smooth, mel, table)), smooth)
    assert torch.autograd.gradcheck(lambda e, m: lone_partials(e, m, table), (smooth, mel))


def test_a_lobe_is_the_windows_transform():
    """Against the Fourier transform of a windowed complex exponential between two bins."""
    place = 20.3
    t = torch.arange(256, dtype=torch.float64)
    wave = torch.hann_window(256, dtype=torch.float64) * torch.exp(2j * math.pi * place / 256 * t)
    truth = torch.fft.fft(wave).abs()[:129] / 128
    spec = MelSpec(8000, 256, 64, 20, power=1.0)
    bins, value = lobe_at(torch.tensor([place], dtype=torch.float64), lobes(spec).profile, 129)
    torch.testing.assert_close(value[0], truth[bins[0]], rtol=0, atol=4e-3)


def test_a_high_sine_survives_the_whole_way():
    """At 6 kHz a band is 400 Hz wide: only the ratio of two bands tells where the sine was."""
    spec = MelSpec(22050, 1024, 256, 80, mel_scale="slaney", norm="slaney", power=1.0)
    sound = mel_to_audio(spec.mel(sines(spec, [6000.0], 2.0).float()), spec, length=44100)
    middle = sound[11025:33075] * torch.hann_window(22050)
    hertz = torch.fft.rfftfreq(16 * 22050, 1 / 22050)
    peak = hertz[torch.fft.rfft(middle, n=16 * 22050).abs().argmax()]
    assert abs(peak - 6000) < 1


def test_a_place_of_the_table_is_the_banks_answer_to_its_lobe():
    table, bank = lobes(SPEC), SPEC.bank(dtype=torch.float64)
    for index in (0, 3, 1001, 2500, len(table.key) - 1):
        bins, value = lobe_at(torch.tensor([index / PLACES], dtype=torch.float64), table.profile, 513)
        spectrum = torch.zeros(513, dtype=torch.float64).index_add(0, bins[0], value[0])
        torch.testing.assert_close(
            table.response[index, 1:-1] * table.peaks, spectrum @ bank, rtol=1e-9, atol=1e-12
        )
