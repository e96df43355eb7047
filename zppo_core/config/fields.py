"""Kinds of fields: what each takes, how it reads text, and how it is stored.

Text is what `--set` gives, and what configurations of before held for lists and tables. A field is
stored as it always was (a table as the text "a=1,b=2"), so that equal settings keep equal digests.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from zppo_core.config.methods import find_method
from zppo_core.data.layouts import parse_columns, parse_format
from zppo_core.data.zppo77k.sources import parse_more
from zppo_core.errors import UserError, shown
from zppo_core.extensions import is_outside

MOST = 2**31 - 1  # the database has 32 bits for counts
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_STORE = re.compile(r"s3://[^/]+(/.*)?|(?!.*://).+")
_MODEL = re.compile(r"https?://.+|(?!.*://).*")


# user:password@host, and a key among the parameters of an address
_SECRET = re.compile(
    r"://[^/\s?#]*:[^/\s?#]*@|[?&;](?:[\w-]*(?:api_?key|token|secret|signature|password)|key|sig)=",
    re.IGNORECASE,
)


def _without_secret(text: str) -> str:
    """The text; ValueError, which does not quote it, if an address in it holds a password or key.

    A configuration stands in the journal, the database, artifacts and cards.
    """
    if "://" in text and _SECRET.search(text):
        raise ValueError(
            "the address holds a password or key, which would stand in journal, database, cards; "
            "leave it out and put it into the environment (teacher.api_key_env)"
        )
    return text


def _number(value: object) -> object:
    """Text as a number; anything else, and text that is none, as it is."""
    if not isinstance(value, str):
        return value
    plain = value.replace("_", "")
    for kind in (int, float):
        try:
            return kind(plain)
        except ValueError:
            continue
    return value


def _toml(text: str) -> object:
    """The value that TOML writes as `text`; ValueError if it cannot be read."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{shown(text)} is no TOML: {str(error).partition(' (')[0]}") from None


def list_of(value: object) -> object:
    """A list from text: "[1, 2]" as in TOML, or "1,2"; what is no text as it is."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return _toml(value)
    return [part for part in map(str.strip, value.split(",")) if part]


def table_of(value: object, separator: str = ",") -> object:
    """A table from text: "{a = 1}" as in TOML, or "a=1,b=2"; what is no text as it is.

    ValueError if a part has no value.
    """
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("{"):
        return _toml(value)
    table = {}
    for part in filter(None, map(str.strip, value.split(separator))):
        key, equals, content = (text.strip() for text in part.partition("="))
        if not (key and equals):
            raise ValueError(f"{shown(part)} has no value; write name=value")
        if key in table:
            raise ValueError(f"{shown(key)} comes twice; leave one out")
        table[key] = content
    return table


def settings_table(settings: str | Mapping[str, Setting]) -> dict[str, Setting]:
    """Settings as a table, whatever they are written as; ValueError if they cannot be read."""
    table = settings_of(settings)
    if not isinstance(table, Mapping):
        raise ValueError(f"{shown(settings)} is no table; write {{name = value}}")
    return dict(table)


def _listed(value: object) -> object:
    """A list as the text "a,b"; other text as it is."""
    bracket = isinstance(value, str) and value.lstrip().startswith("[")
    return as_text(list_of(value)) if bracket or isinstance(value, list) else value


def settings_of(value: object) -> object:
    """As `table_of`, of settings that have commas of their own: "frames=16;totals=DynaM=pooled"."""
    return table_of(value, ";")


def as_text(value: object, separator: str = ",") -> str:
    """A list or table as the text that `list_of` and `table_of` read; text as it is."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return separator.join(f"{k}={as_text(v)}" for k, v in value.items())
    if isinstance(value, Sequence):
        return separator.join(map(as_text, value))
    return str(value)


def settings_text(value: object) -> str:
    """As `as_text`, for `settings_of`."""
    return as_text(value, ";")


def _rule(check: Callable[[Any], object]) -> AfterValidator:
    """A check that refuses by UserError, as pydantic wants it."""

    def checked(value: object) -> object:
        try:
            check(value)
        except UserError as error:
            raise ValueError(str(error)) from None
        return value

    return AfterValidator(checked)


def _must(holds: Callable[[str], object], remedy: str) -> AfterValidator:
    def checked(value: str) -> str:
        if not holds(value):
            raise ValueError(remedy)
        return value

    return AfterValidator(checked)


def _method(name: str) -> str:
    """A method's name, or a user's own; GRPO is what papers write."""
    plain = name.strip() if is_outside(name) else name.strip().casefold()
    try:
        find_method(plain)
    except UserError as error:
        raise ValueError(str(error)) from None
    return plain


# numbers: a value of TOML, or text that is a number
Int = Annotated[int, Field(strict=True), BeforeValidator(_number)]
Float = Annotated[float, Field(strict=True, allow_inf_nan=False), BeforeValidator(_number)]
Whole = Annotated[Int, Field(ge=0, le=MOST)]
Count = Annotated[Int, Field(ge=1, le=MOST)]
Tokens = Annotated[Int, Field(ge=1, le=2**20)]
Seed = Annotated[Int, Field(ge=0, le=2**63 - 1, description="the database has 63 bits for it")]
Share = Annotated[Float, Field(ge=0, le=1, description="it is a share")]
PartShare = Annotated[Float, Field(gt=0, lt=1, description="it is a share")]
Positive = Annotated[Float, Field(gt=0)]
NotNegative = Annotated[Float, Field(ge=0)]
_untempered = "the trainer's log-probabilities are of the untempered distribution"
One = Annotated[Float, Field(ge=1, le=1, description=_untempered)]
Beta = Annotated[Float, Field(ge=0, lt=1)]
Betas = Annotated[tuple[Beta, Beta], BeforeValidator(list_of)]

# texts
Text = Annotated[
    str,
    _must(lambda t: not _CONTROL.search(t), "leave the control character out"),
    AfterValidator(_without_secret),
]
Filled = Annotated[Text, _must(str.strip, "it is empty; name digits, zone, zppo77k or a table")]
_place = "give a folder or s3://bucket/prefix"
Root = Annotated[Text, _must(lambda t: t.strip() and _STORE.fullmatch(t.strip()), _place)]
Cache = Annotated[Text, _must(lambda t: not t or _STORE.fullmatch(t), _place)]
File = Annotated[
    Text, _must(lambda t: t.strip() and "://" not in t, "give a file, like results/zppo.duckdb")
]
Model = Annotated[Text, _must(_MODEL.fullmatch, "give a folder, a hub id or http://host/v1")]
Address = Annotated[
    Text,
    _must(
        lambda t: not t or t.startswith(("http://", "https://")),
        "give an address, like http://host:8000/v1",
    ),
]
MethodName = Annotated[str, AfterValidator(_method)]
Format = Annotated[Text, _rule(parse_format)]

# lists and tables, which were text once and are stored so
_stored = PlainSerializer(as_text)
Names = Annotated[tuple[Text, ...], BeforeValidator(list_of), _stored]
Trackers = Annotated[
    tuple[Literal["trackio", "wandb", "tensorboard", "mlflow"], ...],
    BeforeValidator(list_of),
    _stored,
]
Suite = Annotated[Text, BeforeValidator(_listed)]
Columns = Annotated[Mapping[str, Text], _rule(parse_columns), BeforeValidator(table_of), _stored]
Tiers = Annotated[Mapping[str, Int], _rule(parse_more), BeforeValidator(table_of), _stored]
Setting = bool | int | str | list[str] | dict[str, str]
SettingsTable = Annotated[
    Mapping[str, Setting], BeforeValidator(settings_of), PlainSerializer(settings_text)
]
