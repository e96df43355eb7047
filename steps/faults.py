"""Faults that a user can mend, as a flow's task prints them: one line, last, no traceback."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from metaflow import FlowSpec, user_step_decorator
from metaflow.exception import MetaflowException

from zppo_core.errors import UserError
from zppo_core.store.objects import DamagedObjectError


class StepFault(MetaflowException):
    """A fault of the user's in a task: Metaflow prints the text of its own exceptions alone."""

    headline = "zppo"


@user_step_decorator
def one_line(
    step_name: str,
    flow: FlowSpec,
    inputs: object = None,
    attributes: Mapping[str, object] | None = None,
) -> Iterator[None]:
    """A step whose UserError ends its task with the error's own line; the exit code stays 1.

    Likewise a damaged unit of the journal, whose line says what to delete.
    """
    try:
        yield
    except (UserError, DamagedObjectError) as fault:
        raise StepFault(str(fault)) from None
