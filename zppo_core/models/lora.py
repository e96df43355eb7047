"""Low-rank adapters on a student's linear maps (peft), for small GPUs.

Only the adapters learn; the base keeps its type and has neither gradients nor optimizer. Engines of
other processes, checkpoints and evaluation see the merged weights, under the names of the base.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

# of attention, gated delta layers and feed-forward; not the vision tower, embeddings or head
TARGETS = (
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "in_proj_qkv",
    "in_proj_z",
    "out_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
)
ADAPTER = "student"


def add(model: PreTrainedModel, rank: int, alpha: int, seed: int = 0) -> None:
    """Put adapters of `rank` into the text stack, scaled by alpha / rank, and freeze the rest.

    B is zero, so that the model is what it was; A is drawn from `seed`, float32 as all adapters.
    """
    import torch
    from peft import LoraConfig, inject_adapter_in_model

    pattern = rf".*layers\..*\.({'|'.join(TARGETS)})"
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.0,
        target_modules=pattern,
        exclude_modules=r".*visual.*",
    )
    inject_adapter_in_model(config, model, adapter_name=ADAPTER)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
        if "lora_A" in name:
            bound = parameter.shape[1] ** -0.5
            drawn = torch.rand(parameter.shape, generator=generator) * 2 * bound - bound
            parameter.data = drawn.to(parameter.device)
        elif "lora_B" in name:
            parameter.data = parameter.data.float()


def adapted(model: PreTrainedModel) -> bool:
    """Whether the model has adapters."""
    return any("lora_" in name for name, _ in model.named_parameters())


class Merged(Mapping[str, "torch.Tensor"]):
    """`state` under the names of the base, with B A times `factor` added where adapters are.

    Each sum is made when it is asked for and kept by nobody: all of them at once are a second base,
    for which a small GPU has no room beside an engine.
    """

    def __init__(self, state: Mapping[str, torch.Tensor], factor: float) -> None:
        self._state, self._factor = state, factor
        self._names = {n.replace(".base_layer.", "."): n for n in state if "lora_" not in n}

    def __getitem__(self, name: str) -> torch.Tensor:
        value = self._state[self._names[name]].detach()
        if not self.sums(name):
            return value
        stem = self._names[name].removesuffix(".base_layer.weight")
        a, b = (self._state[f"{stem}.lora_{m}.{ADAPTER}.weight"].detach().float() for m in "AB")
        return (b @ a).mul_(self._factor).add_(value).to(value.dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def sums(self, name: str) -> bool:
        """Whether adapters are added to this one: it is a new tensor each time."""
        return self._names[name].endswith(".base_layer.weight")


def merged(model: PreTrainedModel) -> Merged:
    """The state dict of the model without adapters, their products added to the base."""
    return Merged(model.state_dict(), scaling(model))


def scaling(model: PreTrainedModel) -> float:
    """What products of adapters are multiplied by: alpha / rank; 1 without adapters."""
    from peft.tuners.lora import LoraLayer

    layers = (m for m in model.modules() if isinstance(m, LoraLayer) and ADAPTER in m.lora_A)
    return next((float(layer.scaling[ADAPTER]) for layer in layers), 1.0)


def parameters(model: PreTrainedModel) -> Mapping[str, torch.Tensor]:
    """The model's parameters as an engine of its base knows them; merged if there are adapters."""
    named: dict[str, torch.Tensor] = dict(model.named_parameters())
    return Merged(named, scaling(model)) if adapted(model) else named
