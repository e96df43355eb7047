"""What the tests of cards share."""

from fixtures_of_cards import chromium, recorded

__all__ = ["chromium", "recorded"]
