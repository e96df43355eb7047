"""Generation with a transformers model: on CPUs, or where there is no vLLM.

A prompt is read once and its state repeated for the members of its group; rows that have finished
leave the batch. A model whose family has a decoder runs through that, any other through its own
forward pass and cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from zppo_core.config import Config
from zppo_core.config.schema import workers_asked
from zppo_core.engines.base import BaseEngine, EngineKind
from zppo_core.engines.sampling import Penalties, RowStreams, draw, processed
from zppo_core.models.collate import left_pad
from zppo_core.models.families import Decoder, family_of
from zppo_core.models.loading import weights_name
from zppo_core.models.renderer import Renderer
from zppo_core.processes.crew import Crew
from zppo_core.protocols import Engine, Progress, Sampling
from zppo_core.types import Completion, EncodedPrompt, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MAX_ROWS = 512  # rows decoded together
MAX_TOKENS = 65_536  # prompt tokens of a batch's rows, padding included
KEEP = 0.75  # rows leave the batch when fewer than this share of it goes on
# a call cut for workers: rows of a batch, for fewer would cost too many steps; and the batches of a
# call that has no more rows than so many
CHUNK = 120
SMALL = ((8, 1), (64, 2), (4 * CHUNK, 4))
Decoded = list[tuple[Completion, ...]]


class HfEngine(BaseEngine):
    """`engines.base.Engine` over a transformers model that it may share with a trainer.

    `name` identifies the weights for caches. Sampled at temperature 1 without cuts, `logp_T` is of
    the full distribution without the forbidden tokens; otherwise of the one sampled from. With
    `chunked` a call is cut into batches for the workers of a `crew`, the same ones for any number
    of them and without one: how rows lie together is seen in the last bits.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        renderer: Renderer,
        name: str,
        version: int = 0,
        max_rows: int = MAX_ROWS,
        chunked: bool = False,
    ) -> None:
        self.model, self.renderer, self.name, self.version = model, renderer, name, version
        self.max_rows, self.chunked = max_rows, chunked
        self.crew: Crew | None = None
        self.task = ""
        self.device = next(model.parameters()).device
        self.forbidden = torch.as_tensor(renderer.forbidden_ids, device=self.device)

    @property
    def context(self) -> int:
        return int(getattr(self.model.config.get_text_config(), "max_position_embeddings", 0))

    @property
    def shares_weights(self) -> bool:
        return True

    def work_in(self, crew: Crew, task: str) -> None:
        """Have the workers of `crew` decode: `task` is this engine's `decode` in each of them."""
        self.crew, self.task = crew, task

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> list[tuple[Completion, ...]]:
        """`sampling.n` completions for each prompt, in order; see `engines.base.Engine`."""
        encoded = [self.renderer.encode(p) for p in prompts]
        batches, finished = self._batches(prompts, encoded, sampling.n), 0

        def done(number: int) -> None:
            nonlocal finished
            finished += len(batches[number])
            if progress is not None:
                progress(finished, len(prompts))

        jobs = [
            (
                [encoded[i] for i in batch],
                [prompts[i].forced for i in batch],
                sampling,
                [seeds[i] for i in batch],
                self.version,
            )
            for batch in batches
        ]
        results: dict[int, tuple[Completion, ...]] = {}
        for batch, decoded in zip(batches, self._decoded(jobs, done), strict=True):
            results |= dict(zip(batch, decoded, strict=True))
        return [results[i] for i in range(len(prompts))]

    def _decoded(self, jobs: Sequence[Any], done: Callable[[int], None]) -> Iterator[Decoded]:
        """What `decode` gives for each of `jobs`, in their order; `done` is told as they finish."""
        if self.crew is not None:
            yield from cast("Iterator[Decoded]", self.crew.perform(self.task, jobs, done=done))
            return
        for number, job in enumerate(jobs):
            decoded = self.decode(*job)
            done(number)
            yield decoded

    def _batches(
        self, prompts: Sequence[Prompt], encoded: Sequence[EncodedPrompt], n: int
    ) -> list[list[int]]:
        """Prompts of like length together, within the bounds on rows and tokens.

        Where chunked they are equal parts of the call, as far as the bounds allow, the long ones
        first: a worker that ends with a short one waits less.
        """

        def length(i: int) -> int:
            return encoded[i].length + len(prompts[i].forced)

        order = sorted(range(len(prompts)), key=lambda i: (length(i), i))
        parts = chunks(len(prompts), n) if self.chunked else 1
        batches: list[list[int]] = []
        for part in np.array_split(order, parts) if order else []:
            batches.append([])
            for i in part.tolist():
                rows = (len(batches[-1]) + 1) * n
                fits = rows <= self.max_rows and rows * length(i) <= MAX_TOKENS
                if batches[-1] and not fits:
                    batches.append([])
                batches[-1].append(i)
        return batches[::-1] if self.chunked else batches

    @torch.inference_mode()
    def decode(
        self,
        encoded: Sequence[EncodedPrompt],
        forced: Sequence[Sequence[int]],
        sampling: Sampling,
        seeds: Sequence[int],
        version: int,
    ) -> Decoded:
        """Completions for each of some prompts, all in one batch; they carry `version`."""
        n, count = sampling.n, len(encoded) * sampling.n
        given = [np.array(f, dtype=np.int64) for f in forced]
        start = [len(f) for f in given for _ in range(n)]
        streams = RowStreams([(seed, member) for seed in seeds for member in range(n)])
        texts = [np.concatenate([e.input_ids_P, f]) for e, f in zip(encoded, given, strict=True)]
        everything = [t for t in texts for _ in range(n)]
        penalties = Penalties(sampling, everything, self.renderer.vocab_size, self.device)
        decoder, tokens = self._prefill(encoded, texts, n)

        ids: list[list[int]] = [list(map(int, f)) for f in given for _ in range(n)]
        logp: list[list[float]] = [[0.0] * s for s in start]
        ended = np.zeros(count, dtype=bool)
        going = np.array(
            [i for i in range(count) if start[i] < sampling.max_tokens], dtype=np.int64
        )
        held = np.arange(count)  # rows of the decoder's batch
        if len(going) < count:
            held = self._shrink(decoder, held, going)
            tokens = tokens[torch.as_tensor(going, device=self.device)]
        step = 0
        while len(going):
            logits = decoder.step(tokens).float()
            logits.index_fill_(1, self.forbidden, -torch.inf)
            rows = torch.as_tensor(held, device=self.device)
            distribution = processed(penalties.apply(logits, rows), sampling)
            chosen = draw(distribution, streams.at(step, held), sampling.temperature == 0.0)
            value = distribution.gather(1, chosen.unsqueeze(1)).squeeze(1)
            penalties.add(rows, chosen)
            step += 1
            alive = set(going.tolist())
            for row, token, p in zip(held.tolist(), chosen.tolist(), value.tolist(), strict=True):
                if row not in alive:
                    continue
                ids[row].append(token)
                logp[row].append(p)
                ended[row] = token in self.renderer.end_ids
            open_ = [r for r in going if not ended[r] and len(ids[r]) < sampling.max_tokens]
            going = np.array(open_, dtype=np.int64)
            if len(going) and len(going) < KEEP * len(held):
                kept = torch.as_tensor(np.searchsorted(held, going), device=self.device)
                held, chosen = self._shrink(decoder, held, going), chosen[kept]
            tokens = chosen
        return [
            tuple(
                Completion(
                    self.renderer.decode(ids[row]),
                    np.array(ids[row], np.int32),
                    np.array(logp[row], np.float32),
                    "stop" if ended[row] else "length",
                    version,
                    start[row],
                )
                for row in range(i * n, (i + 1) * n)
            )
            for i in range(len(encoded))
        ]

    def _shrink(self, decoder: Decoder, held: np.ndarray, going: np.ndarray) -> np.ndarray:
        decoder.keep(torch.as_tensor(np.searchsorted(held, going), device=self.device))
        return going

    def _prefill(
        self, encoded: Sequence[EncodedPrompt], texts: Sequence[np.ndarray], n: int
    ) -> tuple[Decoder, torch.Tensor]:
        """A decoder that has read all but the last token of each text, n rows a prompt; those."""
        last = torch.tensor([int(t[-1]) for t in texts for _ in range(n)], device=self.device)
        family, pad_id = family_of(self.model.config.model_type), self.renderer.pad_id
        passes = family.decoder(self.model, encoded, texts, n, pad_id)
        return passes or CacheDecoder(self.model, encoded, texts, n, pad_id), last

    def load_weights(
        self, weights: Mapping[str, torch.Tensor], version: int, path: str = ""
    ) -> None:
        """Take all parameters by name and the version; a shared module is only checked.

        Raises KeyError if a name is missing or left over, ValueError if a shape differs.
        """
        current = dict(self.model.named_parameters())
        if current.keys() != weights.keys():
            different = sorted(current.keys() ^ weights.keys())
            raise KeyError(f"weights do not fit the engine's model: {', '.join(different[:5])}")
        with torch.no_grad():
            for name, parameter in current.items():
                given = weights[name]
                if given.shape != parameter.shape:
                    raise ValueError(f"{name}: {tuple(given.shape)} != {tuple(parameter.shape)}")
                if given.data_ptr() != parameter.data_ptr():
                    parameter.copy_(given)
        self.version = version


class CacheDecoder:
    """Any transformers model through its own cache, prompts padded on the left."""

    def __init__(
        self,
        model: PreTrainedModel,
        encoded: Sequence[EncodedPrompt],
        texts: Sequence[np.ndarray],
        n: int,
        pad_id: int,
    ) -> None:
        self.model = model
        device = next(model.parameters()).device
        inputs = left_pad(encoded, texts, pad_id, device)
        # the whole text but its last token, which the first step feeds
        self.mask = inputs["attention_mask"][:, :-1].repeat_interleave(n, dim=0)
        for name in ("input_ids", "attention_mask", "mm_token_type_ids"):
            if name in inputs:
                inputs[name] = inputs[name][:, :-1]
        position = inputs["attention_mask"].sum(1)
        out = model(**inputs, use_cache=True, logits_to_keep=1)
        self.cache = out.past_key_values
        deltas = getattr(
            model.model, "rope_deltas", None
        )  # images take fewer positions than tokens
        if "pixel_values" in inputs and deltas is not None:
            position = position + deltas.squeeze(1)
        self.position = position.repeat_interleave(n)
        reindex(self.cache, torch.arange(len(texts), device=device).repeat_interleave(n))

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        ones = torch.ones_like(self.mask[:, :1])
        self.mask = torch.cat([self.mask, ones], dim=1)
        out = self.model(
            input_ids=tokens.unsqueeze(1),
            attention_mask=self.mask,
            use_cache=True,
            past_key_values=self.cache,
            position_ids=self.position.unsqueeze(1),
        )
        self.position = self.position + 1
        logits: torch.Tensor = out.logits[:, -1]
        return logits

    def keep(self, rows: torch.Tensor) -> None:
        reindex(self.cache, rows)
        self.mask, self.position = self.mask[rows], self.position[rows]


def chunks(prompts: int, n: int) -> int:
    """Parts that a call of so many prompts with `n` rows each is cut into; no more than prompts."""
    rows = prompts * n
    parts = next((few for most, few in SMALL if rows < most), rows // CHUNK)
    return max(1, min(prompts, parts))


def in_this_process(model: PreTrainedModel | None) -> PreTrainedModel:
    """`model`; ValueError if whoever opens the engine did not load one."""
    if model is None:
        raise ValueError("the transformers engine runs a model of this process: load one first")
    return model


def reindex(cache: Any, rows: torch.Tensor) -> None:
    """Make `rows` of a transformers cache, which may repeat, its new batch."""
    for layer in cache.layers:
        for name in ("keys", "values"):
            if isinstance(getattr(layer, name, None), torch.Tensor):
                setattr(layer, name, getattr(layer, name).index_select(0, rows))
        for name in ("conv_states", "recurrent_states"):
            for i, state in getattr(layer, name, {}).items():
                if state is not None:
                    getattr(layer, name)[i] = state.index_select(0, rows)


class HfKind(EngineKind):
    """The trainer's own model for the student, a model of this process for each teacher."""

    in_process = True

    def student(
        self,
        config: Config,
        model: PreTrainedModel | None,
        renderer: Renderer,
        evaluating: bool = False,
    ) -> Engine:
        model = in_this_process(model)
        return HfEngine(model, renderer, "student", chunked=for_workers(config, evaluating))

    def teacher(
        self,
        config: Config,
        name: str,
        model: PreTrainedModel | None,
        renderer: Renderer,
        evaluating: bool = False,
    ) -> Engine:
        model = in_this_process(model)
        chunked = for_workers(config, evaluating)
        return HfEngine(model, renderer, weights_name(model), chunked=chunked)


def for_workers(config: Config, evaluating: bool) -> bool:
    """Whether calls are cut for workers; evaluation is in parts already."""
    return workers_asked(config) > 0 and not evaluating


KIND = HfKind()
