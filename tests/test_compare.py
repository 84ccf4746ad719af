"""The comparison: three ways, honest figures, and a page that a browser shows."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch

from inbounds import plot
from inbounds.audio.io import Audio, read_audio
from inbounds.audio.presets import PRESETS
from inbounds.cli import app
from inbounds.cli.options import usual_spec
from inbounds.compare import WAYS, Problem, measure, study, write_report
from inbounds.compare.ways import librosa_way, torchaudio_way

SPEECH = files("inbounds.audio").joinpath("data/speech_austen_0930.wav")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """The demo's folder."""
    folder = tmp_path_factory.mktemp("demo")
    assert app.run(["demo", "-o", str(folder), "-n", "16"]) == 0
    return folder


@pytest.fixture(scope="module")
def problem() -> Problem:
    clip = read_audio(str(SPEECH))
    spec = usual_spec(clip.sample_rate)
    return Problem(spec.mel(clip.samples), spec, clip.samples.shape[1], iterations=16, seed=0)


class TestReport:
    def test_files(self, report):
        names = {path.name for path in report.iterdir()}
        sounds = {"source.wav", *(f"{way.key}.wav" for way in WAYS)}
        assert names == {"index.html", "table.json", "spectrograms.png", *sounds}
        source = read_audio(str(SPEECH))
        for name in sounds:
            made = read_audio(report / name)
            assert made.sample_rate == source.sample_rate
            assert made.samples.shape == source.samples.shape

    def test_the_table_is_what_was_measured(self, report):
        table = json.loads((report / "table.json").read_text())
        ours, others = table["ways"]["inbounds"], [table["ways"][key] for key in ("torchaudio", "librosa")]
        assert ours["mel_residual"] < 1e-4
        for other in others:
            assert ours["magnitude_convergence"] < other["magnitude_convergence"]
            assert ours["convergence"] < other["convergence"]
            assert other["seconds"] > other["magnitude_seconds"] > 0
        source, made = (read_audio(report / f"{name}.wav").samples for name in ("source", "inbounds"))
        spec = usual_spec(16000)
        error = torch.linalg.vector_norm(spec.magnitude(made) - spec.magnitude(source))
        convergence = 20 * torch.log10(error / torch.linalg.vector_norm(spec.magnitude(source)))
        assert convergence.item() == pytest.approx(ours["convergence"], abs=0.05)  # 16 bits

    def test_the_page_needs_no_other_file(self, report):
        page = (report / "index.html").read_text()
        links = Links()
        links.feed(page)
        assert len(links.found) >= 4 + 4 + 3
        assert all(link.startswith("data:") for link in links.found)
        assert "url(" not in page
        assert "@import" not in page
        assert page.count("<audio") == 4

    def test_long_sounds_stay_beside_the_page(self, tmp_path, monkeypatch):
        monkeypatch.setattr("inbounds.compare.report.MOST_EMBEDDED", 1999)
        clip = Audio(0.1 * torch.rand(2, 1000), 8000)
        path = write_report(study(clip, usual_spec(8000), name="<long>", iterations=1), tmp_path)
        links = Links()
        links.feed(path.read_text())
        sounds = [link for link in links.found if not link.startswith("data:")]
        assert sounds == ["source.wav", *(f"{way.key}.wav" for way in WAYS)]
        assert all((tmp_path / sound).exists() for sound in sounds)
        assert "too long to be part of this page" in path.read_text()

    def test_the_page_shows_the_tables_figures(self, report):
        table = json.loads((report / "table.json").read_text())
        page = (report / "index.html").read_text()
        for way in table["ways"].values():
            assert f"{way['convergence']:.1f}".replace("-", "−") in page
            assert f"{way['log_spectral_distance']:.2f}" in page

    @pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to show the page in")
    def test_a_browser_shows_it(self, report, tmp_path):
        shot = tmp_path / "page.png"
        quiet = ["quic", "background-networking", "component-update", "sync", "gpu"]
        subprocess.run(
            [
                CHROMIUM,
                "--headless",
                "--no-sandbox",
                "--no-first-run",
                "--hide-scrollbars",
                *(f"--disable-{name}" for name in quiet),
                f"--user-data-dir={tmp_path / 'profile'}",
                "--window-size=1400,1200",
                f"--screenshot={shot}",
                (report / "index.html").as_uri(),
            ],
            check=True,
            timeout=120,
            capture_output=True,
        )
        image = pixels(shot)
        assert image.shape[:2] == (1200, 1400)
        # The middle column holds spectrograms: dark, and of many colours.
        middle = image[200:1100, 420:800]
        assert len(np.unique(middle.reshape(-1, 3), axis=0)) > 200
        assert middle.mean() < 0.6


class Links(HTMLParser):
    """Every address a page takes something from."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "href", "data", "srcset", "poster")]


def pixels(path: Path) -> np.ndarray:
    import matplotlib.image

    return matplotlib.image.imread(path)[..., :3]


class TestWays:
    """Our versions of the libraries' ways do what the libraries do."""

    def test_librosas_spectrogram(self, problem):
        spec = problem.spec
        expected = librosa.feature.inverse.mel_to_stft(
            problem.mel[0].numpy(), sr=spec.sample_rate, n_fft=spec.n_fft, power=1.0
        )
        got = librosa_way(problem).magnitude[0].numpy()
        assert np.linalg.norm(got - expected) < 1e-3 * np.linalg.norm(expected)

    def test_librosas_sound_is_as_good(self, problem):
        """The random starts differ; the spectral convergence they reach does not."""
        spec = problem.spec
        magnitude = librosa_way(problem).magnitude[0].numpy()
        expected = librosa.griffinlim(
            magnitude, n_iter=16, hop_length=spec.hop_length, length=problem.samples, random_state=1
        )
        mine, theirs = librosa_way(problem).audio[0], torch.from_numpy(expected)
        target = torch.from_numpy(magnitude)

        def convergence(audio):
            error = torch.linalg.vector_norm(spec.magnitude(audio) - target)
            return 20 * torch.log10(error / torch.linalg.vector_norm(target))

        assert convergence(mine).item() == pytest.approx(convergence(theirs).item(), abs=0.5)

    def test_torchaudios_spectrogram(self, problem):
        bank = problem.spec.bank(dtype=torch.float64).mT
        expected = (bank.mT @ torch.linalg.solve(bank @ bank.mT, problem.mel.double())).clamp(min=0)
        got = torchaudio_way(problem).magnitude
        assert (got - expected).norm() < 1e-4 * expected.norm()

    def test_a_bank_that_gels_refuses(self):
        spec = PRESETS["torchaudio"]
        mel = spec.mel(torch.rand(1, 4000))
        outcome = torchaudio_way(Problem(mel, spec, 4000, iterations=1, seed=0))
        assert "gels" in outcome.remark
        assert torch.isfinite(outcome.audio).all()

    @pytest.mark.parametrize("samples", [1, 700, 4000])
    @pytest.mark.parametrize("preset", ["hifigan", "whisper", "librosa"])
    def test_short_sounds_and_frames_elsewhere(self, preset, samples, rng):
        spec = PRESETS[preset]
        clip = Audio(0.3 * torch.randn(2, samples, generator=rng), spec.sample_rate)
        done = study(clip, spec, name="noise", iterations=2)
        assert all(sound.shape == (2, samples) for sound in done.sounds.values())
        assert all(torch.isfinite(sound).all() for sound in done.sounds.values())

    def test_frames_elsewhere_are_not_heard(self, rng):
        """HiFi-GAN's frames lie half a hop, 128 samples, beside torch's: bursts stay where they were."""
        spec = PRESETS["hifigan"]
        sound = torch.zeros(1, 16384)
        for start in (1500, 6000, 8000, 12500):
            sound[0, start : start + 600] = torch.randn(600, generator=rng) * torch.hann_window(600)
        for way in WAYS:
            problem = Problem(spec.decompress(spec.mel(sound)), spec, 16384, iterations=16, seed=0)
            assert abs(lag(way.run(problem).audio[0], sound[0])) < 40, way.key

    def test_silence(self):
        done = study(Audio(torch.zeros(1, 9000), 16000), usual_spec(16000), name="silence", iterations=4)
        for key, sound in done.sounds.items():
            assert not sound.any(), key
        assert done.figures["inbounds"].pesq is None


def lag(late: torch.Tensor, early: torch.Tensor) -> int:
    """How many samples one sound's energy lies behind another's."""
    smooth = [torch.nn.functional.avg_pool1d(sound.square()[None], 65, 1, 32)[0] for sound in (late, early)]
    spectra = [torch.fft.rfft(energy, 2 * len(late)) for energy in smooth]
    behind = int(torch.fft.irfft(spectra[0] * spectra[1].conj()).argmax())
    return behind if behind < len(late) else behind - 2 * len(late)


class TestMeasure:
    def test_the_source_itself_is_perfect(self):
        clip = read_audio(str(SPEECH))
        spec = usual_spec(clip.sample_rate)
        figures = measure(
            clip.samples,
            clip.samples,
            spec.magnitude(clip.samples),
            spec.mel(clip.samples),
            spec,
            magnitude_seconds=0.0,
            seconds=0.0,
        )
        assert figures.mel_residual < 1e-6
        assert figures.convergence is None  # minus infinity is no figure
        assert figures.log_spectral_distance == 0
        assert figures.pesq == pytest.approx(4.64, abs=0.01)
        assert figures.stoi == pytest.approx(1.0, abs=1e-3)


class TestPictures:
    def test_a_frequency_stands_where_the_axis_says(self, tmp_path):
        magnitude = torch.full((513, 50), 1e-9)
        magnitude[128] = 1.0  # 2 kHz of 16 kHz
        (tmp_path / "x.png").write_bytes(plot.spectrogram_image(magnitude, 16000, 1.0))
        brightness = pixels(tmp_path / "x.png").sum(-1).mean(1)
        height = 1 - (brightness.argmax() + 0.5) / len(brightness)
        assert height == pytest.approx(plot.Axis(8000).position(2000), abs=0.01)

    def test_too_loud_is_red_and_too_quiet_is_blue(self, tmp_path):
        reference = torch.ones(65, 20)
        for gain, channel in [(10.0, 0), (0.1, 2)]:
            image = plot.difference_image(gain * reference, reference, 16000, 10.0)
            (tmp_path / "x.png").write_bytes(image)
            assert pixels(tmp_path / "x.png").mean((0, 1)).argmax() == channel

    @pytest.mark.parametrize("theme", plot.THEMES)
    def test_the_figure(self, tmp_path, theme):
        spectrograms = {"source": torch.rand(65, 3000), "ours": torch.rand(65, 3000)}
        image = plot.comparison_figure(spectrograms, sample_rate=16000, seconds=3.0, theme=theme)
        (tmp_path / "x.png").write_bytes(image)
        background = np.array([int(plot.THEMES[theme].background[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        np.testing.assert_allclose(pixels(tmp_path / "x.png")[0, 0], background, atol=0.01)

    def test_ticks_are_far_enough_apart_to_be_read(self):
        for nyquist in (500, 4000, 8000, 22050, 48000, 96000):
            ticks = plot.Axis(nyquist).ticks()
            heights = sorted(ticks.values())
            assert len(ticks) >= 2
            assert min(np.diff(heights)) > 0.09
            assert all(re.fullmatch(r"\d+ k?Hz", label) for label in ticks)
