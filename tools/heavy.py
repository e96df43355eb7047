"""The imports of others that a run makes; a process that makes them first forks runs at once.

The tools that fork (`mutants`, `kill_matrix`) and the tests' server of forks import them. What is
missing here costs every fork again: a rollout step and an evaluation import some 3,700 modules.
"""

from __future__ import annotations

import importlib
import os

HEAVY = (
    *("torch", "torch._dynamo", "torch.distributed.tensor", "pandas", "pyarrow.parquet", "duckdb"),
    *("transformers", "transformers.models.qwen3_5.modeling_qwen3_5", "transformers.trainer"),
    *("transformers.models.qwen3_vl.processing_qwen3_vl", "transformers.generation.utils"),
    *("transformers.models.auto.modeling_auto", "transformers.models.auto.processing_auto"),
    *("sklearn.datasets", "scipy.stats", "sympy", "PIL.Image", "jinja2.sandbox", "pydantic"),
    *("safetensors.torch", "huggingface_hub", "requests", "boto3", "peft", "einops", "lxml.etree"),
    *("lm_eval.api.model", "lm_eval.evaluator", "lm_eval.tasks", "datasets", "apted"),
    *("rapidfuzz.process", "yaml", "deepspeed"),
)


def import_heavy() -> None:
    """All of them; pictures' formats too."""
    import torch

    if not torch.cuda.device_count():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # or DeepSpeed warns
    for name in HEAVY:
        importlib.import_module(name)
    from PIL import Image

    Image.init()
