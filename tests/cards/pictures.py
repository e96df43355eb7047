"""Pictures of cards for the docs: python tests/cards/pictures.py CARD.html PICTURE.png

`--at` is what stands at the top (a CSS selector), `--do` an expression that runs first, `--height`
how much is shown. Pictures have few colours, so that they are small.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

from browser import browser
from PIL import Image

READY = (
    "!document.querySelector('.transcripts') || document.documentElement.dataset.ready === 'yes'"
)


def main() -> None:
    """Write the picture and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("card", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=900)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--at", default="main")
    parser.add_argument("--do", default="0")
    options = parser.parse_args()
    with browser() as chromium:
        opened = chromium.open(options.card.absolute(), options.width, options.dark, READY)
        assert opened.errors == [], opened.errors
        chromium.run(f"(() => {{ {options.do}; return new Promise(r => setTimeout(r, 300)) }})()")
        at = f"document.querySelector({options.at!r}).getBoundingClientRect().top + scrollY"
        data = chromium.png(max(0, chromium.run(at) - 12), options.height)
    image = Image.open(io.BytesIO(data)).convert("RGB")
    image.quantize(96, dither=Image.Dither.NONE).save(options.picture, optimize=True)
    print(f"{options.picture}: {image.size}, {options.picture.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
