"""The page: pictures, players and the table in one HTML file."""

import base64
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import NamedTuple

from inbounds.compare.measure import COLUMNS, Column, Figures, shown
from inbounds.plot import DIFFERENCE, RANGE, Axis

SCORES = ("convergence", "log_spectral_distance", "pesq")  # shown beside the player; the table has all


class Row(NamedTuple):
    """One sound on the page; the source has no difference and no figures."""

    title: str
    description: str
    remark: str
    sound: str  # its address: `data_url` of a file, or the name of one beside the page
    spectrogram: bytes  # PNG
    difference: bytes | None  # PNG
    figures: Figures | None


def page(
    rows: Sequence[Row],
    *,
    title: str,
    facts: Sequence[str],
    notes: Sequence[str],
    nyquist: float,
    seconds: float,
) -> str:
    """The HTML document.

    Args:
        rows: the source first.
        title: of the clip.
        facts: short phrases under the title; notes: sentences at the end.
        nyquist: the top of the pictures, in Hz. seconds: their width.
    """
    scale, clock = _scale(nyquist), _clock(seconds)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}: from mel to sound</title>
<link rel="icon" href="data:,">
<style>
{_resource("page.css")}</style>
</head>
<body>
<main>
<header>
<h1>{escape(title)}, from mel to sound</h1>
<p class="facts">{"".join(f"<span>{escape(fact)}</span>" for fact in facts)}</p>
</header>
<p class="hint"><kbd>1</kbd> to <kbd>{len(rows)}</kbd> switch between the sounds without losing the place, \
<kbd>space</kbd> stops and goes on; click a picture to listen from there.</p>
{"".join(_way(row, scale, clock) for row in rows)}
<h3>Measured</h3>
{_table([row for row in rows if row.figures])}
<footer>{"".join(f"<p>{escape(note)}</p>" for note in notes)}</footer>
</main>
<script>
{_resource("page.js")}</script>
</body>
</html>
"""


def data_url(kind: str, content: bytes) -> str:
    """A file as an address that holds all of it; `kind` is its media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _way(row: Row, scale: str, clock: str) -> str:
    remark = f'<p class="remark">{escape(row.remark)}</p>' if row.remark else ""
    if row.difference is None:
        second = _legend()
    else:
        second = _figure(f"{row.title} against the source", row.difference, scale, clock)
    return f"""<article class="way">
<div class="about">
<h2>{escape(row.title)}</h2>
<p>{escape(row.description)}</p>
{remark}{_scores(row.figures)}
<audio controls preload="auto" src="{escape(row.sound)}" aria-label="{escape(row.title)}"></audio>
</div>
{_figure(f"{row.title}, spectrogram", row.spectrogram, scale, clock)}
{second}
</article>
"""


def _figure(caption: str, picture: bytes, scale: str, clock: str) -> str:
    return f"""<figure>
<figcaption>{escape(caption)}</figcaption>
<div class="plot">
<div class="scale" aria-hidden="true">{scale}</div>
<div class="picture">
<img src="{data_url("image/png", picture)}" alt="{escape(caption)}"><div class="head"></div>
</div>
<div class="clock" aria-hidden="true">{clock}</div>
</div>
</figure>"""


def _legend() -> str:
    return f"""<div class="keys">
<div class="legend">−{RANGE:g} dB <i class="magma"></i> the source's maximum</div>
<div class="legend">−{DIFFERENCE:g} dB <i class="change"></i> +{DIFFERENCE:g} dB: too quiet, too loud</div>
</div>"""


def _scores(figures: Figures | None) -> str:
    if figures is None:
        return ""
    entries = []
    for name in SCORES:
        column, value = COLUMNS[name], getattr(figures, name)
        if value is not None:
            text = f"{_typeset(shown(name, value))} <small>{column.unit}</small>"
            entries.append(f"<div><dt>{column.title}</dt><dd>{text}</dd></div>")
    return f'<dl class="scores">{"".join(entries)}</dl>'


def _table(rows: Sequence[Row]) -> str:
    present = [name for name in COLUMNS if any(getattr(row.figures, name) is not None for row in rows)]
    heads = "".join(f'<th scope="col">{_heading(COLUMNS[name])}</th>' for name in present)
    lines = "".join(
        f'<tr><th scope="row">{escape(row.title)}</th>'
        + "".join(_cell(name, row, rows) for name in present)
        + "</tr>"
        for row in rows
    )
    meaning = "".join(
        f"<dt>{COLUMNS[name].title}</dt><dd>{escape(COLUMNS[name].meaning)}; "
        f"{'less' if COLUMNS[name].less_is_better else 'more'} is better</dd>"
        for name in present
    )
    return f"""<div class="scroll"><table>
<thead><tr><th scope="col">Way</th>{heads}</tr></thead>
<tbody>{lines}</tbody>
</table></div>
<dl class="meaning">{meaning}</dl>"""


def _heading(column: Column) -> str:
    return f"{column.title}, {column.unit}" if column.unit else column.title


def _cell(name: str, row: Row, rows: Sequence[Row]) -> str:
    """A figure; the best are marked, unless all look the same."""
    known = [value for other in rows if (value := getattr(other.figures, name)) is not None]
    best = shown(name, (min if COLUMNS[name].less_is_better else max)(known))
    text = shown(name, getattr(row.figures, name))
    distinct = {shown(name, value) for value in known}
    mark = ' class="best"' if text == best and len(distinct) > 1 else ""
    return f"<td{mark}>{_typeset(text)}</td>"


def _typeset(text: str) -> str:
    """A figure as people write it: true minus signs, powers of ten, a dash where there is none."""
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{mantissa}·10<sup>{int(exponent)}</sup>"
    return "–" if text == "-" else text.replace("-", "−")


def _scale(nyquist: float) -> str:
    return "".join(
        f'<span style="bottom:{height:.2%}">{label}</span>' for label, height in Axis(nyquist).ticks().items()
    )


def _clock(seconds: float) -> str:
    steps = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
    step = next((step for step in steps if seconds / step <= 7), seconds)
    times = [index * step for index in range(int(seconds / step) + 1)]
    return "".join(f'<span style="left:{time / seconds:.2%}">{time:g} s</span>' for time in times)


def _resource(name: str) -> str:
    return files("inbounds.compare").joinpath(name).read_text("utf-8")
