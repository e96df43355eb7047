import base64
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zppo_core.engines import openai
from zppo_core.engines.openai import OpenAIEngine, request_body, response_text
from zppo_core.errors import UserError
from zppo_core.prompts import OURS
from zppo_core.protocols import Sampling
from zppo_core.rewards.judge import Judge
from zppo_core.types import Prompt, Question

PNG = b"\x89PNG\r\n\x1a\n rest"
KEY = "sk-very-secret"
Answer = Callable[[dict[str, Any], int], Any]


class Endpoint:
    """A chat server on loopback; `answer(body, times asked)` gives JSON, a status or bytes."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.bodies, self.keys, self.lock = answer, [], [], threading.Lock()
        self.headers: list[dict[str, str]] = []  # but for the key
        self.models: Any = {"data": [{"id": "teacher"}]}
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def note(self) -> None:
                head = {k: v for k, v in self.headers.items() if k.lower() != "authorization"}
                endpoint.headers.append(head)

            def do_GET(self) -> None:
                self.note()
                self.send(endpoint.models)

            def do_POST(self) -> None:
                self.note()
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with endpoint.lock:
                    asked = sum(b == body for b in endpoint.bodies)
                    endpoint.bodies.append(body)
                    endpoint.keys.append(self.headers.get("Authorization"))
                self.send(endpoint.answer(body, asked))

            def send(self, said: Any) -> None:
                if said == "hang up":
                    self.close_connection = True
                    return
                status = said if isinstance(said, int) else 200
                said = {"error": f"bad key {KEY}\nor so"} if isinstance(said, int) else said
                data = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                # "cut": the connection ends in the middle of the body
                self.wfile.write(data[: len(data) // 2] if b"cut" in data else data)
                self.close_connection = b"cut" in data

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], Endpoint]]:
    made: list[Endpoint] = []

    def start(answer: Answer) -> Endpoint:
        made.append(Endpoint(answer))
        return made[-1]

    yield start
    for endpoint in made:
        endpoint.server.shutdown()
        endpoint.server.server_close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "BACKOFF", 0.001)
    monkeypatch.setattr(openai, "LONGEST", 0.01)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.01)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def says(body: dict[str, Any], n: int | None = None) -> dict[str, Any]:
    """Choices that name the prompt and their own seed, last one first."""
    content = body["messages"][-1]["content"]
    text = content if isinstance(content, str) else content[-1]["text"]
    choices = [
        {"index": i, "message": {"content": f"{text}/{body['seed'] + i}"}, "finish_reason": "stop"}
        for i in range(n or body["n"])
    ]
    return {"choices": choices[::-1]}


def texts(groups: list[tuple[Any, ...]]) -> list[list[str]]:
    return [[c.text for c in group] for group in groups]


def engine(endpoint: Endpoint, **settings: Any) -> OpenAIEngine:
    return OpenAIEngine(endpoint.url, "teacher", **settings)


def test_results_are_ordered_by_submission_whatever_the_timing(serve) -> None:
    def answer(body: dict[str, Any], asked: int) -> Any:
        time.sleep(0.005 * (12 - body["seed"] // 10))  # the first are the slowest
        return says(body)

    endpoint, progress = serve(answer), []
    prompts = [Prompt(f"q{i}") for i in range(12)]
    seeds = [10 * i for i in range(12)]
    made = engine(endpoint).generate(
        prompts, Sampling(9, n=3), seeds, lambda *p: progress.append(p)
    )
    assert texts(made) == [[f"q{i}/{10 * i + m}" for m in range(3)] for i in range(12)]
    assert progress == [(i + 1, 12) for i in range(12)]
    assert [b["messages"][0]["content"] for b in endpoint.bodies] != sorted(p.text for p in prompts)
    assert texts(engine(endpoint, concurrency=1).generate(prompts, Sampling(9, n=3), seeds)) == (
        texts(made)
    )


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from([429, 500, 503, "hang up", "cut", b"{}", b"<html>"]), max_size=4))
def test_faults_that_pass_change_nothing(faults: list[Any]) -> None:
    def answer(body: dict[str, Any], asked: int) -> Any:
        if asked >= len(faults):
            return says(body)
        return {"choices": ["cut"] * 9} if faults[asked] == "cut" else faults[asked]

    endpoint = Endpoint(answer)
    try:
        made = engine(endpoint).generate([Prompt("a"), Prompt("b")], Sampling(5, n=2), [1, 7])
        assert texts(made) == [["a/1", "a/2"], ["b/7", "b/8"]]
        assert len(endpoint.bodies) == 2 * (len(faults) + 1)
    finally:
        endpoint.server.shutdown()
        endpoint.server.server_close()


def test_a_server_without_n_is_asked_for_the_rest_one_by_one(serve) -> None:
    endpoint = serve(lambda body, asked: says(body, n=1))
    made = engine(endpoint).generate([Prompt("a")], Sampling(5, n=4), [20])
    assert texts(made) == [["a/20", "a/21", "a/22", "a/23"]]
    assert [b["n"] for b in endpoint.bodies] == [4, 1, 1, 1]
    greedy = engine(endpoint).generate([Prompt("b")], Sampling(5, n=3, temperature=0.0), [20])
    assert texts(greedy) == [["b/20"] * 3]
    assert [b["n"] for b in endpoint.bodies[4:]] == [1]


@pytest.mark.parametrize(
    ("fault", "expected", "asked"),
    [
        (401, "set the environment variable OPENAI_API_KEY", 1),
        (403, "refuses the key", 1),
        (400, "bad key ***", 1),
        (404, "refuses the request (status 404)", 1),
        (503, "status 503 after 3 attempts", 3),
        ("hang up", "cannot reach", 3),
    ],
)
def test_faults_that_stay_are_one_line_without_the_key(serve, fault, expected, asked) -> None:
    endpoint = serve(lambda body, count: fault)
    with pytest.raises(UserError) as error:
        engine(endpoint, retries=2).generate([Prompt("a")], Sampling(5), [0])
    assert expected in str(error.value)
    assert KEY not in str(error.value)
    assert "\n" not in str(error.value)
    assert len(endpoint.bodies) == asked
    assert endpoint.keys[0] == f"Bearer {KEY}"


def test_an_endpoint_that_takes_a_request_and_is_silent_is_one_line_in_time(serve) -> None:
    """A teacher or a judge that never answers: so many attempts of so many seconds, no more."""
    gone = threading.Event()
    endpoint = serve(lambda body, asked: gone.wait(20) and says(body))
    began = time.monotonic()
    with pytest.raises(UserError, match=r"cannot reach .*Timeout.* after 2 attempts") as error:
        engine(endpoint, retries=1, timeout=0.3).generate([Prompt("a")], Sampling(5), [0])
    assert time.monotonic() - began < 15
    assert len(str(error.value).splitlines()) == 1
    gone.set()


def test_a_judge_that_is_silent_ends_the_grading_in_one_line_and_goes_on_later(serve) -> None:
    """No verdict is made up for it; what it answered is asked once, when it is back."""
    awake = threading.Event()
    verdict = {"choices": [{"message": {"content": '{"verdict": "correct"}'}}]}
    endpoint = serve(lambda body, asked: verdict if awake.wait(2) else 503)
    asked = Question("q", "Which colour?", "as blue as the sea", judged=True)
    judge = Judge(engine(endpoint, retries=0, timeout=0.3), OURS)
    with pytest.raises(UserError, match="cannot reach"):
        judge.grade_all([(asked, "\\boxed{sea blue}")])
    awake.set()
    assert [g.reward for g in judge.grade_all([(asked, "\\boxed{sea blue}")])] == [1.0]


def test_after_a_fault_no_other_request_is_tried_again(serve, monkeypatch) -> None:
    monkeypatch.setattr(openai, "LONGEST", 0.02)

    def answer(body: dict[str, Any], asked: int) -> Any:
        if body["seed"]:
            return 503
        time.sleep(0.1)  # the others are being tried again
        return 400

    endpoint = serve(answer)
    with pytest.raises(UserError, match="refuses the request"):
        engine(endpoint, retries=200).generate([Prompt("a")] * 4, Sampling(5), [0, 1, 2, 3])
    time.sleep(0.1)  # what was under way arrives
    asked = len(endpoint.bodies)
    time.sleep(0.3)
    assert len(endpoint.bodies) == asked > 4


FAILS = """
import sys
from zppo_core.protocols import Sampling
from zppo_core.engines.openai import OpenAIEngine
from zppo_core.errors import UserError
from zppo_core.types import Prompt
try:
    OpenAIEngine(sys.argv[1], "teacher").generate([Prompt("a")] * 3, Sampling(5), [0, 1, 2])
except UserError as error:
    sys.exit(str(error))
"""


def test_a_failed_call_does_not_hold_the_process_until_the_rest_is_answered(serve) -> None:
    over = threading.Event()

    def answer(body: dict[str, Any], asked: int) -> Any:
        if body["seed"]:
            over.wait(60)
        return 400

    endpoint = serve(answer)
    process = subprocess.Popen(
        [sys.executable, "-c", FAILS, endpoint.url], stderr=subprocess.PIPE, text=True
    )
    try:
        _, said = process.communicate(timeout=25)
    finally:
        over.set()
        process.kill()
    assert process.returncode == 1
    assert "refuses the request" in said


def test_nobody_at_the_address(serve) -> None:
    endpoint = serve(lambda body, asked: says(body))
    endpoint.server.shutdown()
    endpoint.server.server_close()
    with pytest.raises(UserError, match=r"cannot reach .* after 2 attempts"):
        engine(endpoint, retries=1).check()
    with pytest.raises(UserError, match=r"cannot reach .* after 3 attempts"):
        engine(endpoint, retries=6).check()  # at the start it is not waited for
    with pytest.raises(UserError, match="is no address"):
        OpenAIEngine("gpu-host:8000/v1", "teacher").check()


def test_check_knows_the_models(serve) -> None:
    endpoint = serve(lambda body, asked: says(body))
    engine(endpoint).check()
    with pytest.raises(UserError, match="no model 'judge'; it has: teacher"):
        OpenAIEngine(endpoint.url, "judge").check()
    for listing in (404, {"data": []}):
        endpoint.models = listing
        engine(endpoint).check()
    endpoint.models = 401
    with pytest.raises(UserError, match="refuses the key"):
        engine(endpoint).check()


def test_an_unset_key_is_not_sent_nor_a_password_of_netrc(serve, monkeypatch, tmp_path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    endpoint = serve(lambda body, asked: says(body))
    engine(endpoint, api_key_env="NO_SUCH_KEY").generate([Prompt("a")], Sampling(5), [0])
    assert endpoint.keys == [None]


def test_an_account_of_the_environment_is_not_told_to_the_host(serve, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-secret")
    endpoint = serve(lambda body, asked: says(body))
    engine(endpoint).check()
    engine(endpoint).generate([Prompt("a")], Sampling(5), [0])
    assert len(endpoint.headers) == 2
    assert not any("secret" in value for head in endpoint.headers for value in head.values())


def test_the_request_says_all_that_a_prompt_and_a_sampling_hold() -> None:
    prompt = Prompt(
        "look", (PNG, b"\xff\xd8\xff jpeg"), True, (("user", "hi"), ("assistant", "ho"))
    )
    body = request_body("m", prompt, Sampling(7, 2, 0.6, 0.95, 20, 0.1, 1.5, 1.2), 2**40 + 5, {})
    first, second, last = body["messages"]
    assert (first["content"], second["role"], last["role"]) == ("hi", "assistant", "user")
    head, _, data = last["content"][0]["image_url"]["url"].partition(",")
    assert (head, base64.b64decode(data)) == ("data:image/png;base64", PNG)
    assert last["content"][1]["image_url"]["url"].startswith("data:image/jpeg")
    assert last["content"][2] == {"type": "text", "text": "look"}
    assert body["chat_template_kwargs"] == {"enable_thinking": True}
    assert (body["n"], body["max_tokens"], body["seed"]) == (2, 7, 5)
    assert (body["temperature"], body["top_p"], body["top_k"], body["min_p"]) == (
        0.6,
        0.95,
        20,
        0.1,
    )
    assert (body["presence_penalty"], body["repetition_penalty"]) == (1.5, 1.2)
    plain = request_body("m", Prompt("a"), Sampling(7), 1, {"seed": None, "stop": ["x"]})
    assert plain.keys() == {
        "model",
        "messages",
        "n",
        "max_tokens",
        "temperature",
        "top_p",
        "chat_template_kwargs",
        "stop",
    }
    assert plain["messages"] == [{"role": "user", "content": "a"}]
    with pytest.raises(UserError, match="forced"):
        request_body("m", Prompt("a", forced=(1,)), Sampling(7), 1, {})
    with pytest.raises(UserError, match="convert"):
        request_body("m", Prompt("a", (b"BM",)), Sampling(7), 1, {})


def test_reasoning_that_a_parser_split_off_comes_back() -> None:
    assert response_text({"content": "a"}) == "a"
    assert response_text({"reasoning": "r\n", "content": "\n\na"}) == "r\n</think>\n\na"
    assert response_text({"reasoning_content": "cut short", "content": None}) == "cut short"
    assert response_text({"content": None}) == ""


def test_completions_say_what_the_endpoint_told_and_no_more(serve) -> None:
    def answer(body: dict[str, Any], asked: int) -> Any:
        said = says(body)
        said["choices"][0]["finish_reason"] = "length"
        return said

    made = engine(serve(answer), encode=lambda text: list(text.encode()), version=0)
    completion = made.generate([Prompt("ab")], Sampling(5), [3])[0][0]
    assert (completion.finish, completion.text, completion.version) == ("length", "ab/3", 0)
    assert completion.token_ids_T.tolist() == list(b"ab/3")
    assert np.isnan(completion.logp_T).all()
    assert made.name == "teacher"
    with pytest.raises(UserError, match="takes no weights"):
        made.load_weights({}, 1)
