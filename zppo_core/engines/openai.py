"""Generation by any OpenAI-compatible chat endpoint: a teacher or a judge on another host."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import BoundedSemaphore, Event, Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from zppo_core.engines.base import StreamingEngine
from zppo_core.errors import UserError
from zppo_core.protocols import Finished, Progress, Sampling
from zppo_core.types import Completion, Prompt, whole_characters

if TYPE_CHECKING:  # the client takes 0.65 s to import, which only who asks an endpoint pays
    import openai
    import torch

BACKOFF, LONGEST = 0.5, 8.0  # seconds before what is no answer is asked for again, as the client's
CONNECT = 10.0  # seconds to reach the host
CHECKS = 2  # tries more at the start: who waits for a server that is not there should hear of it
MAGIC = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif", b"RIFF": "webp"}


@dataclass
class OpenAIEngine(StreamingEngine):
    """`engines.base.Engine` over `base_url`/chat/completions, up to `concurrency` requests at once.

    The `openai` client sends, waits as `Retry-After` asks and tries again, up to `retries` times.

    What an endpoint does not tell is not made up: `logp_T` is NaN, and `token_ids_T` is the text as
    `encode` (the student's tokenizer, say) would write it, so that its length is an estimate; empty
    without `encode`. The key is the value of the environment variable `api_key_env`, none if that
    is not set. `extra` goes into each request's body; a field that is None there is left out.
    """

    base_url: str
    model: str  # the endpoint's id of it; also `name`, the identity in caches
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: int = 32
    timeout: float = 1800.0  # seconds that one request may take
    retries: int = 6
    encode: Callable[[str], list[int]] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    version: int = 0
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.model
        self._slots = BoundedSemaphore(self.concurrency)  # of all calls together

    def stream(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> Iterator[list[Finished]]:
        """Each prompt's completions as they come; UserError if the endpoint fails."""
        if len(prompts) != len(seeds):
            raise ValueError(f"{len(prompts)} prompts, but {len(seeds)} seeds")
        waiting: SimpleQueue[int] = SimpleQueue()
        done: SimpleQueue[tuple[int, tuple[Completion, ...] | BaseException]] = SimpleQueue()
        for i in range(len(prompts)):
            waiting.put(i)
        stop = Event()

        def work() -> None:
            while not stop.is_set():
                try:
                    i = waiting.get_nowait()
                except Empty:
                    return
                try:
                    with self._slots:
                        done.put((i, self._group(client, prompts[i], sampling, seeds[i], stop)))
                except BaseException as error:  # raised below, where it is waited for
                    done.put((i, error))

        with self._client(self.retries) as client:  # closed by a fault: nothing more is tried
            try:
                for _ in range(min(self.concurrency, len(prompts))):
                    # an executor's threads would hold the exit until their requests are answered
                    Thread(target=work, daemon=True).start()
                for finished in range(1, len(prompts) + 1):
                    i, choices = done.get()
                    if isinstance(choices, BaseException):
                        raise choices
                    if progress is not None:
                        progress(finished, len(prompts))
                    yield [(i, choices)]
            finally:  # a fault ends the call at once, not after the requests that still run
                stop.set()

    def check(self) -> None:
        """Raise UserError if the endpoint is not there, refuses the key or lacks the model."""
        import openai

        few = min(self.retries, CHECKS)
        with self._client(few) as client:
            try:
                answer = client.models.with_raw_response.list(extra_headers=self._headers())
            except openai.NotFoundError:
                return  # not every server lists its models
            except openai.OpenAIError as error:
                raise self._fault("models", error, few) from None
        listing = _json(answer.text) or {}
        served = [m.get("id") for m in listing.get("data") or [] if isinstance(m, dict)]
        if served and self.model not in served:
            raise UserError(
                f"{self.base_url} serves no model {self.model!r}; it has: "
                + ", ".join(map(str, served[:8]))
            )

    def load_weights(
        self, weights: Mapping[str, torch.Tensor], version: int, path: str = ""
    ) -> None:
        """Refuse: an endpoint's weights are its own."""
        raise UserError(f"{self.base_url} takes no weights; use an engine of this machine")

    def _client(self, retries: int) -> openai.OpenAI:
        import openai

        scheme = urlsplit(self.base_url).scheme
        if scheme not in ("http", "https"):
            raise UserError(f"{self.base_url!r} is no address; write http://host:port/v1")
        secure = scheme == "https"  # without, no client of a call has certificates to read
        client = openai.OpenAI(
            base_url=self.base_url,
            api_key=self._key or "none",
            max_retries=retries,
            timeout=openai.Timeout(self.timeout, connect=CONNECT),
            http_client=openai.DefaultHttpxClient(follow_redirects=False, verify=secure),
        )
        # read from the environment; whatever host this is, the account is none of its business
        client.organization = client.project = None
        return client

    @property
    def _key(self) -> str:
        return os.environ.get(self.api_key_env, "").strip()

    def _headers(self) -> dict[str, openai.Omit]:
        import openai

        return {} if self._key else {"Authorization": openai.omit}

    def _group(
        self, client: openai.OpenAI, prompt: Prompt, sampling: Sampling, seed: int, stop: Event
    ) -> tuple[Completion, ...]:
        """One request for the whole group; what a server without `n` left out, one by one."""
        body = request_body(self.model, prompt, sampling, seed, self.extra)
        if sampling.temperature == 0.0:  # vLLM's server refuses more than one
            return tuple(self._choices(client, {**body, "n": 1}, stop)[:1] * sampling.n)
        choices = self._choices(client, body, stop)[: sampling.n]
        for member in range(len(choices), sampling.n):
            single = {**body, "n": 1, "seed": body["seed"] + member} if "seed" in body else body
            choices += self._choices(client, single, stop)[:1]
        return tuple(choices)

    def _choices(
        self, client: openai.OpenAI, body: Mapping[str, Any], stop: Event
    ) -> list[Completion]:
        """The answer's completions in their order; what is no answer is asked for again."""
        import openai

        headers = self._headers()
        for attempt in range(self.retries + 1):
            try:
                reply = client.chat.completions.with_raw_response.create(
                    model=self.model, messages=[], extra_body=body, extra_headers=headers
                )
            except openai.OpenAIError as error:
                raise self._fault("chat/completions", error, self.retries) from None
            answer = _json(reply.text)
            if answer is not None and _whole(answer):
                return [self._completion(c) for c in sorted(answer["choices"], key=_place)]
            if stop.wait(min(LONGEST, BACKOFF * 2**attempt)):
                break
        raise UserError(
            f"{self.base_url}/chat/completions answered {self.retries + 1} times something that "
            "is no completion; is it an OpenAI-compatible server?"
        )

    def _completion(self, choice: Mapping[str, Any]) -> Completion:
        text = response_text(choice["message"])
        cut = choice.get("finish_reason") == "length"
        ids = np.array(self.encode(text) if self.encode is not None else [], np.int32)
        unknown = np.full(len(ids), np.nan, np.float32)
        return Completion(text, ids, unknown, "length" if cut else "stop", self.version)

    def _fault(self, route: str, error: openai.OpenAIError, retries: int) -> UserError:
        """One line for what the client gave up on; never quotes the key."""
        import openai

        url = f"{self.base_url.rstrip('/')}/{route}"
        after = f"after {retries + 1} attempts; is the server up and healthy?"
        if not isinstance(error, openai.APIStatusError):
            cause = type(error.__cause__ or error).__name__
            return UserError(f"cannot reach {url} ({cause}) {after}")
        status = error.status_code
        if status in (401, 403):
            return UserError(
                f"{url} refuses the key (status {status}); set the environment variable "
                f"{self.api_key_env} to a valid one"
            )
        if status >= 500 or status in (408, 409, 429):
            return UserError(f"{url} answers with status {status} {after}")
        answer = " ".join(error.response.text.split())[:300]
        if self._key:
            answer = answer.replace(self._key, "***")
        return UserError(f"{url} refuses the request (status {status}): {answer}")


def _json(text: str) -> dict[str, Any] | None:
    """The body; None if it is not a JSON object."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _whole(answer: Any) -> bool:
    """Whether a chat answer has its choices."""
    if not answer or not isinstance(answer.get("choices"), list) or not answer["choices"]:
        return False
    return all(
        isinstance(c, dict) and isinstance(c.get("message"), dict) and _spoken(c["message"])
        for c in answer["choices"]
    )


def _spoken(message: Mapping[str, Any]) -> bool:
    """Whether all that the message says is text: anything else is no answer of a model."""
    texts = (message.get(name) for name in ("reasoning", "reasoning_content"))
    if not all(text is None or isinstance(text, str) for text in texts):
        return False
    content = message.get("content")
    if isinstance(content, list):
        return all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in content)
    return content is None or isinstance(content, str)


def _place(choice: Mapping[str, Any]) -> int:
    """The choice's number; those without one keep their order, in front."""
    index = choice.get("index")
    return index if isinstance(index, int) else 0


def request_body(
    model: str, prompt: Prompt, sampling: Sampling, seed: int, extra: Mapping[str, Any]
) -> dict[str, Any]:
    """A chat request; fields outside OpenAI's own only where they are needed.

    `chat_template_kwargs` always says whether to think, since Qwen3.5's default differs by size.
    """
    if prompt.forced:
        raise UserError("a chat endpoint cannot go on after forced tokens; use hf or vllm")
    content: Any = prompt.text
    if prompt.images:
        content = [{"type": "image_url", "image_url": {"url": data_url(i)}} for i in prompt.images]
        content.append({"type": "text", "text": prompt.text})
    messages = [{"role": role, "content": text} for role, text in prompt.history]
    messages.append({"role": "user", "content": content})
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "n": sampling.n,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": seed % 2**31,  # some servers hold a seed in 32 bits
        "chat_template_kwargs": {"enable_thinking": prompt.thinking},
    }
    standard = Sampling(1)
    for name in ("top_k", "min_p", "presence_penalty", "repetition_penalty"):
        if getattr(sampling, name) != getattr(standard, name):
            body[name] = getattr(sampling, name)
    return {k: v for k, v in {**body, **extra}.items() if v is not None}


def data_url(image: bytes) -> str:
    """An encoded image as a data URL of its own type."""
    kind = next((k for magic, k in MAGIC.items() if image.startswith(magic)), None)
    if kind is None:
        raise UserError("an image is neither PNG, JPEG, GIF nor WebP; convert it")
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def response_text(message: Mapping[str, Any]) -> str:
    """What the model said; reasoning that a server's parser split off stands before </think>."""
    answer = message.get("content") or ""
    if isinstance(answer, list):  # parts of text
        answer = "".join(part["text"] for part in answer)
    thought = message.get("reasoning") or message.get("reasoning_content") or ""
    reply = f"{thought}</think>{answer}" if thought and answer else str(thought or answer)
    return whole_characters(reply)
