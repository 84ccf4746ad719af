"""What holds for every mel spectrogram: feasibility, exactness, independence of frames, gain."""

import warnings

import torch
from hypothesis import given
from hypothesis import strategies as st

import inbounds
from inbounds.audio import MelSpec, griffin_lim, inverse_mel_scale, mel_filter_bank
from properties.strategies import batches, dtypes, layouts, seeds, uniform

DISTANCES = st.sampled_from(["quadratic", "kl", "is"])
PRIORS = st.sampled_from(["envelope", "flat"])


@st.composite
def banks(draw):
    n_fft, n_mels = draw(st.sampled_from([64, 128, 400])), draw(st.integers(2, 40))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # empty filters are part of the point
        return mel_filter_bank(
            n_fft // 2 + 1,
            n_mels,
            draw(st.sampled_from([8000, 11025, 16000, 44100])),
            mel_scale=draw(st.sampled_from(["htk", "slaney"])),
            norm=draw(st.sampled_from([None, "slaney"])),
        )


@st.composite
def mels(draw):
    """A bank, and mels that some spectrum has, with silent frames and eight decades between frames."""
    bank, dtype, batch = draw(banks()), draw(dtypes), draw(batches)
    seed, time = draw(seeds), draw(st.integers(0, 6))
    spectrum = uniform(seed, *batch, bank.shape[0], time) ** 4
    spectrum = spectrum * 10 ** (uniform(seed + 1, *batch, 1, time) * 8 - 4)
    spectrum = spectrum * (uniform(seed + 2, *batch, 1, time) > 0.2)
    return bank, (bank.double().T @ spectrum).to(dtype)


@given(mels(), PRIORS, DISTANCES, layouts())
def test_the_inverse_is_non_negative_and_meets_the_mel(drawn, prior, distance, lay):
    bank, mel = drawn
    x, info = inverse_mel_scale(lay(mel), bank, prior=prior, distance=distance, full_output=True)
    assert x.shape == (*mel.shape[:-2], bank.shape[0], mel.shape[-1])
    assert x.dtype == mel.dtype
    assert (x >= 0).all()
    missed = torch.linalg.vector_norm(bank.to(mel.dtype).T @ x - mel, dim=-2)
    assert (missed <= 1e-3 * torch.linalg.vector_norm(mel, dim=-2)).all()
    kkt = inbounds.kkt_residual(bank.to(mel.dtype).T, mel, x)
    torch.testing.assert_close(info.kkt, kkt, rtol=0, atol=1e-5)


@given(mels())
def test_a_frame_does_not_know_its_neighbours(drawn):
    bank, mel = drawn
    x = inverse_mel_scale(mel, bank)
    alone = [inverse_mel_scale(mel[..., t : t + 1], bank) for t in range(mel.shape[-1])]
    if alone:
        assert torch.equal(torch.cat(alone, dim=-1), x)


@given(mels(), st.sampled_from([2.0**-20, 0.5, 2.0**20]))
def test_a_gain_passes_through(drawn, gain):
    bank, mel = drawn
    torch.testing.assert_close(
        inverse_mel_scale(gain * mel, bank) / gain, inverse_mel_scale(mel, bank), rtol=1e-4, atol=1e-12
    )


@given(mels(), seeds)
def test_a_bad_frame_stays_alone(drawn, seed):
    bank, mel = drawn
    if not mel.numel():
        return
    bad = seed % mel.shape[-1]
    spoilt = mel.clone()
    spoilt[..., seed % mel.shape[-2], bad] = torch.nan
    x, clean = inverse_mel_scale(spoilt, bank), inverse_mel_scale(mel, bank)
    assert x[..., bad].isnan().all()
    others = [t for t in range(mel.shape[-1]) if t != bad]
    assert torch.equal(x[..., others], clean[..., others])


@given(st.integers(1, 3000), st.sampled_from([64, 100, 256]), st.integers(1, 4), seeds, dtypes)
def test_griffin_lim_keeps_length_gain_and_silence(samples, n_fft, overlap, seed, dtype):
    hop = max(1, n_fft // (2 * overlap))
    audio = uniform(seed, samples, dtype=dtype) - 0.5
    spec = MelSpec(8000, n_fft, hop, 8, power=1.0, pad_mode="constant")
    window = spec.window_tensor(dtype=dtype)
    magnitude = torch.stft(
        audio, n_fft, hop, window=window, pad_mode="constant", center=True, return_complex=True
    ).abs()

    def sound(magnitude):
        generator = torch.Generator().manual_seed(1)
        return griffin_lim(
            magnitude, n_fft=n_fft, hop_length=hop, n_iter=3, length=samples, generator=generator
        )

    y = sound(magnitude)
    assert y.shape == audio.shape
    assert y.dtype == dtype
    assert y.isfinite().all()
    assert torch.equal(sound(magnitude), y)
    torch.testing.assert_close(sound(magnitude * 1024) / 1024, y, rtol=1e-3, atol=1e-4)
    assert (sound(magnitude * 0) == 0).all()


@given(
    st.integers(1, 2000),
    st.integers(1, 300),
    st.booleans(),
    st.sampled_from(["reflect", "constant", "replicate", "circular"]),
    st.sampled_from([1.0, 2.0]),
    batches,
    seeds,
)
def test_mel_spec_frames_and_batches(samples, hop, center, pad_mode, power, batch, seed):
    spec = MelSpec(8000, 256, hop, 10, power=power, center=center, pad_mode=pad_mode)
    audio = uniform(seed, *batch, samples) - 0.5
    mel = spec.mel(audio)
    assert mel.shape == (*batch, 10, spec.frames(samples))
    assert (mel >= 0).all()
    torch.testing.assert_close(spec.mel(2 * audio), mel * 2**power, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(spec.decompress(mel), mel)
