"""Times of day and dates, in the spellings of English, ISO 8601 and Chinese.

What is not said stays open: `8:00` may be `8:00 PM`, but `12 May` is not `12 May 2020`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_HALF_DAY = r"(?:(?P<half>[ap])\.?\s?m\.?)"
_TIME = re.compile(
    rf"(?P<hour>\d{{1,2}})\s?:\s?(?P<minute>\d{{2}})(?:\s?:\s?(?P<second>\d{{2}}))?\s*{_HALF_DAY}?"
    r"(?:\s*(?:hours|hrs|o'clock))?",
    re.IGNORECASE,
)
_HOUR = re.compile(
    rf"(?P<hour>\d{{1,2}})\s*(?:{_HALF_DAY}|o'?clock(?:\s*{_HALF_DAY.replace('half', 'half2')})?)",
    re.IGNORECASE,
)
_DOTTED = re.compile(rf"(?P<hour>\d{{1,2}})\.(?P<minute>\d{{2}})\s*{_HALF_DAY}", re.IGNORECASE)
_HAN_TIME = re.compile(
    r"(?P<part>上午|下午|晚上|早上|凌晨|中午)?(?P<hour>\d{1,2})[点时](?:(?P<minute>\d{1,2})分?|(?P<halfpast>半)|整)?"
)
_NAMED = {
    f"{hour}{word}": (12, half)
    for hour in ("", "12 ", "12:00 ")
    for word, half in (("noon", "p"), ("midday", "p"), ("midnight", "a"))
}


@dataclass(frozen=True)
class Clock:
    """A time of day; `half` is "a", "p" or, where it is not said, ""."""

    hour: int
    minute: int
    second: int
    half: str

    @property
    def seconds(self) -> int:
        """Seconds since midnight."""
        hour = self.hour % 12 + (12 if self.half == "p" else 0) if self.half else self.hour % 24
        return hour * 3600 + self.minute * 60 + self.second


@lru_cache(maxsize=4096)
def read_time(text: str) -> Clock | None:
    """The time of day that a cleaned `text` is, whole."""
    if len(text) > 30:
        return None
    text = re.sub(
        r"^(?:at\s+)|\s+(?:in the (?:morning|afternoon|evening)|at night)$", _part_of_day, text
    )
    named = _NAMED.get(text.lower())
    if named:
        return Clock(named[0], 0, 0, named[1])
    for pattern in (_TIME, _HOUR, _DOTTED, _HAN_TIME):
        match = pattern.fullmatch(text)
        if match:
            break
    else:
        return None
    part = match.groupdict()
    hour, minute = int(part["hour"]), int(part.get("minute") or 0)
    half = (part.get("half") or part.get("half2") or "").lower()
    if part.get("halfpast"):
        minute = 30
    if part.get("part"):
        half = "a" if part["part"] in ("上午", "早上", "凌晨") else "p"
    if minute > 59 or hour > 24 or (half and not 1 <= hour <= 12):
        return None
    return Clock(hour, minute, int(part.get("second") or 0), half)


def _part_of_day(match: re.Match[str]) -> str:
    words = match.group()
    if words.startswith("at "):
        return ""
    return " AM" if "morning" in words else " PM"


def times_agree(answer: Clock, gold: Clock) -> bool:
    """Whether two times are one; where one does not say AM or PM, it may be either."""
    if answer.half and gold.half:
        return answer.seconds == gold.seconds
    if not answer.half and not gold.half:
        return answer.seconds == gold.seconds
    precise, open_ = (answer, gold) if answer.half else (gold, answer)
    if precise.seconds == open_.seconds:
        return True
    return 1 <= open_.hour <= 12 and precise.seconds % 43200 == open_.seconds % 43200


_MONTHS = {
    name[:length]: i + 1
    for i, name in enumerate(
        [
            "january",
            "february",
            "march",
            "april",
            "may",
            "june",
            "july",
            "august",
            "september",
            "october",
            "november",
            "december",
        ]
    )
    for length in {3, len(name)}
} | {"sept": 9}
_DAYS = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day|(?:mon|tue|wed|thu|fri|sat|sun)\.?"
_MONTH = rf"(?P<month>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\.?"
_DAY = r"(?P<day>\d{1,2})(?:\s?(?:\^\{?)?(?:st|nd|rd|th)\}?)?"
_YEAR = r"(?P<year>\d{4})"
_DATES = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{_MONTH}\s*{_DAY}(?:(?:\s*,\s*|\s+){_YEAR})?",
        rf"(?:the\s+)?{_DAY}\s*(?:of\s+)?{_MONTH}(?:\s*,?\s*{_YEAR})?",
        rf"{_MONTH}\s*,?\s*{_YEAR}",
        rf"{_YEAR}\s*(?P<sep>[-/.])\s*(?P<month>\d{{1,2}})\s*(?P=sep)\s*(?P<day>\d{{1,2}})",
        rf"{_YEAR}年(?:(?P<month>\d{{1,2}})月(?:(?P<day>\d{{1,2}})[日号])?)?",
        r"(?P<month>\d{1,2})月(?P<day>\d{1,2})[日号]",
        rf"(?P<first>\d{{1,2}})(?P<sep>[-/.])(?P<second>\d{{1,2}})(?P=sep){_YEAR}",
    )
]
_WEEKDAY = re.compile(rf"(?:{_DAYS})\s*,?\s+(?=\w)|(?:on\s+)|\s*,?\s*(?:{_DAYS})$", re.IGNORECASE)


@dataclass(frozen=True)
class Date:
    """A date; a part that is not said is None."""

    year: int | None
    month: int | None
    day: int | None


@lru_cache(maxsize=4096)
def read_date(text: str) -> Date | None:
    """The date that a cleaned `text` is, whole; days come after months where only figures stand."""
    if not 4 <= len(text) <= 40 or not any(c.isdigit() for c in text):
        return None
    match = _WEEKDAY.match(text)
    if match:
        text = text[match.end() :]
    for pattern in _DATES:
        match = pattern.fullmatch(text)
        if match:
            return _date(match.groupdict())
    return None


def _date(part: dict[str, str | None]) -> Date | None:
    month, day = part.get("month"), part.get("day")
    if part.get("first"):
        month, day = part["first"], part["second"]
        assert month is not None
        if int(month) > 12:
            month, day = day, month
    number = None if month is None else _MONTHS.get(month.lower()) or int(month)
    year = part.get("year")
    date = Date(None if year is None else int(year), number, None if day is None else int(day))
    if number is not None and not 1 <= number <= 12:
        return None
    return None if date.day is not None and not 1 <= date.day <= 31 else date
