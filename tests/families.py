"""Tokenizers shaped like those of other families: their control tokens, flags and turns, no words.

What is a fact of a family stands here (which tokens there are, which are marked special, how a turn
is written, what generation_config names); the templates are shortened and written anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

WORDS = ("<unk>", "zero", "one", "two", "three", "answer", "the", "is")


@dataclass(frozen=True)
class Family:
    """`special` and `plain` are added tokens in the order of their ids, after the words."""

    special: tuple[str, ...]
    plain: tuple[str, ...]
    template: str
    eos: str
    pad: str | None
    bos: str | None
    named: tuple[str, ...]  # by generation_config's eos_token_id
    ends: tuple[str, ...]  # what ends a response
    closes: str  # what ends a turn that is written here
    spoken: tuple[str, ...] = ()  # special, and part of an assistant's turn
    media: tuple[str, ...] = ()  # plain, but named by the model's configuration

    def tokenizer(self) -> Any:
        """A fast tokenizer of the family's shape."""
        from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
        from transformers import PreTrainedTokenizerFast

        built = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
        built.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
        built.add_special_tokens([AddedToken(t, special=True) for t in self.special])
        built.add_tokens([AddedToken(t, special=False) for t in self.plain])
        names = {"eos_token": self.eos, "pad_token": self.pad, "bos_token": self.bos}
        made = PreTrainedTokenizerFast(
            tokenizer_object=built, **{k: v for k, v in names.items() if v is not None}
        )
        made.chat_template = self.template
        return made

    def ids(self, names: tuple[str, ...]) -> list[int]:
        """The ids of some of its tokens, sorted."""
        return sorted(self.tokenizer().convert_tokens_to_ids(list(names)))

    def generation(self) -> dict[str, Any]:
        """The content of its generation_config."""
        ids = self.ids(self.named)
        return {"eos_token_id": ids[0] if len(ids) == 1 else ids, "do_sample": True}


QWEN = Family(
    special=(
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|image_pad|>",
        "<|video_pad|>",
        "<|audio_pad|>",
    ),
    plain=(
        "<|fim_prefix|>",
        "<|fim_suffix|>",
        "<|repo_name|>",
        "<tool_call>",
        "</tool_call>",
        "<think>",
        "</think>",
    ),
    template="""{% for m in messages %}<|im_start|>{{ m.role }}
{% if m.reasoning_content %}<think>
{{ m.reasoning_content }}
</think>

{% endif %}{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and enable_thinking %}<think>
{% else %}<think>

</think>

{% endif %}{% endif %}""",
    eos="<|im_end|>",
    pad="<|endoftext|>",
    bos=None,
    named=("<|im_end|>", "<|endoftext|>"),
    ends=("<|im_end|>", "<|endoftext|>"),
    closes="<|im_end|>",
)

LLAMA = Family(
    special=(
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|reserved_special_token_0|>",
        "<|finetune_right_pad_id|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eom_id|>",
        "<|eot_id|>",
        "<|python_tag|>",
    ),
    plain=(),
    template="""{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}"""
    """<|end_header_id|>

{{ m.content | trim }}<|eot_id|>{% endfor %}"""
    """{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>

{% endif %}""",
    eos="<|eot_id|>",
    pad=None,
    bos="<|begin_of_text|>",
    named=("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"),
    ends=("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"),
    closes="<|eot_id|>",
)

GEMMA = Family(
    special=(
        "<pad>",
        "<eos>",
        "<bos>",
        "<mask>",
        "<start_of_turn>",
        "<end_of_turn>",
        "<image_soft_token>",
    ),
    plain=(
        "\n\n",
        "<table>",
        "</table>",
        "<s>",
        "</s>",
        "<unused0>",
        "<start_of_image>",
        "<end_of_image>",
    ),
    template="""{{ bos_token }}{% for m in messages %}<start_of_turn>"""
    """{{ 'model' if m.role == 'assistant' else m.role }}
{{ m.content | trim }}<end_of_turn>
{% endfor %}{% if add_generation_prompt %}<start_of_turn>model
{% endif %}""",
    eos="<eos>",
    pad="<pad>",
    bos="<bos>",
    named=("<eos>", "<end_of_turn>"),
    ends=("<eos>", "<end_of_turn>"),
    closes="<end_of_turn>",
    media=("<start_of_image>", "<end_of_image>"),
)

PHI = Family(
    special=(
        "<s>",
        "<|endoftext|>",
        "<|assistant|>",
        "<|placeholder1|>",
        "<|system|>",
        "<|end|>",
        "<|user|>",
    ),
    plain=("</s>",),
    template="""{% for m in messages %}<|{{ m.role }}|>
{{ m.content }}<|end|>
{% endfor %}{% if add_generation_prompt %}<|assistant|>
{% else %}{{ eos_token }}{% endif %}""",
    eos="<|endoftext|>",
    pad="<|endoftext|>",
    bos="<s>",
    named=("<|end|>", "<|assistant|>", "<|endoftext|>"),
    ends=("<|end|>", "<|assistant|>", "<|endoftext|>"),
    closes="<|end|>",
)

GPT_OSS = Family(
    special=(
        "<|startoftext|>",
        "<|endoftext|>",
        "<|return|>",
        "<|constrain|>",
        "<|channel|>",
        "<|start|>",
        "<|end|>",
        "<|message|>",
        "<|call|>",
        "<|reserved_200013|>",
        "<|endofprompt|>",
    ),
    plain=(),
    template="""<|start|>system<|message|>You talk.<|end|>"""
    """{% for m in messages %}{% if m.role == 'assistant' %}"""
    """{% if m.thinking and loop.last %}<|start|>assistant<|channel|>analysis<|message|>"""
    """{{ m.thinking }}<|end|>{% endif %}<|start|>assistant<|channel|>final<|message|>"""
    """{{ m.content }}{% if loop.last %}<|return|>{% else %}<|end|>{% endif %}"""
    """{% else %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}"""
    """{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}""",
    eos="<|return|>",
    pad="<|endoftext|>",
    bos="<|startoftext|>",
    named=("<|return|>", "<|endoftext|>", "<|call|>"),
    ends=("<|return|>", "<|endoftext|>", "<|call|>"),
    closes="<|return|>",
    spoken=("<|channel|>", "<|start|>", "<|end|>", "<|message|>"),
)

GLM = Family(
    special=(
        "<|endoftext|>",
        "[MASK]",
        "[gMASK]",
        "<sop>",
        "<eop>",
        "<|system|>",
        "<|user|>",
        "<|assistant|>",
        "<|observation|>",
        "<|begin_of_image|>",
        "<|image|>",
    ),
    plain=("<think>", "</think>", "<tool_call>", "</tool_call>"),
    template="""[gMASK]<sop>{% for m in messages %}<|{{ m.role }}|>
{% if m.role == 'assistant' %}<think>{{ m.reasoning_content or '' }}</think>
{% endif %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}""",
    eos="<|endoftext|>",
    pad="<|endoftext|>",
    bos=None,
    named=("<|endoftext|>", "<|user|>", "<|observation|>"),
    ends=("<|endoftext|>", "<|user|>", "<|observation|>"),
    closes="<|user|>",
)

FAMILIES = {
    "Qwen3.5": QWEN,
    "Llama 3": LLAMA,
    "Gemma 3": GEMMA,
    "Phi 3.5": PHI,
    "gpt-oss": GPT_OSS,
    "GLM": GLM,
}
