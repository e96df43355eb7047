import pytest
from hypothesis import given
from hypothesis import strategies as st

from zppo_core.algorithm.compression import Compressor, extract, parse_summary
from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.prompts import Templates
from zppo_core.rewards.where import find_answer
from zppo_core.store.objects import LocalStore
from zppo_core.store.teacher_cache import Memo, seal, unseal

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


@pytest.mark.parametrize(("lines", "passes"), [(1, True), (4, True), (5, True), (6, False)])
def test_a_summary_has_at_most_five_lines(lines: int, passes: bool) -> None:
    body = "\n".join([*("x" for _ in range(lines - 1)), "\\boxed{2}"])
    found = parse_summary(f"<summary>\n{body}\n</summary>", "2")
    assert found == (body if passes else None)


@pytest.mark.parametrize("answer", ["7", None])
def test_the_extract_is_the_last_five_lines_the_answers_among_them(answer: str | None) -> None:
    body = [f"line {i}" for i in range(20)]
    closing = [] if answer is None else [f"\\boxed{{{answer}}}"]
    text = extract("\n".join(body + closing), answer, len, 1000)
    assert text.splitlines() == [*body[-(5 - len(closing)) :], *closing]


def test_the_extract_says_its_answer_once_and_at_its_end() -> None:
    said = "so it is \\boxed{7}\nas I said\nfirst \\boxed{7}"
    assert extract(said, "7", len, 1000) == "so it is \\boxed{7}\nas I said\n\\boxed{7}"
    assert extract("a\nb\n\\boxed{ 7 }\nand more", "7", len, 1000).endswith("\n\\boxed{7}")


def test_the_extract_stops_before_the_line_that_does_not_fit() -> None:
    assert extract("a long line here\nbb\ncc\n\\boxed{7}", "7", len, 15) == "bb\ncc\n\\boxed{7}"
    assert extract("a long line here\nbb\ncc\n\\boxed{7}", "7", len, 14) == "cc\n\\boxed{7}"
    assert extract("</think>bb", None, len, 9) == "bb"


def test_answers_are_equal_up_to_white_space_and_no_further() -> None:
    kept = "<summary>x \\boxed{a  b}</summary>"
    assert parse_summary(kept, "a b") == "x \\boxed{a  b}"
    assert parse_summary(kept, "A b") is None
    assert parse_summary(kept, "ab") is None
    assert parse_summary("<summary>  </summary>", None) is None


def test_a_summary_longer_than_the_cap_is_no_summary() -> None:
    long = "<summary>" + "x" * 50 + "\\boxed{2}</summary>"  # 59 and its cap 60
    made = compressor(lambda p, m: long).compress([RIGHT], seed=0)[0]
    assert (made.fallback, len(made.text)) == (False, 59)
    longer = "<summary>" + "x" * 52 + "\\boxed{2}</summary>"
    made = compressor(lambda p, m: longer).compress([RIGHT], seed=0)[0]
    assert made.fallback
    assert made.tokens == 2 * len(longer)  # both attempts were paid for


def test_the_first_attempt_is_greedy_and_those_after_it_are_sampled_with_their_own_seeds() -> None:
    asked = []

    class Engine(ScriptedEngine):
        def generate(self, prompts, sampling, seeds, progress=None):
            asked.append((sampling.temperature, sampling.n, sampling.max_tokens, tuple(seeds)))
            assert not any(p.thinking for p in prompts)
            return super().generate(prompts, sampling, seeds, progress)

    engine = Engine(lambda p, m: "no tag", "teacher")
    Compressor(engine, Templates(), len, cap=60, retries=2).compress([RIGHT, "other"], seed=0)
    Compressor(engine, Templates(), len, cap=60, retries=0).compress([RIGHT], seed=1)
    assert [a[:3] for a in asked] == [(t, 1, 60 + 32) for t in (0.0, 1.0, 1.0, 0.0)]
    seeds = [s for *_, own in asked for s in own]
    assert len(set(seeds)) == len(seeds) == 7


def words(text: str) -> int:
    return len(text.split())


@given(
    st.lists(st.sampled_from(["a", "b", "\n", "</think>", r"\boxed{7}"]), max_size=60),
    st.integers(0, 30),
    st.integers(1, 12),
)
def test_no_candidate_passes_the_cap_however_long_the_answer(parts, length, cap) -> None:
    said = " ".join([*parts, r"\boxed{" + " ".join(["x"] * length) + "}"])
    made = Compressor(None, Templates(), words, cap, 0).compress([said], 0)[0]
    assert words(made.text) <= cap
    assert len(made.text.splitlines()) <= 5
    if length > cap:  # it is not in the list of wrong answers either
        assert made.answer is None
        assert made.text == " ".join(said.replace("</think>", " ").split()[-cap:])
    else:
        answer = find_answer(said)[0]
        # an empty box behind a thought with an answer of its own is no answer to show
        assert made.answer == answer or (made.answer is None and not answer)


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
    # nothing was generated the second time, and what was written is as long
    assert (first[0].recalled, second[0].recalled) == (0, first[0].tokens)
    assert second[0].tokens == first[0].tokens > 0


def test_a_memo_of_an_earlier_version_has_the_text_alone(tmp_path) -> None:
    seen = compressor(
        lambda p, m: "<summary>short \\boxed{2}</summary>", Memo(LocalStore(tmp_path))
    )
    seen.compress([RIGHT], seed=0)
    (key,) = LocalStore(tmp_path).list("memo/")
    text, _ = unseal(LocalStore(tmp_path).get(key))
    LocalStore(tmp_path).put_many({key: seal(text)}, lasting=False)
    (again,) = seen.compress([RIGHT], seed=0)
    assert (again.text, again.tokens, again.recalled) == ("short \\boxed{2}", len(text), len(text))


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


def test_another_teacher_or_another_cap_finds_no_summary_of_this_one(tmp_path) -> None:
    made: list[str] = []

    def answer(prompt, member) -> str:
        made.append(prompt.text)
        return "<summary>short \\boxed{2}</summary>"

    memo = Memo(LocalStore(tmp_path))
    for name, cap in (("one", 60), ("two", 60), ("one", 61), ("one", 60)):
        Compressor(ScriptedEngine(answer, name), Templates(), len, cap, 1, memo).compress(
            [RIGHT], 0
        )
    assert len(made) == 3  # the last one finds the first one's


def test_what_was_compressed_is_told_beside_what_is_shown() -> None:
    long = "why " * 30 + f"\\boxed{{{'9' * 70}}}"  # its answer has no room in the cap
    cut = "<think>\nperhaps \\boxed{5} or so"  # a thought that never ends
    (kept,) = compressor(lambda p, m: "<summary>\\boxed{2}</summary>").compress([RIGHT], seed=0)
    lost, none = compressor(None).compress([long, cut], seed=0)
    assert (kept.answer, kept.source_answer, kept.source_characters) == ("2", "2", len(RIGHT))
    assert (lost.answer, lost.source_answer) == (None, "9" * 70)
    assert lost.source_characters == len(long) > len(lost.text)
    assert (none.answer, none.source_answer) == (None, None)
    assert "boxed" not in none.text
