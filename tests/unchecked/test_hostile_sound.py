"""Hostile input between mels and sound: a table of calls and the sentence, or the result, each must give."""

import math

import torch

from hostile import Refused, Works, hold, rows
from inbounds.audio import (
    PRESETS,
    Compression,
    MelSpec,
    MelToAudio,
    mel_filter_bank,
    mel_to_audio,
    mfcc_to_audio,
    mfcc_to_mel,
)
from inbounds.audio.metrics import log_spectral_distance, mel_residual, spectral_convergence

INF, NAN = math.inf, math.nan
BANK = mel_filter_bank(129, 20, 8000)
SPECTRUM = torch.rand(129, 7, generator=torch.Generator().manual_seed(0))
MEL = BANK.T @ SPECTRUM
SPEC = MelSpec(8000, 256, 64, 20, power=1.0)
MFCC = torch.rand(13, 7, generator=torch.Generator().manual_seed(1))


def made(mel, spec=SPEC):
    return mel_to_audio(mel, spec, n_iter=2, generator=torch.Generator().manual_seed(0))


def poisoned(mel, bad, band):
    """The first frame spoilt, the others whole."""
    mel = mel.clone()
    mel[band, 0] = bad
    return mel


@rows(
    Refused("spec unknown", lambda: mel_to_audio(MEL, "hifi-gan"), ValueError, "spec must be .*hifigan"),
    Refused("spec a dict", lambda: mel_to_audio(MEL, {"n_fft": 256}), TypeError, "spec must be"),
    Refused("mel of other bands", lambda: mel_to_audio(MEL[:10], SPEC), ValueError, "mel must be"),
    Refused("mel of decibels", lambda: mel_to_audio(-MEL, SPEC), ValueError, "mel must hold energies"),
    Refused("time first", lambda: mel_to_audio(MEL.T, SPEC), ValueError, r"mel must be \(..., 20, time\).*time first"),
    Refused("mel a list", lambda: mel_to_audio([[1.0]], SPEC), TypeError, "mel must be a torch.Tensor"),
    Refused("mel an array", lambda: mel_to_audio(MEL.numpy(), SPEC), TypeError, "mel must be a torch.Tensor"),
    Refused("mel integer", lambda: mel_to_audio(MEL.int(), SPEC), TypeError, "mel must .*int32"),
    Refused("mel complex", lambda: mel_to_audio(MEL * 1j, SPEC), TypeError, "mel must .*complex64"),
    Refused("mel a vector", lambda: mel_to_audio(MEL[:, 0], SPEC), ValueError, "mel must have at least 2 dimension"),
    Refused("length -1", lambda: mel_to_audio(MEL, SPEC, length=-1), ValueError, "length must be at least 0"),
    Refused("init unknown", lambda: mel_to_audio(MEL, SPEC, init="ones"), ValueError, "init must be one of"),
    Refused("refine a number", lambda: mel_to_audio(MEL, SPEC, refine=8), TypeError, "refine must be None or a Ref"),
    Refused("method a string", lambda: MelToAudio(SPEC, method="admm"), TypeError, "method must be None or a Rec"),
    Refused("hop past the window", lambda: mel_to_audio(MEL, SPEC.replace(win_length=32)), ValueError,
            "spec.hop_length must be at most its window, 32 samples"),
    Works("a frame of NaN", lambda: made(poisoned(MEL, NAN, 3)), lambda y: y[250:].isfinite().all() and y.isnan().any()),
    Works("a frame of inf", lambda: made(poisoned(MEL, INF, 3)), lambda y: y[250:].isfinite().all() and y.isnan().any()),
    Works("all NaN", lambda: made(MEL * NAN), lambda y: y.isnan().all()),
    Works("negative zero", lambda: made(MEL * -0.0), lambda y: (y == 0).all()),
    Works("denormal", lambda: made(MEL * 1e-42), lambda y: y.isfinite().all()),
    Works("1e30", lambda: made(MEL * 1e30), lambda y: y.isfinite().all() and y.abs().max() > 1e27),
    Works("1e-30", lambda: made(MEL * 1e-30), lambda y: y.isfinite().all() and 0 < y.abs().max() < 1e-27),
    Works("half", lambda: made(MEL.half()), lambda y: y.dtype == torch.float16 and y.isfinite().all()),
    Works("no batch", lambda: made(MEL.expand(0, 20, 7)), lambda y: y.shape[0] == 0),
    Works("strided", lambda: made(MEL.T.contiguous().T), lambda y: torch.equal(y, made(MEL))),
    Works("circular padding", lambda: made(MEL, SPEC.replace(pad_mode="circular")), lambda y: y.isfinite().all()),
    Refused("n_iter a string", lambda: mel_to_audio(MEL, SPEC, n_iter="all"), TypeError, "n_iter must be an integer"),
    Refused("length a float", lambda: mel_to_audio(MEL, SPEC, length=1.5), TypeError, "length must be an integer"),
    Works("length", lambda: mel_to_audio(MEL, SPEC, length=400, n_iter=2), lambda y: y.shape == (400,)),
    Works("silence", lambda: mel_to_audio(MEL * 0, SPEC, n_iter=2), lambda y: (y == 0).all()),
    Works("one frame", lambda: mel_to_audio(MEL[:, :1], SPEC, length=60, n_iter=2), lambda y: y.shape == (60,)),
    Works("no frames", lambda: mel_to_audio(MEL[:, :0], SPEC), lambda y: y.shape[-1] == 0),
    Works("every preset", lambda: [mel_to_audio(spec.mel(torch.rand(9000) - 0.5), name, n_iter=1, length=9000)
                                   for name, spec in PRESETS.items()],
          lambda ys: all(y.shape == (9000,) and y.isfinite().all() for y in ys)),
)  # fmt: skip
def test_mel_to_audio(row):
    hold(row)


@rows(
    Refused("sample_rate 0", lambda: MelSpec(0, 256, 64, 20), ValueError, "sample_rate must be at least 1"),
    Refused("hop_length a float", lambda: MelSpec(8000, 256, 64.0, 20), TypeError, "hop_length must be an integer"),
    Refused("f_max above Nyquist", lambda: SPEC.replace(f_max=4001.0), ValueError, "f_max must be at most 4000"),
    Refused("f_min above f_max", lambda: SPEC.replace(f_min=3000.0, f_max=200.0), ValueError, "f_min must be less"),
    Refused("win_length above n_fft", lambda: SPEC.replace(win_length=257), ValueError, "win_length must be at most"),
    Refused("window unknown", lambda: SPEC.replace(window="kaiser"), ValueError, "window must be one of"),
    Refused("power 0", lambda: SPEC.replace(power=0.0), ValueError, "power must be greater than 0"),
    Refused("audio integer", lambda: SPEC.mel(torch.zeros(100, dtype=torch.int16)), TypeError, "audio must .*int16"),
    Refused("center a string", lambda: SPEC.replace(center="no"), TypeError, "center must be True or False; got the str"),
    Refused("drop_last a number", lambda: SPEC.replace(drop_last=1), TypeError, "drop_last must be True or False"),
    Refused("compression a string", lambda: SPEC.replace(compression="ln"), TypeError, "compression must be a Compr"),
    Refused("n_fft odd", lambda: SPEC.replace(n_fft=257), ValueError, "n_fft must be even"),
    Refused("n_fft astronomic", lambda: SPEC.replace(n_fft=10**30), ValueError, "n_fft must be at most 2147483647"),
    Refused("hop_length unprintable", lambda: SPEC.replace(hop_length=10**9999), ValueError, r"most .*too many digits"),
    Refused("power past floats", lambda: SPEC.replace(power=10**400), ValueError, "power must be within the range"),
    Refused("power NaN", lambda: SPEC.replace(power=NAN), ValueError, "power must be finite"),
    Refused("padding beside center", lambda: SPEC.replace(padding=3), ValueError, "padding must be 0 when center"),
    Refused("floor 0", lambda: Compression("ln", floor=0.0), ValueError, "compression.floor must be greater than 0"),
    Refused("scale 0", lambda: Compression("ln", scale=0.0), ValueError, "compression.scale must not be 0"),
    Refused("kind unknown", lambda: Compression("log2"), ValueError, "compression.kind must be one of"),
    Refused("floor without use", lambda: Compression(floor=1e-5), ValueError, "compression.floor has no meaning"),
    Refused("audio a list", lambda: SPEC.mel([0.0]), TypeError, "audio must be a torch.Tensor"),
    Refused("audio complex", lambda: SPEC.mel(torch.zeros(100) * 1j), TypeError, "audio must .*complex64"),
    Refused("decompress time first", lambda: SPEC.decompress(torch.zeros(3, 20)), ValueError, "time first"),
    Refused("audio empty", lambda: SPEC.mel(torch.zeros(0)), ValueError, "audio must have at least one sample"),
    Refused("decompress other bands", lambda: SPEC.decompress(torch.zeros(19, 3)), ValueError, r"mel must be .*20"),
    Works("audio NaN", lambda: SPEC.mel(torch.full((999,), NAN)), lambda m: m.isnan().all()),
    Works("audio 1e15", lambda: SPEC.mel(torch.full((999,), 1e15)), lambda m: m.isfinite().all()),
    Works("audio denormal", lambda: SPEC.mel(torch.full((999,), 1e-42)), lambda m: (m >= 0).all()),
    Works("audio of negative zeros", lambda: SPEC.mel(torch.full((999,), -0.0)), lambda m: (m == 0).all()),
    Works("no sounds", lambda: SPEC.mel(torch.zeros(0, 999)), lambda m: m.shape == (0, 20, 16)),
    Works("audio of one sample", lambda: SPEC.mel(torch.ones(1)), lambda m: m.shape == (20, 1)),
)  # fmt: skip
def test_mel_spec(row):
    hold(row)


@rows(
    Refused("a list", lambda: mfcc_to_mel([[1.0]]), TypeError, "mfcc must be a torch.Tensor"),
    Refused("integers", lambda: mfcc_to_mel(MFCC.int()), TypeError, "mfcc must .*int32"),
    Refused("complex", lambda: mfcc_to_mel(MFCC * 1j), TypeError, "mfcc must .*complex64"),
    Refused("a vector", lambda: mfcc_to_mel(MFCC[:, 0]), ValueError, "mfcc must have at least 2 dimension"),
    Refused("more than mels", lambda: mfcc_to_mel(MFCC, 12), ValueError, "mfcc|n_mels"),
    Refused("n_mels a float", lambda: mfcc_to_mel(MFCC, 80.0), TypeError, "n_mels must be an integer"),
    Refused("lifter negative", lambda: mfcc_to_mel(MFCC, lifter=-1.0), ValueError, "lifter must be at least 0"),
    Refused("reference 0", lambda: mfcc_to_mel(MFCC, reference=0.0), ValueError, "reference must be greater than 0"),
    Refused("magnitudes", lambda: mfcc_to_audio(MFCC, SPEC), ValueError, "spec.power must be 2"),
    Refused("spec unknown", lambda: mfcc_to_audio(MFCC, "mine"), ValueError, "spec must be"),
    Works("NaN in a frame", lambda: mfcc_to_mel(poisoned(MFCC, NAN, 2)), lambda m: m[:, 1:].isfinite().all()),
    Works("no frames", lambda: mfcc_to_mel(MFCC[:, :0]), lambda m: m.shape == (128, 0)),
    Works("no batch", lambda: mfcc_to_mel(MFCC.expand(0, 13, 7)), lambda m: m.shape == (0, 128, 7)),
    Works("of decibels past floats", lambda: mfcc_to_mel(MFCC * 1e30), lambda m: (m >= 0).all()),
)  # fmt: skip
def test_mfcc(row):
    hold(row)


@rows(
    Refused("other shapes", lambda: spectral_convergence(SPECTRUM, SPECTRUM[:, 1:]), ValueError, "must"),
    Refused("integers", lambda: spectral_convergence(SPECTRUM.int(), SPECTRUM), TypeError, "int32"),
    Refused("floor NaN", lambda: log_spectral_distance(SPECTRUM, SPECTRUM, floor=NAN), ValueError, "floor must be fin"),
    Works("no batch", lambda: log_spectral_distance(*[SPECTRUM.expand(0, 129, 7)] * 2), lambda d: d.shape == (0,)),
    Works("no frames", lambda: log_spectral_distance(SPECTRUM[:, :0], SPECTRUM[:, :0]), lambda d: d == 0),
    Works("NaN", lambda: spectral_convergence(SPECTRUM * NAN, SPECTRUM), lambda c: c.isnan()),
    Works("a perfect mel", lambda: mel_residual(SPECTRUM, MEL, BANK), lambda r: r < 1e-6),
)  # fmt: skip
def test_metrics(row):
    hold(row)
