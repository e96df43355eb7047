"""Disks that are full or not for us to write on, in whatever words a library says it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from zppo_core.errors import UserError

REASONS = tuple(
    os.strerror(number)
    for number in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.EFBIG,
    )
)


def refusal(error: BaseException) -> str:
    """Why the disk refused a write, "" if `error` is about something else.

    safetensors, pyarrow and DuckDB raise errors of their own that quote the system's words.
    """
    words = error.strerror if isinstance(error, OSError) else None
    text = f"{words or ''} {error}".lower()
    return next((reason for reason in REASONS if reason.lower() in text), "")


@contextlib.contextmanager
def writing(what: str, where: str | Path) -> Iterator[None]:
    """Work that writes: a refusal of the disk is one UserError with the way on."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if why := refusal(error):
            raise UserError(
                f"cannot write {what} to {where} ({why}); free space or make it writable, then "
                "`resume`: what was committed is kept"
            ) from error
        raise
