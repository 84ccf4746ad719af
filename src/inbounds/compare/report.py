"""A study written down: sounds, table, pictures and the page that holds them all."""

import json
from pathlib import Path
from typing import Any

from inbounds import plot
from inbounds.audio.files import replacing
from inbounds.audio.io import encode_audio, write_audio
from inbounds.compare.measure import COLUMNS, missing_measures
from inbounds.compare.page import Row, data_url, page
from inbounds.compare.study import Study
from inbounds.compare.ways import WAYS
from inbounds.versions import machine

MOST_EMBEDDED = 2**24  # samples of all channels, some 25 MB of FLAC for each way; browsers choke on more

SPEC_FIELDS = ("sample_rate", "n_fft", "hop_length", "n_mels", "f_min", "f_max", "mel_scale", "norm", "power")


def write_report(study: Study, folder: Path) -> Path:
    """Write index.html, table.json, spectrograms.png and the WAVs.

    The page holds its sounds and needs no other file, unless they are long: then it plays the WAVs.

    Returns the page's path. The folder is made if need be.
    """
    for key, samples in study.sounds.items():
        write_audio(folder / _wav(key), samples, study.clip.sample_rate)
    table = json.dumps(_table(study), indent=2, ensure_ascii=False)
    _write(folder / "table.json", table.encode() + b"\n")
    _write(folder / "spectrograms.png", picture(study))
    _write(folder / "index.html", _page(study).encode())
    return folder / "index.html"


def picture(study: Study, *, theme: str = "light", dpi: int = 150) -> bytes:
    """A PNG with the spectrograms and their differences from the source side by side."""
    titles = {"source": "source"} | {way.key: way.title for way in WAYS}
    captions = {
        titles[key]: f"spectral convergence {row.convergence:.1f} dB".replace("-", "−")
        for key, row in study.figures.items()
        if row.convergence is not None
    }
    return plot.comparison_figure(
        {titles[key]: magnitude for key, magnitude in study.magnitudes.items()},
        sample_rate=study.problem.spec.sample_rate,
        seconds=study.problem.seconds,
        captions=captions,
        theme=theme,
        dpi=dpi,
    )


def _table(study: Study) -> dict[str, Any]:
    """What table.json holds."""
    channels, samples = study.clip.samples.shape
    return {
        "clip": study.name,
        "channels": channels,
        "samples": samples,
        "sample_rate": study.clip.sample_rate,
        "spec": {field: getattr(study.problem.spec, field) for field in SPEC_FIELDS},
        "iterations": study.problem.iterations,
        "seed": study.problem.seed,
        "machine": machine(),
        "columns": {key: column.meaning for key, column in COLUMNS.items()},
        "ways": {way.key: {"what": way.description} | study.figures[way.key]._asdict() for way in WAYS},
        "remarks": study.remarks,
    }


def _page(study: Study) -> str:
    channels, samples = study.clip.samples.shape
    rate, spec = study.clip.sample_rate, study.problem.spec
    rows = [_row(study, "source", "Source", "The sound that the mel spectrogram was made of.")]
    rows += [_row(study, way.key, way.title, way.description) for way in WAYS]
    facts = [
        f"{samples / rate:.2f} s",
        f"{rate / 1000:g} kHz",
        {1: "mono", 2: "stereo"}.get(channels, f"{channels} channels"),
        f"n_fft {spec.n_fft}, hop {spec.hop_length}, {spec.n_mels} {spec.mel_scale} mels",
        {1.0: "magnitudes", 2.0: "energies"}.get(spec.power, f"power {spec.power:g}"),
        f"{study.problem.iterations} iterations",
    ]
    return page(
        rows,
        title=study.name,
        facts=facts,
        notes=_notes(study),
        nyquist=spec.sample_rate / 2,
        seconds=study.problem.seconds,
    )


def _row(study: Study, key: str, title: str, description: str) -> Row:
    rate = study.problem.spec.sample_rate
    magnitude, true = study.magnitudes[key], study.magnitudes["source"]
    peak = float(true.max()) or 1.0
    return Row(
        title=title,
        description=description,
        remark=study.remarks.get(key, ""),
        sound=_address(study, key),
        spectrogram=plot.spectrogram_image(magnitude, rate, peak),
        difference=None if key == "source" else plot.difference_image(magnitude, true, rate, peak),
        figures=study.figures.get(key),
    )


def _address(study: Study, key: str) -> str:
    """What the page's player plays."""
    if _is_long(study):
        return _wav(key)
    return data_url(*encode_audio(study.sounds[key], study.clip.sample_rate))


def _is_long(study: Study) -> bool:
    return study.clip.samples.numel() > MOST_EMBEDDED


def _wav(key: str) -> str:
    return f"{key}.wav"


def _notes(study: Study) -> list[str]:
    notes = [
        "Every way starts from the same uncompressed mel spectrogram, with the same seed "
        f"({study.problem.seed}) and the same number of iterations, after one run on a short piece. "
        "torchaudio's and librosa's ways are implementations of our own of what those libraries publish: "
        "their times are not the libraries'.",
        machine(),
    ]
    if _is_long(study):
        notes.insert(1, "The sounds are too long to be part of this page: they are the WAV files beside it.")
    if missing := missing_measures():
        notes.insert(1, f"Not installed, and so not measured: {', '.join(missing)}.")
    return notes


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)
