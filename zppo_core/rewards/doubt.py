"""Whether what stands beside a letter is an option's text, or takes the choice back."""

from __future__ import annotations

import re

LONGEST_OPTION = 300  # characters, where the options are not known
_ONE = r"(?:\([A-Za-j]\)|[A-Za-j])"  # a letter of an option: the small ones from k on are variables
# letters alone: "A, C", "a or c"; but "a/b" and "a b" are formulas
_LIST = re.compile(
    r"[A-Z](?:\s*(?:[,;/&+|]|and|or|\s)\s*\(?[A-Z]\)?)*\.?|[A-J]\s*(?:-|to)\s*[A-J]\.?"
    r"|\\?[\[{]\s*[A-J](?:\s*[,;|]\s*[A-J])*\s*\\?[\]}]|\(?[?]+\)?|\.?\*"
    rf"|{_ONE}(?:\s*(?:[,;&]|\b(?:and|or)\b)\s*(?:(?:and|or)\s+)?{_ONE})+\.?|{_ONE}\s*[,;/&]"
)
_CAPITAL = re.compile(
    r"\b[A-Z](?:[.:](?:\s|$)|\))|\(\s*[A-Z]\s*\)"
    r"|\b(?:or|and)\s+(?:perhaps\s+|maybe\s+|possibly\s+)?\(?[A-Z]\)?(?:\b|$)"
)
_SMALL = re.compile(
    r"(?<![^\s,;])(?:\([a-j]\)(?!\s*[-+*/^=])|[a-j]\))(?=$|[\s.,;:])|(?<![\w.\\])[a-j]\.\s"
)
_OPEN, _CLOSED = re.compile(r"[(\[]"), re.compile(r"[)\]]")
# "actually C", "the answer is (c)": the letter that is meant comes last
_MEANT = re.compile(
    r"(?:.*\b)?(?:actually|maybe|perhaps|possibly|probably|rather|instead|or|wait|no|hmm+|sorry"
    r"|correction|also|then|choose|pick|select|prefer|mean|meant|think|guess|not|but|answer|option"
    r"|choice|(?:it|that)'s|(?:answer|option|choice|it|this|that|one)(?:\s+\w+)?\s+(?:is|was|be))"
    r"\W+[a-j]\W*",
    re.DOTALL | re.IGNORECASE,
)
_IS = re.compile(r".*(?:\b(?:is|was|be|are)\W+|[:;,!?.]\s+)[A-J]\W*", re.DOTALL)
# "C is correct", "C maybe", "C?"
_FIRST = re.compile(
    r"\(?[A-J]\)?\s*(?:[?!,;]|(?:is|are|was|seems?|might|may|could|would|can)\b\W*(?:be\s+)?"
    r"(?:the\s+)?(?:right|correct|true|best|better|likely|also|too|possible|answer|option|choice)\b"
    r"|(?:too|also|perhaps|maybe|possibly|instead|actually|works|fits)\b).*",
    re.DOTALL,
)
# small letters alone: "Incorrect", "Not true" and "But" are options of their own
_DENIES = re.compile(
    r".*\b(?:wrong|incorrect|neither|alternatively|else)\b.*|\W*but\b.*|\W*etc\W*|non-?|un"
    r"|(?:\w+\s*)?\\(?:ne|neg|not)(?![A-Za-z])\s*=?|(?:is|was)\s+false\W*"
    r"|\W*(?:or|and)\s+(?:an?other|others|more|less|something|anything|so on|any)\b.*"
    r"|(?:.*\b(?:[Nn]ot|but|nor|[Ee]xcept|either|than|or|and)|.*n't)\W*"
    r"|.*(?:\bnot|n't)\s+(?:(?:a|an|the|its?|very|so|quite|really|at|all)\s+)*"
    r"(?:(?:right|correct|true|valid|this|that|it|one)\W*"
    r"|(?:sure|certain|answer|choice|option|(?:right|correct|valid)\s+(?:answer|choice|option))\b.*)",
    re.DOTALL,
)
_WEIGHS = re.compile(r"\b(?:not|but|either|nor|rather|instead)\b", re.IGNORECASE)
# "A cat" and "I see" begin with words
_ALONE = re.compile(r"(?<![A-Za-z\d\\'^_])(?:[B-HJ]|[AI](?! [a-z]))(?![A-Za-z\d'^_(])")


def doubtful(beside: str) -> bool:
    """Whether what stands beside a letter is no option's text: other letters, doubt, a treatise."""
    text = beside.strip()
    if len(text) > LONGEST_OPTION:
        return True
    if _all_others(text) or any(p.fullmatch(text) for p in (_LIST, _FIRST, _MEANT, _IS, _DENIES)):
        return True
    weighs = _WEIGHS.search(text) is not None and _ALONE.search(text) is not None
    return weighs or _CAPITAL.search(text) is not None or _labels(text)


def _all_others(text: str) -> bool:
    """Whether `text` is the letters of all options but one, as ACD is beside B; ABC is a figure."""
    missing = set("ABCDEFGHIJ"[: ord(text[-1]) - 64]) - set(text) if text.isupper() else ()
    return len(text) > 2 and len(missing) == 1 and list(text) == sorted(set(text))


def _labels(text: str) -> bool:
    """Whether a small letter is labelled as an option's; `f(b, c)` calls a function."""
    starts = (match.start() for match in _SMALL.finditer(text))
    return any(len(_OPEN.findall(text, 0, i)) == len(_CLOSED.findall(text, 0, i)) for i in starts)
