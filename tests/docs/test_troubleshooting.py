"""Each message that the page on troubleshooting quotes is one of the code's."""

import re

import messages
import pytest

PAGE = (messages.ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
QUOTED = [m for line in re.findall(r"^### (.*)$", PAGE, re.M) for m in re.findall(r"`(.*?)`", line)]


def test_the_page_quotes_messages() -> None:
    assert len(QUOTED) > 25


@pytest.mark.parametrize("message", QUOTED)
def test_a_quoted_message_is_in_the_source(message: str) -> None:
    assert messages.exists(message)


def test_a_message_that_nobody_says_is_noticed() -> None:
    assert not messages.exists("unknown scales …")
    assert not messages.exists("has … GPUs per node and scale … needs")
