"""Our rules against the official scorers that lm-eval ships, on generated answers.

lmms-eval, which has more of them, is not installed: it brings a second stack of video and model
packages. Its definitions are tested with values computed by hand in test_rules.py.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.tasks.mmmu.utils import eval_open, parse_open_response

from eval.scoring.rules import RULES
from eval.suite import Sample

WORDS = st.sampled_from(["river delta", "copper", "lime stone", "blue", "glucose"])
NUMBERS = st.one_of(
    st.integers(-5000, 5000).map(str),
    st.decimals(-500, 500, places=2, allow_nan=False).map(str),
)
FRAMES = st.sampled_from(["{}", "{}.", "x = {}", "It is {}", "{} metres", "about {}", "The {}"])


@settings(max_examples=400, deadline=None)
@given(st.one_of(WORDS, NUMBERS), st.one_of(WORDS, NUMBERS), FRAMES)
def test_mmmus_open_rule_is_lm_evals(gold, said, frame):
    """Without commas in numbers: lm-eval reads "1,000" as 0, too, and would call a 0 right."""
    answer = frame.format(said)
    official = eval_open(gold, parse_open_response(answer))
    ours = RULES["mmmu"](Sample("s", "", gold), answer)
    assert bool(ours) == official, (gold, answer)
