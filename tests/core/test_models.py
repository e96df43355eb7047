"""What is particular to Qwen3.5: precise decays and norms, and weights that nobody loads."""

import os
from pathlib import Path

import torch
import world
from safetensors.torch import load_file

from zppo_core import models
from zppo_core.models.weights import load_weights, write_student


def base(folder: Path) -> Path:
    """A checkpoint with weights of multi-token prediction, as the hub's are."""
    model = world.model()
    r = world.renderer()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("A_log"):
                parameter.fill_(1.2345678)
    mtp = {"mtp.fc.weight": torch.randn(4, 8), "mtp.norm.weight": torch.ones(4)}
    write_student(folder, model, r.tokenizer, r.processor, mtp)
    return folder


def test_decays_and_norms_stay_float32_in_a_bfloat16_student(tmp_path: Path) -> None:
    model, renderer = models.load(str(base(tmp_path)), torch.bfloat16)
    types = {n: p.dtype for n, p in model.named_parameters()}
    precise = {n for n, d in types.items() if d == torch.float32}
    assert any(n.endswith("A_log") for n in precise)
    assert any(n.endswith("input_layernorm.weight") for n in precise)
    assert all("visual" not in n and "proj" not in n and "embed" not in n for n in precise)
    rest = {d for n, d in types.items() if n not in precise}
    assert rest == {torch.bfloat16}
    decay = next(p for n, p in model.named_parameters() if n.endswith("A_log"))
    assert torch.equal(decay, torch.full_like(decay, 1.2345678))
    # and it runs, pictures included
    from zppo_core.engines.hf import HfEngine
    from zppo_core.protocols import Sampling

    said = HfEngine(model, renderer, "s").generate(world.prompts(1, 1, 0), Sampling(4), [1, 2])
    assert len(said) == 2


def test_weights_of_multi_token_prediction_outlive_training_and_saving(tmp_path: Path) -> None:
    name = str(base(tmp_path / "base"))
    model, renderer = models.load(name, torch.float32)
    kept = models.mtp_weights(name)
    assert set(kept) == {"mtp.fc.weight", "mtp.norm.weight"}
    write_student(tmp_path / "out", model, renderer.tokenizer, None, kept)
    again = load_file(tmp_path / "out" / "mtp.safetensors")
    assert all(torch.equal(again[k], v) for k, v in kept.items())
    load_weights(tmp_path / "out", model)
    assert models.mtp_weights(str(tmp_path / "out")).keys() == kept.keys()
    assert models.mtp_weights("nano:student") == {}


def test_a_process_that_loads_a_model_can_still_be_forked_to_use_a_gpu(monkeypatch) -> None:
    """torch.cuda.is_available() starts CUDA, which no fork survives; vLLM forks its engines."""

    def start() -> bool:
        raise AssertionError("CUDA was started")

    monkeypatch.setattr(torch.cuda, "is_available", start)
    for count, name in ((0, "cpu"), (8, "cuda")):
        monkeypatch.delenv("DS_ACCELERATOR", raising=False)
        monkeypatch.setattr(torch.cuda, "device_count", lambda n=count: n)
        models.quiet()
        assert os.environ["DS_ACCELERATOR"] == name
