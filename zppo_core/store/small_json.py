"""Small JSON files that a run reads back: looked at before they are believed."""

from __future__ import annotations

import json
from collections.abc import Mapping

from zppo_core.errors import UserError


def read_object(
    data: bytes, place: str, remedy: str, fields: Mapping[str, type | tuple[type, ...]]
) -> dict[str, object]:
    """The JSON object in `data`, which has the `fields`, each of its type.

    UserError otherwise: one line with the file's `place`, what is wrong with it, and the `remedy`.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise damaged(
            place, "it is empty" if not data.strip() else "it is no JSON", remedy
        ) from None
    if not isinstance(value, dict):
        raise damaged(place, "it is no JSON object", remedy)
    for name, kind in fields.items():
        if not isinstance(value.get(name), kind):
            raise damaged(place, f"it has no sound {name!r}", remedy)
    return value


def damaged(place: str, what: str, remedy: str) -> UserError:
    """The one line about a file that cannot be read back."""
    return UserError(f"{place} is damaged ({what}); {remedy}")
