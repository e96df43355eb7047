"""Encoded prompts: kept within a budget of bytes, counted without being encoded again."""

from __future__ import annotations

from collections import OrderedDict

import world

from zppo_core.models import renderer as rendering


def test_encoded_prompts_are_kept_up_to_a_budget_of_bytes(monkeypatch) -> None:
    renderer = world.renderer()
    # other tests share it
    monkeypatch.setattr(renderer, "_memo", OrderedDict())
    monkeypatch.setattr(renderer, "_memo_bytes", 0)
    asked = world.prompts(4, 0, 0)
    one = renderer.encode(asked[0])
    assert renderer.encode(asked[0]) is one
    monkeypatch.setattr(rendering, "MEMO_BYTES", 2 * one.nbytes + one.nbytes // 2)
    for prompt in asked[1:]:
        renderer.encode(prompt)
    assert renderer.encode(asked[3]) is renderer.encode(asked[3])
    assert renderer.encode(asked[0]) is not one


def test_a_length_is_that_of_the_encoded_prompt_and_outlives_it(monkeypatch) -> None:
    renderer = world.renderer()
    monkeypatch.setattr(rendering, "MEMO_BYTES", 0)
    asked = world.prompts(1, 1, 1)
    lengths = [renderer.encode(p).length for p in asked]
    monkeypatch.setattr(renderer, "_encode", lambda prompt: 1 / 0)
    assert [renderer.length(p) for p in asked] == lengths
