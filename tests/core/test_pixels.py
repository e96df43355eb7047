"""Pictures are brought within the bounds, keep their shape, and else stay byte for byte."""

import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from zppo_core.data.table import encode_images
from zppo_core.pixels import ANY_SIZE, Bounds, too_long

SIDES = st.tuples(st.integers(1, 4000), st.integers(1, 4000)).filter(lambda s: not too_long(s))


@given(SIDES, st.integers(200, 10**6), st.integers(2, 40))
def test_sizes_are_within_the_bounds_and_keep_their_shape(size, least, times) -> None:
    assert ANY_SIZE.size(size) == size
    bounds = Bounds(least, least * times)
    width, height = bounds.size(size)
    if least <= math.prod(size) <= least * times:
        assert (width, height) == size
        return
    wanted = least if math.prod(size) < least else least * times
    # no side is more than a pixel from the one that would be meant
    exact = math.sqrt(wanted * size[0] / size[1]), math.sqrt(wanted * size[1] / size[0])
    assert abs(width - exact[0]) <= 1
    assert abs(height - exact[1]) <= 1
    if wanted == least:
        assert width * height >= least
    else:
        assert width * height <= max(wanted, max(width, height))


def encoded(size: tuple[int, int], form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").resize(size).save(buffer, form)
    return buffer.getvalue()


def test_a_picture_within_the_bounds_is_the_same_bytes_and_others_are_the_same_picture() -> None:
    data = encoded((60, 40), "JPEG")
    assert Bounds(2400, 2400).scaled(data) == ANY_SIZE.scaled(data) == data
    cases = [
        (Bounds(0, 600), False, "PNG", (30, 20)), (Bounds(9600, 0), False, "PNG", (120, 80)),
        (Bounds(0, 600), True, "JPEG", (30, 20)),
    ]  # fmt: skip
    assert Bounds(0, 600).scaled(encoded((60, 40)), small=True).startswith(b"\x89PNG")
    for bounds, small, form, size in cases:
        scaled = Image.open(io.BytesIO(bounds.scaled(data, small)))
        assert (scaled.format, scaled.size) == (form, size)
        before, after = (i.convert("L").resize((3, 2)).tobytes() for i in
                         (Image.open(io.BytesIO(data)), scaled))  # fmt: skip
        assert max(abs(a - b) for a, b in zip(before, after, strict=True)) <= 4


def test_a_shape_that_processors_refuse_is_refused_before_them() -> None:
    assert ANY_SIZE.scaled(encoded((200, 1)))
    with pytest.raises(ValueError, match="201 x 1"):
        ANY_SIZE.scaled(encoded((201, 1)))
    with pytest.raises(OSError, match="cannot identify"):
        ANY_SIZE.scaled(b"no picture")
    # 200 to 1, but not once its sides are whole
    assert Bounds(0, 100_000).size((20_000, 100)) == (4472, 22)
    with pytest.raises(ValueError, match="20000 x 100"):
        Bounds(0, 100_000).scaled(encoded((20_000, 100)))


def test_what_pillow_calls_a_bomb_or_a_broken_chunk_is_a_value_error(monkeypatch) -> None:
    data = encoded((60, 40))
    noise = io.BytesIO()
    Image.effect_noise((500, 500), 90.0).save(noise, "PNG")  # its bytes fill several chunks
    first, second, *rest = noise.getvalue().split(b"IDAT")
    broken = b"IDAT".join([first, second]) + b"ID\x00T" + b"IDAT".join(rest)
    with pytest.raises(ValueError, match="chunk"):
        Bounds(0, 100).scaled(broken)
    with pytest.raises(ValueError, match="chunk"):
        encode_images(broken)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for read in (ANY_SIZE.scaled, encode_images):
        with pytest.raises(ValueError, match="decompression bomb"):
            read(data)
