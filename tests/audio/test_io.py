"""Files: what is written reads back, and what cannot be read says why in one sentence."""

import os
import pickle
import zipfile

import numpy as np
import pytest
import safetensors.torch
import soundfile
import torch

from inbounds.audio import MelSpec, files, io


@pytest.fixture
def noise(rng):
    return 1.8 * torch.rand(2, 3000, generator=rng) - 0.9


class TestAudio:
    @pytest.mark.parametrize(("extension", "error"), [(".wav", 4e-5), (".flac", 4e-5), (".ogg", 0.05)])
    @pytest.mark.parametrize("channels", [1, 2])
    def test_round_trip(self, tmp_path, extension, error, channels):
        pitch = torch.tensor([[0.03], [0.05]])[:channels]
        tones = 0.9 * torch.sin(pitch * torch.arange(30000))
        path = tmp_path / f"x{extension}"
        io.write_audio(path, tones, 44100)
        back = io.read_audio(path)
        assert back.sample_rate == 44100
        assert back.samples.shape == (channels, 30000)
        assert (back.samples - tones).abs()[:, 3000:-3000].max() < error

    @pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
    def test_every_sample_format_reads(self, tmp_path, noise, subtype):
        soundfile.write(tmp_path / "x.wav", noise.T.numpy(), 96000, subtype=subtype)
        back = io.read_audio(tmp_path / "x.wav")
        assert back.sample_rate == 96000
        assert (back.samples - noise).abs().max() < (0.05 if subtype in ("PCM_U8", "ULAW") else 1e-6)

    def test_loud_samples_are_clipped_not_wrapped(self, tmp_path):
        io.write_audio(tmp_path / "x.wav", torch.tensor([[1.5, -1.5, 0.0]]), 8000)
        assert io.read_audio(tmp_path / "x.wav").samples[0].tolist() == pytest.approx([1, -1, 0], abs=1e-4)

    def test_a_long_vorbis_file(self, tmp_path):
        io.write_audio(tmp_path / "x.ogg", torch.zeros(1, 30 * 44100), 44100)
        assert io.read_audio(tmp_path / "x.ogg").samples.shape == (1, 30 * 44100)

    def test_what_is_not_audio_says_so(self, tmp_path):
        (tmp_path / "empty.wav").touch()
        (tmp_path / "text.wav").write_text("These are words, many of them, and no sound. " * 100)
        (tmp_path / "folder.wav").mkdir()
        soundfile.write(tmp_path / "header.wav", np.zeros(0), 8000)
        soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan, np.inf]), 8000, subtype="FLOAT")
        for name, kind, sentence in [
            ("missing.wav", FileNotFoundError, "missing.wav cannot be read: no such file or directory"),
            ("empty.wav", ValueError, "empty.wav is empty"),
            ("text.wav", ValueError, "text.wav is not audio that can be read: format not recognised"),
            ("folder.wav", IsADirectoryError, "folder.wav is a folder; a file is needed"),
            ("header.wav", ValueError, "header.wav holds no samples"),
            ("nan.wav", ValueError, "nan.wav must hold finite samples; 2 of 3 are NaN or infinite"),
        ]:
            with pytest.raises(kind, match=sentence):
                io.read_audio(tmp_path / name)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_no_permission(self, tmp_path):
        path = tmp_path / "x.wav"
        io.write_audio(path, torch.zeros(1, 10), 8000)
        path.chmod(0)
        with pytest.raises(PermissionError, match=r"x.wav cannot be read: permission denied"):
            io.read_audio(path)

    def test_what_cannot_be_written_says_so(self, tmp_path):
        (tmp_path / "folder.wav").mkdir()
        (tmp_path / "file").touch()
        silence = torch.zeros(1, 10)
        for name, samples, rate, sentence in [
            ("x.mp3", silence, 8000, r"must end in .wav, .flac or .ogg; got .*x.mp3"),
            ("x", silence, 8000, "must end in .wav, .flac or .ogg"),
            ("folder.wav", silence, 8000, "folder.wav is a folder; a file's name is needed"),
            ("file/x.wav", silence, 8000, "x.wav cannot be written"),
            ("x.flac", silence.expand(9, -1), 8000, r"x.flac cannot hold 9 channel\(s\) at 8000 Hz"),
            ("x.ogg", silence, 400_000, "x.ogg cannot hold more than 200000 Hz"),
        ]:
            with pytest.raises((OSError, ValueError), match=sentence):
                io.write_audio(tmp_path / name, samples, rate)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.wav"]


class TestResample:
    @pytest.mark.parametrize("rate", [8000, 22050, 44100, 96000])
    @pytest.mark.parametrize("samples", [1, 2, 160, 4001])
    def test_there_and_back_has_the_same_length(self, rate, samples):
        audio = torch.rand(2, samples)
        there = io.resample(audio, 16000, rate)
        assert there.shape == (2, max(1, round(samples * rate / 16000)))
        assert io.resample(there, rate, 16000, length=samples).shape == (2, samples)

    def test_a_tone_keeps_its_frequency_and_level(self):
        tone = torch.sin(2 * torch.pi * 440 * torch.arange(16000) / 16000)[None]
        expected = torch.sin(2 * torch.pi * 440 * torch.arange(44100) / 44100)
        got = io.resample(tone, 16000, 44100)[0]
        assert (got - expected)[2000:-2000].abs().max() < 1e-3

    def test_the_same_rate_changes_nothing(self, noise):
        assert torch.equal(io.resample(noise, 16000, 16000), noise)


class TestMels:
    @pytest.mark.parametrize("extension", io.MEL_FORMATS)
    @pytest.mark.parametrize("shape", [(80, 5), (2, 80, 5)])
    def test_round_trip(self, tmp_path, rng, extension, shape):
        mel = torch.randn(shape, generator=rng)
        path = tmp_path / f"x{extension}"
        io.write_mel(path, mel.mT.contiguous().mT)  # whatever the strides
        assert torch.equal(io.read_mel(path), mel)

    def test_forms_people_hold(self, tmp_path):
        mel = torch.rand(3, 4)
        torch.save({"mel": mel, "audio": torch.zeros(9)}, tmp_path / "named.pt")
        torch.save({"anything": mel}, tmp_path / "only.pt")
        torch.save(mel.half(), tmp_path / "half.pt")
        safetensors.torch.save_file({"spectrogram": mel}, tmp_path / "only.safetensors")
        np.save(tmp_path / "big_endian.npy", mel.numpy().astype(">f4"))
        np.save(tmp_path / "fortran.npy", np.asfortranarray(mel.numpy()))
        for path in tmp_path.iterdir():
            back = io.read_mel(path)
            assert back.dtype == torch.float32, path
            torch.testing.assert_close(back, mel, atol=1e-3, rtol=0)

    def test_what_is_not_a_mel_says_so(self, tmp_path):
        for extension in io.MEL_FORMATS:
            (tmp_path / f"text{extension}").write_text("words")
        np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
        (tmp_path / "code.pt").write_bytes(pickle.dumps(print))
        np.save(tmp_path / "whole.npy", np.zeros((3, 4)))
        (tmp_path / "short.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:-8])
        np.save(tmp_path / "integers.npy", np.zeros((3, 4), int))
        np.save(tmp_path / "flat.npy", np.zeros(3))
        np.save(tmp_path / "none.npy", np.zeros((80, 0)))
        np.save(tmp_path / "nan.npy", np.full((3, 4), np.nan))
        torch.save({"a": torch.zeros(2), "b": torch.zeros(2)}, tmp_path / "two.pt")
        torch.save([torch.zeros(2, 2)], tmp_path / "list.pt")
        for name, sentence in [
            ("text.npy", r"is not a \.npy file that can be read; pickled objects are refused"),
            ("text.pt", r"is not a \.pt file that can be read"),
            ("text.safetensors", r"is not a \.safetensors file that can be read"),
            ("objects.npy", "pickled objects are refused"),
            ("code.pt", "pickled objects are refused"),
            ("short.npy", r"is not a \.npy file that can be read"),
            ("integers.npy", "must hold floating-point numbers; got int64"),
            ("flat.npy", r"must hold \(n_mels, time\) or \(channels, n_mels, time\); got \(3,\)"),
            ("none.npy", r"got \(80, 0\)"),
            ("nan.npy", "must hold finite values; 12 of 12"),
            ("two.pt", 'must hold one tensor, or one named "mel"; it holds 2'),
            ("list.pt", "must hold a tensor; it holds a list"),
            ("x.csv", r"must end in .npy, .pt, .safetensors; got .*x.csv"),
        ]:
            (tmp_path / "x.csv").write_text("1")
            with pytest.raises(ValueError, match=sentence):
                io.read_mel(tmp_path / name)


class TestReplacing:
    def test_nothing_appears_under_the_name_until_it_is_complete(self, tmp_path):
        path = tmp_path / "new" / "x.bin"
        with files.replacing(path) as temporary:
            temporary.write_bytes(b"half")
            assert not path.exists()
            assert temporary.parent == path.parent
        assert path.read_bytes() == b"half"

    def test_a_failure_leaves_the_old_file_and_no_other(self, tmp_path):
        path = tmp_path / "x.bin"
        path.write_bytes(b"old")

        def interrupted():
            with files.replacing(path) as temporary:
                temporary.write_bytes(b"half")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]

    def test_the_file_has_ordinary_permissions(self, tmp_path):
        umask = os.umask(0o022)
        try:
            io.write_audio(tmp_path / "x.wav", torch.zeros(1, 10), 8000)
        finally:
            os.umask(umask)
        assert (tmp_path / "x.wav").stat().st_mode & 0o777 == 0o644


class TestFilesThatAreNoFiles:
    @pytest.mark.parametrize(
        ("read", "name"),
        [
            (io.read_mel, "x.npy"),
            (io.read_mel, "x.pt"),
            (io.read_audio, "x.wav"),
            (MelSpec.from_file, "x.json"),
        ],
    )
    def test_each_is_one_sentence(self, tmp_path, read, name):
        path = tmp_path / name
        path.mkdir()
        with pytest.raises(IsADirectoryError, match=f"{name} is a folder; a file is needed"):
            read(path)
        path.rmdir()
        path.symlink_to(path)
        with pytest.raises(OSError, match=f"{name} cannot be read: too many levels of symbolic links"):
            read(path)
        path.unlink()
        path.symlink_to("/dev/zero")
        with pytest.raises(OSError, match=f"{name} is a pipe or a device"):
            read(path)
        path.unlink()
        os.mkfifo(path)  # which nobody writes to: opening it would never end
        with pytest.raises(OSError, match=f"{name} is a pipe or a device"):
            read(path)
        with pytest.raises(OSError, match="file name too long"):
            read(tmp_path / f"{'x' * 5000}{path.suffix}")


class TestPromises:
    """Headers that promise what the file does not hold."""

    def test_more_samples_than_memory(self, tmp_path):
        io.write_audio(tmp_path / "x.flac", torch.zeros(1, 1000), 8000)
        data = bytearray((tmp_path / "x.flac").read_bytes())
        data[21] |= 0x0F  # STREAMINFO's count of samples: 36 bits
        data[22:26] = b"\xff" * 4
        (tmp_path / "x.flac").write_bytes(data)
        try:
            assert io.read_audio(tmp_path / "x.flac").samples.shape[1] <= 4096  # where memory is only lent
        except ValueError as refusal:
            assert "no memory has room for" in str(refusal)  # noqa: PT017

    def test_one_number_shown_very_often(self, tmp_path):
        torch.save(torch.zeros(1).expand(80, 2**40), tmp_path / "x.pt")
        with pytest.raises(ValueError, match=r"x.pt holds far fewer numbers than its shape .* promises"):
            io.read_mel(tmp_path / "x.pt")
        mono = torch.rand(1, 8, 5)
        torch.save(mono.expand(2, 8, 5), tmp_path / "x.pt")
        assert torch.equal(io.read_mel(tmp_path / "x.pt"), mono.expand(2, 8, 5))

    def test_a_packed_bomb(self, tmp_path):
        torch.save(torch.zeros(100, 100_000), tmp_path / "plain.pt")
        with (
            zipfile.ZipFile(tmp_path / "plain.pt") as plain,
            zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as packed,
        ):
            for name in plain.namelist():
                packed.writestr(name, plain.read(name))
        assert (tmp_path / "x.pt").stat().st_size < 100_000
        with pytest.raises(ValueError, match=r"x.pt is not a .pt file that can be read"):
            io.read_mel(tmp_path / "x.pt")

    @pytest.mark.filterwarnings("ignore:Sparse")
    @pytest.mark.parametrize(
        "form", [torch.Tensor.to_sparse, torch.Tensor.to_sparse_csr, lambda x: x.to("meta")]
    )
    def test_tensors_without_values_of_their_own(self, tmp_path, form):
        torch.save(form(torch.rand(3, 4)), tmp_path / "x.pt")
        with pytest.raises(ValueError, match=r"x.pt (must hold an ordinary tensor|is not a .pt file)"):
            io.read_mel(tmp_path / "x.pt")

    def test_a_parameter_comes_back_as_a_tensor(self, tmp_path):
        torch.save(torch.nn.Parameter(torch.rand(3, 4)), tmp_path / "x.pt")
        assert not io.read_mel(tmp_path / "x.pt").requires_grad

    def test_eighths_of_precision_are_refused(self, tmp_path):
        safetensors.torch.save_file(
            {"mel": torch.rand(3, 4).to(torch.float8_e4m3fn)}, tmp_path / "x.safetensors"
        )
        with pytest.raises(ValueError, match="must hold floating-point numbers; got float8_e4m3fn"):
            io.read_mel(tmp_path / "x.safetensors")
