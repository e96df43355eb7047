"""Our engines as a model of lm-eval: `python -m eval.lm_eval_model --model zppo --tasks …`.

The arguments are lm-eval's own; this only makes the model "zppo" known to it first. It serves any
generating task, with or without pictures.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypedDict, runtime_checkable

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from lm_eval.utils import simple_parse_args_string

from eval.archives import UnreadableError
from eval.engines import ModelSpec
from eval.protocol import Reply
from zppo_core.errors import UserError
from zppo_core.protocols import Engine, Progress, Sampling
from zppo_core.streams import derive_seed
from zppo_core.types import Prompt

if TYPE_CHECKING:
    from PIL import Image

CHUNK = 256  # requests whose media are in memory at once


@runtime_checkable
class Asking(Protocol):
    """A document of ours: it makes its prompt itself, and has its own seed."""

    seed: int

    def ask(self, thinking: bool) -> Prompt: ...


@register_model("zppo")
class EngineLM(LM):
    """An engine behind lm-eval's seam; replies are strings that know their tokens and seconds."""

    MULTIMODAL = True

    def __init__(
        self, engine: Engine, thinking: bool = True, progress: Progress | None = None
    ) -> None:
        super().__init__()
        self.engine, self.thinking, self.progress = engine, thinking, progress

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: object = None) -> EngineLM:
        """From "model=nano:student,dtype=float32,device=cpu,thinking=false"."""
        return cls.create_from_arg_obj(simple_parse_args_string(arg_string), additional_config)

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: dict[str, Any], additional_config: object = None
    ) -> EngineLM:
        """From the fields of `ModelSpec` and `thinking`; UserError on any other."""
        values = {k.replace("pretrained", "model"): v for k, v in arg_dict.items()}
        thinking = values.pop("thinking", True)  # as in the paper
        if not isinstance(thinking, bool):
            raise UserError(f"model_args thinking: true or false, not {thinking!r}")
        arguments = [f.name for f in fields(ModelSpec)]
        if unknown := [name for name in values if name not in arguments]:
            raise UserError(f"model_args has no {unknown[0]!r}; it has {', '.join(arguments)}")
        if "model" not in values:
            raise UserError("model_args needs model=<folder, hub id, nano:student or address>")
        return cls(ModelSpec(**values).open(), thinking)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """A reply to each request, in order; those of equal decoding go to the engine together."""
        replies: dict[int, Reply] = {}
        groups: dict[str, list[int]] = {}
        for i, request in enumerate(requests):
            groups.setdefault(repr(sorted(request.args[1].items())), []).append(i)
        for members in groups.values():
            for start in range(0, len(members), CHUNK):
                part = members[start : start + CHUNK]
                texts = self._generate([requests[i] for i in part], start, len(members))
                replies.update(zip(part, texts, strict=True))
        return [replies[i] for i in range(len(requests))]

    def _generate(self, requests: Sequence[Instance], before: int, total: int) -> list[Reply]:
        arguments = requests[0].args[1]
        until = arguments.get("until") or []
        replies: dict[int, Reply] = {}
        prompts: dict[int, Prompt] = {}
        for i, request in enumerate(requests):
            try:
                prompts[i] = self._prompt(request)
            except UnreadableError as fault:
                replies[i] = Reply.of("", unreadable=str(fault))
        shown = None if self.progress is None else _shifted(self.progress, before, total)
        start = time.perf_counter()
        groups = self.engine.generate(
            list(prompts.values()),
            sampling_of(arguments),
            [_seed(requests[i], prompt) for i, prompt in prompts.items()],
            shown,
        )
        each = (time.perf_counter() - start) / max(len(prompts), 1)
        for (i, prompt), group in zip(prompts.items(), groups, strict=True):
            replies[i] = Reply.of(
                _cut(group[0].text, until),
                digest=prompt.digest(),
                seconds=each,
                tokens=len(group[0].token_ids_T),
                cut=group[0].finish == "length",
                thinking=self.thinking,
            )
        return [replies[i] for i in range(len(requests))]

    def _prompt(self, request: Instance) -> Prompt:
        if isinstance(request.doc, Asking):
            return request.doc.ask(self.thinking)
        visual = request.args[2]["visual"] if len(request.args) > 2 else ()
        return Prompt(str(request.args[0]), tuple(map(_png, visual)), self.thinking)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> NoReturn:
        """Refuse: engines generate."""
        raise UserError("the model zppo generates only; take a task of type generate_until")

    loglikelihood_rolling = loglikelihood

    @property
    def tokenizer_name(self) -> str:
        return self.engine.name

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The user's words: the engine applies the template itself."""
        return "\n".join(turn["content"] for turn in chat_history)


class GenerationArguments(TypedDict, total=False):
    """What is read of lm-eval's generation arguments."""

    do_sample: bool
    temperature: float
    max_gen_toks: int
    top_p: float
    top_k: int
    min_p: float
    presence_penalty: float
    repetition_penalty: float


def sampling_of(arguments: GenerationArguments) -> Sampling:
    """Decoding from lm-eval's generation arguments; greedy unless they sample."""
    a = arguments
    temperature = float(a.get("temperature", 1.0)) if a.get("do_sample", True) else 0.0
    return Sampling(
        int(a.get("max_gen_toks", 256)),
        1,
        temperature,
        float(a.get("top_p", 1.0)),
        int(a.get("top_k", 0)),
        float(a.get("min_p", 0.0)),
        float(a.get("presence_penalty", 0.0)),
        float(a.get("repetition_penalty", 1.0)),
    )


def _seed(request: Instance, prompt: Prompt) -> int:
    if isinstance(request.doc, Asking):
        return request.doc.seed
    return derive_seed(0, "evaluation", prompt.digest(), request.idx)


def _cut(text: str, until: Sequence[str] | str) -> str:
    stops = [until] if isinstance(until, str) else until
    ends = [at for at in (text.find(stop) for stop in stops if stop) if at >= 0]
    return text[: min(ends)] if ends else text


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def _shifted(progress: Progress, before: int, total: int) -> Progress:
    return lambda done, _: progress(before + done, total)


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    import lm_eval.models  # noqa: F401 - its own are known too
    from lm_eval.__main__ import cli_evaluate

    from eval.lm_eval_task import write_tasks

    with tempfile.TemporaryDirectory(prefix="zppo-tasks-") as tasks:
        if "run" in sys.argv and "--include_path" not in sys.argv:  # our tasks are known by itself
            write_tasks(Path(tasks))
            sys.argv += ["--include_path", tasks]
        cli_evaluate()
