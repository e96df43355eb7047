"""Prompt templates (section 5) and the wall that keeps sampled text from acting inside them.

The wording is ours and lives in `prompts/*.jinja`; a user replaces any of them by a folder with
files of the same names. Whatever a model wrote passes `neutralise` before it enters a prompt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from zppo_core.errors import UserError

TEMPLATES = ("closer", "bcq", "ncq", "compress", "hint", "write_hint", "judge")

# tags that carry structure in our prompts, or are single special tokens of Qwen3.5
_TAGS = "candidate|response|summary|hint|question|gold|think|tool_call|tool_response|image|video"
_TAG = re.compile(rf"<\s*(/?)\s*({_TAGS})\s*(/?)\s*>", re.IGNORECASE)
_SPECIAL = re.compile(r"<\|([^<>|]*)\|>")


@dataclass(frozen=True)
class Templates:
    """The seven templates; `folder` overrides any of them with files of the same names."""

    folder: str = ""
    _environment: Environment = field(
        # no file or program is reached from a template, and no loop runs for ever
        default_factory=lambda: ImmutableSandboxedEnvironment(
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=False,
            autoescape=False,  # plain text for a model, never HTML
        ),
        repr=False,
        compare=False,
    )
    _compiled: dict[str, Template] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.folder and not Path(self.folder).is_dir():
            raise UserError(f"prompt folder {self.folder!r} does not exist; create it or unset it")

    def source(self, name: str) -> str:
        """The template's text: the user's file if there is one, else ours."""
        if name not in TEMPLATES:
            raise KeyError(name)
        own = self._own(name)
        if own is None:
            ours = resources.files("zppo_core.prompts") / f"{name}.jinja"
            return ours.read_text(encoding="utf-8")
        try:
            return own.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{own}: {error}; save it as UTF-8 text") from None

    def _own(self, name: str) -> Path | None:
        """The user's file of a template, None if it is ours."""
        path = Path(self.folder) / f"{name}.jinja" if self.folder else None
        return path if path is not None and path.is_file() else None

    def render(self, name: str, **values: object) -> str:
        """The template `name` with `values`, white space at its ends removed."""
        try:
            if name not in self._compiled:  # hundreds of prompts a step are made of a few templates
                self._compiled[name] = self._environment.from_string(self.source(name))
            return self._compiled[name].render(**values).strip()
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            place = self._own(name) or f"{name}.jinja"
            raise UserError(f"{place}, line {line_of(error)}: {error}; mend the template") from None

    def check(self) -> None:
        """Render every template with a sample, before anything is spent on prompts.

        UserError names file and line of a fault, or what of the sample a template leaves out.
        """
        question, right, wrong = "How many cats?", "Two, so \\boxed{2}.", "Three, so \\boxed{3}."
        if not self.closer:
            raise UserError(f"{self._own('closer')}: it is empty; say where the answer goes")
        samples = {
            "bcq": (self.bcq(question, right, wrong, True), (question, right, wrong)),
            "ncq": (self.ncq(question, ["3", "4"], [wrong]), (question, wrong)),
            "hint": (self.hint(question, "count them"), (question, "count them")),
            "compress": (self.compress(right), (right,)),
            "write_hint": (self.write_hint(question, right), (question, right)),
            "judge": (self.judge(question, "2", right), (question, "2", right)),
        }
        for name, (text, parts) in samples.items():
            missing = next((part for part in parts if part not in text), None)
            if missing is not None:
                raise UserError(
                    f"{self._own(name) or name}: leaves out {missing!r}, which it is given; "
                    "print each of its variables"
                )

    @cached_property
    def closer(self) -> str:
        return self.render("closer")

    def with_closer(self, question_text: str) -> str:
        """The question as it is asked at training and at evaluation (section 5)."""
        return f"{question_text}\n{self.closer}"

    def neutralise(self, text: str) -> str:
        """`text` with every control token, structural tag and copy of the closer made inert.

        Idempotent. `<|x|>` and `<candidate>` become `[x]` and `[candidate]`; the closer goes.
        """
        before = None
        while before != text:
            before = text
            text = _SPECIAL.sub(r"[\1]", text)
            text = _TAG.sub(r"[\1\2\3]", text)
            # the closer's own tags were rewritten above: remove it in both spellings
            for closer in (self.closer, _TAG.sub(r"[\1\2\3]", self.closer)):
                text = text.replace(closer, "")
        return text.strip()

    def bcq(self, question_text: str, right: str, wrong: str, right_first: bool) -> str:
        """The binary candidate question: two unlabelled candidates, one right and one wrong."""
        pair = [self.neutralise(right), self.neutralise(wrong)]
        candidates = pair if right_first else pair[::-1]
        return self.render("bcq", question=question_text, candidates=candidates, closer=self.closer)

    def ncq(self, question_text: str, answers: Sequence[str], traces: Sequence[str]) -> str:
        """The negative candidate question: the distinct wrong answers, then every wrong trace."""
        distinct = list(dict.fromkeys(self.neutralise(a) for a in answers))
        return self.render(
            "ncq",
            question=question_text,
            answers=distinct,
            candidates=[self.neutralise(t) for t in traces],
            closer=self.closer,
        )

    def hint(self, question_text: str, hint: str) -> str:
        """The question with an answer-free hint; boxed text in the hint is an error upstream."""
        return self.render(
            "hint", question=question_text, hint=self.neutralise(hint), closer=self.closer
        )

    def compress(self, response: str) -> str:
        return self.render("compress", response=self.neutralise(response))

    def write_hint(self, question_text: str, response: str) -> str:
        return self.render("write_hint", question=question_text, response=self.neutralise(response))

    def judge(self, question_text: str, gold: str, response: str) -> str:
        return self.render(
            "judge", question=question_text, gold=gold, response=self.neutralise(response)
        )


def line_of(error: BaseException) -> str:
    """The line of a template in which `error` was raised; "?" if it is in none."""
    number = getattr(error, "lineno", None)
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            number = trace.tb_lineno
        trace = trace.tb_next
    return str(number or "?")


OURS = Templates()


def with_closer(question_text: str) -> str:
    """The question followed by the closer, in our wording."""
    return OURS.with_closer(question_text)
