"""From mel to sound: what any sound must do, pieces against the whole, and the refinement's promise."""

import math

import pytest
import torch

from inbounds.audio import joint, pipeline
from inbounds.audio.melspec import MelSpec
from inbounds.audio.metrics import mel_residual, spectral_convergence
from inbounds.audio.pipeline import MelToAudio, Refinement, mel_to_audio
from inbounds.audio.presets import PRESETS
from inbounds.audio.recurrence import ADMM

SMALL = MelSpec(8000, 256, 64, 30, mel_scale="slaney", norm="slaney", power=1.0)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def magnitudes(sound, spec):
    window = spec.window_tensor(dtype=sound.dtype)
    return torch.stft(sound, spec.n_fft, spec.hop_length, window=window, return_complex=True).abs()


def voice(samples, rate):
    """Harmonics of a gliding pitch under two formants, in bursts: speech for a test."""
    t = torch.arange(samples, dtype=torch.float64) / rate
    pitch = 110 + 30 * torch.sin(2 * math.pi * 1.5 * t)
    phase = 2 * math.pi * pitch.cumsum(0) / rate
    sound = torch.zeros_like(t)
    for k in range(1, int(0.45 * rate / 140)):
        gain = torch.exp(-(((k * pitch - 500) / 250) ** 2)) + 0.5 * torch.exp(
            -(((k * pitch - 1800) / 400) ** 2)
        )
        sound += gain * torch.sin(k * phase)
    return (sound * (torch.sin(2 * math.pi * 2 * t) > -0.6)).float()


@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.parametrize("frequency", [220.0, 440.0, 1000.0, 3000.0])
def test_a_sine_comes_back_as_the_same_sine(power, frequency):
    """Within 1 Hz, and next to nothing else."""
    rate = 16000
    spec = MelSpec(rate, 1024, 256, 80, mel_scale="slaney", norm="slaney", power=power)
    sine = 0.5 * torch.sin(2 * math.pi * frequency * torch.arange(4 * rate) / rate)
    sound = mel_to_audio(spec.mel(sine), spec, n_iter=64, generator=seeded(), length=len(sine))
    middle = sound[rate : 3 * rate] * torch.hann_window(2 * rate)
    spectrum = torch.fft.rfft(middle, n=16 * rate).abs()
    hertz = torch.fft.rfftfreq(16 * rate, 1 / rate)
    peak = hertz[spectrum.argmax()]
    assert abs(peak - frequency) < 1
    elsewhere = spectrum[(hertz - peak).abs() > 20]
    assert 20 * torch.log10(elsewhere.max() / spectrum.max()) < -36


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_refining_the_magnitudes_helps(power):
    spec = MelSpec(16000, 1024, 256, 80, mel_scale="slaney", norm="slaney", power=power)
    sound = voice(24000, 16000)
    mel, truth = spec.mel(sound), magnitudes(sound, spec)
    quality = {}
    for name, refine in (("fixed", None), ("refined", pipeline.REFINEMENT)):
        made = mel_to_audio(mel, spec, n_iter=64, refine=refine, generator=seeded(), length=24000)
        found = magnitudes(made, spec)
        quality[name] = (
            float(spectral_convergence(found, truth)),
            float(mel_residual(found**power, mel, spec.bank())),
        )
    assert quality["refined"][0] < quality["fixed"][0] - 0.4
    assert quality["refined"][1] < quality["fixed"][1] / 1.5


@pytest.mark.parametrize("init", ["random", "zeros", "pghi"])
@pytest.mark.parametrize(
    "spec",
    [SMALL, PRESETS["hifigan"].replace(n_fft=256, hop_length=64, win_length=256, padding=96, n_mels=40)],
)
def test_pieces_make_the_whole(spec, init, monkeypatch):
    mel = spec.mel(voice(700 * spec.hop_length, spec.sample_rate))
    module = MelToAudio(spec, n_iter=5, refine=Refinement(2, 2), init=init)
    monkeypatch.setattr("inbounds.audio.joint.block_frames", lambda n_fft, hop: 64)
    monkeypatch.setattr("inbounds.audio.sweep.block_frames", lambda n_fft, hop: 64)
    monkeypatch.setattr("inbounds.audio.start.BLOCK", 64)
    monkeypatch.setattr(joint, "PIECE", 10**9)
    whole = list(module.pieces(mel, generator=seeded(3)))
    assert len(whole) == 1
    monkeypatch.setattr(joint, "PIECE", 10)
    pieces = list(module.pieces(mel, generator=seeded(3)))
    assert len(pieces) > 5
    together = torch.cat(pieces, -1)
    assert together.shape == whole[0].shape
    difference = (together - whole[0]).norm() / whole[0].norm()
    assert 20 * math.log10(float(difference) + 1e-30) < -60


def test_a_piece_that_looks_too_little_around_itself_would_show(monkeypatch):
    """The margin is what makes pieces exact: without it the seams are there, and the test above sees them."""
    mel = torch.rand(SMALL.n_mels, 700, generator=seeded())
    module = MelToAudio(SMALL, n_iter=5, refine=None)
    whole = module(mel, generator=seeded(3))
    monkeypatch.setattr("inbounds.audio.joint.block_frames", lambda n_fft, hop: 1)
    monkeypatch.setattr(joint, "PIECE", 10)
    cuts = joint.Inversion.cuts

    def narrow(self):
        for core, _ in cuts(self):
            yield core, slice(max(core.start - 4, 0), min(core.stop + 4, 700))

    monkeypatch.setattr(joint.Inversion, "cuts", narrow)
    assert (module(mel, generator=seeded(3)) - whole).norm() > 0.01 * whole.norm()


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_sounds(name):
    spec = PRESETS[name]
    sound = voice(spec.sample_rate // 2, spec.sample_rate)
    mel = spec.mel(sound)
    made = mel_to_audio(mel, name, n_iter=16, generator=seeded())
    assert spec.frames(len(made)) == mel.shape[-1]
    assert made.isfinite().all()
    found = spec.decompress(spec.mel(made))
    wanted = spec.decompress(mel)
    assert (found - wanted).norm() < 0.25 * wanted.norm()


def test_lengths():
    mel = torch.rand(SMALL.n_mels, 20, generator=seeded())
    for length in (0, 5, 1000, 1216, 1250, 5000):
        sound = mel_to_audio(mel, SMALL, n_iter=2, length=length)
        assert sound.shape == (length,)
    assert mel_to_audio(mel, SMALL, n_iter=2).shape == (1216,)
    assert mel_to_audio(mel[:, :1], SMALL, n_iter=2, length=50).shape == (50,)
    assert mel_to_audio(mel[:, :0], SMALL, length=50).shape == (50,)
    assert mel_to_audio(torch.rand(0, 30, 20), SMALL).shape == (0, 0)
    assert mel_to_audio(mel.expand(2, 3, 30, 20), SMALL, n_iter=2, length=0).shape == (2, 3, 0)


def test_silence_is_silent():
    assert not mel_to_audio(torch.zeros(2, 30, 20), SMALL).any()


def test_a_broken_frame_stays_where_it_is():
    mel = torch.rand(2, 30, 60, generator=seeded())
    whole = mel_to_audio(mel, SMALL, generator=seeded())
    mel[1, 3, 30] = math.nan
    found = mel_to_audio(mel, SMALL, generator=seeded())
    assert torch.equal(found[0], whole[0])
    covered = torch.zeros(found.shape[1], dtype=torch.bool)
    covered[30 * 64 - 128 : 30 * 64 + 128] = True
    assert torch.equal(found[1].isnan(), covered)


def test_batches_strides_and_dtypes():
    mel = torch.rand(3, 2, 30, 20, generator=seeded())
    together = mel_to_audio(mel, SMALL, init="zeros", n_iter=6)
    strided = mel.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0)
    assert torch.equal(mel_to_audio(strided, SMALL, init="zeros", n_iter=6), together)
    alone = mel_to_audio(mel[2, 1], SMALL, init="zeros", n_iter=6)
    torch.testing.assert_close(together[2, 1], alone, rtol=0, atol=1e-4)
    double = mel_to_audio(mel.double(), SMALL, init="zeros", n_iter=1)
    assert double.dtype == torch.float64
    single = mel_to_audio(mel, SMALL, init="zeros", n_iter=1)
    torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-3)
    assert mel_to_audio(mel.bfloat16(), SMALL, n_iter=1).dtype == torch.bfloat16


def test_gradients_reach_the_mel():
    mel = torch.rand(30, 12, generator=seeded(), dtype=torch.float64).requires_grad_()
    direction = torch.randn(30, 12, generator=seeded(1), dtype=torch.float64)
    module = MelToAudio(SMALL, n_iter=3, refine=Refinement(2, 1), init="zeros")
    weight = torch.randn(704, generator=seeded(2), dtype=torch.float64)

    def figure(mel):
        return (module(mel) * weight).sum()

    slope = (torch.autograd.grad(figure(mel), mel)[0] * direction).sum()
    step = 1e-6 * direction
    with torch.no_grad():
        measured = (figure(mel + step) - figure(mel - step)) / 2e-6
    torch.testing.assert_close(slope, measured, rtol=1e-4, atol=1e-6)


def test_the_module_is_the_function():
    mel = torch.rand(30, 20, generator=seeded())
    module = MelToAudio(SMALL, n_iter=3, method=ADMM())
    assert module(mel, generator=seeded()).isfinite().all()
    assert torch.equal(
        MelToAudio(SMALL, n_iter=3)(mel, generator=seeded(1), length=900),
        mel_to_audio(mel, SMALL, n_iter=3, generator=seeded(1), length=900),
    )


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"mel": torch.rand(20, 30)}, ValueError, "time first"),
        ({"mel": torch.rand(31, 7)}, ValueError, r"mel must be \(\.\.\., 30, time\)"),
        ({"mel": torch.ones(30, 7, dtype=torch.int64)}, TypeError, "mel"),
        ({"mel": -torch.rand(30, 7)}, ValueError, "never negative"),
        ({"spec": "hifi"}, ValueError, "spec must be one of"),
        ({"spec": 16000}, TypeError, "spec must be a MelSpec"),
        ({"spec": SMALL.replace(hop_length=300)}, ValueError, "hop_length"),
        ({"n_iter": -1}, ValueError, "n_iter"),
        ({"refine": True}, TypeError, "refine must be None or a Refinement"),
        ({"init": "noise"}, ValueError, "init"),
        ({"length": -2}, ValueError, "length"),
    ],
)
def test_bad_input_is_one_clear_sentence(change, error, words):
    arguments = {"mel": torch.rand(30, 20), "spec": SMALL, **change}
    with pytest.raises(error, match=words):
        mel_to_audio(arguments.pop("mel"), arguments.pop("spec"), **arguments)


def test_a_schedule_that_cannot_be_is_refused():
    for arguments, name in (((0, 1), "start"), ((1, 0), "every")):
        with pytest.raises(ValueError, match=name):
            Refinement(*arguments)
