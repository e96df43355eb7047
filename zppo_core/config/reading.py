"""Reads values into frozen sections by pydantic, and says all faults, a line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from zppo_core.errors import UserError, shown, suggestion

T = TypeVar("T")
KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
BOUNDS = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")


@cache
def adapter(cls: Any) -> TypeAdapter[Any]:
    """pydantic's reader and writer of a section's class, made once."""
    return TypeAdapter(cls)


def stored(section: object) -> dict[str, Any]:
    """A section, or a whole configuration, as the plain values that are stored."""
    kind: Any = type(section)
    values: dict[str, Any] = adapter(kind).dump_python(section, warnings=False)
    return values


def read(
    cls: type[T],
    values: Mapping[str, object],
    within: str = "",
    where: Callable[[str], str] = lambda name: "",
) -> T:
    """`values` as a frozen `cls`; UserError names all faults, a line each.

    `within` goes before the names of fields; `where` says of a field which file it stands in.
    """
    kind: Any = cls
    try:
        value: T = adapter(kind).validate_python(values)
    except ValidationError as error:
        lines = []
        for fault in error.errors(include_url=False):
            path = [str(part) for part in fault["loc"]]
            lines.append(where(".".join(path[:2])) + _line(cls, path, within, fault))
        raise UserError("\n".join(dict.fromkeys(lines))) from None
    return value


def _line(cls: type, path: list[str], within: str, fault: ErrorDetails) -> str:
    """One fault: the field, what is wrong with it, and the remedy."""
    names, annotation = _field(cls, path)
    name = ".".join(filter(None, [within, *names]))
    kind, given = fault["type"], fault["input"]
    if kind == "unexpected_keyword_argument":
        return _unknown(annotation, path[len(names) :], name)
    if kind in BOUNDS:
        return f"{name} must be {_range(annotation, path[len(names) :])}"
    if kind == "finite_number":
        return f"{name} must be a finite number"
    if kind == "dataclass_type":
        return f"{name} is a section; set a field of it, like {name}.<field>=<value>"
    if kind == "value_error":
        message = str(fault["ctx"]["error"])
        return message if message.startswith(name) else f"{name}: {message}"
    inside = [] if kind in ("missing", "too_long") else path[len(names) :]
    return f"{name}: {shown(given)} is not {_described(annotation, inside)}"


def _field(cls: type, path: list[str]) -> tuple[list[str], object]:
    """The names on the way to the field at `path`, and what it is annotated with.

    An index into a list and the key of a table belong to their field.
    """
    annotation: object = cls
    for i, name in enumerate(path):
        if not is_dataclass(annotation):
            return path[:i], annotation
        hints = get_type_hints(annotation, include_extras=True)
        if name not in hints:
            return path[:i], annotation
        annotation = hints[name]
    return path, annotation


def _unknown(section: object, path: list[str], within: str) -> str:
    """An unknown field, and the one that is most like it."""
    valid = list(get_type_hints(section))
    if not within:
        return f"unknown section {shown(path[0])}; {suggestion(path[0], valid)}"
    remedy = suggestion(path[0], valid, lambda field: f"{within}.{field}")
    return f"unknown field {within}.{path[0]}; {remedy}"


def _inner(annotation: object, path: list[str]) -> object:
    """The annotation of an element of a tuple, or of the values of a table."""
    for part in path:
        plain = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
        arguments = [a for a in get_args(plain) if a is not ...]
        if not arguments:
            return annotation
        annotation = arguments[min(int(part), len(arguments) - 1) if part.isdecimal() else -1]
    return annotation


def _range(annotation: object, path: list[str]) -> str:
    """The interval that a number must be in, and why. A bracket takes its end in."""
    ends: dict[str, object] = {}
    why = ""
    for part in get_args(_inner(annotation, path))[1:]:
        if isinstance(part, FieldInfo):
            why = part.description or why
            for bound in part.metadata:
                ends |= {
                    k: getattr(bound, k) for k in ("gt", "ge", "lt", "le") if hasattr(bound, k)
                }
    if "ge" in ends and ends["ge"] == ends.get("le"):
        interval = str(ends["ge"])
    else:
        low = f"[{ends['ge']}" if "ge" in ends else f"({ends.get('gt', '-inf')}"
        high = f"{ends['le']}]" if "le" in ends else f"{ends.get('lt', 'inf')})"
        interval = f"in {low}, {high}"
    return interval + (f" ({why})" if why else "")


def _described(annotation: object, path: list[str]) -> str:
    """What a field takes, in words."""
    annotation = _inner(annotation, path)
    plain = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    origin, arguments = get_origin(plain), get_args(plain)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin is tuple and ... not in arguments:
        return f"{len(arguments)} numbers"
    if origin is tuple or origin is list:
        return "a list"
    description = KINDS.get(plain) if isinstance(plain, type) else None
    return description or ("a table" if origin else "of the right kind")
