"""Numbers in words, English and Chinese."""

from __future__ import annotations

import re
from fractions import Fraction

from zppo_core.rewards.tables import spellings, words

MAGNITUDES = {word: int(power) for word, power in spellings("magnitudes").items()}
_UNITS = {word: i for i, word in enumerate(words("units"))}
_TENS = {word: 10 * (i + 2) for i, word in enumerate(words("tens"))}
PARTS = {word: int(part) for word, part in spellings("parts").items()}
_ORDINALS = {word: i + 1 for i, word in enumerate(words("ordinals"))}
# words of numbers; zeros and ones are counted themselves
NUMERALS = {*_UNITS, *_TENS, *PARTS, *_ORDINALS, *MAGNITUDES} - {"zero", "one"}
_HAN = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_HAN_POWERS = {"十": 10, "百": 100, "千": 1000}
_HAN_DIGITS = "零一二三四五六七八九两十百千万"
_HAN_FRACTION = re.compile(f"([{_HAN_DIGITS}]{{1,9}})分之([{_HAN_DIGITS}]{{1,9}})")
_MIXED = re.compile(r"([a-z -]+) and (\S+(?:[ -]\S+)?)")  # two and a half, six and two thirds
_HAN_NUMBER = re.compile("[零一二三四五六七八九两〇十百千万亿]{1,20}")


def number_in_words(text: str) -> tuple[Fraction, bool] | None:
    """The number that English or Chinese words spell, and whether it is an ordinal."""
    share = _HAN_FRACTION.fullmatch(text)
    if share:
        bottom, top = (_han(part) for part in share.groups())
        return None if not bottom or not top or not bottom[0] else (top[0] / bottom[0], False)
    if _HAN_NUMBER.fullmatch(text):
        return _han(text)
    parts = [w for w in re.split(r"[\s-]+", text.lower()) if w and w != "and"]
    if not parts or len(parts) > 12:
        return None
    if parts[-1] == "dozen":
        number = number_in_words(" ".join(parts[:-1]).removeprefix("a") or "one")
        return None if number is None else (number[0] * 12, False)
    if parts == ["half"] or parts == ["a", "half"] or parts == ["one", "half"]:
        return Fraction(1, 2), False
    if len(parts) == 1 and parts[0] in _ORDINALS:
        return Fraction(_ORDINALS[parts[0]]), True
    if len(parts) == 2 and parts[0] in (*_UNITS, "a") and parts[1] in PARTS:
        return Fraction(_UNITS.get(parts[0], 1), PARTS[parts[1]]), False
    mixed = _MIXED.fullmatch(" ".join(text.lower().split()))
    if mixed:
        whole, part = number_in_words(mixed[1]), number_in_words(mixed[2])
        if whole and part and whole[0].denominator == 1 and 0 < part[0] < 1:
            return whole[0] + part[0], False
    if parts[-1] in ("hundred", "thousand", "million", "billion") and parts[:-1] in ([], ["a"]):
        parts = ["one", parts[-1]]
    total = current = 0
    last = 10**15
    for word in parts:
        if word in _UNITS or word in _TENS:
            value = _UNITS[word] if word in _UNITS else _TENS[word]
            room = current % 100
            if room and not (room % 10 == 0 and room >= 20 and 0 < value < 10):
                return None
            current += value
        elif word == "hundred" and 0 < current < 10:
            current *= 100
        elif word in ("thousand", "million", "billion") and current:
            scale = 10 ** MAGNITUDES[word]
            if scale >= last:
                return None
            total, current, last = total + current * scale, 0, scale
        else:
            return None
    return Fraction(total + current), False


def _han(text: str) -> tuple[Fraction, bool] | None:
    total = section = digit = 0
    for c in text:
        if c in _HAN:
            if digit:
                return None
            digit = _HAN[c]
        elif c in _HAN_POWERS:
            section += (digit or 1) * _HAN_POWERS[c]
            digit = 0
        else:
            total = (total + section + digit) * 10 ** MAGNITUDES[c]
            section = digit = 0
    return Fraction(total + section + digit), False
