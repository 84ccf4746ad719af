"""Hostile input to the audio half: a table of calls and the sentence, or the result, each must give."""

import math

import pytest
import torch

from hostile import Refused, Works, hold, rows
from inbounds.audio import (
    GriffinLim,
    InverseMelScale,
    griffin_lim,
    inverse_mel_scale,
    mel_filter_bank,
)

INF, NAN = math.inf, math.nan
BANK = mel_filter_bank(129, 20, 8000)
SPECTRUM = torch.rand(129, 7, generator=torch.Generator().manual_seed(0))
MEL = BANK.T @ SPECTRUM


def bank(n_stft=129, n_mels=20, sample_rate=8000, **options):
    return mel_filter_bank(n_stft, n_mels, sample_rate, **options)


def module():
    return InverseMelScale(129, 20, 8000)


def inverted(mel=MEL, filters=BANK, **options):
    return inverse_mel_scale(mel, filters, **options)


def sound(magnitude=SPECTRUM, **options):
    return griffin_lim(magnitude, **{"n_fft": 256, "n_iter": 2, **options})


def exact(x):
    return x.shape == (129, 7) and (x >= 0).all() and torch.allclose(BANK.T @ x, MEL, rtol=1e-4, atol=1e-6)


def poisoned(value, bad, *where):
    value = value.clone()
    value[where] = bad
    return value


def untouched(x, frame):
    others = [t for t in range(7) if t != frame]
    return x[:, frame].isnan().all() and torch.equal(x[:, others], inverted()[:, others])


@rows(
    Refused("n_stft 1", lambda: bank(n_stft=1), ValueError, "n_stft must be at least 2; got 1"),
    Refused("n_stft a float", lambda: bank(n_stft=129.0), TypeError, "n_stft must be an integer"),
    Refused("n_mels 0", lambda: bank(n_mels=0), ValueError, "n_mels must be at least 1; got 0"),
    Refused("sample_rate 0", lambda: bank(sample_rate=0), ValueError, "sample_rate must be greater than 0"),
    Refused("sample_rate a string", lambda: bank(sample_rate="8k"), TypeError, "sample_rate must be a real number"),
    Refused("f_min negative", lambda: bank(f_min=-1.0), ValueError, "f_min must be at least 0"),
    Refused("f_min NaN", lambda: bank(f_min=NAN), ValueError, "f_min must be finite"),
    Refused("f_max above Nyquist", lambda: bank(f_max=5000.0), ValueError, "f_max must be at most .*4000"),
    Refused("f_min >= f_max", lambda: bank(f_min=2000.0, f_max=2000.0), ValueError, "f_min must be less than f_max"),
    Refused("norm unknown", lambda: bank(norm="area"), ValueError, "norm must be one of None, 'slaney'; got .*area"),
    Refused("mel_scale unknown", lambda: bank(mel_scale="bark"), ValueError, "mel_scale must be one of 'htk', 'slaney'"),
    Refused("dtype integer", lambda: bank(dtype=torch.int32), TypeError, "dtype must"),
    Works("odd rate", lambda: bank(sample_rate=11025), lambda b: b.isfinite().all()),
    Works("in half precision", lambda: bank(dtype=torch.float16), lambda b: b.dtype == torch.float16),
)  # fmt: skip
def test_mel_filter_bank(row):
    hold(row)


@rows(
    Refused("mel a list", lambda: inverted([[1.0]]), TypeError, "mel must be a torch.Tensor; got the list"),
    Refused("mel an array", lambda: inverted(MEL.numpy()), TypeError, "mel must be a torch.Tensor"),
    Refused("mel integer", lambda: inverted(MEL.long()), TypeError, "mel must .*float.*int64"),
    Refused("mel complex", lambda: inverted(MEL * 1j), TypeError, "mel must .*complex"),
    Refused("mel a vector", lambda: inverted(MEL[:, 0]), ValueError, "mel must have at least 2 dimension"),
    Refused("mel of decibels", lambda: inverted(20 * MEL.log10()), ValueError, "mel must hold energies.*decibel"),
    Refused("mel negative once", lambda: inverted(poisoned(MEL, -1e-3, 3, 2)), ValueError,
            "never negative.*violated at 1 of 140 entries"),
    Refused("mel -inf", lambda: inverted(poisoned(MEL, -INF, 3, 2)), ValueError, "mel must hold energies"),
    Refused("mel of other bands", lambda: inverted(MEL[:19]), ValueError, r"n_mels = 20.*\(19, 7\)"),
    Refused("time first", lambda: inverted(MEL.T), ValueError, "time first"),
    Refused("filters librosa's way", lambda: inverted(filters=BANK.T), ValueError, r"mel must be shaped|filters"),
    Refused("filters a list", lambda: inverted(filters=[1.0]), TypeError, "filters must be a torch.Tensor"),
    Refused("filters of three dimensions", lambda: inverted(filters=BANK[None]), ValueError, "filters must have shape"),
    Refused("filters NaN", lambda: inverted(filters=poisoned(BANK, NAN, 4, 1)), ValueError, "filters must be finite"),
    Refused("method unknown", lambda: inverted(method="svd"), ValueError, "method must be one of 'nnls'"),
    Refused("prior unknown", lambda: inverted(prior="smooth"), ValueError, "prior must be one of 'envelope', 'flat'"),
    Refused("prior of another shape", lambda: inverted(prior=torch.ones(7, 129)), ValueError, "prior must broadcast"),
    Refused("prior negative", lambda: inverted(prior=-SPECTRUM), ValueError, "prior must"),
    Refused("distance unknown", lambda: inverted(distance="l1"), ValueError, "distance must be one of 'quadratic'"),
    Works("exact", inverted, exact),
    Works("no frames", lambda: inverted(MEL[:, :0]), lambda x: x.shape == (129, 0)),
    Works("no batch", lambda: inverted(MEL.expand(0, 20, 7)), lambda x: x.shape == (0, 129, 7)),
    Works("silence", lambda: inverted(MEL * 0), lambda x: (x == 0).all()),
    Works("negative zero", lambda: inverted(MEL * -0.0), lambda x: (x == 0).all()),
    Works("denormal", lambda: inverted(MEL * 1e-42), lambda x: x.isfinite().all() and (x >= 0).all()),
    Works("1e30", lambda: inverted(MEL * 1e30) / 1e30, exact),
    Works("1e-30", lambda: inverted(MEL * 1e-30) * 1e30, exact),
    Works("NaN in a frame", lambda: inverted(poisoned(MEL, NAN, 5, 2)), lambda x: untouched(x, 2)),
    Works("inf in a frame", lambda: inverted(poisoned(MEL, INF, 0, 6)), lambda x: untouched(x, 6)),
    Works("all NaN", lambda: inverted(MEL * NAN), lambda x: x.isnan().all()),
    Works("one frame", lambda: inverted(MEL[:, :1]), lambda x: torch.equal(x, inverted()[:, :1])),
    Works("transposed strides", lambda: inverted(MEL.T.contiguous().T), exact),
    Works("every other frame", lambda: inverted(MEL.repeat_interleave(2, 1)[:, ::2]), exact),
    Works("half", lambda: inverted(MEL.half()), lambda x: x.dtype == torch.float16 and x.isfinite().all()),
    Works("bfloat16", lambda: inverted(MEL.bfloat16()), lambda x: x.dtype == torch.bfloat16),
    Works("double mel, float bank", lambda: inverted(MEL.double()), lambda x: x.dtype == torch.float64),
    Works("a bank of zeros", lambda: inverted(filters=BANK * 0), lambda x: x.isfinite().all()),
    Works("one loud band", lambda: inverted(poisoned(MEL * 0, 1e6, 4, 3)), lambda x: x.isfinite().all()),
)  # fmt: skip
def test_inverse_mel_scale(row):
    hold(row)


@rows(
    Refused("n_stft 0", lambda: InverseMelScale(0), ValueError, "n_stft must be at least"),
    Refused("n_mels a string", lambda: InverseMelScale(129, "many"), TypeError, "n_mels must be an integer"),
    Refused("f_max above Nyquist", lambda: InverseMelScale(129, 20, 8000, 0.0, 4001.0), ValueError, "f_max must be"),
    Refused("driver unknown", lambda: InverseMelScale(129, 20, 8000, driver="svd"), ValueError, "driver must be one of"),
    Refused("filters of another n_stft", lambda: InverseMelScale(65, 20, 8000, filters=BANK), ValueError, "filters must"),
    Refused("wrong mel", lambda: module()(MEL[:3]), ValueError, "n_mels = 20"),
    Refused("time first", lambda: module()(MEL.T), ValueError, "time first"),
    Refused("decibels", lambda: module()(20 * MEL.log10()), ValueError, "decibel"),
    Refused("integers", lambda: module()(MEL.int()), TypeError, "mel must .*int32"),
    Refused("complex", lambda: module()(MEL * 1j), TypeError, "mel must .*complex64"),
    Refused("a list", lambda: module()([[1.0]]), TypeError, "mel must be a torch.Tensor"),
    Works("NaN and inf in two frames", lambda: module()(poisoned(poisoned(MEL, NAN, 0, 1), INF, 3, 4)),
          lambda x: x.isnan().any(0).tolist() == [False, True, False, False, True, False, False]),
    Works("silence of both signs", lambda: module()(torch.cat([MEL * 0, MEL * -0.0], 1)), lambda x: (x == 0).all()),
    Works("nothing", lambda: module()(MEL[:, :0]), lambda x: x.shape == (129, 0)),
    Works("torchaudio's order", lambda: InverseMelScale(129, 20, 8000, 0.0, None, "slaney", "slaney").fb,
          lambda fb: torch.equal(fb, bank(norm="slaney", mel_scale="slaney"))),
)  # fmt: skip
def test_inverse_mel_scale_module(row):
    hold(row)


@rows(
    Refused("a list", lambda: sound([[1.0]]), TypeError, "magnitude must be a torch.Tensor"),
    Refused("complex", lambda: sound(SPECTRUM * 1j), TypeError, "magnitude must .*complex"),
    Refused("integer", lambda: sound(SPECTRUM.long()), TypeError, "magnitude must .*int64"),
    Refused("negative", lambda: sound(-SPECTRUM), ValueError, "magnitude must"),
    Refused("a vector", lambda: sound(SPECTRUM[:, 0]), ValueError, "magnitude must have at least 2"),
    Refused("time first", lambda: sound(SPECTRUM.T), ValueError, "magnitude must.*129.*time first"),
    Refused("n_fft that does not fit", lambda: sound(n_fft=512), ValueError, "magnitude|n_fft"),
    Refused("n_fft a float", lambda: sound(n_fft=256.0), TypeError, "n_fft must be an integer"),
    Refused("hop_length 0", lambda: sound(hop_length=0), ValueError, "hop_length must be at least 1"),
    Refused("win_length above n_fft", lambda: sound(win_length=300), ValueError, "win_length must be at most"),
    Refused("window of another length", lambda: sound(window=torch.ones(100)), ValueError, "window must"),
    Refused("hop above the window", lambda: sound(hop_length=400), ValueError, "hop_length|window"),
    Refused("n_iter -1", lambda: sound(n_iter=-1), ValueError, "n_iter must be at least 0"),
    Refused("momentum negative", lambda: sound(momentum=-0.1), ValueError, "momentum must be at least 0"),
    Refused("momentum NaN", lambda: sound(momentum=NAN), ValueError, "momentum must be finite"),
    Refused("init unknown", lambda: sound(init="ones"), ValueError, "init must"),
    Refused("init of another shape", lambda: sound(init=torch.zeros(3, 3)), ValueError, "init must broadcast"),
    Refused("length -1", lambda: sound(length=-1), ValueError, "length must be at least 0"),
    Refused("pad_mode unknown", lambda: sound(pad_mode="wrap"), ValueError, "pad_mode must be one of"),
    Refused("tolerance negative", lambda: sound(tolerance=-1.0), ValueError, "tolerance must be at least 0"),
    Works("silence", lambda: sound(SPECTRUM * 0, length=448), lambda y: torch.equal(y, torch.zeros(448))),
    Works("one frame", lambda: sound(SPECTRUM[:, :1], length=50), lambda y: y.shape == (50,) and y.isfinite().all()),
    Works("no frames", lambda: sound(SPECTRUM[:, :0]), lambda y: y.shape == (0,)),
    Works("no batch", lambda: sound(SPECTRUM.expand(0, 129, 7)), lambda y: y.shape[0] == 0),
    Works("length 0", lambda: sound(length=0), lambda y: y.shape == (0,)),
    Works("half", lambda: sound(SPECTRUM.half()), lambda y: y.dtype == torch.float16 and y.isfinite().all()),
    Works("1e30", lambda: sound(SPECTRUM * 1e30), lambda y: y.isfinite().all() and y.abs().max() > 1e28),
    Works("denormal", lambda: sound(SPECTRUM * 1e-42), lambda y: y.isfinite().all()),
    Works("negative zero", lambda: sound(SPECTRUM * -0.0), lambda y: (y == 0).all()),
    Works("an inf", lambda: sound(poisoned(SPECTRUM, INF, 3, 3)), lambda y: not y.isfinite().all()),
    Refused("method unknown", lambda: sound(method="admm"), TypeError, "method must be None, an Acc"),
    Works("a NaN item", lambda: sound(torch.stack([SPECTRUM, SPECTRUM * NAN]), init="zeros"),
          lambda y: torch.equal(y[0], sound(init="zeros")) and not y[1].isfinite().any()),
    Works("torchaudio's module", lambda: GriffinLim(256, 2, None, None, torch.hann_window, 1.0)(SPECTRUM),
          lambda y: y.isfinite().all()),
)  # fmt: skip
def test_griffin_lim(row):
    hold(row)


def test_nothing_given_is_changed_or_aliased():
    mel, filters, prior = MEL.clone(), BANK.clone(), SPECTRUM.clone()
    inverse_mel_scale(mel, filters, prior=prior).fill_(7.0)
    assert torch.equal(mel, MEL)
    assert torch.equal(filters, BANK)
    assert torch.equal(prior, SPECTRUM)
    magnitude = SPECTRUM.clone()
    griffin_lim(magnitude, n_fft=256, n_iter=2).fill_(7.0)
    assert torch.equal(magnitude, SPECTRUM)


@pytest.mark.parametrize("module", [InverseMelScale(129, 20, 8000), GriffinLim(256, 2)])
def test_modules_say_what_they_are(module):
    assert type(module).__name__ in repr(module)
