"""Ends, padding and barred tokens of six families, and both engines that obey them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from families import FAMILIES, GEMMA, GLM, GPT_OSS, LLAMA, PHI, QWEN, WORDS, Family
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from zppo_core import models
from zppo_core.engines.hf import HfEngine
from zppo_core.engines.vllm import MAX_FORBIDDEN, control_settings
from zppo_core.errors import UserError
from zppo_core.models.control_tokens import media_ids
from zppo_core.models.nano import build as nano
from zppo_core.models.renderer import Renderer
from zppo_core.protocols import Sampling
from zppo_core.types import Prompt

EACH = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
ROWS = 64  # of the embedding: some more than any of the tokenizers has


def renderer(family: Family, generation: bool = True) -> Renderer:
    return Renderer(
        family.tokenizer(),
        None,
        ROWS,
        family.generation() if generation else None,
        family.ids(family.media),
    )


def names(r: Renderer, ids) -> set[str]:
    return {r.tokenizer.convert_ids_to_tokens(int(i)) for i in ids if i < len(r.tokenizer)}


@EACH
def test_every_end_that_the_model_names_ends_a_response(family):
    r = renderer(family)
    assert names(r, r.end_ids) == set(family.ends)
    assert r.end_id == family.ids((family.closes,))[0]
    assert not set(r.end_ids) & set(r.forbidden_ids.tolist())
    for end in r.end_ids:
        words = r.encode_text("the answer is one")
        assert r.decode([*words, end]) == r.decode(words)


@EACH
def test_control_tokens_are_barred_and_what_a_response_is_written_in_is_not(family):
    r = renderer(family)
    barred = names(r, r.forbidden_ids)
    assert not barred & {*family.ends, *family.spoken, *WORDS[1:]}
    assert barred >= set(family.special) - {*family.ends, *family.spoken}
    controls = {t for t in family.plain if t.startswith("<|")}
    assert barred & set(family.plain) == controls | set(family.media)
    assert set(range(len(r.tokenizer), ROWS)) <= set(r.forbidden_ids.tolist())
    assert r.forbidden_ids.dtype == np.int64
    assert (np.diff(r.forbidden_ids) > 0).all()


@EACH
def test_a_text_that_would_be_read_as_a_control_token_is_found(family):
    r = renderer(family)
    assert not r.holds_control("the answer is one")
    for token in names(r, [*r.end_ids, *r.forbidden_ids]) - {"<unk>"}:
        assert r.holds_control(f"the {token} answer"), token


@EACH
def test_padding_is_the_models_or_an_end(family):
    r = renderer(family)
    assert r.pad_id == (family.ids((family.pad,))[0] if family.pad else r.end_id)


def test_a_pad_token_that_generation_config_alone_names_is_taken():
    pad = LLAMA.ids(("<|finetune_right_pad_id|>",))[0]
    r = Renderer(LLAMA.tokenizer(), None, ROWS, LLAMA.generation() | {"pad_token_id": pad})
    assert r.pad_id == pad
    assert pad in r.forbidden_ids


@pytest.mark.parametrize(
    ("family", "ends"),
    [
        (QWEN, {"<|im_end|>"}),
        (LLAMA, {"<|eot_id|>"}),
        (GEMMA, {"<eos>", "<end_of_turn>"}),
        (PHI, {"<|endoftext|>", "<|end|>"}),
        (GPT_OSS, {"<|return|>"}),
        (GLM, {"<|endoftext|>", "<|user|>"}),
    ],
    ids=FAMILIES,
)
def test_without_generation_config_the_template_tells_the_end_of_a_turn(family, ends):
    r = renderer(family, generation=False)
    assert names(r, r.end_ids) == ends


def test_both_end_tokens_of_qwens_generation_config_end_a_response():
    r = renderer(QWEN)
    assert names(r, r.end_ids) == {"<|im_end|>", "<|endoftext|>"}
    assert names(r, [r.pad_id]) == {"<|endoftext|>"}
    # without thinking, with it, and of a template that refuses such a conversation
    tokenizer = QWEN.tokenizer()
    tokenizer.chat_template = "{{ raise_exception('no') }}"
    assert Renderer(tokenizer, None, ROWS, QWEN.generation()).end_ids == r.end_ids


def test_a_model_that_names_no_end_is_refused():
    tokenizer = GLM.tokenizer()
    tokenizer.eos_token = None
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    with pytest.raises(UserError, match="eos_token"):
        Renderer(tokenizer, None, ROWS)


def test_a_tokenizer_without_a_chat_template_is_refused_in_one_line():
    tokenizer = LLAMA.tokenizer()
    tokenizer.chat_template = None
    r = Renderer(tokenizer, None, ROWS)
    with pytest.raises(UserError, match="no chat template"):
        r.encode(Prompt("one"))


def test_ids_of_media_are_read_off_a_models_configuration():
    config = {
        "image_token_id": 9,
        "text_config": {"eos_token_id": 1, "video_token_id": 8},
        "boi_token_index": 7,
        "audio_token_id": None,
        "bos_token_id": 2,
        "id2label": {0: "a"},
        "mm_tokens_per_image": 256,
    }
    assert media_ids(config) == (7, 8, 9)


def test_nanos_control_tokens_are_those_that_its_weights_were_made_with():
    """Other ones would change every sampled token of seed 0."""
    r = models.load_renderer("nano:student", nano.VOCAB, images=True)
    assert (r.end_id, r.end_ids, r.pad_id) == (595, (595,), 596)
    assert r.forbidden_ids.tolist() == [*range(596, 603), *range(605, 640)]
    plain = Renderer(r.tokenizer, None, nano.VOCAB)
    assert (plain.end_ids, plain.pad_id) == (r.end_ids, r.pad_id)
    assert plain.forbidden_ids.tolist() == r.forbidden_ids.tolist()


def wishing(token: str, family: Family) -> HfEngine:
    """A model that wants nothing but `token`."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=ROWS,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config).eval()
    head = torch.nn.Linear(16, ROWS)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
        head.bias[family.ids((token,))[0]] = 50.0
    model.lm_head = head
    return HfEngine(model, renderer(family), "wishing")


@EACH
def test_the_transformers_engine_stops_at_every_end_and_never_says_a_barred_token(family):
    for end in family.ends:
        (group,) = wishing(end, family).generate([Prompt("one two")], Sampling(8, n=4), [0])
        assert {(c.finish, len(c.token_ids_T), c.text) for c in group} == {("stop", 1, "")}
    r = renderer(family)
    for token in sorted(names(r, r.forbidden_ids)):
        (group,) = wishing(token, family).generate([Prompt("one two")], Sampling(4, n=2), [0])
        said = {int(t) for c in group for t in c.token_ids_T}
        assert not said & set(r.forbidden_ids.tolist())


def test_tokens_of_a_responses_format_are_said_and_do_not_end_it():
    for token in GPT_OSS.spoken:
        (group,) = wishing(token, GPT_OSS).generate([Prompt("one")], Sampling(4, n=2), [0])
        assert {(c.finish, len(c.token_ids_T)) for c in group} == {("length", 4)}


@EACH
def test_vllm_is_asked_to_stop_at_the_same_ends_and_to_bar_the_same_tokens(family):
    r = renderer(family)
    asked = control_settings(r)
    assert asked["stop_token_ids"] == list(r.end_ids)
    assert asked["ignore_eos"] is True
    assert sorted(asked["logit_bias"]) == r.forbidden_ids.tolist()
    assert set(asked["logit_bias"].values()) == {-float("inf")}


def test_more_barred_tokens_than_vllm_takes_are_refused():
    r = Renderer(GPT_OSS.tokenizer(), None, ROWS + MAX_FORBIDDEN)
    with pytest.raises(UserError, match="engine hf"):
        control_settings(r)


def test_a_folders_generation_config_is_read_and_its_configuration_where_there_is_none(tmp_path):
    QWEN.tokenizer().save_pretrained(tmp_path)
    im_end, end_of_text = (QWEN.ids((t,))[0] for t in ("<|im_end|>", "<|endoftext|>"))
    LlamaConfig(vocab_size=ROWS, eos_token_id=end_of_text).save_pretrained(tmp_path)
    r = models.load_renderer(str(tmp_path), ROWS, images=False)
    assert r.end_ids == tuple(sorted((im_end, end_of_text)))
    GenerationConfig(eos_token_id=[im_end]).save_pretrained(tmp_path)
    assert models.load_renderer(str(tmp_path), ROWS, images=False).end_ids == (im_end,)
