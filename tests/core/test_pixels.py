"""Pictures are brought within the bounds, keep their shape, and else stay byte for byte."""

import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from eval.rows import checked
from zppo_core.data.pixels import (
    ANY_SIZE,
    Bounds,
    picture_size,
    plain_bytes,
    read_picture,
    too_long,
)
from zppo_core.data.table import encode_images
from zppo_core.data.zppo77k.rows import open_image

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
        (Bounds(0, 600), False, "PNG", (30, 20)),
        (Bounds(9600, 0), False, "PNG", (120, 80)),
        (Bounds(0, 600), True, "JPEG", (30, 20)),
    ]
    assert Bounds(0, 600).scaled(encoded((60, 40)), small=True).startswith(b"\x89PNG")
    for bounds, small, form, size in cases:
        scaled = Image.open(io.BytesIO(bounds.scaled(data, small)))
        assert (scaled.format, scaled.size) == (form, size)
        before, after = (
            i.convert("L").resize((3, 2)).tobytes() for i in (Image.open(io.BytesIO(data)), scaled)
        )
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
    # Pillow's own default: scorers that other tests import allow cut pictures in the whole process
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)
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


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def quarters(width: int = 64, height: int = 48) -> Image.Image:
    """Four flat colours: which way up it is shows."""
    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", (width // 2, 0, width, height // 2))
    image.paste("lime", (0, height // 2, width // 2, height))
    return image


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("turned", range(1, 9))
def test_pictures_are_upright_as_datasets_reads_them(form: str, turned: int) -> None:
    import datasets

    exif = Image.Exif()
    exif[0x0112] = turned
    options = {} if form == "TIFF" else {"exif": exif}
    if form == "TIFF":
        options = {"tiffinfo": {0x0112: turned}}
    data = saved(quarters(), form, **options)
    wanted = datasets.Image().decode_example({"bytes": data, "path": None}).convert("RGB")
    assert picture_size(data) == wanted.size == ((64, 48) if turned < 5 else (48, 64))
    ways = (
        read_picture(data),
        *(
            Image.open(io.BytesIO(way(data)))
            for way in (
                ANY_SIZE.scaled,
                plain_bytes,
                lambda d: encode_images(d)[0],
                lambda d: checked(d, "x"),
            )
        ),
    )
    for seen in ways:
        assert seen.getexif().get(0x0112, 1) == 1
        assert seen.convert("RGB").tobytes() == wanted.tobytes()
    shrunk = Image.open(io.BytesIO(Bounds(0, 1000).scaled(data, small=True)))
    assert (shrunk.width > shrunk.height) == (turned < 5)
    assert open_image(saved(quarters(128, 120), form, **options))[0] == (
        (128, 120) if turned < 5 else (120, 128)
    )


def test_sixteen_bits_keep_their_greys() -> None:
    ramp_HW = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    wanted_HW = np.rint(ramp_HW / 257)
    for data in (
        saved(Image.fromarray(ramp_HW), "PNG"),
        saved(Image.fromarray(ramp_HW), "TIFF"),
        saved(Image.fromarray(ramp_HW.astype(np.int32)), "TIFF"),
    ):
        for seen in (read_picture(data), Image.open(io.BytesIO(plain_bytes(data)))):
            assert np.abs(np.asarray(seen)[..., 0] - wanted_HW).max() == 0
    shares = Image.fromarray((ramp_HW / 65535).astype(np.float32))
    assert np.abs(np.asarray(read_picture(saved(shares, "TIFF")))[..., 1] - wanted_HW).max() <= 1


def test_colour_modes_are_what_pillow_makes_of_them_and_clear_parts_are_white() -> None:
    red = quarters()
    for mode, form in (
        ("CMYK", "JPEG"),
        ("P", "PNG"),
        ("P", "GIF"),
        ("L", "PNG"),
        ("1", "PNG"),
        ("LAB", "TIFF"),
        ("YCbCr", "TIFF"),
    ):
        image = red.convert(mode) if mode != "LAB" else red
        data = saved(image, form)
        with Image.open(io.BytesIO(data)) as opened:
            wanted = opened.convert("RGB").tobytes()
        assert read_picture(data).tobytes() == wanted
        assert read_picture(plain_bytes(data)).tobytes() == wanted
        assert Image.open(io.BytesIO(ANY_SIZE.scaled(data))).mode in ("RGB", "P", "L", "1")
    for mode in ("RGBA", "LA"):
        clear = Image.new(mode, (8, 8))
        assert read_picture(saved(clear, "PNG")).getpixel((3, 3)) == (255, 255, 255)
    indexed = Image.new("P", (8, 8), 0)
    indexed.putpalette([9, 9, 9, 200, 0, 0])
    data = saved(indexed, "PNG", transparency=0)
    assert read_picture(data).getpixel((0, 0)) == (255, 255, 255)


def test_what_is_no_picture_is_one_of_two_errors_and_no_other_program_is_called() -> None:
    whole = saved(quarters(), "PNG")
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    hostile = [b"", whole[:8], whole[: len(whole) // 2], b"<svg/>", b"GIF89a" + b"\0" * 9, eps]
    hostile += [b"II*\0" + b"\xff" * 40]
    hostile += [whole[:i] + bytes([whole[i] ^ 255]) + whole[i + 1 :] for i in range(0, 60, 3)]
    failed = 0
    for data in hostile:
        try:
            plain_bytes(data)
        except (OSError, ValueError):
            failed += 1
    assert failed > 10
