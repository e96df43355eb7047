"""What a process that opens a model leaves out."""

from __future__ import annotations

import subprocess
import sys

OPEN = """
import sys, torch
from zppo_core import models
models.shape("nano:student")
models.load("nano:student", torch.float32)
import zppo_core.run.loop, zppo_core.run.session, zppo_core.training.deepspeed
print("sklearn" in sys.modules)
from transformers import utils
import transformers.data.metrics as others
print(utils.is_sklearn_available(), others.f1_score([1], [1]))
"""


def test_a_process_that_opens_a_model_goes_without_scikit_and_others_have_it() -> None:
    said = subprocess.run([sys.executable, "-c", OPEN], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == ["False", "True 1.0"]
