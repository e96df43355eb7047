"""Metaflow's card server for this machine alone: it asks nobody for a key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

LOOPBACK = "127.0.0.1"
Cards = Callable[..., Iterable[Any]]


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
    card_server.cards_for_run = oldest_first(card_server.cards_for_run)


def oldest_first(cards: Cards) -> Cards:
    """`cards` in the order that makes the viewer open the newest: it takes the last of its list.

    Otherwise a page opened while a run trains would show the card of its data.
    """

    def ordered(*given: Any, **named: Any) -> Iterable[Any]:
        return list(_kept(cards(*given, **named)))[::-1]

    return ordered


def _kept(cards: Iterable[Any]) -> Iterator[Any]:
    """What comes before Metaflow's list says that it is full, by an error of its generator."""
    try:
        yield from cards
    except RuntimeError:
        return
