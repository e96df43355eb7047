"""Which tokens end a response, pad a batch, or are never sampled: read off a model, of any family.

Nothing here knows a family's names. The ends are every id that generation_config and tokenizer call
an end of sequence, and the token that the chat template writes behind an assistant's words. Barred
is what the tokenizer marks as special, or spells like a control token (`<|...|>`), and what stands
for a picture or a sound; not what the template itself writes inside of an assistant's turn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zppo_core.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# the format that every prompt asks for, whatever a tokenizer thinks of them
THINK_TAGS = ("<think>", "</think>")
_CONTROL = re.compile(r"<[|｜].+[|｜]>", re.DOTALL)
_MEDIA = re.compile(r"(?:image|video|vision|audio|speech|bo[ia]|eo[ia]).*_token_(?:id|index)")
_QUESTION, _THOUGHT, _ANSWER = "zppo-question", "zppo-thought", "zppo-answer"


@dataclass(frozen=True, eq=False)
class ControlTokens:
    """`end_id` closes a turn that is written here; each of `end_ids` (sorted) ends a response.

    `forbidden_ids` (sorted, int64) are never sampled: a media placeholder kills the next forward
    pass, and the start of another turn is no answer.
    """

    end_id: int
    end_ids: tuple[int, ...]
    pad_id: int
    forbidden_ids: np.ndarray


def control_tokens(
    tokenizer: PreTrainedTokenizerBase,
    vocab_size: int,
    generation: Mapping[str, object] | None = None,
    media_ids: Sequence[int] = (),
) -> ControlTokens:
    """The control tokens of a model whose logits have `vocab_size` entries.

    `generation` is the content of its generation_config: `eos_token_id`, one id or several, and
    `pad_token_id`. `media_ids` are those that its configuration gives to media. UserError if
    nothing names an end.
    """
    defaults = generation or {}
    added = {int(i): token for i, token in tokenizer.added_tokens_decoder.items()}
    special = {i for i, t in added.items() if t.special or _CONTROL.fullmatch(t.content)}
    special |= set(map(int, tokenizer.all_special_ids))
    names = {i: str(tokenizer.convert_ids_to_tokens(i)) for i in special}
    turn, inside = _written(tokenizer, names)
    named = [*turn, *_ids(tokenizer.eos_token_id), *_ids(defaults.get("eos_token_id"))]
    ends = [i for i in named if 0 <= i < vocab_size]
    if not ends:
        raise UserError(
            "neither tokenizer nor generation_config nor chat template names an end token; set "
            "eos_token in tokenizer_config.json"
        )
    pads = [*_ids(tokenizer.pad_token_id), *_ids(defaults.get("pad_token_id")), ends[0]]
    spoken = {i for i, t in added.items() if t.content in THINK_TAGS} | inside | set(ends)
    beyond = range(len(tokenizer), vocab_size)
    barred = (special - spoken) | (set(media_ids) - set(ends)) | set(beyond)
    return ControlTokens(
        ends[0],
        tuple(sorted(set(ends))),
        next(i for i in pads if 0 <= i < vocab_size),
        np.array(sorted(i for i in barred if 0 <= i < vocab_size), dtype=np.int64),
    )


def media_ids(config: Mapping[str, object]) -> tuple[int, ...]:
    """The ids that a model's configuration (as a dictionary) gives to pictures, videos, sounds."""
    return tuple(sorted(set(_media(config))))


def _media(config: Mapping[str, object]) -> Iterator[int]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _media(value)
        elif _MEDIA.fullmatch(str(name)):
            yield from _ids(value)


def _ids(value: object) -> list[int]:
    """The ids in a field that holds none, one or several."""
    several = value if isinstance(value, (list, tuple)) else [value]
    return [int(i) for i in several if isinstance(i, (int, float)) and not isinstance(i, bool)]


def _written(
    tokenizer: PreTrainedTokenizerBase, special: Mapping[int, str]
) -> tuple[list[int], set[int]]:
    """The end of an assistant's turn in the chat template, and the control tokens inside of it.

    Where the template ends a turn by nothing, as GLM's, the start of the user's next one ends it.
    """
    if not tokenizer.chat_template:
        return [], set()
    asked = {"role": "user", "content": _QUESTION}
    reply = {"role": "assistant", "content": _ANSWER}
    # under both names that templates know it by
    thinking = reply | {"reasoning_content": _THOUGHT, "thinking": _THOUGHT}
    opened = _after(_QUESTION, _rendered(tokenizer, [asked], True))
    ends: list[int] = []
    inside: set[int] = set()
    for turn in (reply, thinking):
        written = _after(_QUESTION, _rendered(tokenizer, [asked, turn], False))
        pairs = enumerate(zip(opened, written, strict=False))
        begins = next((i for i, (a, b) in pairs if a != b), min(len(opened), len(written)))
        answer = written[begins:].partition(_ANSWER)[0]
        inside |= {i for i, token in special.items() if token in answer}
        ends += _leading(_after(_ANSWER, written), special)
    if not ends:
        followed = _rendered(tokenizer, [asked, reply, asked], False)
        ends = _leading(_after(_ANSWER, followed), special)
    return ends, inside


def _after(words: str, text: str) -> str:
    return text.partition(words)[2]


def _leading(text: str, special: Mapping[int, str]) -> list[int]:
    """The control token that `text` begins with, if any: the longest."""
    text = text.lstrip()
    return sorted(
        (i for i, t in special.items() if t and text.startswith(t)), key=lambda i: -len(special[i])
    )[:1]


def _rendered(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]], opening: bool
) -> str:
    """The conversation as text; "" where the template takes no such conversation."""
    from jinja2 import TemplateError

    try:
        return str(
            tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=opening)
        )
    except TemplateError:
        return ""
