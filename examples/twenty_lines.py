"""A run in twenty lines: `python examples/twenty_lines.py`; `docs/python.md` explains it.

What to expect: a line a rollout step, then the percentages before and after, on one or two cores.
"""

import sys

import zppo_core as zppo

rows = [{"question": f"What is {i} + {i}?", "answer": str(2 * i)} for i in range(24)]
settings = ["run.rollout_steps=8", "rollout.new_prompts=8", "evaluation.limit=50", *sys.argv[1:]]
result = zppo.train(zppo.load_config("nano", settings), questions=rows, name="twenty-lines")
print(result.accuracy, result.checkpoint)
