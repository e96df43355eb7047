r"""The CPU-sized world: Qwen3.5 itself, tiny, with a real tokenizer and a real processor.

    python -m zppo_core.models.nano build --out DIR    # both shipped checkpoints, from a fixed seed

`nano:student` and `nano:teacher` name the checkpoints that ship in `zppo_core/models/nano/weights`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from zppo_core.algorithm.reformulations.bcq import bcq_text
from zppo_core.algorithm.reformulations.ncq import ncq_text
from zppo_core.data.digit_kinds import KINDS
from zppo_core.data.digits import (
    BENCHMARKS,
    compose,
    draw_facts,
    worked_solution,
)
from zppo_core.prompts import OURS
from zppo_core.streams import stream

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# added tokens of Qwen3.5 that are ordinary text to a decoder: never stripped, may be sampled
TEXT_TOKENS = ("<think>", "</think>")
VOCAB = 640  # rows of the embedding; the tokenizer fills what it needs of them
HIDDEN = 96  # width of a token's state

CHAT_TEMPLATE = """\
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.content is string %}{{- message.content }}
{%- else %}
{%- for part in message.content %}
{%- if part.type == 'image' %}{{- '<|vision_start|><|image_pad|><|vision_end|>' }}
{%- else %}{{- part.text }}{%- endif %}
{%- endfor %}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}
{{- '<think>\\n\\n</think>\\n\\n' }}
{%- else %}
{{- '<think>\\n' }}
{%- endif %}
{%- endif %}"""


def training_texts() -> Iterable[str]:
    """Everything the nano world says: the tokenizer learns its words from it."""
    rng = stream(0, "tokenizer corpus")
    for benchmark, kind in itertools.product(BENCHMARKS.values(), KINDS):
        for _ in range(4):
            facts = draw_facts(rng, kind, benchmark.layout, held_out=False)
            right, wrong = worked_solution(facts), worked_solution(facts, "wrong")
            question = compose(facts, "").text
            yield OURS.with_closer(question)
            yield bcq_text(question, right, wrong, right_first=True)
            yield ncq_text(question, [facts.gold], [wrong])
            yield OURS.compress(right)
            yield f"<summary>\n{right}\n</summary>"
            yield OURS.judge(question, facts.gold, right)
            yield '{"verdict": "correct"} {"verdict": "wrong"}'
            yield "user\nassistant\nsystem\n"


def build_tokenizer() -> Any:
    """A byte-level BPE with Qwen3.5's own normaliser, pre-tokenizer and special tokens.

    Trained on the nano world's templates, so that its words are single tokens; deterministic.
    """
    from tokenizers import Tokenizer, pre_tokenizers, trainers
    from tokenizers.models import BPE
    from transformers.models.qwen3_5.tokenization_qwen3_5 import Qwen3_5Tokenizer

    model: Any = Qwen3_5Tokenizer()._tokenizer
    trained = Tokenizer(BPE())
    # loading imposes Qwen's normaliser and pre-tokenizer, so training must use the same
    trained.normalizer, trained.pre_tokenizer = model.normalizer, model.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB - len(SPECIAL_TOKENS) - len(TEXT_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    trained.train_from_iterator(training_texts(), trainer)
    import json

    learned = json.loads(trained.to_str())["model"]
    merges = [
        tuple(m) if not isinstance(m, str) else tuple(m.split(" ")) for m in learned["merges"]
    ]
    make: Any = Qwen3_5Tokenizer  # its annotations are narrower than what it takes
    tokenizer = make(
        vocab=learned["vocab"],
        merges=merges,
        unk_token=None,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=list(SPECIAL_TOKENS),
    )
    tokenizer.add_tokens(list(TEXT_TOKENS))
    tokenizer.chat_template = CHAT_TEMPLATE
    if len(tokenizer) > VOCAB:
        raise AssertionError(f"tokenizer has {len(tokenizer)} entries, the model {VOCAB} rows")
    return tokenizer


def build_processor(tokenizer: Any | None = None) -> ProcessorMixin:
    """Qwen3-VL's processor on the PIL backend, without its video processor (frames are images)."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
        Qwen2VLImageProcessorPil,
    )

    from zppo_core.models.processor import ImageProcessor

    images = Qwen2VLImageProcessorPil(
        patch_size=8,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": 16 * 16, "longest_edge": 64 * 16 * 16},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    return ImageProcessor(images, tokenizer or build_tokenizer())


def build_config(tokenizer: Any, hidden: int = HIDDEN) -> Any:
    """A Qwen3.5 configuration of one gated-delta layer and two full ones, `hidden` wide.

    By default about 0.7 M parameters.
    """
    from transformers import Qwen3_5Config

    ids = tokenizer.convert_tokens_to_ids
    text = {
        "vocab_size": VOCAB,
        "hidden_size": hidden,
        "intermediate_size": 3 * hidden,
        "num_hidden_layers": 3,
        "layer_types": ["linear_attention", "full_attention", "full_attention"],
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        # vLLM's CPU build takes linear heads of 64 or 128 alone
        "linear_key_head_dim": 64,
        "linear_value_head_dim": 64,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
        "linear_conv_kernel_dim": 4,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.25,
            "mrope_section": [2, 1, 1],
            "mrope_interleaved": True,
        },
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
        "eos_token_id": ids("<|im_end|>"),
        "pad_token_id": ids("<|endoftext|>"),
    }
    vision = {
        "depth": 2,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_heads": 2,
        "patch_size": 8,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "out_hidden_size": hidden,
        "num_position_embeddings": 64,
        "in_channels": 3,
    }
    return Qwen3_5Config(
        text_config=text,
        vision_config=vision,
        tie_word_embeddings=False,
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
    )


def build_model(tokenizer: Any, seed: int, hidden: int = HIDDEN) -> PreTrainedModel:
    """The tiny model with seeded random weights (float32)."""
    import torch
    from transformers import Qwen3_5ForConditionalGeneration

    torch.manual_seed(seed)
    return Qwen3_5ForConditionalGeneration(build_config(tokenizer, hidden))
