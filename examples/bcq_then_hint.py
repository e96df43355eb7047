"""A method of one's own: BCQ first and a hint where slots are left, with the replay buffer.

python flows/zppo_flow.py run --method examples/bcq_then_hint.py:METHOD
"""

from zppo_core.config.methods import Method

METHOD = Method(
    "bcq_then_hint",
    replay=True,
    reformulations=("bcq", "hint"),
    loss="surrogate",
    summary="replay, BCQ and answer-free hints",
)
