"""Errors a user can mend: one line that says what is wrong and what to do."""

import difflib
import sys
from collections.abc import Callable, Iterable

LONGEST = 200  # characters of a value in a message
ALIKE = 0.6  # of difflib's ratio: a suggestion below it misleads


class UserError(Exception):
    """A fault of configuration or environment, raised early; the text says the fix."""


def shown(value: object) -> str:
    """`repr(value)`, its middle left out where it is longer than a line has room for."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 4 :]}"


def complain(fault: Exception) -> None:
    """Print a fault on the standard error, each of its lines after "zppo: "."""
    for line in str(fault).splitlines():
        print(f"zppo: {line}", file=sys.stderr)


def suggestion(name: str, names: Iterable[str], show: Callable[[str], str] = repr) -> str:
    """The remedy for an unknown name: the known one that is most like it, else all of them.

    Upper and lower case are alike. `show` writes a name out.
    """
    folded = {n.casefold(): n for n in names}
    match = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=ALIKE)
    if match:
        return f"did you mean {show(folded[match[0]])}?"
    return f"it is one of {', '.join(map(show if show is not repr else str, folded.values()))}"
