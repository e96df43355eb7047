"""The page of a card: one HTML file with its styles and its script, which fetches nothing.

Metaflow shows cards of the type "zppo" (`ReportCard`): a card's parts are HTML of ours, and a
running task's card is made anew as a whole, so that `card view` shows a task as it is.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib import resources
from typing import Protocol

from metaflow import plugins
from metaflow.cards import MetaflowCard, MetaflowCardComponent

from eval.report.palette import NAMED

TYPE = "zppo"


@cache
def _asset(name: str) -> str:
    return resources.files("steps.cards").joinpath(name).read_text(encoding="utf-8")


def page(title: str, body: str, token: str = "final") -> str:
    """A whole HTML page around `body`, which must be escaped already.

    Its policy allows no request and no script but ours, whose hash it names. `token` is what
    Metaflow's viewer compares to know that a card was made anew.
    """
    script, style = _asset("page.js"), _asset("page.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="reload-token" content="{token}">'
        f"<title>{escape(title)}</title><style>{style}</style></head>"
        f'<body data-colours="{escape(json.dumps(NAMED))}"><main>{body}</main>'
        f"<script>{script}</script></body></html>"
    )


class Fragment(MetaflowCardComponent):
    """A part of a card: HTML of ours, in which whatever a model wrote is escaped."""

    def __init__(self, html: str) -> None:
        self.html = html

    def render(self) -> str:
        return self.html


class ReportCard(MetaflowCard):
    """Metaflow's card whose parts are `Fragment`s, in a page of ours."""

    type = TYPE  # type: ignore[assignment]  # the base class has None
    ALLOW_USER_COMPONENTS = True
    RUNTIME_UPDATABLE = True
    RELOAD_POLICY = MetaflowCard.RELOAD_POLICY_ALWAYS

    def __init__(
        self,
        options: Mapping[str, object] | None = None,
        components: Sequence[str] = (),
        graph: object = None,
        flow: object = None,
    ) -> None:
        self.parts = [part for part in components if isinstance(part, str)]

    def render(self, task: Task) -> str:
        """The page of a finished task."""
        return page(f"ZPPO: {task.pathspec}", "".join(self.parts), self.RELOAD_POLICY_TOKEN)

    def render_runtime(self, task: Task, data: object) -> str:
        """The page of a running task, as it is now."""
        return self.render(task)

    def refresh(self, task: Task, data: object) -> dict[str, object]:
        """What the viewer polls: that there is a newer page shows by its token."""
        return {"live": True}


class Task(Protocol):
    """What is read of Metaflow's task."""

    @property
    def pathspec(self) -> str: ...


def register() -> None:
    """Make the card type known to Metaflow in this process; twice is once."""
    if ReportCard not in plugins.CARDS:
        plugins.CARDS.append(ReportCard)


class Card(Protocol):
    """What is asked of Metaflow's `current.card[...]`."""

    def append(self, component: MetaflowCardComponent, /) -> object: ...
    def clear(self) -> object: ...
    def refresh(self, data: object = None, force: bool = False) -> object: ...


def put(card: Card, *parts: str) -> None:
    """Fill a card with `parts` in place of what it had; shown at the next refresh or at the end."""
    card.clear()
    for part in parts:
        card.append(Fragment(part))
