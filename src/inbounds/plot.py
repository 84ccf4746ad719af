"""Pictures of spectrograms: small images for a page, and one figure with everything side by side.

All share a frequency axis spaced in mels, a range of 80 dB under the source's maximum, and ±20 dB for
differences, so that they can be compared by eye.
"""

import io
from collections.abc import Mapping
from typing import Any, NamedTuple

import matplotlib as mpl
import matplotlib.image
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

RANGE = 80.0  # dB under the source's maximum
DIFFERENCE = 20.0  # dB, either way
HEIGHT, WIDTH = 320, 1200  # pixels of an image, at most

# Red where the estimate is too loud, blue where it is too quiet, and the more transparent the less it
# differs: such a map can stand on a light page and on a dark one.
TOO_LOUD, TOO_QUIET = "#e5484d", "#3e7bfa"
DIFFERENCES = LinearSegmentedColormap.from_list(
    "differences", [(0.0, TOO_QUIET), (0.5, TOO_QUIET + "00"), (0.5, TOO_LOUD + "00"), (1.0, TOO_LOUD)]
)


class Theme(NamedTuple):
    """The colours of a figure's page."""

    text: str
    faint: str
    background: str


THEMES = {
    "light": Theme("#1c2024", "#8b8d98", "#ffffff"),
    "dark": Theme("#edeef0", "#777b84", "#0d1117"),
}


class Axis(NamedTuple):
    """Where frequencies stand on an axis from 0 (bottom) to 1 (top), evenly spaced in mels."""

    nyquist: float

    def position(self, hertz: float) -> float:
        """The height of a frequency."""
        return _mels(hertz) / _mels(self.nyquist)

    def ticks(self) -> dict[str, float]:
        """Labels and heights of round frequencies, far enough apart to be read."""
        shown: dict[str, float] = {}
        for hertz in (100, 200, 500, 1000, 2000, 4000, 8000, 16000, 32000, 64000):
            height = self.position(hertz)
            if 0.04 < height < 0.97 and all(abs(height - other) > 0.09 for other in shown.values()):
                shown[f"{hertz // 1000} kHz" if hertz >= 1000 else f"{hertz} Hz"] = height
        return shown


def spectrogram_image(magnitude: Float[Tensor, "n_stft time"], sample_rate: float, peak: float) -> bytes:
    """A PNG of the spectrogram without axes; `peak` is the magnitude that has the brightest colour."""
    return _png(_decibels(_pooled(magnitude), peak), mpl.colormaps["magma"], -RANGE, 0.0, sample_rate)


def difference_image(
    estimate: Float[Tensor, "n_stft time"],
    reference: Float[Tensor, "n_stft time"],
    sample_rate: float,
    peak: float,
) -> bytes:
    """A PNG of estimate over reference in dB, both raised to the floor of the spectrograms."""
    difference = _decibels(_pooled(estimate), peak) - _decibels(_pooled(reference), peak)
    return _png(difference, DIFFERENCES, -DIFFERENCE, DIFFERENCE, sample_rate)


def comparison_figure(
    spectrograms: Mapping[str, Float[Tensor, "n_stft time"]],
    *,
    sample_rate: float,
    seconds: float,
    captions: Mapping[str, str] | None = None,
    theme: str = "light",
    dpi: int = 150,
) -> bytes:
    """A PNG with every spectrogram above its difference from the first, which is the source.

    Args:
        spectrograms: magnitudes by title; the source comes first.
        sample_rate: in Hz. seconds: duration.
        captions: a line under a title.
        theme: "light" or "dark". dpi: pixels an inch; a spectrogram is 3.2 inches wide.
    """
    colours = THEMES[theme]
    titles = list(spectrograms)
    source = spectrograms[titles[0]]
    peak = float(source.max()) or 1.0
    with mpl.rc_context({"font.family": "sans-serif", "font.size": 10, "text.color": colours.text}):
        figure = Figure(figsize=(3.2 * len(titles), 5.2), layout="constrained", facecolor=colours.background)
        FigureCanvasAgg(figure)
        axes = figure.subplots(2, len(titles), squeeze=False, sharex=True, sharey=True)
        figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)  # type: ignore[union-attr]
        loudness = difference = None
        for column, title in enumerate(titles):
            level = _decibels(_pooled(spectrograms[title]), peak)
            loudness = _show(axes[0, column], level, "magma", (-RANGE, 0.0), sample_rate, seconds)
            heading = f"{title}\n{(captions or {}).get(title, ' ')}"
            axes[0, column].set_title(heading, loc="left", fontsize=10, color=colours.text, linespacing=1.4)
            if column:
                change = level - _decibels(_pooled(source), peak)
                limits = (-DIFFERENCE, DIFFERENCE)
                difference = _show(axes[1, column], change, DIFFERENCES, limits, sample_rate, seconds)
        for axis in axes.flat:
            _dress(axis, sample_rate, colours)
        axes[1, 0].set_visible(False)
        for column in range(len(titles)):
            axes[1, column].set_xlabel("seconds", color=colours.faint)
        axes[0, 0].tick_params(labelbottom=True)
        if loudness is not None:
            _bar(figure, loudness, axes[0, -1], "dB", colours)
        if difference is not None:
            _bar(figure, difference, axes[1, -1], "dB louder than the source", colours)
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=dpi, facecolor=colours.background)
    return buffer.getvalue()


def _show(
    axis: Any, values: np.ndarray, colours: Any, limits: tuple[float, float], rate: float, seconds: float
) -> Any:
    return axis.imshow(
        _on_mel_axis(values, rate),
        origin="lower",
        aspect="auto",
        cmap=colours,
        vmin=limits[0],
        vmax=limits[1],
        extent=(0.0, seconds, 0.0, 1.0),
        interpolation="nearest",
    )


def _dress(axis: Any, sample_rate: float, colours: Theme) -> None:
    ticks = Axis(sample_rate / 2).ticks()
    axis.set_yticks(list(ticks.values()), list(ticks))
    axis.tick_params(colors=colours.faint, length=2, labelsize=8)
    axis.set_facecolor("none")
    for spine in axis.spines.values():
        spine.set_visible(False)


def _bar(figure: Figure, image: Any, axis: Any, label: str, colours: Theme) -> None:
    bar = figure.colorbar(image, ax=axis, fraction=0.05, pad=0.02)
    bar.set_label(label, color=colours.faint)
    bar.ax.set_facecolor(colours.background)
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(colors=colours.faint, length=2, labelsize=8)


def _png(values: np.ndarray, colours: Any, low: float, high: float, sample_rate: float) -> bytes:
    shown = np.clip((_on_mel_axis(values, sample_rate) - low) / (high - low), 0, 1)
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, colours(shown), origin="lower", format="png")
    return buffer.getvalue()


def _on_mel_axis(values: np.ndarray, sample_rate: float) -> np.ndarray:
    """Rows of bins (n_stft, time) -> HEIGHT rows evenly spaced in mels."""
    heights = (np.arange(HEIGHT) + 0.5) / HEIGHT
    hertz = 700 * (10 ** (heights * _mels(sample_rate / 2) / 2595) - 1)
    bins = np.clip(hertz / (sample_rate / 2) * (len(values) - 1), 0, len(values) - 1)
    low = np.minimum(bins.astype(int), len(values) - 2)
    share = (bins - low)[:, None]
    return values[low] * (1 - share) + values[low + 1] * share


def _pooled(magnitude: Tensor) -> Float[Tensor, "n_stft shown"]:
    """At most WIDTH columns, each the root mean square of the frames it stands for."""
    frames = magnitude.shape[1]
    if frames <= WIDTH:
        return magnitude
    return torch.nn.functional.adaptive_avg_pool1d(magnitude.square(), WIDTH).sqrt()


def _decibels(magnitude: Tensor, peak: float) -> np.ndarray:
    floor = 10 ** (-RANGE / 20)
    return 20 * (magnitude / peak).clamp(min=floor).log10().cpu().numpy()


def _mels(hertz: float) -> float:
    return 2595 * np.log10(1 + hertz / 700)
