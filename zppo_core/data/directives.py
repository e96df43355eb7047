"""Directives on the form of the answer, taken out of questions: the closer stands in their place.

A directive is a sentence that begins like one, names a form, and says nothing that is not in a
closed vocabulary: how exact a number is to be, or its unit, is part of the question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_IMAGE_MARK = re.compile(r"\s*<image>\s*", re.IGNORECASE)
_PARENTHESIS = re.compile(r"\s*\(([^()]*)\)")
_END = re.compile(r"[.!?]+[\"')\]]*(?=\s|$)")
_NO_END = re.compile(r"\(*(?:[A-Z]|(?i:e\.g|i\.e|fig|eq|no|vs|cf|approx))\.")
_LABEL = re.compile(r"\s*\(?(?:[A-Za-z]|\d+)\.")  # of an option, at the beginning
_LAST_OF_LIST = re.compile(r"(?:,|\bor|\band)\s+[A-Z]\.$")  # "A, B, C or D." ends a sentence
_OPTION = re.compile(r"\([A-Za-z0-9]\)|(?<![A-Za-z])[A-Z][).](?=\s*\S)")
_BOX = re.compile(r"(?i)\\*boxed(?:\s*\{(?:\s|\.|your|the|final|answer|here)*\})?")
_TOKEN = re.compile(r"</?\w+>|[\w'’]+(?:\.\d+)?")
_LEAD = (
    r"(?:(?:hint|note|instructions?|format|important)\s*:\s*)?"
    r"(?:(?:please|first|finally|then|and|also|directly|only|just|simply)\s*,?\s*)*"
)
# how a directive on the form of the answer begins; what else it says is held against the words
_HEADS = re.compile(
    _LEAD
    + r"(?:(?P<answer>answer|respond|reply|(?:the|your) (?:final )?(?:answer|response|output))"
    r"|(?P<choose>select|choose|pick)"
    r"|(?P<give>put|write|give|provide|place|output|present|enclose|box|state|return|report)"
    r"|(?P<think>think|reason|solve|let's think|let us think|you (?:first|must|should)"
    r"|(?:the|your) (?:reasoning|thinking)))\b"
)
# what makes it one: a form, not a matter
_THOUGHT = (
    r"<box>|</?think>|</?answer>|\bstep by step\b|\breasoning process\b"
    r"|\binternal monologue\b"
)
_LETTER = r"\bletters?\b|\b[A-H](?:, ?[A-H])*,? (?:or|and) [A-H]\b"
_SHORT = (
    r"\b(?:single|one|few) words?\b|\bphrase\b|\b(?:a|single|one) (?:number|digit)\b"
    r"|\binteger\b|\bwith (?:only )?the (?:correct )?option\b"
)
_FORMS = {
    "answer": re.compile(f"{_THOUGHT}|{_LETTER}|{_SHORT}"),
    "give": re.compile(f"{_THOUGHT}|{_LETTER}|{_SHORT}"),
    "choose": re.compile(_LETTER),
    "think": re.compile(_THOUGHT),
}
_GIVEN = re.compile(r"\banswers?\b|\bresponse\b|\boption\b|\bchoice\b|<box>")
# all that a directive may say: how exact a number is to be, or its unit, is part of the question
_VOCABULARY = """
</answer> </think> <answer> <box> <think> a about above after all also an and answer answering
answers any appropriate are as at based be before below best box brief briefly by choice choices
choose concise concisely content correct corresponding digit direct directly do e each eg either
enclose enclosed end exactly example explain explanation few final finally first following for
form format from g give given here hint i ie image important in inside instruction instructions
integer internal into is it its just let let's letter letters like mind monologue must not note
number numeric numerical of on one only option option's options option’s or other output phrase
pick picture place please present problem process provide provided put question question's reason
reasoning reply report requiring respectively respond response return right select short should
simply single solution solve state step such tag tags than that the then think thinking this
through to us use user using when which with within without word words write you your
"""
_WORDS = frozenset(_VOCABULARY.split())


def strip_directives(text: str) -> str:
    """The question without image marks and upstream directives on the form of the answer.

    A directive goes only as a whole sentence, parenthesis, or clause before a colon; where nothing
    else is said the text stays.
    """
    text = _IMAGE_MARK.sub("\n", text).strip()
    kept = []
    for line in text.split("\n"):
        rest = _without(line)
        if rest.strip() or not line.strip():
            kept.append(rest)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip() or text


def _without(line: str) -> str:
    """A line without its directives; exactly the line if it has none."""
    left = _PARENTHESIS.sub(lambda m: "" if _is_directive(m[1]) else m[0], line)
    return "".join(map(_rest, _sentences(left))) if left.strip() else left


def _sentences(line: str) -> Iterator[str]:
    start = 0
    for end in _END.finditer(line):
        sentence = line[start : end.end()]
        known = _NO_END.fullmatch(sentence.split()[-1]) and not _LAST_OF_LIST.search(sentence)
        if known or _LABEL.fullmatch(sentence):
            continue
        yield sentence
        start = end.end()
    yield line[start:]


def _rest(sentence: str) -> str:
    """What is left of a sentence: all, nothing, or what follows a directive's colon."""
    if _is_directive(sentence):
        return ""
    for colon in re.finditer(r":(?=\s|$)", sentence):
        if _is_directive(sentence[: colon.start()]):
            return sentence[colon.end() :]
    return sentence


def _is_directive(sentence: str) -> bool:
    said = " ".join(_BOX.sub(" <box> ", sentence).replace("-", " ").split())
    if "?" in said or _OPTION.search(said):
        return False
    low = said.lower()
    head = _HEADS.match(low)
    if head is None:
        return False
    # capitals only where they may be options: "MUST BE", not "A, B or C"
    form = re.sub(r"\b[A-Z][A-Za-z]+", lambda m: m[0].lower(), said)
    if not _FORMS[str(head.lastgroup)].search(form):
        return False
    if head["give"] and not _GIVEN.search(low):
        return False
    examples = re.search(r"\be\.?g\b|\bi\.?e\b|\bsuch as\b|\bfor example\b|\blike\b", low)
    for token in _TOKEN.findall(said):
        label = len(token) == 1 and token in "ABCDEFGH"
        number = examples is not None and re.fullmatch(r"\d+(?:\.\d+)?", token)
        if not (label or number or token.lower() in _WORDS):
            return False
    return not re.search(r"[^\s\w.,;:!()\[\]{}<>/\\$\"'`’“”*]", said)
