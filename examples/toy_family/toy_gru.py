"""A family of one's own: a recurrent language model, with a training pass and a decoder.

`pip install examples/toy_family` makes its checkpoints students and teachers like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput

from zppo_core.algorithm.train_groups import TrainGroup
from zppo_core.models.families import Decoder, Family, Forward
from zppo_core.types import EncodedPrompt


class ToyConfig(PretrainedConfig):
    model_type = "toy_gru"

    def __init__(self, vocab_size: int = 64, hidden_size: int = 16, **more: Any) -> None:
        self.vocab_size, self.hidden_size = vocab_size, hidden_size
        self.max_position_embeddings = 4096
        super().__init__(**{"tie_word_embeddings": False, **more})


class ToyText(nn.Module):
    """Embeddings and one recurrent layer."""

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.gru = nn.GRU(config.hidden_size, config.hidden_size, batch_first=True)

    def forward(self, input_ids: torch.Tensor, **more: Any) -> BaseModelOutput:
        return BaseModelOutput(last_hidden_state=self.gru(self.embed_tokens(input_ids))[0])


class ToyForCausalLM(PreTrainedModel):
    config_class = ToyConfig

    def __init__(self, config: ToyConfig) -> None:
        super().__init__(config)
        self.model = ToyText(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.model.embed_tokens

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def forward(self, input_ids: torch.Tensor, **more: Any) -> CausalLMOutput:
        return CausalLMOutput(logits=self.lm_head(self.model(input_ids).last_hidden_state))


class ToyDecoder:
    """Carries the recurrent state: a step costs one token."""

    def __init__(self, model: ToyForCausalLM, texts: Sequence[np.ndarray], n: int) -> None:
        self.model = model
        text = model.model
        states = []
        for ids in texts:
            row = torch.as_tensor(ids[:-1], dtype=torch.long).unsqueeze(0)
            states.append(text.gru(text.embed_tokens(row))[1])
        self.state = torch.cat(states, dim=1).repeat_interleave(n, dim=1)

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        text = self.model.model
        hidden, self.state = text.gru(text.embed_tokens(tokens.unsqueeze(1)), self.state)
        return self.model.lm_head(hidden[:, 0])

    def keep(self, rows: torch.Tensor) -> None:
        self.state = self.state[:, rows].contiguous()


class ToyFamily(Family):
    """Prompts are read once for all of a group's responses, at training too."""

    name = "toy GRU"
    model_types = ("toy_gru",)

    def forward(
        self, model: Any, wanted: str, pad_id: int, checkpointing: bool, device: torch.device
    ) -> tuple[str, str, Forward] | None:
        text = model.model

        def states(groups: Sequence[TrainGroup]) -> tuple[torch.Tensor, int]:
            hidden, computed = [], 0
            for group in groups:
                ids = torch.as_tensor(group.prompt.input_ids_P, device=device)
                state = text.gru(text.embed_tokens(ids[None, :-1]))[1]
                computed += len(ids) - 1
                for suffix in group.suffixes:
                    # the prompt's last token predicts the first of the response
                    given = torch.as_tensor(suffix.token_ids_T[:-1].astype(np.int64), device=device)
                    row = torch.cat([ids[-1:], given])
                    hidden.append(text.gru(text.embed_tokens(row[None]), state)[0][0])
                    computed += len(row)
            return torch.cat(hidden), computed

        return "shared_prefix", "a recurrent state", states

    def decoder(
        self,
        model: Any,
        encoded: Sequence[EncodedPrompt],
        texts: Sequence[np.ndarray],
        n: int,
        pad_id: int,
    ) -> Decoder | None:
        return ToyDecoder(model, texts, n)


AutoConfig.register("toy_gru", ToyConfig, exist_ok=True)
AutoModelForCausalLM.register(ToyConfig, ToyForCausalLM, exist_ok=True)
FAMILY = ToyFamily()
