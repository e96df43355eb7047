from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zppo_core.rewards.clean import LONGEST, clean


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("５", "5"),
        ("−5", "-5"),
        ("1、2，3", "1,2,3"),
        ("**73**", "73"),
        ("`x`", "x"),
        ("“blue”", "blue"),
        (r"\mathsf{B}", "B"),
        (r"AT\&T", "AT&T"),
        (r"50\%", "50%"),
        (r"\$5,000", "$5,000"),
        ("$5$", "5"),
        (r"\textit{Paris}", "Paris"),
        ("√3", r"\sqrt{3}"),
        ("x²", "x^{2}"),
        ("½", r"\frac{1}{2}"),
        ("20℃", "20°C"),
        (r"90^{\circ}", "90°"),
        (r"1{,}234", "1,234"),
        (r"1\,234", "1,234"),
        ("3{:}45", "3:45"),
        (r"\dfrac12", r"\frac12"),
        ("≤", r"\le"),
        ("The answer is 5.", "5"),
        (r"\text{m}\cdot\text{s}", r"m\cdot s"),
        ("a\u200bb", "ab"),
    ],
)
def test_one_thing_has_one_spelling(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@given(st.text(max_size=60))
@settings(max_examples=500, deadline=None)
def test_cleaning_never_raises_and_never_grows_beyond_commands(text: str) -> None:
    assert len(clean(text)) <= 16 * len(text) + 16


@given(st.text(alphabet="ab 0123456789.,+-/()", max_size=LONGEST))
@settings(max_examples=50, deadline=None)
def test_plain_ascii_keeps_its_figures_in_order(text: str) -> None:
    assert [c for c in clean(text) if c.isdigit()] == [c for c in text if c.isdigit()]
