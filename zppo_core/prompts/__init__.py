"""Prompt templates (section 5) and the wall that keeps sampled text from acting inside them.

The wording is ours and lives in `prompts/*.jinja`; a user replaces any of them by a folder with
files of the same names. Whatever a model wrote passes `neutralise` before it enters a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from zppo_core.errors import UserError
from zppo_core.prompts.inert import inert

FOLDER = resources.files("zppo_core.prompts")
TEMPLATES = tuple(
    sorted(f.name.removesuffix(".jinja") for f in FOLDER.iterdir() if f.name.endswith(".jinja"))
)

FAULTS = (TemplateError, ArithmeticError, LookupError, RecursionError, TypeError, ValueError)
CUT = "[...]"  # stands for a closer whose removal would make another one, or a tag


@dataclass(frozen=True)
class Templates:
    """The prompt templates; `folder` overrides any of them with files of the same names.

    A template is named as ours, like "judge", or by the path of a file, like "/my/kind.jinja".
    """

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
        custom = self._custom(name)
        if custom is None:
            if name not in TEMPLATES:
                raise KeyError(name)
            return (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")
        try:
            return custom.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{custom}: {error}; save it as UTF-8 text") from None

    def _custom(self, name: str) -> Path | None:
        """The user's file of a template, None if it is ours."""
        given = Path(name)
        if self.folder and (path := Path(self.folder) / f"{given.stem}.jinja").is_file():
            return path
        return given if given.suffix == ".jinja" else None

    def render(self, name: str, **values: object) -> str:
        """The template `name` with `values`, white space at its ends removed."""
        try:
            if name not in self._compiled:  # hundreds of prompts a step are made of a few templates
                self._compiled[name] = self._environment.from_string(self.source(name))
            return self._compiled[name].render(**values).strip()
        except FAULTS as error:
            place = self._custom(name) or f"{name}.jinja"
            raise UserError(f"{place}, line {line_of(error)}: {error}; mend the template") from None

    def check(self) -> None:
        """Render every template that no kind of reformulation has, with a sample.

        UserError names file and line of a fault, or what of the sample a template leaves out.
        """
        question, right = "How many cats?", "Two, so \\boxed{2}."
        if not self.closer:
            raise UserError(f"{self._custom('closer')}: it is empty; say where the answer goes")
        samples = {
            "compress": (self.compress(right), (right,)),
            "write_hint": (self.write_hint(question, right), (question, right)),
            "judge": (self.judge(question, "2", right), (question, "2", right)),
        }
        for name, (text, parts) in samples.items():
            self.shows(name, text, parts)

    def shows(self, name: str, text: str, parts: Sequence[str]) -> None:
        """UserError if `text`, made by the template `name`, leaves out one of `parts`."""
        missing = next((part for part in parts if part not in text), None)
        if missing is not None:
            raise UserError(
                f"{self._custom(name) or name}: leaves out {missing!r}, which it is given; "
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

        Idempotent, and linear in the text. `<|x|>` and `<candidate>` become `[x]` and
        `[candidate]`; the closer goes.
        """
        text, closer = inert(text), inert(self.closer)  # its own tags were rewritten in the text
        if closer in text:
            without = text.replace(closer, "")
            acts = closer in without or inert(without) != without
            text = text.replace(closer, CUT) if acts else without
        return text.strip()

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
