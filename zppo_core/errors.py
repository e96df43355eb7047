"""Errors a user can mend: one line that says what is wrong and what to do."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A fault of configuration or environment, raised early; the text says the fix."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like `name`."""
    known = list(known)
    match = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return match[0] if match else ", ".join(known)
