"""Generation with vLLM: rollouts and teachers on GPUs; its CPU build serves to test this adapter.

`vllm` is imported when an engine is made, never before. docs/engines.md has the measurements.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from zppo_core.data.pixels import read_picture
from zppo_core.engines.base import StreamingEngine
from zppo_core.engines.vllm_loop import StepLoop
from zppo_core.engines.vllm_sleep import Sleep
from zppo_core.engines.vllm_weights import (
    Sources,
    cast,
    compare,
    shared_file,
    sources_of,
    sums,
    weights_identity,
)
from zppo_core.errors import UserError
from zppo_core.models.nano import resolve
from zppo_core.processes.loopback import on_loopback
from zppo_core.protocols import Finished, Progress, Sampling
from zppo_core.types import Completion, Prompt

if TYPE_CHECKING:
    import torch

    from zppo_core.models.renderer import Renderer
    from zppo_core.types import EncodedPrompt

Transport = Literal["memory", "file"]
MAX_FORBIDDEN = 1024  # entries of a request's logit bias
MAX_SEED = 2**62  # member i samples with seed + i, which must fit in 63 bits


class VllmEngine(StreamingEngine):
    """`engines.base.Engine` over a vLLM `LLM` of the model in `model`: folder, hub id or nano:….

    `transport` says how weights get there: "memory" where vLLM runs in this process, "file" where
    it runs in processes of its own on this host (needed for tensor parallelism), which then see
    the GPUs `devices` alone ("0,1"; empty: all). `logp_T` is of the distribution sampled from:
    forbidden tokens taken out, then penalties, temperature and cuts. `settings` go to `vllm.LLM`.
    """

    def __init__(
        self,
        model: str,
        renderer: Renderer,
        name: str = "",
        version: int = 0,
        transport: Transport = "memory",
        devices: str = "",
        **settings: Any,
    ) -> None:
        self.renderer, self.version, self.transport = renderer, version, transport
        folder = str(resolve(model)) if model.startswith("nano:") else os.path.expanduser(model)
        self.name = name or weights_identity(folder)
        # nothing is sent anywhere
        os.environ |= {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        # a fork of a process that has looked at CUDA cannot use it
        os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
        try:
            from transformers import AutoConfig
            from vllm import LLM
            from vllm.distributed.parallel_state import model_parallel_is_initialized
            from vllm.envs import disable_envs_cache
            from vllm.platforms import current_platform
        except ImportError as error:
            raise UserError(
                f"vLLM cannot be imported ({error}); pip install -e '.[gpu]', or take the "
                "transformers engine with --set compute.engine=hf"
            ) from None
        # process-wide in vLLM, and gone with the first of two engines
        if transport == "memory" and model_parallel_is_initialized():
            raise UserError("this process has a vLLM engine already; give the next transport=file")
        disable_envs_cache()  # an engine made earlier froze what it read
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0" if transport == "memory" else "1"
        self._on_cpu: bool = current_platform.is_cpu()
        if self._on_cpu:
            os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB
        given = defaults(self._on_cpu, settings.get("tensor_parallel_size", 1))
        if "max_model_len" in settings:  # at most what the model was made for
            limit = AutoConfig.from_pretrained(folder).get_text_config().max_position_embeddings
            settings["max_model_len"] = min(settings["max_model_len"], limit)
        with _visible(devices), on_loopback():
            self.llm: Any = LLM(
                model=folder,
                **(given | settings),
                logprobs_mode="processed_logprobs",
                worker_extension_cls="zppo_core.engines.vllm_weights.WeightAccess",
            )
        self._control = control_settings(renderer)
        shape = self.llm.llm_engine.model_config
        self.max_length, self._dtype = int(shape.max_model_len), shape.dtype
        self._unfit = False
        self._loop, self._sleep = StepLoop(self.llm), Sleep(self.llm)

    @property
    def context(self) -> int:
        return self.max_length

    def stream(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> Iterator[list[Finished]]:
        """Each prompt's completions as they come; see `zppo_core.protocols.Engine`.

        UserError if a prompt and its response do not fit the engine's `max_model_len`.
        """
        if self._unfit or self._sleep.lost:
            raise RuntimeError("the engine has no whole weights: load_weights comes first")
        self.wake()
        encoded = [self.renderer.encode(p) for p in prompts]
        requests, forced = [], []
        for i, (prompt, e, seed) in enumerate(zip(prompts, encoded, seeds, strict=True)):
            room = sampling.max_tokens - len(prompt.forced)
            if e.length + max(sampling.max_tokens, len(prompt.forced)) > self.max_length:
                raise UserError(
                    f"a prompt of {e.length} tokens and a response of {sampling.max_tokens} exceed "
                    f"the engine's {self.max_length}; raise its max_model_len"
                )
            if room > 0:
                requests.append((i, text_prompt(prompt, e), self._settings(sampling, room, seed)))
            else:
                forced.append(i)
        if forced:
            yield [
                (i, self._group(prompts[i].forced, encoded[i], None, sampling.n)) for i in forced
            ]
        done = len(forced)
        for outputs in self._loop.run(requests):
            for _ in outputs:
                done += 1
                if progress is not None:
                    progress(done, len(prompts))
            yield [
                (i, self._group(prompts[i].forced, encoded[i], output, sampling.n))
                for i, output in outputs
            ]

    def _settings(self, sampling: Sampling, room: int, seed: int) -> Any:
        """vLLM's form of `sampling` for a prompt whose response has `room` [tokens]."""
        from vllm import SamplingParams

        return SamplingParams(
            # vLLM wants greedy members once
            n=sampling.n if sampling.temperature > 0 else 1,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_p=sampling.min_p,
            presence_penalty=sampling.presence_penalty,
            repetition_penalty=sampling.repetition_penalty,
            max_tokens=room,
            seed=seed % MAX_SEED,
            logprobs=0,
            flat_logprobs=True,
            detokenize=False,
            **self._control,
        )

    def _group(
        self, forced: tuple[int, ...], encoded: EncodedPrompt, output: Any, n: int
    ) -> tuple[Completion, ...]:
        if output is None:
            given = np.array(forced, np.int32)
            zero = np.zeros(len(given), np.float32)
            text = self.renderer.decode(given)
            return (Completion(text, given, zero, "length", self.version, len(given)),) * n
        # the expansion of images is vLLM's own: it must be the one the trainer sees
        if output.prompt_token_ids != [*encoded.input_ids_P.tolist(), *forced]:
            raise RuntimeError("vLLM read another prompt than it was given: image tokens differ")
        group = tuple(self._completion(forced, c) for c in output.outputs)
        return group * (n // len(group))

    def _completion(self, forced: tuple[int, ...], output: Any) -> Completion:
        ids = np.array([*forced, *output.token_ids], np.int32)
        logp = np.array([0.0] * len(forced) + list(output.logprobs.logprobs), np.float32)
        if list(output.logprobs.token_ids) != list(output.token_ids):
            raise RuntimeError("vLLM's log-probabilities are not of the sampled tokens")
        finish: Literal["stop", "length"] = "stop" if output.finish_reason == "stop" else "length"
        return Completion(self.renderer.decode(ids), ids, logp, finish, self.version, len(forced))

    @contextmanager
    def staged(self, weights: Mapping[str, torch.Tensor]) -> Iterator[str]:
        """A file of the weights, for the `path` of any engine of this model."""
        sources, types = self._plan(weights)
        size = sum(t.numel() * t.element_size() for t in weights.values())
        with shared_file(cast(weights, sources, types, self._dtype), size) as path:
            yield path

    def load_weights(
        self, weights: Mapping[str, torch.Tensor], version: int, path: str = ""
    ) -> None:
        """Take all parameters by their transformers names, check sums read back, drop caches.

        `path` is where they are `staged` already. Raises KeyError if a name is missing or left
        over, RuntimeError if vLLM holds other values afterwards.
        """
        sources, types = self._plan(weights)
        self._sleep.wake(("weights",))  # room for keys and values is taken when it is asked
        self._unfit = True  # until all of it has gone well
        if path:
            self.llm.collective_rpc("zppo_load_file", args=(path,))
        elif self.transport == "memory":
            pairs = cast(weights, sources, types, self._dtype)
            self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": pairs})
        else:
            with self.staged(weights) as held:
                self.llm.collective_rpc("zppo_load_file", args=(held,))
        if self._on_cpu and self.llm.llm_engine.model_config.hf_config.tie_word_embeddings:
            self.llm.collective_rpc("zppo_repack_heads")
        # keys, values, states and image features of the old weights
        if not self.llm.reset_prefix_cache():
            raise RuntimeError("vLLM did not drop its prefix cache: requests are still running")
        self.llm.llm_engine.reset_encoder_cache()
        self.llm.llm_engine.reset_mm_cache()
        sent = {n: sums(t) for n, t in cast(weights, sources, types, self._dtype)}
        compare(sent, sources, self.llm.collective_rpc("zppo_sums"))
        self.version, self._unfit, self._sleep.lost = version, False, False

    def _plan(self, weights: Mapping[str, torch.Tensor]) -> tuple[Sources, dict[str, str]]:
        """What each of vLLM's tensors is made of, and its type."""
        mapped, types, packed = self.llm.collective_rpc("zppo_names", args=(list(weights),))[0]
        return sources_of(dict(zip(weights, mapped, strict=True)), types, packed), types

    def sleep(self, replaced: bool = False) -> None:
        """Leave the GPU to others; weights that are `replaced` are dropped: new ones come first.

        Needs `enable_sleep_mode=True` among the engine's settings; does nothing on a CPU.
        """
        if not self._on_cpu:
            self._sleep.sleep(replaced)

    def wake(self) -> None:
        """Take the GPU back; `generate` and `load_weights` do so by themselves."""
        self._sleep.wake()

    def close(self) -> None:
        """End vLLM's processes and give its memory back; the engine is of no use afterwards."""
        self._loop.close()
        self.llm.llm_engine.engine_core.shutdown()


def defaults(on_cpu: bool, width: int = 1) -> dict[str, Any]:
    """What `vllm.LLM` is given unless the settings say otherwise; `width` GPUs share the model."""
    given: dict[str, Any] = {
        "dtype": "bfloat16",
        "seed": 0,
        "generation_config": "vllm",
        "limit_mm_per_prompt": {"image": 64, "video": 0},
    }
    if width > 1:
        # the process has all its GPUs, by one bundle of Ray where it is an actor: by itself vLLM
        # would start actors there, and refuse a bundle of several GPUs
        given["distributed_executor_backend"] = "mp"
    if not on_cpu:
        # on Hopper vLLM would take FlashInfer's kernel, which nvcc compiles at the first prefill
        return given | {"gdn_prefill_backend": "triton"}
    # a chunk of a prompt rewinds its seed's generator, which fails on a CPU; a hybrid's prefix
    # cache needs chunks
    return given | {
        "enforce_eager": True,
        "enable_chunked_prefill": False,
        "enable_prefix_caching": False,
    }


def control_settings(renderer: Renderer) -> dict[str, Any]:
    """The sampling parameters by which a request ends and never says a forbidden token.

    UserError if there are more of them than vLLM takes.
    """
    if len(renderer.forbidden_ids) > MAX_FORBIDDEN:
        raise UserError(
            f"{len(renderer.forbidden_ids)} forbidden tokens, vLLM can mask {MAX_FORBIDDEN}; use "
            "engine hf"
        )
    return {
        # by our list alone: vLLM's own would be the tokenizer's one token
        "stop_token_ids": list(renderer.end_ids),
        "ignore_eos": True,
        # its only mask with room for the rows beside a large vocabulary, in both model runners
        "logit_bias": {int(i): -float("inf") for i in renderer.forbidden_ids},
    }


def text_prompt(prompt: Prompt, encoded: EncodedPrompt) -> dict[str, Any]:
    """vLLM's form: one placeholder an image, which it expands itself, and the decoded images."""
    ids, types = encoded.input_ids_P, encoded.mm_token_type_ids_P
    first = np.concatenate([[True], ~((types[1:] == 1) & (types[:-1] == 1))])
    given: dict[str, Any] = {"prompt_token_ids": [*ids[first].tolist(), *prompt.forced]}
    if prompt.images:
        images = [read_picture(data) for data in prompt.images]
        given["multi_modal_data"] = {"image": images}
    return given


@contextmanager
def _visible(devices: str) -> Iterator[None]:
    """Processes started meanwhile see these GPUs alone, counted among those that we see."""
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    if devices:
        visible = before.split(",") if before else []
        chosen = [visible[int(d)] if visible else d for d in devices.split(",")]
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(chosen)
    try:
        yield
    finally:
        if devices:
            os.environ.pop("CUDA_VISIBLE_DEVICES")
            os.environ |= {} if before is None else {"CUDA_VISIBLE_DEVICES": before}
