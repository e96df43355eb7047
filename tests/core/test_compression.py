import pytest
from hypothesis import given
from hypothesis import strategies as st

from zppo_core.compression import Compressor, extract, parse_summary
from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.prompts import Templates
from zppo_core.rewards.where import extract_boxed
from zppo_core.store.objects import LocalStore
from zppo_core.teacher_cache import Memo

RIGHT = "<think>\n1 plus 1\nis 2\n</think>\n\\boxed{2}"


def compressor(answer, memo=None, retries=1) -> Compressor:
    engine = ScriptedEngine(answer, "teacher") if answer else None
    return Compressor(engine, Templates(), len, cap=60, retries=retries, memo=memo)


@pytest.mark.parametrize(
    ("output", "answer", "summary"),
    [
        ("<summary>\nadd \\boxed{2}\n</summary>", "2", "add \\boxed{2}"),
        ("<summary>add \\boxed{3}</summary>", "2", None),  # another answer
        ("<summary>add</summary>", "2", None),  # no answer
        ("add \\boxed{2}", "2", None),  # no tag
        ("<summary>" + "x\n" * 6 + "\\boxed{2}</summary>", "2", None),  # too many lines
        ("<summary>nothing found</summary>", None, "nothing found"),
        ("<summary>\\boxed{2}</summary>", None, None),  # an answer that was not there
    ],
)
def test_a_summary_counts_only_if_the_answer_survived(output, answer, summary) -> None:
    assert parse_summary(output, answer) == summary


def test_what_fails_is_retried_and_then_extracted_and_counted() -> None:
    calls = iter(["no tag", "<summary>late \\boxed{2}</summary>"])
    late = compressor(lambda p, m: next(calls)).compress([RIGHT], seed=0)[0]
    assert (late.text, late.fallback, late.attempts) == ("late \\boxed{2}", False, 2)
    never = compressor(lambda p, m: "<summary>\\boxed{9}</summary>").compress([RIGHT], seed=0)[0]
    assert never.fallback
    assert never.attempts == 2
    assert never.text == "1 plus 1\nis 2\n\\boxed{2}"
    assert never.tokens == 2 * len("<summary>\\boxed{9}</summary>")


def test_the_extract_keeps_the_answer_within_lines_and_tokens() -> None:
    long = "\n".join(f"line {i}" for i in range(20)) + "\n\\boxed{7}"
    text = extract(long, "7", len, 40)
    assert text.endswith("\\boxed{7}")
    assert len(text.splitlines()) <= 5
    assert len(text) <= 40
    assert extract("no box at all", None, len, 40) == "no box at all"
    assert extract("one line that is long", None, len, 12) == "that is long"


def words(text: str) -> int:
    return len(text.split())


@given(
    st.lists(st.sampled_from(["a", "b", "\n", "</think>", r"\boxed{7}"]), max_size=60),
    st.integers(0, 30), st.integers(1, 12),
)  # fmt: skip
def test_no_candidate_passes_the_cap_however_long_the_answer(parts, length, cap) -> None:
    said = " ".join([*parts, r"\boxed{" + " ".join(["x"] * length) + "}"])
    made = Compressor(None, Templates(), words, cap, 0).compress([said], 0)[0]
    assert words(made.text) <= cap
    assert len(made.text.splitlines()) <= 5
    if length > cap:  # it is not in the list of wrong answers either
        assert made.answer is None
        assert made.text == " ".join(said.replace("</think>", " ").split()[-cap:])
    else:
        assert made.answer == extract_boxed(said)


def test_summaries_are_kept_by_content(tmp_path) -> None:
    made: list[str] = []

    def answer(prompt, member) -> str:
        made.append(prompt.text)
        return "<summary>short \\boxed{2}</summary>"

    memo = Memo(LocalStore(tmp_path))
    first = compressor(answer, memo).compress([RIGHT], seed=0)
    second = compressor(answer, Memo(LocalStore(tmp_path))).compress([RIGHT], seed=99)
    assert len(made) == 1
    assert [c.text for c in first] == [c.text for c in second]
    assert first[0].tokens > second[0].tokens == 0  # nothing was generated the second time


def test_a_sampled_retry_is_kept_under_its_seed(tmp_path) -> None:
    counts = iter(range(100))
    memo = Memo(LocalStore(tmp_path))
    one = compressor(lambda p, m: f"no tag {next(counts)}", memo)
    one.compress([RIGHT], seed=0)
    assert next(counts) == 2
    one.compress([RIGHT], seed=0)
    assert next(counts) == 3  # nothing was made again
    one.compress([RIGHT], seed=1)
    assert next(counts) == 5  # the greedy one was found, the sampled one was not
