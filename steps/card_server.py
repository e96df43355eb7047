"""Metaflow's card server for this machine alone: it asks nobody for a key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

LOOPBACK = "127.0.0.1"


def is_requested(argv: Sequence[str]) -> bool:
    """Whether a flow's command line asks for the server."""
    return "card" in argv and "server" in argv[argv.index("card") :]


def keep_on_loopback() -> None:
    """Bind the server that Metaflow will start to this machine, where it would take all interfaces.

    It has no option for it. Cards show questions, responses and gold answers.
    """
    from metaflow.plugins.cards import card_server

    class Here(card_server.ThreadingHTTPServer):
        def __init__(self, address: tuple[str, int], *arguments: Any, **named: Any) -> None:
            host, port = address
            super().__init__((host or LOOPBACK, port), *arguments, **named)

    card_server.ThreadingHTTPServer = Here  # type: ignore[misc,assignment]
