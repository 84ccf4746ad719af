"""The README's picture: the bundled clip, what three ways make of its mels, and how they differ.

    python docs/pictures.py

writes docs/comparison-light.png and docs/comparison-dark.png.
"""

from importlib.resources import files
from io import BytesIO
from pathlib import Path

from PIL import Image

from inbounds.audio.io import read_audio
from inbounds.cli.options import usual_spec
from inbounds.compare import picture, study
from inbounds.plot import THEMES

HERE = Path(__file__).parent
CLIP = "speech_austen_0930.wav"


def main() -> None:
    """Study the clip and write the pictures."""
    clip = read_audio(str(files("inbounds.audio").joinpath("data", CLIP)))
    result = study(clip, usual_spec(clip.sample_rate), name=CLIP)
    for theme in THEMES:
        drawn = Image.open(BytesIO(picture(result, theme=theme, dpi=100))).convert("RGB")
        drawn.quantize(256).save(HERE / f"comparison-{theme}.png", optimize=True)


if __name__ == "__main__":
    main()
