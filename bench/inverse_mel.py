"""Mel inversion: time, exactness and quality, side by side. Writes results/inverse_mel.md.

python bench/inverse_mel.py [--audio DIR] [--repeats 7] [--no-librosa]

Time and exactness are measured on 2 min 16 s of music at 44.1 kHz and on three other banks; quality on every
clip, at its own rate, for magnitudes (power 1) and energies (power 2).
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import librosa
import scipy.optimize
import soundfile
import soxr
import torch
from torch import Tensor

from inbounds.audio import inverse_mel_scale, mel_filter_bank
from inbounds.audio.metrics import log_spectral_distance, mel_residual, spectral_convergence
from report import interleaved, machine, table, write

SECONDS = 136  # of the reference workload
SAMPLED = 25  # frames solved by scipy.optimize.nnls
OURS = [("envelope", "quadratic"), ("envelope", "kl"), ("envelope", "is"), ("flat", "quadratic")]
# name: sample rate, n_fft, hop length, mel bands, scale
BANKS = {
    "44.1k/2048/128 slaney": (44100, 2048, 512, 128, "slaney"),
    "16k/400/80 htk": (16000, 400, 160, 80, "htk"),
    "22.05k/1024/80 slaney": (22050, 1024, 256, 80, "slaney"),
    "48k/2048/256 htk": (48000, 2048, 512, 256, "htk"),
}
FIRST_CALL = """
import time; start = time.perf_counter()
import torch, warnings; warnings.simplefilter("ignore")
from inbounds.audio import InverseMelScale
InverseMelScale(1025, 128, 44100)(torch.rand(128, 100))
print(time.perf_counter() - start)
"""

MEMORY = """
import threading, torch, warnings; warnings.simplefilter("ignore")
from inbounds.audio import InverseMelScale

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

invert, mel = InverseMelScale(1025, 128, 44100), torch.rand(128, 11715)
invert(mel)
before, most, done = resident(), [0.0], threading.Event()

def watch():
    while not done.wait(0.0005):
        most[0] = max(most[0], resident())

watcher = threading.Thread(target=watch)
watcher.start()
for _ in range(5):
    x = invert(mel)
    size = x.numel() * 4 / 2**20
    del x
done.set(); watcher.join()
print(round(most[0] - before - size))
"""

Way = Callable[[Tensor, Tensor], Tensor]  # mel, bank -> spectrogram


def ours(prior: str, distance: str) -> Way:
    return lambda mel, bank: inverse_mel_scale(mel, bank, prior=prior, distance=distance)


def torchaudios(mel: Tensor, bank: Tensor) -> Tensor:
    """relu(lstsq) with torchaudio's default driver, which full-rank banks survive."""
    return torch.relu(torch.linalg.lstsq(bank.T, mel, driver="gels").solution)


def shortcut(mel: Tensor, bank: Tensor) -> Tensor:
    return (torch.linalg.pinv(bank.double().T).to(mel.dtype) @ mel).clamp(min=0)


def librosas(mel: Tensor, bank: Tensor) -> Tensor:
    return torch.from_numpy(librosa.util.nnls(bank.T.numpy(), mel.numpy()))


def clips(folder: Path) -> Iterator[tuple[str, Tensor, int]]:
    for path in sorted([*folder.glob("*.wav"), *folder.glob("*.flac")]):
        sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
        yield path.stem, torch.from_numpy(sound.mean(axis=1)), rate


def music(folder: Path, rate: int) -> Tensor:
    """The music clips joined and repeated to the reference length, at a sample rate."""
    parts = [sound for _, sound, clip_rate in clips(folder) if clip_rate == 44100]
    whole = torch.cat(parts)
    whole = whole.repeat(-(-SECONDS * 44100 // len(whole)))[: SECONDS * 44100]
    return torch.from_numpy(soxr.resample(whole.numpy(), 44100, rate)) if rate != 44100 else whole


def magnitudes(sound: Tensor, n_fft: int, hop: int) -> Tensor:
    return torch.stft(sound, n_fft, hop, window=torch.hann_window(n_fft), return_complex=True).abs()


def bank_of(name: str) -> Tensor:
    rate, n_fft, _, n_mels, scale = BANKS[name]
    return mel_filter_bank(
        n_fft // 2 + 1, n_mels, rate, mel_scale=scale, norm="slaney" if scale == "slaney" else None
    )


def worst_frame(x: Tensor, mel: Tensor, bank: Tensor) -> float:
    size = mel.norm(dim=0)
    return float(((bank.T @ x - mel).norm(dim=0) / size)[size > 0].max())


def reference(folder: Path, repeats: int, with_librosa: bool) -> str:
    """Every way on the reference workload, taking turns."""
    name = next(iter(BANKS))
    rate, n_fft, hop, *_ = BANKS[name]
    truth, bank = magnitudes(music(folder, rate), n_fft, hop), bank_of(name)
    inverse = torch.linalg.pinv(bank.T)
    text = ""
    for power in (1, 2):
        mel = bank.T @ truth**power
        ways: dict[str, Way] = {
            f"ours: {prior}, {distance}": ours(prior, distance) for prior, distance in OURS
        }
        ways["relu(lstsq), torchaudio"] = torchaudios
        ways["clamp(pinv @ mel), pinv cached"] = lambda mel, bank: (inverse @ mel).clamp(min=0)
        turns = {key: partial(way, mel, bank) for key, way in ways.items()}
        taken = interleaved(turns, repeats)
        answers = {key: turn() for key, turn in turns.items()}
        if with_librosa:
            start = time.perf_counter()
            answers["librosa.util.nnls, once"] = librosas(mel, bank)
            taken["librosa.util.nnls, once"] = time.perf_counter() - start
        rows = []
        for key, x in answers.items():
            exact = float(mel_residual(x, mel, bank)), worst_frame(x, mel, bank)
            convergence = float(spectral_convergence(x ** (1 / power), truth))
            share = f"{taken[key] / taken['relu(lstsq), torchaudio']:.2f} ×"
            rows.append([key, f"{taken[key]:.3f}", share, *exact, f"{convergence:.2f}"])
        rows.append(scipys(mel, bank, truth, power))
        heads = ["way", "seconds", "of relu(lstsq)", "mel residual", "worst frame", "SC dB"]
        text += f"\nPower {power}, {mel.shape[1]} frames:\n\n" + table(heads, rows)
    return f"### Time: {SECONDS} s of music, {name}, float32\n\nMedians of {repeats}, in turns.\n{text}"


def scipys(mel: Tensor, bank: Tensor, truth: Tensor, power: int) -> list[object]:
    frames = torch.linspace(0, mel.shape[1] - 1, SAMPLED).long()
    start = time.perf_counter()
    A = bank.T.double().numpy()
    columns = [scipy.optimize.nnls(A, mel[:, t].double().numpy())[0] for t in frames]
    seconds = (time.perf_counter() - start) / SAMPLED * mel.shape[1]
    x, part = torch.tensor(columns).T.contiguous(), mel[:, frames].double()
    convergence = float(spectral_convergence(x ** (1 / power), truth[:, frames].double()))
    exact = float(mel_residual(x, part, bank.double())), worst_frame(x, part, bank.double())
    return [f"scipy.optimize.nnls, {SAMPLED} frames", f"~{seconds:.0f}", "", *exact, f"{convergence:.2f}"]


def exactness(folder: Path) -> str:
    """Clean mels met, and mels no spectrum has brought to SciPy's optimum, on four banks."""
    rows = []
    for name, (rate, n_fft, hop, n_mels, _) in BANKS.items():
        bank = bank_of(name)
        truth = magnitudes(music(folder, rate)[: 20 * rate], n_fft, hop)
        rank = int(torch.linalg.matrix_rank(bank.double()))
        for power in (1, 2):
            mel = bank.T @ truth**power
            x, info = inverse_mel_scale(mel, bank, full_output=True)
            noise = torch.randn(mel.shape, generator=torch.Generator().manual_seed(0))
            noisy = mel * torch.exp(0.1 * noise)
            y, noisy_info = inverse_mel_scale(noisy, bank, full_output=True)
            excess = max(excesses(y, noisy, bank))
            exact = float(mel_residual(x, mel, bank)), worst_frame(x, mel, bank), float(info.kkt.max())
            rows.append([name, f"{rank}/{n_mels}", power, *exact, excess, float(noisy_info.kkt.max())])
    heads = ["bank", "rank", "power", "mel residual", "worst frame", "worst certificate"]
    heads += ["noisy: worst excess over SciPy's ½‖Ax − b‖²", "noisy: worst certificate"]
    return (
        "### Exactness: 20 s of music, float32, defaults\n\nThe excess, relative to SciPy's optimum plus "
        f"1e-12 ‖b‖², is the worst of {SAMPLED} frames with 10 % log-normal noise.\n\n" + table(heads, rows)
    )


def excesses(x: Tensor, mel: Tensor, bank: Tensor) -> Iterator[float]:
    A = bank.T.double()
    for t in torch.linspace(0, mel.shape[1] - 1, SAMPLED).long().tolist():
        b = mel[:, t].double()
        _, norm = scipy.optimize.nnls(A.numpy(), b.numpy())
        ours = float((A @ x[:, t].double() - b).square().sum())
        size = float(b @ b)
        yield (ours - norm**2) / (norm**2 + 1e-12 * size) if size else ours


def quality(folder: Path) -> str:
    """Every clip at its own rate: 1024/256/80 for speech, 2048/512/128 for music."""
    ways = {f"ours: {prior}, {distance}": ours(prior, distance) for prior, distance in OURS}
    ways["clamp(pinv)"] = shortcut
    figures: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for _, sound, rate in clips(folder):
        n_fft, hop, n_mels = (1024, 256, 80) if rate == 16000 else (2048, 512, 128)
        bank = mel_filter_bank(n_fft // 2 + 1, n_mels, rate, mel_scale="slaney", norm="slaney")
        truth = magnitudes(sound, n_fft, hop)
        for power in (1, 2):
            for key, way in ways.items():
                x = way(bank.T @ truth**power, bank) ** (1 / power)
                both = float(spectral_convergence(x, truth)), float(log_spectral_distance(x, truth))
                figures.setdefault((key, power), []).append(both)
    rows = []
    for key in ways:
        means = [torch.tensor(figures[key, power]).mean(dim=0) for power in (1, 2)]
        both = (means[0] + means[1]) / 2
        rows.append([key, *(f"{a:.2f} / {b:.2f}" for a, b in (*means, both))])
    heads = ["way", "power 1", "power 2", "mean"]
    return "### Quality: mean over all clips, SC dB / LSD dB, lower is better\n\n" + table(heads, rows)


def first_call() -> str:
    """Seconds of a process that imports and inverts a hundred frames, the first time ever and after that."""
    with tempfile.TemporaryDirectory() as cache:
        seconds = []
        for _ in range(3):
            command = [sys.executable, "-c", FIRST_CALL]
            place = {**os.environ, "NUMBA_CACHE_DIR": cache}
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=place)
            seconds.append(float(done.stdout))
    return (
        "### First call\n\nA new process, import included: "
        f"{seconds[0]:.1f} s where no kernel has been compiled yet, {seconds[-1]:.1f} s after that.\n"
    )


def peak_memory() -> str:
    """MiB that inverting the reference workload takes beyond its input and output, after a first call."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    extra = done.stdout.strip()
    return f"### Memory\n\n11 715 frames of 128 → 1025 in float32: {extra} MiB beyond input and output.\n"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    beside = Path(__file__).parents[2] / "shared" / "audio"
    options.add_argument("--audio", type=Path, default=Path(os.environ.get("INBOUNDS_AUDIO", beside)))
    options.add_argument("--repeats", type=int, default=7)
    options.add_argument("--no-librosa", action="store_true", help="leave out the slow rival")
    given = options.parse_args()
    warnings.simplefilter("ignore", UserWarning)  # banks without full rank are part of the point
    parts = [
        f"## Mel inversion\n\n{machine('librosa', 'scipy')}\n",
        reference(given.audio, given.repeats, not given.no_librosa),
        exactness(given.audio),
        quality(given.audio),
        peak_memory(),
        first_call(),
    ]
    write("inverse_mel", "\n".join(parts))


if __name__ == "__main__":
    main()
