"""Pictures scaled into the protocol's bounds, the same for every engine and endpoint."""

from __future__ import annotations

import io
import math

from eval.rows import UnreadableError

LONGEST = 200  # times as long as wide: the processors of the Qwen family refuse more


def within(data: bytes, low: int, high: int) -> bytes:
    """The picture with at least `low` and at most `high` pixels, its sides in proportion.

    Unchanged bytes if it is so already, else a PNG. UnreadableError if one side is more than 200
    times the other.
    """
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
        if max(width, height) > LONGEST * min(width, height):
            raise UnreadableError(f"a picture of {width} x {height} pixels")
        pixels = width * height
        if low <= pixels <= high:
            return data
        factor = math.sqrt((low if pixels < low else high) / pixels)
        whole = math.ceil if pixels < low else math.floor
        size = (max(1, whole(width * factor)), max(1, whole(height * factor)))
        buffer = io.BytesIO()
        image.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(buffer, "PNG")
        return buffer.getvalue()
