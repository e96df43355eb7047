"""Near-duplicates: what counts as the same picture, and as the same question."""

import io
import random
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sources77k import copy_of, picture

from zppo_core.data.zppo77k.similar import (
    MOST_BITS,
    MOST_GREY,
    Seen,
    Signature,
    image_hash,
    signature,
    trigrams,
)

ASKED = "Which option completes the pattern in the picture?"
SHADES = (255, 224, 196, 168, 140, 112, 84, 56, 28, 0)


def encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def photograph(seed: int) -> bytes:
    """Blobs of four sizes, and grain."""
    rng, pixels = np.random.default_rng(seed), np.full((240, 320, 3), 128.0)
    for cells, contrast in ((4, 90), (16, 60), (64, 40), (160, 25)):
        blobs = rng.integers(0, 255, (3 * cells // 4, cells, 3), dtype=np.uint8)
        large = Image.fromarray(blobs).resize((320, 240), Image.Resampling.BICUBIC)
        pixels += contrast * (np.asarray(large) / 255 - 0.5)
    pixels += rng.normal(0, 6, pixels.shape)
    return encoded(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)))


def chart(seed: int) -> bytes:
    rng, image = random.Random(seed), Image.new("RGB", (500, 400), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((60, 30, 470, 350), outline="black")
    for i in range(5):
        draw.rectangle((80 + 80 * i, rng.randint(40, 340), 130 + 80 * i, 350), fill="#1f77b4")
        draw.text((95 + 80 * i, 360), str(2000 + i), fill="black")
    draw.text((200, 8), "Sales by year", fill="black")
    return encoded(image)


def drawing(seed: int) -> bytes:
    """A labelled triangle."""
    rng, image = random.Random(seed), Image.new("L", (400, 300), 255)
    draw = ImageDraw.Draw(image)
    corners = [
        (rng.randint(40, 120), rng.randint(220, 260)),
        (rng.randint(280, 360), rng.randint(220, 260)),
        (rng.randint(120, 280), rng.randint(30, 80)),
    ]
    draw.polygon(corners, outline=0)
    for corner, label in zip(corners, "ABC", strict=True):
        draw.text(corner, label, fill=0)
    return encoded(image)


def puzzle(seed: int) -> bytes:
    """A matrix of three by three panels over two rows of four options."""
    rng, image = random.Random(seed), Image.new("L", (320, 400), 255)
    draw = ImageDraw.Draw(image)
    places = [(40 + 80 * (i % 3), 80 * (i // 3)) for i in range(8)]
    places += [(80 * (i % 4), 240 + 80 * (i // 4)) for i in range(8)]
    for x, y in places:
        draw.rectangle((x, y, x + 79, y + 79), outline=0)
        r, sides, shade = rng.choice((12, 18, 24, 30)), rng.randint(3, 7), rng.choice(SHADES)
        draw.regular_polygon((x + 40, y + 40, r), sides, fill=shade, outline=0)
    return encoded(image)


KINDS = (photograph, chart, drawing, puzzle)


def copies(data: bytes) -> Iterable[bytes]:
    with Image.open(io.BytesIO(data)) as image:
        whole = image.size
    half = (whole[0] // 2, whole[1] // 2)
    yield copy_of(data, half)
    for quality in (60, 75, 95):
        yield copy_of(data, whole, "JPEG", quality=quality)
        yield copy_of(data, half, "JPEG", quality=quality)


@pytest.mark.parametrize("kind", KINDS)
def test_copies_at_half_the_size_and_by_jpeg_are_the_same_picture(
    kind: Callable[[int], bytes],
) -> None:
    for seed in range(10):
        data = kind(seed)
        seen = Seen([signature(ASKED, data, "A")])
        assert all(signature(ASKED, copy, "A") in seen for copy in copies(data))


@pytest.mark.parametrize("kind", KINDS)
def test_other_pictures_of_the_same_kind_are_other_pictures(kind: Callable[[int], bytes]) -> None:
    seen = Seen()
    for seed in range(150):
        own = signature(ASKED, kind(seed), "A")
        assert own not in seen
        seen.add(own)
    assert len(seen) == 150


def test_the_coarse_hash_alone_would_take_puzzles_for_one() -> None:
    bits = [image_hash(puzzle(seed)).bits for seed in range(150)]
    close = [(a ^ b).bit_count() <= MOST_BITS for i, a in enumerate(bits) for b in bits[:i]]
    assert any(close)


def test_text_and_gold_decide_too() -> None:
    asked = "How many red blocks are there in all?"
    seen = Seen([signature(asked, picture(1), "Twenty two")])
    assert signature(asked.rstrip("?"), copy_of(picture(1), (240, 220)), " twenty  TWO ") in seen
    assert signature(asked, picture(1), "23") not in seen
    assert signature(asked, picture(1)) not in seen
    assert signature("How many blue circles lie under it?", picture(1), "twenty two") not in seen
    assert signature(asked, picture(2), "twenty two") not in seen
    assert Signature(image_hash(picture(1)), trigrams("")) not in Seen()


def test_a_look_up_finds_whatever_a_comparison_of_all_pairs_finds() -> None:
    pool = [
        signature(ASKED, data, gold)
        for seed in range(12)
        for gold in "AB"
        for data in (drawing(seed), copy_of(drawing(seed), (200, 150)))
    ]

    def alike(a: Signature, b: Signature) -> bool:
        apart = [abs(x - y) for x, y in zip(a.image.grey, b.image.grey, strict=True)]
        near = (a.image.bits ^ b.image.bits).bit_count() <= MOST_BITS
        return a.gold == b.gold and near and max(apart) <= MOST_GREY

    for i, own in enumerate(pool):
        assert (own in Seen(pool[:i])) == any(alike(own, other) for other in pool[:i])
    assert sum(own in Seen(pool[:i]) for i, own in enumerate(pool)) == len(pool) // 2


def test_pictures_are_compared_as_they_show_on_white() -> None:
    shape = Image.new("RGBA", (120, 120), (0, 0, 0, 0))
    ImageDraw.Draw(shape).rectangle((30, 30, 60, 90), fill=(0, 0, 0, 255))
    white = Image.alpha_composite(Image.new("RGBA", (120, 120), "white"), shape).convert("RGB")
    assert image_hash(encoded(shape)) == image_hash(encoded(white))


@pytest.mark.parametrize(
    ("common", "own", "other", "alike"),
    [
        (7, 3, 0, True),  # 0.7 of all trigrams of both
        (14, 3, 3, True),
        (6, 3, 0, False),  # two thirds
        (5, 5, 0, False),  # the shorter text is all in the longer one
        (0, 1, 1, False),
    ],
)
def test_texts_are_alike_from_seven_tenths_of_their_trigrams_on(common, own, other, alike) -> None:
    image = image_hash(picture(1))
    shared = range(common)
    one = Signature(image, frozenset([*shared, *range(100, 100 + own)]))
    two = Signature(image, frozenset([*shared, *range(200, 200 + other)]))
    assert (one in Seen([two])) is alike
    assert (two in Seen([one])) is alike


def test_a_text_is_its_runs_of_three_words() -> None:
    assert len(trigrams("one two three four")) == 2
    assert trigrams("One, two: THREE") == trigrams("one two three")
    # a pair of words in common is no run of three
    assert not trigrams("a b c d") & trigrams("b c a")
    assert len(trigrams("one two")) == 1
