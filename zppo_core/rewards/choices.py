"""Letters of a choice, with or without the texts of the options."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from zppo_core.rewards.doubt import doubtful

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LEAD = re.compile(
    r"(?:(?:the\s+)?(?:correct\s+)?(?:options?|choices?|answers?|letter|选项|选择?"
    r"|I (?:choose|pick|select)|it(?:'s| is))"
    r"\s*(?:is|are|[:是])*\s*)(?=\(?[A-Za-z]\b|\(?[A-Z])",
    re.IGNORECASE,
)
# "B is the correct answer" and "B选项" say no more than B
_TAIL = re.compile(
    r"(?<=[A-Z)])(?:\s+is\s+(?:the\s+)?(?:correct|right|true)?\s*(?:answer|option|choice)?|\s*选项)$"
)
_BARE = re.compile(r"[(\[{]?\s*([A-Za-z])\s*[)\]}]?\s*[.:]?")
_WITH_TEXT = re.compile(
    r"(?:\(\s*([A-Za-z])\s*\)\s*[.:]?|([A-Za-z])\s*(?:\)|[.:](?![A-Za-z0-9]))|([A-Z])[.:](?=\d)|([A-Z])\s+-(?=\s))\s*(.+)",
    re.DOTALL,
)
_TEXT_WITH = re.compile(r"(.+?)\s*\(\s*(?:option\s+)?([A-Z])\s*\)", re.DOTALL)
_WITH_BRACKETS = re.compile(r"([A-Z])\s+\(([^()]*(?:\([^()]*\)[^()]*)*)\)")
_SEVERAL = re.compile(
    r"\(?[A-Z]\)?(?:(?:\s*(?:,|;|and|&|[和与及]|\s)\s*(?:and\s+)?|(?<=\))(?=\())\(?[A-Z]\)?)+"
)
_LABEL = re.compile(r"\(?\s*([A-Z])\s*[.):]\s*(?=\S)")

Same = Callable[[str, str], bool]


def letter_of(text: str) -> str | None:
    """The capital letter that a cleaned `text` is, alone: `b`, `(B)`, `B.`, `option B`."""
    lead = _LEAD.match(text)
    match = _BARE.fullmatch(_TAIL.sub("", text[lead.end() :] if lead else text))
    return match.group(1).upper() if match else None


def letters_of(text: str) -> tuple[str, ...] | None:
    """The letters of a choice of several: `A, C`, `A and C`, `(A)(C)`; None if it is not that."""
    if _SEVERAL.fullmatch(text):
        return tuple(re.findall(r"[A-Z]", re.sub(r"\band\b", "", text)))
    return None


def run_of_letters(text: str, options: Sequence[str]) -> bool:
    """Whether `text` is several letters of `options` without anything between: `ACD`."""
    return len(text) > 1 and set(text) <= set(LETTERS[: len(options)])


def letter_and_text(text: str) -> tuple[str, str] | None:
    """The letter and the words beside it: `B. 45`, `(b) 45`, `45 (B)`, `B (45)`."""
    lead = _LEAD.match(text)
    text = text[lead.end() :] if lead else text
    match = _WITH_TEXT.fullmatch(text)
    if match:
        return next(g for g in match.groups() if g).upper(), match.group(5)
    match = _TEXT_WITH.fullmatch(text)
    if match:
        return match.group(2), match.group(1)
    match = _WITH_BRACKETS.fullmatch(text)
    return (match.group(1), match.group(2)) if match else None


_BESIDE_LETTER = re.compile(
    r"\(?([A-Z])\)?(?:\s*(?:[,;:=.]|\\to|\\Rightarrow)\s*|\s+)(?:i\.e\.,?\s*)?(.+)", re.DOTALL
)
_TEXT_FIRST = re.compile(r"(.+?)\s*[,;]\s*(?:option\s+)?\(?([A-Z])\)?", re.DOTALL)


def _letters_and_texts(text: str) -> list[tuple[str, str]]:
    """Readings of a letter and words where the options are known: `B, 45`, `B 45`, `45, option B`.

    Whether the words are those of the option is for the caller to see.
    """
    lead = _LEAD.match(text)
    text = text[lead.end() :] if lead else text
    first, last = _BESIDE_LETTER.fullmatch(text), _TEXT_FIRST.fullmatch(text)
    readings = [(m[1], m[2]) for m in (first,) if m] + [(m[2], m[1]) for m in (last,) if m]
    return readings + [
        (letter, t[1:-1].removeprefix("i.e.").strip(" ,")) for letter, t in readings if t[:1] == "("
    ]


def bare_option(option: str) -> str:
    """An option's text without a letter before it."""
    match = _LABEL.match(option)
    return option[match.end() :] if match else option


def named_letter(text: str, options: Sequence[str], same: Same) -> str | None:
    """The one letter that a cleaned `text` names, with or without words beside it; None if none.

    With known `options`, cleaned too, it is one of theirs, and words beside it are its own.
    """
    letter = letter_of(text)
    if letter is not None:
        return letter if not options or letter in LETTERS[: len(options)] else None
    letter, beside = letter_and_text(text) or ("", "")
    if not letter or (options and letter not in LETTERS[: len(options)]):
        return None
    if not options:
        return None if doubtful(beside) else letter
    return letter if same(beside, bare_option(options[LETTERS.index(letter)])) else None


def choice_agrees(answer: str, gold: str, options: Sequence[str], same: Same) -> bool:
    """Whether a cleaned `answer` chooses `gold`, a letter or several; `options` are cleaned too.

    A text beside the letter must be that option's. A text alone must be the gold option's and no
    other's. Where the options are not known any text may follow the letter, but no second letter.
    """
    several = letters_of(gold)
    if several is None and run_of_letters(gold, options):
        several = tuple(gold)
    if several and len(several) > 1:
        letters = _chosen(answer, options, same)
        return letters is not None and sorted(letters) == sorted(several)
    right = letter_of(gold) or (letter_and_text(gold) or ("",))[0]
    letter = letter_of(answer)
    if letter is not None and (not options or letter in LETTERS[: len(options)]):
        return letter == right
    if options and any(
        letter == right and same(text, bare_option(options[LETTERS.index(right)]))
        for letter, text in _letters_and_texts(answer)
        if right and right in LETTERS[: len(options)]
    ):
        return True
    both = letter_and_text(answer)
    if both is not None and (not options or both[0] in LETTERS[: len(options)]):
        if both[0] != right or (not options and doubtful(both[1])):
            return False
        return not options or same(both[1], bare_option(options[LETTERS.index(right)]))
    index = LETTERS.find(right) if right else -1
    if not 0 <= index < len(options):
        return False
    return only_this(answer, [bare_option(o) for o in options], index, same)


_AROUND = re.compile(
    r"(?:both\s+)?(?:(?:options?|choices?|answers?)\s+)?(?:\\?\{(?P<set>[^{}]*?)\\?\}|\[(?P<list>[^\[\]]*)\]"
    r"|\((?P<tuple>[^()]*)\)|(?P<bare>.+))",
    re.DOTALL | re.IGNORECASE,
)
_JOINT = re.compile(r"\s*(?:[,;]\s*(?:and\s+)?|[&和与及]|\band\b)\s*")
MOST_CHOSEN = 26


def _chosen(answer: str, options: Sequence[str], same: Same) -> Sequence[str] | None:
    """The letters of several options, named by themselves or by their texts; None if not that."""
    lead = _LEAD.match(answer)
    answer = _small_as_capital(answer[lead.end() :] if lead else answer)
    match = _AROUND.fullmatch(answer)
    inside = next(g for g in match.groups() if g is not None).strip() if match else answer
    for text in (answer, inside):
        if re.fullmatch("[A-Z]{2,}", text):
            return tuple(text)
        letters = letters_of(text)
        if letters is not None:
            return letters
    parts = [part for part in _JOINT.split(inside) if part]
    if not options or not 1 < len(parts) <= MOST_CHOSEN:
        return None
    chosen = [_option_of(part, options, same) for part in parts]
    return None if None in chosen else [letter for letter in chosen if letter is not None]


_SMALL = re.compile(
    r"\(?[a-j]\)?(?:(?:\s*[,;&]\s*(?:and\s+)?|\s+and\s+|(?<=\))(?=\())\(?[a-j]\)?)+"
)


def _small_as_capital(text: str) -> str:
    """`A, C` of `a, c`, `(a) and (c)` and `ac`, but no word: `cab` stays."""
    run = text.isalpha() and text.islower() and len(text) <= 6 and list(text) == sorted(set(text))
    if _SMALL.fullmatch(text):
        return re.sub(r"\b[a-j]\b", lambda m: m.group().upper(), text)
    return text.upper() if run and text[-1] <= "j" else text


def _option_of(part: str, options: Sequence[str], same: Same) -> str | None:
    """The letter of the option that a part names, by its letter or by its text alone."""
    letter = named_letter(part, options, same)
    if letter is not None:
        return letter
    texts = [bare_option(option) for option in options]
    return next((LETTERS[i] for i in range(len(texts)) if only_this(part, texts, i, same)), None)


def only_this(answer: str, options: Sequence[str], index: int, same: Same) -> bool:
    """Whether `answer` is the text of one option, and of no other."""
    if answer == options[index]:
        return True
    if not same(answer, options[index]):
        return False
    return not any(same(answer, o) for i, o in enumerate(options) if i != index)
