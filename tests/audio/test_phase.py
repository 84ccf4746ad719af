"""Phase retrieval: against torch.stft and istft, engine against engine, and by what a signal must do."""

import math

import pytest
import torch

from inbounds.audio.frames import make_framing
from inbounds.audio.metrics import spectral_convergence
from inbounds.audio.phase import GriffinLim, griffin_lim
from inbounds.audio.recurrence import ADMM, AcceleratedGriffinLim
from inbounds.audio.sweep import KernelSweep, TensorSweep

METHODS = [None, AcceleratedGriffinLim(), AcceleratedGriffinLim(0.3, 1.1, 1.25), ADMM(), ADMM(0.0)]
# n_fft, hop, win_length, center: odd sizes, a short window, hops that do not divide, no padding
SIZES = [(64, 16, 64, True), (63, 20, 50, True), (60, 60, 60, True), (64, 16, 64, False), (16, 3, 15, True)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def stft(signal, n_fft, hop, win_length=None, center=True, pad_mode="reflect"):
    window = torch.hann_window(win_length or n_fft, dtype=signal.dtype)
    return torch.stft(signal, n_fft, hop, win_length, window, center, pad_mode=pad_mode, return_complex=True)


def chirps(samples, dtype=torch.float32):
    """Two signals with something to find: gliding tones over a little noise."""
    t = torch.arange(samples, dtype=torch.float64)
    tones = torch.stack([torch.sin(0.2 * t + 2e-5 * t**2), torch.sin(0.5 * t) * torch.cos(0.003 * t)])
    noise = torch.randn(2, samples, generator=seeded(1), dtype=torch.float64)
    return (tones + 0.05 * noise).to(dtype)


def reference_griffin_lim(magnitude, n_fft, hop, n_iter, momentum, length):
    """Fast Griffin-Lim as librosa and torchaudio write it: spectra extrapolated, torch.stft and istft."""
    window = torch.hann_window(n_fft, dtype=magnitude.dtype)
    phase, last = torch.ones_like(magnitude) + 0j, 0.0
    for _ in range(n_iter):
        signal = torch.istft(magnitude * phase, n_fft, hop, window=window, length=length)
        rebuilt = torch.stft(signal, n_fft, hop, window=window, pad_mode="reflect", return_complex=True)
        ahead = rebuilt - momentum / (1 + momentum) * last
        phase, last = ahead / ahead.abs().clamp(min=1e-300), rebuilt
    return torch.istft(magnitude * phase, n_fft, hop, window=window, length=length)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.99])
def test_it_is_fast_griffin_lim(momentum):
    magnitude = stft(chirps(1000, torch.float64), 64, 16).abs()
    # From zero phases both engines must walk the very path of the plain algorithm.
    expected = torch.stack([reference_griffin_lim(m, 64, 16, 12, momentum, 1000) for m in magnitude])
    found = griffin_lim(
        magnitude, n_fft=64, hop_length=16, n_iter=12, momentum=momentum, init="zeros", length=1000
    )
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(("n_fft", "hop", "win_length", "center"), SIZES)
@pytest.mark.parametrize("count", [1, 5, 200])
def test_kernels_agree_with_tensors(n_fft, hop, win_length, center, count, dtype, monkeypatch):
    monkeypatch.setattr("inbounds.audio.sweep.BLOCK_SAMPLES", 8 * n_fft)  # many blocks, several rows a block
    window = torch.hann_window(win_length, dtype=dtype)
    frames = make_framing(window, n_fft, hop, n_fft // 2 if center else 0, "reflect").frames(count)
    kernel, tensor = KernelSweep(frames), TensorSweep(frames)
    timeline = torch.randn(3, frames.span, generator=seeded(), dtype=dtype)
    magnitude = torch.rand(3, count, n_fft // 2 + 1, generator=seeded(), dtype=dtype)
    memory = torch.randn(magnitude.shape, generator=seeded(), dtype=torch.complex128)
    memory = memory.to(torch.complex64 if dtype == torch.float32 else torch.complex128)
    timeline[1] = 0  # the phase of zero is zero in both
    close = {"rtol": 0.0, "atol": 300 * torch.finfo(dtype).eps}
    torch.testing.assert_close(kernel.magnitude(timeline), tensor.magnitude(timeline), **close)
    torch.testing.assert_close(kernel.synthesise(memory), tensor.synthesise(memory), **close)
    torch.testing.assert_close(
        kernel.impose(timeline, magnitude), tensor.impose(timeline, magnitude), **close
    )
    for found, expected in zip(
        kernel.reflect(timeline, memory.clone(), magnitude, 0.3),
        tensor.reflect(timeline, memory.clone(), magnitude, 0.3),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, **close)


@pytest.mark.parametrize("pad_mode", ["reflect", "constant", "replicate", "circular"])
@pytest.mark.parametrize(
    ("n_fft", "hop", "length"), [(64, 16, 500), (63, 20, 500), (64, 16, 511), (16, 5, 100)]
)
def test_the_frames_are_torch_stfts(pad_mode, n_fft, hop, length):
    signal = chirps(length, torch.float64)
    expected = stft(signal, n_fft, hop, pad_mode=pad_mode)
    window = torch.hann_window(n_fft, dtype=torch.float64)
    frames = make_framing(window, n_fft, hop, n_fft // 2, pad_mode).frames(expected.shape[-1], length=length)
    timeline = torch.zeros(2, frames.span, dtype=torch.float64)
    inside = min(frames.length, frames.span - frames.pad)
    timeline[:, frames.pad : frames.pad + inside] = signal[:, :inside]
    torch.testing.assert_close(TensorSweep(frames).analyse(frames.extend(timeline)).mT, expected)
    # and back: synthesis inverts analysis wherever a frame reaches
    back = KernelSweep(frames).synthesise(expected.mT.contiguous())
    torch.testing.assert_close(back[:, frames.interior], signal[:, : frames.length], rtol=0, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_true_phases_are_a_fixed_point(method):
    signal = chirps(4000)
    spectrum = stft(signal, 256, 64)
    for init in (spectrum, spectrum.angle()):
        found = griffin_lim(
            spectrum.abs(), n_fft=256, hop_length=64, init=init, n_iter=5, length=4000, method=method
        )
        torch.testing.assert_close(found, signal, rtol=0, atol=2e-4)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_phases(method):
    magnitude = stft(chirps(4000), 256, 64).abs()
    found = griffin_lim(
        magnitude, n_fft=256, hop_length=64, n_iter=50, length=4000, generator=seeded(), method=method
    )
    assert (spectral_convergence(stft(found, 256, 64).abs(), magnitude) < -12).all()


def test_the_original_iteration_never_gets_worse():
    magnitude = stft(chirps(4000, torch.float64), 256, 64).abs()
    history = []
    griffin_lim(
        magnitude,
        n_fft=256,
        hop_length=64,
        n_iter=40,
        momentum=0.0,
        generator=seeded(),
        length=4000,
        callback=lambda sweep, convergence: history.append(convergence),
    )
    history = torch.stack(history)
    assert history.shape == (40, 2)
    # The reflected ends are no orthogonal projection, hence the hair's breadth.
    assert (history[1:] <= history[:-1] + 1e-3).all()


def test_same_seed_same_bits_whatever_the_threads():
    magnitude = torch.rand(2, 129, 900, generator=seeded())
    threads = torch.get_num_threads()
    signals = []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            signals.append(griffin_lim(magnitude, n_fft=256, n_iter=4, generator=seeded(7)))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(signals[0], signals[1])
    assert torch.equal(signals[0], signals[2])
    assert not torch.equal(signals[0], griffin_lim(magnitude, n_fft=256, n_iter=4, generator=seeded(8)))


def test_an_item_does_not_see_the_others_and_strides_do_not_matter():
    magnitude = torch.rand(3, 2, 33, 50, generator=seeded())
    phase = 6.28 * torch.rand(3, 2, 33, 50, generator=seeded(1))
    together = griffin_lim(magnitude, n_fft=64, init=phase, n_iter=6)
    strided = magnitude.permute(3, 2, 0, 1).contiguous().permute(2, 3, 1, 0)
    assert torch.equal(griffin_lim(strided, n_fft=64, init=phase, n_iter=6), together)
    for i in range(3):
        for j in range(2):
            alone = griffin_lim(magnitude[i, j], n_fft=64, init=phase[i, j], n_iter=6)
            torch.testing.assert_close(together[i, j], alone, rtol=0, atol=1e-6)


def test_gain_passes_through():
    magnitude = torch.rand(33, 50, generator=seeded())
    expected = griffin_lim(magnitude, n_fft=64, generator=seeded(), n_iter=6)
    for gain in (2.0**-100, 2.0**-20, 2.0**20, 2.0**100):
        found = griffin_lim(gain * magnitude, n_fft=64, generator=seeded(), n_iter=6)
        assert torch.equal(found, gain * expected)


def test_silence_short_and_empty():
    assert not griffin_lim(torch.zeros(2, 33, 20), n_fft=64).any()
    assert griffin_lim(torch.rand(33, 1), n_fft=64).shape == (0,)
    short = griffin_lim(torch.rand(33, 1), n_fft=64, length=10)
    assert short.shape == (10,)
    assert short.isfinite().all()
    assert short.any()
    assert griffin_lim(torch.rand(33, 0), n_fft=64, length=10).shape == (10,)
    assert griffin_lim(torch.rand(0, 33, 20), n_fft=64, length=10).shape == (0, 10)


def test_length_cuts_and_pads():
    magnitude = stft(chirps(1000), 64, 16).abs()
    for length in (990, 1000, 1007):
        found = griffin_lim(magnitude, n_fft=64, hop_length=16, length=length, generator=seeded())
        assert found.shape == (2, length)
        assert spectral_convergence(stft(found[:, :990], 64, 16).abs(), magnitude[..., :62]).max() < -8
    assert griffin_lim(magnitude, n_fft=64, hop_length=16).shape == (2, 992)
    assert griffin_lim(magnitude, n_fft=64, hop_length=16, length=100).shape == (2, 100)
    long = griffin_lim(magnitude, n_fft=64, hop_length=16, length=2000)
    assert not long[:, 1024:].any()


def test_a_broken_frame_stays_where_it_is():
    magnitude = torch.rand(2, 33, 60, generator=seeded())
    whole = griffin_lim(magnitude, n_fft=64, hop_length=16, generator=seeded(), n_iter=8)
    magnitude[1, 4, 30] = math.nan
    magnitude[1, 9, 50] = math.inf
    found = griffin_lim(magnitude, n_fft=64, hop_length=16, generator=seeded(), n_iter=8)
    assert torch.equal(found[0], whole[0])
    covered = torch.zeros(944, dtype=torch.bool)
    for frame in (30, 50):
        covered[frame * 16 - 32 : frame * 16 + 32] = True
    assert torch.equal(found[1].isnan(), covered)


@pytest.mark.parametrize("low", [torch.float16, torch.bfloat16])
def test_halves_are_computed_in_float32(low):
    magnitude = torch.rand(33, 20, generator=seeded()).to(low)
    found = griffin_lim(magnitude, n_fft=64, generator=seeded())
    assert found.dtype == low
    assert torch.equal(found, griffin_lim(magnitude.float(), n_fft=64, generator=seeded()).to(low))


def test_tolerance_stops_each_item_by_itself():
    magnitude = stft(chirps(4000), 256, 64).abs()
    sweeps = []
    options = {"n_fft": 256, "hop_length": 64, "length": 4000, "init": "zeros", "momentum": 0.0}
    both = griffin_lim(
        magnitude, n_iter=500, tolerance=0.05, callback=lambda sweep, _: sweeps.append(sweep), **options
    )
    assert 2 < len(sweeps) < 500
    for item in range(2):
        alone = griffin_lim(magnitude[item], n_iter=500, tolerance=0.05, **options)
        torch.testing.assert_close(both[item], alone, rtol=0, atol=1e-4)


def test_a_callback_may_end_it():
    magnitude = torch.rand(33, 20, generator=seeded())

    def stop(sweep, convergence):
        assert convergence.shape == ()
        if sweep == 3:
            raise StopIteration

    found = griffin_lim(magnitude, n_fft=64, generator=seeded(), callback=stop)
    assert torch.equal(found, griffin_lim(magnitude, n_fft=64, generator=seeded(), n_iter=3))


@pytest.mark.parametrize("method", [None, ADMM()])
def test_it_is_differentiable(method):
    magnitude = (torch.rand(5, 6, generator=seeded(), dtype=torch.float64) + 0.5).requires_grad_()
    phase = 6 * torch.rand(5, 6, generator=seeded(1), dtype=torch.float64)

    def sound(magnitude):
        return griffin_lim(magnitude, n_fft=8, hop_length=4, init=phase, n_iter=2, method=method)

    assert torch.autograd.gradcheck(sound, magnitude, fast_mode=True)
    torch.testing.assert_close(sound(magnitude), sound(magnitude.detach()), rtol=1e-9, atol=1e-9)


def test_integrated_phases_are_nearly_right():
    """Before any sweep, phases integrated from the magnitudes beat random ones after many."""
    magnitude = stft(chirps(20000), 512, 128).abs()
    options = {"n_fft": 512, "hop_length": 128, "length": 20000}
    integrated = griffin_lim(magnitude, n_iter=0, init="pghi", generator=seeded(), **options)
    random = griffin_lim(magnitude, n_iter=8, generator=seeded(), **options)
    quality = [spectral_convergence(stft(x, 512, 128).abs(), magnitude) for x in (integrated, random)]
    assert (quality[0] < quality[1] - 3).all()


def test_random_phases_fill_the_circle():
    """torchaudio's random start keeps to the first quadrant; this one must not."""
    magnitude = torch.ones(1025, 40)
    signal = griffin_lim(magnitude, n_fft=2048, hop_length=2048, n_iter=0, generator=seeded(), center=False,
                         window=torch.ones(2048))  # fmt: skip
    phase = torch.fft.rfft(signal.view(40, 2048))[:, 1:-1].angle()
    quadrants = torch.histc(phase, 4, -math.pi, math.pi) / phase.numel()
    torch.testing.assert_close(quadrants, torch.full((4,), 0.25), rtol=0, atol=0.01)


def test_the_module_takes_torchaudios_arguments():
    power = stft(chirps(1000), 64, 32).abs().square()
    module = GriffinLim(64, 8, None, None, torch.hann_window, 2.0, {"periodic": True}, 0.9, 1000, False)
    expected = griffin_lim(
        power.sqrt(), n_fft=64, hop_length=32, n_iter=8, momentum=0.9, length=1000, init="zeros"
    )
    assert torch.equal(module(power), expected)
    assert GriffinLim().hop_length == 200
    random = GriffinLim(64, power=1.0)
    assert torch.equal(random(power.sqrt(), generator=seeded()), random(power.sqrt(), generator=seeded()))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"n_fft": 128}, ValueError, r"magnitude must be \(\.\.\., 65, time\)"),
        ({"hop_length": 0}, ValueError, "hop_length"),
        ({"hop_length": 65}, ValueError, "hop_length must be at most win_length"),
        ({"win_length": 65}, ValueError, "win_length must be at most n_fft"),
        ({"window": torch.ones(3)}, ValueError, "window"),
        ({"window": torch.zeros(64)}, ValueError, "window"),
        ({"n_iter": -1}, ValueError, "n_iter"),
        ({"momentum": -0.1}, ValueError, "momentum"),
        ({"momentum": 0.5, "method": ADMM()}, ValueError, "momentum belongs to fast Griffin-Lim"),
        ({"init": "noise"}, ValueError, "init must be one of"),
        ({"init": torch.zeros(5)}, ValueError, "init must broadcast"),
        ({"length": -1}, ValueError, "length"),
        ({"pad_mode": "mirror"}, ValueError, "pad_mode"),
        ({"tolerance": -1.0}, ValueError, "tolerance"),
    ],
)
def test_bad_input_is_one_clear_sentence(change, error, words):
    with pytest.raises(error, match=words):
        griffin_lim(torch.rand(33, 20), **{"n_fft": 64, **change})


def test_negative_magnitudes_are_refused():
    with pytest.raises(ValueError, match=r"magnitude must not be negative; violated at 660"):
        griffin_lim(-torch.rand(33, 20) - 0.1, n_fft=64)
    with pytest.raises(TypeError, match="floating"):
        griffin_lim(torch.ones(33, 20, dtype=torch.int64), n_fft=64)
    with pytest.raises(TypeError, match="method"):
        griffin_lim(torch.rand(33, 20), n_fft=64, method="admm")
