"""How an encoded picture is read, and bounds on its pixels: alike in training and evaluation.

A picture is upright (its EXIF orientation applied, as `datasets` does), 8 bits a channel, RGB, and
transparency shows white, before any engine, trainer or endpoint sees it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

QUALITY = 95  # of a JPEG that is written again
JPEGS = ("JPEG", "MPO")  # MPO: a telephone's JPEG with further ones behind it
KEPT = ("PNG", *JPEGS)  # formats whose bytes may stay as they are
FORMATS = (*KEPT, "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO", "TGA", "PCX")
DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N")  # grey of more than 8 bits
ORIENTATION = 0x0112  # EXIF tag
PNG_EXIF = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")  # where a PNG may hold it
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

        with opened(data) as image:
            before = upright_size(image)
            size = self.size(before)
            if too_long(size):
                raise ValueError(f"a picture of {before[0]} x {before[1]} pixels")
            if size == before and is_plain(image):
                return data
            resized = as_rgb(image)
            if size != before:
                resized = resized.resize(size, Image.Resampling.BICUBIC)
            buffer = io.BytesIO()
            if small and image.format in JPEGS:
                resized.save(buffer, "JPEG", quality=QUALITY, subsampling=0)
            else:
                resized.save(buffer, "PNG")
            return buffer.getvalue()


ANY_SIZE = Bounds()


def as_rgb(image: Image.Image) -> Image.Image:
    """The picture as every model sees it: upright, 8 bits, RGB, transparency showing white.

    16 bits of grey are scaled to 8, where Pillow alone would cut them off at 255. Palettes, CMYK
    and the rest are Pillow's own conversion, as the processors of the field do it.
    """
    from PIL import Image, ImageOps

    if orientation(image) > 1:
        image = ImageOps.exif_transpose(image)
    if image.mode in DEEP or image.mode == "F":
        image = _eight_bits(image)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of more than 8 bits as 8: of 65,535 where it goes beyond 255, reals also of 1."""
    import numpy as np
    from PIL import Image

    clear = image.info.get("transparency")
    values_HW = np.nan_to_num(np.asarray(image, dtype=np.float64))
    most = float(values_HW.max(initial=0))
    if image.mode.startswith("I;16") or most > 255:
        grey_HW = values_HW / 257
    else:
        grey_HW = values_HW * 255 if image.mode == "F" and most <= 1 else values_HW
    grey = Image.fromarray(np.clip(np.rint(grey_HW), 0, 255).astype(np.uint8))
    if isinstance(clear, int):
        grey.putalpha(Image.fromarray(np.where(values_HW == clear, 0, 255).astype(np.uint8)))
    return grey


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) to 8, as far as Pillow has not applied it itself."""
    if image.format == "TIFF":  # turned when it is decoded, its size said so before
        return 1
    try:
        tag = image.getexif().get(ORIENTATION, 1)
    except Exception:  # a damaged tag is no reason to lose the picture
        return 1
    return tag if isinstance(tag, int) and 1 <= tag <= 8 else 1


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) once the EXIF orientation is applied."""
    width, height = image.size
    return (height, width) if orientation(image) >= 5 else (width, height)


def is_plain(image: Image.Image) -> bool:
    """Whether every reader sees the encoded picture as `as_rgb` does, so that its bytes may stay.

    CMYK is not: what stands behind an endpoint may convert it otherwise.
    """
    stays = image.format in KEPT and image.mode in ("RGB", "L", "P", "1")
    return stays and not image.has_transparency_data and orientation(image) == 1


def read_picture(data: bytes) -> Image.Image:
    """An encoded picture decoded to its end, by `as_rgb`; OSError or ValueError if unreadable."""
    with opened(data) as image:
        image.load()
        return as_rgb(image)


def plain_bytes(data: bytes) -> bytes:
    """An encoded picture as PNG or JPEG that every reader sees alike; its own bytes if it is so.

    OSError or ValueError if it cannot be decoded to its end.
    """
    with opened(data) as image:
        image.load()
        if is_plain(image):
            return data
        buffer = io.BytesIO()
        as_rgb(image).save(buffer, "PNG")
        return buffer.getvalue()


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    """Those of FORMATS that this build of Pillow reads."""
    from PIL import Image

    Image.init()
    return tuple(f for f in FORMATS if f in Image.OPEN)


@contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """An encoded picture, its pixels not yet decoded; what Pillow raises is OSError or ValueError.

    Only formats of pictures are tried: others hand their bytes to further programs.
    """
    from PIL import Image

    with readable(), Image.open(io.BytesIO(data), formats=_formats()) as image:
        if image.format == "PNG" and not any(mark in data for mark in PNG_EXIF):
            image.info.setdefault("exif", b"")  # else asking for it decodes the picture
        yield image


@contextmanager
def readable() -> Iterator[None]:
    """Turns Pillow's further errors about what it reads into ValueError."""
    try:
        yield
    except (OSError, ValueError):
        raise
    except Exception as error:  # Pillow raises many kinds: SyntaxError, struct.error, its bomb's
        raise ValueError(str(error) or type(error).__name__) from None


def picture_size(data: bytes) -> tuple[int, int]:
    """(width, height) of an encoded picture as it is seen; OSError or ValueError if unreadable."""
    with opened(data) as image:
        return upright_size(image)


def too_long(size: tuple[int, int]) -> bool:
    """Whether a processor would refuse a picture of `size` for its shape."""
    return max(size) > LONGEST * min(size)
