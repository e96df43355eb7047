r"""A strict parser of LaTeX and plain text that reads all of it or nothing.

What it does not know (`\uparrow`, `\sum`, words, `B2`) makes the whole text no expression. Trees
are tuples `(operator, *operands)`; nothing is evaluated here but small exact arithmetic.
"""

from __future__ import annotations

import re
from fractions import Fraction

from zppo_core.rewards.numbers import read_number
from zppo_core.rewards.tables import spellings, words
from zppo_core.rewards.trees import Tree, bare, name_of

DEEPEST = 40  # nested brackets
MOST_FACTORS = 200
LONGEST = 1000  # characters

_FUNCTIONS, _SYMBOLS, _MARKED = (set(words(n)) for n in ("functions", "symbols", "marked"))
_SAME_MARK = spellings("same_marks")
_NAME = re.compile(r"\\([A-Za-z]+)|([A-Za-z])")
_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+")
_RUN = re.compile(r"[A-Za-z]+")
_SUBSCRIPT = re.compile(r"_\s*(?:\{([A-Za-z0-9 ,+-]{1,20})\}|([A-Za-z0-9]))")
_CHOSEN = re.compile(r"_\s*(?:\{(\d{1,3})\}|(\d{1,2}))\s*\^\s*(?:\{(\d{1,3})\}|(\d{1,2}))")
# no argument of a function goes beyond these: \sin x \cdot y is a product
_NO_FACTOR = {"rfloor", "rceil", "rangle", "choose", "right", "pm", "mp", "cdot", "times", "ldots"}
_NO_FACTOR |= {relation.removeprefix("\\") for relation in words("relations")}
_TRIG = {"sin", "cos", "tan", "cot", "sec", "csc"}
_CALLED = set("fghFGHPVE")
_MIXED = re.compile(r"\s*\\frac\s*(?:\{\s*(\d+)\s*\}|(\d))\s*(?:\{\s*(\d+)\s*\}|(\d))")
_LOG_BASE = re.compile(r"(\d{1,3})(?=\()")  # log2(8), as programs have it
_CHOSEN_FROM = re.compile(r"\(\s*([\dA-Za-z+-]{1,8})\s*,\s*([\dA-Za-z+-]{1,8})\s*\)")
_REPEAT = re.compile(r"\d*\.\d*(?:\\overline\{\d+\}|\\dot\{?\d\}?)")


class NotMathsError(ValueError):
    """The text is no expression that is known here."""


class Parser:
    def __init__(self, text: str) -> None:
        self.text, self.place, self.depth, self.bars, self.size = text, 0, 0, 0, 0

    def space(self) -> None:
        while self.place < len(self.text) and self.text[self.place] == " ":
            self.place += 1

    def peek(self) -> str:
        self.space()
        return self.text[self.place : self.place + 1]

    def take(self, word: str) -> bool:
        self.space()
        if not self.text.startswith(word, self.place):
            return False
        after = self.place + len(word)
        if word[-1].isalpha() and word[0] == "\\" and self.text[after : after + 1].isalpha():
            return False
        self.place = after
        return True

    def need(self, word: str) -> None:
        if not self.take(word):
            raise NotMathsError(f"{word} is missing")

    def sum(self) -> Tree:
        self.depth += 1
        if self.depth > DEEPEST:
            raise NotMathsError("nested too deep")
        negative = self.take("-")
        if not negative:
            self.take("+")
        tree = self.product()
        if negative:
            tree = ("neg", tree)
        while True:
            if self.take("+"):
                tree = ("add", tree, self.product())
            elif self.take("-"):
                tree = ("add", tree, ("neg", self.product()))
            else:
                break
        self.depth -= 1
        return tree

    def product(self) -> Tree:
        tree = self.factor()
        while True:
            if self.take("**"):
                raise NotMathsError("a power of a power")
            if self.take("*") or self.take(r"\cdot") or self.take(r"\times"):
                tree = ("mul", tree, self.signed())
            elif self.take("/"):
                tree = ("div", tree, self.signed())
            elif self.begins():
                right = self.factor()
                if right[0] == "num" and right[-1] != "group" and tree != ("i",):
                    raise NotMathsError("a number behind something")
                tree = ("mul", tree, right)
            else:
                return tree

    def signed(self) -> Tree:
        return ("neg", self.factor()) if self.take("-") else self.factor()

    def begins(self) -> bool:
        """Whether a further factor begins here without an operator."""
        c = self.peek()
        if not c or c in "+-*/^_)]},;=<>!|°%'&":
            return c == "|" and not self.bars
        if c == "\\":
            match = _NAME.match(self.text, self.place)
            if match is None:
                return self.text.startswith(r"\{", self.place)
            return match.group(1) not in _NO_FACTOR
        return c.isalnum() or c in "([{."

    def factor(self) -> Tree:
        self.size += 1
        if self.size > MOST_FACTORS:
            raise NotMathsError("too long")
        tree = self.postfix(self.atom())
        if self.take("^") or self.take("**"):
            tree = ("pow", tree, self.exponent())
            tree = self.postfix(tree)  # a second exponent is left over, and what is left over fails
        return tree

    def postfix(self, tree: Tree) -> Tree:
        while True:
            if self.take("!"):
                count = 1
                while self.take("!"):
                    count += 1
                if count == 2:
                    tree = ("fac2", tree)
                else:
                    for _ in range(count):
                        tree = ("fac", tree)
            elif self.take("°"):
                tree = ("mul", tree, ("div", ("pi",), ("num", Fraction(180))))
            elif self.take("%"):
                tree = ("div", tree, ("num", Fraction(100)))
            elif self.peek() == "'" and tree[0] == "sym":
                self.take("'")
                tree = ("sym", name_of(tree) + "'")
            else:
                return tree

    def exponent(self) -> Tree:
        if self.take("-"):
            return ("neg", self.exponent())
        if self.peek() == "{":
            return self.group("{", "}")
        tree = self.postfix(self.atom(exponent=True))
        if self.take("^"):  # 9^9^9 as people write it
            tree = ("pow", tree, self.exponent())
        return tree

    def group(self, left: str, right: str) -> Tree:
        self.need(left)
        bars, self.bars = self.bars, 0
        tree = self.sum()
        self.need(right)
        self.bars = bars
        return (*tree, "group") if tree[0] == "num" and tree[-1] != "group" else tree

    def argument(self) -> Tree:
        r"""What a command takes: a group, or one character, as LaTeX has it."""
        if self.peek() == "{":
            return self.group("{", "}")
        if self.peek().isdigit():
            self.place += 1
            return ("num", Fraction(int(self.text[self.place - 1])))
        if self.peek().isascii() and self.peek().isalpha():
            self.place += 1
            return self.symbol(self.text[self.place - 1])  # \frac x2
        if self.peek() in ("", "\\"):
            return self.atom(exponent=True)
        raise NotMathsError("an argument is missing")

    def atom(self, exponent: bool = False) -> Tree:
        c = self.peek()
        if (c.isascii() and c.isdigit()) or c == ".":
            return self.number()
        if c == "(":
            return self.group("(", ")")
        if c == "[":
            return self.group("[", "]")
        if c == "{":
            return self.braces()
        if c == "|" and not self.bars:
            self.take("|")
            self.bars = 1
            tree = self.sum()
            self.need("|")
            self.bars = 0
            return ("abs", tree)
        if c == "\\":
            return self.command()
        if c.isascii() and c.isalpha():
            return self.letter(exponent)
        raise NotMathsError(f"{c!r} is unknown")

    def braces(self) -> Tree:
        tree = self.group("{", r"\choose") if self.has_choose() else self.group("{", "}")
        if self.text.startswith(r"\choose", self.place - 7):
            bottom = self.sum()
            self.need("}")
            return ("binom", bare(tree), bottom)
        return tree

    def has_choose(self) -> bool:
        end = self.text.find("}", self.place)
        return r"\choose" in self.text[self.place : end]

    def number(self) -> Tree:
        repeating = _REPEAT.match(self.text, self.place)
        if repeating:
            number = read_number(repeating.group())
            if number is None:
                raise NotMathsError("no number")
            self.place = repeating.end()
            return ("num", number.value)
        match = _NUMBER.match(self.text, self.place)
        if match is None:
            raise NotMathsError("no number")
        self.place = match.end()
        if len(match.group()) > 400:
            raise NotMathsError("a number too long")
        value = Fraction(match.group().replace(",", ""))
        after = self.text[self.place : self.place + 1]
        if after == "_":
            raise NotMathsError("a number with a subscript")
        mixed = _MIXED.match(self.text, self.place)
        if mixed and value.denominator == 1:
            top, bottom = mixed.group(1) or mixed.group(2), mixed.group(3) or mixed.group(4)
            if int(bottom):
                self.place = mixed.end()
                return ("num", value + Fraction(int(top), int(bottom)))
        return ("num", value)

    def letter(self, exponent: bool) -> Tree:
        run = _RUN.match(self.text, self.place)
        assert run is not None
        word = run.group()
        if word in _FUNCTIONS:
            self.place = run.end()
            return self.function(word)
        if word in ("pi", "Pi", "infty", "inf", "infinity", "Infinity"):
            self.place = run.end()
            return ("pi",) if word in ("pi", "Pi") else ("inf",)
        if len(word) == 4 and word[:3] in ("sin", "cos", "tan", "log"):
            self.place += 3
            return self.function(word[:3])
        # a word is no product of its letters, and B2 is a name
        after = self.text[run.end() : run.end() + 1]
        if len(word) > 3 or (after.isdigit() and word[-1] not in "i"):
            raise NotMathsError(f"{word!r} is a word")
        self.place += 1
        return self.symbol(word[0])

    def symbol(self, name: str) -> Tree:
        chosen = _CHOSEN.match(self.text, self.place)
        if name == "C" and chosen:  # C_5^2, as Chinese schools write it
            self.place = chosen.end()
            n, k = (
                next(g for g in pair if g) for pair in (chosen.groups()[:2], chosen.groups()[2:])
            )
            return ("binom", ("num", Fraction(int(n))), ("num", Fraction(int(k))))
        called = _CHOSEN_FROM.match(self.text, self.place) if name == "C" else None
        if called:  # C(5, 2)
            self.place = called.end()
            return ("binom", *(Parser(part).sum() for part in called.groups()))
        subscript = _SUBSCRIPT.match(self.text, self.place)
        if subscript:
            self.place = subscript.end()
            name += "_" + (subscript.group(1) or subscript.group(2)).replace(" ", "")
        elif self.text[self.place : self.place + 1] == "_":
            raise NotMathsError("an unknown subscript")
        elif name == "e":
            return ("e",)
        elif name == "i":
            return ("i",)
        if name in _CALLED and self.text[self.place : self.place + 1] in ("(", "'"):
            end = self.text.find(")", self.place)
            if end < 0:
                raise NotMathsError("no end of an argument")
            name += self.text[self.place : end + 1].replace(" ", "")
            if name.count("(") != 1:
                raise NotMathsError("an argument too deep")
            self.place = end + 1
        return ("sym", name)

    def command(self) -> Tree:
        match = _NAME.match(self.text, self.place)
        if match is None:
            raise NotMathsError("an unknown sign")
        name = str(match.group(1))
        self.place = match.end()
        if name == "frac":
            top = bare(self.argument())
            return ("div", top, bare(self.argument()))
        if name == "sqrt":
            return self.root()
        if name == "binom":
            return ("binom", bare(self.argument()), bare(self.argument()))
        if name == "pi":
            return ("pi",)
        if name == "infty":
            return ("inf",)
        if name in _SYMBOLS:
            return self.symbol("\\" + name)
        if name in _FUNCTIONS:
            return self.function(name)
        if name in _MARKED:
            return self.marked(name)
        if name in ("lfloor", "lceil"):
            tree = self.sum()
            self.need("\\r" + name[1:])
            return ("floor" if name == "lfloor" else "ceil", tree)
        raise NotMathsError(f"\\{name} is unknown")

    def marked(self, name: str) -> Tree:
        body = re.compile(r"\s*(?:\{\s*([A-Za-z0-9]{1,4})\s*\}|([A-Z]{1,4}|[A-Za-z0-9]))").match(
            self.text, self.place
        )
        if body is None:
            raise NotMathsError("a mark over something unknown")
        self.place = body.end()
        name = _SAME_MARK.get(name, name)
        return ("sym", rf"\{name} {body.group(1) or body.group(2)}")

    def root(self) -> Tree:
        degree: Tree = ("num", Fraction(2))
        if self.peek() == "[":
            degree = bare(self.group("[", "]"))
        if self.peek() == "(":
            return ("root", bare(self.group("(", ")")), degree)
        if self.peek().isdigit():
            return ("root", self.number(), degree)
        return ("root", bare(self.argument()), degree)

    def function(self, name: str) -> Tree:
        name = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "lg": "log"}.get(name, name)
        base: Tree | None = None
        power: Tree | None = None
        if name == "log" and self.take("_"):
            base = bare(self.argument())
        elif name == "log" and (written := _LOG_BASE.match(self.text, self.place)):
            base, self.place = ("num", Fraction(written.group(1))), written.end()
        if name == "sqrt":
            return self.root()
        if self.take("^"):
            power = bare(self.exponent())
        operand = self.operand(name)
        if name == "log":
            tree: Tree = ("log", operand, base or ("num", Fraction(10)))
        elif name == "exp":
            tree = ("pow", ("e",), operand)
        elif name == "abs":
            tree = ("abs", operand)
        else:
            tree = ("fn", name, operand)
        if power is None:
            return tree
        if power == ("neg", ("num", Fraction(1))):
            if name not in ("sin", "cos", "tan"):
                raise NotMathsError("an inverse of something")
            return ("fn", "arc" + name, operand)
        return ("pow", tree, power)

    def operand(self, name: str) -> Tree:
        if name in ("max", "min", "gcd", "lcm"):
            raise NotMathsError("a function of many")
        if self.peek() == "(":
            return bare(self.group("(", ")"))
        if self.peek() == "{":
            return bare(self.group("{", "}"))
        if self.text.startswith(r"\{", self.place):
            return bare(self.group(r"\{", r"\}"))
        if self.peek() == "|":
            return self.atom()
        tree = self.factor()
        if name in _TRIG and (self.take("degrees") or self.take("degree")):
            return ("mul", tree, ("div", ("pi",), ("num", Fraction(180))))
        # sin 2x, ln 2\pi: letters and constants that follow belong to the argument
        while self.begins() and self.peek() not in "([{" and not self.at_function():
            tree = ("mul", tree, self.factor())
        if name != "sqrt" and self.peek() == "/" and tree[0] in ("pi", "num"):
            raise NotMathsError("what is divided is unclear")
        return tree

    def at_function(self) -> bool:
        match = re.compile(r"\\?([A-Za-z]+)").match(self.text, self.place)
        return match is not None and match.group(1) in _FUNCTIONS
