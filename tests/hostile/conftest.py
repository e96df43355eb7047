"""Cards and browser of tests/cards, and the small runs of tests/reliability."""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "cards"), str(TESTS / "reliability")]
from fixtures_of_cards import chromium, recorded  # noqa: E402

__all__ = ["chromium", "recorded"]
