"""Directives on the form of the answer, taken out of questions: the closer stands in their place.

A directive is a sentence that talks of nothing but answering, and names a form: reasoning before
the answer, its place and mark-up, its shortness, or a letter. Its words are of the few kinds that
such talk is made of; a manner (`a clear, careful ... explanation`) may be any word. What decides
which answer is right (a unit, rounding, an order, a condition) is the question's, and stays.
Which form a directive wanted is not lost: `answer_form` says it, `with_form` puts it in our words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

FORMS = {
    "integer": "The final answer is an integer.",
    "letter": "The final answer is the letter of the correct option.",
    "number": "The final answer is a number.",
    "short": "The final answer is a number, a single word or a short phrase.",
    "phrase": "The final answer is a single word or a short phrase.",
}

_IMAGE_MARK = re.compile(r"\s*<image>\s*", re.IGNORECASE)
_PARENTHESIS = re.compile(r"\s*\(([^()]*)\)")
_END = re.compile(r"[.!?]+[\"')\]*]*(?=\s|$)")
_NO_END = re.compile(r"\(*(?:[A-Z]|(?i:e\.g|i\.e|fig|eq|no|vs|cf|approx))\.")
_LABEL = re.compile(r"\s*\(?(?:[A-Za-z]|\d+)\.")  # of an option, at the beginning
_LAST_OF_LIST = re.compile(r"(?:,|\bor|\band)\s+[A-Z]\.$")  # "A, B, C or D." ends a sentence
_OPTION = re.compile(r"\([A-Za-z0-9]\)(?!\s*[,)]|\s+(?:or|and)\b)|(?<![A-Za-z])[A-Z][).](?=\s*\S)")
_LABELS = re.compile(r"\([A-H](?:\)?(?:\s*[,/]\s*|\s*,?\s+(?:or|and)\s+)\(?[A-H])+\)")
_BOX = re.compile(r"(?i)\\*boxed(?:\s*\{(?:\s|\.|your|the|final|answer|here|option|letter)*\})?")
_PLACE = re.compile(  # what stands where an answer will: <answer here>, [letter], $LETTER, xxx, ...
    r"<(?!/?(?:think|answer|box)>)[^<>]{1,30}>|\[[a-z ]{1,30}\]|\{[a-z_ ]{0,30}\}|\$[A-Z_]+\b"
    r"|\bx{2,}\b|_{2,}|…|\.{3}",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"</?\w+>|[\w'’]+(?:\.\d+)?")

# Words that serve any sentence.
_FUNCTION = """
a about above according after afterward afterwards ahead all along alongside also although always
an and any anything are as at avoid be because before begin beginning below between beyond both but
by can could do don't down e each eg either else end every everything finally first following for
freely from g given hence here how however i ie if in inside instead into is it its just kindly
last later leading let let's lets like long may me must need needed needs never next no not nothing
now of on once one only onto or other otherwise out outside over own please preceding prior rather
respectively second shall should simply since so some start step such sure than that the their them
then there thereby therefore these they this though through throughout thus to together too toward
towards ultimately until up upon us used using very via was we well what when where whether which
while will with within without would you your yourself
"""
# Acts of answering, as they are asked for.
_ACTS = """
analyse analyze analyzing answer answering appear arrive arriving asked based be begin box break
carry choose choosing come conclude concluding conduct consider consist consists contain correspond
corresponding corresponds decide deduce deliver demonstrate derive deriving describe detail
determine do doing draw elaborate enclose enclosed enclosing ending ensure examine examining
expected explain explained explaining express finish follow followed forget format formatted
formatting generate get getting give giving go got have having identify include including indicate
inspect justify keep keeping labeled labelled limit list look looking make making mark marked
mention name note observe occur offer offering outline output outputting perform performing pick
picking place placing present presenting produce producing provide providing put putting reach
reaching read reason reasoning refer referring remember reply replying report reporting require
required requires requiring respond responding restrict return returning review see select
selecting separated settle settling share show showing solve solving specify stand starting state
stating study submit summarize supply surround take think thinking understand understanding use
wanted work working wrap wrapped write writing
"""
# What such talk is about.
_THINGS = """
account alternative alternatives analysis answer answers argument box brace braces bracket brackets
breakdown brevity calculation calculations chain character chart choice choices conclusion
consideration content deliberation derivation detail details diagram digit evidence example
explanation explanations figure form format graph hint illustration image information instruction
instructions json justification knowledge label latex letter letters line lines logic manner
markdown marks mind monologue note number numeral option options output paragraph photo phrase
phrases picture point problem problems procedure process processes query question questions
quotation quotations quotes rationale reason reasoning reasons reflection reply response responses
result screenshot sentence sentences solution step steps structure style tag tags task template
text thinking thought thoughts train understanding value walkthrough way word words work working
workings
"""
# Qualities an answer may be asked to have without being another answer by it.
_QUALITIES = """
actual additional applicable appropriate best brief capital capitalized careful case choice chosen
clear compact complete concise correct detailed direct directly entire exactly extra few final full
further important internal most multiple necessary numeric numerical one option's options'
options’s option’s own plain possible proper question's quick relevant right selected short simple
single succinct suitable terse thorough unnecessary upper uppercase verbose whole's
"""
_MARKS = frozenset(("<box>", "<labels>", "<place>", "<think>", "</think>", "<answer>", "</answer>"))
_WORDS = frozenset(f"{_FUNCTION} {_ACTS} {_THINGS} {_QUALITIES}".split())
# Before these any word is a manner: a rigorous derivation, in a friendly way.
_MANNERED = (
    r"reasoning|reasons?|rationales?|thoughts?|thinking|explanations?|justifications?|analysis"
    r"|process(?:es)?|steps|consideration|deliberation|reflection|chain|line|train|account"
    r"|breakdown|walkthrough|argument"
    r"|derivations?|procedure|logic|monologue|manner|way|style|response|reply"
    r"|working|workings|step by step|thought process"
)
_MANNER = re.compile(
    rf"\b(?:a|an|the|your|some|any|with|after|by|through|without|of|give|provide|show|using|perform"
    rf"|and|,)\s+((?:[a-z-]+,?\s+(?:and\s+)?){{1,4}}?)(?=(?:{_MANNERED})\b)"
)
# What decides the answer, whatever else is said.
_DECIDING = re.compile(
    r"\b(?:number of|how many|decimals?|round|rounded|rounding|nearest|significant|integers?"
    r"|whole number"
    r"|fractions?|mixed|simplest|simplified|simplify|radicals?|exact|surd|terms|percent|percentage"
    r"|notation|order|ascending|descending|alphabetical\w*|sorted|units?|approximat\w+|estimate\w*"
    r"|both|all that apply|every|none|unless|except|incorrect|wrong|false|true|yes|least"
    r"|not (?:a|an"
    r"|the|in|correct|right)|separated|commas?|reverse|lowest|largest|smallest|highest|greatest"
    r"|(?:in|as|using) (?:all )?(?:capitals?|upper ?case|lower ?case|block|small)"
    r"|first (?:letter|word|digit|number|sentence|option|answer|choice|step)"
    r"|last (?:letter|word|digit|number|sentence|option|answer|choice|step)"
    r"|second|third|two|three|four|five|six|modulo|python|list|tuple|set|interval|ratio|degrees?"
    r"|positive|negative|absolute|range|english|chinese|language)\b"
)
_CONDITION = re.compile(r"\bif\b(?! (?:needed|necessary|possible|applicable|required)\b)")

_THOUGHT = (
    r"</?think>|\bstep[ -]by[ -]step\b|\breasoning\b|\brationales?\b|\bexplanations?\b"
    r"|\bexplain (?:your|how you|why you|in|it|each step|step|the (?:answer|reasoning|solution"
    r"|steps))|\bexplain(?:ing)? and\b"
    r"|\bjustif(?:y|ication)|\bthought process\b|\bchain of thought\b|\bthoughts\b"
    r"|\binternal monologue\b|\bshow (?:all )?(?:of )?(?:your |the )?(?:work|steps|working)"
    r"|\bthink(?:ing)? (?:it |this )?(?:through|\w+ly|first|hard|deeply|aloud|out loud|before"
    r"|about the (?:question|problem|reasoning|image|answer)|and (?:then )?(?:answer|provide|give"
    r"|respond)|then)|\bthink(?:ing)? process\b|\b(?:give|state|provide) (?:your )?(?:the )?reasons"
    r"|\breason (?:\w+ly|through|first|about the|before|and)|\b(?:your"
    r"|all) (?:\w+ )?steps\b"
    r"|\b(?:show|write|include|provide|give) (?:\w+ )?the (?:\w+ )?steps\b"
    r"|\bderivation\b|\b(?:detailed|full|complete|thorough) (?:solution|analysis|answer|response)\b"
    r"|\bcareful (?:consideration|thought|deliberation|reflection|thinking)\b"
    r"|\banalysis\b|\bsolution process\b|\bsolv(?:e|ing) (?:the|this) (?:\w+ )?process\b"
)
_MARKUP = (
    r"<box>|</?answer>|\"(?:the |final )*answer\W*\"|\b(?:answer|output|response)\W+<place>|####"
    r"|\b(?:following|this|below|required|specified|given|requested|correct) (?:\w+ )?"
    r"(?:format|form|template|structure|style)\b|\b(?:json|latex|markdown)\b"
    r"|\bin (?:the|a) (?:format|form)\b|\bformat (?:your|the) (?:final )?(?:answer|response|output)"
    r"|\bthe answer is\b"
    r"|\bfinal (?:answer|result|choice|conclusion|response)\b.*\b(?:(?:at|in) the (?:very )?end"
    r"|at last|afterwards?|last line"
    r"|clearly)|\b(?:own|separate|new|last|final) line\b"
    r"|\b(?:at the (?:very )?end|last line|end with|conclude with|finish with|end your (?:response"
    r"|answer|reply))\b.*\banswer\b|\bbefore (?:\w+ )*(?:the |your )?(?:final )?(?:answer|answering"
    r"|responding|replying)\b|\bend (?:your|the) (?:response|reply|answer|output)\b"
)
_LETTER = re.compile(
    r"\bletters?\b|\blabel\b|\b[A-H](?:, ?[A-H])*,? (?:or|and) [A-H]\b|<labels>"
    r"|\bwith (?:only )?the (?:correct |right |chosen )?(?:option|choice)\b(?!s)"
    r"|\bonly (?:the|one) (?:correct |right )?(?:option|choice)\b"
)
_NUMBER = re.compile(r"\b(?:a|one|single|only the) (?:\w+ )?(?:number|digit|numeral)\b")
_PHRASE = re.compile(
    r"\b(?:single|one|few|several|word or two)[ -]words?\b|\bone or two words\b|\bphrase\b"
    r"|\bwith a word\b|\bonly (?:the |a )?words?\b|\bone word\b"
)
_SHORT = re.compile(
    r"\b(?:briefly|concisely|succinctly|directly|tersely|brief|concise|succinct|terse|compact"
    r"|brevity|short|quick)\b|\bsingle sentence\b|\bone sentence\b|\bto the point\b"
    r"|\b(?:no|without|not|don't|avoid) (?:\w+ ){0,5}(?:explanations?|reasoning|text|steps|details?"
    r"|words|information|explain)\b|\bnothing else\b|\b(?:only|just) (?:(?:the|your|an?|final"
    r"|correct|give|provide|output|write|state) ){0,3}answer\b"
    r"|\b(?:answer|output|response|reply|write|give) only\b"
)
_ANSWERING = re.compile(
    r"\b(?:(?:correct|right|corresponding|appropriate|only the|just the) letter|letter only|tags?"
    r"|use (?:only )?(?:one|a single) word|answer\w*|respon\w+|repl(?:y"
    r"|ies)|output|options?|choices?|result|conclusion|solution"
    r"|<box>)\b|</?answer>|<box>|</?think>|####"
)
# not a demand: the answer is an integer anyway, as `FORMS` says again
_INTEGER = re.compile(r"\brequiring an? (?:integer|whole number)\b")
# "Walk through your reasoning": whatever the verb is
_VERB = re.compile(
    r"(?:(?:please|first|then|also|you (?:should|must|may|need to)|always|next)\s*,?\s*)*([a-z]+)"
    r" (?:out |through |down |up )?(?:all )?(?:of )?(?:your|the|a|an|each|every) (?:[a-z]+ ){0,3}"
    rf"(?:{_MANNERED})\b"
)
# "Make your reasoning explicit before settling on an answer": one word more may be any
_REASONED = re.compile(
    rf"\b(?:{_MANNERED})\b.*\b(?:answer|answering|conclusion|choice|response|result)\b"
)
_CHOOSING = re.compile(r"\b(?:select|choose|pick|identify|determine|find|which)\b")
_FORMED = re.compile(rf"{_THOUGHT}|{_MARKUP}")
_SPLIT = re.compile(r"(?:[,;]\s*(?:and\s+|then\s+|and then\s+)?|\s+and\s+(?:then\s+)?)")


def strip_directives(text: str) -> str:
    """The question without image marks and upstream directives on the form of the answer.

    A directive goes only as a whole sentence, parenthesis, clause before a colon or last clause;
    where nothing else is said the text stays.
    """
    return _stripped(text)[0]


def answer_form(text: str) -> str:
    """The form that the directives of `text` want: a name of `FORMS`, or "" if they name none."""
    directives = " \n ".join(_stripped(text)[1])
    plain = _plain(directives)
    number, phrase = (pattern.search(plain) for pattern in (_NUMBER, _PHRASE))
    if _LETTER.search(plain):
        return "letter"
    if _INTEGER.search(plain):
        return "integer"
    if number and phrase:
        return "short"
    return "number" if number else "phrase" if phrase else ""


def with_form(text: str, form: str, gold: str) -> str:
    """The question, and the form that was wanted of its answer unless `gold` is not of it."""
    fits = {
        "letter": re.fullmatch(r"\(?[A-Za-z](?:\s*,?\s*[A-Z])*\)?\.?", gold.strip()),
        "integer": re.search(r"\d", gold),
        "number": re.search(r"\d", gold),
        "short": len(gold.split()) <= 6,
        "phrase": len(gold.split()) <= 6,
    }
    return f"{text}\n{FORMS[form]}" if form and fits[form] else text


def _stripped(text: str) -> tuple[str, list[str]]:
    """(the text without directives, the directives); nothing goes if nothing would be left."""
    text = _IMAGE_MARK.sub("\n", text).strip()
    kept: list[str] = []
    gone: list[str] = []
    for line in text.split("\n"):
        rest = _without(line, gone)
        if rest.strip() or not line.strip():
            kept.append(rest)
    left = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()
    return (left, gone) if left else (text, [])


def _without(line: str, gone: list[str]) -> str:
    """A line without its directives, which join `gone`; exactly the line if it has none."""

    def parenthesis(match: re.Match[str]) -> str:
        if not _is_directive(match[1]):
            return match[0]
        gone.append(match[1])
        return ""

    if len(line) > 20_000:  # no directive, and costly to look at
        return line
    left = _PARENTHESIS.sub(parenthesis, line)
    if not left.strip():
        return left
    parts = list(_sentences(left))
    rests = [_rest(part, gone) for part in parts]
    return left if rests == parts else "".join(rests)


def _sentences(line: str) -> Iterator[str]:
    start = 0
    for end in _END.finditer(line):
        sentence = line[start : end.end()]
        abbreviation = _NO_END.fullmatch(sentence.split()[-1]) and not _LAST_OF_LIST.search(
            sentence
        )
        if abbreviation or _LABEL.fullmatch(sentence):
            continue
        yield sentence
        start = end.end()
    yield line[start:]


def _rest(sentence: str, gone: list[str]) -> str:
    """What is left of a sentence: all, nothing, what follows a directive's colon, or its matter."""
    if _is_directive(sentence):
        gone.append(sentence)
        return ""
    for colon in re.finditer(r":(?=\s|$)", sentence):
        if _is_directive(sentence[: colon.start()]):
            gone.append(sentence[: colon.start()])
            return sentence[colon.end() :]
    if "?" in sentence or len(sentence) > 1000:
        return sentence
    for joint in _SPLIT.finditer(sentence):
        matter, clause = sentence[: joint.start()], sentence[joint.end() :]
        if len(matter.split()) < 2 or _ANSWERING.search(matter.lower()):
            continue
        if _is_directive(clause):
            gone.append(clause)
            return matter + "."
    return sentence


def _plain(sentence: str) -> str:
    """A sentence as the patterns read it: boxes, labels and places of an answer as one word each.

    Capitals stay only where they may be options: "MUST BE" is small, "A, B or C" is not.
    """
    plain = _BOX.sub(" <box> ", sentence).replace("**", "")
    plain = _LABELS.sub(" <labels> ", plain)
    plain = _PLACE.sub(" <place> ", plain)
    plain = re.sub(r"(?i)(\banswer(?: is)?\W{0,5})X\b", r"\1 <place> ", plain)
    plain = re.sub(r"(?<=where )[A-Z](?= is)", " <place> ", plain)
    plain = re.sub(r"\b[A-H]{3,8}\b(?=\W*$| without)", " <labels> ", plain)
    plain = " ".join(plain.replace("-", " ").split())
    return re.sub(r"\b[A-Z][A-Za-z]+", lambda m: m[0].lower(), plain)


def _is_directive(sentence: str) -> bool:
    if "?" in sentence or len(sentence) > 1000:
        return False
    plain = _plain(sentence)
    low = _INTEGER.sub("requiring a number", plain.lower())
    if _OPTION.search(plain) or _DECIDING.search(low) or _CONDITION.search(low):
        return False
    return _names_a_form(plain, low) and _only_talks(plain, low)


def _names_a_form(plain: str, low: str) -> bool:
    """Whether a sentence says how to answer: by letter, in short, after reasoning, in a box."""
    formed = _FORMED.search(low)
    choosing = _CHOOSING.search(low)
    if formed and not (choosing and choosing.start() < formed.start()):
        return True
    if formed and re.search(_MARKUP, low):
        return True
    if not _ANSWERING.search(low):
        return bool(re.match(r"(?:please )?(?:be|keep it|keep this) ", low) and _SHORT.search(low))
    if _LETTER.search(plain):
        return True
    if choosing:
        return False
    if _INTEGER.search(plain.lower()):
        return True
    if re.search(r"\b(?:options?|choices?)\b", low) and not re.search(r"\b(?:only|just)\b", low):
        return False
    return any(p.search(low) for p in (_NUMBER, _PHRASE, _SHORT))


def _is_known(word: str) -> bool:
    """Whether a word, or the verb or noun that it is a form of, is of such talk."""
    endings = ("s", "es", "d", "ed", "ing")
    stems = (word[: -len(end)] for end in endings if word.endswith(end) and len(word) > 4)
    return word in _WORDS or any(stem in _WORDS for stem in stems)


def _only_talks(plain: str, low: str) -> bool:
    """Whether all words of a sentence are of those that talk of answering is made of."""
    manners = {w for m in _MANNER.finditer(low) for w in re.findall(r"[a-z]+", m[1])}
    examples = re.search(r"\be\.?g\b|\bi\.?e\b|\bsuch as\b|\bfor example\b|\blike\b", low)
    if verb := _VERB.match(low):
        manners.add(verb[1])
    spare = 1 if _REASONED.search(low) else 0
    for token in _TOKEN.findall(_INTEGER.sub("requiring a number", plain)):
        word = token.lower().strip("'’")
        if word in _MARKS or not word:
            continue
        label = len(token) == 1 and token in "ABCDEFGH"
        number = examples is not None and re.fullmatch(r"\d+(?:\.\d+)?", token)
        adverb = len(word) > 4 and word.endswith("ly")
        if label or number or adverb or _is_known(word) or word in manners:
            continue
        if not (spare and token.isalpha() and token.islower() and len(token) > 3):
            return False
        spare -= 1
    return not re.search(r"[^\s\w.,;:!()\[\]{}<>/\\$\"'`’“”*#&]", plain)
