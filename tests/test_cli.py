"""The shell: what it makes, what it says, and how it leaves."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import typer

import inbounds
from inbounds import cli
from inbounds.audio.io import read_audio, read_mel, write_audio, write_mel
from inbounds.audio.presets import PRESETS
from inbounds.cli import app, reconstruct, wav2mel
from inbounds.cli.options import usual_spec
from inbounds.compare import shown
from inbounds.versions import version_of


@pytest.fixture
def shell(capsys):
    """Run a command line in this process; returns the exit code and the lines on stdout and stderr."""

    def run(*arguments: object) -> tuple[int, list[str], list[str]]:
        code = app.run([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err.splitlines()

    return run


@pytest.fixture
def tone(tmp_path) -> Path:
    """Half a second of 440 Hz and 880 Hz in two channels."""
    time = torch.arange(8000) / 16000
    path = tmp_path / "tone.wav"
    write_audio(path, 0.5 * torch.sin(2 * torch.pi * torch.tensor([[440.0], [880.0]]) * time), 16000)
    return path


def refused(outcome: tuple[int, list[str], list[str]], code: int, *words: str) -> None:
    """One line on stderr, with these words; nothing on stdout; this exit code."""
    got, out, err = outcome
    assert got == code, err
    assert out == []
    assert len(err) == 1, err
    assert err[0].startswith("inbounds: ")
    for word in words:
        assert word in err[0]


class TestMisuse:
    def test_one_line_and_exit_code_two(self, shell, tone, tmp_path):
        out = tmp_path / "out.wav"
        refused(shell(), 2, "Missing command")
        refused(shell("fly"), 2, "No such command 'fly'")
        refused(shell("reconstruct"), 2, "Missing argument 'IN'")
        refused(shell("reconstruct", tone), 2, "--output")
        refused(shell("reconstruct", tone, "-o", out, "--loud"), 2, "--loud")
        refused(shell("reconstruct", tone, "-o", out, "-n", "-1"), 2, "--iterations")
        refused(shell("reconstruct", tone, "-o", out, "-n", "many"), 2, "--iterations")
        refused(shell("reconstruct", tone, "-o", out, "-p", "lute"), 2, "--preset", "hifigan", "got lute")
        refused(shell("reconstruct", tone, "-o", out, "-c", tmp_path / "no.json"), 2, "--config", "no.json")
        refused(shell("reconstruct", tone, "-o", tmp_path / "out.mp3"), 2, ".wav, .flac or .ogg")
        for device, words in [
            ("gpu", "must be cpu, cuda or cuda:N; got gpu"),
            ("cuda:99", "--device cuda:99: "),
        ]:
            refused(shell("reconstruct", tone, "-o", out, "--device", device), 2, words)
            refused(shell("mel2wav", tone, "-o", out, "-p", "hifigan", "--device", device), 2, words)
        refused(shell("mel2wav", tone, "-o", out), 2, "--preset or --config is needed")
        refused(shell("mel2wav", tmp_path, "-o", tmp_path / "o", "-p", "hifigan"), 2, "holds no file", ".npy")
        refused(shell("mel2wav", tmp_path, "-o", out, "-p", "hifigan"), 2, "must be a folder")
        refused(shell("wav2mel", tone, "-o", out, "-p", "hifigan"), 2, "must end in .npy, .pt, .safetensors")
        refused(
            shell("wav2mel", tone, "-o", tmp_path, "-p", "hifigan", "--format", "csv"), 2, "--format", "csv"
        )
        refused(shell("compare", tone, "-o", tone), 2, "must be a folder")
        refused(shell("demo", "-o", tmp_path, "--clip", "silence"), 2, "--clip", "speech, music")
        assert [path.name for path in tmp_path.iterdir()] == ["tone.wav"]

    def test_a_process_of_its_own_has_no_traceback(self, tmp_path):
        command = [sys.executable, "-m", "inbounds", "reconstruct", "missing.wav", "-o", "out.wav"]
        found = os.environ | {"PYTHONPATH": str(Path(inbounds.__file__).parents[1])}
        done = subprocess.run(command, cwd=tmp_path, env=found, capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr == "inbounds: missing.wav cannot be read: no such file or directory\n"

    def test_help_and_info(self, shell):
        code, out, err = shell("--help")
        assert code == 0
        assert err == []
        for name in ("reconstruct", "mel2wav", "wav2mel", "compare", "demo", "info"):
            assert any(name in line for line in out)
        assert shell("--version") == (0, [f"inbounds {inbounds.__version__}"], [])
        code, out, err = shell("info")
        assert code == 0
        assert err == []
        assert any(torch.__version__ in line for line in out)


class TestReconstruct:
    def test_a_stereo_tone_keeps_its_form_and_pitch(self, shell, tone, tmp_path):
        code, out, err = shell("reconstruct", tone, "-o", tmp_path / "out.wav")
        assert (code, err) == (0, [])
        for label in ("frames", "mel ", "inversion", "sound", "mel residual", "certificate", "spectral conv"):
            assert any(line.strip().startswith(label) for line in out), label
        made = read_audio(tmp_path / "out.wav")
        assert made.sample_rate == 16000
        assert made.samples.shape == (2, 8000)
        for channel, pitch in zip(made.samples, (440, 880), strict=True):
            spectrum = np.abs(np.fft.rfft(channel.numpy() * np.hanning(8000), 1 << 17))
            assert abs(spectrum.argmax() / (1 << 17) * 16000 - pitch) < 10  # the mel bands are 35 Hz apart

    @pytest.mark.parametrize(
        ("rate", "seconds", "channels"),
        [(8000, 0.3, 2), (44100, 0.01, 2), (44100, 0.3, 1), (96000, 0.01, 1), (96000, 0.2, 2)],
    )
    def test_length_rate_and_channels(self, shell, tmp_path, rng, rate, seconds, channels):
        samples = int(rate * seconds)
        write_audio(tmp_path / "in.flac", 0.2 * torch.randn(channels, samples, generator=rng), rate)
        code, _, err = shell("reconstruct", tmp_path / "in.flac", "-o", tmp_path / "out.flac", "-n", 2)
        assert (code, err) == (0, [])
        made = read_audio(tmp_path / "out.flac")
        assert made.sample_rate == rate
        assert made.samples.shape == (channels, samples)

    @pytest.mark.parametrize("preset", PRESETS)
    def test_every_preset(self, shell, tone, tmp_path, preset):
        out = tmp_path / "out.ogg"
        code, _, err = shell("reconstruct", tone, "-o", out, "-p", preset, "-n", 8)
        assert (code, err) == (0, [])
        made = read_audio(out)
        assert made.samples.shape == (2, 8000)
        spectrum = np.abs(np.fft.rfft(made.samples[0].numpy() * np.hanning(8000)))
        assert abs(spectrum.argmax() * 2 - 440) <= 20  # half of a mel band's width there

    @pytest.mark.parametrize("preset", ["librosa", "hifigan", "whisper"])
    def test_silence_gives_silence(self, shell, tmp_path, preset):
        write_audio(tmp_path / "in.wav", torch.zeros(1, 5000), 22050)
        code, _, err = shell("reconstruct", tmp_path / "in.wav", "-o", tmp_path / "out.wav", "-p", preset)
        assert (code, err) == (0, [])
        made = read_audio(tmp_path / "out.wav").samples
        assert made.shape == (1, 5000)
        assert made.abs().max() < 1e-3

    def test_eight_bits(self, shell, tmp_path, rng):
        noise = 0.3 * torch.randn(4000, generator=rng).numpy()
        soundfile.write(tmp_path / "in.wav", noise, 11025, subtype="PCM_U8")
        code, _, err = shell("reconstruct", tmp_path / "in.wav", "-o", tmp_path / "out.wav", "-n", 1)
        assert (code, err) == (0, [])
        assert read_audio(tmp_path / "out.wav").samples.shape == (1, 4000)

    def test_a_bad_input_is_one_line_and_exit_code_one(self, shell, tmp_path):
        (tmp_path / "text.wav").write_text("not a sound at all, only words " * 20)
        (tmp_path / "empty.wav").touch()
        soundfile.write(tmp_path / "nan.wav", np.array([0.1, np.nan]), 8000, subtype="FLOAT")
        for name, words in [
            ("missing.wav", "no such file"),
            ("text.wav", "is not audio"),
            ("empty.wav", "is empty"),
            ("nan.wav", "finite samples; 1 of 2"),
            ("", "is a folder"),
        ]:
            refused(shell("reconstruct", tmp_path / name, "-o", tmp_path / "out.wav"), 1, words)
        assert not (tmp_path / "out.wav").exists()

    def test_the_same_seed_gives_the_same_bits(self, shell, tone, tmp_path):
        for name, seed in [("a", 3), ("b", 3), ("c", 4)]:
            assert shell("reconstruct", tone, "-o", tmp_path / f"{name}.wav", "--seed", seed, "-n", 3)[0] == 0
        a, b, c = ((tmp_path / f"{name}.wav").read_bytes() for name in "abc")
        assert a == b
        assert a != c

    def test_a_name_that_is_no_text(self, shell, tone, tmp_path):
        source = tmp_path / os.fsdecode(b"t\xffne.wav")
        source.write_bytes(tone.read_bytes())
        code, out, err = shell("reconstruct", source, "-o", tmp_path / os.fsdecode(b"\xfe.wav"), "-n", 1)
        assert (code, err) == (0, [])
        assert out[0].startswith("t\\udcffne.wav: 0.50 s")

    def test_not_enough_memory_is_one_line(self, shell, tone, tmp_path, monkeypatch):
        def greedy(path):
            raise MemoryError

        monkeypatch.setattr(reconstruct, "read_audio", greedy)
        refused(shell("reconstruct", tone, "-o", tmp_path / "out.wav"), 1, "not enough memory")
        monkeypatch.setattr(wav2mel, "read_audio", greedy)
        code, _, err = shell("wav2mel", tone, "-o", tmp_path / "out.npy", "-p", "hifigan")
        assert (code, err) == (1, [f"inbounds: {tone} needs more memory than there is"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_cuda_device_is_here(shell, tone, tmp_path):
    refused(
        shell("reconstruct", tone, "-o", tmp_path / "o.wav", "--device", "cuda"), 2, "no CUDA device is here"
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_on_a_gpu(shell, tone, tmp_path, device):
    assert shell("reconstruct", tone, "-o", tmp_path / "a.wav", "-p", "vocos", "--device", device)[0] == 0
    assert shell("wav2mel", tone, "-o", tmp_path / "a.npy", "-p", "vocos")[0] == 0
    assert (
        shell("mel2wav", tmp_path / "a.npy", "-o", tmp_path / "b.wav", "-p", "vocos", "--device", device)[0]
        == 0
    )
    for name in "ab":
        made = read_audio(tmp_path / f"{name}.wav").samples[0].numpy()
        spectrum = np.abs(np.fft.rfft(made * np.hanning(len(made)), 1 << 17))
        rate = 16000 if name == "a" else 24000
        assert abs(spectrum.argmax() / (1 << 17) * rate - 440) < 20


class TestMelFiles:
    @pytest.mark.parametrize("extension", ["npy", "pt", "safetensors"])
    def test_there_and_back(self, shell, tone, tmp_path, extension):
        mel = tmp_path / f"tone.{extension}"
        assert shell("wav2mel", tone, "-o", mel, "-p", "vocos") == (0, ["1 done"], [])
        assert read_mel(mel).shape == (2, 100, PRESETS["vocos"].frames(12000))
        assert shell("mel2wav", mel, "-o", tmp_path / "back.wav", "-p", "vocos", "-n", 2) == (
            0,
            ["1 done"],
            [],
        )
        back = read_audio(tmp_path / "back.wav")
        assert back.sample_rate == 24000
        assert len(back.samples) == 2
        assert abs(back.samples.shape[1] - 12000) <= 256

    def test_a_folder_with_bad_ones_and_again(self, shell, tmp_path):
        spec = PRESETS["hifigan"]
        mels, sounds = tmp_path / "mels", tmp_path / "sounds"
        for name in ("a.npy", "deep/er/b.pt"):
            write_mel(mels / name, spec.mel(0.1 * torch.sin(torch.arange(3000) * 0.1)))
        (mels / "broken.npy").write_text("words")
        write_mel(mels / "other.npy", torch.zeros(100, 7))
        write_mel(mels / "huge.npy", torch.full((80, 7), 800.0))
        (mels / ".hidden.npy").write_text("not looked at")
        (mels / "notes.txt").write_text("not looked at")
        command = ("mel2wav", mels, "-o", sounds, "-p", "hifigan", "-n", 2, "--jobs", 2)

        code, out, err = shell(*command)
        assert code == 1
        assert out == ["2 done, 3 failed"]
        assert len(err) == 3
        for words in (
            "broken.npy is not",
            "other.npy must hold 80 mel bands",
            "huge.npy holds values too large",
        ):
            assert any(words in line for line in err), err
        made = sorted(str(path.relative_to(sounds)) for path in sounds.rglob("*") if path.is_file())
        assert made == ["a.wav", "deep/er/b.wav"]

        before = (sounds / "a.wav").stat().st_mtime_ns
        (mels / "broken.npy").unlink()
        (mels / "other.npy").unlink()
        (mels / "huge.npy").unlink()
        (sounds / "deep/er/b.wav").unlink()
        assert shell(*command) == (0, ["1 done, 1 there already"], [])
        assert (sounds / "a.wav").stat().st_mtime_ns == before
        assert shell(*command, "--overwrite") == (0, ["2 done"], [])
        assert (sounds / "a.wav").stat().st_mtime_ns != before

    def test_jobs_do_not_change_the_sounds(self, shell, tmp_path):
        spec = PRESETS["tacotron2"]
        for index in range(4):
            write_mel(
                tmp_path / f"mels/{index}.npy", spec.mel(torch.sin(torch.arange(3000) * (0.1 + index / 9)))
            )
        for jobs in (1, 3):
            shell(
                "mel2wav",
                tmp_path / "mels",
                "-o",
                tmp_path / f"{jobs}",
                "-p",
                "tacotron2",
                "-n",
                3,
                "-j",
                jobs,
            )
        for index in range(4):
            assert (tmp_path / f"1/{index}.wav").read_bytes() == (tmp_path / f"3/{index}.wav").read_bytes()

    def test_two_inputs_for_one_output(self, shell, tmp_path):
        write_mel(tmp_path / "mels/a.npy", torch.zeros(80, 3))
        write_mel(tmp_path / "mels/a.pt", torch.zeros(80, 3))
        refused(
            shell("mel2wav", tmp_path / "mels", "-o", tmp_path / "o", "-p", "hifigan"), 2, "would both become"
        )

    def test_a_turned_array(self, shell, tmp_path):
        mel = PRESETS["speecht5"].mel(torch.sin(torch.arange(8000) * 0.1))
        write_mel(tmp_path / "mel.npy", mel.mT)
        command = ("mel2wav", tmp_path / "mel.npy", "-o", tmp_path / "o.flac", "-p", "speecht5", "-n", 1)
        refused_lines = shell(*command)
        assert refused_lines[0] == 1
        assert "--transpose turns it" in refused_lines[2][0]
        assert shell(*command, "--transpose") == (0, ["1 done"], [])

    def test_decibels_where_energies_are_meant(self, shell, tmp_path):
        write_mel(tmp_path / "mel.npy", torch.full((128, 9), -40.0))
        code, out, err = shell("mel2wav", tmp_path / "mel.npy", "-o", tmp_path / "o.wav", "-p", "librosa")
        assert (code, out) == (1, ["0 done, 1 failed"])
        assert "is it in decibels?" in err[0]

    def test_a_hifigan_config(self, shell, tone, tmp_path):
        (tmp_path / "config.json").write_text(
            '{"num_mels": 80, "n_fft": 1024, "hop_size": 256, "win_size": 1024, "sampling_rate": 22050,'
            ' "fmin": 0, "fmax": 8000, "upsample_rates": [8, 8, 2, 2]}'
        )
        assert shell("wav2mel", tone, "-o", tmp_path / "a.npy", "-c", tmp_path / "config.json")[0] == 0
        assert shell("wav2mel", tone, "-o", tmp_path / "b.npy", "-p", "hifigan")[0] == 0
        assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


@pytest.mark.parametrize(
    ("rate", "sizes"),
    [(8000, (512, 128, 64)), (16000, (1024, 256, 80)), (22050, (1024, 256, 80)), (48000, (2048, 512, 128))],
)
def test_the_usual_spec(rate, sizes):
    spec = usual_spec(rate)
    assert (spec.n_fft, spec.hop_length, spec.n_mels) == sizes


def test_the_usual_spec_of_any_rate():
    for rate in (1, 50, 700, 3000, 192_000, 2_000_000):
        assert usual_spec(rate).mel(torch.zeros(10)).isfinite().all()


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, typer.Abort])
def test_interrupted_is_one_line(shell, tone, tmp_path, monkeypatch, interruption):
    def interrupted(path):
        raise interruption

    monkeypatch.setattr(reconstruct, "read_audio", interrupted)
    refused(shell("reconstruct", tone, "-o", tmp_path / "out.wav"), 130, "interrupted")


def test_an_extra_that_is_not_installed_is_one_line(monkeypatch, capsys):
    for name in list(sys.modules):
        if name.startswith("inbounds.cli."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "typer", None)
    monkeypatch.delattr(cli, "app")
    with pytest.raises(SystemExit) as left:
        cli.main(["info"])
    assert left.value.code == 2
    assert capsys.readouterr().err == "inbounds: typer is not installed: pip install 'inbounds[audio]'\n"


def test_compare_prints_a_table_and_its_remarks(shell, tone, tmp_path):
    code, out, err = shell("compare", tone, "-o", tmp_path / "report", "-p", "torchaudio", "-n", 1)
    assert (code, err) == (0, [])
    assert out[1].startswith("torchaudio")
    assert any(line.startswith("torchaudio: ") and "gels" in line for line in out)
    assert (tmp_path / "report" / "index.html").exists()


def test_figures_that_were_not_had():
    assert version_of("no-such-distribution") is None
    assert shown("pesq", None) == "-"
