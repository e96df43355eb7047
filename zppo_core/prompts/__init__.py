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

from jinja2 import Environment, StrictUndefined, Template

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
        default_factory=lambda: Environment(
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
        own = Path(self.folder) / f"{name}.jinja" if self.folder else None
        if own is not None and own.is_file():
            return own.read_text(encoding="utf-8")
        ours = resources.files("zppo_core") / "prompts" / f"{name}.jinja"
        return ours.read_text(encoding="utf-8")

    def render(self, name: str, **values: object) -> str:
        """The template `name` with `values`, white space at its ends removed."""
        if name not in self._compiled:  # hundreds of prompts a step are made of a few templates
            self._compiled[name] = self._environment.from_string(self.source(name))
        return self._compiled[name].render(**values).strip()

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


OURS = Templates()


def with_closer(question_text: str) -> str:
    """The question followed by the closer, in our wording."""
    return OURS.with_closer(question_text)
