"""Bounds on the pixels of a picture, kept before any engine, trainer or endpoint sees it."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

QUALITY = 95  # of a JPEG that is written again
LONGEST = 200  # times as long as wide: the processors of the Qwen family refuse more


@dataclass(frozen=True)
class Bounds:
    """Least and most pixels of a picture; `most` = 0: as many as it has."""

    least: int = 0
    most: int = 0

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """`size` (width, height) brought within the bounds, its sides in proportion.

        Sides are whole, so where the bounds all but meet, an enlarged picture may have one row and
        one column more than `most` allows. Source: method, section 9.
        """
        width, height = size
        pixels = width * height
        if pixels < self.least:
            factor = math.sqrt(self.least / pixels)
            return math.ceil(width * factor), math.ceil(height * factor)
        if 0 < self.most < pixels:
            factor = math.sqrt(self.most / pixels)
            return max(1, math.floor(width * factor)), max(1, math.floor(height * factor))
        return size

    def scaled(self, data: bytes, small: bool = False) -> bytes:
        """The encoded picture within the bounds: the same bytes if it is so already, else a PNG.

        Transparency becomes white, for engines and endpoints would each drop it in their own way.
        `small`: what was a JPEG stays one, a fraction of a photograph's PNG. OSError or ValueError
        if it cannot be read, or one side would be more than 200 times the other.
        """
        from PIL import Image

        with readable(), Image.open(io.BytesIO(data)) as image:
            size = self.size(image.size)
            if too_long(size):
                raise ValueError(f"a picture of {image.width} x {image.height} pixels")
            if size == image.size and not image.has_transparency_data:
                return data
            buffer = io.BytesIO()
            resized = flattened(image)
            if size != image.size:
                resized = resized.resize(size, Image.Resampling.BICUBIC)
            if small and image.format == "JPEG":
                resized.save(buffer, "JPEG", quality=QUALITY, subsampling=0)
            else:
                resized.save(buffer, "PNG")
            return buffer.getvalue()


ANY_SIZE = Bounds()


def flattened(image: Image.Image) -> Image.Image:
    """The picture in RGB, transparency showing white, as on a page."""
    from PIL import Image

    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


@contextmanager
def readable() -> Iterator[None]:
    """Turns Pillow's further errors about what it reads into ValueError."""
    from PIL import Image

    try:
        yield
    except (SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(str(error)) from None


def picture_size(data: bytes) -> tuple[int, int]:
    """(width, height) of an encoded picture."""
    from PIL import Image

    with readable(), Image.open(io.BytesIO(data)) as image:
        return image.size


def too_long(size: tuple[int, int]) -> bool:
    """Whether a processor would refuse a picture of `size` for its shape."""
    return max(size) > LONGEST * min(size)
