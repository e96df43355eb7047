"""The layouts of tables that other trainers read, by name: what of a row is asked, and its answer.

TRL and verl (a prompt of messages), EasyR1 (`problem` with `<image>`), ms-swift (`messages` and
`solution`), LLaMA-Factory (`instruction`/`output`, or `conversations`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from zppo_core.data.values import UnusableError, is_missing, text_list
from zppo_core.errors import UserError

IMAGES = ("images", "image")
SOLUTIONS = ("solution", "answer", "ground_truth", "final_answer", "target")
ASSISTANTS = ("assistant", "gpt", "model", "bot")
USERS = ("user", "human")
MEDIA = ("videos", "video", "audios", "audio")
NO_FACTS: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True)
class Asked:
    """What a row asks, not yet read: cells as they are."""

    question: object
    answer: object
    images: object = None
    category: object = ""
    facts: Mapping[str, object] = field(
        default_factory=dict
    )  # reward_type, options, tolerance, ...
    reply: bool = False  # the answer is an assistant's reply, with more in it
    system: bool = False  # a system message was left aside


Read = Callable[[Mapping[str, object]], Asked]


@dataclass(frozen=True)
class Layout:
    """A layout: the columns of which it needs one each, and how it reads a row."""

    name: str
    needs: tuple[tuple[str, ...], ...]
    read: Read
    chat: str = ""  # the column that must hold messages, for the layout to be guessed

    def missing(self, columns: Collection[str]) -> str:
        """What of its columns is not there, or nothing."""
        lacking = [ways for ways in self.needs if not set(ways) & set(columns)]
        return " or ".join(map(repr, lacking[0])) if lacking else ""


def images_of(row: Mapping[str, object]) -> object:
    """The picture cell of a row, by its usual names; UnusableError if it has videos or sound."""
    for name in MEDIA:
        if not is_missing(row.get(name)):
            raise UnusableError("with a video or sound")
    return next((row[name] for name in IMAGES if not is_missing(row.get(name))), None)


def messages_of(value: object) -> list[Mapping[str, object]] | None:
    """A cell as messages: a list of them, Parquet's struct of two lists, or either as JSON text.

    None if it is no chat. ShareGPT's `from` and `value` are read as `role` and `content`.
    """
    if isinstance(value, str):
        value = text_list(value) if value.lstrip().startswith("[{") else None
    if isinstance(value, Mapping) and isinstance(value.get("role"), (list, tuple)):
        contents = value.get("content") or ()
        value = [
            {"role": role, "content": content}
            for role, content in zip(value["role"], contents, strict=False)
        ]
    if not isinstance(value, (list, tuple)) or not value:
        return None
    if not all(isinstance(m, Mapping) and ("role" in m or "from" in m) for m in value):
        return None
    return [
        {"role": str(m.get("role", m.get("from"))), "content": m.get("content", m.get("value"))}
        for m in value
    ]


def chat(
    value: object,
    answer: object = None,
    images: object = None,
    category: object = "",
    facts: Mapping[str, object] = NO_FACTS,
) -> Asked:
    """What messages ask: one user turn; without an `answer` the assistant's reply is the answer.

    UnusableError on several turns: a question here is one.
    """
    messages = messages_of(value)
    if messages is None:
        return Asked(value, answer, images, category, facts)
    system = any(m["role"] == "system" for m in messages)
    turns = [m for m in messages if m["role"] != "system"]
    reply = None
    if turns and turns[-1]["role"] in ASSISTANTS:
        reply = content_text(turns.pop()["content"])
    if len(turns) != 1 or turns[0]["role"] not in USERS:
        raise UnusableError("with several turns" if turns else "without question or answer")
    content = turns[0]["content"]
    inline = [i for part in _parts(content) if (i := _picture(part)) is not None]
    if inline and is_missing(images):
        images = inline
    by_reply = is_missing(answer)
    target = reply if by_reply else answer
    return Asked(content_text(content), target, images, category, facts, by_reply, system)


def content_text(content: object) -> str:
    """A message's text: itself, or its text parts one below the other."""
    if isinstance(content, (list, tuple)):
        parts = [p.get("text") if isinstance(p, Mapping) else p for p in content]
        return "\n".join(str(p) for p in parts if p)
    return "" if content is None else str(content)


def _parts(content: object) -> list[Mapping[str, object]]:
    parts = content if isinstance(content, (list, tuple)) else []
    return [p for p in parts if isinstance(p, Mapping)]


def _picture(part: Mapping[str, object]) -> object:
    """The picture that stands in a message's part, if there is one and not only its place."""
    for name in ("image", "image_url", "path", "url"):
        if not is_missing(value := part.get(name)):
            inner = value.get("url") if isinstance(value, Mapping) else None
            return value if inner is None else inner
    return None


def _first(row: Mapping[str, object], names: Sequence[str]) -> object:
    return next((row[name] for name in names if not is_missing(row.get(name))), None)


def _ground_truth(row: Mapping[str, object]) -> tuple[object, dict[str, object]]:
    """verl's gold and what it says of it; `{"target": [...]}` lists accepted answers."""
    model, extra = (_mapping(row.get(name)) for name in ("reward_model", "extra_info"))
    truth = model.get("ground_truth")
    if is_missing(truth):
        truth = _first({**row, **extra}, SOLUTIONS)
    facts = {n: extra[n] for n in ("reward_type", "tolerance") if not is_missing(extra.get(n))}
    if isinstance(truth, Mapping) and isinstance(truth.get("target"), (list, tuple, str)):
        target = truth["target"]
        accepted = [target] if isinstance(target, str) else list(target)
        facts["accepted"] = accepted
        truth = accepted[0] if accepted else None
    return truth, facts


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _verl(row: Mapping[str, object]) -> Asked:
    truth, facts = _ground_truth(row)
    return chat(row["prompt"], truth, images_of(row), category=row.get("data_source"), facts=facts)


def _trl(row: Mapping[str, object]) -> Asked:
    completion = row.get("completion")
    prompt, answer = row["prompt"], _first(row, SOLUTIONS)
    if is_missing(answer) and not is_missing(completion):
        reply = messages_of(completion)
        text = content_text(reply[-1]["content"]) if reply else completion
        given = chat(prompt, text, images_of(row))
        return Asked(given.question, text, given.images, reply=True, system=given.system)
    return chat(prompt, answer, images_of(row))


def _easyr1(row: Mapping[str, object]) -> Asked:
    return chat(row["problem"], _first(row, ("answer", "solution")), images_of(row))


def _swift(row: Mapping[str, object]) -> Asked:
    if "messages" in row:
        return chat(row["messages"], _first(row, SOLUTIONS), images_of(row))
    if not is_missing(row.get("history")):
        raise UnusableError("with several turns")
    answer = _first(row, SOLUTIONS)
    reply = is_missing(answer)
    return Asked(
        row.get("query"),
        row.get("response") if reply else answer,
        images_of(row),
        reply=reply,
        system=not is_missing(row.get("system")),
    )


def _factory(row: Mapping[str, object]) -> Asked:
    for name in ("conversations", "messages"):
        if name in row:
            return chat(row[name], _first(row, SOLUTIONS), images_of(row))
    if not is_missing(row.get("history")):
        raise UnusableError("with several turns")
    parts = [row.get("instruction"), row.get("input")]
    text = "\n".join(content_text(p) for p in parts if not is_missing(p))
    return Asked(
        text,
        row.get("output"),
        images_of(row),
        reply=True,
        system=not is_missing(row.get("system")),
    )


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout("verl", (("prompt",), ("reward_model",)), _verl),
        Layout("trl", (("prompt",), (*SOLUTIONS, "completion")), _trl),
        Layout("easyr1", (("problem",), ("answer", "solution")), _easyr1),
        Layout("ms-swift", (("messages", "query"),), _swift),
        Layout("llama-factory", (("conversations", "instruction", "messages"),), _factory),
    )
}
COLUMNS = "columns"
ROLES = (
    "question",
    "answer",
    "image",
    "id",
    "category",
    "judged",
    "kind",
    "options",
    "accepted",
    "tolerance",
)
NAMES = (COLUMNS, *LAYOUTS)
_ALIASES = {
    "table": COLUMNS,
    "": "",
    "auto": "",
    "swift": "ms-swift",
    "msswift": "ms-swift",
    "llamafactory": "llama-factory",
    "sharegpt": "llama-factory",
    "alpaca": "llama-factory",
    "chat": "trl",
}


def parse_columns(columns: Mapping[str, str]) -> dict[str, str]:
    """role -> column, with the two that every table has; UserError names an unknown role."""
    for role in columns:
        if role not in ROLES:
            raise UserError(f"data.columns: {role!r} is no role; it is one of {', '.join(ROLES)}")
    return {"question": "question", "answer": "answer", **columns}


def parse_format(text: str) -> str:
    """The layout that `data.format` names, "" if it is to be guessed; UserError on another."""
    plain = re.sub(r"[\s_-]", "", text.lower())
    spellings = {name.replace("-", ""): name for name in NAMES} | _ALIASES
    if plain not in spellings:
        raise UserError(f"data.format={text} is no layout; use one of {', '.join(NAMES)}")
    return spellings[plain]


def guess(row: Mapping[str, object]) -> str:
    """The layout of a table by its first row, "" if it has none that is known."""
    if "question" in row and "answer" in row:
        return COLUMNS
    if "conversations" in row or ("instruction" in row and "output" in row):
        return "llama-factory"
    if "messages" in row or ("query" in row and "response" in row):
        return "ms-swift"
    for name in ("verl", "trl", "easyr1"):
        if not LAYOUTS[name].missing(row):
            return name
    return ""
