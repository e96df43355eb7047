r"""One cleaning of text for reward, evaluation and audits: an answer without its dress.

Typography, Markdown and LaTeX have many spellings for one thing; here each thing gets one. Nothing
that carries meaning goes: `clean` changes no number, no unit, no order and no sign. The result is
still LaTeX where the answer was mathematics (`\frac{1}{2}`, `\sqrt{3}`), else plain words.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from zppo_core.rewards.packages import unpacked
from zppo_core.rewards.tables import spellings, words

LONGEST = 2000  # characters; a longer answer is compared as text alone

_UP = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ", "0123456789+-=()ni", strict=True))
_DOWN = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₙₓ", "0123456789+-=()nx", strict=True))
_SUPER = re.compile(f"[{''.join(_UP)}]+")
_SUB = re.compile(f"[{''.join(_DOWN)}]+")
MOST_MARKS = 30  # on one letter, as in Unicode's stream-safe text
_VULGAR = re.compile("[¼-¾⅐-⅞]")
_RAISED = re.compile("([⁰¹²³⁴-⁹]+)[⁄/]([₀-₉]+)")  # ⁷⁄₁₂
_ROOT = re.compile(r"([√∛∜])\s*(\{|\(|\d+(?:\.\d+)?|[A-Za-zπ])?")
_GREEK = {chr(0x3B1 + i): rf"\{name} " for i, name in enumerate(words("greek"))}
_CHARACTERS = (
    spellings("characters")
    | _GREEK
    | {
        capital: rf"\{name} "
        for capital, name in zip("ΔΣΦΓΘ", ("Delta", "Sigma", "Phi", "Gamma", "Theta"), strict=True)
    }
)
_GREEK_WORD = re.compile("[Ͱ-Ͽ]{2,}")
_ODD = re.compile("|".join(map(re.escape, _CHARACTERS)))

_ALIASES = spellings("commands")  # "" for commands that only set a size
_BOARD = re.compile(r"\\(?:mathbb|Bbb)\s*\{?\s*([A-Z])\s*\}?")
_COMMAND = re.compile(r"\\([A-Za-z]+)")
_TEXT_NAMES = (
    "text|textbf|textit|textrm|textsf|texttt|textsc|textnormal|textup|emph|mbox|mathrm|mathbf|mathit|"
    "mathsf|mathtt|mathcal|mathfrak|boldsymbol|bm|pmb|operatorname|underline|uline|ce|"
    "boxed|fbox|mathop|mathord|mathbin|mathrel|hphantom|url|verb|tag|unit|si|ensuremath|bold"
)
_TEXT = re.compile(rf"\\({_TEXT_NAMES})\s*\*?\s*(?=\{{)")
_BRACES = re.compile(r"\\[{}]|[{}]")
_TEXT_BARE = re.compile(rf"\\(?:{_TEXT_NAMES})\s+(?=[A-Za-z0-9])")
COLOUR = r"\\(?:textcolor|color)\s*(?:\[\w*\])?\s*\{[^{}]{0,30}\}"
HOLDING = "rm|bf|it|sf|tt|em|sc|cal|bfseries|itshape"  # commands that hold until their group ends
_COLOUR = re.compile(COLOUR)
_COLOURED = re.compile(rf"(?<![\^_A-Za-z}}]){COLOUR}\s*(?=\{{)")
# {\rm cm}; the braces of \frac{\rm m}{\rm s} and of ^{\rm th} are arguments
_SWITCH = re.compile(rf"(?<![\^_A-Za-z}}\]\\])\{{\s*(?:\\(?:{HOLDING})(?![A-Za-z])|{COLOUR})")
_UNIT_GROUP = re.compile(r"(?<=\d)\s*\{\s*([A-Za-z]+(?:/[A-Za-z]+)?)\s*\}$")
_PRIMES = re.compile(r"\^\s*(?:\{\s*('+)\s*\}|('))")
_TIES = re.compile(r"(?<=\d)~(?=[A-Za-z\\])|(?<=[A-Za-z]{2})~(?=[A-Za-z]{2})|(?<=[,.:)])~")
_FUNCTIONS = re.compile(
    r"(?:sin|cos|tan|cot|sec|csc|ln|log|exp|arcsin|arccos|arctan|sinh|cosh|tanh|lg|gcd|lcm|max|min)"
)
_SPACES = re.compile(r"\\[!,;:> ]|~|\\\n")
_GROUPED = re.compile(r"(?<=\d)(?:\\[,!;: ]|\{,\}|~)+(?=\d{3}(?!\d))")
_BRACED_SIGN = re.compile(r"\{([,:=;<>+*/-])\}")
_ESCAPED = re.compile(r"\\([%&#_$])")
_NULL_DELIMITER = re.compile(r"\\(?:left|right)\s*\.")
_BODY = r"((?:[^{}]|\{[^{}]*\})*?)"
_OVER = re.compile(rf"\{{{_BODY}\\over(?![A-Za-z]){_BODY}\}}")
_BARE_OVER = re.compile(rf"{_BODY}\\over(?![A-Za-z]){_BODY}")
_BESIDE = re.compile(r"([,;=])")
_AT_BRACKETS = re.compile(r"([()\[\]])")
MOST_OVER = 20  # a text with more is no answer
_DEGREE = re.compile(
    r"\^\s*\{?\s*(?:\\circ(?![A-Za-z])|°|o(?=\})|(?<=\d\^)o(?![A-Za-z]))\s*\}?|\\circ(?![A-Za-z])"
)
_MATHS = re.compile(r"\\[()\[\]]")
_SIGNS = (
    (re.compile(r"(?<=\d)\s*-{2,3}\s*(?=\d)"), "-"),
    (re.compile(r"\\not\s*="), r"\\ne "),
    (re.compile(r"\\not\s*\\in(?![A-Za-z])"), r"\\notin "),
    (re.compile(r"<="), r"\\le "),
    (re.compile(r">="), r"\\ge "),
    (re.compile(r"!=|=/="), r"\\ne "),
    (re.compile(r"<-+>"), r"\\leftrightarrow "),
    (re.compile(r"-+>"), r"\\to "),
    (re.compile(r"=+>"), r"\\Rightarrow "),
    (re.compile(r"=="), "="),
    (re.compile(r"\+/-|\+-"), r"\\pm "),
    (re.compile(r"\.{3,}"), r"\\ldots "),
)
_LEAD = re.compile(
    r"(?:(?:the|my)\s+)?(?:final\s+|correct\s+)?(?:answer|ans)\s*(?:is|[:=])+\s*|答案\s*[是为:]*\s*"
    r"|答\s*:\s*|共(?=[0-9])|\\therefore(?![A-Za-z])\s*|therefore,?\s+|thus,?\s+|hence,?\s+|所以,?"
    r"|(?:so,?|there (?:are|is|were|will be)|exactly|only|just|a total of|approximately|approx\.?"
    r"|about|roughly|around|we (?:get|have)|it is)\s+(?=[-$.\d\\(])"
    r"|(?:~|\\sim(?![A-Za-z]))\s*(?=[-$.\d])",
    re.IGNORECASE,
)
_ONLY = re.compile(r"(?<=[\d})\]])\s+only$")
_EMPTY_SET = re.compile(r"\\?\{\s*\\?\}$|^(?:the )?empty set$|^空集$", re.IGNORECASE)
_MINUS_INFINITY = re.compile(r"(?:negative|minus) infinity", re.IGNORECASE)
_WRAPS = tuple((mark, mark) for mark in ("**", "__", "*", "_", "'", '"', "`"))
# 1'000'000 and 1_000_000
_QUOTED = re.compile(r"(?<![\w'.])\d{1,3}(?:'\d{3}(?:'\d{3})*|_\d{3}(?:_\d{3})*)(?![\w'])")
# a mixed number whose parts stand in braces: {1}\frac{1}{2}, 1{\frac{1}{2}}
_BRACED_WHOLE = re.compile(r"(?<![\^_A-Za-z}\]])\{(\d+)\}(?=\s*\\frac)")
_BRACED_PART = re.compile(r"(?<=\d)\s*\{(\\frac\s*(?:\{\d+\}|\d)\s*(?:\{\d+\}|\d))\}$")
_STRUCK = re.compile(r"~~(?=[^\s~])(.+?)(?<=[^\s~])~~")  # taken back, as by \sout
_LOGIC = re.compile(r"\\(?:land|lor|wedge|vee|neg|lnot|forall|exists)(?![A-Za-z])")
_NOT = re.compile(r"(?:(?<=[\s(\[{])|^)(?:~|\\sim(?![A-Za-z])\s*)(?=[A-Za-z(])")  # ~p is no p
_CONTROL = dict.fromkeys((*range(32), *range(127, 160)), " ")
_NEWLINE = "\ue000"  # a row's end in a matrix, until the end of the cleaning
_SYSTEM = re.compile(
    r"(?:\\\{)?\s*\\begin\s*\{(?:cases|aligned|gathered|array(?<=\\\{\\begin\{array)\}\{l)\}(.*)"
    r"\\end\s*\{(?:cases|aligned|gathered|array)\}",
    re.DOTALL,
)
_WHITE = re.compile(r"\s+")
_PLAIN = re.compile(r"[A-Za-z0-9]+(?:\.[0-9]+)?")
_TRAILING = ".;, "


@lru_cache(maxsize=1 << 16)
def clean(text: str) -> str:
    """`text` in its one spelling: NFKC, ASCII signs, no mark-up, single spaces."""
    if _PLAIN.fullmatch(text):
        return text
    text = text[: 4 * LONGEST].translate(_CONTROL)
    if not text.isascii():
        text = _ascii_signs(text)
    text = _without_mark_up(text)
    if "~~" in text:
        text = _STRUCK.sub(r"\\sout{\1}", text)
    if "\\" in text:
        text = _without_latex_dress(text)
    if "'" in text or "_" in text:
        text = _QUOTED.sub(lambda m: re.sub("['_]", ",", m.group()), text)
    if "~" in text:
        text = _TIES.sub(" ", text)
    if "{" in text:
        text = _BRACED_SIGN.sub(r"\1", text)
    if "^o" in text:
        text = _DEGREE.sub("°", text)
    text = _dollars(text)
    text = _ESCAPED.sub(r"\1", text)
    for pattern, sign in _SIGNS:
        text = pattern.sub(sign, text)
    text = _WHITE.sub(" ", text.replace(_NEWLINE, r" \\ ")).strip()
    if r"\equiv" in text:
        text = _MODULUS.sub(_modulus, text)
    if text.endswith("}"):
        text = _UNIT_GROUP.sub(_ungrouped, text)
    text = _without_mark_up(text)
    lead = _LEAD.match(text)
    if lead and lead.end() < len(text):
        text = text[lead.end() :]
    if text.endswith("only"):
        text = _ONLY.sub("", text)
    text = _EMPTY_SET.sub(r"\\emptyset", text.rstrip(" \\"))
    if _MINUS_INFINITY.fullmatch(text.rstrip(_TRAILING)):
        return r"-\infty"
    if text and text[-1] in _TRAILING and not text.endswith(("\\,", "\\;")):
        text = text[:-1]
    return _without_mark_up(text.strip())


_TYPED = {c: sign for c, sign in spellings("characters").items() if "\\" not in sign}
_TYPE = re.compile("|".join(map(re.escape, _TYPED)))


def typography(text: str) -> str:
    """`text` in one typography: NFKC, ASCII dashes, quotes, commas and digits, nothing else.

    The first of `clean`'s steps, for rules that compare words as they stand: it makes no LaTeX.
    """
    if text.isascii():
        return text
    sign = lambda match: _TYPED[match.group()]  # noqa: E731
    text = _TYPE.sub(sign, _normal(_TYPE.sub(sign, text)))
    return "".join(c for c in text if c.isascii() or unicodedata.category(c) != "Cf")


def _ascii_signs(text: str) -> str:
    text = _RAISED.sub(_raised, text)
    text = _SUPER.sub(lambda m: "^{" + "".join(_UP[c] for c in m.group()) + "}", text)
    text = _SUB.sub(lambda m: "_{" + "".join(_DOWN[c] for c in m.group()) + "}", text)
    text = _VULGAR.sub(_vulgar, text)
    text = _ROOT.sub(_root, text)
    # Greek words are words; a single letter is a symbol
    greek = _GREEK_WORD.search(text) is not None and "π" not in text

    def sign(match: re.Match[str]) -> str:
        c = match.group()
        return c if greek and "Ͱ" <= c <= "Ͽ" else _CHARACTERS[c]

    text = _ODD.sub(sign, _normal(_ODD.sub(sign, text)))
    return "".join(c for c in text if c.isascii() or unicodedata.category(c) != "Cf")


def _normal(text: str) -> str:
    """NFKC, of marks on one letter the first few: to sort thousands costs the square of them."""
    run, kept = 0, []
    for c in text:
        run = run + 1 if unicodedata.combining(c) else 0
        if run <= MOST_MARKS:
            kept.append(c)
    return unicodedata.normalize("NFKC", "".join(kept))


def _vulgar(match: re.Match[str]) -> str:
    top, _, bottom = unicodedata.normalize("NFKC", match.group()).partition("⁄")
    return rf"\frac{{{top}}}{{{bottom}}}"


def _raised(match: re.Match[str]) -> str:
    top, bottom = (unicodedata.normalize("NFKC", part) for part in match.groups())
    return rf"\frac{{{top}}}{{{bottom}}}"


def _root(match: re.Match[str]) -> str:
    command = {"√": r"\sqrt", "∛": r"\sqrt[3]", "∜": r"\sqrt[4]"}[match.group(1)]
    body = match.group(2)
    if body is None:
        return command
    return command + (body if body in "{(" else f"{{{body}}}")


def _without_mark_up(text: str) -> str:
    """`text` without bold, quotes or code marks around the whole of it."""
    text = text.strip()
    for _ in range(3):
        for start, end in _WRAPS:
            inner = text[len(start) : -len(end)]
            if (
                text.startswith(start)
                and text.endswith(end)
                and inner.strip()
                and start not in inner
                and end not in inner
            ):
                text = inner.strip()
    return (
        text.replace("**", "")
        if text.count("**") >= 2 and not re.search(r"\w\*\*\w", text)
        else text
    )


def _without_latex_dress(text: str) -> str:
    text = unpacked(text)
    if r"\begin" in text:
        text = text.replace("\\\\", _NEWLINE)
    else:
        text = text.replace("\\\\", " " if not text.startswith("\\\\") else "\\")
    if ("~" in text or r"\sim" in text) and _LOGIC.search(text):
        text = _NOT.sub(r"\\neg ", text)
    text = _MATHS.sub(" ", text)
    text = _GROUPED.sub(",", text)
    text = _SPACES.sub(" ", text)
    text = _SWITCH.sub(r"\\text{", _COLOURED.sub(r"\\text", text))
    text = _COLOUR.sub("", _NULL_DELIMITER.sub("", text))
    if 0 < text.count(r"\over") <= MOST_OVER:
        text = _fractions(text)
    text = _TEXT_BARE.sub("", _without_text_commands(text))
    text = _COMMAND.sub(_alias, _BOARD.sub(r"\\\1 ", text))
    system = _SYSTEM.fullmatch(text.strip())
    if system and "&" not in (rows := system.group(1).replace("&=", "=")):
        text = rows.strip(f" {_NEWLINE}").replace(_NEWLINE, ", ").replace(",,", ",")
    if r"{\frac" in text or r"}\frac" in text:
        text = _BRACED_PART.sub(r"\1", _BRACED_WHOLE.sub(r"\1", text))
    text = _PRIMES.sub(lambda m: m.group(1) or m.group(2), text)
    return _DEGREE.sub("°", text)


def _fractions(text: str) -> str:
    r"""`{a \over b}` as `\frac{a}{b}`, and `a \over b` alone, in a list or in an equation."""
    text = _OVER.sub(r"\\frac{\1}{\2}", text)
    parts = _BESIDE.split(text.strip(" $"))
    return "".join(map(_fraction, parts)) if any("\\over" in part for part in parts) else text


def _fraction(part: str) -> str:
    whole = _BARE_OVER.fullmatch(part)
    if whole is None:
        return part
    top, bottom = whole.group(1).strip(), whole.group(2).strip()
    if any(top.count(a) != top.count(b) for a, b in ("()", "[]")):
        return "".join(map(_fraction, _AT_BRACKETS.split(part)))  # (1 \over 2
    return rf"\frac{{{top}}}{{{bottom}}}"


_AFTER_COMMAND = re.compile(r"\\[A-Za-z]+$")


_MODULUS = re.compile(
    r"\s*(?:,\s*)?(?:\\p(?:mo)?d\s*(?:\{([^{}]*)\}|(\w))"
    r"|\(\s*\\?[bp]?mod(?![a-z])\s*(?:\{([^{}]*)\}|([^(){}]*?))\s*\)"
    r"|\\?b?mod(?![a-z])\s*(?:\{([^{}]*)\}|(\d+|[a-z])(?!\w)))"
)


def _modulus(match: re.Match[str]) -> str:
    """One spelling of `mod 7` behind a congruence."""
    return rf" \pmod{{{next(g for g in match.groups() if g is not None).strip()}}}"


_TAKES_IT = re.compile(r"\\[A-Za-z]+\s*\d$")  # \frac 1{ab}


def _ungrouped(match: re.Match[str]) -> str:
    """A unit that stands in braces behind its number, without them."""
    before = match.string[max(0, match.start() - 20) : match.start()]
    return match.group() if _TAKES_IT.search(before) else " " + match.group(1)


def _without_text_commands(text: str) -> str:
    r"""`text` without `\text{...}` and its like around words and mathematics."""
    commands = list(_TEXT.finditer(text))
    if not commands:
        return text
    closing: dict[int, int] = {}
    open_: list[int] = []
    for match in _BRACES.finditer(text):
        if match.group() == "{":
            open_.append(match.start())
        elif match.group() == "}" and open_:
            closing[open_.pop()] = match.start()
    pieces = list(text)
    for match in commands:
        start = match.end()
        end = closing.get(start)
        if end is None:
            continue
        before, after = _padding(text, match, start, end)
        pieces[match.start() : start + 1] = [before, *[""] * (start - match.start())]
        pieces[end] = after
    return "".join(pieces)


def _padding(text: str, match: re.Match[str], start: int, end: int) -> tuple[str, str]:
    """What stands for a text command's two braces: a space where words would run together."""
    content = text[start + 1 : min(end, start + 40)]
    if match.group(1) == "operatorname" and _FUNCTIONS.fullmatch(content.strip()):
        return "\\", " "
    if content[:1].isalpha() and _AFTER_COMMAND.search(
        text[max(0, match.start() - 20) : match.start()]
    ):
        return " ", ""  # a product sign before seconds is no \cdots
    if sum(c.isalpha() for c in content) < 2 or content.startswith("\\"):
        return "", ""
    before, after = text[match.start() - 1 : match.start()], text[end + 1 : end + 2]
    return " " if before.isalnum() else "", " " if after.isalnum() else ""


def _alias(match: re.Match[str]) -> str:
    name = match.group(1)
    alias = _ALIASES.get(name)
    if alias is None:
        return match.group()
    after = match.string[match.end() : match.end() + 1]
    return alias + (" " if alias[-1:].isalpha() and after.isalpha() else "")


_UNITS = re.compile(r"°|%")


def without_units(answer: str) -> str:
    """A cleaned `answer` with degree and percent signs removed (section 6)."""
    return _UNITS.sub("", answer).strip()


_CURRENCY_DOLLAR = re.compile(r"\\?\$\s*(?=\d|\.\d)")


def _dollars(text: str) -> str:
    """`text` without the dollars around mathematics; those before a number are money."""
    bare = [m.start() for m in re.finditer(r"(?<!\\)\$", text)]
    if not bare:
        return text
    money = all(_CURRENCY_DOLLAR.match(text, i) for i in bare)
    if money or len(bare) == 1:
        return text
    return re.sub(r"(?<!\\)\$", "", text)
