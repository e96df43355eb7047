"""The example over TRL's trainer trains on a CPU, and its buffer's events are those of ours."""

import hashlib
import sys
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="trl is in the extra `bench`: pip install -e '.[bench]'")
sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))


def coin(response: str, gold: str) -> float:
    """A reward that a random model earns half of the time."""
    return float(hashlib.sha256(f"{response} {gold}".encode()).digest()[0] % 2)


def test_ten_steps_of_trl_move_the_buffer_as_ours_moves(tmp_path) -> None:
    import torch
    from transformers import Qwen3_5ForCausalLM
    from trl_replay import train

    from zppo_core import PromptReplayBuffer
    from zppo_core.models.nano import build as nano

    tokenizer = nano.build_tokenizer()
    tokenizer.padding_side = "left"
    torch.manual_seed(0)
    model = Qwen3_5ForCausalLM(nano.build_model(tokenizer, 1).config.text_config)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    zone = train(
        model,
        10,
        coin,
        processing_class=tokenizer,
        output_dir=str(tmp_path),
        max_completion_length=6,
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
        gradient_checkpointing=False,
        learning_rate=1e-3,
    )
    assert zone.step == 10
    ours, events = PromptReplayBuffer(512, 0.5), []
    for step, accuracies in enumerate(zone.accuracies):
        events += ours.update_all(accuracies, step)
    assert zone.events == events
    assert {e.kind for e in events} == {"admit", "stay", "graduate"}
    assert {k for kinds in zone.kinds for k in kinds} == {"plain", "replay", "bcq", "ncq"}
    assert all(len(kinds) == 8 for kinds in zone.kinds)
    assert any(not torch.equal(p, before[name]) for name, p in model.named_parameters())
